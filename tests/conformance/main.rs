//! The coordinator finds the targets that Prometheus finds: recorded cases, and random configurations beside real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod cases;
mod compare;
mod fuzz;
mod generator;
mod picture;
mod random;
mod record;
mod replay;
#[path = "../support/mod.rs"]
mod support;
