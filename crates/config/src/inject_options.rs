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
            _ => {}
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
    for (source, from, to) in
        [(http.tls.ca.as_mut(), SERVICE_ACCOUNT_CA, "ca.crt"), (credentials, SERVICE_ACCOUNT_TOKEN, "token")]
    {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, LoadContext};

    const CONFIG: &str = "
scrape_configs:
- job_name: a
  tls_config: {ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}
  bearer_token_file: /var/run/secrets/kubernetes.io/serviceaccount/token
  kubernetes_sd_configs:
  - role: pod
  - {role: pod, api_server: 'https://own', bearer_token_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
  - {role: pod, kubeconfig_file: /kube.conf}
  http_sd_configs:
  - url: http://sd
  - {url: 'http://sd', proxy_url: 'http://own'}
- job_name: b
  tls_config: {ca_file: /other/ca.crt}
";

    fn jobs() -> [ScrapeConfig; 2] {
        let context = LoadContext {
            path: "/p.yml".into(),
            line: kvass_model::PrometheusLine::V2,
            env: &|_| None,
            read_glob: &|_| Ok(Vec::new()),
        };
        let config = Config::parse(CONFIG, &context).unwrap();
        [0, 1].map(|index| ScrapeConfig::clone(&config.jobs()[index]))
    }

    fn options() -> InjectOptions {
        InjectOptions {
            kubernetes_url: Some("https://api".to_owned()),
            kubernetes_proxy: Some("http://proxy".to_owned()),
            kubernetes_sa_path: Some("/sa".into()),
            kubernetes_token: None,
            scrape_proxy: Some("http://scrape".to_owned()),
        }
    }

    fn file(path: &str) -> Option<SecretSource> {
        Some(SecretSource::File(path.into()))
    }

    fn kubernetes(job: &ScrapeConfig) -> Vec<&KubernetesSdConfig> {
        let mut sections = Vec::new();
        for section in &job.service_discovery {
            if let SdConfig::Kubernetes(kubernetes) = section {
                sections.push(&**kubernetes);
            }
        }
        sections
    }

    #[test]
    fn discovery_without_a_server_of_its_own_is_redirected() {
        let [before, _] = jobs();
        let after = apply_sd_injection(&before, &options());
        let sections = kubernetes(&after);
        assert_eq!(sections[0].api_server.as_deref(), Some("https://api"));
        assert_eq!(sections[0].http.tls.ca, file("/sa/ca.crt"));
        assert_eq!(sections[0].http.authorization, Some(bearer(SecretSource::File("/sa/token".into()))));
        assert_eq!(sections[0].http.proxy.url, Some(Secret::new("http://proxy")));
        assert_eq!(sections[1..], kubernetes(&before)[1..]);

        let proxies = after.service_discovery.iter().filter_map(|section| match section {
            SdConfig::Http(http) => http.http.proxy.url.as_ref().map(Secret::reveal),
            _ => None,
        });
        assert_eq!(proxies.collect::<Vec<_>>(), ["http://scrape", "http://own"]);
        assert_eq!(after.http, before.http);
    }

    #[test]
    fn a_token_wins_over_the_service_account() {
        let options = InjectOptions { kubernetes_token: Some(Secret::new("t")), ..options() };
        let after = apply_sd_injection(&jobs()[0], &options);
        let token = bearer(SecretSource::Inline(Secret::new("t")));
        assert_eq!(kubernetes(&after)[0].http.authorization, Some(token));
    }

    #[test]
    fn without_a_url_kubernetes_discovery_stays_in_the_cluster() {
        let options = InjectOptions { kubernetes_url: None, scrape_proxy: None, ..options() };
        assert_eq!(apply_sd_injection(&jobs()[0], &options), jobs()[0]);
    }

    #[test]
    fn scraping_takes_the_service_account_from_the_other_folder() {
        let [a, b] = jobs();
        let after = apply_scrape_injection(&a, &options());
        assert_eq!(after.http.tls.ca, file("/sa/ca.crt"));
        assert_eq!(after.http.authorization, Some(bearer(SecretSource::File("/sa/token".into()))));
        assert_eq!(apply_scrape_injection(&b, &options()), b);
    }
}
