//! Random objects of all kinds that discovery looks at, their changes and their ends. Nothing runs of them: their pods are
//! bound to nodes that are no machines, and what kubelets and controllers would write is in them.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::random::Random;

/// Namespaces of the objects.
pub(crate) const NAMESPACES: [&str; 3] = ["k-a", "k-b", "k-c"];

const NODES: usize = 8;

/// What is to be sent to the API server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// Make the object at that path like that; what is said in `status` goes to its status.
    Apply { path: String, object: Value },
    /// Delete it at once.
    Delete { path: String },
}

impl Change {
    /// Of the object that it is about.
    pub(crate) fn path(&self) -> &str {
        let (Change::Apply { path, .. } | Change::Delete { path }) = self;
        path
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Node,
    ReplicaSet,
    Job,
    Pod,
    Service,
    Endpoints,
    EndpointSlice,
    Ingress,
}

/// How many of a kind each namespace has room for, or the cluster in the case of nodes.
const ROOM: [(Kind, usize); 8] = [
    (Kind::Node, NODES),
    (Kind::ReplicaSet, 3),
    (Kind::Job, 3),
    (Kind::Pod, 36),
    (Kind::Service, 12),
    (Kind::Endpoints, 12),
    (Kind::EndpointSlice, 16),
    (Kind::Ingress, 8),
];

/// A place for an object. What can never change of an object follows from its place and generation.
#[derive(Clone, Debug)]
struct Place {
    kind: Kind,
    namespace: &'static str,
    index: usize,
    generation: u64,
    taken: bool,
}

/// All objects.
pub(crate) struct World {
    seed: u64,
    random: Random,
    places: Vec<Place>,
    /// Names of the nodes that are there and have no address.
    lost: BTreeSet<String>,
}

impl World {
    /// Nothing is there yet.
    pub(crate) fn new(seed: u64) -> Self {
        let place = |kind, namespace, index| Place { kind, namespace, index, generation: 0, taken: false };
        let places = ROOM.iter().flat_map(|(kind, room)| {
            let namespaces: &[&str] = if *kind == Kind::Node { &[""] } else { &NAMESPACES };
            namespaces.iter().flat_map(move |namespace| (0..*room).map(move |index| place(*kind, *namespace, index)))
        });
        World { seed, random: Random::new(seed), places: places.collect(), lost: BTreeSet::new() }
    }

    /// Namespaces and the accounts that pods in them want, before anything else.
    pub(crate) fn namespaces(&mut self) -> Vec<Vec<Change>> {
        let apply = |path: String, object: Value| Change::Apply { path, object };
        let namespace = |name: &&str| {
            let metadata = metadata(&mut self.random, "", name);
            apply(format!("/api/v1/namespaces/{name}"), json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
        };
        let namespaces = NAMESPACES.iter().map(namespace).collect();
        let account = |name: &&str| {
            let object =
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}});
            apply(format!("/api/v1/namespaces/{name}/serviceaccounts/default"), object)
        };
        vec![namespaces, NAMESPACES.iter().map(account).collect()]
    }

    /// Fills nine of ten places.
    pub(crate) fn fill(&mut self) -> Vec<Change> {
        let some: Vec<usize> =
            (0..self.places.len()).filter(|index| self.places[*index].kind == Kind::Node || self.random.percent(90)).collect();
        some.into_iter().map(|index| self.apply(index)).collect()
    }

    /// Changes, ends and new objects, one after another; a namespace's labels among them.
    pub(crate) fn churn(&mut self, count: usize) -> Vec<Change> {
        let mut changes: Vec<Change> = (0..count).map(|_| self.change()).collect();
        changes.extend(self.namespaces().swap_remove(0));
        changes
    }

    /// Paths of the objects of that API that are there.
    pub(crate) fn paths(&self, plural: &str) -> Vec<String> {
        let taken = self.places.iter().filter(|place| place.taken);
        taken.map(path).filter(|path| path.contains(&format!("/{plural}/"))).collect()
    }

    /// Names of the nodes that are there and have no address.
    pub(crate) fn nodes_without_address(&self) -> &BTreeSet<String> {
        &self.lost
    }

    /// The end of everything but the namespaces.
    pub(crate) fn clear(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for place in self.places.iter_mut().filter(|place| place.taken) {
            place.taken = false;
            changes.push(Change::Delete { path: path(place) });
        }
        changes
    }

    fn change(&mut self) -> Change {
        let index = self.random.below(self.places.len());
        let place = &mut self.places[index];
        // Nodes are few, and much hangs on them.
        let chance = if place.kind == Kind::Node { 8 } else { 25 };
        if place.taken && self.random.percent(chance) {
            place.taken = false;
            place.generation += 1;
            self.lost.remove(&name(place));
            return Change::Delete { path: path(place) };
        }
        self.apply(index)
    }

    fn apply(&mut self, index: usize) -> Change {
        self.places[index].taken = true;
        let place = self.places[index].clone();
        let fixed = Random::new(self.seed ^ ((index as u64) << 20) ^ (place.generation << 50));
        let mut maker = Maker { fixed, random: &mut self.random, place: &place };
        let object = maker.object();
        if place.kind == Kind::Node {
            self.lost.remove(&name(&place));
            if object["status"]["addresses"] == json!([]) {
                self.lost.insert(name(&place));
            }
        }
        Change::Apply { path: path(&place), object }
    }
}

fn name(place: &Place) -> String {
    let Place { kind, index, .. } = place;
    match kind {
        Kind::Node => format!("k-node-{index}"),
        Kind::ReplicaSet => format!("rs-{index}"),
        Kind::Job => format!("job-{index}"),
        Kind::Pod => format!("pod-{index}"),
        Kind::Service | Kind::Endpoints => format!("svc-{index}"),
        Kind::EndpointSlice => format!("slice-{index}"),
        Kind::Ingress => format!("ingress-{index}"),
    }
}

fn path(place: &Place) -> String {
    let (group, plural) = match place.kind {
        Kind::Node => return format!("/api/v1/nodes/{}", name(place)),
        Kind::ReplicaSet => ("/apis/apps/v1", "replicasets"),
        Kind::Job => ("/apis/batch/v1", "jobs"),
        Kind::Pod => ("/api/v1", "pods"),
        Kind::Service => ("/api/v1", "services"),
        Kind::Endpoints => ("/api/v1", "endpoints"),
        Kind::EndpointSlice => ("/apis/discovery.k8s.io/v1", "endpointslices"),
        Kind::Ingress => ("/apis/networking.k8s.io/v1", "ingresses"),
    };
    format!("{group}/namespaces/{}/{plural}/{}", place.namespace, name(place))
}

/// Labels and annotations, no two of which differ only in what label names cannot hold.
fn metadata(random: &mut Random, namespace: &str, name: &str) -> Map<String, Value> {
    let mut labels = Map::new();
    for (key, values) in [("tier", &["web", "db", ""][..]), ("zone", &["a", "b"]), ("app.kubernetes.io/name", &["x", "Y_1"])] {
        if random.percent(60) {
            labels.insert(key.to_owned(), random.pick(values).into());
        }
    }
    let mut annotations = Map::new();
    for key in ["example.com/Owner", "note"] {
        if random.percent(30) {
            let value = random.pick(&["", "plain", "with \"quotes\" and \\", "Grüße\nzwei Zeilen", "{\"json\": [1]}"]);
            annotations.insert(key.to_owned(), value.into());
        }
    }
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), name.into());
    if !namespace.is_empty() {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    metadata.insert("labels".to_owned(), labels.into());
    metadata.insert("annotations".to_owned(), annotations.into());
    metadata
}

/// Makes one object.
struct Maker<'a> {
    /// For what stays as long as the object does.
    fixed: Random,
    /// For what may change.
    random: &'a mut Random,
    place: &'a Place,
}

const PORTS: [u16; 6] = [53, 80, 443, 8080, 9090, 9100];

impl Maker<'_> {
    fn object(&mut self) -> Value {
        let mut object = match self.place.kind {
            Kind::Node => self.node(),
            Kind::ReplicaSet => self.owned("apps/v1", "ReplicaSet", "Deployment"),
            Kind::Job => self.owned("batch/v1", "Job", "CronJob"),
            Kind::Pod => self.pod(),
            Kind::Service => self.service(),
            Kind::Endpoints => self.endpoints(),
            Kind::EndpointSlice => self.slice(),
            Kind::Ingress => self.ingress(),
        };
        let more = metadata(self.random, self.place.namespace, &name(self.place));
        let known = &mut object["metadata"];
        for (key, value) in more {
            match (&mut known[&key], value) {
                (Value::Object(known), Value::Object(value)) => known.extend(value),
                (known, value) => *known = value,
            }
        }
        object
    }

    fn node(&mut self) -> Value {
        let types = ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "Hostname"];
        let mut addresses = Vec::new();
        for kind in types {
            for _ in 0..self.random.below(3) {
                let ip = self.ip();
                addresses
                    .push(json!({"type": kind, "address": if kind.ends_with("IP") { ip } else { format!("n{ip}.example") }}));
            }
        }
        if self.random.percent(25) {
            addresses.clear();
        } else if addresses.is_empty() {
            addresses.push(json!({"type": "InternalIP", "address": self.ip()}));
        }
        let conditions = ["Ready", "DiskPressure", "example.com/Odd"].map(|kind| {
            let status = self.random.pick(&["True", "False", "Unknown"]);
            json!({"type": kind, "status": status, "reason": "Made", "message": "", "lastHeartbeatTime": null, "lastTransitionTime": null})
        });
        let port = if self.random.percent(80) { json!({"kubeletEndpoint": {"Port": 10250}}) } else { json!({}) };
        json!({
            "apiVersion": "v1", "kind": "Node",
            "spec": {"providerID": format!("made://{}", self.place.index), "unschedulable": true},
            "status": {"addresses": addresses, "conditions": self.random.some(&conditions), "daemonEndpoints": port}
        })
    }

    /// Something between pods and what a user made: without an owner, or with one of a kind that matters or not.
    fn owned(&mut self, version: &str, kind: &str, by: &str) -> Value {
        let labels = json!({"k": kind.to_lowercase()});
        let template = json!({
            "metadata": {"labels": labels},
            "spec": {"restartPolicy": if kind == "Job" { "Never" } else { "Always" }, "containers": [{"name": "c", "image": "i"}]}
        });
        let spec = match kind {
            "Job" => json!({"suspend": true, "template": template}),
            _ => json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template}),
        };
        let owner = match self.random.below(4) {
            0 => json!([]),
            1 => json!([owner("Rollout", "other")]),
            _ => json!([owner(by, &format!("owner-{}", self.random.below(3)))]),
        };
        json!({"apiVersion": version, "kind": kind, "metadata": {"ownerReferences": owner}, "spec": spec})
    }

    fn pod(&mut self) -> Value {
        let fixed = &mut self.fixed;
        let mut names = 0;
        let mut containers = |fixed: &mut Random, most: usize, least: usize| {
            let count = least + fixed.below(most);
            let container = |_| {
                names += 1;
                let ports: Vec<u16> = PORTS.into_iter().filter(|_| fixed.percent(30)).collect();
                let port = |port: &u16| {
                    let named = fixed.percent(70).then(|| format!("p-{port}"));
                    json!({"name": named, "containerPort": port, "protocol": fixed.pick(&["TCP", "TCP", "UDP"])})
                };
                let ports: Vec<Value> = ports.iter().map(port).map(without_nulls).collect();
                json!({"name": format!("c{names}"), "image": format!("image:{}", fixed.below(3)), "ports": ports})
            };
            (0..count).map(container).collect::<Vec<_>>()
        };
        let regular = containers(fixed, 3, 1);
        let init = containers(fixed, 2, 0);
        let owner = match fixed.below(6) {
            0 => json!([]),
            1 => json!([owner("StatefulSet", "set")]),
            2 => json!([owner("Job", &format!("job-{}", fixed.below(4)))]),
            _ => json!([owner("ReplicaSet", &format!("rs-{}", fixed.below(4)))]),
        };
        let mut spec = json!({
            // Nobody places what has no node, and nobody runs what has one.
            "schedulerName": "nobody",
            "automountServiceAccountToken": false,
            "containers": regular,
            "initContainers": init,
        });
        match fixed.below(10) {
            0 => {}
            1 => spec["nodeName"] = "k-node-gone".into(),
            _ => spec["nodeName"] = format!("k-node-{}", fixed.below(NODES)).into(),
        }
        let status = |containers: &[Value]| {
            let status = |container: &Value| {
                json!({"name": container["name"], "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                       "containerID": format!("containerd://{}", container["name"].as_str().unwrap_or_default())})
            };
            containers.iter().map(status).collect::<Vec<_>>()
        };
        let mut told = json!({
            "phase": self.random.pick(&["Pending", "Running", "Running", "Running", "Succeeded", "Failed"]),
            "containerStatuses": self.random.some(&status(&regular)),
            "initContainerStatuses": self.random.some(&status(&init)),
            "conditions": [],
        });
        if self.random.percent(70) {
            told["conditions"] = json!([{"type": "Ready", "status": self.random.pick(&["True", "False", "Unknown"])}]);
        }
        if self.random.percent(85) {
            let ip = if self.random.percent(15) { format!("fd00::{:x}", 1 + self.random.below(60_000)) } else { self.ip() };
            told["podIP"] = ip.clone().into();
            told["podIPs"] = json!([{"ip": ip}]);
            told["hostIP"] = "10.210.0.1".into();
            told["hostIPs"] = json!([{"ip": "10.210.0.1"}]);
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"ownerReferences": owner}, "spec": spec, "status": told})
    }

    fn service(&mut self) -> Value {
        let kind = self.fixed.pick(&["ClusterIP", "ClusterIP", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]);
        let headless = kind == "ClusterIP" && self.fixed.percent(40);
        let mut ports: Vec<u16> = self.random.some(&PORTS);
        if ports.is_empty() && !headless && kind != "ExternalName" {
            ports.push(80);
        }
        let port = |port: &u16| json!({"name": format!("p-{port}"), "port": port, "protocol": "TCP", "targetPort": port});
        let mut spec = json!({"type": kind, "ports": ports.iter().map(port).collect::<Vec<_>>()});
        if headless {
            spec["clusterIP"] = "None".into();
        }
        if kind == "ExternalName" {
            spec["externalName"] = format!("{}.example", self.random.below(9)).into();
        } else if self.fixed.percent(30) {
            spec["ipFamilyPolicy"] = "PreferDualStack".into();
        }
        let mut status = json!({"loadBalancer": {}});
        if kind == "LoadBalancer" {
            if self.random.percent(50) {
                spec["loadBalancerIP"] = "203.0.113.1".into();
            }
            let ingress: Vec<Value> = (0..self.random.below(3)).map(|_| json!({"ip": self.ip(), "ipMode": "VIP"})).collect();
            status = json!({"loadBalancer": {"ingress": ingress}});
        }
        json!({"apiVersion": "v1", "kind": "Service", "spec": spec, "status": status})
    }

    fn endpoints(&mut self) -> Value {
        let mut subsets = Vec::new();
        for _ in 0..self.random.below(3) {
            let ready: Vec<Value> = (0..self.random.below(5)).map(|_| self.address()).collect();
            let not_ready: Vec<Value> = (0..self.random.below(3)).map(|_| self.address()).collect();
            if ready.is_empty() && not_ready.is_empty() {
                continue;
            }
            let port = |port: &u16| json!({"name": format!("p-{port}"), "port": port, "protocol": "TCP"});
            let ports: Vec<Value> = self.random.some(&PORTS).iter().map(port).collect();
            subsets.push(json!({"addresses": ready, "notReadyAddresses": not_ready, "ports": ports}));
        }
        json!({"apiVersion": "v1", "kind": "Endpoints", "subsets": subsets})
    }

    fn address(&mut self) -> Value {
        let node = self.random.percent(60).then(|| format!("k-node-{}", self.random.below(NODES + 1)));
        let hostname = self.random.percent(20).then(|| format!("host-{}", self.random.below(9)));
        let ip = if self.random.percent(10) { format!("fd00::{:x}", 1 + self.random.below(60_000)) } else { self.ip() };
        without_nulls(json!({"ip": ip, "nodeName": node, "hostname": hostname, "targetRef": self.reference()}))
    }

    /// Mostly a pod of the same namespace, which may or may not be there.
    fn reference(&mut self) -> Value {
        match self.random.below(10) {
            0 => Value::Null,
            1 => json!({"kind": "Node", "name": format!("k-node-{}", self.random.below(NODES + 1))}),
            2 => json!({"kind": "Pod", "namespace": "k-b", "name": format!("pod-{}", self.random.below(36))}),
            3 => json!({"kind": "Machine", "name": "m"}),
            _ => json!({"kind": "Pod", "namespace": self.place.namespace, "name": format!("pod-{}", self.random.below(36))}),
        }
    }

    fn slice(&mut self) -> Value {
        let family = self.fixed.pick(&["IPv4", "IPv4", "IPv6", "FQDN"]);
        let service = self.fixed.percent(85).then(|| format!("svc-{}", self.fixed.below(13)));
        let mut endpoints = Vec::new();
        for _ in 0..self.random.below(5) {
            let address = match family {
                "IPv4" => self.ip(),
                "IPv6" => format!("fd00::{:x}", 1 + self.random.below(60_000)),
                _ => format!("h{}.example", self.random.below(99)),
            };
            let mut condition = || self.random.pick(&["true", "false", "null"]).parse::<Value>().unwrap_or_default();
            let conditions = json!({"ready": condition(), "serving": condition(), "terminating": condition()});
            let zone = self.random.percent(50).then_some("zone-1");
            let node = self.random.percent(60).then(|| format!("k-node-{}", self.random.below(NODES + 1)));
            let hostname = self.random.percent(20).then(|| format!("host-{}", self.random.below(9)));
            endpoints.push(without_nulls(json!({
                "addresses": [address], "conditions": without_nulls(conditions), "hostname": hostname, "nodeName": node,
                "zone": zone, "targetRef": self.reference()
            })));
        }
        let port = |random: &mut Random, port: &u16| {
            let application = random.percent(30).then_some("kubernetes.io/h2c");
            without_nulls(json!({"name": format!("p-{port}"), "port": port, "protocol": "TCP", "appProtocol": application}))
        };
        let mut ports: Vec<Value> = self.random.some(&PORTS).iter().map(|number| port(self.random, number)).collect();
        if self.random.percent(10) {
            // All ports.
            ports = vec![json!({"name": "any", "protocol": "TCP"})];
        }
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"labels": without_nulls(json!({"kubernetes.io/service-name": service}))},
            "addressType": family, "endpoints": endpoints, "ports": ports
        })
    }

    fn ingress(&mut self) -> Value {
        let backend = json!({"service": {"name": "svc-1", "port": {"number": 80}}});
        let hosts = ["a.example", "b.example", "x.b.example", "*.c.example", "y.c.example"];
        let mut rules = Vec::new();
        for host in self.random.some(&hosts) {
            let paths = self.random.some(&["/", "/metrics", "/a/b"]);
            let path = |path: &&str| json!({"path": path, "pathType": "Prefix", "backend": backend});
            let mut paths: Vec<Value> = paths.iter().map(path).collect();
            if self.random.percent(20) {
                paths.push(json!({"pathType": "ImplementationSpecific", "backend": backend}));
            }
            let http = (!paths.is_empty()).then(|| json!({"paths": paths}));
            rules.push(without_nulls(json!({"host": host, "http": http})));
        }
        if self.random.percent(20) {
            rules.push(json!({"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}));
        }
        let secured = self.random.some(&["a.example", "*.b.example", "*.c.example", "y.c.example"]);
        let class = self.random.percent(50).then_some("nginx");
        let tls = if secured.is_empty() { json!([]) } else { json!([{"hosts": secured}]) };
        let spec = json!({"defaultBackend": backend, "ingressClassName": class, "rules": rules, "tls": tls});
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": without_nulls(spec)})
    }

    fn ip(&mut self) -> String {
        format!("10.200.{}.{}", self.random.below(250), 1 + self.random.below(250))
    }
}

fn owner(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "made/v1", "kind": kind, "name": name, "uid": format!("{kind}-{name}"), "controller": true})
}

/// The object without members that are null.
fn without_nulls(mut object: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.retain(|_, value| !value.is_null());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_make_equal_worlds() {
        let made = |seed| {
            let mut world = World::new(seed);
            let mut changes: Vec<Change> = world.namespaces().concat();
            changes.extend(world.fill());
            changes.extend(world.churn(100));
            changes
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        let changes = made(3);
        let deleted = changes.iter().filter(|change| matches!(change, Change::Delete { .. })).count();
        assert!(changes.len() > 350 && deleted > 5, "{} changes, {deleted} deletions", changes.len());
    }

    #[test]
    fn what_cannot_change_does_not() {
        let mut world = World::new(7);
        let mut specs = std::collections::BTreeMap::new();
        for change in world.fill().into_iter().chain(world.churn(2_000)) {
            match change {
                Change::Delete { path } => _ = specs.remove(&path),
                Change::Apply { path, object } if path.contains("/pods/") => {
                    let before = specs.insert(path.clone(), object["spec"].clone());
                    assert!(before.is_none_or(|before| before == object["spec"]), "{path}");
                }
                Change::Apply { path, object } if path.contains("/endpointslices/") => {
                    let before = specs.insert(path.clone(), object["addressType"].clone());
                    assert!(before.is_none_or(|before| before == object["addressType"]), "{path}");
                }
                Change::Apply { .. } => {}
            }
        }
    }
}
