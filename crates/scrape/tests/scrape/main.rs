//! The client against real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod auth;
mod body;
mod jobs;
mod proxy;
mod redirect;
mod support;
mod tls;
