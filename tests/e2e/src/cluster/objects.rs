use std::{collections::BTreeMap, net::IpAddr};

use serde_json::Value;

use super::Cluster;

/// What matters of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    /// Name.
    pub(crate) name: String,
    /// Namespace.
    pub(crate) namespace: String,
    /// Identity: a StatefulSet gives the same name again.
    pub(crate) uid: String,
    /// Address, once it has one.
    pub(crate) ip: Option<IpAddr>,
    /// Node, once it is placed.
    pub(crate) node: String,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Ports of its containers that have a name: name, protocol, number.
    pub(crate) ports: Vec<(String, String, u16)>,
    /// Name of the object that controls it.
    pub(crate) owner: String,
    /// When it was created, in milliseconds since the epoch.
    pub(crate) created: i64,
    /// When the last of its containers was started, once one is.
    pub(crate) started: Option<i64>,
    /// Since when it is ready, if it is.
    pub(crate) ready_since: Option<i64>,
    /// When its deletion was asked for.
    pub(crate) deleting: Option<i64>,
    /// Restarts of all its containers.
    pub(crate) restarts: u64,
    /// Why a container does not run (`ImagePullBackOff`, `CrashLoopBackOff`).
    pub(crate) waiting: Vec<String>,
}

impl Pod {
    /// Whether it is what is called so: by its name label, or, where one name is that of a whole chart, its component.
    pub(crate) fn is(&self, called: &str) -> bool {
        ["app.kubernetes.io/name", "app.kubernetes.io/component"]
            .iter()
            .any(|label| self.labels.get(*label).is_some_and(|value| value == called))
    }

    /// Ready, and not on its way out.
    pub(crate) fn ready(&self) -> bool {
        self.ready_since.is_some() && self.deleting.is_none()
    }

    pub(crate) fn parse(object: &Value) -> Self {
        let (meta, status) = (&object["metadata"], &object["status"]);
        let ready = |condition: &&Value| condition["type"] == "Ready" && condition["status"] == "True";
        let ready_since = list(&status["conditions"]).find(ready).and_then(|condition| millis(&condition["lastTransitionTime"]));
        let containers = || list(&status["containerStatuses"]).chain(list(&status["initContainerStatuses"]));
        let waiting = containers().filter_map(|container| container["state"]["waiting"]["reason"].as_str());
        let started = containers().filter_map(|container| millis(&container["state"]["running"]["startedAt"])).max();
        // The time stamp lies in the future by the pod's grace period.
        let grace = meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) * 1000;
        Self {
            name: text(&meta["name"]),
            namespace: text(&meta["namespace"]),
            uid: text(&meta["uid"]),
            ip: status["podIP"].as_str().and_then(|ip| ip.parse().ok()),
            node: text(&object["spec"]["nodeName"]),
            labels: labels(meta),
            ports: ports(&object["spec"]),
            owner: list(&meta["ownerReferences"])
                .find(|owner| owner["controller"] == true)
                .map(|owner| text(&owner["name"]))
                .unwrap_or_default(),
            created: millis(&meta["creationTimestamp"]).unwrap_or(0),
            started,
            ready_since,
            deleting: millis(&meta["deletionTimestamp"]).map(|at| at - grace),
            restarts: containers().filter_map(|container| container["restartCount"].as_u64()).sum(),
            waiting: waiting.map(str::to_owned).collect(),
        }
    }
}

/// What matters of an event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Identity.
    pub(crate) uid: String,
    /// The object it is about: `StatefulSet/prometheus-rep-0`.
    pub(crate) about: String,
    /// One word.
    pub(crate) reason: String,
    /// The sentence.
    pub(crate) message: String,
}

impl Cluster {
    /// All pods of a namespace.
    pub(crate) async fn pods(&self, namespace: &str) -> anyhow::Result<Vec<Pod>> {
        let pods = self.get(&format!("/api/v1/namespaces/{namespace}/pods")).await?;
        Ok(list(&pods["items"]).map(Pod::parse).collect())
    }

    /// The pods of all namespaces, without those that have a node's address for their own.
    pub(crate) async fn networked_pods(&self) -> anyhow::Result<Vec<Pod>> {
        let pods = self.get("/api/v1/pods").await?;
        Ok(list(&pods["items"]).filter(|pod| pod["spec"]["hostNetwork"] != true).map(Pod::parse).collect())
    }

    /// The pods that are called so, those on their way out left out.
    pub(crate) async fn pods_called(&self, namespace: &str, called: &str) -> anyhow::Result<Vec<Pod>> {
        let mut pods = self.pods(namespace).await?;
        pods.retain(|pod| pod.deleting.is_none() && pod.is(called));
        Ok(pods)
    }

    /// Pods that a StatefulSet wishes for.
    pub(crate) async fn replicas(&self, namespace: &str, statefulset: &str) -> anyhow::Result<u64> {
        let object = self.get(&format!("/apis/apps/v1/namespaces/{namespace}/statefulsets/{statefulset}")).await?;
        Ok(object["spec"]["replicas"].as_u64().unwrap_or(1))
    }

    /// Volume claims: name to identity. Those on their way out are still there.
    pub(crate) async fn claims(&self, namespace: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let claims = self.get(&format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims")).await?;
        Ok(list(&claims["items"]).map(|claim| (text(&claim["metadata"]["name"]), text(&claim["metadata"]["uid"]))).collect())
    }

    /// All namespaces: name to labels.
    pub(crate) async fn namespaces(&self) -> anyhow::Result<BTreeMap<String, BTreeMap<String, String>>> {
        let namespaces = self.get("/api/v1/namespaces").await?;
        let named = |namespace: &Value| (text(&namespace["metadata"]["name"]), labels(&namespace["metadata"]));
        Ok(list(&namespaces["items"]).map(named).collect())
    }

    /// Events, in no order.
    pub(crate) async fn events(&self, namespace: &str) -> anyhow::Result<Vec<Event>> {
        let events = self.get(&format!("/api/v1/namespaces/{namespace}/events")).await?;
        let event = |event: &Value| {
            let about = &event["involvedObject"];
            Event {
                uid: text(&event["metadata"]["uid"]),
                about: format!("{}/{}", text(&about["kind"]), text(&about["name"])),
                reason: text(&event["reason"]),
                message: text(&event["message"]),
            }
        };
        Ok(list(&events["items"]).map(event).collect())
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn ports(spec: &Value) -> Vec<(String, String, u16)> {
    let containers = list(&spec["initContainers"]).chain(list(&spec["containers"]));
    let named = |port: &Value| {
        let number = port["containerPort"].as_u64()?.try_into().ok()?;
        Some((port["name"].as_str()?.to_owned(), port["protocol"].as_str().unwrap_or("TCP").to_owned(), number))
    };
    containers.flat_map(|container| list(&container["ports"])).filter_map(named).collect()
}

fn labels(meta: &Value) -> BTreeMap<String, String> {
    meta["labels"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn millis(value: &Value) -> Option<i64> {
    value.as_str()?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_terminating_pod_is_not_ready_and_ended_when_it_was_asked_to() {
        let pod = Pod::parse(&json!({
            "metadata": {
                "name": "prometheus-rep-0-1", "namespace": "default", "uid": "u", "labels": {"kvass/rep": "0"},
                "creationTimestamp": "2026-11-23T01:00:00Z", "deletionTimestamp": "2026-11-23T01:10:30Z",
                "deletionGracePeriodSeconds": 30,
                "ownerReferences": [{"kind": "StatefulSet", "name": "prometheus-rep-0", "controller": true}],
            },
            "spec": {"nodeName": "node1"},
            "status": {
                "podIP": "10.244.0.7",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T01:00:09Z"}],
                "containerStatuses": [{"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}, {"restartCount": 1}],
            },
        }));
        assert!(!pod.ready());
        assert_eq!(pod.deleting.map(|at| at - pod.created), Some(600_000));
        assert_eq!((pod.restarts, pod.owner.as_str()), (3, "prometheus-rep-0"));
        assert_eq!(pod.waiting, ["CrashLoopBackOff"]);
    }
}
