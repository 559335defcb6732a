use std::collections::HashSet;

use kvass_config::{DigitalOceanRole, DigitalOceanSdConfig};
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::{Deserialize, de::DeserializeOwned};

use super::{api, endless, group};
use crate::{
    api::{Api, MOST_PAGES},
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
    text::{host_port, wrapped_if_any},
};

const BASE: &str = "https://api.digitalocean.com";
const PREFIX: &str = "__meta_digitalocean_";

pub(super) struct DigitalOcean {
    api: Api,
    role: DigitalOceanRole,
    port: i64,
}

impl DigitalOcean {
    pub(super) fn new(config: &DigitalOceanSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        Ok(DigitalOcean { api: api(BASE, &config.api, options)?, role: config.role, port: config.api.port })
    }

    /// All pages of a list. The last one is empty or says that no other follows.
    async fn list<T, P>(&self, path: &str, items: fn(P) -> (Vec<T>, bool), id: fn(&T) -> String) -> Result<Vec<T>, RefreshError>
    where
        P: DeserializeOwned,
    {
        let (mut all, mut seen) = (Vec::new(), HashSet::new());
        for page in 1..=MOST_PAGES {
            let (items, last) = items(self.api.object(&format!("{path}?page={page}&per_page=100")).await?);
            let before = all.len();
            // A list that changes while it is read can show an item twice.
            all.extend(items.into_iter().filter(|item| seen.insert(id(item))));
            if last || all.len() == before {
                return Ok(all);
            }
        }
        Err(endless(path))
    }
}

impl Mechanism for DigitalOcean {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        match self.role {
            DigitalOceanRole::Droplets => {
                let page = |page: Droplets| (page.droplets, page.links.pages.last.is_empty());
                let droplets = self.list("/v2/droplets", page, |droplet: &Droplet| droplet.id.to_string()).await?;
                let targets = droplets.iter().filter(|droplet| !droplet.networks.v4.is_empty());
                Ok(group("DigitalOcean", targets.map(|droplet| droplet.target(self.port)).collect()))
            }
            DigitalOceanRole::Databases => {
                // This list says nothing of its length.
                let page = |page: Databases| (page.databases, false);
                let databases = self.list("/v2/databases", page, |database: &Database| database.id.clone()).await?;
                Ok(group("DigitalOcean Databases", databases.iter().map(|database| database.target(self.port)).collect()))
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Droplets {
    droplets: Vec<Droplet>,
    links: Links,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Links {
    pages: Pages,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pages {
    last: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Droplet {
    id: i64,
    name: String,
    image: Image,
    region: Region,
    size_slug: String,
    status: String,
    vpc_uuid: String,
    features: Vec<String>,
    tags: Vec<String>,
    networks: Networks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Image {
    slug: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Region {
    slug: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Networks {
    v4: Vec<Address>,
    v6: Vec<Address>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    ip_address: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Droplet {
    fn target(&self, port: i64) -> Labels {
        let of_kind = |addresses: &[Address], kind: &str| {
            addresses.iter().find(|address| address.kind == kind).map(|address| address.ip_address.clone()).unwrap_or_default()
        };
        let public = of_kind(&self.networks.v4, "public");
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(&public, port));
        for (name, value) in [
            ("droplet_id", &self.id.to_string()),
            ("droplet_name", &self.name),
            ("features", &wrapped_if_any(&self.features, ",")),
            ("image", &self.image.slug),
            ("image_name", &self.image.name),
            ("private_ipv4", &of_kind(&self.networks.v4, "private")),
            ("public_ipv4", &public),
            ("public_ipv6", &of_kind(&self.networks.v6, "public")),
            ("region", &self.region.slug),
            ("size", &self.size_slug),
            ("status", &self.status),
            ("tags", &wrapped_if_any(&self.tags, ",")),
            ("vpc", &self.vpc_uuid),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        labels.build()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Databases {
    databases: Vec<Database>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Database {
    id: String,
    name: String,
    engine: String,
    version: String,
    status: String,
    region: String,
    size: String,
    num_nodes: i64,
    tags: Vec<String>,
    connection: Connection,
    private_connection: Connection,
}

/// Where a cluster is reached. There is a password beside it, which is of no use here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connection {
    host: String,
}

impl Database {
    fn target(&self, port: i64) -> Labels {
        let mut labels = LabelsBuilder::new();
        for (name, value) in [
            ("engine", &self.engine),
            ("host", &self.connection.host),
            ("id", &self.id),
            ("name", &self.name),
            ("num_nodes", &self.num_nodes.to_string()),
            ("private_host", &self.private_connection.host),
            ("region", &self.region),
            ("size", &self.size),
            ("status", &self.status),
            ("version", &self.version),
        ] {
            labels.set(&format!("{PREFIX}db_{name}"), value);
        }
        for tag in &self.tags {
            labels.set(&format!("{PREFIX}db_tag_{tag}"), "true");
        }
        let hosts = [&self.private_connection.host, &self.connection.host];
        if let Some(host) = hosts.into_iter().find(|host| !host.is_empty()) {
            labels.set(ADDRESS_LABEL, &host_port(host, port));
        }
        labels.build()
    }
}
