use std::path::{Path, PathBuf};

use crate::{Authorization, HttpClientConfig, KubernetesSdConfig, ScrapeConfig, SdConfig, Secret, SecretSource};

/// How kvass itself reaches the Kubernetes API server and targets, where that differs from what the
/// configuration says to a Prometheus inside the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InjectOptions {
    /// API server of Kubernetes discovery that names none. The other Kubernetes options act on that discovery only
    /// when this one is set, for otherwise the pod's own service account is used.
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

const SERVICE_ACCOUNT_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The job as the coordinator discovers its targets.
pub fn apply_sd_injection(job: &ScrapeConfig, options: &InjectOptions) -> ScrapeConfig {
    let mut job = job.clone();
    for section in &mut job.service_discovery {
        match section {
            SdConfig::Kubernetes(kubernetes) => inject_kubernetes(kubernetes, options),
            SdConfig::Http(http) => {
                let proxy = &mut http.http.proxy;
                if proxy.url.is_none() && !proxy.from_environment {
                    proxy.url = options.scrape_proxy.as_ref().map(Secret::new);
                }
            }
            SdConfig::Static(_) | SdConfig::File(_) | SdConfig::Unsupported(_) => {}
        }
    }
    job
}

/// A section with an API server or a kubeconfig of its own knows better.
fn inject_kubernetes(section: &mut KubernetesSdConfig, options: &InjectOptions) {
    let Some(url) = options.kubernetes_url.as_ref().filter(|_| section.api_server.is_none() && section.kubeconfig_file.is_none())
    else {
        return;
    };
    section.api_server = Some(url.clone());
    let HttpClientConfig { tls, authorization, proxy, .. } = &mut section.http;
    if let Some(url) = &options.kubernetes_proxy {
        proxy.url = Some(Secret::new(url));
    }
    if let Some(folder) = &options.kubernetes_sa_path {
        tls.ca.get_or_insert_with(|| SecretSource::File(SERVICE_ACCOUNT_CA.into()));
        authorization.get_or_insert_with(|| bearer(SecretSource::File(SERVICE_ACCOUNT_TOKEN.into())));
        move_service_account(&mut section.http, folder);
    }
    if let Some(token) = &options.kubernetes_token {
        section.http.authorization = Some(bearer(SecretSource::Inline(token.clone())));
    }
}

/// The job as coordinator and sidecar scrape it: with another service account folder, files that stand for the usual one
/// are taken from there.
pub fn apply_scrape_injection(job: &ScrapeConfig, options: &InjectOptions) -> ScrapeConfig {
    let mut job = job.clone();
    if let Some(folder) = &options.kubernetes_sa_path {
        move_service_account(&mut job.http, folder);
    }
    job
}

fn move_service_account(http: &mut HttpClientConfig, folder: &Path) {
    let credentials = http.authorization.as_mut().and_then(|authorization| authorization.credentials.as_mut());
    for (source, from, to) in [(http.tls.ca.as_mut(), SERVICE_ACCOUNT_CA, "ca.crt"), (credentials, SERVICE_ACCOUNT_TOKEN, "token")] {
        if let Some(SecretSource::File(path)) = source
            && path == Path::new(from)
        {
            *path = folder.join(to);
        }
    }
}

fn bearer(credentials: SecretSource) -> Authorization {
    Authorization { kind: "Bearer".to_owned(), credentials: Some(credentials) }
}
