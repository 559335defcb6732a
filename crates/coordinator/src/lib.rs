//! The coordinator: discovers all targets, learns their sizes, divides them among shards and changes the
//! number of shards.
//!
//! Data flows in one direction: configuration → discovery → [`catalog`] → [`explore`] → [`observe`] (into
//! [`memory`]) → plan → apply ([`cycle`]) → [`published`], which the API ([`web`]) shows. The loop that
//! drives it is in [`coordinator`]. Which of several coordinators acts is decided in [`leader`]. Nothing
//! else here chooses: decisions are `kvass-plan`'s.

#[cfg(test)]
mod absence_tests;
mod catalog;
mod coordinator;
mod cycle;
mod explore;
mod extra;
mod leader;
mod memory;
mod metrics;
mod observe;
mod options;
mod published;
mod shards;
mod unplaced;
mod web;

pub use coordinator::{BuildError, Coordinator};
pub use kvass_discovery::{DelegateOptions, MaxLoss};
pub use options::{KubernetesShards, LeaderElection, Options, ProcessShards, ShardOptions};
pub use web::PATHS;
