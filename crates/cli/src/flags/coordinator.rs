use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{IgnoredWords, LogFlags, PrometheusVersion, pflag::BOOL, values, values::Switch};

/// What runs the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShardType {
    /// StatefulSets of Kubernetes, scaled by the coordinator
    #[value(name = "k8s")]
    Kubernetes,
    /// A fixed list in --shard.static-file
    Static,
    /// Child processes of the coordinator on this machine
    Process,
}

/// Flags of `kvass coordinator`. An `Option` is a flag whose absence means something.
#[derive(Args, Clone, Debug)]
pub(crate) struct CoordinatorFlags {
    /// Most series (after metric relabelling) of one shard. Given alone it is the only limit; --shard.max-head-series
    /// and --shard.max-process-series win over it [default: none]
    #[arg(long = "shard.max-series", value_name = "INT", value_parser = values::int64)]
    pub(crate) shard_max_series: Option<i64>,
    /// Most series of one shard after metric relabelling, 0 for no limit [default: 0, or --shard.max-series]
    #[arg(long = "shard.max-head-series", value_name = "INT", value_parser = values::int64)]
    pub(crate) shard_max_head_series: Option<i64>,
    /// Most series of one shard before metric relabelling [default: 1000000, or none with --shard.max-series]
    #[arg(long = "shard.max-process-series", value_name = "INT", value_parser = values::int64)]
    pub(crate) shard_max_process_series: Option<i64>,
    /// Largest number of shards
    #[arg(long = "shard.max-shard", value_name = "INT", default_value = "999999", value_parser = values::int32)]
    pub(crate) shard_max_shard: i32,
    /// Smallest number of shards, wins over --shard.max-shard
    #[arg(long = "shard.min-shard", value_name = "INT", default_value = "0", value_parser = values::int32)]
    pub(crate) shard_min_shard: i32,
    /// How long the last shard must have been without targets before it is removed; 0 removes none and spreads targets
    /// evenly instead of packing them
    #[arg(long = "shard.max-idle-time", value_name = "DURATION", default_value = "0", value_parser = values::duration)]
    pub(crate) shard_max_idle_time: Duration,
    /// How much longer than --shard.max-idle-time an empty shard is kept while samples of it are not in the object store yet,
    /// as its sidecar tells with --tsdb.path
    #[arg(long = "shard.upload-deadline", value_name = "DURATION", default_value = "1h", value_parser = values::duration)]
    pub(crate) shard_upload_deadline: Duration,
    /// Whether the volume (the data folder of a process) of a removed shard is deleted [default: true]
    #[arg(long = "shard.delete-pvc", value_name = BOOL)]
    pub(crate) shard_delete_pvc: Option<Switch>,
    /// Deprecated spelling of --shard.delete-pvc, which wins over it [default: true]
    #[arg(long = "shard.delete-vpc", value_name = BOOL)]
    pub(crate) shard_delete_vpc: Option<Switch>,
    /// Whether targets stay on a shard above its limit
    #[arg(long = "shard.disable-alleviate", value_name = BOOL, default_value = "false")]
    pub(crate) shard_disable_alleviate: Switch,
    /// How long a shard that cannot be reached keeps its targets
    #[arg(long = "shard.unavailable-grace", value_name = "DURATION", default_value = "1m", value_parser = values::duration)]
    pub(crate) shard_unavailable_grace: Duration,
    /// Scrapes that a moved target's new shard must report before the old one lets go of it
    #[arg(long = "shard.hand-over-scrapes", value_name = "INT", default_value = "1", value_parser = values::count)]
    pub(crate) shard_hand_over_scrapes: u64,

    /// What runs the shards: k8s, static or process
    #[arg(long = "shard.type", value_name = "TYPE", default_value = "k8s", value_enum, hide_possible_values = true)]
    pub(crate) shard_type: ShardType,
    /// Namespace of the shards' StatefulSets [default: every namespace]
    #[arg(long = "shard.namespace", value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) shard_namespace: String,
    /// Label selector of the shards' StatefulSets; each that matches is a replica with all targets
    #[arg(long = "shard.selector", value_name = "SELECTOR", default_value = "app.kubernetes.io/name=prometheus")]
    pub(crate) shard_selector: String,
    /// Port of the sidecar's API on a shard's pod
    #[arg(long = "shard.port", value_name = "PORT", default_value = "8080", value_parser = values::int64)]
    pub(crate) shard_port: i64,
    /// List of shards for --shard.type=static, read again in every cycle
    #[arg(long = "shard.static-file", value_name = "FILE", default_value = "static-shards.yaml")]
    pub(crate) shard_static_file: String,
    /// Folder of the shards of --shard.type=process: their data, files, logs, and who they are
    #[arg(long = "shard.process-dir", value_name = "FOLDER", default_value = "shards")]
    pub(crate) shard_process_dir: String,
    /// Prometheus that the shards of --shard.type=process run
    #[arg(long = "shard.prometheus-binary", value_name = "FILE", default_value = "prometheus")]
    pub(crate) shard_prometheus_binary: String,
    /// Argument added to that Prometheus' own; may be given several times [default: none]
    #[arg(long = "shard.prometheus-arg", value_name = "ARGUMENT", action = clap::ArgAction::Append)]
    pub(crate) shard_prometheus_arg: Vec<String>,
    /// Argument added to the sidecar's own with --shard.type=process; may be given several times [default: none]
    #[arg(long = "shard.sidecar-arg", value_name = "ARGUMENT", action = clap::ArgAction::Append)]
    pub(crate) shard_sidecar_arg: Vec<String>,
    /// Whether the shards of --shard.type=process end with the coordinator; otherwise the next one adopts them
    #[arg(long = "shard.process-stop", value_name = BOOL, default_value = "false")]
    pub(crate) shard_process_stop: Switch,

    /// Whether several coordinators agree on one that acts while the others observe (--shard.type=k8s only); needs get,
    /// create and update on leases of coordination.k8s.io
    #[arg(long = "leader-elect", value_name = BOOL, default_value = "false")]
    pub(crate) leader_elect: Switch,
    /// Name of the Lease they agree by
    #[arg(long = "leader-elect.lease-name", value_name = "NAME", default_value = "kvass-coordinator")]
    pub(crate) leader_elect_lease_name: String,
    /// Namespace of that Lease [default: NAMESPACE of the environment, or the pod's own]
    #[arg(long = "leader-elect.namespace", value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) leader_elect_namespace: String,
    /// How long the leader may be silent before another takes over, whole seconds from 3s; it renews every third of it
    #[arg(long = "leader-elect.lease-duration", value_name = "DURATION", default_value = "15s", value_parser = values::duration)]
    pub(crate) leader_elect_lease_duration: Duration,

    /// Prometheus configuration file
    #[arg(long = "config.file", value_name = "FILE", default_value = "prometheus.yml")]
    pub(crate) config_file: String,
    /// Folder in which the last good configuration is kept, for a start beside a broken file; empty keeps none [default:
    /// none]
    #[arg(long = "store.path", value_name = "FOLDER", default_value = "", hide_default_value = true)]
    pub(crate) store_path: String,
    /// Address of the API, metrics and user interface
    #[arg(long = "web.address", value_name = "ADDRESS", default_value = ":9090")]
    pub(crate) web_address: String,
    /// Longest time between two cycles; changes are acted on at once
    #[arg(long = "coordinator.interval", value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    pub(crate) coordinator_interval: Duration,
    /// Longest wait for the first answer of every job's service discovery before the first cycle
    #[arg(long = "sd.init-timeout", value_name = "DURATION", default_value = "1m", value_parser = values::duration)]
    pub(crate) sd_init_timeout: Duration,
    /// Targets measured at the same time
    #[arg(long = "explore.concurrence", value_name = "INT", default_value = "200", value_parser = values::int64)]
    pub(crate) explore_concurrence: i64,
    /// Largest body of a target, uncompressed, where its job sets no body_size_limit; 0 for no limit
    #[arg(long = "scrape.body-size-limit", value_name = "SIZE", default_value = "256MiB", value_parser = values::size)]
    pub(crate) scrape_body_size_limit: u64,
    /// Whether each measuring opens a connection of its own
    #[arg(long = "scrape.disable-keep-alive", value_name = BOOL, default_value = "false")]
    pub(crate) scrape_disable_keep_alive: Switch,
    /// Whether each request of HTTP service discovery opens a connection of its own
    #[arg(long = "discovery.disable-keep-alive", value_name = BOOL, default_value = "false")]
    pub(crate) discovery_disable_keep_alive: Switch,
    /// Base URL of a Prometheus that discovers what kvass has no code for and scrapes nothing; needs
    /// --discovery.prometheus-config, and that Prometheus --web.enable-lifecycle [default: none]
    #[arg(long = "discovery.prometheus-url", value_name = "URL", default_value = "", hide_default_value = true)]
    pub(crate) discovery_prometheus_url: String,
    /// Configuration file of that Prometheus, written by the coordinator; it holds the secrets of the sections, so only
    /// the owner may read it [default: none]
    #[arg(long = "discovery.prometheus-config", value_name = "FILE", default_value = "", hide_default_value = true)]
    pub(crate) discovery_prometheus_config: String,
    /// Percentage of a section's targets, 0 to 99, above which a loss of 10 or more in one read waits for a further read
    /// to confirm it [default: every read is believed]
    #[arg(long = "discovery.max-loss", value_name = "PERCENT", value_parser = values::int64)]
    pub(crate) discovery_max_loss: Option<i64>,
    /// Whose rules apply where versions of Prometheus differ: 2, 3, or auto to ask the shards
    #[arg(long = "prometheus.version", value_name = "VERSION", default_value = "auto", value_enum, hide_possible_values = true)]
    pub(crate) prometheus_version: PrometheusVersion,

    /// API server of Kubernetes service discovery that names none [default: the cluster's own]
    #[arg(long = "inject.kubernetes-url", value_name = "URL", default_value = "", hide_default_value = true)]
    pub(crate) inject_kubernetes_url: String,
    /// Proxy towards that API server [default: none]
    #[arg(long = "inject.kubernetes-proxy", value_name = "URL", default_value = "", hide_default_value = true)]
    pub(crate) inject_kubernetes_proxy: String,
    /// Folder with ca.crt and token instead of the pod's service account [default: the pod's]
    #[arg(long = "inject.kubernetes-sa-path", value_name = "FOLDER", default_value = "", hide_default_value = true)]
    pub(crate) inject_kubernetes_sa_path: String,
    /// Deprecated: bearer token of Kubernetes service discovery; prefer a folder with a token file [default: none]
    #[arg(long = "inject.kubernetes-token", value_name = "TOKEN", default_value = "", hide_default_value = true)]
    pub(crate) inject_kubernetes_token: String,

    #[command(flatten)]
    pub(crate) log: LogFlags,
    #[command(flatten)]
    pub(crate) ignored: IgnoredWords,
}
