//! The network policies of deploy/production, evaluated for every connection that there is, and for some that must not be.
//! What stories see is less: they have no object store, and nobody who must be kept out.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{End, Flow, Labels, Peer, Policies, list, text};

/// Who speaks.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// A pod of ours: its label `app.kubernetes.io/name`.
    Ours(&'static str),
    /// Another pod of the same namespace.
    Neighbour,
    /// A pod of another namespace.
    Stranger,
    /// A pod of the namespace kube-system.
    System,
    /// An address outside of the cluster, the API server among them.
    Outside,
}

use Who::{Neighbour, Ours, Outside, Stranger, System};

const COORDINATOR: Who = Ours("kvass-coordinator");
const SHARD: Who = Ours("prometheus");
const QUERY: Who = Ours("thanos-query");
const STORE: Who = Ours("thanos-store");
const COMPACT: Who = Ours("thanos-compact");
const RULE: Who = Ours("thanos-rule");

const NAME: &str = "app.kubernetes.io/name";
const NAMESPACE: &str = "monitoring";

/// Objects of a folder and those below it.
fn objects_of(folder: &Path) -> Vec<Value> {
    let mut objects = vec![];
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            objects.extend(objects_of(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&entry).unwrap();
            let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
            objects.extend(documents.map(|document| document.unwrap_or_else(|error| panic!("{}: {error}", entry.display()))));
        }
    }
    objects
}

fn objects() -> Vec<Value> {
    objects_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/production"))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Labels and named ports as the workload's template has them.
fn ours(objects: &[Value], name: &str) -> Peer {
    let of_workload = |object: &&Value| object["spec"]["template"]["metadata"]["labels"][NAME] == name;
    let template = &objects.iter().find(of_workload).unwrap_or_else(|| panic!("no workload {name}"))["spec"]["template"];
    let containers = ["initContainers", "containers"].into_iter().flat_map(|kind| list(&template["spec"][kind]));
    let ports = containers
        .flat_map(|container| list(&container["ports"]))
        .map(|port| (text(&port["name"]), "TCP".to_owned(), port["containerPort"].as_u64().unwrap().try_into().unwrap()));
    let labels = template["metadata"]["labels"].as_object().unwrap();
    Peer {
        namespace: NAMESPACE.to_owned(),
        labels: labels.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        ports: ports.collect(),
    }
}

fn end(objects: &[Value], who: Who) -> End {
    let other = |namespace: &str| {
        End::Pod(Peer { namespace: namespace.to_owned(), labels: labels(&[(NAME, "something-else")]), ports: vec![] })
    };
    match who {
        Ours(name) => End::Pod(ours(objects, name)),
        Neighbour => other(NAMESPACE),
        Stranger => other("elsewhere"),
        System => other("kube-system"),
        Outside => End::Address("203.0.113.7".parse().unwrap()),
    }
}

fn allowed(objects: &[Value], from: Who, to: Who, protocol: &str, port: u16) -> bool {
    let mut policies: Vec<Value> = objects.iter().filter(|object| object["kind"] == "NetworkPolicy").cloned().collect();
    assert!(!policies.is_empty());
    for policy in &mut policies {
        policy["metadata"]["namespace"] = json!(NAMESPACE);
    }
    let namespaces = [NAMESPACE, "elsewhere", "kube-system"];
    let namespaces = namespaces.map(|name| (name.to_owned(), labels(&[("kubernetes.io/metadata.name", name)])));
    let policies = Policies { policies: &policies, namespaces: &namespaces.into() };
    let flow = Flow { from: end(objects, from), to: end(objects, to), protocol: protocol.to_owned(), port };
    policies.verdict(&flow).refused.is_empty()
}

#[test]
fn every_connection_there_is_is_allowed() {
    let objects = objects();
    for (from, to, port, what) in [
        (COORDINATOR, SHARD, 8080, "sidecar API"),
        (COORDINATOR, Outside, 6443, "API server"),
        (COORDINATOR, Stranger, 9091, "measuring a target"),
        (COORDINATOR, QUERY, 9090, "measuring Thanos Query as a target"),
        (SHARD, Stranger, 9091, "scraping a target"),
        (SHARD, Outside, 9100, "scraping a machine"),
        (SHARD, Outside, 443, "object store"),
        (SHARD, COORDINATOR, 9090, "scraping the coordinator"),
        (SHARD, SHARD, 10902, "scraping Thanos sidecars"),
        (SHARD, QUERY, 9090, "scraping Thanos Query"),
        (SHARD, STORE, 10902, "scraping Thanos Store"),
        (SHARD, COMPACT, 10902, "scraping the compactor"),
        (SHARD, RULE, 10902, "scraping Thanos Rule"),
        (QUERY, SHARD, 10901, "series of shards"),
        (QUERY, STORE, 10901, "series of the object store"),
        (QUERY, RULE, 10901, "series of rules"),
        (RULE, QUERY, 9090, "evaluating rules"),
        (STORE, Outside, 443, "object store"),
        (COMPACT, Outside, 443, "object store"),
        (RULE, Outside, 443, "object store"),
        (Stranger, QUERY, 9090, "dashboards"),
        (Neighbour, COORDINATOR, 9090, "state of the coordinator"),
    ] {
        assert!(allowed(&objects, from, to, "TCP", port), "{what}: {from:?} to {to:?}:{port}");
    }
    for peer in [COORDINATOR, SHARD, QUERY, STORE, COMPACT, RULE] {
        for protocol in ["UDP", "TCP"] {
            assert!(allowed(&objects, peer, System, protocol, 53), "name resolution of {peer:?} by {protocol}");
        }
    }
}

#[test]
fn no_other_connection_is() {
    let objects = objects();
    for (from, to, port, what) in [
        (Stranger, SHARD, 8080, "API that passes on to Prometheus' admin API"),
        (Neighbour, SHARD, 8080, "the same from the namespace"),
        (QUERY, SHARD, 8080, "the same from Thanos Query"),
        (SHARD, SHARD, 8080, "the same from another shard"),
        (COORDINATOR, SHARD, 9090, "Prometheus itself"),
        (Stranger, SHARD, 9090, "Prometheus itself"),
        (Neighbour, SHARD, 8008, "scrape proxy"),
        (Stranger, SHARD, 10901, "series of a shard"),
        (Stranger, COORDINATOR, 9090, "the coordinator from elsewhere"),
        (Stranger, STORE, 10901, "series of the object store"),
        (Stranger, RULE, 10902, "rules"),
        (QUERY, Outside, 443, "Thanos Query to the internet"),
        (QUERY, Stranger, 80, "Thanos Query to others"),
        (STORE, SHARD, 10901, "store to shards"),
        (COMPACT, QUERY, 9090, "compactor to Thanos Query"),
        (RULE, Stranger, 8080, "Thanos Rule to others"),
        (STORE, Outside, 6443, "store to the API server"),
    ] {
        assert!(!allowed(&objects, from, to, "TCP", port), "{what}: {from:?} to {to:?}:{port}");
    }
}
