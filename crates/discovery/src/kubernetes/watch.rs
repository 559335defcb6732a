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
use kube::{
    Api, Client, Resource,
    api::{ListParams, VersionMatch, WatchEvent, WatchParams},
};
use kvass_scrape::ClientOptions;
use serde::de::DeserializeOwned;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    access::{Access, AccessError},
    metadata::{Namespace, Node},
    pod::Pod,
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

    /// What is kept of this object.
    fn entry(&self) -> Self::Entry;
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
    pub(crate) pods: Registry<Pod>,
    pub(crate) nodes: Registry<Node>,
    pub(crate) namespaces: Registry<Namespace>,
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
        WatchPool { client_options, pods: Registry::default(), nodes: Registry::default(), namespaces: Registry::default() }
    }

    /// The watch over `scope` in `registry`; `wake` is notified of its changes.
    pub(crate) fn subscribe<K: Watched>(&self, registry: &Registry<K>, scope: Scope, wake: &Arc<Notify>) -> Subscription<K> {
        let mut running = lock(&registry.0);
        running.retain(|(_, watch)| watch.strong_count() > 0);
        let known = running.iter().find(|(known, _)| *known == scope).and_then(|(_, watch)| watch.upgrade());
        let watch = known.unwrap_or_else(|| {
            let store = Arc::new(Store::default());
            let follower = Follower::<K>::new(scope.clone(), self.client_options.clone(), Arc::clone(&store));
            let watch = Arc::new(SharedWatch { store, _task: Task::spawn(follower.run()) });
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
    _task: Task,
}

/// One reader's view of a watch.
#[derive(Debug)]
pub(crate) struct Subscription<K: Watched> {
    watch: Arc<SharedWatch<K>>,
    changed: Arc<ChangedKeys>,
}

impl<K: Watched> Subscription<K> {
    /// The keys of the objects that came, changed or went since this was last asked.
    pub(crate) fn take_changed(&self) -> BTreeSet<String> {
        self.changed.take()
    }

    /// What is known from the watch.
    pub(crate) fn store(&self) -> &Store<K::Entry> {
        &self.watch.store
    }
}

/// `<namespace>/<name>`, or the name of an object without namespace.
fn key<K: Watched>(object: &K) -> String {
    let name = object.meta().name.as_deref().unwrap_or_default();
    match object.meta().namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
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

enum WatchEnd {
    /// By the server, as it does from time to time.
    Closed,
    /// The server no longer knows the version we were at.
    Expired,
}

/// Keeps a store equal to what the API server has.
struct Follower<K: Watched> {
    scope: Scope,
    client_options: ClientOptions,
    store: Arc<Store<K::Entry>>,
    /// Where the watch is to be resumed; `None` means list first.
    version: Option<String>,
    backoff: Backoff,
    failures: u32,
}

impl<K: Watched> Follower<K> {
    fn new(scope: Scope, client_options: ClientOptions, store: Arc<Store<K::Entry>>) -> Self {
        Follower { scope, client_options, store, version: None, backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), failures: 0 }
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
            }
        }
    }

    async fn list(&mut self, api: &Api<K>) -> Result<String, WatchError> {
        // Without a limit: with one, the server would have to ask its database instead of its cache.
        let params = ListParams {
            label_selector: selector(&self.scope.label_selector),
            field_selector: selector(&self.scope.field_selector),
            resource_version: Some("0".to_owned()),
            version_match: Some(VersionMatch::NotOlderThan),
            ..ListParams::default()
        };
        let list = timeout(LIST_LIMIT, api.list(&params)).await.map_err(|_| WatchError::Timeout(LIST_LIMIT))??;
        let version = list.metadata.resource_version.filter(|version| !version.is_empty()).ok_or(WatchError::NoVersion)?;
        self.store.replace(list.items.iter().map(|object| (key(object), object.entry())));
        self.version = Some(version.clone());
        Ok(version)
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
            let event = timeout(WATCH_IDLE_LIMIT, stream.next()).await.map_err(|_| WatchError::Timeout(WATCH_IDLE_LIMIT))?;
            let Some(event) = event else { break };
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.store.apply(key(&object), object.entry());
                    self.advance(object.meta().resource_version.clone());
                }
                WatchEvent::Deleted(object) => {
                    self.store.delete(key(&object));
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
