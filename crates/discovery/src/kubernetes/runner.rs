//! Follows the objects of a role and what is around them, and keeps one target group per object.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kvass_config::{KubernetesRole, KubernetesSdConfig};
use kvass_model::{PrometheusLine, TargetGroup};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    access::{Access, AccessError, own_namespace},
    around::{Around, Look},
    dependents::{Dependents, Kind},
    endpoint_slice::EndpointSlice,
    endpoints::Endpoints,
    ingress::Ingress,
    namespace::Namespace,
    node::Node,
    owner::{Job, ReplicaSet},
    pod::Pod,
    pool::{Followed, Scope, Subscription, WatchPool},
    service::Service,
    store::Store,
    watch::Watched,
};
use crate::{feed::Feed, loss::CONFIRM_AFTER};

/// How often a missing service account is looked for.
const RETRY: Duration = Duration::from_secs(5);

/// A kind of objects that a discovery has for its role.
pub(crate) trait Role: Watched {
    /// Sources of its groups begin like that.
    const SOURCE: &'static str;

    /// What its groups may be made with.
    const AROUND: &'static [Kind];

    /// The group of an object; none where Prometheus of that line has no targets for it. Pure.
    fn target_group(key: &str, entry: &Self::Entry, look: &Look<'_>) -> Option<Arc<TargetGroup>>;
}

/// Follows the objects of a `kubernetes_sd_configs` entry, for ever.
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
    match config.role {
        KubernetesRole::Node => follow::<Node>(&config, [None].into(), &pool, &feed).await,
        KubernetesRole::Pod => follow::<Pod>(&config, namespaces, &pool, &feed).await,
        KubernetesRole::Service => follow::<Service>(&config, namespaces, &pool, &feed).await,
        KubernetesRole::Endpoints => follow::<Endpoints>(&config, namespaces, &pool, &feed).await,
        KubernetesRole::EndpointSlice => follow::<EndpointSlice>(&config, namespaces, &pool, &feed).await,
        KubernetesRole::Ingress => follow::<Ingress>(&config, namespaces, &pool, &feed).await,
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

async fn follow<R: Role>(config: &KubernetesSdConfig, namespaces: BTreeSet<Option<String>>, pool: &WatchPool, feed: &Feed) {
    feed.set_name("kubernetes_sd_configs");
    let wake = Arc::new(Notify::new());
    let mut line = pool.line();
    let mut further = FurtherList::default();
    let mut parts: Vec<Part<R>> = namespaces.into_iter().map(|namespace| Part::new(config, namespace, pool, &wake)).collect();
    loop {
        let mut all_anew = false;
        tokio::select! {
            () = wake.notified() => {}
            Ok(()) = line.changed() => all_anew = true,
            () = further.due() => parts.iter().for_each(|part| part.objects.list_anew()),
        }
        // Namespaces share the watches of what lies in none.
        let errors: BTreeSet<String> = parts.iter().flat_map(Part::errors).collect();
        feed.set_errors(errors.into_iter().collect());
        // A namespace that may not be listed does not keep back the others.
        let complete = parts.iter().all(Part::synced);
        let line = *line.borrow_and_update();
        // Before the changes, which may come with a list.
        let lists: Vec<u64> = parts.iter().map(|part| part.objects.store().lists()).collect();
        let known = parts.iter_mut().filter(|part| part.synced());
        let changes: Vec<_> = known.flat_map(|part| part.changes(line, all_anew)).collect();
        if !changes.is_empty() || complete {
            feed.update_part(changes, complete);
        }
        let held = feed.lock().held.as_ref().map(|held| (held.since, held.targets()));
        if further.has_come(held, &lists) {
            feed.confirm();
        }
    }
}

/// The list that is waited for while targets are held that went missing: one that began after they did.
#[derive(Default)]
struct FurtherList {
    /// Since when targets are held, and how many.
    held: Option<(std::time::Instant, usize)>,
    /// When it is to be asked for; `None` once it was.
    ask_at: Option<Instant>,
    /// The lists there had been, by part.
    lists: Vec<u64>,
}

impl FurtherList {
    /// Completes when the list is to be asked for, once.
    async fn due(&mut self) {
        match self.ask_at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
        self.ask_at = None;
    }

    /// Whether every part was listed after the last of the held targets went. One that never was has none of them.
    fn has_come(&mut self, held: Option<(std::time::Instant, usize)>, lists: &[u64]) -> bool {
        let before = std::mem::replace(&mut self.held, held);
        let Some((since, targets)) = held else {
            self.ask_at = None;
            return false;
        };
        let more = before.is_none_or(|(since_before, before)| since != since_before || targets > before);
        if more {
            self.ask_at = Some(Instant::now() + CONFIRM_AFTER);
            self.lists = lists.to_vec();
        }
        lists.iter().zip(&self.lists).all(|(now, before)| now > before || *now == 0)
    }
}

/// What is followed in one namespace, or in all.
struct Part<R: Role> {
    objects: Subscription<R>,
    watches: Vec<(Kind, Box<dyn Followed>)>,
    around: Around,
    dependents: Dependents,
}

impl<R: Role> Part<R> {
    fn new(config: &KubernetesSdConfig, namespace: Option<String>, pool: &WatchPool, wake: &Arc<Notify>) -> Self {
        let attach = &config.attach_metadata;
        let mut part = Part {
            objects: pool.subscribe(scope(config, namespace.clone(), Some(config.role)), wake),
            watches: Vec::new(),
            around: Around {
                job_names: attach.job,
                nodes_selected: selector(config, KubernetesRole::Node).is_some(),
                ..Around::default()
            },
            dependents: Dependents::default(),
        };
        for kind in R::AROUND {
            let mut join = Join { config, pool, wake, kind: *kind, watches: &mut part.watches };
            let inside = || namespace.clone();
            match kind {
                Kind::Pod => part.around.pods = Some(join.store::<Pod>(inside(), Some(KubernetesRole::Pod))),
                Kind::Service => part.around.services = Some(join.store::<Service>(inside(), Some(KubernetesRole::Service))),
                Kind::Node if attach.node => {
                    part.around.nodes = Some(join.store::<Node>(None, Some(KubernetesRole::Node)));
                }
                Kind::Namespace if attach.namespace => {
                    part.around.namespaces = Some(join.store::<Namespace>(None, None));
                }
                Kind::ReplicaSet if attach.deployment => {
                    part.around.replica_sets = Some(join.store::<ReplicaSet>(inside(), None));
                }
                // The name of a job is in its pods.
                Kind::Job if attach.cronjob => part.around.jobs = Some(join.store::<Job>(inside(), None)),
                Kind::Node | Kind::Namespace | Kind::ReplicaSet | Kind::Job => {}
            }
        }
        part
    }

    fn followed(&self) -> impl Iterator<Item = &dyn Followed> {
        let objects: &dyn Followed = &self.objects;
        [objects].into_iter().chain(self.watches.iter().map(|(_, watch)| &**watch))
    }

    fn errors(&self) -> Vec<String> {
        self.followed().filter_map(Followed::error).collect()
    }

    fn synced(&self) -> bool {
        self.followed().all(Followed::synced)
    }

    /// The groups of all objects that changed, or were made with an object that did, by source; `None` where there is
    /// no group any more.
    fn changes(&mut self, line: PrometheusLine, all_anew: bool) -> Vec<(String, Option<Arc<TargetGroup>>)> {
        let mut changed = self.objects.take_changed();
        for (kind, watch) in &self.watches {
            for key in watch.take_changed() {
                changed.extend(self.dependents.of(&(*kind, key)).cloned());
            }
        }
        if all_anew {
            changed.extend(self.objects.store().keys());
        }
        let change = |key: String| {
            let look = Look::new(&self.around, line);
            let group = self.objects.store().get(&key).and_then(|entry| R::target_group(&key, &entry, &look));
            self.dependents.set(&key, look.into_asked());
            (format!("{}/{key}", R::SOURCE), group)
        };
        changed.into_iter().map(change).collect()
    }
}

/// Adds a watch to a part.
struct Join<'a> {
    config: &'a KubernetesSdConfig,
    pool: &'a WatchPool,
    wake: &'a Arc<Notify>,
    kind: Kind,
    watches: &'a mut Vec<(Kind, Box<dyn Followed>)>,
}

impl Join<'_> {
    fn store<K: Watched>(&mut self, namespace: Option<String>, selected_as: Option<KubernetesRole>) -> Arc<Store<K::Entry>> {
        let subscription = self.pool.subscribe::<K>(scope(self.config, namespace, selected_as), self.wake);
        let store = Arc::clone(subscription.store());
        self.watches.push((self.kind, Box::new(subscription)));
        store
    }
}

/// What a watch covers whose objects are selected as those of that role are.
fn scope(config: &KubernetesSdConfig, namespace: Option<String>, selected_as: Option<KubernetesRole>) -> Scope {
    let selector = selected_as.and_then(|role| selector(config, role));
    Scope {
        access: Access::of(config),
        namespace,
        label_selector: selector.map(|s| s.label.clone()).unwrap_or_default(),
        field_selector: selector.map(|s| s.field.clone()).unwrap_or_default(),
    }
}

fn selector(config: &KubernetesSdConfig, role: KubernetesRole) -> Option<&kvass_config::KubernetesSelector> {
    config.selectors.iter().find(|selector| selector.role == role)
}
