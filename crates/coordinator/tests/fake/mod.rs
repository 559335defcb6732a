//! Shards that only pretend: they answer as a sidecar does and remember what they were sent.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use kvass_coordinator::{Coordinator, Options, ShardOptions};
use kvass_plan::Limits;
use serde_json::{Value, json};

/// How a fake shard behaves.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Never answers.
    pub hangs: bool,
    /// Its Prometheus is down: no runtimeinfo.
    pub prometheus_down: bool,
    /// The hash it reports; `None` means whatever was adopted from the coordinator's configuration text.
    pub config_hash: Option<String>,
    /// The configuration text it shows.
    pub config_text: String,
    /// Knows only the paths of v0.2.
    pub v0_2: bool,
    /// Scrapes what it is given, at once.
    pub scrapes: bool,
    /// What it says of its last samples, by job.
    pub samples: BTreeMap<String, Value>,
}

#[derive(Debug, Default)]
pub struct ShardState {
    pub behaviour: Behaviour,
    /// What it was sent last, by hash.
    pub targets: BTreeMap<u64, Value>,
    /// Job of each target.
    pub jobs: BTreeMap<u64, String>,
    pub posts: Vec<Value>,
    pub extra: Vec<Value>,
    pub pushed_configs: Vec<String>,
}

/// A running fake shard.
#[derive(Clone)]
pub struct FakeShard {
    pub address: SocketAddr,
    pub state: Arc<Mutex<ShardState>>,
}

impl FakeShard {
    pub async fn start(behaviour: Behaviour) -> FakeShard {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, behaviour)
    }

    pub fn on(listener: tokio::net::TcpListener, behaviour: Behaviour) -> FakeShard {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(ShardState { behaviour, ..ShardState::default() }));
        let router = Router::new()
            .route("/api/v1/shard/targets/status/", get(status_map))
            .route("/api/v1/shard/targets/", get(old_status_map).post(update))
            .route("/api/v1/shard/targets/assigned/", get(assigned))
            .route("/api/v1/shard/runtimeinfo/", get(runtime_info))
            .route("/api/v1/shard/samples/", get(samples))
            .route("/api/v1/status/config/", get(config).post(push_config))
            .route("/api/v1/status/extra_config/", get(shown_extra).post(extra))
            .with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        FakeShard { address, state }
    }

    pub fn lock(&self) -> std::sync::MutexGuard<'_, ShardState> {
        self.state.lock().unwrap()
    }

    pub fn hashes(&self) -> Vec<u64> {
        self.lock().targets.keys().copied().collect()
    }
}

type Shared = State<Arc<Mutex<ShardState>>>;

async fn hang(state: &Arc<Mutex<ShardState>>) {
    if state.lock().unwrap().behaviour.hangs {
        std::future::pending::<()>().await;
    }
}

fn answer(data: Value) -> Response {
    Json(json!({ "status": "success", "data": data })).into_response()
}

async fn status_map(state: Shared) -> Response {
    if state.lock().unwrap().behaviour.v0_2 {
        return (StatusCode::NOT_FOUND, "404 page not found").into_response();
    }
    old_status_map(state).await
}

async fn old_status_map(State(state): Shared) -> Response {
    hang(&state).await;
    let state = state.lock().unwrap();
    let up = if state.behaviour.scrapes { "up" } else { "unknown" };
    let times = if state.behaviour.scrapes { 3 } else { 0 };
    let map: BTreeMap<String, Value> = state
        .targets
        .iter()
        .map(|(hash, t)| {
            let status = json!({"lastError": "", "lastScrape": "2026-11-22T09:00:00Z", "lastScrapeDuration": 0.01, "health": up,
                "series": t["series"], "totalSeries": t["totalSeries"], "TargetState": t["TargetState"], "ScrapeTimes": times, "shards": null});
            (hash.to_string(), status)
        })
        .collect();
    answer(json!(map))
}

async fn assigned(State(state): Shared) -> Response {
    hang(&state).await;
    let state = state.lock().unwrap();
    if state.behaviour.v0_2 {
        return (StatusCode::NOT_FOUND, "404 page not found").into_response();
    }
    let mut jobs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (hash, target) in &state.targets {
        jobs.entry(state.jobs[hash].clone()).or_default().push(target.clone());
    }
    answer(json!({ "Targets": jobs }))
}

async fn update(State(state): Shared, Json(body): Json<Value>) -> Response {
    hang(&state).await;
    let mut state = state.lock().unwrap();
    state.targets.clear();
    state.jobs.clear();
    for (job, targets) in body["Targets"].as_object().unwrap() {
        for target in targets.as_array().unwrap() {
            let hash = target["hash"].as_u64().unwrap();
            state.targets.insert(hash, target.clone());
            state.jobs.insert(hash, job.clone());
        }
    }
    state.posts.push(body);
    Json(json!({ "status": "success" })).into_response()
}

async fn runtime_info(State(state): Shared) -> Response {
    hang(&state).await;
    let state = state.lock().unwrap();
    if state.behaviour.prometheus_down {
        let body = Json(json!({"errorType": "internal", "error": "get runtime from prometheus: refused", "status": "error"}));
        return (StatusCode::SERVICE_UNAVAILABLE, body).into_response();
    }
    let sum = |member: &str| state.targets.values().map(|t| t[member].as_i64().unwrap_or(0)).sum::<i64>();
    let hash = state.behaviour.config_hash.clone().unwrap_or_else(|| {
        let text = state.pushed_configs.last().unwrap_or(&state.behaviour.config_text);
        kvass_config::hash_of_text(text).map(|hash| hash.to_string()).unwrap_or_default()
    });
    let mut info = json!({"headSeries": sum("series"), "processSeries": sum("totalSeries"), "ConfigHash": hash});
    if state.targets.is_empty() {
        info["IdleStartAt"] = json!("2026-11-22T08:00:00Z");
    }
    answer(info)
}

async fn samples(State(state): Shared, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let mut samples = state.lock().unwrap().behaviour.samples.clone();
    samples.retain(|job, _| query.get("job").is_none_or(|part| job.contains(part.as_str())));
    if query.get("with_metrics_detail").is_none_or(|wanted| wanted != "true") {
        samples.values_mut().for_each(|statistics| statistics["metricsTotal"] = json!({}));
    }
    answer(json!(samples))
}

async fn config(State(state): Shared) -> Response {
    hang(&state).await;
    answer(json!({ "yaml": state.lock().unwrap().behaviour.config_text }))
}

async fn push_config(State(state): Shared, Json(body): Json<Value>) -> Response {
    state.lock().unwrap().pushed_configs.push(body["rawContent"].as_str().unwrap().to_owned());
    Json(json!({ "status": "success" })).into_response()
}

async fn shown_extra(State(state): Shared) -> Response {
    hang(&state).await;
    let shown = state.lock().unwrap().extra.last().cloned().unwrap_or_else(|| json!({"stopScrapeReason": ""}));
    answer(json!({ "json": shown.to_string() }))
}

async fn extra(State(state): Shared, Json(body): Json<Value>) -> Response {
    hang(&state).await;
    state.lock().unwrap().extra.push(body);
    Json(json!({ "status": "success" })).into_response()
}

/// An exporter with a number of series.
pub async fn exporter(series: usize) -> SocketAddr {
    let body: String = (0..series).map(|i| format!("m{{i=\"{i}\"}} 1\n")).collect();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/metrics", get(async move || body.clone()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A coordinator over fake shards, in this process.
pub struct Fleet {
    pub dir: tempfile::TempDir,
    pub url: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub fn options(dir: &Path, shards: &[&FakeShard], limits: Limits) -> Options {
    let file = dir.join("static-shards.yaml");
    let entries: String =
        (0..).zip(shards).map(|(i, s)| format!("  - {{id: shard-{i}, url: \"http://{}\"}}\n", s.address)).collect();
    std::fs::write(&file, format!("replicas:\n- shards:\n{entries}")).unwrap();
    Options {
        config_file: dir.join("prometheus.yml"),
        store_path: None,
        web_address: "127.0.0.1:0".to_owned(),
        interval: Duration::from_millis(200),
        sd_init_timeout: Duration::from_secs(5),
        shards: ShardOptions::Static(file),
        limits,
        unavailable_grace: Duration::from_secs(60),
        explore_concurrency: 20,
        scrape_keep_alive: true,
        discovery_keep_alive: true,
        delegate: None,
        max_loss: None,
        http2: true,
        scrape_proxy: None,
        body_size_limit: 1 << 28,
        inject: kvass_config::InjectOptions::default(),
        leader_election: None,
        prometheus_line: Some(kvass_model::PrometheusLine::V2),
    }
}

pub fn config_of(targets: &[SocketAddr]) -> String {
    let list: Vec<String> = targets.iter().map(|t| format!("\"{t}\"")).collect();
    format!("scrape_configs:\n- job_name: j\n  static_configs:\n  - targets: [{}]\n", list.join(", "))
}

impl Fleet {
    pub async fn start(config: &str, shards: &[&FakeShard], limits: Limits) -> Fleet {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), shards, limits);
        Self::with(dir, config, options).await
    }

    pub async fn with(dir: tempfile::TempDir, config: &str, options: Options) -> Fleet {
        Self::with_election_client(dir, config, options, None).await
    }

    pub async fn with_election_client(
        dir: tempfile::TempDir,
        config: &str,
        options: Options,
        client: Option<kube::Client>,
    ) -> Fleet {
        std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        let coordinator = Coordinator::with_election_client(options, client).await.unwrap();
        let url = format!("http://{}", coordinator.address().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let running = tokio::spawn(coordinator.run(async move {
            let _ = stopped.await;
        }));
        Fleet { dir, url, stop: Some(stop), running }
    }

    pub async fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.running.await.unwrap().unwrap();
        self.dir
    }

    /// Ends the coordinator's own loop without a word to anybody.
    pub fn abort(&self) {
        self.running.abort();
    }

    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("prometheus.yml")
    }

    pub async fn get(&self, path: &str) -> Value {
        reqwest::get(format!("{}{path}", self.url)).await.unwrap().json().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let client = reqwest::Client::new();
        let response = client.post(format!("{}{path}", self.url)).body(body.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }
}

/// Waits until `check` holds.
#[track_caller]
pub fn until(what: &'static str, mut check: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !check() {
            assert!(start.elapsed() < Duration::from_secs(30), "{caller}: never: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub fn rustls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
