//! The watches that are running, and who reads them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, Weak},
};

use kvass_model::PrometheusLine;
use kvass_scrape::ClientOptions;
use tokio::sync::{Notify, watch};

use super::{
    access::Access,
    endpoint_slice::EndpointSlice,
    endpoints::Endpoints,
    ingress::Ingress,
    namespace::Namespace,
    node::Node,
    owner::{Job, ReplicaSet},
    pod::Pod,
    service::Service,
    store::{ChangedKeys, Store},
    watch::{Follower, Watched},
};
use crate::{
    feed::lock,
    manager::{DiscoveryOptions, Task},
};

/// What a watch covers: server, namespace, selectors. Equal ones are one watch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope {
    pub(crate) access: Access,
    /// `None` for all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
}

/// The watches that are running, shared by everybody who asks for the same.
#[derive(Debug)]
pub(crate) struct WatchPool {
    client_options: ClientOptions,
    line: watch::Sender<PrometheusLine>,
    pub(crate) pods: Registry<Pod>,
    pub(crate) services: Registry<Service>,
    pub(crate) endpoints: Registry<Endpoints>,
    pub(crate) endpoint_slices: Registry<EndpointSlice>,
    pub(crate) ingresses: Registry<Ingress>,
    pub(crate) nodes: Registry<Node>,
    pub(crate) namespaces: Registry<Namespace>,
    pub(crate) replica_sets: Registry<ReplicaSet>,
    pub(crate) jobs: Registry<Job>,
}

impl WatchPool {
    pub(crate) fn new(options: &DiscoveryOptions) -> Self {
        let client_options = ClientOptions {
            keep_alive: options.keep_alive,
            http2: options.http2,
            // A watch has no size.
            body_size_limit: 0,
            ..ClientOptions::default()
        };
        WatchPool {
            client_options,
            line: watch::Sender::default(),
            pods: Registry::default(),
            services: Registry::default(),
            endpoints: Registry::default(),
            endpoint_slices: Registry::default(),
            ingresses: Registry::default(),
            nodes: Registry::default(),
            namespaces: Registry::default(),
            replica_sets: Registry::default(),
            jobs: Registry::default(),
        }
    }

    /// Says whose rules apply from now on.
    pub(crate) fn set_line(&self, line: PrometheusLine) {
        self.line.send_if_modified(|known| std::mem::replace(known, line) != line);
    }

    /// Whose rules apply.
    pub(crate) fn line(&self) -> watch::Receiver<PrometheusLine> {
        self.line.subscribe()
    }

    /// The watch over `scope`; `wake` is notified of its changes.
    pub(crate) fn subscribe<K: Watched>(&self, scope: Scope, wake: &Arc<Notify>) -> Subscription<K> {
        let mut running = lock(&K::registry(self).0);
        running.retain(|(_, watch)| watch.strong_count() > 0);
        let known = running.iter().find(|(known, _)| *known == scope).and_then(|(_, watch)| watch.upgrade());
        let watch = known.unwrap_or_else(|| {
            let (store, anew) = (Arc::new(Store::default()), Arc::new(Notify::new()));
            let follower = Follower::<K>::new(scope.clone(), self.client_options.clone(), Arc::clone(&store), Arc::clone(&anew));
            let watch = Arc::new(SharedWatch { store, anew, _task: Task::spawn(follower.run()) });
            running.push((scope, Arc::downgrade(&watch)));
            watch
        });
        let changed = watch.store.subscribe(wake);
        Subscription { watch, changed }
    }
}

/// Running watches of one kind.
#[derive(Debug)]
pub(crate) struct Registry<K: Watched>(Mutex<Vec<(Scope, Weak<SharedWatch<K>>)>>);

impl<K: Watched> Default for Registry<K> {
    fn default() -> Self {
        Registry(Mutex::default())
    }
}

/// A watch, for as long as anybody is subscribed to it.
#[derive(Debug)]
pub(crate) struct SharedWatch<K: Watched> {
    store: Arc<Store<K::Entry>>,
    /// Has everything listed anew.
    anew: Arc<Notify>,
    _task: Task,
}

/// One reader's view of a watch.
#[derive(Debug)]
pub(crate) struct Subscription<K: Watched> {
    watch: Arc<SharedWatch<K>>,
    changed: Arc<ChangedKeys>,
}

impl<K: Watched> Subscription<K> {
    /// What is known from the watch.
    pub(crate) fn store(&self) -> &Arc<Store<K::Entry>> {
        &self.watch.store
    }

    /// Has everything listed once more, by the server's database and not its cache.
    pub(crate) fn list_anew(&self) {
        self.watch.anew.notify_one();
    }
}

/// A subscription, whatever its kind.
pub(crate) trait Followed: Send {
    /// The keys of the objects that came, changed or went since this was last asked.
    fn take_changed(&self) -> BTreeSet<String>;

    /// Whether all objects were ever listed.
    fn synced(&self) -> bool;

    /// What is wrong at present.
    fn error(&self) -> Option<String>;
}

impl<K: Watched> Followed for Subscription<K> {
    fn take_changed(&self) -> BTreeSet<String> {
        self.changed.take()
    }

    fn synced(&self) -> bool {
        self.store().synced()
    }

    fn error(&self) -> Option<String> {
        self.store().error()
    }
}
