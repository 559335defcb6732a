//! From an endpoints object to its target group.

use std::sync::Arc;

use k8s_openapi::api::core::v1;
use kube::{Api, Client, api::ObjectMeta};
use kvass_model::{Labels, TargetGroup};
use serde::Deserialize;

use super::{
    around::Look,
    dependents::Kind,
    joined_pods::{JoinedPods, TargetRef},
    labels::{MetaLabels, metadata},
    pool::{Registry, WatchPool},
    runner::Role,
    watch::{Watched, namespaced},
};
use crate::text::host_port;

/// The parts of an endpoints object that targets are made of.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = v1::Endpoints)]
pub(crate) struct Endpoints {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    subsets: Option<Vec<Subset>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Subset {
    addresses: Option<Vec<Address>>,
    not_ready_addresses: Option<Vec<Address>>,
    ports: Option<Vec<Port>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    ip: String,
    hostname: Option<String>,
    node_name: Option<String>,
    target_ref: Option<TargetRef>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Port {
    name: Option<String>,
    port: i32,
    protocol: Option<String>,
}

/// What is kept of an endpoints object.
#[derive(Debug, PartialEq)]
pub(crate) struct EndpointsEntry {
    namespace: String,
    labels: Labels,
    subsets: Vec<Subset>,
}

impl Watched for Endpoints {
    type Entry = EndpointsEntry;

    fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
        namespaced(client, namespace)
    }

    fn registry(pool: &WatchPool) -> &Registry<Self> {
        &pool.endpoints
    }

    fn entry(&self) -> EndpointsEntry {
        EndpointsEntry {
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            labels: MetaLabels::of_object("endpoints", &self.metadata).build(),
            subsets: self.subsets.clone().unwrap_or_default(),
        }
    }
}

impl Role for Endpoints {
    const SOURCE: &'static str = "endpoints";
    const AROUND: &'static [Kind] = &[Kind::Service, Kind::Pod, Kind::Node, Kind::Namespace, Kind::ReplicaSet, Kind::Job];

    fn target_group(key: &str, endpoints: &EndpointsEntry, look: &Look<'_>) -> Option<Arc<TargetGroup>> {
        let mut labels = MetaLabels::from(&endpoints.labels);
        // Endpoints are called like their service.
        if let Some(service) = look.service(key) {
            labels.merge(&service.group.labels);
        }
        if let Some(namespace) = look.namespace(&endpoints.namespace) {
            labels.merge(&namespace);
        }
        let mut pods = JoinedPods::new(look);
        let mut targets = Vec::new();
        for subset in &endpoints.subsets {
            for port in subset.ports.iter().flatten() {
                let ready = subset.addresses.iter().flatten().map(|address| (address, "true"));
                let others = subset.not_ready_addresses.iter().flatten().map(|address| (address, "false"));
                targets.extend(ready.chain(others).map(|(address, ready)| target(address, port, ready, &mut pods, look)));
            }
        }
        targets.extend(pods.uncovered());
        let source = format!("{}/{key}", Endpoints::SOURCE);
        Some(Arc::new(TargetGroup { source, targets, labels: labels.build() }))
    }
}

fn target(address: &Address, port: &Port, ready: &str, pods: &mut JoinedPods<'_>, look: &Look<'_>) -> Labels {
    let reference = address.target_ref.as_ref();
    let mut target = MetaLabels::new();
    target.set_address(&host_port(&address.ip, port.port));
    target.set_known([
        ("endpoint_port_name", port.name.as_deref()),
        ("endpoint_port_protocol", port.protocol.as_deref()),
        ("endpoint_ready", Some(ready)),
        ("endpoint_node_name", address.node_name.as_deref()),
        ("endpoint_hostname", address.hostname.as_deref()),
        ("endpoint_address_target_kind", reference.and_then(|reference| reference.kind.as_deref())),
        ("endpoint_address_target_name", reference.and_then(|reference| reference.name.as_deref())),
    ]);
    let node = address.node_name.as_deref().or_else(|| reference?.name_of("Node"));
    if let Some(node) = node.and_then(|node| look.node(node)) {
        target.merge(&node.description);
    }
    // The protocol of the endpoint's port, whatever the container says.
    let protocol = port.protocol.as_deref().unwrap_or_default();
    pods.describe(&mut target, reference, Some(port.port), Some(protocol));
    target.build()
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
        pod::Pod,
        service::Service,
    };

    fn group(endpoints: Value, around: &Around, line: PrometheusLine) -> Vec<String> {
        let entry = serde_json::from_value::<Endpoints>(endpoints).unwrap().entry();
        lines(&Endpoints::target_group("n/web", &entry, &Look::new(around, line)).unwrap())
    }

    fn endpoints(addresses: &Value, ports: &Value) -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "n"},
            "subsets": [{"addresses": addresses, "ports": ports}]
        })
    }

    fn pods(pods: &[Value]) -> Around {
        Around { pods: Some(store::<Pod>(pods)), ..Around::default() }
    }

    #[test]
    fn endpoints_without_pods_and_all_their_labels() {
        let endpoints = json!({
            "metadata": {"name": "web", "namespace": "n", "labels": {"a": "1"}, "annotations": {"b": "2"}},
            "subsets": [
                {
                    "addresses": [{"ip": "10.0.0.1", "nodeName": "n1", "hostname": "h"}],
                    "notReadyAddresses": [{"ip": "fd00::1", "targetRef": {"kind": "Node", "name": "n2"}}],
                    "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"port": 53}]
                },
                {"addresses": [{"ip": "10.0.0.9"}]},
                {"ports": [{"port": 1}]}
            ]
        });
        let around = Around {
            services: Some(store::<Service>(&[json!({"metadata": {"name": "web", "namespace": "n", "labels": {"s": "3"}}})])),
            namespaces: Some(store::<Namespace>(&[json!({"metadata": {"name": "n", "labels": {"team": "x"}}})])),
            nodes: Some(store::<Node>(&[json!({"metadata": {"name": "n1"}}), json!({"metadata": {"name": "n2"}})])),
            ..Around::default()
        };
        let one = "endpoint_hostname=h endpoint_node_name=n1";
        let other = "endpoint_address_target_kind=Node endpoint_address_target_name=n2";
        assert_eq!(
            group(endpoints, &around, V3),
            [
                "endpoints/n/web".to_owned(),
                "endpoints_annotation_b=2 endpoints_annotationpresent_b=true endpoints_label_a=1 endpoints_labelpresent_a=true \
                 endpoints_name=web namespace=n namespace_label_team=x namespace_labelpresent_team=true service_label_s=3 \
                 service_labelpresent_s=true service_name=web"
                    .to_owned(),
                format!(
                    "__address__=10.0.0.1:80 {one} endpoint_port_name=http endpoint_port_protocol=TCP endpoint_ready=true node_name=n1"
                ),
                format!(
                    "__address__=[fd00::1]:80 {other} endpoint_port_name=http endpoint_port_protocol=TCP endpoint_ready=false node_name=n2"
                ),
                format!("__address__=10.0.0.1:53 {one} endpoint_ready=true node_name=n1"),
                format!("__address__=[fd00::1]:53 {other} endpoint_ready=false node_name=n2"),
            ]
        );
    }

    #[test]
    fn a_pod_behind_an_address_describes_it_and_adds_its_other_ports() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {
                "containers": [
                    {"name": "main", "image": "i:1", "ports": [
                        {"name": "http", "containerPort": 80, "protocol": "UDP"}, {"name": "again", "containerPort": 80},
                        {"name": "admin", "containerPort": 81, "protocol": "TCP"}
                    ]},
                    {"name": "none", "image": "i:2"}
                ],
                "initContainers": [{"name": "init", "image": "i:3", "ports": [{"containerPort": 82}]}]
            },
            "status": {"podIP": "10.0.0.1", "containerStatuses": [{"name": "main", "containerID": "id"}]}
        });
        let address = json!([{"ip": "10.0.0.1", "targetRef": {"kind": "Pod", "name": "p", "namespace": "n"}}]);
        let endpoints = endpoints(&address, &json!([{"name": "web", "port": 80, "protocol": "TCP"}]));
        let of_pod = "pod_ip=10.0.0.1 pod_name=p pod_ready=unknown pod_uid=u";
        let first = |init: &str| {
            format!(
                "__address__=10.0.0.1:80 endpoint_address_target_kind=Pod endpoint_address_target_name=p endpoint_port_name=web \
                 endpoint_port_protocol=TCP endpoint_ready=true pod_container_image=i:1 {init}pod_container_name=main \
                 pod_container_port_name=http pod_container_port_number=80 pod_container_port_protocol=TCP {of_pod}"
            )
        };
        let second = |init: &str| {
            format!(
                "__address__=10.0.0.1:81 pod_container_image=i:1 {init}pod_container_name=main pod_container_port_name=admin \
                 pod_container_port_number=81 pod_container_port_protocol=TCP {of_pod}"
            )
        };
        let third = format!(
            "__address__=10.0.0.1:82 pod_container_image=i:3 pod_container_init=true pod_container_name=init \
             pod_container_port_number=82 {of_pod}"
        );
        let around = pods(&[pod]);
        let no_init = "pod_container_init=false ";
        assert_eq!(group(endpoints.clone(), &around, V3)[2..], [first(no_init), second(no_init), third]);
        assert_eq!(group(endpoints, &around, V2)[2..], [first(""), second("")]);
    }

    #[test]
    fn the_last_container_with_the_port_is_told() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [
                {"name": "one", "image": "i:1", "ports": [{"name": "x", "containerPort": 80}]},
                {"name": "two", "ports": [{"containerPort": 80}, {"name": "y", "containerPort": 80}]}
            ]}
        });
        let address = json!([{"ip": "10.0.0.1", "targetRef": {"kind": "Pod", "name": "p", "namespace": "n"}}]);
        assert_eq!(
            // The pod has no address any more.
            group(endpoints(&address, &json!([{"port": 80}])), &pods(&[pod]), V3)[2..],
            ["__address__=10.0.0.1:80 endpoint_address_target_kind=Pod endpoint_address_target_name=p endpoint_ready=true \
              pod_container_init=false pod_container_name=two pod_container_port_number=80 pod_name=p pod_ready=unknown"]
        );
    }

    #[test]
    fn what_is_no_pod_in_the_same_watch_is_left_alone() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": []}});
        let around = pods(&[pod]);
        for (reference, is_pod) in [
            (json!({"kind": "Pod", "name": "p", "namespace": "n"}), true),
            (json!({"kind": "Pod", "name": "p", "namespace": "m"}), false),
            (json!({"kind": "Pod", "name": "p"}), false),
            (json!({"kind": "VM", "name": "p", "namespace": "n"}), false),
            (json!({}), false),
            (json!(null), false),
        ] {
            let address = json!([{"ip": "10.0.0.1", "targetRef": reference}]);
            let lines = group(endpoints(&address, &json!([{"port": 80}])), &around, V3);
            assert_eq!(lines[2].contains(" pod_name=p"), is_pod, "{reference}: {lines:?}");
            assert_eq!(lines.len(), 3);
        }
    }
}
