//! The client against real sockets.

mod auth;
mod body;
mod jobs;
mod proxy;
mod redirect;
mod support;
mod tls;
