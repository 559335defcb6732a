//! The runs of the original on an API server, with the command lines it had: how many shards there are, who holds what,
//! and what is asked of the API server. The API server, the shards and the exporter are played by the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};

use super::{
    assert_differences,
    support::{eventually, world, write},
};

/// As many as the original ever made.
const SHARDS: u8 = 9;

/// Everything the test plays.
#[derive(Default)]
struct Scene {
    set: Value,
    config: String,
    shards: BTreeMap<u8, Shard>,
    /// Of the API server, as `METHOD path?query`.
    requests: BTreeSet<String>,
    /// Numbers of replicas set, and claims deleted, in this phase.
    scalings: Vec<Value>,
    claims_deleted: Vec<String>,
    config_pushed: bool,
    /// Pods that are not there although their number is set.
    evicted: BTreeSet<u8>,
    /// Shards that answer 503.
    failing: BTreeSet<u8>,
}

#[derive(Default)]
struct Shard {
    targets: BTreeMap<u64, Value>,
    reads: u64,
    idle_since: Option<String>,
    /// Of this phase.
    posts: Vec<Value>,
}

type Shared = Arc<Mutex<Scene>>;

impl Scene {
    fn replicas(&self) -> u8 {
        u8::try_from(self.set["spec"]["replicas"].as_u64().unwrap()).unwrap()
    }

    /// Number of targets of every shard, up to the last one that has any.
    fn holds(&self) -> Vec<usize> {
        let of = |ordinal: u8| self.shards.get(&ordinal).map_or(0, |shard| shard.targets.len());
        let used = (0..self.replicas()).rev().find(|ordinal| of(*ordinal) > 0).map_or(0, |last| last + 1);
        (0..used).map(of).collect()
    }

    fn in_transfer(&self) -> bool {
        self.shards.values().flat_map(|shard| shard.targets.values()).any(|target| target["TargetState"] != "")
    }

    /// What every shard was sent in this phase, as numbers of targets.
    fn posts(&self) -> Value {
        let of = |shard: &Shard| {
            let posts = shard.posts.iter().map(|body| {
                let targets: Vec<&Value> =
                    body["Targets"].as_object().unwrap().values().flat_map(|list| list.as_array().unwrap()).collect();
                let leaving = targets.iter().filter(|target| target["TargetState"] == "in_transfer").count();
                let staying = targets.len() - leaving;
                if leaving == 0 { staying.to_string() } else { format!("{staying} and {leaving} in transfer") }
            });
            posts.collect::<Vec<_>>()
        };
        let posts = self.shards.iter().map(|(ordinal, shard)| (ordinal.to_string(), of(shard)));
        json!(posts.filter(|(_, posts)| !posts.is_empty()).collect::<BTreeMap<_, _>>())
    }
}

/// Answers of the API server.
async fn api(State(scene): State<Shared>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut scene = scene.lock().unwrap();
    let request = format!("{method} {uri}");
    scene.requests.insert(request.clone());
    let path = uri.path();
    if path.ends_with("/selfsubjectaccessreviews") {
        let mut review: Value = serde_json::from_slice(&body).unwrap();
        // The role of the original's manifests has no events.
        review["status"] = json!({"allowed": false});
        return Json(review).into_response();
    }
    if path.ends_with("/pods") {
        let there = (0..scene.replicas()).filter(|ordinal| !scene.evicted.contains(ordinal));
        let pods: Vec<Value> = there.map(|ordinal| pod(&scene.set, ordinal)).collect();
        return Json(json!({"metadata": {}, "items": pods})).into_response();
    }
    if path.ends_with("/statefulsets") {
        return Json(json!({"metadata": {}, "items": [scene.set]})).into_response();
    }
    if let Some((_, claim)) = path.split_once("/persistentvolumeclaims/") {
        assert_eq!(method, Method::DELETE);
        scene.claims_deleted.push(claim.to_owned());
        return Json(json!({"kind": "Status", "status": "Success"})).into_response();
    }
    if path.ends_with("/statefulsets/prometheus-rep-0") {
        if method == Method::PATCH {
            let patch: Value = serde_json::from_slice(&body).unwrap();
            merge(&mut scene.set, &patch);
            if let Some(replicas) = patch["spec"].get("replicas") {
                scene.scalings.push(replicas.clone());
                scene.set["status"]["replicas"] = replicas.clone();
                let replicas = scene.replicas();
                for (_, shard) in scene.shards.range_mut(replicas..) {
                    *shard = Shard { posts: std::mem::take(&mut shard.posts), ..Shard::default() };
                }
            }
        }
        return Json(scene.set.clone()).into_response();
    }
    let status = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": request});
    (StatusCode::NOT_FOUND, Json(status)).into_response()
}

/// A merge patch.
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let object = value.as_object_mut().unwrap();
    for (name, member) in members {
        if member.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), member);
        }
    }
}

fn address(ordinal: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 10 + ordinal)
}

fn pod(set: &Value, ordinal: u8) -> Value {
    json!({
        "metadata": {"name": format!("prometheus-rep-0-{ordinal}"), "namespace": "default", "uid": format!("pod-{ordinal}"),
            "labels": set["spec"]["selector"]["matchLabels"],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "prometheus-rep-0", "uid": set["metadata"]["uid"]}]},
        "status": {"podIP": address(ordinal), "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// Answers of a shard that scrapes whatever it is given.
async fn shard(State((scene, ordinal)): State<(Shared, u8)>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    let mut scene = scene.lock().unwrap();
    if scene.failing.contains(&ordinal) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let config = scene.config.clone();
    let shard = scene.shards.entry(ordinal).or_default();
    let now = jiff::Timestamp::now().to_string();
    let success = |data: Value| Json(json!({"status": "success", "data": data})).into_response();
    match (head.method.as_str(), head.uri.path().trim_end_matches('/')) {
        ("GET", "/api/v1/shard/targets/status") => {
            shard.reads += 1;
            let status = |target: &Value| {
                json!({"lastError": "", "lastScrape": now, "lastScrapeDuration": 0.01, "health": "up", "series": target["series"],
                    "totalSeries": target["totalSeries"], "TargetState": target["TargetState"], "ScrapeTimes": shard.reads, "shards": null})
            };
            success(shard.targets.iter().map(|(hash, target)| (hash.to_string(), status(target))).collect())
        }
        ("GET", "/api/v1/shard/runtimeinfo") => {
            let sum = |name: &str| shard.targets.values().map(|target| target[name].as_u64().unwrap()).sum::<u64>();
            let hash = kvass_config::hash_of_text(&config).unwrap().to_string();
            let mut info = json!({"headSeries": sum("series"), "processSeries": sum("totalSeries"), "ConfigHash": hash});
            if shard.targets.is_empty() {
                info["IdleStartAt"] = json!(shard.idle_since.get_or_insert(now));
            }
            success(info)
        }
        ("POST", "/api/v1/shard/targets") => {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let lists = body["Targets"].as_object().unwrap().values();
            shard.targets = lists
                .flat_map(|list| list.as_array().unwrap())
                .map(|target| (target["hash"].as_u64().unwrap(), target.clone()))
                .collect();
            (shard.reads, shard.idle_since) = (0, None);
            shard.posts.push(body);
            Json(json!({"status": "success"})).into_response()
        }
        ("GET", "/api/v1/shard/targets/assigned") => {
            success(json!({"Targets": {"j": shard.targets.values().collect::<Vec<_>>()}}))
        }
        (_, "/api/v1/status/extra_config") => success(json!({"json": "{\"stopScrapeReason\":\"\"}"})),
        ("POST", "/api/v1/status/config") => {
            scene.config_pushed = true;
            Json(json!({"status": "success"})).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// All exporters, reached as a proxy; `/s/NUMBER/i/NAME` has that many series.
async fn exporter(uri: Uri) -> String {
    let series: usize = uri.path().split('/').nth(2).unwrap().parse().unwrap();
    (0..series).map(|index| format!("m{{i=\"{index}\"}} 1\n")).collect()
}

async fn serve(listener: TcpListener, router: Router) {
    axum::serve(listener, router).await.unwrap();
}

/// A port that is free at the addresses of all shards.
async fn start_shards(scene: &Shared) -> u16 {
    'port: loop {
        let first = TcpListener::bind((address(0), 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut listeners = vec![first];
        for ordinal in 1..SHARDS {
            let Ok(listener) = TcpListener::bind((address(ordinal), port)).await else { continue 'port };
            listeners.push(listener);
        }
        for (ordinal, listener) in (0..).zip(listeners) {
            tokio::spawn(serve(listener, Router::new().fallback(shard).with_state((Arc::clone(scene), ordinal))));
        }
        return port;
    }
}

async fn start_router(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(listener, router));
    address
}

/// What the test plays, and the coordinator in it.
struct Stage {
    dir: tempfile::TempDir,
    scene: Shared,
    port: u16,
    exporter: String,
    coordinator: Option<tokio::process::Child>,
}

impl Stage {
    async fn set(recorded: &Value) -> Stage {
        let dir = world();
        let config =
            format!("scrape_configs:\n- job_name: j\n  file_sd_configs: [{{files: [\"{}/sd.json\"]}}]\n", dir.path().display());
        write(&dir.path().join("prometheus.yml"), &config);
        let scene = Shared::new(Mutex::new(Scene { set: recorded["statefulset"].clone(), config, ..Scene::default() }));
        let server = start_router(Router::new().fallback(api).with_state(Arc::clone(&scene))).await;
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{server}")}}], "users": [{"name": "u", "user": {}}]});
        write(&dir.path().join("kubeconfig"), &kubeconfig.to_string());
        let port = start_shards(&scene).await;
        let exporter = start_router(Router::new().route("/s/{series}/i/{name}", get(exporter))).await;
        Stage { dir, scene, port, exporter, coordinator: None }
    }

    fn targets(&self, targets: &Value) {
        let group = |(index, series): (&String, &Value)| json!({"targets": ["127.0.0.1:9283"], "labels": {"idx": index, "__metrics_path__": format!("/s/{series}/i/{index}")}});
        let groups: Vec<Value> = targets.as_object().unwrap().iter().map(group).collect();
        write(&self.dir.path().join("sd.json"), &json!(groups).to_string());
    }

    async fn start(&mut self, flags: &Value) {
        if let Some(mut before) = self.coordinator.take() {
            before.kill().await.unwrap();
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_kvass")));
        command.args(["coordinator", "--shard.namespace=default", "--coordinator.interval=1s", "--web.address=127.0.0.1:0"]);
        command
            .arg(format!("--shard.port={}", self.port))
            .args(flags.as_array().unwrap().iter().map(|flag| flag.as_str().unwrap()));
        command.env_remove("KUBERNETES_SERVICE_HOST").env("KUBECONFIG", self.dir.path().join("kubeconfig"));
        // So that targets can have the addresses they had then.
        command.env("SCRAPE_PROXY", format!("http://{}", self.exporter));
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stderr(log).kill_on_drop(true);
        self.coordinator = Some(command.spawn().unwrap());
    }

    fn begin_phase(&self) {
        let mut scene = self.scene.lock().unwrap();
        scene.scalings.clear();
        scene.claims_deleted.clear();
        scene.shards.values_mut().for_each(|shard| shard.posts.clear());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Does what is recorded; what ours did otherwise, by number of the phase.
    async fn tell(&mut self, phases: &Value, differences: &[(usize, Value)]) {
        let mut wrong = Vec::new();
        for (number, recorded) in phases.as_array().unwrap().iter().enumerate() {
            self.begin_phase();
            self.targets(&recorded["targets"]);
            if let Some(flags) = recorded.get("flags") {
                self.start(flags).await;
            }
            // The number may be reached in steps, as targets are measured.
            let mut expected = recorded.clone();
            expected["replicas"] = recorded["replicas"].as_array().unwrap().last().cloned().unwrap_or_default();
            for (_, different) in differences.iter().filter(|(of, _)| *of == number) {
                let before = expected.clone();
                merge(&mut expected, different);
                assert_ne!(before, expected, "{number}: no longer different");
            }
            let told = |scene: &Scene| json!({"replicas": scene.scalings.last(), "claims_deleted": scene.claims_deleted, "holds": scene.holds(), "posts": scene.posts()});
            let wanted = |told: &Value| ["replicas", "claims_deleted", "holds"].iter().all(|name| told[name] == expected[name]);
            let start = std::time::Instant::now();
            while start.elapsed().as_secs() < 30 {
                let there = {
                    let scene = self.scene.lock().unwrap();
                    wanted(&told(&scene)) && !scene.in_transfer()
                };
                if there {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            // It stays that way.
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            let told = told(&self.scene.lock().unwrap());
            if !wanted(&told) || expected.get("posts").is_some_and(|posts| told["posts"] != *posts) {
                wrong.push(format!("phase {number} ends as {told} instead of {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}\n{}", self.log());
    }
}

fn recorded() -> Value {
    serde_json::from_str(include_str!("../data/kubernetes-runs.json")).unwrap()
}

/// The demonstration: six targets of 10,045 series, at most 30,000 a shard; one more comes and goes, the coordinator is
/// restarted.
#[tokio::test(flavor = "multi_thread")]
async fn scaling_up_and_a_restart() {
    let recorded = recorded();
    let mut stage = Stage::set(&recorded).await;
    stage.tell(&recorded["runs"]["k8s"], &[]).await;
}

/// Relief, scaling down, and targets moved because another limit is given.
#[tokio::test(flavor = "multi_thread")]
async fn targets_are_handed_over_as_the_original_did() {
    let recorded = recorded();
    let mut stage = Stage::set(&recorded).await;
    let different = [
        // A target as large as the limit fitted nowhere, and each cycle made shards for it. It gets one of its own.
        (3, json!({"replicas": 5, "holds": [1, 1, 1, 1, 1], "posts": null})),
        // Two shards stay in any case, so the second is not emptied.
        (4, json!({"holds": [4, 1], "posts": null})),
    ];
    stage.tell(&recorded["runs"]["transfer"], &different).await;

    let scene = stage.scene.lock().unwrap();
    assert!(!scene.config_pushed, "the configuration is the same everywhere");
    // Target by target what the original sent last, although it had forgotten sizes once discovery told of a target again.
    let last = recorded["last_post"]["Targets"]["j"].as_array().unwrap().iter();
    let theirs: BTreeMap<u64, Value> = last
        .map(|target| {
            let mut target = target.clone();
            target["totalSeries"] = target["series"].clone();
            (target["hash"].as_u64().unwrap(), target)
        })
        .collect();
    let held: BTreeMap<u64, Value> = scene.shards.values().flat_map(|shard| shard.targets.clone()).collect();
    assert_eq!(held, theirs);

    // No right is needed that the original's role does not give.
    let requests = recorded["requests"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    let (theirs, ours): (BTreeSet<String>, BTreeSet<String>) =
        (requests.map(decoded).collect(), scene.requests.iter().map(|request| decoded(request)).collect());
    let set = "/apis/apps/v1/namespaces/default/statefulsets/prometheus-rep-0";
    let found = theirs
        .symmetric_difference(&ours)
        .map(|request| format!("{}: {request}", if ours.contains(request) { "more" } else { "less" }));
    let want = [
        // A patch of the number alone, where the original wrote the whole object.
        &format!("less: PUT {set}"),
        &format!("more: PATCH {set} fieldManager=kvass-coordinator"),
        // Whether events may be written is asked; every account may ask that.
        "more: POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    ];
    assert_differences(found, &want);
}

/// A request with its parameters in plain text; an empty one says nothing.
fn decoded(request: &str) -> String {
    let (method, uri) = request.split_once(' ').unwrap();
    let url = reqwest::Url::parse(&format!("http://api{uri}")).unwrap();
    let pairs = url.query_pairs().filter(|(name, _)| !name.is_empty()).map(|(name, value)| format!(" {name}={value}"));
    format!("{method} {}{}", url.path(), pairs.collect::<String>())
}

/// In each of these the original moved targets, doubled them, or deleted claims of shards in use.
#[tokio::test(flavor = "multi_thread")]
async fn what_shakes_a_fleet_for_a_moment_changes_nothing() {
    let mut stage = Stage::set(&recorded()).await;
    let targets: BTreeMap<String, u32> = (0..45).map(|index| (index.to_string(), 1000)).collect();
    stage.targets(&json!(targets));
    stage.start(&json!(["--shard.max-process-series=10000", "--shard.min-shard=3"])).await;
    eventually("45 targets on 5 shards", async || {
        let scene = stage.scene.lock().unwrap();
        let holds = scene.holds();
        if scene.replicas() == 5 && holds.iter().sum::<usize>() == 45 {
            Ok(())
        } else {
            Err(format!("{holds:?} {}", stage.log()))
        }
    })
    .await;
    for (evicted, failing, what) in [
        (&[][..], &[2, 3, 4][..], "3 of 5 shards unreachable, min-shard 3"),
        (&[4], &[], "highest pod evicted"),
        (&[1], &[], "middle pod evicted"),
        (&[], &[0], "one shard unreadable for 5 s"),
    ] {
        stage.begin_phase();
        let shake = |evicted: &[u8], failing: &[u8]| {
            let mut scene = stage.scene.lock().unwrap();
            (scene.evicted, scene.failing) = (evicted.iter().copied().collect(), failing.iter().copied().collect());
        };
        shake(evicted, failing);
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        shake(&[], &[]);
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let scene = stage.scene.lock().unwrap();
        let changes = (&scene.scalings, &scene.claims_deleted, scene.posts());
        assert_eq!(changes, (&vec![], &vec![], json!({})), "{what}\n{}", stage.log());
    }
}

/// Targets that come one by one: the original sent their sizes as 0, and filled shards beyond the limit.
#[tokio::test(flavor = "multi_thread")]
async fn no_shard_is_given_more_than_it_may_have() {
    let mut stage = Stage::set(&recorded()).await;
    stage.targets(&json!({}));
    stage.start(&json!(["--shard.max-process-series=30000", "--shard.max-idle-time=1h"])).await;
    let mut targets = BTreeMap::new();
    for number in 1..=6 {
        targets.insert(number.to_string(), 10045);
        stage.targets(&json!(targets));
        eventually("assigned", async || {
            let scene = stage.scene.lock().unwrap();
            let holds = scene.holds();
            if holds.iter().sum::<usize>() == number { Ok(()) } else { Err(format!("{holds:?} {}", stage.log())) }
        })
        .await;
        let scene = stage.scene.lock().unwrap();
        assert_eq!(scene.holds(), vec![2; number / 2].into_iter().chain((number % 2 == 1).then_some(1)).collect::<Vec<_>>());
        assert!(!scene.in_transfer() && scene.shards.values().all(|shard| shard.posts.len() <= 2), "nothing moves");
    }
}
