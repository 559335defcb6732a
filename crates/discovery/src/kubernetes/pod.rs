//! From a pod to its target group.

use std::{
    net::IpAddr,
    sync::Arc,
};

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
        let mut push = |name: &str, value: Option<&str>| pairs.push((format!("__meta_kubernetes_{name}"), value.unwrap_or_default().to_owned()));
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
