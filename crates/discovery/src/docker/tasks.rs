use std::collections::{BTreeMap, HashMap};

use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::{
    network::{Network, address_of_prefix, set_network},
    nodes::Node,
    services::{PortConfig, Service},
};
use crate::{
    refresh::RefreshError,
    text::{host_port, set_all},
};

const PREFIX: &str = "__meta_dockerswarm_task_";

/// A task of the swarm, as `/tasks` lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Task {
    #[serde(rename = "ID")]
    id: String,
    slot: i64,
    #[serde(rename = "ServiceID")]
    service_id: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    desired_state: String,
    status: TaskStatus,
    spec: TaskSpec,
    networks_attachments: Vec<Attachment>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskStatus {
    state: String,
    container_status: ContainerStatus,
    port_status: PortStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerStatus {
    #[serde(rename = "ContainerID")]
    container_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PortStatus {
    ports: Vec<PortConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskSpec {
    container_spec: ContainerSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerSpec {
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attachment {
    network: AttachedNetwork,
    addresses: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AttachedNetwork {
    #[serde(rename = "ID")]
    id: String,
}

/// What tasks refer to.
pub(super) struct Around<'a> {
    services: HashMap<&'a str, &'a Service>,
    nodes: HashMap<&'a str, &'a Node>,
    networks: &'a [Network],
}

impl<'a> Around<'a> {
    pub(super) fn new(services: &'a [Service], nodes: &'a [Node], networks: &'a [Network]) -> Self {
        Around {
            services: services.iter().map(|service| (service.id.as_str(), service)).collect(),
            nodes: nodes.iter().map(|node| (node.id.as_str(), node)).collect(),
            networks,
        }
    }
}

/// One target per port that a task publishes on its node, and one per address in a network and TCP port of its service;
/// without such a port one per address.
pub(super) fn targets(tasks: Vec<Task>, around: &Around<'_>, port: i64) -> Result<Vec<Labels>, RefreshError> {
    let mut targets = Vec::new();
    for task in tasks {
        let service = around.services.get(task.service_id.as_str());
        let node = around.nodes.get(task.node_id.as_str());
        let common = labels(&task, service.copied(), node.copied());
        let with_port = |mut labels: LabelsBuilder, host: &str, port: &PortConfig| {
            labels.set(ADDRESS_LABEL, &host_port(host, port.published_port));
            labels.set(&format!("{PREFIX}port_publish_mode"), &port.publish_mode);
            labels.build()
        };
        let host = node.map_or("", |node| node.address());
        let published = task.status.port_status.ports.iter().filter(|port| port.protocol == "tcp");
        targets.extend(published.map(|port| with_port(common.clone(), host, port)));
        for attachment in &task.networks_attachments {
            let mut of_network = common.clone();
            set_network(&mut of_network, "__meta_dockerswarm_", around.networks, &attachment.network.id);
            for address in &attachment.addresses {
                let address = address_of_prefix(address)?;
                let before = targets.len();
                let ports = service.iter().flat_map(|service| service.tcp_ports());
                targets.extend(ports.map(|port| with_port(of_network.clone(), &address, port)));
                if targets.len() == before {
                    let mut labels = of_network.clone();
                    labels.set(ADDRESS_LABEL, &host_port(&address, port));
                    targets.push(labels.build());
                }
            }
        }
    }
    Ok(targets)
}

fn labels(task: &Task, service: Option<&Service>, node: Option<&Node>) -> LabelsBuilder {
    let mut labels = LabelsBuilder::new();
    for (name, value) in [
        ("container_id", &task.status.container_status.container_id),
        ("desired_state", &task.desired_state),
        ("id", &task.id),
        ("slot", &task.slot.to_string()),
        ("state", &task.status.state),
    ] {
        labels.set(&format!("{PREFIX}{name}"), value);
    }
    set_all(&mut labels, "__meta_dockerswarm_container_label_", &task.spec.container_spec.labels);
    if let Some(service) = service {
        service.set_labels(&mut labels);
    }
    if let Some(node) = node {
        node.set_labels(&mut labels);
    }
    labels
}
