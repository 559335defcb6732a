//! Targets from the catalog of a Consul agent, heard of by blocking queries.

mod agent;
mod service;
mod watch;

pub(crate) use watch::run;
