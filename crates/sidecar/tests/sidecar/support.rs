use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use kvass_model::Labels;
use kvass_sidecar::{DeliveryMode, Options, Sidecar};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

pub(crate) const CONFIG: &str = "\
global: {scrape_interval: 5s, external_labels: {r: \"1\"}}
scrape_configs:
- job_name: j
  basic_auth: {username: u, password: p}
- job_name: k
  metric_relabel_configs: [{source_labels: [__name__], regex: \"drop_.*\", action: drop}]
";

/// A Prometheus with knobs.
#[derive(Clone, Default)]
pub(crate) struct FakePrometheus {
    pub(crate) reloads: Arc<AtomicU32>,
    pub(crate) refuses: Arc<AtomicBool>,
    pub(crate) agent: Arc<AtomicBool>,
    pub(crate) listed: Arc<Mutex<BTreeSet<u64>>>,
    pub(crate) version: Arc<Mutex<String>>,
}

impl FakePrometheus {
    pub(crate) fn new() -> Self {
        let prometheus = FakePrometheus::default();
        *prometheus.version.lock().unwrap() = "2.42.0".to_owned();
        prometheus
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/-/reload", post(Self::reload))
            .route("/-/ready", get(|| async { "Prometheus Server is Ready.\n" }))
            .route("/api/v1/status/tsdb", get(Self::tsdb))
            .route("/api/v1/status/buildinfo", get(Self::build_info))
            .route("/api/v1/targets", get(Self::targets))
            .fallback(Self::echo)
            .with_state(self)
    }

    async fn reload(State(this): State<Self>) -> Response {
        if this.refuses.load(Ordering::SeqCst) {
            return (StatusCode::INTERNAL_SERVER_ERROR, "failed to reload config: it is bad\n").into_response();
        }
        this.reloads.fetch_add(1, Ordering::SeqCst);
        StatusCode::OK.into_response()
    }

    async fn tsdb(State(this): State<Self>) -> Response {
        if this.agent.load(Ordering::SeqCst) {
            let error = json!({"status":"error","errorType":"execution","error":"unavailable with Prometheus Agent"});
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(error)).into_response();
        }
        Json(json!({"status":"success","data":{"headStats":{"numSeries":5}}})).into_response()
    }

    async fn build_info(State(this): State<Self>) -> Json<Value> {
        Json(json!({"status":"success","data":{"version": *this.version.lock().unwrap()}}))
    }

    async fn targets(State(this): State<Self>) -> Json<Value> {
        let listed = this.listed.lock().unwrap();
        let targets: Vec<Value> =
            listed.iter().map(|hash| json!({"scrapeUrl": format!("http://h/m?_hash={hash}&_jobName=j&_scheme=http")})).collect();
        Json(json!({"status":"success","data":{"activeTargets": targets}}))
    }

    async fn echo(request: Request) -> Response {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        let headers: serde_json::Map<String, Value> =
            head.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
        let seen = json!({
            "method": head.method.as_str(),
            "uri": head.uri.to_string(),
            "headers": headers,
            "body": String::from_utf8_lossy(&body),
        });
        (StatusCode::IM_A_TEAPOT, [("x-from", "prometheus"), ("connection", "x-private"), ("x-private", "1")], Json(seen))
            .into_response()
    }

    pub(crate) fn reload_count(&self) -> u32 {
        self.reloads.load(Ordering::SeqCst)
    }
}

/// Serves on a free port, or on `port`.
pub(crate) async fn serve(router: Router, port: u16) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

/// A sidecar with its folder.
pub(crate) struct World {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) prometheus: FakePrometheus,
    pub(crate) prometheus_server: JoinHandle<()>,
    pub(crate) prometheus_port: u16,
    pub(crate) api: String,
    pub(crate) proxy: std::net::SocketAddr,
    pub(crate) http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl World {
    pub(crate) async fn new() -> World {
        World::with(CONFIG, |_| {}).await
    }

    pub(crate) async fn with(config: &str, change: impl FnOnce(&mut Options)) -> World {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        World::start(dir, change).await
    }

    pub(crate) async fn start(dir: Arc<TempDir>, change: impl FnOnce(&mut Options)) -> World {
        let prometheus = FakePrometheus::new();
        let (prometheus_port, prometheus_server) = serve(prometheus.clone().router(), 0).await;
        World::start_beside(dir, prometheus, prometheus_port, prometheus_server, change).await
    }

    pub(crate) async fn start_beside(
        dir: Arc<TempDir>,
        prometheus: FakePrometheus,
        prometheus_port: u16,
        prometheus_server: JoinHandle<()>,
        change: impl FnOnce(&mut Options),
    ) -> World {
        install_crypto();
        let mut options = options(dir.path(), prometheus_port);
        change(&mut options);
        let sidecar = Sidecar::build(options).await.unwrap();
        let (api, proxy) = (format!("http://{}", sidecar.api_address()), sidecar.proxy_address());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move { sidecar.run(stopped).await.unwrap() });
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.user_agent("kvass/0.0.0-test").build().unwrap();
        World { dir, prometheus, prometheus_server, prometheus_port, api, proxy, http, stop: Some(stop), running }
    }

    /// Orderly end.
    pub(crate) async fn stop(mut self) -> Arc<TempDir> {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), &mut self.running).await.unwrap().unwrap();
        Arc::clone(&self.dir)
    }

    /// As if killed.
    pub(crate) fn kill(self) -> Arc<TempDir> {
        self.running.abort();
        Arc::clone(&self.dir)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: impl ToString) -> (u16, Value) {
        self.send("POST", path, body).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: impl ToString) -> (u16, Value) {
        answer(self.request(method, path).body(body.to_string())).await
    }

    /// As a coordinator of the original.
    pub(crate) async fn send_as_original(&self, method: &str, path: &str, body: impl ToString) -> (u16, Value) {
        let request = self.request(method, path).header("User-Agent", "Go-http-client/1.1");
        answer(request.body(body.to_string())).await
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("{}{path}", self.api))
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        self.http.get(format!("{}{path}", self.api)).send().await.unwrap().text().await.unwrap()
    }

    /// Gives the sidecar targets of job `j`.
    pub(crate) async fn assign(&self, targets: &[Value]) {
        let (status, answer) = self.post("/api/v1/shard/targets/", json!({"Targets": {"j": targets}})).await;
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) async fn status(&self, hash: u64) -> Value {
        self.get("/api/v1/shard/targets/status/").await.1["data"][hash.to_string()].clone()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Scrapes as Prometheus does.
    pub(crate) async fn scrape(&self, address: &str, path: &str, hash: u64, job: &str) -> RawAnswer {
        self.raw(&proxy_request(address, path, hash, job)).await
    }

    pub(crate) async fn raw(&self, request: &str) -> RawAnswer {
        let mut stream = TcpStream::connect(self.proxy).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // A reset after an abort is an end like any other.
        let _ = stream.read_to_end(&mut bytes).await;
        RawAnswer::parse(&bytes)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) fn proxy_request(address: &str, path: &str, hash: u64, job: &str) -> String {
    format!(
        "GET http://{address}{path}?_hash={hash}&_jobName={job}&_scheme=http HTTP/1.1\r\nHost: {address}\r\nAccept: text/plain\r\nUser-Agent: Prometheus/2.42.0\r\nX-Prometheus-Scrape-Timeout-Seconds: 4\r\nConnection: close\r\n\r\n"
    )
}

/// An answer byte for byte.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// Still chunked, if it was.
    pub(crate) body: Vec<u8>,
}

impl RawAnswer {
    fn parse(bytes: &[u8]) -> RawAnswer {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        RawAnswer { status, head, body: bytes.get(end + 4..).unwrap_or_default().to_vec() }
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.head.contains("transfer-encoding: chunked")
    }

    /// Whether the last chunk came.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.ends_with(b"0\r\n\r\n")
    }

    pub(crate) fn text(&self) -> String {
        if !self.is_chunked() {
            return String::from_utf8_lossy(&self.body).into_owned();
        }
        let (mut text, mut rest) = (Vec::new(), self.body.as_slice());
        while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            let chunk = &rest[line + 2..];
            text.extend_from_slice(&chunk[..size.min(chunk.len())]);
            rest = chunk.get(size + 2..).unwrap_or_default();
        }
        String::from_utf8(text).unwrap()
    }
}

pub(crate) fn options(dir: &Path, prometheus_port: u16) -> Options {
    Options {
        proxy_address: "127.0.0.1:0".to_owned(),
        api_address: "127.0.0.1:0".to_owned(),
        prometheus_url: format!("http://127.0.0.1:{prometheus_port}"),
        config_file: Some(dir.join("prometheus.yml")),
        output_file: dir.join("out").join("injected.yml"),
        store_path: dir.join("store"),
        tsdb_path: None,
        legacy_target_file: None,
        inject_proxy: Some("http://127.0.0.1:8008".to_owned()),
        service_account_path: None,
        fetch_head_series: true,
        keep_alive: true,
        self_monitor: false,
        pod_name: String::new(),
        scrape_proxy: None,
        http2: true,
        body_size_limit: 1 << 20,
        delivery: DeliveryMode::Auto,
        external_labels: Labels::default(),
        strip_rules: false,
        prometheus_version: None,
        compat_coordinator_url: None,
    }
}

pub(crate) fn target(hash: u64, address: &str, path: &str) -> Value {
    json!({
        "hash": hash,
        "labels": {"__address__": address, "__metrics_path__": path, "__scheme__": "http", "instance": "x", "job": "j"},
        "series": 3, "totalSeries": 4, "TargetState": "",
    })
}

/// Places where two values differ, with what is there in each; nothing in either is `null`. Elements of lists go by the
/// name of their job, where they have one.
pub(crate) fn differences(original: &Value, ours: &Value) -> Vec<(String, Value, Value)> {
    fn collect(path: &str, original: &Value, ours: &Value, found: &mut Vec<(String, Value, Value)>) {
        let place = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match (original, ours) {
            (Value::Object(a), Value::Object(b)) => {
                for name in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                    collect(&place(name), &original[name], &ours[name], found);
                }
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (index, (a, b)) in a.iter().zip(b).enumerate() {
                    let name = a["job_name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                    collect(&place(&name), a, b, found);
                }
            }
            (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
            _ if original == ours => {}
            _ => found.push((path.to_owned(), original.clone(), ours.clone())),
        }
    }
    let mut found = Vec::new();
    collect("", original, ours, &mut found);
    found
}

/// Fails on a difference that is not expected, and on one that is expected but is there no longer.
#[track_caller]
pub(crate) fn assert_differences(found: impl IntoIterator<Item = String>, expected: &[&str]) {
    let found: BTreeSet<String> = found.into_iter().collect();
    let expected: BTreeSet<String> = expected.iter().map(|&line| line.to_owned()).collect();
    let (new, gone): (Vec<_>, Vec<_>) = (found.difference(&expected).collect(), expected.difference(&found).collect());
    assert!(new.is_empty() && gone.is_empty(), "unexpected: {new:#?}\nno longer: {gone:#?}");
}

/// Waits for a state that comes by itself.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn install_crypto() {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
