//! Labels that describe an object, and the objects that are watched for their description only.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use kube::{Api, Client, api::ObjectMeta};
use serde::Deserialize;

use super::watch::Watched;

/// Labels under construction. An empty value counts as no label.
pub(crate) type LabelPairs = Vec<(String, String)>;

/// Adds `__meta_kubernetes_<kind>_label_*`, `…_annotation_*` and the two `…present_*` families.
pub(crate) fn push_metadata(pairs: &mut LabelPairs, kind: &str, metadata: &ObjectMeta) {
    for (what, values) in [("label", &metadata.labels), ("annotation", &metadata.annotations)] {
        for (name, value) in values.iter().flat_map(BTreeMap::iter) {
            let name = sanitised(name);
            pairs.push((format!("__meta_kubernetes_{kind}_{what}_{name}"), value.clone()));
            pairs.push((format!("__meta_kubernetes_{kind}_{what}present_{name}"), "true".to_owned()));
        }
    }
}

/// The text with every character that a label name cannot hold replaced by an underscore.
fn sanitised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A node, as far as pods are described by it.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = v1::Node)]
pub(crate) struct Node {
    metadata: ObjectMeta,
}

/// A namespace, as far as its objects are described by it.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = v1::Namespace)]
pub(crate) struct Namespace {
    metadata: ObjectMeta,
}

impl Watched for Node {
    type Entry = LabelPairs;

    fn api(client: Client, _namespace: Option<&str>) -> Api<Self> {
        Api::all(client)
    }

    fn entry(&self) -> LabelPairs {
        let name = self.metadata.name.clone().unwrap_or_default();
        let mut pairs = vec![("__meta_kubernetes_node_name".to_owned(), name)];
        push_metadata(&mut pairs, "node", &self.metadata);
        pairs
    }
}

impl Watched for Namespace {
    type Entry = LabelPairs;

    fn api(client: Client, _namespace: Option<&str>) -> Api<Self> {
        Api::all(client)
    }

    fn entry(&self) -> LabelPairs {
        let mut pairs = Vec::new();
        push_metadata(&mut pairs, "namespace", &self.metadata);
        pairs
    }
}
