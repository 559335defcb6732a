//! Shards that are pods of StatefulSets (`--shard.type=k8s`). Every StatefulSet that matches the selector
//! is a replica. The number of shards is what was wished last ([`wish`]), never the number of pods that happen
//! to exist: a pod that was evicted must not shrink the set, a terminating one must not grow it again.
//!
//! Listing only reads. What has to be written besides the scale (notes, a number put back, claims deleted) is
//! done by [`StatefulSets::tend`].

mod claims;
mod events;
mod pods;
mod selector;
mod tend;
mod wish;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use kvass_service::config_file::chain;
use serde_json::{Value, json};
use tokio::{sync::Mutex, task::JoinHandle};

use self::{
    events::Events,
    selector::label_selector,
    wish::{FIELD_MANAGER, NOTE, Wish},
};
use super::{Announcement, KUBERNETES_TIMEOUT, Listing, Replica, ShardError, Stale, bounded};
use crate::options::KubernetesShards;

/// How long a cycle waits for an API server that answered the last time. Its request goes on in the background.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits for one that did not.
const IMPATIENCE: Duration = Duration::from_millis(200);

pub(crate) struct StatefulSets {
    cluster: Arc<Cluster>,
    events: Events,
    memory: Mutex<Memory>,
}

/// How to reach the StatefulSets.
struct Cluster {
    client: Client,
    options: KubernetesShards,
}

/// What is kept from one cycle to the next.
#[derive(Default)]
struct Memory {
    /// The StatefulSets as they were last read, by replica.
    found: BTreeMap<String, Found>,
    /// Since when they cannot be read.
    stale: Option<Stale>,
    /// The request under way.
    reading: Option<JoinHandle<Result<Vec<Read>, ShardError>>>,
}

type Read = (StatefulSet, Result<Vec<Pod>, ShardError>);

/// One StatefulSet and its pods.
struct Found {
    set: StatefulSet,
    /// Its own only, terminating ones included.
    pods: Vec<Pod>,
    /// What was wished last, as long as it is the same object.
    wish: Option<u32>,
    /// Not what the API server said just now.
    stale: bool,
    told: tend::Told,
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
        let events = Events::start(client.clone(), options.namespace.clone());
        StatefulSets { cluster: Arc::new(Cluster { client, options }), events, memory: Mutex::default() }
    }

    /// The replicas, as the API server shows them, or as it showed them when it last answered.
    pub(crate) async fn list(&self) -> Result<Listing, ShardError> {
        let mut memory = self.memory.lock().await;
        let patience = if memory.stale.is_some() { IMPATIENCE } else { PATIENCE };
        match memory.read(&self.cluster, patience).await {
            Ok(read) => memory.take(read),
            Err(error) => memory.keep(error)?,
        }
        let mut replicas: Vec<Replica> = memory.found.values().map(|found| found.replica(self.cluster.options.port)).collect();
        replicas.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Listing { replicas, stale: memory.stale.clone() })
    }

    /// Changes the number of shards wished, and notes it in the same breath.
    pub(crate) async fn set_scale(&self, replica: &Replica, scale: u32) -> Result<(), ShardError> {
        let mut memory = self.memory.lock().await;
        let Some(found) = memory.found.get_mut(&replica.id) else { return Ok(()) };
        let action = || format!("scale StatefulSet {} from {} to {scale}", replica.id, replica.scale);
        let before = replica.scale;
        self.cluster.write_scale(found, scale, before).await.map_err(|source| error(action())(source))
    }

    /// Says something about a replica as a Kubernetes Event.
    pub(crate) async fn announce(&self, replica: &str, announcement: Announcement) {
        if let Some(found) = self.memory.lock().await.found.get(replica) {
            self.events.announce(found.set.object_ref(&()), announcement);
        }
    }
}

impl Cluster {
    fn sets(&self, namespace: &str) -> Api<StatefulSet> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn read(&self) -> Result<Vec<Read>, ShardError> {
        let sets: Api<StatefulSet> = match &self.options.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let found = sets
            .list(&ListParams::default().labels(&self.options.selector))
            .await
            .map_err(error(format!("list StatefulSets matching {:?}", self.options.selector)))?;
        // One set that cannot be read must not stop the others.
        let read = found.items.into_iter().map(async |set| {
            let pods = self.pods_of(&set).await;
            (set, pods)
        });
        Ok(join_all(read).await)
    }

    async fn pods_of(&self, set: &StatefulSet) -> Result<Vec<Pod>, ShardError> {
        let selector =
            label_selector(&set.spec.selector).map_err(|problem| ShardError::Selector { statefulset: id(set), problem })?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &set.namespace().unwrap_or_default());
        let found = pods
            .list(&ListParams::default().labels(&selector))
            .await
            .map_err(error(format!("list pods of StatefulSet {}", id(set))))?;
        let uid = set.uid().unwrap_or_default();
        // Several sets may have equal selectors; only the owner tells whose pod it is.
        Ok(found.into_iter().filter(|pod| pod.owner_references().iter().any(|owner| owner.uid == uid)).collect())
    }

    /// Writes the number of shards and the notes that belong to it, unless somebody else has changed the object since
    /// it was read: then this fails, and the next cycle decides anew.
    async fn write_scale(&self, found: &mut Found, scale: u32, before: u32) -> Result<(), kube::Error> {
        let mut annotations = json!({ NOTE: scale.to_string() });
        if let Some(due) = claims::note_at_scale(&found.set, scale, before, self.options.delete_pvc) {
            annotations[claims::DUE] = due;
        }
        let mut patch = json!({ "metadata": { "annotations": annotations } });
        if wish::replicas(&found.set) != scale {
            patch["spec"] = json!({ "replicas": scale });
        }
        self.patch(found, patch).await?;
        found.wish = Some(scale);
        Ok(())
    }

    async fn patch(&self, found: &mut Found, mut patch: Value) -> Result<(), kube::Error> {
        patch["metadata"]["resourceVersion"] = json!(found.set.resource_version());
        let sets = self.sets(&found.set.namespace().unwrap_or_default());
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        found.set = sets.patch(&found.set.name_any(), &params, &Patch::Merge(patch)).await?;
        Ok(())
    }
}

impl Memory {
    /// What the API server answers within `patience`; the request goes on beyond that, and the next call takes
    /// its answer.
    async fn read(&mut self, cluster: &Arc<Cluster>, patience: Duration) -> Result<Vec<Read>, ShardError> {
        const ACTION: &str = "list StatefulSets and pods";
        let reading = self.reading.get_or_insert_with(|| {
            let cluster = Arc::clone(cluster);
            tokio::spawn(async move { bounded(ACTION, KUBERNETES_TIMEOUT, cluster.read()).await })
        });
        let Ok(answer) = tokio::time::timeout(patience, reading).await else {
            return Err(ShardError::KubernetesTimeout { action: ACTION, waited: patience });
        };
        self.reading = None;
        answer?
    }

    fn take(&mut self, read: Vec<Read>) {
        if let Some(stale) = self.stale.take() {
            let seconds = stale.age(Timestamp::now()).as_secs();
            tracing::info!(seconds, "shards can be listed again");
        }
        let mut before = std::mem::take(&mut self.found);
        for (set, pods) in read {
            let id = id(&set);
            // Another object under the same name: nothing of the old one counts.
            let known = before.remove(&id).filter(|known| known.set.uid() == set.uid());
            let found = match (pods, known) {
                (Ok(pods), Some(known)) => Found { set, pods, stale: false, ..known },
                (Ok(pods), None) => Found { set, pods, wish: None, stale: false, told: tend::Told::default() },
                (Err(error), known) => {
                    tracing::warn!(replica = %id, error = %chain(&error), "pods cannot be read");
                    let Some(known) = known else { continue };
                    Found { stale: true, ..known }
                }
            };
            let wish = wish::noted(&found.set).or(found.wish);
            self.found.insert(id, Found { wish, ..found });
        }
    }

    /// Goes on with what was read last; an error if nothing ever was.
    fn keep(&mut self, error: ShardError) -> Result<(), ShardError> {
        if self.found.is_empty() {
            return Err(error);
        }
        let text = chain(&error);
        match &mut self.stale {
            // Its first words say more than that the same request has still no answer.
            Some(_) if matches!(error, ShardError::KubernetesTimeout { .. }) => {}
            Some(stale) => stale.error = text,
            None => {
                tracing::warn!(error = %text, "shards cannot be listed, going on with the last list");
                self.stale = Some(Stale { since: Timestamp::now(), error: text });
            }
        }
        self.found.values_mut().for_each(|found| found.stale = true);
        Ok(())
    }
}

impl Found {
    fn wish(&self) -> Wish {
        Wish::of(&self.set, self.wish)
    }

    fn replica(&self, port: u16) -> Replica {
        let wish = self.wish();
        let scale = wish.scale(wish::replicas(&self.set));
        Replica {
            id: id(&self.set),
            scale,
            scalable: !matches!(wish, Wish::Foreign(_)),
            shards: pods::shards(&self.set, &self.pods, scale, port, Timestamp::now()),
            incarnation: self.set.uid().unwrap_or_default(),
            stale: self.stale,
            notes: tend::notes(&self.set, &wish),
        }
    }
}

fn error(action: String) -> impl FnOnce(kube::Error) -> ShardError {
    move |source| ShardError::Kubernetes { action, source: Box::new(source) }
}

fn id(set: &StatefulSet) -> String {
    format!("{}/{}", set.namespace().unwrap_or_default(), set.name_any())
}

#[cfg(test)]
mod fake_api;
