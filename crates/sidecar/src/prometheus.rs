//! The Prometheus beside this sidecar.

use std::{
    collections::HashSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use kvass_config::PrometheusRelease;
use kvass_model::TargetHash;
use reqwest::{Response, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    delivery::HASH_PARAM,
    scraper::{Reload, Reloads, Scraper},
};

/// Questions are answered from memory.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// The list of targets may be long.
const LIST_TIMEOUT: Duration = Duration::from_secs(20);
/// A snapshot writes the whole head. One that is not waited for is made all the same, and nobody knows its
/// name.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(600);
/// A reload waits for the replay of the write-ahead log during start-up.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// How long vmagent may take to say that it has read a configuration, with metrics that are up to a second old. It says
/// nothing of one that is not new.
const VMAGENT_READS: Duration = Duration::from_secs(3);
const VMAGENT_LOOK: Duration = Duration::from_millis(200);
/// No answer of interest is longer.
const MAX_ANSWER: usize = 256 << 20;

/// Why Prometheus did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrometheusError {
    #[error("prometheus does not answer {path}")]
    Unreachable { path: &'static str, source: reqwest::Error },
    #[error("prometheus answers {path} with status {status}: {text}")]
    Refused { path: &'static str, status: StatusCode, text: String },
    #[error("prometheus answers {path} with something unexpected: {problem}")]
    Malformed { path: &'static str, problem: String },
    #[error(
        "vmagent does not take the configuration, its log says why; it refuses sections it does not know unless -promscrape.config.strictParse=false"
    )]
    NotTaken,
}

impl PrometheusError {
    /// Of something that has no such endpoint.
    fn is_unknown_path(&self) -> bool {
        matches!(self, PrometheusError::Refused { status: StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST, .. })
    }

    /// Of an agent, asked for what only a server has.
    fn is_of_an_agent(&self) -> bool {
        matches!(self, PrometheusError::Refused { text, .. } if text.contains("unavailable with Prometheus Agent"))
    }
}

/// The base URL is not usable.
#[derive(Debug, thiserror::Error)]
#[error("--prometheus.url={url:?}: expected an http or https URL with a host, for example http://127.0.0.1:9090")]
pub(crate) struct UrlError {
    url: String,
}

/// Client of one Prometheus.
#[derive(Clone, Debug)]
pub(crate) struct Prometheus {
    base: Url,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

impl Prometheus {
    /// Environment proxies are honoured, except for a Prometheus on this machine.
    pub(crate) fn new(url: &str) -> Result<Self, UrlError> {
        let error = || UrlError { url: url.to_owned() };
        let base = Url::parse(url).map_err(|_| error())?;
        let host = base.host_str().filter(|_| matches!(base.scheme(), "http" | "https")).ok_or_else(error)?;
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            // What is passed through must arrive as Prometheus said it.
            .redirect(reqwest::redirect::Policy::none());
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            builder = builder.no_proxy();
        }
        if base.scheme() == "http" {
            // An image without certificate authorities still speaks plain HTTP.
            builder = builder.tls_certs_only([]);
        }
        Ok(Prometheus { http: builder.build().map_err(|_| error())?, base })
    }

    /// Host and port, for the self-monitor job.
    pub(crate) fn host_and_port(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The client that requests are passed through with.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The URL below the base, joined with exactly one slash; a query of the base comes first.
    pub(crate) fn url(&self, path: &str, query: Option<&str>) -> String {
        let mut base = self.base.clone();
        let base_query = base.query().map(str::to_owned);
        base.set_query(None);
        base.set_fragment(None);
        let mut url = format!("{}/{}", base.as_str().trim_end_matches('/'), path.trim_start_matches('/'));
        let parts: Vec<&str> = [base_query.as_deref(), query].into_iter().flatten().filter(|part| !part.is_empty()).collect();
        if !parts.is_empty() {
            url.push('?');
            url.push_str(&parts.join("&"));
        }
        url
    }

    /// Has Prometheus read its configuration again. `vmagent` is what it was when it was asked last.
    pub(crate) async fn reload(&self, vmagent: bool) -> Result<(), PrometheusError> {
        let before = match self.scraper(vmagent).await {
            Ok(Scraper::Vmagent(reloads)) => Some(reloads),
            // Whatever is wrong is met again.
            Ok(Scraper::Prometheus(_)) | Err(_) => None,
        };
        let path = "/-/reload";
        let request = self.http.post(self.url(path, None)).timeout(RELOAD_TIMEOUT);
        self.send(path, request).await?;
        match before {
            Some(before) => self.vmagent_reloaded(before).await,
            None => Ok(()),
        }
    }

    async fn vmagent_reloaded(&self, before: Reloads) -> Result<(), PrometheusError> {
        let start = Instant::now();
        loop {
            let reloads = self.vmagent_reloads().await?;
            let end = match reloads.since(before) {
                Reload::Unknown if start.elapsed() >= VMAGENT_READS => reloads.unchanged(),
                end => end,
            };
            match end {
                Reload::Taken => return Ok(()),
                Reload::Refused => return Err(PrometheusError::NotTaken),
                Reload::Unknown => tokio::time::sleep(VMAGENT_LOOK).await,
            }
        }
    }

    /// Series in the head block; `None` where there is no head, as in an agent.
    pub(crate) async fn head_series(&self) -> Result<Option<u64>, PrometheusError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Tsdb {
            head_stats: HeadStats,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct HeadStats {
            num_series: u64,
        }
        match self.ask::<Tsdb>("/api/v1/status/tsdb", None, ASK_TIMEOUT).await {
            Ok(tsdb) => Ok(Some(tsdb.head_stats.num_series)),
            Err(error) if error.is_of_an_agent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What answers, and which rules it follows. `vmagent` is what it was when it was asked last: that logs a warning of
    /// every path it does not know.
    pub(crate) async fn scraper(&self, vmagent: bool) -> Result<Scraper, PrometheusError> {
        if vmagent && let Ok(reloads) = self.vmagent_reloads().await {
            return Ok(Scraper::Vmagent(reloads));
        }
        match self.release().await {
            Ok(release) => Ok(Scraper::Prometheus(release)),
            Err(error) if error.is_unknown_path() => match self.vmagent_reloads().await {
                Ok(reloads) => Ok(Scraper::Vmagent(reloads)),
                Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn vmagent_reloads(&self) -> Result<Reloads, PrometheusError> {
        let path = "/metrics";
        let body = self.body(path, self.http.get(self.url(path, None)).timeout(ASK_TIMEOUT)).await?;
        Reloads::of_metrics(&String::from_utf8_lossy(&body))
            .ok_or_else(|| PrometheusError::Malformed { path, problem: "no vm_promscrape_config_* metrics".to_owned() })
    }

    async fn release(&self) -> Result<PrometheusRelease, PrometheusError> {
        #[derive(Deserialize)]
        struct BuildInfo {
            version: String,
        }
        let path = "/api/v1/status/buildinfo";
        let info: BuildInfo = self.ask(path, None, ASK_TIMEOUT).await?;
        PrometheusRelease::of_version(&info.version)
            .ok_or_else(|| PrometheusError::Malformed { path, problem: format!("version {:?}", info.version) })
    }

    /// The hashes of all targets it scrapes.
    pub(crate) async fn listed(&self) -> Result<HashSet<TargetHash>, PrometheusError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Targets {
            active_targets: Vec<ActiveTarget>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ActiveTarget {
            scrape_url: String,
        }
        let targets: Targets = self.ask("/api/v1/targets", Some("state=active"), LIST_TIMEOUT).await?;
        Ok(targets.active_targets.iter().filter_map(|target| hash_of_scrape_url(&target.scrape_url)).collect())
    }

    /// When it was started, in its own words: another answer is another process.
    pub(crate) async fn started(&self) -> Result<String, PrometheusError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Runtime {
            start_time: String,
        }
        Ok(self.ask::<Runtime>("/api/v1/status/runtimeinfo", None, ASK_TIMEOUT).await?.start_time)
    }

    /// Has a snapshot made of blocks and head; its name, which is a folder below `snapshots`.
    pub(crate) async fn snapshot(&self) -> Result<String, PrometheusError> {
        #[derive(Deserialize)]
        struct Snapshot {
            name: String,
        }
        let path = "/api/v1/admin/tsdb/snapshot";
        let request = self.http.post(self.url(path, Some("skip_head=false"))).timeout(SNAPSHOT_TIMEOUT);
        let name = self.read::<Snapshot>(path, request).await?.name;
        // It becomes a part of a path, which may be deleted.
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if plain { Ok(name) } else { Err(PrometheusError::Malformed { path, problem: format!("a snapshot named {name:?}") }) }
    }

    /// Whether it is ready to serve.
    pub(crate) async fn ready(&self) -> Result<(), PrometheusError> {
        let path = "/-/ready";
        let request = self.http.get(self.url(path, None)).timeout(ASK_TIMEOUT);
        self.send(path, request).await.map(drop)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &'static str,
        query: Option<&str>,
        timeout: Duration,
    ) -> Result<T, PrometheusError> {
        self.read(path, self.http.get(self.url(path, query)).timeout(timeout)).await
    }

    async fn read<T: DeserializeOwned>(
        &self,
        path: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<T, PrometheusError> {
        let body = self.body(path, request).await?;
        let answer: Answer<T> =
            serde_json::from_slice(&body).map_err(|error| PrometheusError::Malformed { path, problem: error.to_string() })?;
        Ok(answer.data)
    }

    async fn body(&self, path: &'static str, request: reqwest::RequestBuilder) -> Result<Vec<u8>, PrometheusError> {
        let mut response = self.send(path, request).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(path, error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(PrometheusError::Malformed { path, problem: format!("more than {MAX_ANSWER} bytes") });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn send(&self, path: &'static str, request: reqwest::RequestBuilder) -> Result<Response, PrometheusError> {
        let mut response = request.send().await.map_err(|error| unreachable(path, error))?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let text = response.chunk().await.ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&text[..text.len().min(500)]).trim().to_owned();
        Err(PrometheusError::Refused { path, status, text })
    }
}

fn unreachable(path: &'static str, error: reqwest::Error) -> PrometheusError {
    PrometheusError::Unreachable { path, source: error.without_url() }
}

fn hash_of_scrape_url(url: &str) -> Option<TargetHash> {
    let (_, query) = url.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(HASH_PARAM)?.strip_prefix('=')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (base, path, query, expected) in [
            ("http://127.0.0.1:9090", "/-/reload", None, "http://127.0.0.1:9090/-/reload"),
            ("http://127.0.0.1:9090/", "/", None, "http://127.0.0.1:9090/"),
            ("http://h/prom/", "/api/v1/query", Some("query=a%2Bb"), "http://h/prom/api/v1/query?query=a%2Bb"),
            ("http://h/prom?x=1", "/graph", Some("y=2"), "http://h/prom/graph?x=1&y=2"),
            ("http://h/prom?x=1", "/graph", None, "http://h/prom/graph?x=1"),
            ("http://[::1]:9090", "/a//b", None, "http://[::1]:9090/a//b"),
        ] {
            assert_eq!(Prometheus::new(base).unwrap().url(path, query), expected);
        }
        for bad in ["", "127.0.0.1:9090", "ftp://h", "http://", "h:9090"] {
            assert!(Prometheus::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Prometheus::new("http://[::1]").unwrap().host_and_port(), "[::1]:80");
    }

    #[test]
    fn hashes_of_scrape_urls() {
        assert_eq!(hash_of_scrape_url("http://h:1/m?_hash=7&_jobName=j&_scheme=http"), Some(TargetHash(7)));
        assert_eq!(hash_of_scrape_url("http://h:1/m?a_hash=7"), None);
        assert_eq!(hash_of_scrape_url("http://h:1/m"), None);
    }
}
