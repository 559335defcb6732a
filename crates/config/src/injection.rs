use std::{collections::BTreeMap, sync::Arc};

use kvass_model::{Labels, TargetGroup};

/// Name of the job that watches the shard's own Prometheus.
pub const SELF_MONITOR_JOB: &str = "prometheus_shards";

/// What the document of a shard gets that the user's document has not.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// The sidecar's forward proxy; every scrape of every job goes through it.
    pub proxy_url: Option<String>,
    /// How Prometheus learns its targets.
    pub targets: TargetDelivery,
    /// External labels of this shard; they win over the user's of the same name.
    pub extra_external_labels: Labels,
    /// Adds a job that scrapes the shard's Prometheus itself, without proxy. Left out when the user has
    /// a job of the same name ([`SELF_MONITOR_JOB`]).
    pub self_monitor: Option<SelfMonitor>,
    /// Leave out `rule_files` and `alerting`: a shard sees only a part of the data a rule would need.
    pub strip_rules: bool,
}

/// How the targets of each job reach Prometheus; a job that is not listed gets none.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetDelivery {
    /// The file named in the job's `file_sd_configs`; a relative one is resolved by Prometheus against
    /// the folder of the injected document.
    File(BTreeMap<Arc<str>, String>),
    /// The URL named in the job's `http_sd_configs`, polled every five seconds.
    Http(BTreeMap<Arc<str>, String>),
    /// The groups, written into the job's `static_configs`.
    Static(BTreeMap<Arc<str>, Vec<TargetGroup>>),
}

/// The job that watches the shard's own Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfMonitor {
    /// Host and port of Prometheus.
    pub address: String,
    /// Label `replicate`.
    pub replicate: String,
    /// Label `shard`.
    pub shard: String,
}
