//! Keeps a copy of the objects of one kind, by listing and then watching them.
//!
//! Where the server can, a watch begins with all objects one by one, so that no list is ever in memory as a whole: with
//! many objects that is most of what it would cost.
//!
//! kube's own `watcher` is not used: it reopens a watch that the server closes at once without any
//! pause, repeats failing lists at a constant rate, does not fall back where streams are refused, and cannot resume a watch
//! with a new client.

use std::{collections::HashMap, convert::Infallible, fmt::Debug, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    api::{ListParams, ObjectList, VersionMatch, WatchEvent, WatchParams},
    core::watch::Bookmark,
};
use kvass_scrape::ClientOptions;
use serde::de::DeserializeOwned;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use super::{
    access::AccessError,
    labels::key,
    pool::{Registry, Scope, WatchPool},
    store::Store,
};
use crate::backoff::Backoff;

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
/// Whatever the server has in its cache.
const ANY_VERSION: &str = "0";
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
    #[error("the watch does not begin with all objects")]
    NoStream,
    #[error("the watch ended before all objects were there")]
    Cut,
    #[error("the watch broke down, which is a mistake in kvass")]
    BrokeDown,
}

impl WatchError {
    /// Whether the server failed at the size of what it was asked for.
    fn is_too_much(&self) -> bool {
        match self {
            WatchError::Timeout(_) => true,
            WatchError::Api(kube::Error::Api(status)) => matches!(status.code, 413 | 504) && !self.is_ahead(),
            _ => false,
        }
    }

    /// Whether the server does not know yet, or any more, what we have seen: it lags behind, or was set back.
    fn is_ahead(&self) -> bool {
        match self {
            WatchError::Api(kube::Error::Api(status)) => {
                status.code == 410 || status.code == 504 && status.message.contains("Too large resource version")
            }
            _ => false,
        }
    }

    /// Whether the server cannot begin a watch with all objects, or does not understand that it is asked to.
    fn is_without_streams(&self) -> bool {
        match self {
            WatchError::NoStream => true,
            WatchError::Api(kube::Error::Api(status)) => matches!(status.code, 400 | 404..=406 | 415 | 422),
            _ => false,
        }
    }
}

/// How all objects are asked for. What a server fails at is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// A watch begins with them.
    Stream,
    /// A list without a limit: with one, servers before 1.34 ask their database instead of their cache.
    AtOnce,
    /// A list in pages, as all at once was too much for the server.
    Pages,
}

/// Ends the objects with which a watch begins, in the annotations of a bookmark.
const INITIAL_END: &str = "k8s.io/initial-events-end";

enum WatchEnd {
    /// By the server, as it does from time to time.
    Closed,
    /// The server no longer knows the version we were at.
    Expired,
    /// Somebody wants to have everything listed.
    Anew,
}

/// Keeps a store equal to what the API server has.
pub(crate) struct Follower<K: Watched> {
    scope: Scope,
    client_options: ClientOptions,
    store: Arc<Store<K::Entry>>,
    anew: Arc<Notify>,
    /// The next list is to come from the server's database.
    from_database: bool,
    /// Where the watch is to be resumed; `None` means list first.
    version: Option<String>,
    /// The newest version that was heard of. No server of several, of which one may lag behind, is believed an older state.
    seen: Option<String>,
    backoff: Backoff,
    failures: u32,
    listing: Listing,
}

/// What is kept of all objects, and the version of the list.
type Listed<K> = (Vec<(String, <K as Watched>::Entry)>, Option<String>);

fn kept<K: Watched>(object: &K) -> (String, K::Entry) {
    (key(object.meta()), object.entry())
}

impl<K: Watched> Follower<K> {
    /// Nothing is asked for before [`run`](Self::run). `anew` has everything listed once more.
    pub(crate) fn new(scope: Scope, client_options: ClientOptions, store: Arc<Store<K::Entry>>, anew: Arc<Notify>) -> Self {
        let (backoff, from_database) = (Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), false);
        let (version, seen, listing) = (None, None, Listing::Stream);
        Follower { scope, client_options, store, anew, from_database, version, seen, backoff, failures: 0, listing }
    }

    /// Follows the server for ever.
    pub(crate) async fn run(mut self) {
        let kind = K::plural(&());
        loop {
            let error = match AssertUnwindSafe(self.follow()).catch_unwind().await {
                Ok(Err(error)) => error,
                Err(_) => WatchError::BrokeDown,
            };
            let text = describe(&error);
            tracing::warn!(%kind, namespace = self.scope.namespace, error = text, "kubernetes watch failed, known objects stay");
            let within = self.scope.namespace.as_ref().map(|n| format!(" in namespace {n}")).unwrap_or_default();
            self.store.set_error(Some(format!("kubernetes_sd_configs: {kind}{within}: {text}")));
            if error.is_ahead() {
                self.ask_database();
            }
            self.failures += 1;
            if self.failures.is_multiple_of(RESUMES) {
                self.version = None;
                // Something between us and the server may not let a stream last.
                if matches!(error, WatchError::Cut) {
                    self.listing = Listing::AtOnce;
                }
            }
            sleep(self.backoff.next()).await;
        }
    }

    /// Lists and watches until something fails.
    async fn follow(&mut self) -> Result<Infallible, WatchError> {
        let client = self.scope.access.client(&self.client_options).await?;
        let api = K::api(client, self.scope.namespace.as_deref());
        loop {
            let started = Instant::now();
            let end = match (self.version.clone(), self.listing) {
                (Some(version), _) => self.watch(&api, &version, false).await?,
                (None, Listing::Stream) if !self.from_database => match self.watch(&api, &self.oldest(), true).await {
                    Err(error) if self.version.is_none() && error.is_without_streams() => {
                        self.listing = Listing::AtOnce;
                        continue;
                    }
                    end => end?,
                },
                (None, _) => {
                    self.list(&api).await?;
                    continue;
                }
            };
            match end {
                WatchEnd::Closed => sleep_until(started + WATCH_SPACING).await,
                WatchEnd::Expired => {
                    if self.version.take().is_none() {
                        self.ask_database();
                    }
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

    async fn list(&mut self, api: &Api<K>) -> Result<(), WatchError> {
        // With a limit and without a version the database is asked.
        let by_pages = self.listing == Listing::Pages || self.from_database;
        let listed = if by_pages { self.list_pages(api).await } else { self.list_at_once(api).await };
        if listed.as_ref().is_err_and(WatchError::is_too_much) {
            self.listing = Listing::Pages;
        }
        let (objects, version) = listed?;
        let version = version.filter(|version| !version.is_empty()).ok_or(WatchError::NoVersion)?;
        self.store.replace(objects);
        self.seen = Some(version.clone());
        self.version = Some(version);
        self.from_database = false;
        Ok(())
    }

    async fn list_at_once(&self, api: &Api<K>) -> Result<Listed<K>, WatchError> {
        let version = Some(self.oldest());
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

    /// The oldest version that is of use.
    fn oldest(&self) -> String {
        self.seen.clone().unwrap_or_else(|| ANY_VERSION.to_owned())
    }

    /// The next list comes from where the truth is, whatever was seen.
    fn ask_database(&mut self) {
        self.seen = None;
        self.from_database = true;
    }

    fn params(&self) -> ListParams {
        ListParams {
            label_selector: selector(&self.scope.label_selector),
            field_selector: selector(&self.scope.field_selector),
            ..ListParams::default()
        }
    }

    /// Watches until the server ends it. `from_all`: the watch begins with all objects, and what is not among them has gone.
    async fn watch(&mut self, api: &Api<K>, version: &str, from_all: bool) -> Result<WatchEnd, WatchError> {
        let params = WatchParams {
            label_selector: selector(&self.scope.label_selector),
            field_selector: selector(&self.scope.field_selector),
            timeout: Some(WATCH_SECONDS),
            send_initial_events: from_all,
            ..WatchParams::default()
        };
        let started = Instant::now();
        let stream = timeout(WATCH_START_LIMIT, api.watch(&params, version)).await;
        let stream = match stream.map_err(|_| WatchError::Timeout(WATCH_START_LIMIT))? {
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(WatchEnd::Expired),
            stream => stream?,
        };
        let mut stream = pin!(stream);
        // What is known until all is.
        let mut all = from_all.then(HashMap::new);
        if all.is_none() {
            self.store.set_error(None);
        }
        loop {
            let (limit, until) = match all {
                Some(_) => (LIST_LIMIT, started + LIST_LIMIT),
                None => (WATCH_IDLE_LIMIT, Instant::now() + WATCH_IDLE_LIMIT),
            };
            let event = tokio::select! {
                event = timeout_at(until, stream.next()) => event.map_err(|_| WatchError::Timeout(limit))?,
                () = self.anew.notified() => return Ok(WatchEnd::Anew),
            };
            let Some(event) = event else { break };
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let (key, entry) = kept(&object);
                    match &mut all {
                        Some(all) => drop(all.insert(key, entry)),
                        None => self.heard(&object, |store| store.apply(key, entry)),
                    }
                }
                WatchEvent::Deleted(object) => match &mut all {
                    Some(all) => drop(all.remove(&key(object.meta()))),
                    None => self.heard(&object, |store| store.delete(key(object.meta()))),
                },
                WatchEvent::Bookmark(bookmark) => {
                    if let Some(all) = all.take() {
                        if !ends_initial_events(&bookmark) {
                            return Err(WatchError::NoStream);
                        }
                        self.store.replace(all);
                    }
                    self.advance(Some(bookmark.metadata.resource_version));
                }
                WatchEvent::Error(status) if status.code == 410 => return Ok(WatchEnd::Expired),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            }
        }
        if all.is_some() {
            return Err(WatchError::Cut);
        }
        if started.elapsed() >= HEALTHY_WATCH {
            self.healthy();
        }
        Ok(WatchEnd::Closed)
    }

    /// An object came, changed or went.
    fn heard(&mut self, object: &K, change: impl FnOnce(&Store<K::Entry>)) {
        change(&self.store);
        self.advance(object.meta().resource_version.clone());
    }

    /// An event was heard.
    fn advance(&mut self, version: Option<String>) {
        if version.is_some() {
            self.seen.clone_from(&version);
            self.version = version;
        }
        self.healthy();
    }

    fn healthy(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }
}

fn ends_initial_events(bookmark: &Bookmark) -> bool {
    bookmark.metadata.annotations.get(INITIAL_END).is_some_and(|value| value == "true")
}

fn selector(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// What the server says, or the error and its causes, each said once.
fn describe(error: &WatchError) -> String {
    // kube adds everything it knows of the refusal.
    if let WatchError::Api(kube::Error::Api(status)) = error
        && !status.message.is_empty()
    {
        return format!("{} ({})", status.message, status.code);
    }
    let error: &dyn std::error::Error = error;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::{Json, Router, extract::RawQuery, http::StatusCode, response::IntoResponse};
    use k8s_openapi::api::core::v1;
    use kube::api::ObjectMeta;
    use kvass_config::{Config, LoadContext, SdConfig};
    use kvass_model::PrometheusLine;
    use serde::Deserialize;
    use serde_json::json;

    use super::{super::access::Access, *};

    /// A pod at which we fall over if it is called so.
    #[derive(Clone, Debug, Deserialize, kube::Resource)]
    #[resource(inherit = v1::Pod)]
    struct Fragile {
        metadata: ObjectMeta,
    }

    impl Watched for Fragile {
        type Entry = ();

        fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
            namespaced(client, namespace)
        }

        fn registry(_pool: &WatchPool) -> &Registry<Self> {
            unreachable!("nobody subscribes")
        }

        #[allow(clippy::panic)]
        fn entry(&self) {
            assert_ne!(self.metadata.name.as_deref(), Some("bad"));
        }
    }

    fn access(server: &str) -> Access {
        let text = format!("scrape_configs: [{{job_name: j, kubernetes_sd_configs: [{{role: pod, api_server: '{server}'}}]}}]");
        let context =
            LoadContext { path: "p.yml".into(), line: PrometheusLine::V3, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
        match &Config::parse(&text, &context).unwrap().jobs()[0].service_discovery[0] {
            SdConfig::Kubernetes(config) => Access::of(config),
            other => unreachable!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_watch_that_breaks_down_says_so_and_goes_on() {
        let bad = Arc::new(AtomicBool::new(true));
        let is_bad = Arc::clone(&bad);
        let answer = async move |RawQuery(query): RawQuery| {
            if query.unwrap_or_default().contains("watch=true") {
                let status = json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "Invalid", "code": 422});
                return (StatusCode::UNPROCESSABLE_ENTITY, Json(status)).into_response();
            }
            let name = if is_bad.load(Ordering::SeqCst) { "bad" } else { "good" };
            let items = [json!({"metadata": {"namespace": "n", "name": name}})];
            Json(json!({"metadata": {"resourceVersion": "1"}, "items": items})).into_response()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let access = access(&format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let store = Arc::new(Store::default());
        let scope = Scope { access, namespace: None, label_selector: String::new(), field_selector: String::new() };
        let follower = Follower::<Fragile>::new(scope, ClientOptions::default(), Arc::clone(&store), Arc::default());
        let _task = crate::manager::Task::spawn(follower.run());
        let until = async |holds: &dyn Fn() -> bool| {
            for _ in 0..1000 {
                if holds() {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
            unreachable!("{:?} {:?}", store.error(), store.keys());
        };
        until(&|| store.error().is_some_and(|error| error.ends_with("broke down, which is a mistake in kvass"))).await;
        assert!(!store.synced());
        bad.store(false, Ordering::SeqCst);
        until(&|| store.keys() == ["n/good"]).await;
    }
}
