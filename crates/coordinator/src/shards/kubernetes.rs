//! Shards that are pods of StatefulSets (`--shard.type=k8s`). Every StatefulSet that matches the selector
//! is a replica. The number of shards is `spec.replicas`, never the number of pods that happen to exist:
//! a pod that was evicted must not shrink the set, a terminating one must not grow it again.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{ListedShard, Replica, ShardError};
use crate::options::KubernetesShards;

/// Claims of ordinals from this number on are to be deleted once their pods are gone. Kept on the
/// StatefulSet because nothing else outlives the coordinator, and because claims cannot be listed.
const CLAIMS_DUE: &str = "kvass.io/delete-claims";

pub(crate) struct StatefulSets {
    client: Client,
    options: KubernetesShards,
}

impl StatefulSets {
    pub(crate) async fn connect(options: KubernetesShards) -> Result<Self, ShardError> {
        let client = Client::try_default().await.map_err(|source| ShardError::Kubernetes {
            action: "connect to the API server (in-cluster service account or kubeconfig)".to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self::with_client(client, options))
    }

    fn with_client(client: Client, options: KubernetesShards) -> Self {
        StatefulSets { client, options }
    }

    pub(crate) async fn list(&self) -> Result<Vec<Replica>, ShardError> {
        let sets: Api<StatefulSet> = match &self.options.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let found = sets
            .list(&ListParams::default().labels(&self.options.selector))
            .await
            .map_err(error(format!("list StatefulSets matching {:?}", self.options.selector)))?;
        let mut replicas = Vec::new();
        for set in found {
            let namespace = set.namespace().unwrap_or_default();
            // One set that cannot be read must not stop the others.
            match self.pods_of(&set, &namespace).await {
                Ok(pods) => {
                    self.delete_due_claims(&set, &namespace, &pods).await;
                    replicas.push(replica(&set, &namespace, &pods, self.options.port));
                }
                Err(error) => {
                    tracing::warn!(replica = %id(&set), error = %kvass_service::config_file::chain(&error), "replica cannot be read");
                }
            }
        }
        replicas.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(replicas)
    }

    pub(crate) async fn set_scale(&self, replica: &Replica, scale: u32) -> Result<(), ShardError> {
        let (namespace, name) = replica.id.split_once('/').unwrap_or_default();
        let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), namespace);
        // With the version that was read: somebody else's change in between makes this fail, and the next
        // cycle decides anew.
        let mut metadata = json!({ "resourceVersion": replica.version });
        if scale < replica.scale && self.options.delete_pvc {
            // Claims of an earlier shrinking may still be due.
            let set = sets.get(name).await.map_err(error(format!("read StatefulSet {}", replica.id)))?;
            let due_before = set.annotations().get(CLAIMS_DUE).and_then(|text| parse_range(text));
            let last = due_before.map_or(0, |due| *due.end()).max(replica.scale - 1);
            metadata["annotations"] = json!({ CLAIMS_DUE: format!("{scale}-{last}") });
        }
        let patch = json!({ "metadata": metadata, "spec": { "replicas": scale } });
        sets.patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(error(format!("scale StatefulSet {} from {} to {scale}", replica.id, replica.scale)))?;
        Ok(())
    }

    async fn pods_of(&self, set: &StatefulSet, namespace: &str) -> Result<Vec<Pod>, ShardError> {
        let selector =
            label_selector(&set.spec.selector).map_err(|problem| ShardError::Selector { statefulset: id(set), problem })?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let found = pods
            .list(&ListParams::default().labels(&selector))
            .await
            .map_err(error(format!("list pods of StatefulSet {}", id(set))))?;
        let uid = set.uid().unwrap_or_default();
        // Several sets may have equal selectors; only the owner tells whose pod it is.
        Ok(found.into_iter().filter(|pod| pod.owner_references().iter().any(|owner| owner.uid == uid)).collect())
    }

    /// Deletes claims of ordinals that are no longer wished and whose pods are gone. The wish is read anew
    /// before each deletion, so that a scale-up in between keeps the claim.
    async fn delete_due_claims(&self, set: &StatefulSet, namespace: &str, pods: &[Pod]) {
        let Some(due) = set.annotations().get(CLAIMS_DUE).and_then(|text| parse_range(text)) else { return };
        let name = set.name_any();
        let present: BTreeSet<u32> = pods.iter().filter_map(|pod| ordinal(&name, &pod.name_any())).collect();
        let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), namespace);
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let templates = set.spec.volume_claim_templates.clone().unwrap_or_default();
        let mut waiting = false;
        for ordinal in due {
            if present.contains(&ordinal) {
                waiting = true;
                continue;
            }
            for template in &templates {
                let current = match sets.get(&name).await {
                    Ok(current) => current,
                    Err(error) => {
                        tracing::warn!(replica = %id(set), %error, "claims of removed shards stay for now");
                        return;
                    }
                };
                if wished(&current) > ordinal {
                    continue;
                }
                let claim = format!("{}-{name}-{ordinal}", template.name_any());
                match claims.delete(&claim, &DeleteParams::default()).await {
                    Ok(_) => tracing::info!(replica = %id(set), claim, "claim of a removed shard deleted"),
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(error) => {
                        tracing::warn!(replica = %id(set), claim, %error, "claim of a removed shard stays for now");
                        waiting = true;
                    }
                }
            }
        }
        if !waiting {
            let patch = json!({ "metadata": { "annotations": { CLAIMS_DUE: null } } });
            if let Err(error) = sets.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
                tracing::warn!(replica = %id(set), %error, "claims are deleted but the note of it stays");
            }
        }
    }
}

fn error(action: String) -> impl FnOnce(kube::Error) -> ShardError {
    move |source| ShardError::Kubernetes { action, source: Box::new(source) }
}

fn id(set: &StatefulSet) -> String {
    format!("{}/{}", set.namespace().unwrap_or_default(), set.name_any())
}

/// `spec.replicas`, which the API server always fills in.
fn wished(set: &StatefulSet) -> u32 {
    set.spec.replicas.and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

fn replica(set: &StatefulSet, namespace: &str, pods: &[Pod], port: u16) -> Replica {
    let name = set.name_any();
    let scale = wished(set);
    let by_ordinal: BTreeMap<u32, &Pod> = pods.iter().filter_map(|pod| Some((ordinal(&name, &pod.name_any())?, pod))).collect();
    let shards = (0..scale)
        .map(|ordinal| {
            let pod = by_ordinal.get(&ordinal).copied();
            ListedShard {
                ordinal,
                name: format!("{name}-{ordinal}"),
                url: pod.filter(|pod| is_ready(pod)).and_then(|pod| pod_url(pod, port)),
                incarnation: pod.and_then(|pod| pod.uid()).unwrap_or_default(),
            }
        })
        .collect();
    Replica { id: format!("{namespace}/{name}"), scale, scalable: true, shards, version: set.resource_version() }
}

/// Whether the pod answers and is going to stay.
fn is_ready(pod: &Pod) -> bool {
    let ready = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && ready.is_some_and(|conditions| conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

fn pod_url(pod: &Pod, port: u16) -> Option<String> {
    let ip = pod.status.as_ref()?.pod_ip.as_deref().filter(|ip| !ip.is_empty())?;
    Some(if ip.contains(':') { format!("http://[{ip}]:{port}") } else { format!("http://{ip}:{port}") })
}

/// The ordinal in a pod's name, if it is one of this set's.
fn ordinal(set: &str, pod: &str) -> Option<u32> {
    pod.strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

fn parse_range(text: &str) -> Option<std::ops::RangeInclusive<u32>> {
    let (from, to) = text.split_once('-')?;
    Some(from.parse().ok()?..=to.parse().ok()?)
}

/// A label selector in the text form the API server takes.
fn label_selector(selector: &LabelSelector) -> Result<String, String> {
    let mut parts: Vec<String> = selector.match_labels.iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    for expression in selector.match_expressions.iter().flatten() {
        let (key, values) = (&expression.key, expression.values.clone().unwrap_or_default().join(","));
        parts.push(match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            other => return Err(format!("operator {other:?}: expected In, NotIn, Exists or DoesNotExist")),
        });
    }
    Ok(parts.join(","))
}

#[cfg(test)]
mod fake_api;

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: serde_json::Value) -> StatefulSet {
        serde_json::from_value(value).unwrap()
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
    fn the_scale_is_what_is_wished_not_what_exists() {
        let set = set(
            json!({"metadata": {"name": "rep-0", "namespace": "m", "resourceVersion": "7"}, "spec": {"replicas": 4, "selector": {}, "serviceName": "", "template": {}}}),
        );
        let pods = [
            pod("rep-0-0", "10.0.0.1", true, false),
            pod("rep-0-2", "fd00::2", true, false),
            pod("rep-0-3", "10.0.0.3", false, false),
            pod("rep-0-4", "10.0.0.4", true, true),
            pod("rep-0-x", "10.0.0.9", true, false),
        ];
        let replica = replica(&set, "m", &pods, 8080);
        assert_eq!((replica.id.as_str(), replica.scale, replica.version.as_deref()), ("m/rep-0", 4, Some("7")));
        let urls: Vec<Option<&str>> = replica.shards.iter().map(|s| s.url.as_deref()).collect();
        assert_eq!(urls, [Some("http://10.0.0.1:8080"), None, Some("http://[fd00::2]:8080"), None]);
    }

    #[test]
    fn selectors() {
        let selector: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"a": "b"},
            "matchExpressions": [
                {"key": "x", "operator": "In", "values": ["1", "2"]},
                {"key": "y", "operator": "DoesNotExist"},
                {"key": "z", "operator": "Exists"}
            ]
        }))
        .unwrap();
        assert_eq!(label_selector(&selector).unwrap(), "a=b,x in (1,2),!y,z");
    }

    #[test]
    fn ordinals() {
        assert_eq!(ordinal("rep-0", "rep-0-12"), Some(12));
        assert_eq!(ordinal("rep", "rep-0-12"), None);
        assert_eq!(ordinal("rep-0", "rep-01"), None);
        assert_eq!(parse_range("3-5"), Some(3..=5));
    }
}
