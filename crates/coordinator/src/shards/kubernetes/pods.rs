//! Pods as shards.
//!
//! Each pod is judged by itself: one that is not ready never keeps the others from being served, and neither
//! does a rollout, whatever its strategy or partition. The revision of a pod is of no concern: one that is about
//! to be replaced comes back under the same ordinal and gets its list back.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ContainerPort, Pod},
};
use kube::ResourceExt;

use crate::{memory::elapsed, shards::ListedShard};

/// How long a pod may take to be gone after the time by which its containers are killed.
const OVERDUE: Duration = Duration::from_secs(15);

/// The number of the first pod (`spec.ordinals.start`); shards are counted from 0 all the same.
pub(super) fn first_number(set: &StatefulSet) -> u32 {
    let start = set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start);
    start.and_then(|start| u32::try_from(start).ok()).unwrap_or(0)
}

/// The pods of `set` by ordinal, terminating ones included.
pub(super) fn by_ordinal<'a>(set: &StatefulSet, pods: &'a [Pod]) -> BTreeMap<u32, &'a Pod> {
    let (name, first) = (set.name_any(), first_number(set));
    let ordinal = |pod: &Pod| number(&name, &pod.name_any())?.checked_sub(first);
    pods.iter().filter_map(|pod| Some((ordinal(pod)?, pod))).collect()
}

/// The shards below `scale`. A pod that is missing, terminating or not ready is listed without address: its
/// shard goes on holding its targets, as long as the coordinator's grace lets it.
pub(super) fn shards(set: &StatefulSet, pods: &[Pod], scale: u32, port: u16, now: Timestamp) -> Vec<ListedShard> {
    let (name, first, pods) = (set.name_any(), first_number(set), by_ordinal(set, pods));
    let shard = |ordinal: u32| {
        let pod = pods.get(&ordinal).copied();
        let (url, absent) = match pod.map_or(Err("its pod does not exist"), |pod| address(pod, port)) {
            Ok(url) => (Some(url), None),
            Err(why) => (None, Some(why)),
        };
        ListedShard {
            ordinal,
            name: format!("{name}-{}", first.saturating_add(ordinal)),
            url,
            absent,
            overdue: pod.is_some_and(|pod| is_overdue(pod, now)),
            incarnation: pod.and_then(|pod| pod.uid()).unwrap_or_default(),
        }
    };
    (0..scale).map(shard).collect()
}

/// Where the pod answers, or why it is not to be asked.
fn address(pod: &Pod, port: u16) -> Result<String, &'static str> {
    // It answers for a while yet, but what it is given now it may never scrape. On a node that is gone it
    // stays in this state until somebody removes the node.
    if pod.metadata.deletion_timestamp.is_some() {
        return Err("its pod is terminating");
    }
    if !is_ready(pod, port) {
        return Err("its pod is not ready");
    }
    let status = pod.status.as_ref();
    let ip = status.and_then(|status| status.pod_ip.as_deref()).filter(|ip| !ip.is_empty()).ok_or("its pod has no address")?;
    Ok(if ip.contains(':') { format!("http://[{ip}]:{port}") } else { format!("http://{ip}:{port}") })
}

/// Whether the pod should have been gone for a while: its node does not answer, and the set makes no other one before it is
/// removed. The time of its deletion has its own grace in it.
fn is_overdue(pod: &Pod, now: Timestamp) -> bool {
    pod.metadata.deletion_timestamp.as_ref().is_some_and(|end| elapsed(end.0, now) > OVERDUE)
}

/// Whether the sidecar's container is ready, which says that it and its Prometheus can work. The other containers
/// are left out of it: a Thanos sidecar that waits for its object store must not end all scraping. The container
/// is the one that names `port`; where none does, the whole pod has to be ready. A pod of a node that was lost
/// goes on showing ready containers, so its own condition, which is taken away then, has a veto.
fn is_ready(pod: &Pod, port: u16) -> bool {
    let Some(status) = &pod.status else { return false };
    let Some(ready) = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready") else { return false };
    if ready.status == "True" || ready.reason.as_deref() != Some("ContainersNotReady") {
        return ready.status == "True";
    }
    let Some(spec) = &pod.spec else { return false };
    let names_port = |ports: &[ContainerPort]| ports.iter().any(|named| named.container_port == i32::from(port));
    let mut containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let sidecar = containers.find(|container| names_port(container.ports.as_deref().unwrap_or_default()));
    let mut states = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    sidecar.is_some_and(|sidecar| states.any(|state| state.name == sidecar.name && state.ready))
}

/// The number in a pod's name, if it is one of this set's.
fn number(set: &str, pod: &str) -> Option<u32> {
    let number = pod.strip_prefix(set)?.strip_prefix('-')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(spec: Value) -> StatefulSet {
        let mut set =
            json!({"metadata": {"name": "rep-0", "namespace": "m"}, "spec": {"selector": {}, "serviceName": "", "template": {}}});
        for (name, value) in spec.as_object().unwrap() {
            set["spec"][name] = value.clone();
        }
        serde_json::from_value(set).unwrap()
    }

    fn pod(name: &str, ip: &str, ready: bool, deleted: bool) -> Pod {
        let mut pod = json!({
            "metadata": { "name": name, "uid": format!("uid-{name}") },
            "status": { "podIP": ip, "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] },
        });
        if deleted {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn every_pod_is_judged_by_itself() {
        let pods = [
            pod("rep-0-0", "10.0.0.1", true, false),
            pod("rep-0-2", "fd00::2", true, false),
            pod("rep-0-3", "10.0.0.3", false, false),
            pod("rep-0-4", "10.0.0.4", true, true),
            pod("rep-0-5", "10.0.0.5", true, false),
            pod("rep-0-x", "10.0.0.9", true, false),
        ];
        let shards = shards(&set(json!({})), &pods, 5, 8080, Timestamp::UNIX_EPOCH);
        let addresses: Vec<Result<&str, &str>> =
            shards.iter().map(|s| s.url.as_deref().ok_or(s.absent.unwrap_or_default())).collect();
        assert_eq!(
            addresses,
            [
                Ok("http://10.0.0.1:8080"),
                Err("its pod does not exist"),
                Ok("http://[fd00::2]:8080"),
                Err("its pod is not ready"),
                Err("its pod is terminating"),
            ]
        );
        assert_eq!((shards[4].name.as_str(), shards[4].incarnation.as_str()), ("rep-0-4", "uid-rep-0-4"));
    }

    #[test]
    fn a_pod_that_has_not_ended_long_after_its_time_is_overdue() {
        let pods = [pod("rep-0-0", "10.0.0.1", true, true), pod("rep-0-1", "10.0.0.2", true, false)];
        let overdue = |now: &str| -> Vec<bool> {
            shards(&set(json!({})), &pods, 3, 8080, now.parse().unwrap()).iter().map(|shard| shard.overdue).collect()
        };
        assert_eq!(overdue("2026-01-01T00:00:15Z"), [false, false, false]);
        assert_eq!(overdue("2026-01-01T00:00:16Z"), [true, false, false]);
    }

    #[test]
    fn only_the_sidecars_container_has_to_be_ready() {
        let pod = |ready: bool, reason: &str, port: u16| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "rep-0-0"},
                "spec": {"containers": [{"name": "thanos"}, {"name": "kvass", "ports": [{"containerPort": port}]}]},
                "status": {
                    "podIP": "10.0.0.1",
                    "conditions": [{"type": "Ready", "status": "False", "reason": reason}],
                    "containerStatuses": [
                        {"name": "thanos", "ready": false, "image": "", "imageID": "", "restartCount": 0},
                        {"name": "kvass", "ready": ready, "image": "", "imageID": "", "restartCount": 0},
                    ],
                },
            }))
            .unwrap()
        };
        assert_eq!(address(&pod(true, "ContainersNotReady", 8080), 8080), Ok("http://10.0.0.1:8080".to_owned()));
        assert!(address(&pod(false, "ContainersNotReady", 8080), 8080).is_err());
        assert!(address(&pod(true, "ContainersNotReady", 8081), 8080).is_err(), "no container names the port");
        assert!(address(&pod(true, "NodeNotReady", 8080), 8080).is_err(), "its node is lost");
    }

    #[test]
    fn sets_may_count_from_another_number() {
        let pods = [pod("rep-0-2", "10.0.0.2", true, false), pod("rep-0-3", "10.0.0.3", true, false)];
        let shards = shards(&set(json!({"ordinals": {"start": 3}})), &pods, 1, 8080, Timestamp::UNIX_EPOCH);
        assert_eq!((shards[0].ordinal, shards[0].name.as_str()), (0, "rep-0-3"));
        assert_eq!(shards[0].url.as_deref(), Some("http://10.0.0.3:8080"));
    }

    #[test]
    fn numbers() {
        assert_eq!(number("rep-0", "rep-0-12"), Some(12));
        assert_eq!(number("rep", "rep-0-12"), None);
        assert_eq!(number("rep-0", "rep-01"), None);
        assert_eq!(number("rep-0", "rep-0-+1"), None);
    }
}
