//! A whole sidecar in this process, between a Prometheus and exporters that are played by the tests.

// Helpers of tests are tests, which the lints do not see.
#![allow(clippy::unwrap_used, clippy::panic)]

mod api;
mod injected;
mod lifecycle;
mod original_coordinator;
mod other_scrapers;
mod pass_through;
mod proxy;
mod pushed_config;
mod recorded;
mod support;
