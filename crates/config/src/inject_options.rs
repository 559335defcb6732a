use std::path::PathBuf;

use crate::{ScrapeConfig, Secret};

/// How kvass itself reaches the Kubernetes API server and targets, where that differs from what the
/// configuration says to a Prometheus inside the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InjectOptions {
    /// API server of Kubernetes discovery that names none.
    pub kubernetes_url: Option<String>,
    /// Proxy towards that API server.
    pub kubernetes_proxy: Option<String>,
    /// Folder holding `ca.crt` and `token` instead of the pod's service account folder.
    pub kubernetes_sa_path: Option<PathBuf>,
    /// Bearer token towards that API server; wins over a token file.
    pub kubernetes_token: Option<Secret>,
    /// Proxy of HTTP discovery that names none.
    pub scrape_proxy: Option<String>,
}

/// The job as the coordinator discovers it.
pub fn apply_sd_injection(job: &ScrapeConfig, _options: &InjectOptions) -> ScrapeConfig {
    job.clone()
}

/// The job as coordinator and sidecar scrape it.
pub fn apply_scrape_injection(job: &ScrapeConfig, _options: &InjectOptions) -> ScrapeConfig {
    job.clone()
}
