use std::{fmt, path::PathBuf, str::FromStr};

use kvass_model::{Labels, PrometheusLine};

/// Default limit on the decompressed body of a scrape: 256 MiB.
pub const DEFAULT_BODY_SIZE_LIMIT: u64 = 256 << 20;

/// What the sidecar is asked to do; flags already have their meaning.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the scrape proxy listens (`--web.proxy-addr`); an empty host means all interfaces.
    pub proxy_address: String,
    /// Where the API listens (`--web.api-addr`); an empty host means all interfaces.
    pub api_address: String,
    /// Base URL of the Prometheus beside this sidecar (`--prometheus.url`).
    pub prometheus_url: String,
    /// The user's configuration file; `None` means that the coordinator pushes its content.
    pub config_file: Option<PathBuf>,
    /// The configuration written for Prometheus (`--config.output-file`). Target files go to a folder beside it.
    pub output_file: PathBuf,
    /// Folder of the store (`--store.path`); created if missing.
    pub store_path: PathBuf,
    /// A target file of v0.0.x, imported when there is no store yet (`--config.target-file`).
    pub legacy_target_file: Option<PathBuf>,
    /// `proxy_url` of every job (`--inject.proxy`); `None` leaves Prometheus scraping directly.
    pub inject_proxy: Option<String>,
    /// Folder that replaces the pod's service account folder when targets are scraped.
    pub service_account_path: Option<PathBuf>,
    /// Data folder of Prometheus (`--tsdb.path`), where a Thanos sidecar uploads its blocks to an object
    /// store. `None`: samples end with the shard.
    pub tsdb_path: Option<PathBuf>,
    /// Ask Prometheus for its head series; off for agents, which have none.
    pub fetch_head_series: bool,
    /// Keep connections to targets open between scrapes.
    pub keep_alive: bool,
    /// Add the job that watches the shard's own Prometheus.
    pub self_monitor: bool,
    /// Name of the pod (`POD_NAME`), for the labels of the self-monitor job.
    pub pod_name: String,
    /// Proxy that replaces every job's own (`SCRAPE_PROXY`).
    pub scrape_proxy: Option<String>,
    /// HTTP/2 towards targets that offer it.
    pub http2: bool,
    /// Limit on the decompressed body of a scrape in bytes; the job's own wins.
    pub body_size_limit: u64,
    /// How Prometheus learns its targets.
    pub delivery: DeliveryMode,
    /// External labels added to this shard's configuration.
    pub external_labels: Labels,
    /// Leave `rule_files` and `alerting` out of the injected configuration.
    pub strip_rules: bool,
    /// Whose rules apply; `None` asks Prometheus, and means 2.x until it answers.
    pub prometheus_version: Option<PrometheusLine>,
    /// A coordinator of the original Kvass whose configuration hash is reported instead of our own while
    /// both have the same configuration.
    pub compat_coordinator_url: Option<String>,
}

/// How Prometheus learns its targets (`--inject.targets`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryMode {
    /// Files, unless there are many jobs or Prometheus turns out not to see the files.
    #[default]
    Auto,
    /// One file per job (`file_sd_configs`). Costs Prometheus one inotify instance per job.
    File,
    /// Polled from this sidecar every five seconds (`http_sd_configs`).
    Http,
    /// Written into the configuration (`static_configs`), as the original does: every change of a target
    /// is a reload.
    Static,
}

impl DeliveryMode {
    /// The word used by the flag.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryMode::Auto => "auto",
            DeliveryMode::File => "file",
            DeliveryMode::Http => "http",
            DeliveryMode::Static => "static",
        }
    }
}

impl fmt::Display for DeliveryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(DeliveryMode::Auto),
            "file" => Ok(DeliveryMode::File),
            "http" => Ok(DeliveryMode::Http),
            "static" => Ok(DeliveryMode::Static),
            _ => Err(format!("{text:?}: expected auto, file, http or static")),
        }
    }
}
