use std::collections::{BTreeMap, HashMap};

use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::{Query, Scaleway};
use crate::{
    refresh::RefreshError,
    text::{host_port, wrapped_if_any},
};

const PREFIX: &str = "__meta_scaleway_instance_";
/// So many network interfaces are asked for in one request, whose address must not become too long.
const IDS_PER_REQUEST: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Servers {
    servers: Vec<Server>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    id: String,
    name: String,
    organization: String,
    project: String,
    tags: Vec<String>,
    commercial_type: String,
    hostname: String,
    image: Image,
    private_ip: String,
    public_ip: Option<Ip>,
    public_ips: Vec<Ip>,
    state: String,
    location: Location,
    ipv6: Option<Ip>,
    boot_type: String,
    security_group: SecurityGroup,
    private_nics: Vec<PrivateNic>,
    zone: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Image {
    id: String,
    name: String,
    arch: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ip {
    address: String,
    family: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Location {
    cluster_id: String,
    hypervisor_id: String,
    node_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SecurityGroup {
    id: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PrivateNic {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ManagedIps {
    ips: Vec<ManagedIp>,
    total_count: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ManagedIp {
    /// With the length of its prefix.
    address: String,
    is_ipv6: bool,
    resource: Option<Resource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    id: String,
}

pub(super) async fn targets(scaleway: &Scaleway) -> Result<Vec<Labels>, RefreshError> {
    let path = format!("/instance/v1/zones/{}/servers", scaleway.config.zone);
    let mut query: Query = Vec::new();
    if !scaleway.config.name_filter.is_empty() {
        query.push(("name", scaleway.config.name_filter.clone()));
    }
    if !scaleway.config.tags_filter.is_empty() {
        query.push(("tags", scaleway.config.tags_filter.join(",")));
    }
    // This API tells the number of servers in a header only.
    let servers = scaleway.list(&path, &query, |page: Servers| (page.servers, usize::MAX)).await?;
    let private = private_ips(scaleway, &servers).await?;
    Ok(servers.iter().filter_map(|server| server.target(&private, scaleway.config.api.port)).collect())
}

/// The addresses, by network interface, of the servers that tell none themselves.
async fn private_ips(scaleway: &Scaleway, servers: &[Server]) -> Result<HashMap<String, String>, RefreshError> {
    let mut by_region: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for server in servers.iter().filter(|server| server.own_address().is_none() && !server.private_nics.is_empty()) {
        let unknown =
            || RefreshError::Body(format!("server {}: zone {:?}: expected one such as fr-par-1", server.id, server.zone));
        let region = region(&server.zone).ok_or_else(unknown)?;
        by_region.entry(region).or_default().extend(server.private_nics.iter().map(|nic| nic.id.as_str()));
    }
    let mut addresses = HashMap::new();
    for (region, nics) in by_region {
        for nics in nics.chunks(IDS_PER_REQUEST) {
            let mut query: Query = nics.iter().map(|nic| ("resource_ids", (*nic).to_owned())).collect();
            query.push(("resource_types", "instance_private_nic".to_owned()));
            let path = format!("/ipam/v1/regions/{region}/ips");
            let ips = scaleway.list(&path, &query, |page: ManagedIps| (page.ips, page.total_count)).await?;
            for ip in ips.into_iter().filter(|ip| !ip.is_ipv6) {
                let address = ip.address.split('/').next().unwrap_or_default().to_owned();
                addresses.extend(ip.resource.map(|resource| (resource.id, address)));
            }
        }
    }
    Ok(addresses)
}

/// `fr-par` of `fr-par-1`.
fn region(zone: &str) -> Option<&str> {
    let (region, number) = zone.rsplit_once('-')?;
    (region.contains('-') && number.bytes().all(|b| b.is_ascii_digit())).then_some(region)
}

impl Server {
    /// The address that a server tells itself: its private one rather than a public one, IPv4 rather than IPv6.
    fn own_address(&self) -> Option<&str> {
        let public = self.public_ip.as_ref().or(self.ipv6.as_ref()).map(|ip| ip.address.as_str());
        Some(self.private_ip.as_str()).filter(|ip| !ip.is_empty()).or(public)
    }

    fn target(&self, private_ips: &HashMap<String, String>, port: i64) -> Option<Labels> {
        let managed = self.private_nics.iter().find_map(|nic| private_ips.get(&nic.id));
        let address = self.own_address().or(managed.map(String::as_str))?;
        let private = match self.own_address() {
            Some(_) => self.private_ip.as_str(),
            None => address,
        };
        let of_family = |family: &str| -> Vec<String> {
            self.public_ips.iter().filter(|ip| ip.family == family).map(|ip| ip.address.clone()).collect()
        };
        let public_ipv4 = self.public_ip.as_ref().filter(|ip| ip.family != "inet6");
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(address, port));
        for (name, value) in [
            ("boot_type", self.boot_type.as_str()),
            ("hostname", &self.hostname),
            ("id", &self.id),
            ("image_arch", &self.image.arch),
            ("image_id", &self.image.id),
            ("image_name", &self.image.name),
            ("location_cluster_id", &self.location.cluster_id),
            ("location_hypervisor_id", &self.location.hypervisor_id),
            ("location_node_id", &self.location.node_id),
            ("name", &self.name),
            ("organization_id", &self.organization),
            ("private_ipv4", private),
            ("project_id", &self.project),
            ("public_ipv4", public_ipv4.map_or("", |ip| &ip.address)),
            ("public_ipv4_addresses", &wrapped_if_any(&of_family("inet"), ",")),
            ("public_ipv6", self.ipv6.as_ref().map_or("", |ip| &ip.address)),
            ("public_ipv6_addresses", &wrapped_if_any(&of_family("inet6"), ",")),
            ("region", region(&self.zone).unwrap_or_default()),
            ("security_group_id", &self.security_group.id),
            ("security_group_name", &self.security_group.name),
            ("status", &self.state),
            ("tags", &wrapped_if_any(&self.tags, ",")),
            ("type", &self.commercial_type),
            ("zone", &self.zone),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        Some(labels.build())
    }
}
