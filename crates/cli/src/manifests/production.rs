//! deploy/production: what it promises of every pod, and that its parts name each other rightly.

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::{args, check, containers, documents, list, objects, repository, text};

const FOLDER: &str = "deploy/production";

/// Name and pod template of every workload.
fn workloads() -> Vec<(String, Value)> {
    let all = objects(FOLDER).into_iter().filter(|(_, object)| object["spec"]["template"].is_mapping());
    all.map(|(_, object)| (text(&object["metadata"]["name"]).to_owned(), object)).collect()
}

fn names(kind: &str) -> BTreeSet<String> {
    let all = objects(FOLDER).into_iter().filter(|(_, object)| text(&object["kind"]) == kind);
    all.map(|(_, object)| text(&object["metadata"]["name"]).to_owned()).collect()
}

#[test]
fn pods_are_nobody_on_a_read_only_root() {
    assert_eq!(workloads().len(), 6);
    for (name, object) in workloads() {
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true), "{name}");
        assert_eq!(text(&pod["securityContext"]["seccompProfile"]["type"]), "RuntimeDefault", "{name}");
        for container in containers(&object) {
            let name = format!("{name}/{}", text(&container["name"]));
            let context = &container["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"].as_bool(), Some(true), "{name}");
            assert_eq!(context["allowPrivilegeEscalation"].as_bool(), Some(false), "{name}");
            assert_eq!(list(&context["capabilities"]["drop"]), [Value::from("ALL")], "{name}");
            assert!(container["livenessProbe"].is_mapping(), "{name}");
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]) {
                assert!(probe.is_null() || probe["timeoutSeconds"].as_u64() >= Some(5), "{name}: a busy process answers late");
            }
            assert!(container["resources"]["requests"]["memory"].is_string(), "{name}");
        }
    }
}

#[test]
fn every_component_has_an_account_and_only_the_coordinator_a_token() {
    let accounts = names("ServiceAccount");
    for (name, object) in workloads() {
        let pod = &object["spec"]["template"]["spec"];
        let account = text(&pod["serviceAccountName"]);
        assert!(accounts.contains(account), "{name}: {account} is not in {accounts:?}");
        assert_eq!(pod["automountServiceAccountToken"].as_bool() != Some(false), name == "kvass-coordinator", "{name}");
    }
    assert_eq!(accounts.len(), workloads().len());
}

/// By default a pod that is not ready could not be evicted, and no other of its budget either: a drain would wait for ever.
#[test]
fn pods_that_are_not_ready_hold_up_no_drain() {
    let budgets: Vec<Value> =
        objects(FOLDER).into_iter().map(|(_, object)| object).filter(|object| object["kind"] == "PodDisruptionBudget").collect();
    assert!(budgets.len() >= 5, "{budgets:?}");
    for budget in budgets {
        assert_eq!(text(&budget["spec"]["unhealthyPodEvictionPolicy"]), "AlwaysAllow", "{}", text(&budget["metadata"]["name"]));
    }
}

/// Kustomize leaves a namespace that a subject names as it is: in an overlay with another one, nobody would have the rights.
#[test]
fn nothing_but_the_kustomization_chooses_the_namespace() {
    let mut bindings = 0;
    for (file, object) in objects(FOLDER) {
        assert!(object["metadata"]["namespace"].is_null(), "{file}");
        for subject in list(&object["subjects"]) {
            assert!(subject["namespace"].is_null(), "{file}: {}", text(&subject["name"]));
            bindings += 1;
        }
    }
    assert!(bindings >= 4, "{bindings}");
}

#[test]
fn the_number_of_shards_is_nowhere() {
    let shards: Vec<_> = workloads().into_iter().filter(|(name, _)| name.starts_with("prometheus")).collect();
    assert_eq!(shards.len(), 1);
    for (name, object) in shards {
        assert!(object["spec"]["replicas"].is_null(), "{name}");
        assert_eq!(text(&object["spec"]["podManagementPolicy"]), "Parallel");
        assert_eq!(text(&object["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"]), "Retain");
    }
}

#[test]
fn what_is_mounted_is_there() {
    let maps = names("ConfigMap");
    for (name, object) in workloads() {
        for volume in list(&object["spec"]["template"]["spec"]["volumes"]) {
            let map = text(&volume["configMap"]["name"]);
            assert!(map.is_empty() || maps.contains(map), "{name}: {map}");
            let secret = text(&volume["secret"]["secretName"]);
            assert!(secret.is_empty() || secret == "thanos-objstore", "{name}: {secret}");
        }
    }
}

#[test]
fn services_that_are_looked_up_are_there() {
    let services = objects(FOLDER).into_iter().filter(|(_, object)| text(&object["kind"]) == "Service");
    let known: BTreeSet<String> = services
        .flat_map(|(_, service)| {
            let name = text(&service["metadata"]["name"]).to_owned();
            list(&service["spec"]["ports"]).iter().map(|port| format!("_{}._tcp.{name}", text(&port["name"]))).collect::<Vec<_>>()
        })
        .collect();
    let mut found = 0;
    for (name, object) in workloads() {
        for arg in containers(&object).flat_map(args) {
            if let Some((_, service)) = arg.split_once("=dnssrv+") {
                let service = service.split(".$(").next().unwrap_or_default();
                assert!(known.contains(service), "{name}: {arg}");
                found += 1;
            }
        }
    }
    assert_eq!(found, 4);
}

#[test]
fn the_delegate_reads_what_the_coordinator_writes() {
    let file = repository().join(FOLDER).join("components/delegated-discovery/kustomization.yaml");
    let [component] = &documents(&file)[..] else { panic!("{}", file.display()) };
    let patch: Value = serde_yaml::from_str(text(&component["patches"][0]["patch"])).unwrap();
    let added = |path: &str| {
        let matching = list(&patch).iter().filter(|op| text(&op["path"]) == path);
        matching.map(|op| &op["value"]).collect::<Vec<_>>()
    };
    let (_, coordinator) = workloads().into_iter().find(|(name, _)| name == "kvass-coordinator").unwrap();
    let ours = containers(&coordinator).next().unwrap();
    let mut flags = args(ours);
    flags.extend(added("/spec/template/spec/containers/0/args/-").into_iter().map(|flag| text(flag).to_owned()));
    let delegate = added("/spec/template/spec/containers/-")[0];
    let its: Vec<String> = args(delegate);
    let value = |flags: &[String], flag: &str| flags.iter().find_map(|f| f.strip_prefix(flag)).map(str::to_owned).unwrap();
    for (of_coordinator, of_delegate) in
        [("--discovery.prometheus-url=http://", "--web.listen-address="), ("--discovery.prometheus-config=", "--config.file=")]
    {
        assert_eq!(value(&flags, of_coordinator), value(&its, of_delegate), "{of_coordinator}");
    }
    check("components/delegated-discovery", flags);
    let is_of_shards = |(_, object): &(String, Value)| containers(object).any(|shard| shard["image"] == delegate["image"]);
    assert!(workloads().iter().any(is_of_shards), "another Prometheus than the shards'");
    let volumes: Vec<&str> = added("/spec/template/spec/volumes/-").into_iter().map(|volume| text(&volume["name"])).collect();
    let mounted: Vec<&str> = list(&delegate["volumeMounts"]).iter().map(|mount| text(&mount["name"])).collect();
    assert!(volumes.iter().all(|volume| mounted.contains(volume)), "{volumes:?} {mounted:?}");
}

#[test]
fn the_lease_is_the_one_that_may_be_updated() {
    let (_, coordinator) = workloads().into_iter().find(|(name, _)| name == "kvass-coordinator").unwrap();
    let flags: Vec<String> = containers(&coordinator).flat_map(args).collect();
    let lease = flags.iter().find_map(|flag| flag.strip_prefix("--leader-elect.lease-name=")).unwrap().to_owned();
    let objects = objects(FOLDER);
    let (_, role) = objects.iter().find(|(_, object)| text(&object["kind"]) == "Role").unwrap();
    let named: Vec<&str> = list(&role["rules"]).iter().flat_map(|rule| list(&rule["resourceNames"])).map(text).collect();
    assert_eq!(named, [lease]);
    let granted: Vec<String> = list(&role["rules"])
        .iter()
        .flat_map(|rule| list(&rule["verbs"]).iter().map(|verb| format!("{} {}", text(verb), text(&rule["resources"][0]))))
        .collect();
    for never in ["list persistentvolumeclaims", "update statefulsets", "delete pods", "get secrets", "list leases"] {
        assert!(!granted.iter().any(|permission| permission == never), "{never}");
    }
}
