//! Targets from a Kubernetes API server. So far the role `pod`.

mod access;
mod metadata;
mod pod;
mod pods;
mod store;
mod watch;

pub(crate) use pods::run;
pub(crate) use watch::WatchPool;
