use std::{collections::BTreeMap, sync::Arc};

use kvass_discovery::{Discovered, JobDiscovery, Manager};
use kvass_model::PrometheusLine;
use serde_json::json;
use tokio::sync::watch;

use crate::{
    common::{addresses, jobs, manager, until},
    fake_api_server::{ApiServer, endpoints, node, object, pod},
};

/// Jobs, each with a role and more keys.
fn start(server: &ApiServer, sections: &[(&str, &str, &str)]) -> (Manager, watch::Receiver<Arc<Discovered>>) {
    let url = server.url();
    let section = |(job, role, more): &(&str, &str, &str)| {
        let section = format!("{{role: {role}, api_server: '{url}', authorization: {{credentials: t0ken}}{more}}}");
        format!("- job_name: {job}\n  kubernetes_sd_configs: [{section}]\n")
    };
    let manager = manager();
    let snapshots = manager.subscribe();
    manager.apply(&jobs(&sections.iter().map(section).collect::<String>()));
    (manager, snapshots)
}

/// A label of all targets, without its prefix: the target's own or its group's.
fn values(job: &JobDiscovery, name: &str) -> Vec<String> {
    let name = format!("__meta_kubernetes_{name}");
    let of_group = |group: &kvass_model::TargetGroup| {
        let value = |target: &kvass_model::Labels| target.get(&name).or(group.labels.get(&name)).unwrap_or_default().to_owned();
        group.targets.iter().map(value).collect::<Vec<_>>()
    };
    job.groups.iter().flat_map(|group| of_group(group)).collect()
}

/// A service that all of these tests may have.
fn service(namespace: &str, name: &str, team: &str) -> serde_json::Value {
    object("Service", namespace, name, json!({"metadata": {"labels": {"team": team}}, "spec": {"ports": [{"port": 80}]}}))
}

#[tokio::test]
async fn each_role_has_its_objects_and_watches_are_shared() {
    let server = ApiServer::start().await;
    server.put(pod("a", "p", "10.0.0.1", "n1"));
    server.put(service("a", "s", "x"));
    server.put(endpoints("a", "s", &[("p", "10.0.0.1")]));
    server.put(object(
        "EndpointSlice",
        "a",
        "s-1",
        json!({"addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": ["10.0.0.2"]}]}),
    ));
    server.put(object("Ingress", "a", "i", json!({"spec": {"rules": [{"host": "web.example"}]}})));
    server.put(object("Node", "", "n1", json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.9.0.1"}]}})));
    let roles = ["pod", "service", "endpoints", "endpointslice", "ingress", "node"];
    let (_manager, mut snapshots) = start(&server, &roles.map(|role| (role, role, "")));
    let mut found = BTreeMap::new();
    for role in roles {
        let job = until(&mut snapshots, role, |job| job.complete).await;
        assert_eq!(job.errors, Vec::<String>::new());
        found.insert(role, (job.groups[0].source.clone(), addresses(&job).join(" ")));
    }
    let expected = [
        ("endpoints", "endpoints/a/s", "10.0.0.1:8080"),
        ("endpointslice", "endpointslice/a/s-1", "10.0.0.2:8080"),
        ("ingress", "ingress/a/i", "web.example"),
        ("node", "node/n1", "10.9.0.1:0"),
        ("pod", "pod/a/p", "10.0.0.1:8080"),
        ("service", "svc/a/s", "s.a.svc:80"),
    ];
    let expected = expected.map(|(role, source, address)| (role, (source.to_owned(), address.to_owned())));
    assert_eq!(found, BTreeMap::from(expected));
    for kind in ["pods", "services", "endpoints", "endpointslices", "ingresses", "nodes"] {
        assert_eq!(server.lists(kind), 1, "{kind}");
    }
    for kind in ["namespaces", "replicasets", "jobs"] {
        assert_eq!(server.lists(kind), 0, "{kind} are nobody's");
    }
}

#[tokio::test]
async fn endpoints_follow_their_pods_services_nodes_and_namespaces() {
    let server = ApiServer::start().await;
    server.put(service("a", "one", "x"));
    server.put(endpoints("a", "one", &[("p", "10.0.0.1")]));
    server.put(endpoints("a", "two", &[("q", "10.0.0.2")]));
    let (_manager, mut snapshots) = start(&server, &[("j", "endpoints", ", attach_metadata: {node: true, namespace: true}")]);
    let first = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&first), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    assert_eq!(values(&first, "service_label_team"), ["x", ""]);
    assert_eq!(values(&first, "pod_name"), ["", ""]);

    // A pod comes later, with a port that the endpoints do not name.
    let mut late = pod("a", "p", "10.0.0.1", "n1");
    late["spec"]["containers"][0]["ports"] = json!([{"containerPort": 8080}, {"containerPort": 9090}]);
    server.put(late.clone());
    let joined = until(&mut snapshots, "j", |job| values(job, "pod_name") == ["p", "p", ""]).await;
    assert_eq!(addresses(&joined), ["10.0.0.1:8080", "10.0.0.1:9090", "10.0.0.2:8080"]);
    assert!(Arc::ptr_eq(&joined.groups[1], &first.groups[1]), "what the pod is no part of is kept");

    // It moves.
    late["spec"]["nodeName"] = "n2".into();
    server.put(late);
    until(&mut snapshots, "j", |job| values(job, "pod_node_name") == ["n2", "n2", ""]).await;

    // Its service changes, a service comes.
    server.put(service("a", "one", "y"));
    server.put(service("a", "two", "z"));
    until(&mut snapshots, "j", |job| values(job, "service_label_team") == ["y", "y", "z"]).await;

    // Namespace and node come; the node matters where an address names it.
    server.put(object("Namespace", "", "a", json!({"metadata": {"labels": {"owner": "o"}}})));
    until(&mut snapshots, "j", |job| values(job, "namespace_label_owner") == ["o", "o", "o"]).await;
    let mut named = endpoints("a", "two", &[("q", "10.0.0.2")]);
    named["subsets"][0]["addresses"][0]["nodeName"] = "n1".into();
    server.put(named);
    server.put(node("n1", "zone-1"));
    until(&mut snapshots, "j", |job| values(job, "node_label_zone") == ["", "", "zone-1"]).await;

    // Everything goes again.
    server.delete("nodes", "n1");
    server.delete("services", "a/two");
    server.delete("pods", "a/p");
    until(&mut snapshots, "j", |job| {
        values(job, "node_label_zone") == ["", ""]
            && values(job, "service_label_team") == ["y", ""]
            && values(job, "pod_name") == ["", ""]
    })
    .await;
    server.delete("endpoints", "a/one");
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.2:8080"]).await;
    for kind in ["endpoints", "services", "pods", "nodes", "namespaces"] {
        assert_eq!(server.lists(kind), 1, "all of that was heard, not listed again");
    }
}

#[tokio::test]
async fn a_resource_that_is_forbidden_is_named_and_others_go_on() {
    let server = ApiServer::start().await;
    server.put(pod("a", "p", "10.0.0.1", "n1"));
    server.put(endpoints("a", "s", &[("p", "10.0.0.1")]));
    server.forbid("services", true);
    let (_manager, mut snapshots) = start(&server, &[("pods", "pod", ""), ("joined", "endpoints", "")]);
    until(&mut snapshots, "pods", |job| job.complete && job.errors.is_empty() && job.groups.len() == 1).await;
    let refused = until(&mut snapshots, "joined", |job| !job.errors.is_empty()).await;
    assert!(!refused.complete && refused.groups.is_empty(), "endpoints without their services are not all there is to know");
    assert_eq!(refused.errors.len(), 1);
    let error = &refused.errors[0];
    assert!(error.starts_with("kubernetes_sd_configs: services: ") && error.contains("services is forbidden"), "{error}");

    server.forbid("services", false);
    let found = until(&mut snapshots, "joined", |job| job.complete && job.errors.is_empty()).await;
    assert_eq!(addresses(&found), ["10.0.0.1:8080"]);

    // Taken away later, it is named again; what is known stays, and the other watches go on.
    server.forbid("services", true);
    until(&mut snapshots, "joined", |job| job.errors.len() == 1).await;
    server.put(endpoints("a", "s", &[("p", "10.0.0.1"), ("q", "10.0.0.2")]));
    let known = until(&mut snapshots, "joined", |job| job.groups[0].targets.len() == 2).await;
    assert!(known.complete);
    assert_eq!(values(&known, "pod_name"), ["p", ""]);
}

#[tokio::test]
async fn owners_of_pods_are_followed() {
    let server = ApiServer::start().await;
    let owner = |kind: &str, name: &str| json!([{"kind": kind, "name": name, "apiVersion": "v", "uid": "u", "controller": true}]);
    let mut of_deployment = pod("a", "p", "10.0.0.1", "n1");
    of_deployment["metadata"]["ownerReferences"] = owner("ReplicaSet", "rs");
    server.put(of_deployment);
    let mut of_job = pod("a", "q", "10.0.0.2", "n1");
    of_job["metadata"]["ownerReferences"] = owner("Job", "j-1");
    server.put(of_job);
    server.put(endpoints("a", "s", &[("p", "10.0.0.1"), ("q", "10.0.0.2")]));
    let attach = ", attach_metadata: {deployment: true, job: true, cronjob: true}";
    let (_manager, mut snapshots) = start(&server, &[("pods", "pod", attach), ("joined", "endpoints", attach)]);
    for job in ["pods", "joined"] {
        let found = until(&mut snapshots, job, |job| job.complete).await;
        assert_eq!(values(&found, "pod_job_name"), ["", "j-1"]);
    }
    server.put(object("ReplicaSet", "a", "rs", json!({"metadata": {"ownerReferences": owner("Deployment", "web")}})));
    server.put(object("Job", "a", "j-1", json!({"metadata": {"ownerReferences": owner("CronJob", "nightly")}})));
    for job in ["pods", "joined"] {
        until(&mut snapshots, job, |job| {
            values(job, "pod_deployment_name") == ["web", ""] && values(job, "pod_cronjob_name") == ["", "nightly"]
        })
        .await;
    }
}

#[tokio::test]
async fn the_rules_of_another_prometheus_make_all_groups_anew() {
    let server = ApiServer::start().await;
    let mut with_init = pod("a", "p", "10.0.0.1", "n1");
    with_init["spec"]["initContainers"] = json!([{"name": "init", "ports": [{"containerPort": 9090}]}]);
    server.put(with_init);
    server.put(endpoints("a", "s", &[("p", "10.0.0.1")]));
    let (manager, mut snapshots) = start(&server, &[("j", "endpoints", "")]);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:8080"]);
    manager.set_line(PrometheusLine::V3);
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:8080", "10.0.0.1:9090"]).await;
    manager.set_line(PrometheusLine::V2);
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:8080"]).await;
    assert_eq!(server.lists("pods"), 1);
}

#[tokio::test]
async fn namespaces_are_followed_apart() {
    let server = ApiServer::start().await;
    for namespace in ["a", "b", "c"] {
        server.put(pod(namespace, "p", "10.0.0.1", "n1"));
        server.put(endpoints(namespace, "s", &[("p", "10.0.0.1")]));
    }
    // Endpoints may point at a pod elsewhere, which is not seen from here, as in Prometheus.
    let mut abroad = endpoints("a", "t", &[("p", "10.0.0.1")]);
    abroad["subsets"][0]["addresses"][0]["targetRef"]["namespace"] = "b".into();
    server.put(abroad);
    let selectors =
        "selectors: [{role: endpoints, label: 'l=1'}, {role: pod, field: 'spec.nodeName=n'}, {role: service, label: m}]";
    let (_manager, mut snapshots) = start(
        &server,
        &[
            ("two", "endpoints", ", namespaces: {names: [a, b]}"),
            ("all", "endpoints", ""),
            ("some", "endpoints", &format!(", {selectors}")),
        ],
    );
    let two = until(&mut snapshots, "two", |job| job.complete).await;
    let named: Vec<_> = two.groups.iter().map(|group| group.source.as_str()).zip(values(&two, "pod_name")).collect();
    let expected = [("endpoints/a/s", "p"), ("endpoints/a/t", ""), ("endpoints/b/s", "p")];
    assert_eq!(named, expected.map(|(source, pod)| (source, pod.to_owned())));
    let all = until(&mut snapshots, "all", |job| job.complete).await;
    assert_eq!(values(&all, "pod_name"), ["p", "p", "p", "p"]);
    until(&mut snapshots, "some", |job| job.complete).await;
    for selected in ["endpoints?labelSelector=l%3D1&", "pods?fieldSelector=spec.nodeName%3Dn&", "services?labelSelector=m&"] {
        let path = format!("/api/v1/{selected}");
        let lists = server.requests(|uri| uri.replace("?&", "?").contains(&path) && !uri.contains("watch=true"));
        assert_eq!(lists.len(), 1, "{selected}: {lists:?}");
    }
}
