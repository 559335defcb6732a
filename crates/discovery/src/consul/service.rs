use std::collections::BTreeMap;

use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder, TargetGroup};
use serde::Deserialize;

use crate::text::{host_port, set_all, wrapped};

/// One instance of a service, as `/v1/health/service` lists it. Consul writes `null` for what is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Instance {
    node: Option<Node>,
    service: Option<Service>,
    checks: Option<Vec<Check>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Node {
    #[serde(rename = "Node")]
    name: String,
    address: String,
    tagged_addresses: Option<BTreeMap<String, String>>,
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    tags: Option<Vec<String>>,
    meta: Option<BTreeMap<String, String>>,
    port: i64,
    address: String,
    namespace: String,
    partition: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Check {
    #[serde(rename = "CheckID")]
    id: String,
    status: String,
}

/// The targets of one service: all its instances, whatever their health.
pub(super) fn group(name: &str, datacenter: &str, tag_separator: &str, instances: Vec<Instance>) -> TargetGroup {
    let targets = instances.into_iter().map(|instance| target(instance, tag_separator)).collect();
    let labels = Labels::from([("__meta_consul_dc", datacenter), ("__meta_consul_service", name)]);
    TargetGroup { source: name.to_owned(), targets, labels }
}

fn target(instance: Instance, tag_separator: &str) -> Labels {
    let Instance { node, service, checks } = instance;
    let (node, service) = (node.unwrap_or_default(), service.unwrap_or_default());
    // A service may run elsewhere than on the node that told of it.
    let host = if service.address.is_empty() { &node.address } else { &service.address };
    let mut labels = LabelsBuilder::new();
    labels.set(ADDRESS_LABEL, &host_port(host, service.port));
    for (name, value) in [
        ("address", &node.address),
        ("health", &health(&checks.unwrap_or_default()).to_owned()),
        ("namespace", &service.namespace),
        ("node", &node.name),
        ("partition", &service.partition),
        ("service_address", &service.address),
        ("service_id", &service.id),
        ("service_port", &service.port.to_string()),
        ("tags", &wrapped(&service.tags.unwrap_or_default(), tag_separator)),
    ] {
        labels.set(&format!("__meta_consul_{name}"), value);
    }
    for (prefix, pairs) in [
        ("__meta_consul_metadata_", &node.meta),
        ("__meta_consul_service_metadata_", &service.meta),
        ("__meta_consul_tagged_address_", &node.tagged_addresses),
    ] {
        set_all(&mut labels, prefix, pairs.iter().flatten());
    }
    labels.build()
}

/// One word for all checks of an instance: the worst. Empty as soon as a state is unknown.
fn health(checks: &[Check]) -> &'static str {
    let maintenance = |check: &Check| check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:");
    let mut worst = "passing";
    for check in checks.iter().filter(|check| !maintenance(check)) {
        worst = match (check.status.as_str(), worst) {
            ("critical", _) => "critical",
            ("warning", "passing") => "warning",
            ("passing" | "warning", worst) => worst,
            _ => return "",
        };
    }
    if checks.iter().any(maintenance) { "maintenance" } else { worst }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(json: &str) -> Vec<Labels> {
        group("web", "dc1", ",", serde_json::from_str(json).unwrap()).targets
    }

    #[test]
    fn an_instance_with_everything() {
        let json = r#"[{
            "Node": {"ID": "i", "Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1",
                     "TaggedAddresses": {"lan": "10.0.0.1", "wan_ipv4": "1.2.3.4"}, "Meta": {"rack-no": "7"}},
            "Service": {"ID": "web-1", "Service": "web", "Tags": ["a", "b"], "Address": "fd00::2", "Port": 80,
                        "Meta": {"version": "1.0"}, "Namespace": "ns", "Partition": "default"},
            "Checks": [{"CheckID": "c", "Status": "warning"}]}]"#;
        let expected = Labels::from([
            ("__address__", "[fd00::2]:80"),
            ("__meta_consul_address", "10.0.0.1"),
            ("__meta_consul_health", "warning"),
            ("__meta_consul_metadata_rack_no", "7"),
            ("__meta_consul_namespace", "ns"),
            ("__meta_consul_node", "n1"),
            ("__meta_consul_partition", "default"),
            ("__meta_consul_service_address", "fd00::2"),
            ("__meta_consul_service_id", "web-1"),
            ("__meta_consul_service_metadata_version", "1.0"),
            ("__meta_consul_service_port", "80"),
            ("__meta_consul_tagged_address_lan", "10.0.0.1"),
            ("__meta_consul_tagged_address_wan_ipv4", "1.2.3.4"),
            ("__meta_consul_tags", ",a,b,"),
        ]);
        assert_eq!(targets(json), [expected]);
    }

    #[test]
    fn an_instance_with_next_to_nothing() {
        let json = r#"[{"Node": {"Node": "n", "Address": "10.0.0.1", "TaggedAddresses": null, "Meta": null},
                        "Service": {"ID": "w", "Tags": null, "Address": "", "Port": 0, "Meta": null}, "Checks": null}, {}]"#;
        let found = targets(json);
        assert_eq!(found[0].address(), "10.0.0.1:0");
        assert_eq!(found[0].get("__meta_consul_tags"), Some(",,"));
        assert_eq!(found[0].get("__meta_consul_health"), Some("passing"));
        assert_eq!(found[1].address(), ":0");
        let group = group("web", "dc1", "|", vec![]);
        assert_eq!((group.source.as_str(), group.targets.len()), ("web", 0));
        assert_eq!(group.labels, Labels::from([("__meta_consul_dc", "dc1"), ("__meta_consul_service", "web")]));
    }

    #[test]
    fn the_worst_check_counts() {
        let checks = |checks: &[(&str, &str)]| -> Vec<Check> {
            checks.iter().map(|(id, status)| Check { id: (*id).to_owned(), status: (*status).to_owned() }).collect()
        };
        for (given, expected) in [
            (&[] as &[_], "passing"),
            (&[("a", "passing"), ("b", "warning")], "warning"),
            (&[("a", "critical"), ("b", "warning")], "critical"),
            (&[("a", "warning"), ("b", "critical"), ("c", "passing")], "critical"),
            (&[("_node_maintenance", "critical"), ("b", "warning")], "maintenance"),
            (&[("_service_maintenance:web-1", "critical")], "maintenance"),
            (&[("_node_maintenance", "critical"), ("b", "odd")], ""),
            (&[("a", "odd")], ""),
        ] {
            assert_eq!(health(&checks(given)), expected, "{given:?}");
        }
    }
}
