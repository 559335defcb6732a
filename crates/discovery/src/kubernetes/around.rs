//! The objects around those of a role, from which groups get more labels and targets.

use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use kvass_model::{Labels, PrometheusLine};

use super::{
    dependents::{Kind, Reference},
    labels::MetaLabels,
    node::NodeEntry,
    owner::Controller,
    pod::PodEntry,
    service::ServiceEntry,
    store::Store,
};

/// The objects that are followed beside those of the role; absent kinds are not asked for.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) pods: Option<Arc<Store<PodEntry>>>,
    pub(crate) services: Option<Arc<Store<ServiceEntry>>>,
    pub(crate) nodes: Option<Arc<Store<NodeEntry>>>,
    pub(crate) namespaces: Option<Arc<Store<Labels>>>,
    pub(crate) replica_sets: Option<Arc<Store<Option<Controller>>>>,
    pub(crate) jobs: Option<Arc<Store<Option<Controller>>>>,
    /// Pods of jobs get the job's name.
    pub(crate) job_names: bool,
    /// Nodes were selected: pods elsewhere are no targets, whatever the line of Prometheus.
    pub(crate) nodes_selected: bool,
}

/// One look around, which remembers what was asked for.
pub(crate) struct Look<'a> {
    around: &'a Around,
    /// Whose rules apply.
    pub(crate) line: PrometheusLine,
    asked: RefCell<BTreeSet<Reference>>,
}

impl<'a> Look<'a> {
    pub(crate) fn new(around: &'a Around, line: PrometheusLine) -> Self {
        Look { around, line, asked: RefCell::default() }
    }

    /// All that was asked for.
    pub(crate) fn into_asked(self) -> BTreeSet<Reference> {
        self.asked.into_inner()
    }

    pub(crate) fn pod(&self, key: &str) -> Option<Arc<PodEntry>> {
        self.ask(self.around.pods.as_ref(), Kind::Pod, key)
    }

    pub(crate) fn service(&self, key: &str) -> Option<Arc<ServiceEntry>> {
        self.ask(self.around.services.as_ref(), Kind::Service, key)
    }

    /// What describes the node, if that is wanted and the node exists.
    pub(crate) fn node(&self, name: &str) -> Option<Arc<NodeEntry>> {
        self.ask(self.around.nodes.as_ref(), Kind::Node, name)
    }

    /// Whether pods on nodes that do not exist, or are not selected, are left out.
    pub(crate) fn needs_nodes(&self) -> bool {
        self.around.nodes.is_some() && (self.line == PrometheusLine::V3 || self.around.nodes_selected)
    }

    /// What describes the namespace, if that is wanted and the namespace exists.
    pub(crate) fn namespace(&self, name: &str) -> Option<Arc<Labels>> {
        self.ask(self.around.namespaces.as_ref(), Kind::Namespace, name)
    }

    /// What the owners of a pod add to it: the names of its deployment, job, cron job.
    pub(crate) fn owners(&self, pod: &PodEntry) -> Labels {
        let mut labels = MetaLabels::new();
        if let Some(Controller { kind, name }) = &pod.controller {
            let key = format!("{}/{name}", pod.namespace);
            if kind == "ReplicaSet" {
                let owner = self.ask(self.around.replica_sets.as_ref(), Kind::ReplicaSet, &key);
                labels.set("pod_deployment_name", named(owner.as_deref(), "Deployment"));
            } else if kind == "Job" {
                labels.set("pod_job_name", if self.around.job_names { name } else { "" });
                let owner = self.ask(self.around.jobs.as_ref(), Kind::Job, &key);
                labels.set("pod_cronjob_name", named(owner.as_deref(), "CronJob"));
            }
        }
        labels.build()
    }

    fn ask<E: PartialEq>(&self, store: Option<&Arc<Store<E>>>, kind: Kind, key: &str) -> Option<Arc<E>> {
        let store = store?;
        self.asked.borrow_mut().insert((kind, key.to_owned()));
        store.get(key)
    }
}

/// The owner's name if it is of that kind, or the empty text.
fn named<'a>(owner: Option<&'a Option<Controller>>, kind: &str) -> &'a str {
    owner.and_then(Option::as_ref).filter(|owner| owner.kind == kind).map_or("", |owner| owner.name.as_str())
}

#[cfg(test)]
pub(crate) mod testing {
    use serde_json::Value;

    use super::*;
    use crate::kubernetes::{labels::key, watch::Watched};

    /// A store of these objects.
    pub(crate) fn store<K: Watched>(objects: &[Value]) -> Arc<Store<K::Entry>> {
        let objects = objects.iter().map(|object| serde_json::from_value::<K>(object.clone()).unwrap());
        let store = Store::default();
        store.replace(objects.map(|object| (key(object.meta()), object.entry())));
        Arc::new(store)
    }
}
