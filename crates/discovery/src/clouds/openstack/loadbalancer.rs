use std::collections::HashMap;

use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::{PREFIX, instance::FloatingIp, session::Session};
use crate::{refresh::RefreshError, text::host_port};

pub(super) async fn targets(session: &Session<'_>) -> Result<Vec<Labels>, RefreshError> {
    let (balancing, network) = (session.endpoint_2("load-balancer")?, session.endpoint_2("network")?);
    let balancers: Vec<Balancer> = session.list(&format!("{balancing}lbaas/loadbalancers"), "loadbalancers").await?;
    let listeners: Vec<Listener> = session.list(&format!("{balancing}lbaas/listeners"), "listeners").await?;
    let ips: Vec<FloatingIp> = session.list(&format!("{network}floatingips"), "floatingips").await?;

    let mut ports: HashMap<&str, i64> = HashMap::new();
    for listener in listeners.iter().filter(|listener| listener.protocol == "PROMETHEUS") {
        for balancer in &listener.loadbalancers {
            // The first one listed counts.
            ports.entry(&balancer.id).or_insert(listener.protocol_port);
        }
    }
    let ips: HashMap<&str, &str> = ips
        .iter()
        .filter_map(|ip| Some((ip.port_id.as_deref().filter(|id| !id.is_empty())?, ip.floating_ip_address.as_str())))
        .collect();
    let shown = balancers.iter().filter_map(|balancer| Some((balancer, *ports.get(balancer.id.as_str())?)));
    Ok(shown.map(|(balancer, port)| balancer.target(port, ips.get(balancer.vip_port_id.as_str()).copied())).collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Balancer {
    id: String,
    name: String,
    operating_status: String,
    provisioning_status: String,
    availability_zone: Option<String>,
    vip_address: String,
    vip_port_id: String,
    provider: String,
    project_id: String,
    tags: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listener {
    protocol: String,
    protocol_port: i64,
    loadbalancers: Vec<Named>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    id: String,
}

impl Balancer {
    fn target(&self, port: i64, floating_ip: Option<&str>) -> Labels {
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(&self.vip_address, port));
        for (name, value) in [
            ("availability_zone", self.availability_zone.as_deref().unwrap_or_default()),
            ("floating_ip", floating_ip.unwrap_or_default()),
            ("id", &self.id),
            ("name", &self.name),
            ("operating_status", &self.operating_status),
            ("provider", &self.provider),
            ("provisioning_status", &self.provisioning_status),
            ("tags", &self.tags.join(",")),
            ("vip", &self.vip_address),
        ] {
            labels.set(&format!("{PREFIX}loadbalancer_{name}"), value);
        }
        labels.set(&format!("{PREFIX}project_id"), &self.project_id);
        labels.build()
    }
}
