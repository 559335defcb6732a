//! Discovery as others use it: jobs in, snapshots and targets out.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests end that way")]

mod aws_sd;
mod clouds_sd;
mod common;
mod consul_sd;
mod delegate_sd;
mod dns_sd;
mod dns_server;
mod docker_sd;
mod fake_api_server;
mod fake_aws;
mod fake_service;
mod file_sd;
mod goldens;
mod http_sd;
mod iaas_sd;
mod impostor;
mod kubernetes_roles;
mod kubernetes_sd;
mod manager;
mod max_loss;
mod recorded;
mod registries_sd;
