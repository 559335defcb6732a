//! Namespaces, watched for their description only.

use k8s_openapi::api::core::v1;
use kube::{Api, Client, api::ObjectMeta};
use kvass_model::Labels;
use serde::Deserialize;

use super::{
    labels::{MetaLabels, metadata},
    pool::{Registry, WatchPool},
    watch::Watched,
};

/// A namespace, as far as its objects are described by it.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = v1::Namespace)]
pub(crate) struct Namespace {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
}

impl Watched for Namespace {
    type Entry = Labels;

    fn api(client: Client, _namespace: Option<&str>) -> Api<Self> {
        Api::all(client)
    }

    fn registry(pool: &WatchPool) -> &Registry<Self> {
        &pool.namespaces
    }

    /// Its name is not among them: all objects in it have it already.
    fn entry(&self) -> Labels {
        let mut labels = MetaLabels::new();
        labels.description("namespace", &self.metadata);
        labels.build()
    }
}
