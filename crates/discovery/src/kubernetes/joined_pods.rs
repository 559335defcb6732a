//! What pods add to the targets of the endpoints that stand for them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use kvass_model::{Labels, PrometheusLine};
use serde::Deserialize;

use super::{
    around::Look,
    labels::{MetaLabels, meta, without},
    pod::PodEntry,
};

/// The object behind an address.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct TargetRef {
    pub(crate) kind: Option<String>,
    pub(crate) name: Option<String>,
    namespace: Option<String>,
}

impl TargetRef {
    /// The name of the object if it is of that kind.
    pub(crate) fn name_of(&self, kind: &str) -> Option<&str> {
        self.name.as_deref().filter(|_| self.kind.as_deref() == Some(kind))
    }
}

/// The pods behind the addresses of one group.
pub(crate) struct JoinedPods<'a> {
    look: &'a Look<'a>,
    seen: Vec<Seen>,
    index: HashMap<String, usize>,
}

struct Seen {
    pod: Arc<PodEntry>,
    labels: Labels,
    /// Ports that have a target, as text.
    covered: BTreeSet<String>,
}

/// Labels by which a target names the container that it is a port of.
const OF_CONTAINER: [&str; 6] = [
    "pod_container_name",
    "pod_container_image",
    "pod_container_init",
    "pod_container_port_name",
    "pod_container_port_number",
    "pod_container_port_protocol",
];

impl<'a> JoinedPods<'a> {
    pub(crate) fn new(look: &'a Look<'a>) -> Self {
        JoinedPods { look, seen: Vec::new(), index: HashMap::new() }
    }

    /// Adds to a target what the pod behind its address says, and the container which has that port. The protocol, where
    /// given, is the one that is told of the port.
    pub(crate) fn describe(
        &mut self,
        target: &mut MetaLabels,
        reference: Option<&TargetRef>,
        port: Option<i32>,
        protocol: Option<&str>,
    ) {
        let Some(index) = reference.and_then(|reference| self.seen(reference)) else { return };
        let line = self.look.line;
        let seen = &mut self.seen[index];
        target.merge(&seen.labels);
        let Some(port) = port.map(|port| port.to_string()) else { return };
        // Of several containers with the port the last one is told, of each the first mention.
        let mut told = "";
        for of_pod in ports(&seen.pod, line).filter(|of_pod| meta(of_pod, "pod_container_port_number") == port) {
            let container = meta(of_pod, "pod_container_name");
            if container == told {
                continue;
            }
            told = container;
            container_labels(target, of_pod, line);
            if let Some(protocol) = protocol {
                target.set("pod_container_port_protocol", protocol);
            }
        }
        seen.covered.insert(port);
    }

    /// The targets for ports of the pods that no address and port stands for.
    pub(crate) fn uncovered(self) -> Vec<Labels> {
        let line = self.look.line;
        let mut targets = Vec::new();
        for Seen { pod, labels, covered } in self.seen.iter().filter(|seen| seen.pod.has_address) {
            for port in ports(pod, line).filter(|port| !covered.contains(meta(port, "pod_container_port_number"))) {
                let mut target = MetaLabels::from(labels);
                target.set_address(port.address());
                container_labels(&mut target, port, line);
                targets.push(target.build());
            }
        }
        targets
    }

    fn seen(&mut self, reference: &TargetRef) -> Option<usize> {
        let name = reference.name_of("Pod")?;
        let key = format!("{}/{name}", reference.namespace.as_deref().unwrap_or_default());
        if let Some(index) = self.index.get(&key) {
            return Some(*index);
        }
        let pod = self.look.pod(&key)?;
        let mut labels = MetaLabels::from(&without(&pod.group.labels, "namespace"));
        labels.merge(&self.look.owners(&pod));
        self.index.insert(key, self.seen.len());
        self.seen.push(Seen { pod, labels: labels.build(), covered: BTreeSet::new() });
        Some(self.seen.len() - 1)
    }
}

/// The container ports of a pod, as the targets that the role `pod` makes of them. 2.x joins no init containers.
fn ports(pod: &PodEntry, line: PrometheusLine) -> impl Iterator<Item = &Labels> {
    let all = pod.group.targets.iter().filter(|target| !meta(target, "pod_container_port_number").is_empty());
    all.filter(move |target| line == PrometheusLine::V3 || meta(target, "pod_container_init") != "true")
}

fn container_labels(target: &mut MetaLabels, of_pod: &Labels, line: PrometheusLine) {
    for name in OF_CONTAINER.into_iter().filter(|name| line == PrometheusLine::V3 || *name != "pod_container_init") {
        target.set(name, meta(of_pod, name));
    }
}
