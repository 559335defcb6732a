//! From a pod to its target group.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1;
use kube::{Api, Client, api::ObjectMeta};
use kvass_model::{ADDRESS_LABEL, Labels, TargetGroup};
use serde::Deserialize;

use super::{
    metadata::{LabelPairs, push_metadata},
    watch::Watched,
};

/// The parts of a pod that targets are made of; a whole one costs ten times the memory.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = v1::Pod)]
pub(crate) struct Pod {
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
    /// Empty while the pod has no address.
    pub(crate) group: Arc<TargetGroup>,
    /// The node it runs on, or empty.
    pub(crate) node: String,
    /// Its namespace.
    pub(crate) namespace: String,
}

impl Watched for Pod {
    type Entry = PodEntry;

    fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
        match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    fn entry(&self) -> PodEntry {
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        let source = format!("pod/{namespace}/{}", self.metadata.name.as_deref().unwrap_or_default());
        let group = match self.status.pod_ip.as_deref().filter(|ip| !ip.is_empty()) {
            Some(ip) => TargetGroup { source, targets: self.targets(ip), labels: self.group_labels(ip, &namespace) },
            None => TargetGroup { source, ..TargetGroup::default() },
        };
        PodEntry { group: Arc::new(group), node: self.spec.node_name.clone().unwrap_or_default(), namespace }
    }
}

impl Pod {
    fn group_labels(&self, ip: &str, namespace: &str) -> Labels {
        let (meta, status) = (&self.metadata, &self.status);
        let mut pairs = LabelPairs::new();
        let mut push = |name: &str, value: Option<&str>| {
            pairs.push((format!("__meta_kubernetes_{name}"), value.unwrap_or_default().to_owned()))
        };
        push("namespace", Some(namespace));
        push("pod_name", meta.name.as_deref());
        push("pod_ip", Some(ip));
        push("pod_ready", Some(&self.ready()));
        push("pod_phase", status.phase.as_deref());
        push("pod_node_name", self.spec.node_name.as_deref());
        push("pod_host_ip", status.host_ip.as_deref());
        push("pod_uid", meta.uid.as_deref());
        if let Some(owner) = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)) {
            push("pod_controller_kind", Some(&owner.kind));
            push("pod_controller_name", Some(&owner.name));
        }
        push_metadata(&mut pairs, "pod", meta);
        pairs.into_iter().collect()
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
                let id = status.and_then(|status| status.container_id.as_deref()).unwrap_or_default();
                let image = container.image.as_deref().unwrap_or_default();
                let common = [
                    ("__meta_kubernetes_pod_container_name", container.name.as_str()),
                    ("__meta_kubernetes_pod_container_id", id),
                    ("__meta_kubernetes_pod_container_image", image),
                    ("__meta_kubernetes_pod_container_init", init),
                ];
                match container.ports.as_deref() {
                    None | Some([]) => targets.push(common.into_iter().chain([(ADDRESS_LABEL, ip)]).collect()),
                    Some(ports) => targets.extend(ports.iter().map(|port| {
                        let number = port.container_port.to_string();
                        let address = join_host_port(ip, port.container_port);
                        let of_port = [
                            (ADDRESS_LABEL, address.as_str()),
                            ("__meta_kubernetes_pod_container_port_name", port.name.as_deref().unwrap_or_default()),
                            ("__meta_kubernetes_pod_container_port_number", &number),
                            ("__meta_kubernetes_pod_container_port_protocol", port.protocol.as_deref().unwrap_or_default()),
                        ];
                        common.into_iter().chain(of_port).collect::<Labels>()
                    })),
                }
            }
        }
        targets
    }
}

/// Go's `net.JoinHostPort`: IPv6 addresses get brackets.
fn join_host_port(ip: &str, port: i32) -> String {
    match ip.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => format!("[{ip}]:{port}"),
        _ => format!("{ip}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(pod: serde_json::Value) -> PodEntry {
        serde_json::from_value::<Pod>(pod).unwrap().entry()
    }

    fn pairs(labels: &Labels) -> Vec<String> {
        labels.iter().map(|(name, value)| format!("{}={value}", name.trim_start_matches("__meta_kubernetes_"))).collect()
    }

    #[test]
    fn a_pod_and_all_its_labels() {
        let entry = entry(json!({
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
        }));
        assert_eq!(entry.group.source, "pod/shop/web-0");
        assert_eq!((entry.node.as_str(), entry.namespace.as_str()), ("n1", "shop"));
        assert_eq!(
            pairs(&entry.group.labels),
            [
                "namespace=shop",
                "pod_annotation___x=1",
                "pod_annotationpresent___x=true",
                "pod_controller_kind=StatefulSet",
                "pod_controller_name=web",
                "pod_host_ip=192.168.0.1",
                "pod_ip=10.0.0.7",
                "pod_label_app_kubernetes_io_name=web",
                "pod_labelpresent_app_kubernetes_io_name=true",
                "pod_labelpresent_empty=true",
                "pod_name=web-0",
                "pod_node_name=n1",
                "pod_phase=Running",
                "pod_ready=true",
                "pod_uid=u-1",
            ]
        );
        let targets: Vec<String> = entry.group.targets.iter().map(|target| pairs(target).join(" ")).collect();
        assert_eq!(
            targets,
            [
                "__address__=10.0.0.7:80 pod_container_id=containerd://a pod_container_image=web:1 pod_container_init=false \
                 pod_container_name=main pod_container_port_name=http pod_container_port_number=80 pod_container_port_protocol=TCP",
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
        for (ip, port, expected) in
            [("10.0.0.1", json!(80), "10.0.0.1:80"), ("fd00::1", json!(80), "[fd00::1]:80"), ("fd00::1", json!(null), "fd00::1")]
        {
            let ports = if port.is_null() { json!(null) } else { json!([{"containerPort": port}]) };
            let entry = entry(json!({
                "metadata": {"name": "p", "namespace": "n"},
                "spec": {"containers": [{"name": "c", "ports": ports}]},
                "status": {"podIP": ip}
            }));
            assert_eq!(entry.group.targets[0].address(), expected);
            assert_eq!(entry.group.labels.get("__meta_kubernetes_pod_ready"), Some("unknown"));
        }
        for status in [json!({}), json!({"podIP": ""}), json!(null)] {
            let mut pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "c"}]}});
            if !status.is_null() {
                pod["status"] = status;
            }
            assert_eq!(entry(pod).group.targets, Vec::<Labels>::new());
        }
    }
}
