//! What NetworkPolicies let through, and by which of their rules. Pure.

mod selector;
#[cfg(test)]
mod shipped;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use ipnet::IpNet;
use serde_json::Value;

use self::selector::{described, selects};

/// Labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// What policies see of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its labels.
    pub(crate) labels: Labels,
    /// Its ports that have a name: name, protocol, number.
    pub(crate) ports: Vec<(String, String, u16)>,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// A pod of this cluster's network.
    Pod(Peer),
    /// Anything else: a node, or a machine outside.
    Address(IpAddr),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Pod(peer) => {
                let label = |name: &str| peer.labels.get(&format!("app.kubernetes.io/{name}"));
                // All pods of a chart have one name, and a component each.
                let name = label("component").or_else(|| label("name")).or_else(|| peer.labels.get("k8s-app"));
                write!(f, "{}/{}", peer.namespace, name.map_or("?", String::as_str))
            }
        }
    }
}

/// A connection: who opened it, and to which port of whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    /// Who opened it.
    pub(crate) from: End,
    /// To whom, services resolved.
    pub(crate) to: End,
    /// `TCP` or `UDP`.
    pub(crate) protocol: String,
    /// Port of the one it was opened to.
    pub(crate) port: u16,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}:{}", self.from, self.to, self.port)?;
        if self.protocol == "TCP" { Ok(()) } else { write!(f, "/{}", self.protocol) }
    }
}

/// One peer and one port of one rule: the least that can be taken away from a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    /// Name of the policy.
    pub(crate) policy: String,
    /// Which of its two lists of rules.
    pub(crate) direction: Direction,
    /// The peer and the port as the policy describes them.
    pub(crate) what: String,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.policy, self.direction.word(), self.what)
    }
}

/// Of a connection, as the pod sees it that a policy selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// Opened by others.
    Ingress,
    /// Opened by the pod.
    Egress,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Self::Ingress => "from",
            Self::Egress => "to",
        }
    }

    fn rules(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// What becomes of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Which sides refuse it.
    pub(crate) refused: Vec<Direction>,
    /// All that let it through.
    pub(crate) by: BTreeSet<Grant>,
}

/// All policies of a cluster, and the labels of its namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Policies<'a> {
    /// Objects of the API.
    pub(crate) policies: &'a [Value],
    /// Name to labels.
    pub(crate) namespaces: &'a BTreeMap<String, Labels>,
}

impl Policies<'_> {
    /// Everything that they grant.
    pub(crate) fn grants(&self) -> BTreeSet<Grant> {
        let mut grants = BTreeSet::new();
        for policy in self.policies {
            for direction in [Direction::Ingress, Direction::Egress].into_iter().filter(|way| concerns(policy, *way)) {
                grants.extend(entries(policy, direction).map(|entry| entry.grant));
            }
        }
        grants
    }

    /// What becomes of a connection: each end that is a pod has its say.
    pub(crate) fn verdict(&self, flow: &Flow) -> Verdict {
        let mut verdict = Verdict::default();
        for (direction, own, other) in [(Direction::Egress, &flow.from, &flow.to), (Direction::Ingress, &flow.to, &flow.from)] {
            let End::Pod(own) = own else { continue };
            let of_pod = |policy: &&Value| {
                policy["metadata"]["namespace"] == own.namespace.as_str()
                    && concerns(policy, direction)
                    && selects(&policy["spec"]["podSelector"], &own.labels)
            };
            let mut isolated = false;
            let mut by = BTreeSet::new();
            for policy in self.policies.iter().filter(of_pod) {
                isolated = true;
                let admitting = entries(policy, direction).filter(|entry| {
                    entry.peer.is_none_or(|peer| self.means(peer, other, &own.namespace))
                        && entry.port.is_none_or(|port| is_port(port, flow))
                });
                by.extend(admitting.map(|entry| entry.grant));
            }
            if isolated && by.is_empty() {
                verdict.refused.push(direction);
            }
            verdict.by.extend(by);
        }
        verdict
    }

    /// Whether an entry of `from` or `to` means this end. What a block of addresses means for pods is up to the network
    /// plugin: nothing, here.
    fn means(&self, entry: &Value, end: &End, own_namespace: &str) -> bool {
        match end {
            End::Address(address) => in_block(&entry["ipBlock"], *address),
            End::Pod(_) if !entry["ipBlock"].is_null() => false,
            End::Pod(pod) => {
                let here = match &entry["namespaceSelector"] {
                    Value::Null => pod.namespace == own_namespace,
                    selector => self.namespaces.get(&pod.namespace).is_some_and(|labels| selects(selector, labels)),
                };
                here && (entry["podSelector"].is_null() || selects(&entry["podSelector"], &pod.labels))
            }
        }
    }
}

/// One peer and one port of a rule; `None` is any.
struct Entry<'a> {
    peer: Option<&'a Value>,
    port: Option<&'a Value>,
    grant: Grant,
}

fn entries(policy: &Value, direction: Direction) -> impl Iterator<Item = Entry<'_>> {
    let each = |rule: &Value, name: &str| -> Vec<Option<usize>> {
        match rule[name].as_array() {
            Some(list) if !list.is_empty() => (0..list.len()).map(Some).collect(),
            _ => vec![None],
        }
    };
    list(&policy["spec"][direction.rules()]).flat_map(move |rule| {
        let (peers, ports) = (each(rule, direction.word()), each(rule, "ports"));
        let pairs = peers.into_iter().flat_map(move |peer| ports.clone().into_iter().map(move |port| (peer, port)));
        pairs.map(move |(peer, port)| {
            let peer = peer.map(|index| &rule[direction.word()][index]);
            let port = port.map(|index| &rule["ports"][index]);
            let what = format!("{}{}", peer.map_or("everywhere".to_owned(), peer_words), port.map_or(String::new(), port_words));
            Entry { peer, port, grant: Grant { policy: text(&policy["metadata"]["name"]), direction, what } }
        })
    })
}

fn peer_words(peer: &Value) -> String {
    if !peer["ipBlock"].is_null() {
        return text(&peer["ipBlock"]["cidr"]);
    }
    let pods = described(&peer["podSelector"]).unwrap_or_else(|| "all pods".to_owned());
    match &peer["namespaceSelector"] {
        Value::Null => pods,
        selector => format!("{pods} of {}", described(selector).unwrap_or_else(|| "all namespaces".to_owned())),
    }
}

fn port_words(entry: &Value) -> String {
    let port = match &entry["port"] {
        Value::Null => "any".to_owned(),
        Value::String(name) => name.clone(),
        number => number.to_string(),
    };
    let end = entry["endPort"].as_u64().map(|end| format!("-{end}")).unwrap_or_default();
    let protocol = match protocol(entry) {
        "TCP" => String::new(),
        other => format!("/{other}"),
    };
    format!(", port {port}{end}{protocol}")
}

/// Whether a policy has its say in a direction. The API server fills `policyTypes` in; files may lack it.
fn concerns(policy: &Value, direction: Direction) -> bool {
    match policy["spec"]["policyTypes"].as_array() {
        Some(types) => types.iter().any(|kind| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case(direction.rules()))),
        None => direction == Direction::Ingress || list(&policy["spec"]["egress"]).next().is_some(),
    }
}

/// Ports are those of the end that is connected to, their names too.
fn is_port(entry: &Value, flow: &Flow) -> bool {
    if protocol(entry) != flow.protocol {
        return false;
    }
    match &entry["port"] {
        Value::Null => true,
        Value::String(name) => match &flow.to {
            End::Pod(pod) => pod
                .ports
                .iter()
                .any(|(called, protocol, number)| called == name && *protocol == flow.protocol && *number == flow.port),
            End::Address(_) => false,
        },
        number => {
            let first = number.as_u64().unwrap_or(u64::MAX);
            (first..=entry["endPort"].as_u64().unwrap_or(first)).contains(&u64::from(flow.port))
        }
    }
}

fn protocol(entry: &Value) -> &str {
    entry["protocol"].as_str().unwrap_or("TCP")
}

fn in_block(block: &Value, address: IpAddr) -> bool {
    let within =
        |cidr: &Value| cidr.as_str().and_then(|cidr| cidr.parse::<IpNet>().ok()).is_some_and(|net| net.contains(&address));
    within(&block["cidr"]) && !list(&block["except"]).any(within)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn pod(namespace: &str, app: &str) -> End {
        let ports = vec![("web".to_owned(), "TCP".to_owned(), 8080), ("dns".to_owned(), "UDP".to_owned(), 53)];
        End::Pod(Peer { namespace: namespace.to_owned(), labels: labels(&[("app", app)]), ports })
    }

    fn outside(address: &str) -> End {
        End::Address(address.parse().unwrap())
    }

    /// Whether `spec`, of a policy in the namespace `m`, lets a connection through.
    fn lets(spec: &Value, from: End, to: End, protocol: &str, port: u16) -> bool {
        let policies = [json!({"metadata": {"name": "p", "namespace": "m"}, "spec": spec})];
        let namespaces = [("m", labels(&[("team", "a")])), ("n", labels(&[("team", "b")]))];
        let namespaces = namespaces.map(|(name, labels)| (name.to_owned(), labels)).into();
        let policies = Policies { policies: &policies, namespaces: &namespaces };
        policies.verdict(&Flow { from, to, protocol: protocol.to_owned(), port }).refused.is_empty()
    }

    #[test]
    fn who_is_not_selected_is_free() {
        let none = json!({"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Ingress"]});
        assert!(!lets(&none, pod("m", "b"), pod("m", "a"), "TCP", 1));
        assert!(lets(&none, pod("m", "a"), pod("m", "b"), "TCP", 1), "ingress only");
        assert!(lets(&none, pod("m", "a"), pod("n", "a"), "TCP", 1), "another namespace");
        let without_types = json!({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]});
        assert!(!lets(&without_types, pod("m", "a"), outside("1.1.1.1"), "TCP", 1));
        assert!(!lets(&without_types, pod("n", "a"), pod("m", "b"), "TCP", 1), "ingress is meant, too");
        assert!(lets(&json!({"podSelector": {}}), pod("m", "a"), outside("1.1.1.1"), "TCP", 1));
    }

    #[test]
    fn peers() {
        let from = |entry: Value| json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [entry]}]});
        let lets = |entry: &Value, who: End| lets(&from(entry.clone()), who, pod("m", "x"), "TCP", 80);
        let of_app = json!({"podSelector": {"matchLabels": {"app": "a"}}});
        assert!(lets(&of_app, pod("m", "a")));
        assert!(!lets(&of_app, pod("m", "b")));
        assert!(!lets(&of_app, pod("n", "a")), "a pod selector alone means this namespace");
        let of_team = json!({"namespaceSelector": {"matchLabels": {"team": "b"}}});
        assert!(lets(&of_team, pod("n", "b")));
        assert!(!lets(&of_team, pod("m", "b")));
        assert!(!lets(&of_team, pod("unknown", "b")));
        let both = json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "a"}}});
        assert!(lets(&both, pod("n", "a")));
        assert!(!lets(&both, pod("n", "b")));
        let block = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}});
        assert!(lets(&block, outside("10.2.0.1")));
        assert!(!lets(&block, outside("10.1.0.1")));
        assert!(!lets(&block, outside("11.0.0.1")));
        assert!(!lets(&block, pod("m", "a")));
        assert!(!lets(&of_team, outside("10.2.0.1")));
    }

    #[test]
    fn ports() {
        let of = |ports: Value| json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": ports}]});
        let lets = |ports: Value, protocol, port| lets(&of(ports), outside("1.1.1.1"), pod("m", "x"), protocol, port);
        assert!(lets(json!([]), "UDP", 7));
        assert!(lets(json!([{"port": 80}]), "TCP", 80));
        assert!(!lets(json!([{"port": 80}]), "UDP", 80));
        assert!(lets(json!([{"protocol": "UDP"}]), "UDP", 7));
        assert!(lets(json!([{"port": 80, "endPort": 90}]), "TCP", 90));
        assert!(!lets(json!([{"port": 80, "endPort": 90}]), "TCP", 91));
        assert!(lets(json!([{"port": "web"}]), "TCP", 8080));
        assert!(!lets(json!([{"port": "web"}]), "TCP", 80));
        assert!(!lets(json!([{"port": "dns"}]), "TCP", 53), "the name is one of another protocol");
    }

    #[test]
    fn grants_are_named_and_noted() {
        let policies = [json!({"metadata": {"name": "p", "namespace": "m"}, "spec": {
            "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [{"podSelector": {"matchLabels": {"app": "a"}}}, {"namespaceSelector": {}}],
                "ports": [{"port": "web"}, {"port": 53, "protocol": "UDP"}],
            }],
            "egress": [{}],
        }})];
        let policies = Policies { policies: &policies, namespaces: &[("m".to_owned(), Labels::new())].into() };
        let grants: Vec<String> = policies.grants().iter().map(ToString::to_string).collect();
        let want = [
            "p from all pods of all namespaces, port 53/UDP",
            "p from all pods of all namespaces, port web",
            "p from app=a, port 53/UDP",
            "p from app=a, port web",
            "p to everywhere",
        ];
        assert_eq!(grants, want);
        let flow = Flow { from: pod("m", "a"), to: pod("m", "b"), protocol: "TCP".to_owned(), port: 8080 };
        let verdict = policies.verdict(&flow);
        let by: Vec<String> = verdict.by.iter().map(ToString::to_string).collect();
        assert_eq!(by, [want[1], want[3], want[4]]);
        let flow = Flow { port: 81, ..flow };
        assert_eq!(policies.verdict(&flow).refused, [Direction::Ingress]);
    }
}
