//! Targets from Google Compute Engine.

mod credentials;
mod jwt;

use std::collections::BTreeMap;

use kvass_config::{GceSdConfig, HttpClientConfig};
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;
use url::form_urlencoded;

use self::credentials::Google;
use super::{
    endless, group,
    web::{Message, Pass, Web},
};
use crate::{
    api::MOST_PAGES,
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
    text::{path_segment, sanitised, set_all, wrapped_if_any},
};

const BASE: &str = "https://compute.googleapis.com/compute/v1";
const PREFIX: &str = "__meta_gce_";

pub(super) struct Gce {
    config: GceSdConfig,
    google: Google,
    pass: Pass,
}

impl Gce {
    pub(super) fn new(config: &GceSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let environment = options.environment.clone();
        let web = Web::new(environment.http(), config.refresh_interval, options)?;
        // The machine answers itself, whatever proxy leads elsewhere.
        let machine = Web::new(&HttpClientConfig::default(), config.refresh_interval, options)?;
        Ok(Gce { config: config.clone(), google: Google { web, machine, environment }, pass: Pass::default() })
    }

    async fn list(&mut self) -> Result<Vec<Labels>, RefreshError> {
        let (project, zone) = (path_segment(&self.config.project), path_segment(&self.config.zone));
        let url = format!("{BASE}/projects/{project}/zones/{zone}/instances");
        let (mut targets, mut next) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let message = Message::get(format!("{url}?{}", query(&self.config.filter, &next)));
            let token = self.pass.token(self.google.token()).await?;
            let message = message.with_secret("authorization", &format!("Bearer {}", token.reveal()))?;
            let page: Page = self.google.web.object(message).await?;
            targets.extend(page.items.iter().filter_map(|instance| instance.target(&self.config)));
            next = page.next_page_token;
            if next.is_empty() {
                return Ok(targets);
            }
        }
        Err(endless(&url))
    }
}

fn query(filter: &str, page: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("alt", "json").append_pair("prettyPrint", "false");
    query.extend_pairs([("filter", filter), ("pageToken", page)].iter().filter(|(_, value)| !value.is_empty()));
    query.finish()
}

impl Mechanism for Gce {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let targets = self.list().await;
        let targets = self.pass.judge(targets)?;
        Ok(group(&format!("GCE_{}_{}", self.config.project, self.config.zone), targets))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Page {
    items: Vec<Instance>,
    next_page_token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Instance {
    /// A number, written as a text.
    id: String,
    name: String,
    status: String,
    zone: String,
    machine_type: String,
    network_interfaces: Vec<Interface>,
    tags: Tags,
    metadata: Metadata,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Interface {
    name: String,
    network: String,
    subnetwork: String,
    #[serde(rename = "networkIP")]
    network_ip: String,
    access_configs: Vec<AccessConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AccessConfig {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "natIP")]
    nat_ip: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tags {
    items: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    items: Vec<Item>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    key: String,
    value: String,
}

impl Instance {
    /// `None` for an instance without a network.
    fn target(&self, config: &GceSdConfig) -> Option<Labels> {
        let first = self.network_interfaces.first()?;
        let public = first.access_configs.first().filter(|access| access.kind == "ONE_TO_ONE_NAT");
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &format!("{}:{}", first.network_ip, config.port));
        for (name, value) in [
            ("instance_id", self.id.as_str()),
            ("instance_name", &self.name),
            ("instance_status", &self.status),
            ("machine_type", &self.machine_type),
            ("network", &first.network),
            ("private_ip", &first.network_ip),
            ("project", &config.project),
            ("public_ip", public.map(|access| access.nat_ip.as_str()).unwrap_or_default()),
            ("subnetwork", &first.subnetwork),
            ("tags", &wrapped_if_any(&self.tags.items, &config.tag_separator)),
            ("zone", &self.zone),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        for interface in &self.network_interfaces {
            labels.set(&format!("{PREFIX}interface_ipv4_{}", sanitised(&interface.name)), &interface.network_ip);
        }
        for Item { key, value } in &self.metadata.items {
            labels.set(&format!("{PREFIX}metadata_{}", sanitised(key)), value);
        }
        set_all(&mut labels, &format!("{PREFIX}label_"), &self.labels);
        Some(labels.build())
    }
}
