//! Keeps a copy of the objects of one kind, by listing and then watching them.
//!
//! kube's own `watcher` is not used: it reopens a watch that the server closes at once without any
//! pause, repeats failing lists at a constant rate, and cannot resume a watch with a new client.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fmt::Debug,
    pin::pin,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    api::{ListParams, ObjectList, VersionMatch, WatchEvent, WatchParams},
};
use kvass_model::PrometheusLine;
use kvass_scrape::ClientOptions;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    access::{Access, AccessError},
    endpoint_slice::EndpointSlice,
    endpoints::Endpoints,
    ingress::Ingress,
    labels::key,
    namespace::Namespace,
    node::Node,
    owner::{Job, ReplicaSet},
    pod::Pod,
    service::Service,
    store::{ChangedKeys, Store},
};
use crate::{
    backoff::Backoff,
    feed::lock,
    manager::{DiscoveryOptions, Task},
};

/// Pauses after failures.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Watches are reopened no faster than this, whoever closes them.
const WATCH_SPACING: Duration = Duration::from_secs(1);
/// A watch that lasted this long was in order.
const HEALTHY_WATCH: Duration = Duration::from_secs(5);
/// How long a list may take, and a watch to begin.
const LIST_LIMIT: Duration = Duration::from_secs(300);
const WATCH_START_LIMIT: Duration = Duration::from_secs(60);
/// Objects of a page, where lists come in pages.
const PAGE: u32 = 500;
/// When the server is asked to end a watch, and when we stop believing that it will.
const WATCH_SECONDS: u32 = 285;
const WATCH_IDLE_LIMIT: Duration = Duration::from_secs(295);
/// Failures in a row after which the watch is no longer resumed where it was.
const RESUMES: u32 = 3;

/// A kind of objects that can be watched, and what is kept of each.
pub(crate) trait Watched: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static {
    /// What is kept; changes that leave it equal are not changes.
    type Entry: PartialEq + Debug + Send + Sync + 'static;

    /// The API for one namespace or all; cluster-wide kinds have no choice.
    fn api(client: Client, namespace: Option<&str>) -> Api<Self>;

    /// Where the running watches of this kind are.
    fn registry(pool: &WatchPool) -> &Registry<Self>;

    /// What is kept of this object.
    fn entry(&self) -> Self::Entry;
}

/// [`Watched::api`] of a kind that lives in namespaces.
pub(crate) fn namespaced<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

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

/// Why a watch stopped.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API server did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the list has no resource version")]
    NoVersion,
}

impl WatchError {
    /// Whether the server failed at the size of what it was asked for.
    fn is_too_much(&self) -> bool {
        match self {
            WatchError::Timeout(_) => true,
            WatchError::Api(kube::Error::Api(status)) => matches!(status.code, 413 | 504),
            WatchError::Access(_) | WatchError::Api(_) | WatchError::NoVersion => false,
        }
    }
}

enum WatchEnd {
    /// By the server, as it does from time to time.
    Closed,
    /// The server no longer knows the version we were at.
    Expired,
    /// Somebody wants to have everything listed.
    Anew,
}

/// Keeps a store equal to what the API server has.
struct Follower<K: Watched> {
    scope: Scope,
    client_options: ClientOptions,
    store: Arc<Store<K::Entry>>,
    anew: Arc<Notify>,
    /// The next list is to come from the server's database.
    from_database: bool,
    /// Where the watch is to be resumed; `None` means list first.
    version: Option<String>,
    backoff: Backoff,
    failures: u32,
    /// Lists come in pages, as all at once was too much for the server.
    by_pages: bool,
}

/// What is kept of all objects, and the version of the list.
type Listed<K> = (Vec<(String, <K as Watched>::Entry)>, Option<String>);

fn kept<K: Watched>(object: &K) -> (String, K::Entry) {
    (key(object.meta()), object.entry())
}

impl<K: Watched> Follower<K> {
    fn new(scope: Scope, client_options: ClientOptions, store: Arc<Store<K::Entry>>, anew: Arc<Notify>) -> Self {
        let (backoff, from_database) = (Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), false);
        Follower { scope, client_options, store, anew, from_database, version: None, backoff, failures: 0, by_pages: false }
    }

    async fn run(mut self) {
        let kind = K::plural(&());
        loop {
            let Err(error) = self.follow().await;
            let error = describe(&error);
            tracing::warn!(%kind, namespace = self.scope.namespace, error, "kubernetes watch failed, known objects stay");
            let within = self.scope.namespace.as_ref().map(|n| format!(" in namespace {n}")).unwrap_or_default();
            self.store.set_error(Some(format!("kubernetes_sd_configs: {kind}{within}: {error}")));
            self.failures += 1;
            if self.failures.is_multiple_of(RESUMES) {
                self.version = None;
            }
            sleep(self.backoff.next()).await;
        }
    }

    /// Lists and watches until something fails.
    async fn follow(&mut self) -> Result<Infallible, WatchError> {
        let client = self.scope.access.client(&self.client_options).await?;
        let api = K::api(client, self.scope.namespace.as_deref());
        loop {
            let version = match self.version.clone() {
                Some(version) => version,
                None => self.list(&api).await?,
            };
            let started = Instant::now();
            match self.watch(&api, version).await? {
                WatchEnd::Closed => sleep_until(started + WATCH_SPACING).await,
                WatchEnd::Expired => {
                    self.version = None;
                    sleep(self.backoff.next()).await;
                }
                WatchEnd::Anew => {
                    self.version = None;
                    self.from_database = true;
                    sleep_until(started + WATCH_SPACING).await;
                }
            }
        }
    }

    async fn list(&mut self, api: &Api<K>) -> Result<String, WatchError> {
        // With a limit and without a version the database is asked.
        let listed = if self.by_pages || self.from_database { self.list_pages(api).await } else { self.list_at_once(api).await };
        self.by_pages |= listed.as_ref().is_err_and(WatchError::is_too_much);
        let (objects, version) = listed?;
        let version = version.filter(|version| !version.is_empty()).ok_or(WatchError::NoVersion)?;
        self.store.replace(objects);
        self.version = Some(version.clone());
        self.from_database = false;
        Ok(version)
    }

    /// Without a limit: with one, servers before 1.34 ask their database instead of their cache.
    async fn list_at_once(&self, api: &Api<K>) -> Result<Listed<K>, WatchError> {
        let version = Some("0".to_owned());
        let params = ListParams { resource_version: version, version_match: Some(VersionMatch::NotOlderThan), ..self.params() };
        let list = self.page(api, &params).await?;
        Ok((list.items.iter().map(kept).collect(), list.metadata.resource_version))
    }

    async fn list_pages(&self, api: &Api<K>) -> Result<Listed<K>, WatchError> {
        let mut params = ListParams { limit: Some(PAGE), ..self.params() };
        let mut objects = Vec::new();
        loop {
            let list = self.page(api, &params).await?;
            objects.extend(list.items.iter().map(kept));
            params.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok((objects, list.metadata.resource_version));
            }
        }
    }

    async fn page(&self, api: &Api<K>, params: &ListParams) -> Result<ObjectList<K>, WatchError> {
        Ok(timeout(LIST_LIMIT, api.list(params)).await.map_err(|_| WatchError::Timeout(LIST_LIMIT))??)
    }

    fn params(&self) -> ListParams {
        ListParams {
            label_selector: selector(&self.scope.label_selector),
            field_selector: selector(&self.scope.field_selector),
            ..ListParams::default()
        }
    }

    async fn watch(&mut self, api: &Api<K>, version: String) -> Result<WatchEnd, WatchError> {
        let params = WatchParams {
            label_selector: selector(&self.scope.label_selector),
            field_selector: selector(&self.scope.field_selector),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let started = Instant::now();
        let stream = timeout(WATCH_START_LIMIT, api.watch(&params, &version)).await;
        let stream = match stream.map_err(|_| WatchError::Timeout(WATCH_START_LIMIT))? {
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(WatchEnd::Expired),
            stream => stream?,
        };
        let mut stream = pin!(stream);
        self.store.set_error(None);
        loop {
            let event = tokio::select! {
                event = timeout(WATCH_IDLE_LIMIT, stream.next()) => event.map_err(|_| WatchError::Timeout(WATCH_IDLE_LIMIT))?,
                () = self.anew.notified() => return Ok(WatchEnd::Anew),
            };
            let Some(event) = event else { break };
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.store.apply(key(object.meta()), object.entry());
                    self.advance(object.meta().resource_version.clone());
                }
                WatchEvent::Deleted(object) => {
                    self.store.delete(key(object.meta()));
                    self.advance(object.meta().resource_version.clone());
                }
                WatchEvent::Bookmark(bookmark) => self.advance(Some(bookmark.metadata.resource_version)),
                WatchEvent::Error(status) if status.code == 410 => return Ok(WatchEnd::Expired),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            }
        }
        if started.elapsed() >= HEALTHY_WATCH {
            self.healthy();
        }
        Ok(WatchEnd::Closed)
    }

    /// An event was heard.
    fn advance(&mut self, version: Option<String>) {
        if version.is_some() {
            self.version = version;
        }
        self.healthy();
    }

    fn healthy(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }
}

fn selector(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The error and its causes, each said once.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
