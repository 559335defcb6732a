//! From a service to its target group.

use std::sync::Arc;

use k8s_openapi::api::core::v1;
use kube::{Api, Client, api::ObjectMeta};
use kvass_model::{Labels, PrometheusLine, TargetGroup};
use serde::Deserialize;

use super::{
    around::Look,
    dependents::Kind,
    labels::{MetaLabels, extended, key, metadata},
    pool::{Registry, WatchPool},
    runner::Role,
    watch::{Watched, namespaced},
};
use crate::text::host_port;

/// The parts of a service that targets are made of.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = v1::Service)]
pub(crate) struct Service {
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
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    external_name: Option<String>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Option<String>,
    ip_families: Option<Vec<String>>,
    ip_family_policy: Option<String>,
    ports: Option<Vec<Port>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Port {
    name: Option<String>,
    port: i32,
    protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    load_balancer: LoadBalancer,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Option<Vec<LoadBalancerIngress>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancerIngress {
    ip: Option<String>,
}

/// What is kept of a service.
#[derive(Debug, PartialEq)]
pub(crate) struct ServiceEntry {
    /// What the role `service` makes of it; other roles take its labels.
    pub(crate) group: Arc<TargetGroup>,
    namespace: String,
    /// The address that was wished for; all that 2.x knows of a load balancer.
    load_balancer_ip: Option<String>,
    /// Of a service with both families of addresses: the first one. The slices of the other repeat its targets.
    pub(crate) first_of_two_families: Option<String>,
}

impl Watched for Service {
    type Entry = ServiceEntry;

    fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
        namespaced(client, namespace)
    }

    fn registry(pool: &WatchPool) -> &Registry<Self> {
        &pool.services
    }

    fn entry(&self) -> ServiceEntry {
        let labels = MetaLabels::of_object("service", &self.metadata).build();
        let source = format!("{}/{}", Service::SOURCE, key(&self.metadata));
        let both = matches!(self.spec.ip_family_policy.as_deref(), Some("PreferDualStack" | "RequireDualStack"));
        ServiceEntry {
            group: Arc::new(TargetGroup { source, targets: self.targets(), labels }),
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            load_balancer_ip: self.is("LoadBalancer").then(|| self.spec.load_balancer_ip.clone().unwrap_or_default()),
            first_of_two_families: self.spec.ip_families.iter().flatten().next().filter(|_| both).cloned(),
        }
    }
}

impl Role for Service {
    const SOURCE: &'static str = "svc";
    const AROUND: &'static [Kind] = &[Kind::Namespace];

    fn target_group(_key: &str, service: &ServiceEntry, look: &Look<'_>) -> Option<Arc<TargetGroup>> {
        let group = extended(&service.group, look.namespace(&service.namespace).as_deref());
        let address = service.load_balancer_ip.as_ref().filter(|_| look.line == PrometheusLine::V2);
        Some(match address {
            Some(address) => Arc::new(with_load_balancer(&group, address)),
            None => group,
        })
    }
}

fn with_load_balancer(group: &TargetGroup, address: &str) -> TargetGroup {
    let targets = group.targets.iter().map(|target| {
        let mut target = MetaLabels::from(target);
        target.set(LOAD_BALANCER_IP, address);
        target.build()
    });
    TargetGroup { source: group.source.clone(), targets: targets.collect(), labels: group.labels.clone() }
}

const LOAD_BALANCER_IP: &str = "service_loadbalancer_ip";

impl Service {
    fn is(&self, kind: &str) -> bool {
        self.spec.kind.as_deref() == Some(kind)
    }

    /// One target per port.
    fn targets(&self) -> Vec<Labels> {
        let (metadata, spec) = (&self.metadata, &self.spec);
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let host = format!("{}.{namespace}.svc", metadata.name.as_deref().unwrap_or_default());
        let target = |port: &Port| {
            let mut target = MetaLabels::new();
            target.set_address(&host_port(&host, port.port));
            target.set_known([
                ("service_port_name", port.name.as_deref()),
                ("service_port_number", Some(port.port.to_string().as_str())),
                ("service_port_protocol", port.protocol.as_deref()),
                ("service_type", spec.kind.as_deref()),
                if self.is("ExternalName") {
                    ("service_external_name", spec.external_name.as_deref())
                } else {
                    ("service_cluster_ip", spec.cluster_ip.as_deref())
                },
            ]);
            if self.is("LoadBalancer") {
                target.set(LOAD_BALANCER_IP, &self.load_balancer_ips());
            }
            target.build()
        };
        spec.ports.iter().flatten().map(target).collect()
    }

    /// The addresses that were given, else the one that was wished for.
    fn load_balancer_ips(&self) -> String {
        let given = self.status.load_balancer.ingress.iter().flatten().filter_map(|ingress| ingress.ip.as_deref());
        let given: Vec<&str> = given.filter(|ip| !ip.is_empty()).collect();
        if given.is_empty() { self.spec.load_balancer_ip.clone().unwrap_or_default() } else { given.join(",") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::{around::Around, labels::testing::lines};

    fn group(service: Value, line: PrometheusLine) -> Vec<String> {
        let entry = serde_json::from_value::<Service>(service).unwrap().entry();
        let around = Around::default();
        lines(&Service::target_group("", &entry, &Look::new(&around, line)).unwrap())
    }

    #[test]
    fn a_service_and_all_its_labels() {
        let service = json!({
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}, "annotations": {"a.b": "c"}},
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.7", "ports": [
                {"name": "http", "port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}
            ]}
        });
        assert_eq!(
            group(service, PrometheusLine::V3),
            [
                "svc/shop/web",
                "namespace=shop service_annotation_a_b=c service_annotationpresent_a_b=true service_label_app=web \
                 service_labelpresent_app=true service_name=web",
                "__address__=web.shop.svc:80 service_cluster_ip=10.96.0.7 service_port_name=http service_port_number=80 \
                 service_port_protocol=TCP service_type=ClusterIP",
                "__address__=web.shop.svc:53 service_cluster_ip=10.96.0.7 service_port_number=53 service_port_protocol=UDP \
                 service_type=ClusterIP",
            ]
        );
    }

    #[test]
    fn external_names_and_load_balancers() {
        let with = |spec: Value, status: Value| {
            let mut service = json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec, "status": status});
            service["spec"]["ports"] = json!([{"port": 1}]);
            [PrometheusLine::V3, PrometheusLine::V2].map(|line| group(service.clone(), line).swap_remove(2))
        };
        let both = |rest: &str| [(); 2].map(|()| format!("__address__=s.n.svc:1 {rest}"));
        assert_eq!(
            with(json!({"type": "ExternalName", "externalName": "example.com", "clusterIP": "x"}), json!({})),
            both("service_external_name=example.com service_port_number=1 service_type=ExternalName")
        );
        let balanced =
            |ip: &str| format!("__address__=s.n.svc:1 service_cluster_ip=x{ip} service_port_number=1 service_type=LoadBalancer");
        let spec = json!({"type": "LoadBalancer", "clusterIP": "x", "loadBalancerIP": "1.1.1.1"});
        let status = json!({"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}, {"hostname": "h"}, {"ip": "3.3.3.3"}]}});
        assert_eq!(
            with(spec.clone(), status.clone()),
            [" service_loadbalancer_ip=2.2.2.2,3.3.3.3", " service_loadbalancer_ip=1.1.1.1"].map(balanced)
        );
        assert_eq!(with(spec, json!({})), [" service_loadbalancer_ip=1.1.1.1"; 2].map(balanced));
        assert_eq!(
            with(json!({"type": "LoadBalancer", "clusterIP": "x"}), status),
            [" service_loadbalancer_ip=2.2.2.2,3.3.3.3", ""].map(balanced)
        );
    }
}
