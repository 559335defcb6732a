//! From a node to its target group.

use std::sync::Arc;

use k8s_openapi::api::core::v1;
use kube::{Api, Client, api::ObjectMeta};
use kvass_model::{Labels, PrometheusLine, TargetGroup};
use serde::Deserialize;

use super::{
    around::Look,
    dependents::Kind,
    labels::{MetaLabels, key, metadata, without},
    pool::{Registry, WatchPool},
    runner::Role,
    watch::Watched,
};
use crate::text::{host_port, sanitised};

/// Types of addresses, the preferred one first.
const ADDRESS_TYPES: [&str; 6] = ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];

/// The parts of a node that targets are made of.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = v1::Node)]
pub(crate) struct Node {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    addresses: Option<Vec<Address>>,
    conditions: Option<Vec<Condition>>,
    daemon_endpoints: DaemonEndpoints,
}

#[derive(Clone, Debug, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DaemonEndpoints {
    kubelet_endpoint: DaemonEndpoint,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct DaemonEndpoint {
    #[serde(rename = "Port")]
    port: i32,
}

/// What is kept of a node.
#[derive(Debug, PartialEq)]
pub(crate) struct NodeEntry {
    /// What the role `node` makes of it.
    group: Arc<TargetGroup>,
    /// What it adds to the targets on it.
    pub(crate) description: Labels,
}

impl Watched for Node {
    type Entry = NodeEntry;

    fn api(client: Client, _namespace: Option<&str>) -> Api<Self> {
        Api::all(client)
    }

    fn registry(pool: &WatchPool) -> &Registry<Self> {
        &pool.nodes
    }

    fn entry(&self) -> NodeEntry {
        let mut labels = MetaLabels::new();
        labels.object("node", &self.metadata);
        let description = labels.build();
        let mut labels = MetaLabels::from(&description);
        labels.set("node_provider_id", self.spec.provider_id.as_deref().unwrap_or_default());
        for condition in self.status.conditions.iter().flatten() {
            let name = format!("node_condition_{}", sanitised(&condition.kind.to_lowercase()));
            labels.set(&name, &condition.status.to_lowercase());
        }
        let source = format!("{}/{}", Node::SOURCE, key(&self.metadata));
        let group = TargetGroup { source, targets: self.target().into_iter().collect(), labels: labels.build() };
        NodeEntry { group: Arc::new(group), description }
    }
}

impl Role for Node {
    const SOURCE: &'static str = "node";
    const AROUND: &'static [Kind] = &[];

    fn target_group(_key: &str, node: &NodeEntry, look: &Look<'_>) -> Option<Arc<TargetGroup>> {
        if look.line == PrometheusLine::V3 {
            return Some(Arc::clone(&node.group));
        }
        let TargetGroup { source, targets, labels } = &*node.group;
        let labels = without(labels, "node_condition_");
        Some(Arc::new(TargetGroup { source: source.clone(), targets: targets.clone(), labels }))
    }
}

impl Node {
    /// The kubelet; none while the node has no address.
    fn target(&self) -> Option<Labels> {
        let addresses = || self.status.addresses.iter().flatten();
        let preferred = ADDRESS_TYPES.iter().find_map(|kind| addresses().find(|address| address.kind == *kind))?;
        let mut target = MetaLabels::new();
        // The first address of a type stands for all of them.
        for address in self.status.addresses.iter().flatten().rev() {
            target.set(&format!("node_address_{}", sanitised(&address.kind)), &address.address);
        }
        target.set_address(&host_port(&preferred.address, self.status.daemon_endpoints.kubelet_endpoint.port));
        target.set_instance(self.metadata.name.as_deref().unwrap_or_default());
        Some(target.build())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::{
        around::Around,
        labels::testing::{line, lines},
    };

    fn entry(node: Value) -> NodeEntry {
        serde_json::from_value::<Node>(node).unwrap().entry()
    }

    fn group(node: &NodeEntry, line: PrometheusLine) -> Arc<TargetGroup> {
        let around = Around::default();
        Node::target_group("", node, &Look::new(&around, line)).unwrap()
    }

    #[test]
    fn a_node_and_all_its_labels() {
        let node = entry(json!({
            "metadata": {"name": "n1", "labels": {"zone": "a"}, "annotations": {"x/y": "1"}},
            "spec": {"providerID": "cloud://1"},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": "n1.example"},
                    {"type": "InternalIP", "address": "10.0.0.1"},
                    {"type": "InternalIP", "address": "fd00::1"},
                    {"type": "Wire-less", "address": "w"}
                ],
                "conditions": [
                    {"type": "Ready", "status": "True"},
                    {"type": "example.com/Odd", "status": "Unknown"}
                ],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}
            }
        }));
        let target = "__address__=10.0.0.1:10250 node_address_Hostname=n1.example node_address_InternalIP=10.0.0.1 \
                      node_address_Wire_less=w instance=n1";
        let described = "node_annotation_x_y=1 node_annotationpresent_x_y=true";
        let rest = "node_label_zone=a node_labelpresent_zone=true node_name=n1";
        let conditions = "node_condition_example_com_odd=unknown node_condition_ready=true";
        assert_eq!(
            lines(&group(&node, PrometheusLine::V3)),
            ["node/n1".to_owned(), format!("{described} {conditions} {rest} node_provider_id=cloud://1"), target.to_owned()]
        );
        assert_eq!(
            lines(&group(&node, PrometheusLine::V2)),
            ["node/n1".to_owned(), format!("{described} {rest} node_provider_id=cloud://1"), target.to_owned()]
        );
        assert_eq!(line(&node.description), format!("{described} {rest}"));
    }

    #[test]
    fn the_address_by_preference() {
        let with = |addresses: &[(&str, &str)]| {
            let addresses: Vec<Value> = addresses.iter().map(|(kind, text)| json!({"type": kind, "address": text})).collect();
            let node = entry(json!({"metadata": {"name": "n"}, "status": {"addresses": addresses}}));
            node.group.targets.first().map(|target| target.address().to_owned())
        };
        let all = [
            ("Hostname", "1"),
            ("LegacyHostIP", "2"),
            ("ExternalDNS", "3"),
            ("ExternalIP", "4"),
            ("InternalDNS", "5"),
            ("InternalIP", "fd00::6"),
        ];
        for (count, expected) in (1..=6).zip(["1:0", "2:0", "3:0", "4:0", "5:0", "[fd00::6]:0"]) {
            assert_eq!(with(&all[..count]).as_deref(), Some(expected));
        }
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("Other", "x")]), None);
    }
}
