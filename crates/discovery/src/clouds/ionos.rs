use std::collections::BTreeMap;

use kvass_config::IonosSdConfig;
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::{api, group};
use crate::{
    api::Api,
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
    text::{host_port, path_segment, sanitised, wrapped},
};

const BASE: &str = "https://api.ionos.com/cloudapi/v6";
const PREFIX: &str = "__meta_ionos_server_";

pub(super) struct Ionos {
    api: Api,
    path: String,
    port: i64,
}

impl Ionos {
    pub(super) fn new(config: &IonosSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let path = format!("/datacenters/{}/servers?depth=3", path_segment(&config.datacenter_id));
        Ok(Ionos { api: api(BASE, &config.api, options)?, path, port: config.api.port })
    }
}

impl Mechanism for Ionos {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let servers: Servers = self.api.object(&self.path).await?;
        Ok(group("ionos", servers.items.iter().filter_map(|server| server.target(&servers.id, self.port)).collect()))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Servers {
    id: String,
    items: Vec<Server>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    id: String,
    metadata: Metadata,
    properties: Properties,
    entities: Entities,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    state: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    name: String,
    availability_zone: String,
    cpu_family: String,
    vm_state: String,
    #[serde(rename = "type")]
    kind: String,
    boot_cdrom: Reference,
    boot_volume: Reference,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entities {
    nics: Items<Nic>,
    volumes: Items<Volume>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Items<T> {
    items: Vec<T>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Nic {
    properties: NicProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NicProperties {
    name: Option<String>,
    ips: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Volume {
    properties: VolumeProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VolumeProperties {
    image: String,
}

impl Server {
    /// `None` for a server without an address. The addresses of the last interface come first.
    fn target(&self, list: &str, port: i64) -> Option<Labels> {
        let mut ips: Vec<String> = Vec::new();
        let mut by_nic: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for Nic { properties } in &self.entities.nics.items {
            ips.splice(0..0, properties.ips.iter().cloned());
            let of_nic = by_nic.entry(properties.name.as_deref().unwrap_or("unnamed")).or_default();
            of_nic.splice(0..0, properties.ips.iter().cloned());
        }
        let image = self.entities.volumes.items.first().map(|volume| volume.properties.image.as_str());
        let properties = &self.properties;
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(ips.first()?, port));
        for (name, value) in [
            ("availability_zone", properties.availability_zone.as_str()),
            ("boot_cdrom_id", &properties.boot_cdrom.id),
            ("boot_image_id", image.unwrap_or_default()),
            ("boot_volume_id", &properties.boot_volume.id),
            ("cpu_family", &properties.cpu_family),
            ("id", &self.id),
            ("ip", &wrapped(&ips, ",")),
            ("lifecycle", &self.metadata.state),
            ("name", &properties.name),
            ("servers_id", list),
            ("state", &properties.vm_state),
            ("type", &properties.kind),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        for (name, ips) in by_nic {
            labels.set(&format!("{PREFIX}nic_ip_{}", sanitised(name)), &wrapped(&ips, ","));
        }
        Some(labels.build())
    }
}
