use clap::Args;
use kvass_sidecar::DeliveryMode;

use super::{IgnoredWords, LogFlags, PrometheusVersion, pflag::BOOL, values, values::Switch};

/// Flags of `kvass sidecar`. An `Option` is a flag whose absence means something.
#[derive(Args, Clone, Debug)]
pub(crate) struct SidecarFlags {
    /// Address of the API, which passes what it does not know on to Prometheus
    #[arg(long = "web.api-addr", value_name = "ADDRESS", default_value = ":8080")]
    pub(crate) web_api_addr: String,
    /// Address of the proxy of all scrapes
    #[arg(long = "web.proxy-addr", value_name = "ADDRESS", default_value = ":8008")]
    pub(crate) web_proxy_addr: String,
    /// The Prometheus of this shard, or its vmagent
    #[arg(long = "prometheus.url", value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub(crate) prometheus_url: String,
    /// Whose rules apply where versions of Prometheus differ: 2, 3, or auto to ask it
    #[arg(long = "prometheus.version", value_name = "VERSION", default_value = "auto", value_enum, hide_possible_values = true)]
    pub(crate) prometheus_version: PrometheusVersion,

    /// Prometheus configuration file; empty if the coordinator is to send it
    #[arg(long = "config.file", value_name = "FILE", default_value = "/etc/prometheus/config_out/prometheus.env.yaml")]
    pub(crate) config_file: String,
    /// Where the configuration for Prometheus is written
    #[arg(
        long = "config.output-file",
        value_name = "FILE",
        default_value = "/etc/prometheus/config_out/prometheus_injected.yaml"
    )]
    pub(crate) config_output_file: String,
    /// Deprecated: file of targets of kvass v0.0.2 and before, read once [default: none]
    #[arg(long = "config.target-file", value_name = "FILE")]
    pub(crate) config_target_file: Option<String>,
    /// Folder in which the shard's targets and the last good configuration are remembered [default: /prometheus/, or that of --config.target-file]
    #[arg(long = "store.path", value_name = "FOLDER")]
    pub(crate) store_path: Option<String>,
    /// Data folder of Prometheus, from which a Thanos sidecar uploads; the head of a shard without targets is then made a
    /// block too. Prometheus needs --web.enable-admin-api, and the sidecar the same user as Prometheus [default: none]
    #[arg(long = "tsdb.path", value_name = "FOLDER")]
    pub(crate) tsdb_path: Option<String>,

    /// How Prometheus gets its targets: auto, file, http or static; auto is static for vmagent, otherwise file, or http for
    /// many jobs and where files are not seen
    #[arg(long = "inject.targets", value_name = "HOW", default_value = "auto", value_parser = delivery)]
    pub(crate) inject_targets: DeliveryMode,
    /// Proxy that Prometheus scrapes through; empty leaves each job's own, and nothing is counted
    #[arg(long = "inject.proxy", value_name = "URL", default_value = "http://127.0.0.1:8008")]
    pub(crate) inject_proxy: String,
    /// External label name=value added to Prometheus' own, to tell shards apart; may be given several times [default: none]
    #[arg(long = "inject.external-label", value_name = "LABEL", value_parser = values::label, action = clap::ArgAction::Append)]
    pub(crate) inject_external_label: Vec<(String, String)>,
    /// Whether rule_files and alerting are left out, because a shard sees a part of the series only
    #[arg(long = "inject.strip-rules", value_name = BOOL, default_value = "false")]
    pub(crate) inject_strip_rules: Switch,
    /// Folder with ca.crt and token instead of the pod's service account [default: the pod's]
    #[arg(long = "inject.kubernetes-sa-path", value_name = "FOLDER", default_value = "", hide_default_value = true)]
    pub(crate) inject_kubernetes_sa_path: String,

    /// Whether Prometheus is asked for its head series; vmagent and Prometheus in agent mode, which have none, are recognised
    #[arg(long = "shard.fetch-head-series", value_name = BOOL, default_value = "true")]
    pub(crate) shard_fetch_head_series: Switch,
    /// Whether Prometheus scrapes its own shard as job prometheus_shards
    #[arg(long = "shard.self-monitor", value_name = BOOL, default_value = "false")]
    pub(crate) shard_self_monitor: Switch,
    /// Largest body of a target, uncompressed, where its job sets no body_size_limit; 0 for no limit
    #[arg(long = "scrape.body-size-limit", value_name = "SIZE", default_value = "256MiB", value_parser = values::size)]
    pub(crate) scrape_body_size_limit: u64,
    /// Whether each scrape opens a connection of its own
    #[arg(long = "scrape.disable-keep-alive", value_name = BOOL, default_value = "false")]
    pub(crate) scrape_disable_keep_alive: Switch,
    /// Coordinator of the original to agree with about configuration hashes, while migrating [default: none]
    #[arg(long = "compat.coordinator-url", value_name = "URL", default_value = "", hide_default_value = true)]
    pub(crate) compat_coordinator_url: String,

    #[command(flatten)]
    pub(crate) log: LogFlags,
    #[command(flatten)]
    pub(crate) ignored: IgnoredWords,
}

fn delivery(text: &str) -> Result<DeliveryMode, String> {
    text.parse().map_err(|_| "expected auto, file, http or static".to_owned())
}
