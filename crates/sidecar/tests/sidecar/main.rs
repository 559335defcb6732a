//! A whole sidecar in this process, between a Prometheus and exporters that are played by the tests.

mod api;
mod lifecycle;
mod pass_through;
mod proxy;
mod pushed_config;
mod recorded;
mod support;
