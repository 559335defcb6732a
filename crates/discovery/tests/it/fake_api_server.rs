//! A Kubernetes API server that can list and watch, lose its history, refuse, and go down.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct ApiServer {
    url: String,
    state: Arc<Mutex<ServerState>>,
    /// Wakes the watches.
    changed: watch::Sender<()>,
}

/// What becomes of watches that are to begin with all objects.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Streams {
    /// They are refused, as by servers without them.
    #[default]
    Refused,
    /// They are told like others, which means nothing of the objects there are.
    NotUnderstood,
    /// They end in the middle.
    Cut,
    Told,
}

#[derive(Default)]
struct ServerState {
    version: usize,
    /// Watches from before this version are refused.
    oldest: usize,
    /// By kind (`pods`), then `<namespace>/<name>` or `<name>`.
    objects: BTreeMap<&'static str, BTreeMap<String, Value>>,
    /// Version, kind, event.
    history: Vec<(usize, &'static str, Value)>,
    /// Watches of an older generation end.
    generation: usize,
    down: bool,
    /// Kinds that nobody may read.
    forbidden: BTreeSet<&'static str>,
    /// Namespaces of which nobody may read anything.
    forbidden_namespaces: BTreeSet<&'static str>,
    /// Longer lists than this come in pages or not at all.
    longest_list: Option<usize>,
    streams: Streams,
    requests: Vec<String>,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = ApiServer {
            url: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
            changed: watch::Sender::new(()),
        };
        let router = Router::new().fallback(serve).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Creates or replaces an object.
    pub(crate) fn put(&self, mut object: Value) {
        self.edit(|state| {
            state.version += 1;
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            let kind = plural(&object);
            let old = state.objects.entry(kind).or_default().insert(key(&object), object.clone());
            let event = if old.is_some() { "MODIFIED" } else { "ADDED" };
            state.history.push((state.version, kind, json!({"type": event, "object": object})));
        });
    }

    pub(crate) fn delete(&self, kind: &'static str, key: &str) {
        self.edit(|state| {
            state.version += 1;
            let mut object = state.objects.get_mut(kind).unwrap().remove(key).unwrap();
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            state.history.push((state.version, kind, json!({"type": "DELETED", "object": object})));
        });
    }

    /// Ends all watches in good order.
    pub(crate) fn end_watches(&self) {
        self.edit(|state| state.generation += 1);
    }

    /// Watches can be resumed from the present version on only.
    pub(crate) fn forget_history(&self) {
        self.edit(|state| {
            state.oldest = state.version;
            state.history.clear();
        });
    }

    /// Has its database put back to when there was but one object of that kind.
    pub(crate) fn set_back(&self, kind: &'static str) {
        self.edit(|state| {
            let objects = state.objects.get_mut(kind).unwrap();
            let first = objects.pop_first().unwrap();
            *objects = [first].into();
            (state.version, state.oldest) = (1, 1);
            state.history.clear();
            state.generation += 1;
        });
    }

    /// Ends all watches and answers 503, or serves again.
    pub(crate) fn set_down(&self, down: bool) {
        self.edit(|state| {
            state.down = down;
            state.generation += 1;
        });
    }

    /// Refuses everything about that kind, or no longer.
    pub(crate) fn forbid(&self, kind: &'static str, forbidden: bool) {
        self.edit(|state| {
            if forbidden {
                state.forbidden.insert(kind)
            } else {
                state.forbidden.remove(kind)
            };
            state.generation += 1;
        });
    }

    /// Refuses everything in that namespace, or no longer.
    pub(crate) fn forbid_namespace(&self, namespace: &'static str, forbidden: bool) {
        self.edit(|state| {
            if forbidden {
                state.forbidden_namespaces.insert(namespace)
            } else {
                state.forbidden_namespaces.remove(namespace)
            };
        });
    }

    /// Fails at lists of more objects that are to be sent at once.
    pub(crate) fn set_longest_list(&self, objects: usize) {
        self.edit(|state| state.longest_list = Some(objects));
    }

    /// What becomes of watches that are to begin with all objects.
    pub(crate) fn set_streams(&self, streams: Streams) {
        self.edit(|state| state.streams = streams);
    }

    /// URIs requested so far.
    pub(crate) fn requests(&self, matching: impl Fn(&str) -> bool) -> Vec<String> {
        self.lock().requests.iter().filter(|uri| matching(uri)).cloned().collect()
    }

    /// How often the objects of that kind were listed in all namespaces.
    pub(crate) fn lists(&self, kind: &str) -> usize {
        let everywhere = |uri: &str| uri.contains(&format!("/v1/{kind}?"));
        self.requests(|uri| everywhere(uri) && !uri.contains("watch=true")).len()
    }

    fn lock(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap()
    }

    fn edit(&self, edit: impl FnOnce(&mut ServerState)) {
        edit(&mut self.lock());
        self.changed.send_replace(());
    }
}

async fn serve(State(server): State<ApiServer>, uri: Uri, headers: HeaderMap) -> Response {
    let mut state = server.lock();
    state.requests.push(uri.to_string());
    if headers.get("authorization").is_none_or(|value| value != "Bearer t0ken") {
        return status(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    if state.down {
        return status(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
    }
    let mut path = uri.path().rsplit('/');
    let Some(kind) = path.next().and_then(|name| PLURALS.iter().find(|(_, plural)| *plural == name)) else {
        return status(StatusCode::NOT_FOUND, "NotFound");
    };
    let kind = kind.1;
    let (parent, grandparent) = (path.next(), path.next());
    let namespace = parent.filter(|_| grandparent == Some("namespaces")).map(str::to_owned);
    if state.forbidden.contains(kind) || namespace.as_deref().is_some_and(|n| state.forbidden_namespaces.contains(n)) {
        return status(StatusCode::FORBIDDEN, &format!("{kind} is forbidden"));
    }
    let query = |name: &str| {
        uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    let at_least = query("resourceVersion").and_then(|version| version.parse::<usize>().ok()).unwrap_or_default();
    if query("resourceVersionMatch").is_some() && at_least > state.version {
        return status(StatusCode::GATEWAY_TIMEOUT, "Timeout: Too large resource version");
    }
    if query("watch").as_deref() == Some("true") {
        let mut from: usize = query("resourceVersion").unwrap().parse().unwrap();
        let (generation, streams) = (state.generation, state.streams);
        let mut first = String::new();
        if query("sendInitialEvents").as_deref() == Some("true") {
            assert_eq!(query("resourceVersionMatch").as_deref(), Some("NotOlderThan"));
            if streams == Streams::Refused {
                return status(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
            }
            let bookmark = |annotations: Value| {
                let metadata = json!({"resourceVersion": state.version.to_string(), "annotations": annotations});
                json!({"type": "BOOKMARK", "object": {"kind": "Pod", "apiVersion": "v1", "metadata": metadata}})
            };
            let within = |object: &&Value| namespace.as_ref().is_none_or(|n| object["metadata"]["namespace"] == *n);
            let objects = state.objects.get(kind).into_iter().flat_map(BTreeMap::values).filter(within);
            let added = |object| format!("{}\n", json!({"type": "ADDED", "object": object}));
            from = state.version;
            first = match streams {
                Streams::NotUnderstood | Streams::Refused => format!("{}\n", bookmark(json!({}))),
                Streams::Cut => objects.take(1).map(added).collect(),
                Streams::Told => {
                    let end = bookmark(json!({"k8s.io/initial-events-end": "true"}));
                    objects.map(added).chain([format!("{end}\n")]).collect()
                }
            };
            if streams == Streams::Cut {
                return first.into_response();
            }
        }
        drop(state);
        return watch_response(server, kind, namespace, from, generation, first);
    }
    let within = |object: &&Value| namespace.as_ref().is_none_or(|n| object["metadata"]["namespace"] == *n);
    let items: Vec<&Value> = state.objects.get(kind).into_iter().flat_map(BTreeMap::values).filter(within).collect();
    let start = query("continue").map_or(0, |token| token.parse().unwrap());
    let end = query("limit").map_or(items.len(), |limit| items.len().min(start + limit.parse::<usize>().unwrap()));
    if state.longest_list.is_some_and(|longest| end - start > longest) {
        return status(StatusCode::GATEWAY_TIMEOUT, "Timeout");
    }
    let next = if end < items.len() { end.to_string() } else { String::new() };
    let metadata = json!({"resourceVersion": state.version.to_string(), "continue": next});
    Json(json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items[start..end]})).into_response()
}

fn watch_response(
    server: ApiServer,
    kind: &'static str,
    namespace: Option<String>,
    from: usize,
    generation: usize,
    first: String,
) -> Response {
    let changed = server.changed.subscribe();
    let lines = stream::unfold((server, changed, from), move |(server, mut changed, from)| {
        let namespace = namespace.clone();
        async move {
            loop {
                let news = {
                    let state = server.lock();
                    if state.generation != generation {
                        return None;
                    }
                    if from < state.oldest || from > state.version && from != usize::MAX {
                        let expired = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
                        Some((format!("{}\n", json!({"type": "ERROR", "object": expired})), usize::MAX))
                    } else {
                        let of_interest =
                            |object: &Value| namespace.as_ref().is_none_or(|n| object["metadata"]["namespace"] == *n);
                        let mut news = state
                            .history
                            .iter()
                            .filter(|(version, k, event)| *version > from && *k == kind && of_interest(&event["object"]));
                        news.next().map(|(version, _, event)| (format!("{event}\n"), *version))
                    }
                };
                match news {
                    Some((line, version)) => return Some((Ok::<_, Infallible>(line), (server, changed, version))),
                    None => changed.changed().await.ok()?,
                }
            }
        }
    });
    let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
    Body::from_stream(first.chain(lines)).into_response()
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": reason});
    (code, Json(body)).into_response()
}

const PLURALS: [(&str, &str); 9] = [
    ("Pod", "pods"),
    ("Node", "nodes"),
    ("Namespace", "namespaces"),
    ("Service", "services"),
    ("Endpoints", "endpoints"),
    ("EndpointSlice", "endpointslices"),
    ("Ingress", "ingresses"),
    ("ReplicaSet", "replicasets"),
    ("Job", "jobs"),
];

fn plural(object: &Value) -> &'static str {
    let kind = object["kind"].as_str().unwrap();
    PLURALS.iter().find(|(name, _)| *name == kind).unwrap_or_else(|| panic!("{kind}")).1
}

fn key(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap();
    object["metadata"]["namespace"].as_str().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// A running pod with one port.
pub(crate) fn pod(namespace: &str, name: &str, ip: &str, node: &str) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "i", "ports": [{"containerPort": 8080, "protocol": "TCP"}]}]},
        "status": {"podIP": ip, "phase": "Running"},
    })
}

pub(crate) fn node(name: &str, zone: &str) -> Value {
    json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "labels": {"zone": zone}}})
}

/// An object of a kind in a namespace, with more members.
pub(crate) fn object(kind: &str, namespace: &str, name: &str, more: Value) -> Value {
    let mut object = json!({"kind": kind, "apiVersion": "v1", "metadata": {"name": name}});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    let Value::Object(more) = more else { panic!("{more}") };
    for (name, value) in more {
        match (&mut object[&name], value) {
            (Value::Object(known), Value::Object(value)) => known.extend(value),
            (known, value) => *known = value,
        }
    }
    object
}

/// Endpoints of pods in the same namespace, all with port 8080.
pub(crate) fn endpoints(namespace: &str, name: &str, pods: &[(&str, &str)]) -> Value {
    let address = |(pod, ip): &(&str, &str)| json!({"ip": ip, "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod}});
    let addresses: Vec<Value> = pods.iter().map(address).collect();
    object("Endpoints", namespace, name, json!({"subsets": [{"addresses": addresses, "ports": [{"port": 8080}]}]}))
}
