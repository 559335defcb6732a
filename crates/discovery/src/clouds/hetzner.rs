use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use kvass_config::{HetznerRole, HetznerSdConfig};
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::{Deserialize, de::DeserializeOwned};
use url::form_urlencoded;

use super::{api, endless, group};
use crate::{
    api::{Api, MOST_PAGES},
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
    text::{host_port, sanitised, set_all},
};

const HCLOUD: &str = "https://api.hetzner.cloud";
const ROBOT: &str = "https://robot-ws.your-server.de";
const PREFIX: &str = "__meta_hetzner_";
/// How Prometheus shows an address that a server does not have.
const NO_ADDRESS: &str = "<nil>";

pub(super) struct Hetzner {
    api: Api,
    role: HetznerRole,
    port: i64,
    /// Parameters of the list of cloud servers, beside the page.
    selector: String,
}

impl Hetzner {
    pub(super) fn new(config: &HetznerSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let base = match config.role {
            HetznerRole::Hcloud => HCLOUD,
            HetznerRole::Robot => ROBOT,
        };
        let mut selector = form_urlencoded::Serializer::new(String::new());
        if !config.label_selector.is_empty() {
            selector.append_pair("label_selector", &config.label_selector);
        }
        let (api, selector) = (api(base, &config.api, options)?, selector.finish());
        Ok(Hetzner { api, role: config.role, port: config.api.port, selector })
    }

    async fn list<T, P: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &str,
        items: fn(P) -> (Vec<T>, Meta),
    ) -> Result<Vec<T>, RefreshError> {
        let mut all = Vec::new();
        let mut page = 1;
        for _ in 0..MOST_PAGES {
            let path = format!("{path}?page={page}&per_page=50&{parameters}");
            let (items, meta) = items(self.api.object(path.trim_end_matches('&')).await?);
            all.extend(items);
            match meta.pagination.next_page {
                Some(next) => page = next,
                None => return Ok(all),
            }
        }
        Err(endless(path))
    }
}

impl Mechanism for Hetzner {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let targets = match self.role {
            HetznerRole::Hcloud => {
                let servers = self.list("/v1/servers", &self.selector, |page: Servers| (page.servers, page.meta)).await?;
                let networks = self.list("/v1/networks", "", |page: Networks| (page.networks, page.meta)).await?;
                let names: HashMap<i64, &str> = networks.iter().map(|network| (network.id, network.name.as_str())).collect();
                servers.iter().map(|server| server.target(&names, self.port)).collect()
            }
            HetznerRole::Robot => {
                let servers: Option<Vec<Listed>> = self.api.json("/server").await?;
                servers.iter().flatten().map(|listed| listed.server.target(self.port)).collect()
            }
        };
        Ok(group("hetzner", targets))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    pagination: Pagination,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pagination {
    next_page: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Networks {
    networks: Vec<Network>,
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    id: i64,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Servers {
    servers: Vec<Server>,
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    id: i64,
    name: String,
    status: String,
    public_net: PublicNet,
    private_net: Vec<PrivateNet>,
    server_type: ServerType,
    location: Option<Location>,
    datacenter: Datacenter,
    image: Image,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PublicNet {
    ipv4: PublicIp,
    ipv6: PublicIp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PublicIp {
    ip: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PrivateNet {
    network: i64,
    ip: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServerType {
    name: String,
    cores: i64,
    cpu_type: String,
    memory: f64,
    disk: i64,
}

/// Known to the API until 2026, when the location took its place.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Datacenter {
    name: String,
    location: Location,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Location {
    name: String,
    network_zone: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Image {
    name: String,
    description: String,
    os_flavor: String,
    os_version: String,
}

impl Server {
    fn target(&self, networks: &HashMap<i64, &str>, port: i64) -> Labels {
        let mut labels = LabelsBuilder::new();
        let or_none = |ip: &str| if ip.is_empty() { NO_ADDRESS.to_owned() } else { ip.to_owned() };
        let ipv4 = or_none(&self.public_net.ipv4.ip);
        let location = self.location.as_ref().unwrap_or(&self.datacenter.location);
        labels.set(ADDRESS_LABEL, &host_port(&ipv4, port));
        for (name, value) in [
            ("datacenter", &self.datacenter.name),
            ("hcloud_cpu_cores", &self.server_type.cores.to_string()),
            ("hcloud_cpu_type", &self.server_type.cpu_type),
            ("hcloud_datacenter_location", &location.name),
            ("hcloud_datacenter_location_network_zone", &location.network_zone),
            ("hcloud_disk_size_gb", &self.server_type.disk.to_string()),
            ("hcloud_image_description", &self.image.description),
            ("hcloud_image_name", &self.image.name),
            ("hcloud_image_os_flavor", &self.image.os_flavor),
            ("hcloud_image_os_version", &self.image.os_version),
            ("hcloud_location", &location.name),
            ("hcloud_location_network_zone", &location.network_zone),
            ("hcloud_memory_size_gb", &self.server_type.memory.trunc().to_string()),
            ("hcloud_server_type", &self.server_type.name),
            ("public_ipv4", &ipv4),
            ("public_ipv6_network", &or_none(&self.public_net.ipv6.ip)),
            ("role", &"hcloud".to_owned()),
            ("server_id", &self.id.to_string()),
            ("server_name", &self.name),
            ("server_status", &self.status),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        for private in &self.private_net {
            if let Some(name) = networks.get(&private.network) {
                labels.set(&format!("{PREFIX}hcloud_private_ipv4_{}", sanitised(name)), &private.ip);
            }
        }
        set_all(&mut labels, &format!("{PREFIX}hcloud_label_"), &self.labels);
        for name in self.labels.keys() {
            labels.set(&format!("{PREFIX}hcloud_labelpresent_{}", sanitised(name)), "true");
        }
        labels.build()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listed {
    server: RobotServer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RobotServer {
    server_ip: String,
    server_number: i64,
    server_name: String,
    dc: String,
    status: String,
    product: String,
    cancelled: bool,
    subnet: Vec<Subnet>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Subnet {
    ip: String,
    mask: String,
}

impl RobotServer {
    fn target(&self, port: i64) -> Labels {
        let is_v4 = |ip: &str| ip.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_ipv4());
        let v6_network = self.subnet.iter().find(|subnet| !is_v4(&subnet.ip));
        let datacenter = self.dc.to_lowercase();
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(&self.server_ip, port));
        for (name, value) in [
            ("datacenter", datacenter.as_str()),
            ("public_ipv4", &self.server_ip),
            ("public_ipv6_network", &v6_network.map(|net| format!("{}/{}", net.ip, net.mask)).unwrap_or_default()),
            ("robot_cancelled", if self.cancelled { "true" } else { "false" }),
            ("robot_datacenter", &datacenter),
            ("robot_product", &self.product),
            ("role", "robot"),
            ("server_id", &self.server_number.to_string()),
            ("server_name", &self.server_name),
            ("server_status", &self.status),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        labels.build()
    }
}
