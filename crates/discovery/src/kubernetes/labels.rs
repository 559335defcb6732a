//! Labels that describe objects.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kvass_model::{ADDRESS_LABEL, INSTANCE_LABEL, Labels, LabelsBuilder, TargetGroup};
use serde::{Deserialize, Deserializer};

use crate::text::sanitised;

/// Begins the name of every label that a Kubernetes discovery makes.
const PREFIX: &str = "__meta_kubernetes_";

/// Labels under construction; names are given without the common prefix. An empty value counts as no label.
#[derive(Default)]
pub(crate) struct MetaLabels(LabelsBuilder);

impl MetaLabels {
    /// No labels.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The labels of an object in a namespace: its namespace, and what describes it.
    pub(crate) fn of_object(kind: &str, metadata: &ObjectMeta) -> Self {
        let mut labels = MetaLabels::new();
        labels.set("namespace", metadata.namespace.as_deref().unwrap_or_default());
        labels.object(kind, metadata);
        labels
    }

    /// Sets a label.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.set(&format!("{PREFIX}{name}"), value);
    }

    /// Sets the label `__address__`.
    pub(crate) fn set_address(&mut self, address: &str) {
        self.0.set(ADDRESS_LABEL, address);
    }

    /// Sets the label `instance`.
    pub(crate) fn set_instance(&mut self, instance: &str) {
        self.0.set(INSTANCE_LABEL, instance);
    }

    /// Sets the labels whose value is known.
    pub(crate) fn set_known<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) {
        for (name, value) in pairs {
            if let Some(value) = value {
                self.set(name, value);
            }
        }
    }

    /// Sets the name of an object and [what it is described by](Self::description).
    pub(crate) fn object(&mut self, kind: &str, metadata: &ObjectMeta) {
        self.set(&format!("{kind}_name"), metadata.name.as_deref().unwrap_or_default());
        self.description(kind, metadata);
    }

    /// Sets `<kind>_label_*`, `<kind>_annotation_*` and the two `…present_*` families.
    pub(crate) fn description(&mut self, kind: &str, metadata: &ObjectMeta) {
        for (what, values) in [("label", &metadata.labels), ("annotation", &metadata.annotations)] {
            for (name, value) in values.iter().flat_map(BTreeMap::iter) {
                let name = sanitised(name);
                self.set(&format!("{kind}_{what}_{name}"), value);
                self.set(&format!("{kind}_{what}present_{name}"), "true");
            }
        }
    }

    /// Sets labels that are complete.
    pub(crate) fn merge(&mut self, labels: &Labels) {
        for (name, value) in labels.iter() {
            self.0.set(name, value);
        }
    }

    /// The finished label set.
    pub(crate) fn build(self) -> Labels {
        self.0.build()
    }
}

impl From<&Labels> for MetaLabels {
    fn from(labels: &Labels) -> Self {
        MetaLabels(LabelsBuilder::from(labels))
    }
}

/// The value of a label, given without the common prefix, or the empty text.
pub(crate) fn meta<'a>(labels: &'a Labels, name: &str) -> &'a str {
    labels.get(&format!("{PREFIX}{name}")).unwrap_or_default()
}

/// The labels without those whose name, without the common prefix, begins like that.
pub(crate) fn without(labels: &Labels, beginning: &str) -> Labels {
    labels.filter(|name| !name.strip_prefix(PREFIX).is_some_and(|name| name.starts_with(beginning)))
}

/// The group with more labels; the same one if there are none.
pub(crate) fn extended<'a>(group: &Arc<TargetGroup>, more: impl IntoIterator<Item = &'a Labels>) -> Arc<TargetGroup> {
    let mut more = more.into_iter().filter(|labels| !labels.is_empty()).peekable();
    if more.peek().is_none() {
        return Arc::clone(group);
    }
    let mut labels = MetaLabels::from(&group.labels);
    for extra in more {
        labels.merge(extra);
    }
    Arc::new(TargetGroup { source: group.source.clone(), targets: group.targets.clone(), labels: labels.build() })
}

/// The parts of an object's metadata that matter here. Who manages which field is a third of many objects; it is passed over.
pub(crate) fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Parts {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        labels: Option<BTreeMap<String, String>>,
        annotations: Option<BTreeMap<String, String>>,
        owner_references: Option<Vec<OwnerReference>>,
    }
    let Parts { name, namespace, uid, resource_version, labels, annotations, owner_references } =
        Parts::deserialize(deserializer)?;
    Ok(ObjectMeta { name, namespace, uid, resource_version, labels, annotations, owner_references, ..ObjectMeta::default() })
}

/// `<namespace>/<name>`, or the name of an object without namespace.
pub(crate) fn key(metadata: &ObjectMeta) -> String {
    let name = metadata.name.as_deref().unwrap_or_default();
    match metadata.namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A label set on one line, without the common prefix.
    pub(crate) fn line(labels: &Labels) -> String {
        let pairs: Vec<String> =
            labels.iter().map(|(name, value)| format!("{}={value}", name.strip_prefix(PREFIX).unwrap_or(name))).collect();
        pairs.join(" ")
    }

    /// A group on some lines: its source, its labels, its targets.
    pub(crate) fn lines(group: &TargetGroup) -> Vec<String> {
        let head = [group.source.clone(), line(&group.labels)];
        head.into_iter().chain(group.targets.iter().map(line)).collect()
    }
}
