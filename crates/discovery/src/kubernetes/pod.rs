//! From a pod to its target group.

use std::sync::Arc;

use k8s_openapi::api::core::v1;
use kube::{Api, Client, api::ObjectMeta};
use kvass_model::{Labels, TargetGroup};
use serde::Deserialize;

use super::{
    around::Look,
    dependents::Kind,
    labels::{MetaLabels, extended, key, metadata},
    owner::Controller,
    pool::{Registry, WatchPool},
    runner::Role,
    watch::{Watched, namespaced},
};
use crate::text::host_port;

/// The parts of a pod that targets are made of; a whole one costs ten times the memory.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = v1::Pod)]
pub(crate) struct Pod {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Container {
    name: String,
    image: Option<String>,
    ports: Option<Vec<Port>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    name: Option<String>,
    container_port: i32,
    protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    phase: Option<String>,
    conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Clone, Debug, Deserialize)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
}

/// What is kept of a pod.
#[derive(Debug, PartialEq)]
pub(crate) struct PodEntry {
    /// What the role `pod` makes of it; other roles take labels and ports from here, also while there is no address.
    pub(crate) group: Arc<TargetGroup>,
    /// Whether it has an address. Without one its targets are none.
    pub(crate) has_address: bool,
    /// The node it runs on, or empty.
    pub(crate) node: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Who made it.
    pub(crate) controller: Option<Controller>,
}

impl Watched for Pod {
    type Entry = PodEntry;

    fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
        namespaced(client, namespace)
    }

    fn registry(pool: &WatchPool) -> &Registry<Self> {
        &pool.pods
    }

    fn entry(&self) -> PodEntry {
        let controller = Controller::of(&self.metadata);
        let ip = self.status.pod_ip.as_deref().unwrap_or_default();
        let source = format!("{}/{}", Pod::SOURCE, key(&self.metadata));
        let group = TargetGroup { source, targets: self.targets(ip), labels: self.labels(ip, controller.as_ref()) };
        PodEntry {
            group: Arc::new(group),
            has_address: !ip.is_empty(),
            node: self.spec.node_name.clone().unwrap_or_default(),
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            controller,
        }
    }
}

impl Role for Pod {
    const SOURCE: &'static str = "pod";
    const AROUND: &'static [Kind] = &[Kind::Node, Kind::Namespace, Kind::ReplicaSet, Kind::Job];

    fn target_group(_key: &str, pod: &PodEntry, look: &Look<'_>) -> Option<Arc<TargetGroup>> {
        let node = look.node(&pod.node);
        if !pod.has_address || look.needs_nodes() && node.is_none() {
            return None;
        }
        let node = node.as_ref().map(|node| &node.description);
        let namespace = look.namespace(&pod.namespace);
        Some(extended(&pod.group, node.into_iter().chain(namespace.as_deref()).chain([&look.owners(pod)])))
    }
}

impl Pod {
    fn labels(&self, ip: &str, controller: Option<&Controller>) -> Labels {
        let mut labels = MetaLabels::of_object("pod", &self.metadata);
        labels.set("pod_ip", ip);
        labels.set("pod_ready", &self.ready());
        labels.set_known([
            ("pod_phase", self.status.phase.as_deref()),
            ("pod_node_name", self.spec.node_name.as_deref()),
            ("pod_host_ip", self.status.host_ip.as_deref()),
            ("pod_uid", self.metadata.uid.as_deref()),
            ("pod_controller_kind", controller.map(|controller| controller.kind.as_str())),
            ("pod_controller_name", controller.map(|controller| controller.name.as_str())),
        ]);
        labels.build()
    }

    /// `true`, `false` or `unknown`.
    fn ready(&self) -> String {
        let mut conditions = self.status.conditions.iter().flatten();
        conditions.find(|c| c.kind == "Ready").map_or_else(|| "unknown".to_owned(), |c| c.status.to_lowercase())
    }

    /// One target per container port, and one for each container without ports.
    fn targets(&self, ip: &str) -> Vec<Labels> {
        let kinds = [
            (&self.spec.containers, &self.status.container_statuses, "false"),
            (&self.spec.init_containers, &self.status.init_container_statuses, "true"),
        ];
        let mut targets = Vec::new();
        for (containers, statuses, init) in kinds {
            for container in containers.iter().flatten() {
                let status = statuses.iter().flatten().find(|status| status.name == container.name);
                let target = |address: &str, port: Option<&Port>| {
                    let mut target = MetaLabels::new();
                    target.set_address(address);
                    target.set_known([
                        ("pod_container_name", Some(container.name.as_str())),
                        ("pod_container_id", status.and_then(|status| status.container_id.as_deref())),
                        ("pod_container_image", container.image.as_deref()),
                        ("pod_container_init", Some(init)),
                        ("pod_container_port_name", port.and_then(|port| port.name.as_deref())),
                        ("pod_container_port_number", port.map(|port| port.container_port.to_string()).as_deref()),
                        ("pod_container_port_protocol", port.and_then(|port| port.protocol.as_deref())),
                    ]);
                    target.build()
                };
                match container.ports.as_deref() {
                    None | Some([]) => targets.push(target(ip, None)),
                    Some(ports) => {
                        targets.extend(ports.iter().map(|port| target(&host_port(ip, port.container_port), Some(port))));
                    }
                }
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use kvass_model::PrometheusLine::{self, V2, V3};
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::{
        around::{Around, testing::store},
        labels::testing::lines,
        namespace::Namespace,
        node::Node,
        owner::{Job, ReplicaSet},
    };

    fn group(pod: Value, around: &Around, line: PrometheusLine) -> Option<Vec<String>> {
        let entry = serde_json::from_value::<Pod>(pod).unwrap().entry();
        Pod::target_group("", &entry, &Look::new(around, line)).map(|group| lines(&group))
    }

    #[test]
    fn a_pod_and_all_its_labels() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web-0", "namespace": "shop", "uid": "u-1",
                "labels": {"app.kubernetes.io/name": "web", "empty": ""},
                "annotations": {"é/x": "1"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "1"},
                    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "2", "controller": true}
                ]
            },
            "spec": {
                "nodeName": "n1",
                "containers": [
                    {"name": "main", "image": "web:1", "ports": [
                        {"name": "http", "containerPort": 80, "protocol": "TCP"},
                        {"containerPort": 53, "protocol": "UDP"}
                    ]},
                    {"name": "side", "image": "side:1"}
                ],
                "initContainers": [{"name": "init", "image": "init:1", "ports": []}]
            },
            "status": {
                "podIP": "10.0.0.7", "hostIP": "192.168.0.1", "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "main", "containerID": "containerd://a"}],
                "initContainerStatuses": [{"name": "init", "containerID": "containerd://b"}]
            }
        });
        assert_eq!(
            group(pod, &Around::default(), V3).unwrap(),
            [
                "pod/shop/web-0",
                "namespace=shop pod_annotation___x=1 pod_annotationpresent___x=true pod_controller_kind=StatefulSet \
                 pod_controller_name=web pod_host_ip=192.168.0.1 pod_ip=10.0.0.7 pod_label_app_kubernetes_io_name=web \
                 pod_labelpresent_app_kubernetes_io_name=true pod_labelpresent_empty=true pod_name=web-0 pod_node_name=n1 \
                 pod_phase=Running pod_ready=true pod_uid=u-1",
                "__address__=10.0.0.7:80 pod_container_id=containerd://a pod_container_image=web:1 pod_container_init=false \
                 pod_container_name=main pod_container_port_name=http pod_container_port_number=80 \
                 pod_container_port_protocol=TCP",
                "__address__=10.0.0.7:53 pod_container_id=containerd://a pod_container_image=web:1 pod_container_init=false \
                 pod_container_name=main pod_container_port_number=53 pod_container_port_protocol=UDP",
                "__address__=10.0.0.7 pod_container_image=side:1 pod_container_init=false pod_container_name=side",
                "__address__=10.0.0.7 pod_container_id=containerd://b pod_container_image=init:1 pod_container_init=true \
                 pod_container_name=init",
            ]
        );
    }

    #[test]
    fn addresses_and_readiness() {
        let around = Around::default();
        for (ip, port, expected) in
            [("10.0.0.1", json!(80), "10.0.0.1:80"), ("fd00::1", json!(80), "[fd00::1]:80"), ("fd00::1", json!(null), "fd00::1")]
        {
            let ports = if port.is_null() { json!(null) } else { json!([{"containerPort": port}]) };
            let pod = json!({
                "metadata": {"name": "p", "namespace": "n"},
                "spec": {"containers": [{"name": "c", "ports": ports}]},
                "status": {"podIP": ip}
            });
            let lines = group(pod, &around, V3).unwrap();
            assert!(lines[2].starts_with(&format!("__address__={expected} ")), "{lines:?}");
            assert!(lines[1].contains(" pod_ready=unknown"), "{lines:?}");
        }
        for status in [json!({}), json!({"podIP": ""}), json!(null)] {
            let mut pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "c"}]}});
            if !status.is_null() {
                pod["status"] = status;
            }
            assert_eq!(group(pod, &around, V3), None);
        }
    }

    fn pod(owner: &Value) -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "n", "ownerReferences": [owner]},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"podIP": "10.0.0.1"}
        })
    }

    #[test]
    fn what_node_and_namespace_add() {
        let none = json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1"});
        let node = json!({"metadata": {"name": "n1", "labels": {"zone": "a"}}, "spec": {"providerID": "p"}});
        let mut around = Around {
            nodes: Some(store::<Node>(&[node])),
            namespaces: Some(store::<Namespace>(&[json!({"metadata": {"name": "n", "annotations": {"team": "x"}}})])),
            ..Around::default()
        };
        let described = "namespace=n namespace_annotation_team=x namespace_annotationpresent_team=true node_label_zone=a \
                         node_labelpresent_zone=true node_name=n1 pod_ip=10.0.0.1 pod_name=p pod_node_name=n1 pod_ready=unknown";
        assert_eq!(group(pod(&none), &around, V3).unwrap()[1], described);

        // Where the node is not there, 3.x has no target; 2.x does unless nodes were selected.
        around.nodes = Some(store::<Node>(&[]));
        assert_eq!(group(pod(&none), &around, V3), None);
        assert!(group(pod(&none), &around, V2).is_some());
        around.nodes_selected = true;
        assert_eq!(group(pod(&none), &around, V2), None);
    }

    #[test]
    fn what_owners_add() {
        let owner = |kind: &str| json!({"apiVersion": "v1", "kind": kind, "name": "o", "uid": "1", "controller": true});
        let owned = |by: &str| json!({"metadata": {"name": "o", "namespace": "n", "ownerReferences": [owner(by)]}});
        let labels = |kind: &str, around: &Around| {
            let lines = group(pod(&owner(kind)), around, V3).unwrap();
            let added = |label: &&str| ["pod_deployment", "pod_job", "pod_cronjob"].iter().any(|name| label.starts_with(name));
            lines[1].split(' ').filter(added).collect::<Vec<_>>().join(" ")
        };
        let around = |by: [&str; 2]| Around {
            replica_sets: Some(store::<ReplicaSet>(&[owned(by[0])])),
            jobs: Some(store::<Job>(&[owned(by[1])])),
            job_names: true,
            ..Around::default()
        };
        let usual = around(["Deployment", "CronJob"]);
        assert_eq!(labels("ReplicaSet", &usual), "pod_deployment_name=o");
        assert_eq!(labels("Job", &usual), "pod_cronjob_name=o pod_job_name=o");
        assert_eq!(labels("StatefulSet", &usual), "");
        let other = around(["Rollout", "Workflow"]);
        assert_eq!((labels("ReplicaSet", &other), labels("Job", &other)), (String::new(), "pod_job_name=o".to_owned()));
        assert_eq!(labels("Job", &Around::default()), "");
    }
}
