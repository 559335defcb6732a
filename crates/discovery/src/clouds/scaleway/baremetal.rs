use std::collections::HashMap;

use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::{Query, Scaleway};
use crate::{
    refresh::RefreshError,
    text::{host_port, wrapped_if_any},
};

const PREFIX: &str = "__meta_scaleway_baremetal_";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Servers {
    servers: Vec<Server>,
    total_count: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    id: String,
    name: String,
    project_id: String,
    status: String,
    offer_id: String,
    tags: Vec<String>,
    ips: Vec<Ip>,
    zone: String,
    install: Option<Install>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ip {
    address: String,
    version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Install {
    os_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Offers {
    offers: Vec<Named>,
    total_count: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Systems {
    os: Vec<Named>,
    total_count: usize,
}

/// An offer or an operating system.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    id: String,
    name: String,
    version: String,
}

pub(super) async fn targets(scaleway: &Scaleway) -> Result<Vec<Labels>, RefreshError> {
    let zone = format!("/baremetal/v1/zones/{}", scaleway.config.zone);
    let mut query: Query = Vec::new();
    query.extend(scaleway.config.tags_filter.iter().map(|tag| ("tags", tag.clone())));
    if !scaleway.config.name_filter.is_empty() {
        query.push(("name", scaleway.config.name_filter.clone()));
    }
    let servers = scaleway.list(&format!("{zone}/servers"), &query, |page: Servers| (page.servers, page.total_count)).await?;
    let offers = scaleway.list(&format!("{zone}/offers"), &Vec::new(), |page: Offers| (page.offers, page.total_count)).await?;
    let systems = scaleway.list(&format!("{zone}/os"), &Vec::new(), |page: Systems| (page.os, page.total_count)).await?;
    let by_id = |named: &[Named]| -> HashMap<String, (String, String)> {
        named.iter().map(|named| (named.id.clone(), (named.name.clone(), named.version.clone()))).collect()
    };
    let (offers, systems) = (by_id(&offers), by_id(&systems));
    servers.iter().map(|server| server.target(&offers, &systems, scaleway.config.api.port)).collect()
}

impl Server {
    fn target(
        &self,
        offers: &HashMap<String, (String, String)>,
        systems: &HashMap<String, (String, String)>,
        port: i64,
    ) -> Result<Labels, RefreshError> {
        let mut labels = LabelsBuilder::new();
        let first = |version: &str| self.ips.iter().find(|ip| ip.version == version).map(|ip| ip.address.as_str());
        if let Some(other) = self.ips.iter().find(|ip| !matches!(ip.version.as_str(), "IPv4" | "IPv6")) {
            return Err(RefreshError::Body(format!("server {}: IP version {:?}: expected IPv4 or IPv6", self.id, other.version)));
        }
        let (v4, v6) = (first("IPv4"), first("IPv6"));
        if let Some(address) = v4.or(v6) {
            labels.set(ADDRESS_LABEL, &host_port(address, port));
        }
        let system = self.install.as_ref().and_then(|install| systems.get(&install.os_id));
        for (name, value) in [
            ("id", self.id.as_str()),
            ("name", &self.name),
            ("os_name", system.map_or("", |(name, _)| name)),
            ("os_version", system.map_or("", |(_, version)| version)),
            ("project_id", &self.project_id),
            ("public_ipv4", v4.unwrap_or_default()),
            ("public_ipv6", v6.unwrap_or_default()),
            ("status", &self.status),
            ("tags", &wrapped_if_any(&self.tags, ",")),
            ("type", offers.get(&self.offer_id).map_or("", |(name, _)| name)),
            ("zone", &self.zone),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        Ok(labels.build())
    }
}
