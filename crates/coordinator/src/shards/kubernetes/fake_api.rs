//! The manager against an API server that only pretends: what is sent, in which order.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use kube::Client;
use serde_json::{Value, json};

use super::{StatefulSets, wish::NOTE};
use crate::{
    Coordinator, Options, ShardOptions,
    options::KubernetesShards,
    shards::{Announcement, Listing, Repeat, Replica, ShardManager},
};

#[derive(Default)]
struct Api {
    set: Value,
    pods: Vec<Value>,
    patches: Vec<Value>,
    deleted: Vec<String>,
    /// Claims that cannot be deleted.
    stuck: bool,
    /// The list of StatefulSets is not answered.
    hangs: bool,
    /// The list of pods is refused.
    no_pods: bool,
    /// Events may not be created.
    no_events: bool,
    reviews: usize,
    events: Vec<Value>,
}

type Shared = State<Arc<Mutex<Api>>>;

fn manager(api: &Arc<Mutex<Api>>, delete_pvc: bool) -> StatefulSets {
    let sets = "/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}";
    let router = Router::new()
        .route("/apis/apps/v1/statefulsets", get(list_sets))
        .route(sets, get(async |State(api): Shared| Json(api.lock().unwrap().set.clone())).patch(patch))
        .route("/api/v1/namespaces/{namespace}/pods", get(list_pods))
        .route("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}", delete(delete_claim))
        .route("/apis/events.k8s.io/v1/namespaces/{namespace}/events", post(create_event))
        .route("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", post(review))
        .with_state(Arc::clone(api));
    let options =
        KubernetesShards { namespace: None, selector: "app.kubernetes.io/name=prometheus".to_owned(), port: 8080, delete_pvc };
    StatefulSets::with_client(Client::new(router, "default"), options)
}

fn failure(code: StatusCode, reason: &str) -> Response {
    let status = json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": reason});
    (code, Json(status)).into_response()
}

async fn list_sets(State(api): Shared) -> Response {
    // Answers late rather than never, as an overloaded server does.
    while api.lock().unwrap().hangs {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Json(json!({"metadata": {}, "items": [api.lock().unwrap().set]})).into_response()
}

async fn list_pods(State(api): Shared) -> Response {
    let api = api.lock().unwrap();
    if api.no_pods {
        return failure(StatusCode::FORBIDDEN, "Forbidden");
    }
    Json(json!({"metadata": {}, "items": api.pods})).into_response()
}

async fn review(State(api): Shared, Json(mut review): Json<Value>) -> Json<Value> {
    let mut api = api.lock().unwrap();
    api.reviews += 1;
    let asked = &review["spec"]["resourceAttributes"];
    assert_eq!(
        (&asked["group"], &asked["resource"], &asked["verb"]),
        (&json!("events.k8s.io"), &json!("events"), &json!("create"))
    );
    review["status"] = json!({"allowed": !api.no_events});
    Json(review)
}

async fn create_event(State(api): Shared, Json(event): Json<Value>) -> Json<Value> {
    api.lock().unwrap().events.push(event.clone());
    Json(event)
}

/// A merge patch as the API server applies it, to the members that matter here.
async fn patch(State(api): Shared, Json(patch): Json<Value>) -> Response {
    let mut api = api.lock().unwrap();
    api.patches.push(patch.clone());
    let version = &patch["metadata"]["resourceVersion"];
    if !version.is_null() && *version != api.set["metadata"]["resourceVersion"] {
        return failure(StatusCode::CONFLICT, "Conflict");
    }
    let version: u64 = api.set["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    api.set["metadata"]["resourceVersion"] = json!((version + 1).to_string());
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
        return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    }
    api.deleted.push(name);
    Json(json!({"kind": "Status", "status": "Success"})).into_response()
}

fn set(replicas: u32) -> Value {
    json!({
        "metadata": {"name": "rep-0", "namespace": "m", "uid": "set-uid", "resourceVersion": "7",
            "annotations": {NOTE: replicas.to_string()}},
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

fn running(replicas: u32) -> Arc<Mutex<Api>> {
    let pods = (0..replicas).map(|ordinal| pod(ordinal, "set-uid")).collect();
    Arc::new(Mutex::new(Api { set: set(replicas), pods, ..Api::default() }))
}

/// What a cycle does first.
async fn only(manager: &StatefulSets) -> Replica {
    let mut replica = listed(manager).await.replicas.pop().unwrap();
    manager.tend().await;
    replica.shards.truncate(usize::try_from(replica.scale).unwrap());
    replica
}

async fn listed(manager: &StatefulSets) -> Listing {
    manager.list().await.unwrap()
}

/// `spec.replicas` and what is noted.
fn state(api: &Arc<Mutex<Api>>) -> (Value, Value) {
    let api = api.lock().unwrap();
    (api.set["spec"]["replicas"].clone(), api.set["metadata"]["annotations"].clone())
}

/// Somebody else changes the object.
fn change(api: &Arc<Mutex<Api>>, change: impl FnOnce(&mut Value)) {
    let set = &mut api.lock().unwrap().set;
    let version: u64 = set["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    set["metadata"]["resourceVersion"] = json!((version + 1).to_string());
    change(set);
}

/// As `kubectl scale` does.
fn scale_by_hand(api: &Arc<Mutex<Api>>, replicas: u32) {
    change(api, |set| {
        set["spec"]["replicas"] = replicas.into();
        set["metadata"]["managedFields"] = json!([{"manager": "kubectl", "operation": "Update", "subresource": "scale",
            "time": "2026-01-01T10:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
    });
}

async fn events(api: &Arc<Mutex<Api>>, number: usize) -> Vec<Value> {
    for _ in 0..500 {
        if api.lock().unwrap().events.len() >= number {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    // One too many would come now.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    api.lock().unwrap().events.clone()
}

#[tokio::test]
async fn pods_of_another_owner_are_none_of_ours() {
    let api = running(1);
    api.lock().unwrap().set = set(2);
    api.lock().unwrap().pods.push(pod(1, "another-uid"));
    let replica = only(&manager(&api, true)).await;
    let urls: Vec<Option<&str>> = replica.shards.iter().map(|s| s.url.as_deref()).collect();
    assert_eq!(urls, [Some("http://10.0.0.0:8080"), None]);
}

#[tokio::test]
async fn scaling_is_refused_when_somebody_else_was_faster() {
    let api = running(2);
    let manager = manager(&api, true);
    let replica = only(&manager).await;
    change(&api, |_| {});
    assert!(manager.set_scale(&replica, 3).await.is_err());
    assert_eq!(state(&api), (json!(2), json!({NOTE: "2"})));
    manager.set_scale(&only(&manager).await, 3).await.unwrap();
    assert_eq!(state(&api), (json!(3), json!({NOTE: "3"})));
}

#[tokio::test]
async fn growing_sets_replicas_and_the_note_and_nothing_else() {
    let api = running(2);
    let manager = manager(&api, true);
    manager.set_scale(&only(&manager).await, 4).await.unwrap();
    let expected = json!({"metadata": {"resourceVersion": "7", "annotations": {NOTE: "4"}}, "spec": {"replicas": 4}});
    assert_eq!(api.lock().unwrap().patches, [expected]);
}

#[tokio::test]
async fn claims_go_after_their_pods_and_only_while_the_wish_stands() {
    let api = running(4);
    let manager = manager(&api, true);
    manager.set_scale(&only(&manager).await, 1).await.unwrap();

    // The pods terminate one by one.
    only(&manager).await;
    assert!(api.lock().unwrap().deleted.is_empty());
    api.lock().unwrap().pods.pop();
    only(&manager).await;
    assert_eq!(api.lock().unwrap().deleted, ["data-rep-0-3"]);

    // Before the rest is gone the set grows again: the claim of ordinal 1 is needed.
    scale_by_hand(&api, 2);
    api.lock().unwrap().pods.truncate(1);
    api.lock().unwrap().deleted.clear();
    only(&manager).await;
    only(&manager).await;
    assert_eq!(api.lock().unwrap().deleted, ["data-rep-0-2"], "that of ordinal 3 is not due any more");
    assert_eq!(state(&api), (json!(2), json!({NOTE: "2"})), "nothing is due any more");
}

#[tokio::test]
async fn a_claim_that_is_due_is_so_no_more_once_its_shard_is_wished_again() {
    let api = running(4);
    let manager = manager(&api, true);
    manager.set_scale(&only(&manager).await, 1).await.unwrap();
    manager.set_scale(&only(&manager).await, 3).await.unwrap();
    assert_eq!(state(&api).1, json!({NOTE: "3", "kvass.io/delete-claims": "3-3"}));
    // A pod that is away for a moment does not cost its claim, and neither does a reset.
    api.lock().unwrap().pods.truncate(1);
    scale_by_hand(&api, 0);
    only(&manager).await;
    only(&manager).await;
    assert_eq!(api.lock().unwrap().deleted, ["data-rep-0-3"]);
    assert_eq!(state(&api), (json!(3), json!({NOTE: "3"})));
}

#[tokio::test]
async fn shrinking_twice_forgets_no_claim() {
    let api = running(4);
    let manager = manager(&api, true);
    manager.set_scale(&only(&manager).await, 3).await.unwrap();
    manager.set_scale(&only(&manager).await, 2).await.unwrap();
    api.lock().unwrap().pods.truncate(2);
    only(&manager).await;
    assert_eq!(api.lock().unwrap().deleted, ["data-rep-0-3", "data-rep-0-2"]);
}

#[tokio::test]
async fn the_claims_of_very_many_shards_go_in_parts() {
    let api = running(1);
    api.lock().unwrap().set = set(51);
    let manager = manager(&api, true);
    manager.set_scale(&only(&manager).await, 1).await.unwrap();
    // Enough for an API server that is slow: what one cycle did must not be all it gets to in the next.
    for (cycle, due) in [Some("1-30"), Some("1-10"), None].into_iter().enumerate() {
        only(&manager).await;
        let noted = state(&api).1["kvass.io/delete-claims"].clone();
        assert_eq!((noted.as_str(), api.lock().unwrap().deleted.len()), (due, (20 * (cycle + 1)).min(50)));
    }
    let expected: Vec<String> = (1..=50).rev().map(|number| format!("data-rep-0-{number}")).collect();
    assert_eq!(api.lock().unwrap().deleted, expected);
}

#[tokio::test]
async fn a_claim_that_cannot_be_deleted_is_tried_again() {
    let api = running(1);
    api.lock().unwrap().set = set(2);
    api.lock().unwrap().stuck = true;
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
    let api = running(1);
    api.lock().unwrap().set = set(2);
    let manager = manager(&api, false);
    manager.set_scale(&only(&manager).await, 1).await.unwrap();
    only(&manager).await;
    assert!(api.lock().unwrap().deleted.is_empty());
}

#[tokio::test]
async fn claims_of_a_set_that_was_created_anew_are_not_touched() {
    let api = running(2);
    let manager = manager(&api, true);
    manager.set_scale(&only(&manager).await, 1).await.unwrap();
    api.lock().unwrap().pods.truncate(1);
    listed(&manager).await;
    // Between the list and the deletion.
    change(&api, |set| set["metadata"]["uid"] = json!("another"));
    manager.tend().await;
    assert!(api.lock().unwrap().deleted.is_empty());
}

#[tokio::test]
async fn the_number_found_first_is_noted() {
    let api = running(2);
    change(&api, |set| set["metadata"]["annotations"] = json!({}));
    let manager = manager(&api, true);
    assert_eq!(only(&manager).await.scale, 2);
    only(&manager).await;
    assert_eq!(state(&api), (json!(2), json!({NOTE: "2"})));
    assert_eq!(api.lock().unwrap().patches.len(), 1, "once");
    // As applying a manifest with another number of replicas than ours.
    change(&api, |set| set["spec"]["replicas"] = json!(5));
    assert_eq!(only(&manager).await.scale, 5);
    assert_eq!(state(&api), (json!(5), json!({NOTE: "5"})), "more is a wish");
}

#[tokio::test]
async fn replicas_set_back_are_put_back_and_told() {
    let api = running(3);
    let manager = manager(&api, true);
    only(&manager).await;
    scale_by_hand(&api, 0);
    for pod in &mut api.lock().unwrap().pods {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T10:00:00Z");
    }

    let replica = listed(&manager).await.replicas.pop().unwrap();
    assert_eq!((replica.scale, replica.shards.len()), (3, 3), "planned with what is wished");
    assert!(replica.shards.iter().all(|shard| shard.url.is_none() && shard.absent == Some("its pod is terminating")));
    assert_eq!(replica.notes, ["replicas were set from 3 to 0 by kubectl at 2026-01-01T10:00:00Z"]);
    let [correction] = manager.tend().await.try_into().unwrap();
    assert_eq!((correction.from, correction.to, correction.by.as_str()), (0, 3, "kubectl at 2026-01-01T10:00:00Z"));
    assert_eq!(state(&api), (json!(3), json!({NOTE: "3"})));
    assert!(api.lock().unwrap().deleted.is_empty());
    // Scaling in the same cycle does not stumble over our own change.
    manager.set_scale(&replica, 4).await.unwrap();
    assert_eq!(state(&api), (json!(4), json!({NOTE: "4"})));

    let event = events(&api, 1).await.pop().unwrap();
    assert_eq!(
        (&event["reason"], &event["type"], &event["regarding"]["name"]),
        (&json!("ReplicasReset"), &json!("Warning"), &json!("rep-0"))
    );
    assert_eq!(
        event["note"],
        "put back from 0 to 3: set by kubectl at 2026-01-01T10:00:00Z; shards become fewer only after they are drained"
    );
}

#[tokio::test]
async fn a_tool_that_sets_replicas_back_again_and_again_is_told_of_once() {
    let api = running(3);
    let manager = manager(&api, true);
    for _ in 0..3 {
        scale_by_hand(&api, 1);
        only(&manager).await;
        assert_eq!(state(&api).0, 3);
    }
    assert_eq!(events(&api, 1).await.len(), 1);
}

#[tokio::test]
async fn putting_back_waits_for_the_next_list_when_somebody_is_faster() {
    let api = running(3);
    let manager = manager(&api, true);
    only(&manager).await;
    scale_by_hand(&api, 0);
    listed(&manager).await;
    scale_by_hand(&api, 1);
    assert!(manager.tend().await.is_empty());
    assert_eq!(state(&api).0, 1);
    assert_eq!(only(&manager).await.scale, 3);
    assert_eq!(state(&api).0, 3);
}

#[tokio::test]
async fn a_note_lost_with_a_replaced_object_is_remembered_but_not_for_another_one() {
    let api = running(3);
    let manager = manager(&api, true);
    only(&manager).await;
    // As `kubectl replace` does.
    let replace = |set: &mut Value| {
        set["spec"]["replicas"] = json!(1);
        set["metadata"]["annotations"] = json!({});
    };
    change(&api, replace);
    assert_eq!(only(&manager).await.scale, 3);
    assert_eq!(state(&api), (json!(3), json!({NOTE: "3"})));

    change(&api, |set| {
        replace(set);
        set["metadata"]["uid"] = json!("another");
    });
    let replica = only(&manager).await;
    assert_eq!((replica.scale, replica.incarnation.as_str()), (1, "another"), "deleted and created: nothing of before counts");
    assert_eq!(state(&api), (json!(1), json!({NOTE: "1"})));
}

#[tokio::test]
async fn a_set_of_the_prometheus_operator_is_served_but_never_written() {
    let api = running(2);
    change(&api, |set| {
        set["metadata"]["annotations"] = json!({});
        set["metadata"]["ownerReferences"] = json!([{"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "name": "k8s", "uid": "u", "controller": true}]);
    });
    let manager = manager(&api, true);
    let replica = only(&manager).await;
    assert!(!replica.scalable);
    assert_eq!(replica.shards[1].url.as_deref(), Some("http://10.0.0.1:8080"));
    assert!(replica.notes[0].contains("Prometheus k8s of the Prometheus Operator"), "{:?}", replica.notes);
    only(&manager).await;
    let events = events(&api, 1).await;
    assert_eq!((events.len(), &events[0]["reason"]), (1, &json!("NotScaled")), "told once");
    assert!(api.lock().unwrap().patches.is_empty());
}

#[tokio::test]
async fn a_policy_that_deletes_claims_when_scaled_is_warned_of() {
    let api = running(1);
    change(&api, |set| {
        set["spec"]["persistentVolumeClaimRetentionPolicy"] = json!({"whenScaled": "Delete", "whenDeleted": "Retain"})
    });
    let manager = manager(&api, true);
    only(&manager).await;
    let replica = only(&manager).await;
    assert!(replica.scalable && replica.notes[0].contains("whenScaled is Delete"), "{:?}", replica.notes);
    let events = events(&api, 1).await;
    assert_eq!((events.len(), &events[0]["reason"]), (1, &json!("ClaimsDeletedWhenScaled")));
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_is_away_the_last_list_is_in_force() {
    let api = running(2);
    let manager = manager(&api, true);
    let before = only(&manager).await;
    api.lock().unwrap().hangs = true;
    let start = tokio::time::Instant::now();
    let listing = listed(&manager).await;
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(listing.replicas, [Replica { stale: true, ..before.clone() }]);
    let text = listing.stale.unwrap().to_string();
    assert!(text.contains("the last list is in force and nothing is scaled") && text.contains("no answer"), "{text}");

    // From then on nobody waits for it, and nothing is written.
    scale_by_hand(&api, 0);
    let start = tokio::time::Instant::now();
    only(&manager).await;
    assert!(start.elapsed().as_millis() < 300, "{:?}", start.elapsed());
    assert_eq!(state(&api).0, 0);

    api.lock().unwrap().hangs = false;
    let listing = listed(&manager).await;
    assert_eq!(listing.stale, None, "the answer to the request that was waiting is taken");
    manager.tend().await;
    assert_eq!(state(&api).0, 2);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_never_answered_is_an_error() {
    let api = running(2);
    api.lock().unwrap().hangs = true;
    let manager = manager(&api, true);
    assert!(manager.list().await.unwrap_err().to_string().contains("no answer from the API server within 3s"));
    api.lock().unwrap().hangs = false;
    assert_eq!(listed(&manager).await.replicas.len(), 1);
}

#[tokio::test]
async fn a_replica_whose_pods_cannot_be_listed_is_not_forgotten() {
    let api = running(2);
    let manager = manager(&api, true);
    let before = only(&manager).await;
    api.lock().unwrap().no_pods = true;
    assert_eq!(listed(&manager).await.replicas, [Replica { stale: true, ..before.clone() }]);
    api.lock().unwrap().no_pods = false;
    assert_eq!(listed(&manager).await.replicas, [before]);
}

fn scaled(text: &str) -> Announcement {
    Announcement { warning: false, reason: "Scaled", action: "Scale", text: text.to_owned(), repeat: Repeat::Always }
}

#[tokio::test]
async fn each_scaling_is_an_event_of_its_own() {
    let api = running(2);
    let manager = manager(&api, true);
    only(&manager).await;
    manager.announce("m/rep-0", scaled("from 2 to 3")).await;
    manager.announce("m/rep-0", scaled("from 3 to 4")).await;
    manager.announce("m/other", scaled("nobody")).await;
    let events = events(&api, 2).await;
    let notes: Vec<&str> = events.iter().map(|event| event["note"].as_str().unwrap()).collect();
    assert_eq!(notes, ["from 2 to 3", "from 3 to 4"]);
    assert_eq!(events[0]["regarding"]["uid"], "set-uid");
    assert_eq!(api.lock().unwrap().reviews, 1, "permission is asked for once");
}

#[tokio::test]
async fn without_permission_there_are_no_events_and_no_attempts() {
    let api = running(2);
    api.lock().unwrap().no_events = true;
    let manager = manager(&api, true);
    only(&manager).await;
    for text in ["from 2 to 3", "from 3 to 4"] {
        manager.announce("m/rep-0", scaled(text)).await;
        assert!(events(&api, 0).await.is_empty());
    }
    assert_eq!(api.lock().unwrap().reviews, 1);
}

/// A coordinator that discovers from a file and doubts every loss.
fn doubting(dir: &std::path::Path) -> Options {
    let second = std::time::Duration::from_secs(1);
    std::fs::write(dir.join("shards.yml"), "replicas: []").unwrap();
    Options {
        config_file: dir.join("prometheus.yml"),
        store_path: None,
        web_address: "127.0.0.1:0".to_owned(),
        interval: second / 20,
        sd_init_timeout: second,
        shards: ShardOptions::Static(dir.join("shards.yml")),
        limits: kvass_plan::Limits::default(),
        unavailable_grace: second,
        explore_concurrency: 1,
        scrape_keep_alive: true,
        discovery_keep_alive: true,
        delegate: None,
        max_loss: kvass_discovery::MaxLoss::percent(0),
        http2: true,
        scrape_proxy: None,
        body_size_limit: 1 << 20,
        inject: kvass_config::InjectOptions::default(),
        leader_election: None,
        prometheus_line: Some(kvass_model::PrometheusLine::V3),
    }
}

#[tokio::test]
async fn targets_that_are_held_are_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join("new"), text).unwrap();
        std::fs::rename(dir.path().join("new"), dir.path().join(name)).unwrap();
    };
    let targets: Vec<String> = (0..20).map(|n| format!("127.0.0.1:{}", n + 1)).collect();
    write("t.json", &json!([{ "targets": targets }]).to_string());
    write("prometheus.yml", "scrape_configs:\n- job_name: j\n  file_sd_configs: [{files: [t.json]}]\n");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut coordinator = Coordinator::build(doubting(dir.path())).await.unwrap();
    let api = running(0);
    coordinator.manager = ShardManager::Kubernetes(manager(&api, true));
    let url = format!("http://{}", coordinator.address().unwrap());
    let _running = tokio::spawn(coordinator.run(std::future::pending()));
    let until = async |held: Value| {
        let mut seen = Value::Null;
        for _ in 0..1000 {
            let status = reqwest::get(format!("{url}/api/v1/coordinator/status")).await.unwrap();
            seen = status.json::<Value>().await.unwrap()["data"]["jobs"][0].take();
            if (&seen["active"], &seen["held"]) == (&json!(20), &held) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{seen}");
    };
    until(json!([])).await;
    write("t.json", "[]");
    let text = "file_sd_configs: 20 of 20 targets are missing, they stay until a further read misses them, too";
    until(json!([text])).await;

    let told = || -> Vec<Value> {
        let events = api.lock().unwrap().events.clone();
        events.into_iter().filter(|event| event["reason"] == "TargetsHeld").collect()
    };
    for _ in 0..1000 {
        if !told().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Many cycles later it was told once.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let told = told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["type"], &told[0]["action"], &told[0]["note"], &told[0]["regarding"]["uid"]),
        (&json!("Warning"), &json!("Discover"), &json!(format!("job j: {text}")), &json!("set-uid"))
    );
}
