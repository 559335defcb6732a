use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use super::conntrack::Connection;
use crate::{
    cluster::Pod,
    network::{End, Flow, Peer},
};

/// Labels that tell pods of one workload apart.
const OF_ONE_POD: [&str; 4] =
    ["pod-template-hash", "controller-revision-hash", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"];

/// Looks after which an address that opened a connection is taken for that of no pod: a new pod's is known after a second.
const PATIENCE: u8 = 3;

/// Connections of pods, whoever had an address when they were seen first. Pure.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The last pod to have an address, and when it was made.
    pods: HashMap<IpAddr, (i64, Peer)>,
    /// What is told already, or is of the time before the first look.
    settled: HashSet<Connection>,
    /// Opened by who knows whom, and in how many looks.
    pending: HashMap<Connection, u8>,
    flows: BTreeSet<Flow>,
    looks: u64,
}

impl Ledger {
    /// Takes in what kernels and the API server say at one moment.
    pub(super) fn look(&mut self, connections: impl IntoIterator<Item = Connection>, pods: &[Pod]) {
        for pod in pods {
            let Some(ip) = pod.ip else { continue };
            let known = self.pods.get(&ip);
            if known.is_none_or(|(created, _)| *created <= pod.created) {
                self.pods.insert(ip, (pod.created, peer(pod)));
            }
        }
        for connection in connections {
            // Kernels remember connections of pods that are gone, whose addresses others get.
            if self.looks == 0 {
                self.settled.insert(connection);
            } else if !self.settled.contains(&connection) {
                self.take(connection);
            }
        }
        self.looks += 1;
    }

    fn take(&mut self, connection: Connection) {
        let pod = |(address, _): (IpAddr, u16)| self.pods.get(&address).map(|(_, peer)| peer.clone());
        let (client, server) = (pod(connection.client), pod(connection.server));
        if client.is_none() {
            let looks = self.pending.entry(connection.clone()).or_default();
            *looks += 1;
            if *looks < PATIENCE {
                return;
            }
        }
        self.pending.remove(&connection);
        let end = |peer: Option<Peer>, (address, _): (IpAddr, u16)| peer.map_or(End::Address(address), End::Pod);
        self.flows.insert(Flow {
            from: end(client, connection.client),
            to: end(server, connection.server),
            protocol: connection.protocol.clone(),
            port: connection.server.1,
        });
        self.settled.insert(connection);
    }

    /// What was seen since the first look.
    pub(super) fn flows(&self) -> &BTreeSet<Flow> {
        &self.flows
    }

    /// How often was looked.
    pub(super) fn looks(&self) -> u64 {
        self.looks
    }
}

fn peer(pod: &Pod) -> Peer {
    let mut labels: BTreeMap<String, String> = pod.labels.clone();
    labels.retain(|name, _| !OF_ONE_POD.contains(&name.as_str()));
    Peer { namespace: pod.namespace.clone(), labels, ports: pod.ports.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ip: &str, created: &str) -> Pod {
        Pod::parse(&json!({
            "metadata": {
                "name": format!("{name}-xyz"), "namespace": "m", "creationTimestamp": format!("2026-11-23T01:00:{created}Z"),
                "labels": {"app.kubernetes.io/name": name, "pod-template-hash": created},
            },
            "status": {"podIP": ip},
        }))
    }

    fn connection(client: &str, server: &str, port: u16) -> Connection {
        let ports = (40000 + port, port);
        Connection {
            protocol: "TCP".to_owned(),
            client: (client.parse().unwrap(), ports.0),
            server: (server.parse().unwrap(), ports.1),
        }
    }

    fn words(ledger: &Ledger) -> Vec<String> {
        ledger.flows().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_kind_of_connection_once() {
        let mut ledger = Ledger::default();
        let pods = [pod("a", "10.0.0.1", "01"), pod("a", "10.0.0.2", "02"), pod("b", "10.0.0.3", "03")];
        ledger.look([], &pods);
        let to_b = |client| connection(client, "10.0.0.3", 80);
        ledger.look([to_b("10.0.0.1"), to_b("10.0.0.2"), connection("10.0.0.1", "192.0.2.1", 443)], &pods);
        ledger.look([to_b("10.0.0.1")], &[]);
        assert_eq!(words(&ledger), ["m/a → m/b:80", "m/a → 192.0.2.1:443"]);
        assert_eq!(ledger.looks(), 3);
    }

    #[test]
    fn what_was_there_before_is_nobodys() {
        let mut ledger = Ledger::default();
        let old = connection("10.0.0.1", "10.0.0.3", 80);
        ledger.look([old.clone()], &[]);
        ledger.look([old], &[pod("a", "10.0.0.1", "01"), pod("b", "10.0.0.3", "03")]);
        assert_eq!(words(&ledger), Vec::<String>::new());
    }

    #[test]
    fn an_address_goes_from_pod_to_pod() {
        let mut ledger = Ledger::default();
        ledger.look([], &[]);
        let (first, second) = (connection("10.0.0.1", "192.0.2.1", 80), connection("10.0.0.1", "192.0.2.1", 81));
        ledger.look([first.clone()], &[pod("a", "10.0.0.1", "01")]);
        // The old pod is still listed while it ends.
        ledger.look([first, second], &[pod("b", "10.0.0.1", "05"), pod("a", "10.0.0.1", "01")]);
        assert_eq!(words(&ledger), ["m/a → 192.0.2.1:80", "m/b → 192.0.2.1:81"]);
    }

    #[test]
    fn a_client_without_a_name_may_get_one_soon() {
        let mut ledger = Ledger::default();
        ledger.look([], &[pod("b", "10.0.0.3", "03")]);
        let (new, node) = (connection("10.0.0.1", "10.0.0.3", 80), connection("10.0.0.254", "10.0.0.3", 80));
        ledger.look([new.clone(), node.clone()], &[]);
        ledger.look([new.clone(), node.clone()], &[pod("a", "10.0.0.1", "01")]);
        assert_eq!(words(&ledger), ["m/a → m/b:80"]);
        ledger.look([new, node], &[]);
        assert_eq!(words(&ledger), ["m/a → m/b:80", "10.0.0.254 → m/b:80"]);
    }
}
