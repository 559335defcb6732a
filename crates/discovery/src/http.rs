//! Targets from an HTTP endpoint.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, CONTENT_TYPE, USER_AGENT},
};
use kvass_config::{HttpSdConfig, Secret};
use kvass_model::{Labels, TargetGroup};
use kvass_scrape::{ClientError, ClientOptions, HttpClient, ScrapeError};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::{backoff::Backoff, feed::Feed, manager::DiscoveryOptions};

/// Label holding the URL of the endpoint.
const URL_LABEL: &str = "__meta_url";
const REFRESH_INTERVAL_HEADER: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");

/// Why a refresh brought no groups.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Transport(#[from] ScrapeError),
    #[error("server returned HTTP status {0}: expected 200 OK")]
    Status(::http::StatusCode),
    #[error("content type {0:?}: expected \"application/json\" with no charset but utf-8")]
    ContentType(String),
    #[error("body is not a JSON list of target groups: {0}")]
    Body(serde_json::Error),
}

/// Asks the endpoint of an `http_sd_configs` entry in its rhythm, for ever. A failed refresh keeps the
/// previous groups.
pub(crate) async fn run(config: HttpSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let name = format!("http_sd_configs: {}", masked(&config.url));
    let mut backoff = Backoff::new(Duration::from_secs(5), config.refresh_interval.max(Duration::from_secs(5)));
    let client = loop {
        match client(&config, &options) {
            Ok(client) => break client,
            Err(error) => {
                tracing::warn!(section = name, %error, "http discovery cannot be set up");
                feed.set_errors(vec![format!("{name}: {error}")]);
                sleep(backoff.next()).await;
            }
        }
    };
    loop {
        let started = Instant::now();
        match refresh(&client, &config, started).await {
            Ok(groups) => {
                feed.set_errors(Vec::new());
                feed.replace(groups);
            }
            Err(error) => {
                tracing::warn!(section = name, %error, "http discovery failed, its previous targets stay");
                feed.set_errors(vec![format!("{name}: {error}")]);
            }
        }
        tokio::time::sleep_until(started + config.refresh_interval).await;
    }
}

fn client(config: &HttpSdConfig, options: &DiscoveryOptions) -> Result<HttpClient, RefreshError> {
    let mut http = config.http.clone();
    if http.proxy.url.is_none() && !http.proxy.from_environment {
        http.proxy.url = options.scrape_proxy.clone().map(Secret::new);
    }
    // Prometheus reads without a limit; the default one protects the process.
    let options = ClientOptions { keep_alive: options.keep_alive, http2: options.http2, ..ClientOptions::default() };
    Ok(HttpClient::new(&http, &options)?)
}

async fn refresh(client: &HttpClient, config: &HttpSdConfig, started: Instant) -> Result<Vec<TargetGroup>, RefreshError> {
    let mut response =
        client.get(&config.url, request_headers(config.refresh_interval), started + config.refresh_interval).await?;
    if response.status() != ::http::StatusCode::OK {
        return Err(RefreshError::Status(response.status()));
    }
    let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !is_json(content_type) {
        return Err(RefreshError::ContentType(String::from_utf8_lossy(content_type).into_owned()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    decode(&body, &config.url).map_err(RefreshError::Body)
}

fn request_headers(refresh_interval: Duration) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(kvass_scrape::USER_AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    // A number is always a legal header value.
    if let Ok(seconds) = HeaderValue::try_from(refresh_interval.as_secs_f64().to_string()) {
        headers.insert(REFRESH_INTERVAL_HEADER, seconds);
    }
    headers
}

/// Whether the content type is JSON in UTF-8 and says nothing else.
fn is_json(content_type: &[u8]) -> bool {
    let lower = content_type.to_ascii_lowercase();
    let Some(parameters) = lower.strip_prefix(b"application/json") else { return false };
    match parameters.split_first() {
        None => true,
        Some((b';', rest)) => {
            let start = rest.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(rest.len());
            matches!(&rest[start..], b"charset=utf-8" | b"charset=\"utf-8\"")
        }
        Some(_) => false,
    }
}

/// A group as it is written in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonGroup {
    targets: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
}

fn decode(body: &[u8], url: &str) -> Result<Vec<TargetGroup>, serde_json::Error> {
    // Go reads `null` as an empty list.
    let groups: Option<Vec<JsonGroup>> = serde_json::from_slice(body)?;
    let groups = groups.unwrap_or_default().into_iter().enumerate();
    let groups = groups.map(|(index, group)| {
        let targets = group.targets.unwrap_or_default().into_iter();
        let mut labels = group.labels.unwrap_or_default();
        labels.insert(URL_LABEL.to_owned(), url.to_owned());
        TargetGroup {
            source: format!("{url}:{index}"),
            targets: targets.map(|address| Labels::from([(kvass_model::ADDRESS_LABEL, address)])).collect(),
            labels: labels.into_iter().collect(),
        }
    });
    Ok(groups.collect())
}

/// The URL without the password it may hold.
fn masked(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) if url.password().is_some() => {
            // Fails only for URLs that cannot hold a password.
            let _ = url.set_password(Some("xxxxx"));
            url.into()
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for (content_type, ok) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/json; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\"", true),
            ("application/json ; charset=utf-8", false),
            ("application/json; charset=latin1", false),
            ("application/json; charset=utf-8; q=1", false),
            ("application/json;", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json(content_type.as_bytes()), ok, "{content_type:?}");
        }
    }

    #[test]
    fn bodies() {
        let url = "http://sd/x";
        let groups = decode(br#"[{"targets":["a:1","b:1"],"labels":{"env":"x"}},{"targets":null}]"#, url).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].source, "http://sd/x:0");
        assert_eq!(groups[0].targets, [Labels::from([("__address__", "a:1")]), Labels::from([("__address__", "b:1")])]);
        assert_eq!(groups[0].labels, Labels::from([("env", "x"), ("__meta_url", url)]));
        assert_eq!(decode(b"null", url).unwrap(), []);
        for bad in
            ["", "{}", "[null]", r#"[{"targets":["a"],"extra":1}]"#, r#"[{"targets":[1]}]"#, r#"[{"labels":{"a":1}}]"#, "[] x"]
        {
            assert!(decode(bad.as_bytes(), url).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_and_masking() {
        assert_eq!(request_headers(Duration::from_millis(60_500))[REFRESH_INTERVAL_HEADER], "60.5");
        assert_eq!(request_headers(Duration::from_secs(60))[REFRESH_INTERVAL_HEADER], "60");
        assert_eq!(masked("http://u:secret@h/p"), "http://u:xxxxx@h/p");
        assert_eq!(masked("http://h/p"), "http://h/p");
    }
}
