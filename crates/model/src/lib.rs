//! The nouns of kvass: labels, target groups, targets, target hashes, scrape status.
//!
//! Everything here is a plain value: ordered, comparable, cheap to clone. No I/O, no clock, no wire
//! format (that is `kvass-api`), no knowledge of Prometheus' configuration (that is `kvass-config`).

mod duration;
mod hash;
mod labels;
mod names;
mod status;
mod target;
mod texts;
mod url;

pub use duration::{DurationError, format_prometheus_duration, parse_go_duration, parse_prometheus_duration};
pub use hash::{HashError, TargetHash, label_hash};
pub use labels::{INVALID_LABEL_PREFIX, Labels, LabelsBuilder, is_legacy_label_name, is_legacy_metric_name};
pub use status::{Health, ScrapeStatus, SeriesCount, TargetState};
pub use target::{Params, PrometheusLine, Target, TargetGroup};
pub use url::{query_escape, target_url};

/// Reserved label: host and port of a target.
pub const ADDRESS_LABEL: &str = "__address__";
/// Reserved label: path of a target's metrics.
pub const METRICS_PATH_LABEL: &str = "__metrics_path__";
/// Reserved label: `http` or `https`.
pub const SCHEME_LABEL: &str = "__scheme__";
/// Reserved label: the target's own scrape interval.
pub const SCRAPE_INTERVAL_LABEL: &str = "__scrape_interval__";
/// Reserved label: the target's own scrape timeout.
pub const SCRAPE_TIMEOUT_LABEL: &str = "__scrape_timeout__";
/// Prefix of labels that become URL parameters.
pub const PARAM_LABEL_PREFIX: &str = "__param_";
/// Prefix of labels that exist during relabelling only.
pub const META_LABEL_PREFIX: &str = "__meta_";
/// Prefix of labels that never reach a series.
pub const RESERVED_LABEL_PREFIX: &str = "__";
/// Label of the job a target belongs to.
pub const JOB_LABEL: &str = "job";
/// Label naming the scraped instance.
pub const INSTANCE_LABEL: &str = "instance";
