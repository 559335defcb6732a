//! The sidecar beside each Prometheus: takes the shard's targets from the coordinator, writes the
//! configuration Prometheus runs with, and is the forward proxy of every scrape, so that it knows the
//! series of each target.

mod adoption;
mod delivery;
mod emulation;
mod head_block;
mod inject;
mod listen;
mod metrics;
mod options;
mod origin;
mod pass_through;
mod placeholder;
mod prometheus;
mod proxy;
mod samples;
mod scrape_request;
mod scraper;
mod shard;
mod sidecar;
mod store;
mod target_update;
mod targets;
mod tasks;
mod tsdb;
mod upload;
mod visibility;
mod web;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use options::{DEFAULT_BODY_SIZE_LIMIT, DeliveryMode, Options};
pub use sidecar::{BuildError, RunError, Sidecar};
pub use web::PATHS;

/// No critical section leaves anything half-done, so a panic inside one is no reason to stop.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
