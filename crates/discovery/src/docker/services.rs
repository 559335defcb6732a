use std::collections::BTreeMap;

use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::network::{Network, address_of_prefix, set_network};
use crate::{
    refresh::RefreshError,
    text::{host_port, set_all},
};

const PREFIX: &str = "__meta_dockerswarm_service_";

/// A service of the swarm, as `/services` lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub(super) id: String,
    spec: ServiceSpec,
    endpoint: Endpoint,
    update_status: Option<UpdateStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceSpec {
    name: String,
    labels: BTreeMap<String, String>,
    mode: Mode,
    task_template: TaskTemplate,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mode {
    replicated: Option<serde::de::IgnoredAny>,
    global: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskTemplate {
    container_spec: Option<ContainerSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerSpec {
    hostname: String,
    image: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    ports: Vec<PortConfig>,
    #[serde(rename = "VirtualIPs")]
    virtual_ips: Vec<VirtualIp>,
}

/// A port of a service or a task.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PortConfig {
    name: String,
    pub(super) protocol: String,
    pub(super) published_port: u32,
    pub(super) publish_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VirtualIp {
    #[serde(rename = "NetworkID")]
    network_id: String,
    addr: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateStatus {
    state: String,
}

impl Service {
    pub(super) fn tcp_ports(&self) -> impl Iterator<Item = &PortConfig> {
        self.endpoint.ports.iter().filter(|port| port.protocol == "tcp")
    }

    /// Adds what tasks also say of their service.
    pub(super) fn set_labels(&self, labels: &mut LabelsBuilder) {
        let mode = match &self.spec.mode {
            Mode { global: Some(_), .. } => "global",
            Mode { replicated: Some(_), .. } => "replicated",
            Mode { .. } => "",
        };
        labels.set(&format!("{PREFIX}id"), &self.id);
        labels.set(&format!("{PREFIX}mode"), mode);
        labels.set(&format!("{PREFIX}name"), &self.spec.name);
        set_all(labels, &format!("{PREFIX}label_"), &self.spec.labels);
    }
}

/// One target per virtual address and TCP port; without such a port one per address.
pub(super) fn targets(services: &[Service], networks: &[Network], port: i64) -> Result<Vec<Labels>, RefreshError> {
    let mut targets = Vec::new();
    for service in services {
        let mut common = LabelsBuilder::new();
        service.set_labels(&mut common);
        if let Some(container) = &service.spec.task_template.container_spec {
            common.set(&format!("{PREFIX}task_container_hostname"), &container.hostname);
            common.set(&format!("{PREFIX}task_container_image"), &container.image);
        }
        if let Some(status) = &service.update_status {
            common.set(&format!("{PREFIX}updating_status"), &status.state);
        }
        for virtual_ip in &service.endpoint.virtual_ips {
            let address = address_of_prefix(&virtual_ip.addr)?;
            let mut of_network = common.clone();
            set_network(&mut of_network, "__meta_dockerswarm_", networks, &virtual_ip.network_id);
            let before = targets.len();
            for port in service.tcp_ports() {
                let mut labels = of_network.clone();
                labels.set(ADDRESS_LABEL, &host_port(&address, port.published_port));
                labels.set(&format!("{PREFIX}endpoint_port_name"), &port.name);
                labels.set(&format!("{PREFIX}endpoint_port_publish_mode"), &port.publish_mode);
                targets.push(labels.build());
            }
            if targets.len() == before {
                of_network.set(ADDRESS_LABEL, &host_port(&address, port));
                targets.push(of_network.build());
            }
        }
    }
    Ok(targets)
}
