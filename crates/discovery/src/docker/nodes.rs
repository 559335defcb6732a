use std::collections::BTreeMap;

use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use crate::text::{host_port, set_all};

const PREFIX: &str = "__meta_dockerswarm_node_";

/// A node of the swarm, as `/nodes` lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Node {
    #[serde(rename = "ID")]
    pub(super) id: String,
    spec: NodeSpec,
    description: Description,
    status: Status,
    manager_status: Option<ManagerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeSpec {
    role: String,
    availability: String,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Description {
    hostname: String,
    platform: Platform,
    engine: Engine,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Platform {
    architecture: String,
    #[serde(rename = "OS")]
    os: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Engine {
    engine_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Status {
    state: String,
    addr: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ManagerStatus {
    leader: bool,
    reachability: String,
    addr: String,
}

impl Node {
    pub(super) fn address(&self) -> &str {
        &self.status.addr
    }

    /// Adds what tasks also say of their node.
    pub(super) fn set_labels(&self, labels: &mut LabelsBuilder) {
        for (name, value) in [
            ("address", &self.status.addr),
            ("availability", &self.spec.availability),
            ("hostname", &self.description.hostname),
            ("id", &self.id),
            ("platform_architecture", &self.description.platform.architecture),
            ("platform_os", &self.description.platform.os),
            ("role", &self.spec.role),
            ("status", &self.status.state),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        set_all(labels, &format!("{PREFIX}label_"), &self.spec.labels);
    }
}

pub(super) fn targets(nodes: &[Node], port: i64) -> Vec<Labels> {
    let target = |node: &Node| {
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(node.address(), port));
        labels.set(&format!("{PREFIX}engine_version"), &node.description.engine.engine_version);
        if let Some(manager) = &node.manager_status {
            labels.set(&format!("{PREFIX}manager_address"), &manager.addr);
            labels.set(&format!("{PREFIX}manager_leader"), if manager.leader { "true" } else { "false" });
            labels.set(&format!("{PREFIX}manager_reachability"), &manager.reachability);
        }
        node.set_labels(&mut labels);
        labels.build()
    };
    nodes.iter().map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_and_a_worker() {
        let json = r#"[{"ID": "n1", "Spec": {"Labels": {"a.b": "c"}, "Role": "manager", "Availability": "active"},
            "Description": {"Hostname": "oxygen", "Platform": {"Architecture": "x86_64", "OS": "linux"}, "Engine": {"EngineVersion": "24.0"}},
            "Status": {"State": "ready", "Addr": "fd00::1"},
            "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "10.0.0.1:2377"}}, {"ID": "n2", "Status": {"Addr": "10.0.0.2"}}]"#;
        let nodes: Vec<Node> = serde_json::from_str(json).unwrap();
        let manager = Labels::from([
            ("__address__", "[fd00::1]:9100"),
            ("__meta_dockerswarm_node_address", "fd00::1"),
            ("__meta_dockerswarm_node_availability", "active"),
            ("__meta_dockerswarm_node_engine_version", "24.0"),
            ("__meta_dockerswarm_node_hostname", "oxygen"),
            ("__meta_dockerswarm_node_id", "n1"),
            ("__meta_dockerswarm_node_label_a_b", "c"),
            ("__meta_dockerswarm_node_manager_address", "10.0.0.1:2377"),
            ("__meta_dockerswarm_node_manager_leader", "true"),
            ("__meta_dockerswarm_node_manager_reachability", "reachable"),
            ("__meta_dockerswarm_node_platform_architecture", "x86_64"),
            ("__meta_dockerswarm_node_platform_os", "linux"),
            ("__meta_dockerswarm_node_role", "manager"),
            ("__meta_dockerswarm_node_status", "ready"),
        ]);
        let worker = Labels::from([
            ("__address__", "10.0.0.2:9100"),
            ("__meta_dockerswarm_node_address", "10.0.0.2"),
            ("__meta_dockerswarm_node_id", "n2"),
        ]);
        assert_eq!(targets(&nodes, 9100), [manager, worker]);
    }
}
