use std::{path::PathBuf, time::Duration};

use kvass_config::InjectOptions;
use kvass_discovery::{DelegateOptions, MaxLoss};
use kvass_model::PrometheusLine;
use kvass_plan::Limits;

/// What a coordinator needs to know, every value already checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// The ordinary Prometheus configuration (`--config.file`).
    pub config_file: PathBuf,
    /// Folder in which the last good configuration is kept for the next start (`--store.path`).
    pub store_path: Option<PathBuf>,
    /// API listen address (`--web.address`), Go style: `:9090` means all interfaces.
    pub web_address: String,
    /// Longest time between two cycles (`--coordinator.interval`); changes are acted on at once.
    pub interval: Duration,
    /// Longest wait for every job's first discovery result before the first plan (`--sd.init-timeout`).
    pub sd_init_timeout: Duration,
    /// Where shards come from.
    pub shards: ShardOptions,
    /// What fits a shard, and how many shards there may be.
    pub limits: Limits,
    /// How long an unreachable shard is taken to hold its targets (`--shard.unavailable-grace`).
    pub unavailable_grace: Duration,
    /// Targets explored at the same time (`--explore.concurrence`).
    pub explore_concurrency: usize,
    /// Keep connections to targets open when exploring (not `--scrape.disable-keep-alive`).
    pub scrape_keep_alive: bool,
    /// Keep connections of discovery clients open (not `--discovery.disable-keep-alive`).
    pub discovery_keep_alive: bool,
    /// The Prometheus that discovers what kvass has no code for (`--discovery.prometheus-url`,
    /// `--discovery.prometheus-config`).
    pub delegate: Option<DelegateOptions>,
    /// Share of a section's targets that one read may lose (`--discovery.max-loss`); `None`: all of them.
    pub max_loss: Option<MaxLoss>,
    /// HTTP/2 towards targets and discovery (`PROMETHEUS_COMMON_DISABLE_HTTP2` is unset).
    pub http2: bool,
    /// `SCRAPE_PROXY`: replaces every job's own proxy.
    pub scrape_proxy: Option<String>,
    /// Limit of a decompressed body in bytes where the job has none (`--scrape.body-size-limit`).
    pub body_size_limit: u64,
    /// Changes to service discovery sections (`--inject.kubernetes-*`).
    pub inject: InjectOptions,
    /// Take turns with other coordinators (`--leader-elect`); `None`: this is the only one.
    pub leader_election: Option<LeaderElection>,
    /// Whose rules apply (`--prometheus.version`); `None` asks the shards.
    pub prometheus_line: Option<PrometheusLine>,
}

/// How several coordinators agree on the one that acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderElection {
    /// Name of the Lease (`--leader-elect.lease-name`).
    pub lease_name: String,
    /// Its namespace (`--leader-elect.namespace`); `None` means the pod's own, or the kubeconfig's.
    pub namespace: Option<String>,
    /// How long a leader may be silent before another takes over (`--leader-elect.lease-duration`), whole seconds.
    pub lease_duration: Duration,
    /// Name of this coordinator for people, usually its pod's.
    pub name: String,
}

/// Where shards come from (`--shard.type`).
#[derive(Clone, Debug)]
pub enum ShardOptions {
    /// Pods of StatefulSets.
    Kubernetes(KubernetesShards),
    /// A fixed list in a file, re-read every cycle (`--shard.static-file`).
    Static(PathBuf),
    /// Processes on this machine that the coordinator runs itself.
    Process(ProcessShards),
}

/// Shards that are pods of StatefulSets; each matching StatefulSet is a replica.
#[derive(Clone, Debug)]
pub struct KubernetesShards {
    /// `--shard.namespace`; `None` means all namespaces.
    pub namespace: Option<String>,
    /// Label selector over StatefulSets (`--shard.selector`).
    pub selector: String,
    /// API port of the sidecars (`--shard.port`).
    pub port: u16,
    /// Delete the claims of removed shards (`--shard.delete-pvc`).
    pub delete_pvc: bool,
}

/// Shards that are processes on this machine.
#[derive(Clone, Debug)]
pub struct ProcessShards {
    /// Folder of everything about them (`--shard.process-dir`).
    pub dir: PathBuf,
    /// The Prometheus to run (`--shard.prometheus-binary`).
    pub prometheus: PathBuf,
    /// Further arguments of each Prometheus (`--shard.prometheus-arg`).
    pub prometheus_args: Vec<String>,
    /// Further arguments of each sidecar.
    pub sidecar_args: Vec<String>,
    /// Delete the data folder of a removed shard (`--shard.delete-pvc`).
    pub delete_data: bool,
    /// End the shards when the coordinator is asked to end (`--shard.process-stop`); otherwise they go on
    /// scraping and the next coordinator adopts them.
    pub stop_on_exit: bool,
}
