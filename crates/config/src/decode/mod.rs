//! From nodes that passed the schema to typed values: defaults, inheritance, and the rules between keys.

mod accept;
mod alerting;
mod aws;
mod cloud_auth;
mod clouds;
mod global;
mod http;
mod iaas;
mod job;
mod mechanisms;
mod relabel;
mod remote;
mod selector;
mod service_discovery;
mod without_code;

pub(crate) use alerting::check_alerting;
pub(crate) use global::Globals;
pub(crate) use job::job;
pub(crate) use remote::{check_otlp, check_remote, check_runtime, check_storage, check_tracing};
pub(crate) use service_discovery::static_group;
