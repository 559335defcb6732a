//! Targets from an HTTP endpoint.

use std::{sync::Arc, time::Duration};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, USER_AGENT},
};
use kvass_config::{HttpSdConfig, Secret};
use kvass_model::{LabelsBuilder, PrometheusLine, TargetGroup};
use kvass_scrape::HttpClient;
use tokio::time::Instant;

use crate::{
    api::{self, Reply, masked},
    feed::Feed,
    json_groups::{self, GroupsError},
    manager::DiscoveryOptions,
    refresh::{self, Findings, Mechanism, RefreshError},
};

/// Label holding the URL of the endpoint.
const URL_LABEL: &str = "__meta_url";
const REFRESH_INTERVAL_HEADER: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");

/// Asks the endpoint of an `http_sd_configs` entry in its rhythm, for ever. A failed refresh keeps the
/// previous groups.
pub(crate) async fn run(config: HttpSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let name = format!("http_sd_configs: {}", masked(&config.url));
    let interval = config.refresh_interval;
    let set_up = move || Ok(Endpoint { client: client(&config, &options)?, config: config.clone() });
    refresh::run(name, interval, set_up, feed).await;
}

struct Endpoint {
    client: HttpClient,
    config: HttpSdConfig,
}

impl Mechanism for Endpoint {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let HttpSdConfig { url, refresh_interval, line, .. } = &self.config;
        let deadline = Instant::now() + *refresh_interval;
        let reply = Reply::read(self.client.get(url, request_headers(*refresh_interval), deadline).await?).await?;
        if reply.status != StatusCode::OK {
            return Err(RefreshError::Status { status: reply.status, expected: "200 OK" });
        }
        reply.require_json()?;
        let groups = decode(&reply.body, url, *line);
        let groups = groups.map_err(|error| RefreshError::Body(format!("body is no list of target groups: {error}")))?;
        Ok(groups.into())
    }
}

fn client(config: &HttpSdConfig, options: &DiscoveryOptions) -> Result<HttpClient, RefreshError> {
    let mut http = config.http.clone();
    if http.proxy.url.is_none() && !http.proxy.from_environment {
        http.proxy.url = options.scrape_proxy.clone().map(Secret::new);
    }
    api::client(&http, options)
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

fn decode(body: &[u8], url: &str, line: PrometheusLine) -> Result<Vec<TargetGroup>, GroupsError> {
    let mut groups = json_groups::decode(body, line)?;
    for (index, group) in groups.iter_mut().enumerate() {
        group.source = format!("{url}:{index}");
        let mut labels = LabelsBuilder::from(&group.labels);
        labels.set(URL_LABEL, url);
        group.labels = labels.build();
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use kvass_model::Labels;

    use super::*;

    #[test]
    fn bodies() {
        let url = "http://sd/x";
        let groups =
            decode(br#"[{"targets":["a:1","b:1"],"labels":{"env":"x"}},{"targets":null}]"#, url, PrometheusLine::V2).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].source, "http://sd/x:0");
        assert_eq!(groups[0].targets, [Labels::from([("__address__", "a:1")]), Labels::from([("__address__", "b:1")])]);
        assert_eq!(groups[0].labels, Labels::from([("env", "x"), ("__meta_url", url)]));
    }

    #[test]
    fn headers() {
        assert_eq!(request_headers(Duration::from_millis(60_500))[REFRESH_INTERVAL_HEADER], "60.5");
        assert_eq!(request_headers(Duration::from_secs(60))[REFRESH_INTERVAL_HEADER], "60");
    }
}
