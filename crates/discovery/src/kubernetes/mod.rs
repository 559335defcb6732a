//! Targets from a Kubernetes API server.
//!
//! One module per kind of object: what is kept of it, and how a target group is made of that and of the objects around
//! it, without I/O. [`runner`] follows the objects of a role and rebuilds the groups that a change touches.

mod access;
mod around;
mod dependents;
mod endpoint_slice;
mod endpoints;
mod ingress;
mod joined_pods;
mod labels;
mod namespace;
mod node;
mod owner;
mod pod;
mod pool;
mod runner;
mod service;
mod store;
mod watch;

pub(crate) use pool::WatchPool;
pub(crate) use runner::run;
