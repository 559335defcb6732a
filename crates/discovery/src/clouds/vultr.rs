use kvass_config::VultrSdConfig;
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;
use url::form_urlencoded;

use super::{api, endless, group};
use crate::{
    api::{Api, MOST_PAGES},
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
    text::{host_port, wrapped_if_any},
};

const BASE: &str = "https://api.vultr.com";
const PATH: &str = "/v2/instances";

pub(super) struct Vultr {
    api: Api,
    port: i64,
}

impl Vultr {
    pub(super) fn new(config: &VultrSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        Ok(Vultr { api: api(BASE, &config.api, options)?, port: config.api.port })
    }
}

impl Mechanism for Vultr {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let mut targets = Vec::new();
        let mut cursor = String::new();
        for _ in 0..MOST_PAGES {
            let page: Page = self.api.object(&format!("{PATH}?per_page=100{cursor}")).await?;
            targets.extend(page.instances.iter().map(|instance| instance.target(self.port)));
            let next = page.meta.links.next;
            if next.is_empty() {
                return Ok(group("Vultr", targets));
            }
            cursor = format!("&{}", form_urlencoded::Serializer::new(String::new()).append_pair("cursor", &next).finish());
        }
        Err(endless(PATH))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    instances: Vec<Instance>,
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    links: Links,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Links {
    next: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Instance {
    id: String,
    label: String,
    os: String,
    os_id: i64,
    region: String,
    plan: String,
    main_ip: String,
    v6_main_ip: String,
    internal_ip: String,
    hostname: String,
    server_status: String,
    vcpu_count: i64,
    ram: i64,
    disk: i64,
    allowed_bandwidth: i64,
    features: Vec<String>,
    tags: Vec<String>,
}

impl Instance {
    fn target(&self, port: i64) -> Labels {
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(&self.main_ip, port));
        for (name, value) in [
            ("allowed_bandwidth_gb", &self.allowed_bandwidth.to_string()),
            ("disk_gb", &self.disk.to_string()),
            ("features", &wrapped_if_any(&self.features, ",")),
            ("hostname", &self.hostname),
            ("id", &self.id),
            ("internal_ip", &self.internal_ip),
            ("label", &self.label),
            ("main_ip", &self.main_ip),
            ("main_ipv6", &self.v6_main_ip),
            ("os", &self.os),
            ("os_id", &self.os_id.to_string()),
            ("plan", &self.plan),
            ("ram_mb", &self.ram.to_string()),
            ("region", &self.region),
            ("server_status", &self.server_status),
            ("tags", &wrapped_if_any(&self.tags, ",")),
            ("vcpu_count", &self.vcpu_count.to_string()),
        ] {
            labels.set(&format!("__meta_vultr_instance_{name}"), value);
        }
        labels.build()
    }
}
