//! From an endpoint slice to its target group.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::discovery::v1;
use kube::{Api, Client, api::ObjectMeta};
use kvass_model::{Labels, PrometheusLine, TargetGroup};
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
use crate::text::{host_port, sanitised};

/// Names the service that a slice is of.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The parts of an endpoint slice that targets are made of.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = v1::EndpointSlice)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointSlice {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    address_type: Option<String>,
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<Port>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    addresses: Option<Vec<String>>,
    conditions: Conditions,
    hostname: Option<String>,
    node_name: Option<String>,
    zone: Option<String>,
    target_ref: Option<TargetRef>,
    deprecated_topology: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    name: Option<String>,
    port: Option<i32>,
    protocol: Option<String>,
    app_protocol: Option<String>,
}

/// What is kept of an endpoint slice.
#[derive(Debug, PartialEq)]
pub(crate) struct EndpointSliceEntry {
    namespace: String,
    /// Key of its service.
    service: Option<String>,
    address_type: String,
    labels: Labels,
    endpoints: Vec<Endpoint>,
    ports: Vec<Port>,
}

impl Watched for EndpointSlice {
    type Entry = EndpointSliceEntry;

    fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
        namespaced(client, namespace)
    }

    fn registry(pool: &WatchPool) -> &Registry<Self> {
        &pool.endpoint_slices
    }

    fn entry(&self) -> EndpointSliceEntry {
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        let address_type = self.address_type.clone().unwrap_or_default();
        let service = self.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        let mut labels = MetaLabels::of_object("endpointslice", &self.metadata);
        labels.set("endpointslice_address_type", &address_type);
        EndpointSliceEntry {
            service: service.map(|name| format!("{namespace}/{name}")),
            namespace,
            address_type,
            labels: labels.build(),
            endpoints: self.endpoints.clone().unwrap_or_default(),
            ports: self.ports.clone().unwrap_or_default(),
        }
    }
}

impl Role for EndpointSlice {
    const SOURCE: &'static str = "endpointslice";
    const AROUND: &'static [Kind] = &[Kind::Service, Kind::Pod, Kind::Node, Kind::Namespace, Kind::ReplicaSet, Kind::Job];

    fn target_group(key: &str, slice: &EndpointSliceEntry, look: &Look<'_>) -> Option<Arc<TargetGroup>> {
        let mut labels = MetaLabels::from(&slice.labels);
        if let Some(service) = slice.service.as_deref().and_then(|key| look.service(key)) {
            let first = service.first_of_two_families.as_ref();
            if look.line == PrometheusLine::V3 && first.is_some_and(|first| *first != slice.address_type) {
                return None;
            }
            labels.merge(&service.group.labels);
        }
        if let Some(namespace) = look.namespace(&slice.namespace) {
            labels.merge(&namespace);
        }
        let mut pods = JoinedPods::new(look);
        let mut targets = Vec::new();
        for endpoint in &slice.endpoints {
            for port in &slice.ports {
                let addresses = endpoint.addresses.iter().flatten();
                targets.extend(addresses.map(|address| target(address, endpoint, port, &mut pods, look)));
            }
        }
        targets.extend(pods.uncovered());
        let source = format!("{}/{key}", EndpointSlice::SOURCE);
        Some(Arc::new(TargetGroup { source, targets, labels: labels.build() }))
    }
}

fn target(address: &str, endpoint: &Endpoint, port: &Port, pods: &mut JoinedPods<'_>, look: &Look<'_>) -> Labels {
    let reference = endpoint.target_ref.as_ref();
    let number = port.port.map(|port| port.to_string());
    let truth = |condition: Option<bool>| condition.map(|holds| if holds { "true" } else { "false" });
    let mut target = MetaLabels::new();
    target.set_address(&port.port.map_or_else(|| address.to_owned(), |port| host_port(address, port)));
    target.set_known([
        ("endpointslice_port", number.as_deref()),
        ("endpointslice_port_name", port.name.as_deref()),
        ("endpointslice_port_protocol", port.protocol.as_deref()),
        ("endpointslice_port_app_protocol", port.app_protocol.as_deref()),
        ("endpointslice_endpoint_conditions_ready", truth(endpoint.conditions.ready)),
        ("endpointslice_endpoint_conditions_serving", truth(endpoint.conditions.serving)),
        ("endpointslice_endpoint_conditions_terminating", truth(endpoint.conditions.terminating)),
        ("endpointslice_endpoint_hostname", endpoint.hostname.as_deref()),
        ("endpointslice_endpoint_node_name", endpoint.node_name.as_deref()),
        ("endpointslice_endpoint_zone", endpoint.zone.as_deref()),
        ("endpointslice_address_target_kind", reference.and_then(|reference| reference.kind.as_deref())),
        ("endpointslice_address_target_name", reference.and_then(|reference| reference.name.as_deref())),
    ]);
    for (name, value) in endpoint.deprecated_topology.iter().flatten() {
        let name = sanitised(name);
        target.set(&format!("endpointslice_endpoint_topology_{name}"), value);
        target.set(&format!("endpointslice_endpoint_topology_present_{name}"), "true");
    }
    let node = reference.and_then(|reference| reference.name_of("Node")).or(endpoint.node_name.as_deref());
    if let Some(node) = node.and_then(|node| look.node(node)) {
        target.merge(&node.description);
    }
    pods.describe(&mut target, reference, port.port, None);
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
        node::Node,
        pod::Pod,
        service::Service,
    };

    fn group(slice: Value, around: &Around, line: PrometheusLine) -> Option<Vec<String>> {
        let entry = serde_json::from_value::<EndpointSlice>(slice).unwrap().entry();
        EndpointSlice::target_group("n/web-1", &entry, &Look::new(around, line)).map(|group| lines(&group))
    }

    #[test]
    fn a_slice_and_all_its_labels() {
        let slice = json!({
            "metadata": {"name": "web-1", "namespace": "n", "labels": {SERVICE_NAME: "web"}, "annotations": {"a": "b"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "h2c"}, {"name": ""}],
            "endpoints": [{
                "addresses": ["10.0.0.1", "10.0.0.2"],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "hostname": "h", "nodeName": "n1", "zone": "z", "deprecatedTopology": {"x.y/z": "t"},
                "targetRef": {"kind": "Node", "name": "n2"}
            }]
        });
        let around = Around {
            services: Some(store::<Service>(&[json!({"metadata": {"name": "web", "namespace": "n", "labels": {"s": "3"}}})])),
            nodes: Some(store::<Node>(&[json!({"metadata": {"name": "n1"}}), json!({"metadata": {"name": "n2"}})])),
            ..Around::default()
        };
        let of_endpoint = "endpointslice_address_target_kind=Node endpointslice_address_target_name=n2 \
                           endpointslice_endpoint_conditions_ready=true endpointslice_endpoint_conditions_serving=true \
                           endpointslice_endpoint_conditions_terminating=false endpointslice_endpoint_hostname=h \
                           endpointslice_endpoint_node_name=n1 endpointslice_endpoint_topology_present_x_y_z=true \
                           endpointslice_endpoint_topology_x_y_z=t endpointslice_endpoint_zone=z";
        let of_port = "endpointslice_port=80 endpointslice_port_app_protocol=h2c endpointslice_port_name=http \
                       endpointslice_port_protocol=TCP";
        assert_eq!(
            group(slice, &around, V3).unwrap(),
            [
                "endpointslice/n/web-1".to_owned(),
                "endpointslice_address_type=IPv4 endpointslice_annotation_a=b endpointslice_annotationpresent_a=true \
                 endpointslice_label_kubernetes_io_service_name=web endpointslice_labelpresent_kubernetes_io_service_name=true \
                 endpointslice_name=web-1 namespace=n service_label_s=3 service_labelpresent_s=true service_name=web"
                    .to_owned(),
                format!("__address__=10.0.0.1:80 {of_endpoint} {of_port} node_name=n2"),
                format!("__address__=10.0.0.2:80 {of_endpoint} {of_port} node_name=n2"),
                format!("__address__=10.0.0.1 {of_endpoint} node_name=n2"),
                format!("__address__=10.0.0.2 {of_endpoint} node_name=n2"),
            ]
        );
    }

    #[test]
    fn a_pod_keeps_the_protocol_of_its_container() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [{"name": "main", "ports": [
                {"name": "dns", "containerPort": 53, "protocol": "UDP"}, {"containerPort": 80}
            ]}]},
            "status": {"podIP": "10.0.0.1"}
        });
        let around = Around { pods: Some(store::<Pod>(&[pod])), ..Around::default() };
        let reference = json!({"kind": "Pod", "name": "p", "namespace": "n"});
        let slice = json!({
            "metadata": {"name": "web-1", "namespace": "n"},
            "addressType": "IPv4",
            "ports": [{"port": 53, "protocol": "TCP"}, {"name": "no number"}],
            "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": reference}]
        });
        let lines = group(slice, &around, V3).unwrap();
        let refers = "endpointslice_address_target_kind=Pod endpointslice_address_target_name=p";
        assert_eq!(
            lines[2..],
            [
                format!(
                    "__address__=10.0.0.1:53 {refers} endpointslice_port=53 endpointslice_port_protocol=TCP \
                     pod_container_init=false pod_container_name=main pod_container_port_name=dns pod_container_port_number=53 \
                     pod_container_port_protocol=UDP pod_ip=10.0.0.1 pod_name=p pod_ready=unknown"
                ),
                format!(
                    "__address__=10.0.0.1 {refers} endpointslice_port_name=no number pod_ip=10.0.0.1 pod_name=p pod_ready=unknown"
                ),
                "__address__=10.0.0.1:80 pod_container_init=false pod_container_name=main pod_container_port_number=80 \
                 pod_ip=10.0.0.1 pod_name=p pod_ready=unknown"
                    .to_owned(),
            ]
        );
    }

    #[test]
    fn the_second_family_of_a_service_with_both() {
        let slice = |address_type: &str| {
            json!({
                "metadata": {"name": "web-1", "namespace": "n", "labels": {SERVICE_NAME: "web"}},
                "addressType": address_type, "ports": [{"port": 80}], "endpoints": [{"addresses": ["a"]}]
            })
        };
        for (policy, families, second) in [
            (json!("PreferDualStack"), json!(["IPv4", "IPv6"]), false),
            (json!("RequireDualStack"), json!(["IPv4", "IPv6"]), false),
            (json!("SingleStack"), json!(["IPv4"]), true),
            (json!("PreferDualStack"), json!([]), true),
            (json!(null), json!(["IPv4"]), true),
        ] {
            let spec = json!({"ipFamilyPolicy": policy, "ipFamilies": families});
            let service = json!({"metadata": {"name": "web", "namespace": "n"}, "spec": spec});
            let around = Around { services: Some(store::<Service>(&[service])), ..Around::default() };
            assert!(group(slice("IPv4"), &around, V3).is_some());
            assert_eq!(group(slice("IPv6"), &around, V3).is_some(), second, "{spec}");
            assert!(group(slice("IPv6"), &around, V2).is_some());
        }
    }
}
