//! The network policies of deploy/production, evaluated for every connection that there is, and for some that must not be.

use serde_yaml::Value;

use super::{containers, list, objects, text};

/// Who speaks: a workload's pods, or somebody else.
#[derive(Clone, Copy, Debug)]
enum Peer {
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

use Peer::{Neighbour, Ours, Outside, Stranger, System};

const COORDINATOR: Peer = Ours("kvass-coordinator");
const SHARD: Peer = Ours("prometheus");
const QUERY: Peer = Ours("thanos-query");
const STORE: Peer = Ours("thanos-store");
const COMPACT: Peer = Ours("thanos-compact");
const RULE: Peer = Ours("thanos-rule");

const NAME: &str = "app.kubernetes.io/name";

impl Peer {
    fn labels(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Ours(name) => vec![(NAME, name), ("app.kubernetes.io/part-of", "kvass")],
            _ => vec![(NAME, "something-else")],
        }
    }

    fn selected_by(self, selector: &Value) -> bool {
        assert!(selector["matchExpressions"].is_null(), "not evaluated here");
        let wanted = selector["matchLabels"].as_mapping().cloned().unwrap_or_default();
        wanted.iter().all(|(key, value)| self.labels().contains(&(text(key), text(value))))
    }

    /// Whether an entry of `from` or `to` means this peer.
    fn matches(self, entry: &Value) -> bool {
        if !entry["ipBlock"].is_null() {
            // Those of the policies are link-local only.
            return false;
        }
        let namespaces = &entry["namespaceSelector"];
        let here = match self {
            Outside => return false,
            Stranger | System if namespaces.is_null() => return false,
            System => true,
            Stranger => namespaces["matchLabels"].is_null(),
            Ours(_) | Neighbour => namespaces.is_null() || namespaces["matchLabels"].is_null(),
        };
        here && (entry["podSelector"].is_null() || self.selected_by(&entry["podSelector"]))
    }
}

fn policies() -> Vec<Value> {
    let all = objects("deploy/production").into_iter().map(|(_, object)| object);
    all.filter(|object| text(&object["kind"]) == "NetworkPolicy").collect()
}

/// Number of a port that a policy names by the name it has in the destination's containers.
fn number(port: &Value, destination: Peer) -> u64 {
    if let Some(number) = port.as_u64() {
        return number;
    }
    let Ours(name) = destination else { return 0 };
    for (_, object) in objects("deploy/production") {
        if text(&object["spec"]["template"]["metadata"]["labels"][NAME]) == name {
            for known in containers(&object).flat_map(|container| list(&container["ports"])) {
                if known["name"] == *port {
                    return known["containerPort"].as_u64().unwrap();
                }
            }
        }
    }
    panic!("{name} has no port {port:?}")
}

/// Whether one side's policies let a connection through: those that select `own`, in one direction.
fn admits(own: Peer, direction: &str, list_of: &str, other: Peer, destination: Peer, port: u64) -> bool {
    if !matches!(own, Ours(_)) {
        return true;
    }
    let selecting: Vec<Value> = policies()
        .into_iter()
        .filter(|policy| own.selected_by(&policy["spec"]["podSelector"]))
        .filter(|policy| list(&policy["spec"]["policyTypes"]).iter().any(|kind| text(kind).eq_ignore_ascii_case(direction)))
        .collect();
    assert!(!selecting.is_empty(), "{own:?} is not isolated");
    selecting.iter().flat_map(|policy| list(&policy["spec"][direction])).any(|rule| {
        let peers = rule[list_of].is_null() || list(&rule[list_of]).iter().any(|entry| other.matches(entry));
        let of_port = |entry: &Value| number(&entry["port"], destination) == port;
        // A named port is one of the destination; where another peer is meant, the name is not looked up.
        peers && (rule["ports"].is_null() || list(&rule["ports"]).iter().any(of_port))
    })
}

fn allowed(from: Peer, to: Peer, port: u64) -> bool {
    admits(from, "egress", "to", to, to, port) && admits(to, "ingress", "from", from, to, port)
}

#[test]
fn every_connection_there_is_is_allowed() {
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
        assert!(allowed(from, to, port), "{what}: {from:?} to {to:?}:{port}");
    }
    for peer in [COORDINATOR, SHARD, QUERY, STORE, COMPACT, RULE] {
        assert!(allowed(peer, System, 53), "name resolution of {peer:?}");
    }
}

#[test]
fn no_other_connection_is() {
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
        assert!(!allowed(from, to, port), "{what}: {from:?} to {to:?}:{port}");
    }
}
