//! Who controls an object; and the objects that stand between a pod and its deployment or cron job.

use k8s_openapi::api::{apps, batch};
use kube::{Api, Client, api::ObjectMeta};
use serde::Deserialize;

use super::{
    labels::metadata,
    pool::{Registry, WatchPool},
    watch::{Watched, namespaced},
};

/// The object that controls another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Controller {
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Controller {
    /// Of the object with this metadata.
    pub(crate) fn of(metadata: &ObjectMeta) -> Option<Self> {
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
        Some(Controller { kind: owner.kind.clone(), name: owner.name.clone() })
    }
}

/// A replica set, as far as it says which deployment it is of.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = apps::v1::ReplicaSet)]
pub(crate) struct ReplicaSet {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
}

/// A job, as far as it says which cron job it is of.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = batch::v1::Job)]
pub(crate) struct Job {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
}

impl Watched for ReplicaSet {
    type Entry = Option<Controller>;

    fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
        namespaced(client, namespace)
    }

    fn registry(pool: &WatchPool) -> &Registry<Self> {
        &pool.replica_sets
    }

    fn entry(&self) -> Option<Controller> {
        Controller::of(&self.metadata)
    }
}

impl Watched for Job {
    type Entry = Option<Controller>;

    fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
        namespaced(client, namespace)
    }

    fn registry(pool: &WatchPool) -> &Registry<Self> {
        &pool.jobs
    }

    fn entry(&self) -> Option<Controller> {
        Controller::of(&self.metadata)
    }
}
