//! Service discovery: runs the discovery sections of all jobs and turns what they find into targets.
//!
//! [`Manager`] owns the running discoverers and publishes snapshots of their target groups;
//! [`resolve`] is the pure half that builds, relabels and identifies the targets of one job.

mod address;
mod backoff;
mod feed;
mod file;
mod http;
mod kubernetes;
mod manager;
mod resolve;

pub use manager::{Discovered, DiscoveryOptions, JobDiscovery, Manager};
pub use resolve::{FailedTarget, Resolved, Resolver, resolve};
