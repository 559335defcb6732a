//! Exposition formats to series counts.
//!
//! A [`SeriesCounter`] watches the bytes of a scrape pass by and says how many series Prometheus will
//! store, before and after `metric_relabel_configs`, or why it will reject the body. It reads what
//! Prometheus reads, deviations from the published formats included, because a target that kvass calls
//! up and Prometheus calls down (or the reverse) is worse than either.
//!
//! Every body is checked against the grammar. Labels are only assembled where something depends on
//! them: metric relabelling, label limits, names that are not plainly legal, histogram conversion.
//!
//! ```
//! use kvass_exposition::{CountOptions, SeriesCounter};
//!
//! let mut counter = SeriesCounter::new(CountOptions::default());
//! counter.push(b"# TYPE requests counter\nrequests{code=\"200\"} 1\nreque")?;
//! counter.push(b"sts{code=\"500\"} 2\n")?;
//! assert_eq!(counter.finish()?.count.total, 2);
//! # Ok::<_, kvass_exposition::CountError>(())
//! ```
//!
//! The crate knows no I/O: decompression, body limits and timeouts are the caller's.

mod counter;
mod cursor;
mod entry;
mod error;
mod families;
mod format;
mod histogram;
mod judge;
mod limits;
mod lines;
mod native;
mod nhcb;
mod number;
mod openmetrics;
mod options;
mod sample;
mod sample_labels;
mod tally;
mod text;
mod wire;

pub use counter::{Counts, SeriesCounter};
pub use error::{CountError, Refusal};
pub use format::Format;
pub use options::{CountOptions, MAX_SCHEMA};
