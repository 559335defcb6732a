//! The manager against an API server that only pretends: what is sent, in which order.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use kube::Client;
use serde_json::{Value, json};

use super::StatefulSets;
use crate::{options::KubernetesShards, shards::Replica};

#[derive(Default)]
struct Api {
    set: Value,
    pods: Vec<Value>,
    patches: Vec<Value>,
    deleted: Vec<String>,
    /// Claims that cannot be deleted.
    stuck: bool,
}

type Shared = State<Arc<Mutex<Api>>>;

fn manager(api: &Arc<Mutex<Api>>, delete_pvc: bool) -> StatefulSets {
    let sets = "/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}";
    let router = Router::new()
        .route(
            "/apis/apps/v1/statefulsets",
            get(async |State(api): Shared| Json(json!({"metadata": {}, "items": [api.lock().unwrap().set]}))),
        )
        .route(sets, get(async |State(api): Shared| Json(api.lock().unwrap().set.clone())).patch(patch))
        .route(
            "/api/v1/namespaces/{namespace}/pods",
            get(async |State(api): Shared| Json(json!({"metadata": {}, "items": api.lock().unwrap().pods}))),
        )
        .route("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}", delete(delete_claim))
        .with_state(Arc::clone(api));
    let options =
        KubernetesShards { namespace: None, selector: "app.kubernetes.io/name=prometheus".to_owned(), port: 8080, delete_pvc };
    StatefulSets::with_client(Client::new(router, "default"), options)
}

/// A merge patch as the API server applies it, to the members that matter here.
async fn patch(State(api): Shared, Json(patch): Json<Value>) -> Response {
    let mut api = api.lock().unwrap();
    api.patches.push(patch.clone());
    let version = &patch["metadata"]["resourceVersion"];
    if !version.is_null() && *version != api.set["metadata"]["resourceVersion"] {
        let status = json!({"kind": "Status", "status": "Failure", "code": 409, "reason": "Conflict", "message": "modified"});
        return (StatusCode::CONFLICT, Json(status)).into_response();
    }
    if let Some(replicas) = patch["spec"]["replicas"].as_i64() {
        api.set["spec"]["replicas"] = replicas.into();
    }
    for (name, value) in patch["metadata"]["annotations"].as_object().into_iter().flatten() {
        let annotations = api.set["metadata"]["annotations"].as_object_mut().unwrap();
        if value.is_null() {
            annotations.remove(name)
        } else {
            annotations.insert(name.clone(), value.clone())
        };
    }
    Json(api.set.clone()).into_response()
}

async fn delete_claim(State(api): Shared, Path((_, name)): Path<(String, String)>) -> Response {
    let mut api = api.lock().unwrap();
    if api.stuck {
        let status = json!({"kind": "Status", "status": "Failure", "code": 500, "reason": "InternalError", "message": "no"});
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(status)).into_response();
    }
    api.deleted.push(name);
    Json(json!({"kind": "Status", "status": "Success"})).into_response()
}

fn set(replicas: u32) -> Value {
    json!({
        "metadata": {"name": "rep-0", "namespace": "m", "uid": "set-uid", "resourceVersion": "7", "annotations": {}},
        "spec": {"replicas": replicas, "serviceName": "", "selector": {"matchLabels": {"k8s-app": "prometheus"}}, "template": {},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}]},
    })
}

fn pod(ordinal: u32, owner: &str) -> Value {
    json!({
        "metadata": {"name": format!("rep-0-{ordinal}"), "uid": format!("pod-{ordinal}"),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "rep-0", "uid": owner}]},
        "status": {"podIP": format!("10.0.0.{ordinal}"), "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

async fn only(manager: &StatefulSets) -> Replica {
    manager.list().await.unwrap().pop().unwrap()
}

#[tokio::test]
async fn pods_of_another_owner_are_none_of_ours() {
    let pods = vec![pod(0, "set-uid"), pod(1, "another-uid")];
    let api = Arc::new(Mutex::new(Api { set: set(2), pods, ..Api::default() }));
    let replica = only(&manager(&api, true)).await;
    let urls: Vec<Option<&str>> = replica.shards.iter().map(|s| s.url.as_deref()).collect();
    assert_eq!(urls, [Some("http://10.0.0.0:8080"), None]);
}

#[tokio::test]
async fn scaling_is_refused_when_somebody_else_was_faster() {
    let api = Arc::new(Mutex::new(Api { set: set(2), ..Api::default() }));
    let manager = manager(&api, true);
    let replica = only(&manager).await;
    api.lock().unwrap().set["metadata"]["resourceVersion"] = json!("8");
    assert!(manager.set_scale(&replica, 3).await.is_err());
    assert_eq!(api.lock().unwrap().set["spec"]["replicas"], 2);
}

#[tokio::test]
async fn growing_sets_replicas_and_nothing_else() {
    let api = Arc::new(Mutex::new(Api { set: set(2), ..Api::default() }));
    let manager = manager(&api, true);
    manager.set_scale(&only(&manager).await, 4).await.unwrap();
    assert_eq!(api.lock().unwrap().patches, [json!({"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 4}})]);
}

#[tokio::test]
async fn claims_go_after_their_pods_and_only_while_the_wish_stands() {
    let api = Arc::new(Mutex::new(Api { set: set(4), pods: (0..4).map(|i| pod(i, "set-uid")).collect(), ..Api::default() }));
    let manager = manager(&api, true);
    manager.set_scale(&only(&manager).await, 1).await.unwrap();

    // The pods terminate one by one.
    only(&manager).await;
    assert!(api.lock().unwrap().deleted.is_empty());
    api.lock().unwrap().pods.pop();
    only(&manager).await;
    assert_eq!(api.lock().unwrap().deleted, ["data-rep-0-3"]);

    // Before the rest is gone the set grows again: the claim of ordinal 1 is needed.
    api.lock().unwrap().set["spec"]["replicas"] = json!(2);
    api.lock().unwrap().pods.truncate(1);
    api.lock().unwrap().deleted.clear();
    only(&manager).await;
    assert_eq!(api.lock().unwrap().deleted, ["data-rep-0-2", "data-rep-0-3"]);
    assert_eq!(api.lock().unwrap().set["metadata"]["annotations"], json!({}), "nothing is due any more");
}

#[tokio::test]
async fn shrinking_twice_forgets_no_claim() {
    let api = Arc::new(Mutex::new(Api { set: set(4), pods: (0..4).map(|i| pod(i, "set-uid")).collect(), ..Api::default() }));
    let manager = manager(&api, true);
    manager.set_scale(&only(&manager).await, 3).await.unwrap();
    manager.set_scale(&only(&manager).await, 2).await.unwrap();
    api.lock().unwrap().pods.truncate(2);
    only(&manager).await;
    assert_eq!(api.lock().unwrap().deleted, ["data-rep-0-2", "data-rep-0-3"]);
}

#[tokio::test]
async fn a_claim_that_cannot_be_deleted_is_tried_again() {
    let api = Arc::new(Mutex::new(Api { set: set(2), stuck: true, ..Api::default() }));
    let manager = manager(&api, true);
    manager.set_scale(&only(&manager).await, 1).await.unwrap();
    only(&manager).await;
    assert!(api.lock().unwrap().deleted.is_empty());
    api.lock().unwrap().stuck = false;
    only(&manager).await;
    assert_eq!(api.lock().unwrap().deleted, ["data-rep-0-1"]);
}

#[tokio::test]
async fn without_the_flag_claims_stay() {
    let api = Arc::new(Mutex::new(Api { set: set(2), ..Api::default() }));
    let manager = manager(&api, false);
    manager.set_scale(&only(&manager).await, 1).await.unwrap();
    only(&manager).await;
    assert!(api.lock().unwrap().deleted.is_empty());
}
