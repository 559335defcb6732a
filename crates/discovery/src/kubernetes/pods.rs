//! Discovery with the role `pod`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kvass_config::{KubernetesRole, KubernetesSdConfig};
use kvass_model::{LabelsBuilder, TargetGroup};
use tokio::{sync::Notify, time::sleep};

use super::{
    access::{Access, AccessError, own_namespace},
    metadata::{Namespace, Node},
    pod::{Pod, PodEntry},
    watch::{Scope, Subscription, WatchPool},
};
use crate::feed::Feed;

/// How often a missing service account is looked for.
const RETRY: Duration = Duration::from_secs(5);

/// Follows the pods of a `kubernetes_sd_configs` entry, for ever.
pub(crate) async fn run(config: KubernetesSdConfig, pool: Arc<WatchPool>, feed: Arc<Feed>) {
    let namespaces = loop {
        match namespaces(&config) {
            Ok(namespaces) => break namespaces,
            Err(error) => {
                tracing::warn!(%error, "kubernetes discovery cannot be set up");
                feed.set_errors(vec![format!("kubernetes_sd_configs: {error}")]);
                sleep(RETRY).await;
            }
        }
    };
    let wake = Arc::new(Notify::new());
    let watches = Watches::new(&config, namespaces, &pool, &wake);
    loop {
        wake.notified().await;
        feed.set_errors(watches.errors());
        if watches.synced() {
            watches.deliver(&feed);
        }
    }
}

/// The namespaces to watch, each once; `None` is all of them.
fn namespaces(config: &KubernetesSdConfig) -> Result<BTreeSet<Option<String>>, AccessError> {
    let mut namespaces: BTreeSet<Option<String>> = config.namespaces.iter().cloned().map(Some).collect();
    if config.own_namespace {
        namespaces.insert(Some(own_namespace()?));
    }
    if namespaces.is_empty() {
        namespaces.insert(None);
    }
    Ok(namespaces)
}

struct Watches {
    /// One per namespace, or one for all.
    pods: Vec<Subscription<Pod>>,
    nodes: Option<Subscription<Node>>,
    namespaces: Option<Subscription<Namespace>>,
    /// Pods on nodes that the node selector leaves out are no targets.
    selected_nodes_only: bool,
}

impl Watches {
    fn new(config: &KubernetesSdConfig, namespaces: BTreeSet<Option<String>>, pool: &WatchPool, wake: &Arc<Notify>) -> Self {
        let selector = |role| config.selectors.iter().find(|selector| selector.role == role);
        let scope = |role, namespace| {
            let selector = selector(role);
            Scope {
                access: Access::of(config),
                namespace,
                label_selector: selector.map(|s| s.label.clone()).unwrap_or_default(),
                field_selector: selector.map(|s| s.field.clone()).unwrap_or_default(),
            }
        };
        let pods = namespaces.into_iter().map(|n| pool.subscribe(&pool.pods, scope(KubernetesRole::Pod, n), wake)).collect();
        let nodes = config.attach_node_metadata.then(|| pool.subscribe(&pool.nodes, scope(KubernetesRole::Node, None), wake));
        let namespaces = config.attach_namespace_metadata.then(|| {
            let everything = Scope {
                access: Access::of(config),
                namespace: None,
                label_selector: String::new(),
                field_selector: String::new(),
            };
            pool.subscribe(&pool.namespaces, everything, wake)
        });
        Watches { pods, nodes, namespaces, selected_nodes_only: selector(KubernetesRole::Node).is_some() }
    }

    fn errors(&self) -> Vec<String> {
        let pods = self.pods.iter().filter_map(|watch| watch.store().error());
        let nodes = self.nodes.iter().filter_map(|watch| watch.store().error());
        let namespaces = self.namespaces.iter().filter_map(|watch| watch.store().error());
        pods.chain(nodes).chain(namespaces).collect()
    }

    fn synced(&self) -> bool {
        self.pods.iter().all(|watch| watch.store().synced())
            && self.nodes.iter().all(|watch| watch.store().synced())
            && self.namespaces.iter().all(|watch| watch.store().synced())
    }

    /// Brings the groups of all pods up to date that changed, or whose node or namespace did.
    fn deliver(&self, feed: &Feed) {
        let nodes = self.nodes.as_ref().map(Subscription::take_changed).unwrap_or_default();
        let namespaces = self.namespaces.as_ref().map(Subscription::take_changed).unwrap_or_default();
        let mut groups = Vec::new();
        for pods in &self.pods {
            let mut changed = pods.take_changed();
            if !nodes.is_empty() || !namespaces.is_empty() {
                changed.extend(pods.store().keys_where(|pod| nodes.contains(&pod.node) || namespaces.contains(&pod.namespace)));
            }
            groups.extend(changed.into_iter().map(|key| {
                let group = pods.store().get(&key).and_then(|pod| self.group(&pod));
                (format!("pod/{key}"), group)
            }));
        }
        feed.update(groups);
    }

    /// The group of a pod with what its node and namespace add to it.
    fn group(&self, pod: &PodEntry) -> Option<Arc<TargetGroup>> {
        let node = self.nodes.as_ref().and_then(|nodes| nodes.store().get(&pod.node));
        if self.nodes.is_some() && self.selected_nodes_only && node.is_none() {
            return None;
        }
        let namespace = self.namespaces.as_ref().and_then(|namespaces| namespaces.store().get(&pod.namespace));
        if node.is_none() && namespace.is_none() {
            return Some(Arc::clone(&pod.group));
        }
        let mut labels = LabelsBuilder::from(&pod.group.labels);
        for (name, value) in node.iter().chain(&namespace).flat_map(|pairs| pairs.iter()) {
            labels.set(name, value);
        }
        let group = &pod.group;
        Some(Arc::new(TargetGroup { source: group.source.clone(), targets: group.targets.clone(), labels: labels.build() }))
    }
}
