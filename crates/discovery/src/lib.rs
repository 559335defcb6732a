//! Service discovery: runs the discovery sections of all jobs and turns what they find into targets.
//!
//! [`Manager`] owns the running discoverers and publishes snapshots of their target groups;
//! [`resolve`] is the pure half that builds, relabels and identifies the targets of one job.

mod address;
mod api;
mod backoff;
mod clouds;
mod consul;
mod delegate;
mod dns;
mod docker;
mod environment;
mod eureka;
mod feed;
mod file;
mod http;
mod json_groups;
mod kubernetes;
mod loss;
mod manager;
mod marathon;
mod nomad;
mod puppetdb;
mod refresh;
mod resolve;
mod text;
mod unix_socket;

pub use delegate::DelegateOptions;
pub use environment::Environment;
pub use loss::MaxLoss;
pub use manager::{Discovered, DiscoveryOptions, DnsOptions, HeldTargets, JobDiscovery, Manager};
pub use resolve::{Change, DroppedTargets, End, Explanation, FailedTarget, Resolved, Resolver, explain, resolve};
