//! Targets from the services registered in Nomad.

use std::{sync::Arc, time::Duration};

use ::http::HeaderName;
use kvass_config::{NomadSdConfig, Secret, SecretSource};
use kvass_model::{ADDRESS_LABEL, Labels, TargetGroup};
use serde::Deserialize;
use url::form_urlencoded;

use crate::{
    api::{Api, masked},
    feed::Feed,
    manager::DiscoveryOptions,
    refresh::{self, Findings, Mechanism, RefreshError},
    text::{host_port, path_segment, wrapped_if_any},
};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-nomad-token");

/// Lists the services of a `nomad_sd_configs` entry in its rhythm, for ever.
pub(crate) async fn run(config: NomadSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let name = format!("nomad_sd_configs: {}", masked(&config.server));
    let interval = config.refresh_interval;
    let set_up = move || Nomad::new(&config, &options, &|name| std::env::var(name).ok());
    refresh::run(name, interval, set_up, feed).await;
}

struct Nomad {
    api: Api,
    query: String,
    tag_separator: String,
}

/// The services of one namespace, as `/v1/services` lists them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    services: Vec<ListedService>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedService {
    service_name: String,
}

/// One registration, as `/v1/service/<name>` lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Instance {
    #[serde(rename = "ID")]
    id: String,
    service_name: String,
    namespace: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    datacenter: String,
    tags: Vec<String>,
    address: String,
    port: i64,
}

impl Nomad {
    /// `env` looks up environment variables: as in Prometheus, `NOMAD_TOKEN` is the token of all sections.
    fn new(
        config: &NomadSdConfig,
        options: &DiscoveryOptions,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, RefreshError> {
        let mut api = match config.server.strip_prefix("unix://") {
            Some(path) => Api::at_socket(path, TIMEOUT),
            None => Api::new(origin(&config.server), &config.http, TIMEOUT, options)?,
        };
        if let Some(token) = env("NOMAD_TOKEN").filter(|token| !token.is_empty()) {
            api = api.with_token(TOKEN_HEADER, "", SecretSource::Inline(Secret::new(token)));
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("namespace", &config.namespace), ("region", &config.region)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if config.allow_stale {
            query.append_pair("stale", "");
        }
        Ok(Nomad { api, query: query.finish(), tag_separator: config.tag_separator.clone() })
    }
}

/// Scheme and host alone: a path in the server's URL means nothing to Nomad's own client, by which Prometheus asks.
fn origin(server: &str) -> &str {
    let start = server.find("://").map_or(0, |at| at + 3);
    let end = server[start..].find(['/', '?', '#']).map_or(server.len(), |at| start + at);
    &server[..end]
}

impl Mechanism for Nomad {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let listed: Option<Vec<Listed>> = self.api.json(&format!("/v1/services?{}", self.query)).await?;
        let mut targets = Vec::new();
        for service in listed.into_iter().flatten().flat_map(|namespace| namespace.services) {
            let path = format!("/v1/service/{}?{}", path_segment(&service.service_name), self.query);
            let instances: Option<Vec<Instance>> = self.api.json(&path).await?;
            targets.extend(instances.into_iter().flatten().map(|instance| target(&instance, &self.tag_separator)));
        }
        Ok(TargetGroup { source: "Nomad".to_owned(), targets, labels: Labels::default() }.into())
    }
}

fn target(instance: &Instance, tag_separator: &str) -> Labels {
    Labels::from([
        (ADDRESS_LABEL, host_port(&instance.address, instance.port)),
        ("__meta_nomad_address", instance.address.clone()),
        ("__meta_nomad_dc", instance.datacenter.clone()),
        ("__meta_nomad_namespace", instance.namespace.clone()),
        ("__meta_nomad_node_id", instance.node_id.clone()),
        ("__meta_nomad_service", instance.service_name.clone()),
        ("__meta_nomad_service_address", instance.address.clone()),
        ("__meta_nomad_service_id", instance.id.clone()),
        ("__meta_nomad_service_port", instance.port.to_string()),
        ("__meta_nomad_tags", wrapped_if_any(&instance.tags, tag_separator)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (server, expected) in [
            ("http://localhost:4646", "http://localhost:4646"),
            ("https://u:p@n/ui?x", "https://u:p@n"),
            ("http://[::1]:4646/", "http://[::1]:4646"),
            ("n:4646", "n:4646"),
        ] {
            assert_eq!(origin(server), expected);
        }
    }
}
