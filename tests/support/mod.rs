//! What the stories are told with: real Prometheus servers, the real `kvass` binary, and exporters of our
//! own that remember who scraped them when. Everything runs on loopback, below one temporary folder, and
//! ends with the test.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // every story uses its own part of this

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::HeaderMap, routing::get};
use serde_json::Value;
use tokio::process::{Child, Command};

/// How long anything may take that is only waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The Prometheus to test with: `KVASS_PROMETHEUS`, else what `scripts/prometheus.sh` finds or fetches.
pub fn prometheus_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("KVASS_PROMETHEUS") {
            return path.into();
        }
        let script = repository().join("scripts/prometheus.sh");
        let output = std::process::Command::new(&script).stderr(Stdio::inherit()).output().expect("run scripts/prometheus.sh");
        assert!(output.status.success(), "no Prometheus to test with: {}", script.display());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().last().expect("scripts/prometheus.sh prints a path").into()
    })
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A port nobody uses right now. Below those that the system gives to outgoing connections and to whoever
/// asks for any, or another test would have it before its server is up.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: std::ops::Range<u32> = 12_000..32_000;
    loop {
        let number = std::process::id().wrapping_mul(101).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (PORTS.start + number % PORTS.len() as u32) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `check` gives a value; panics with what it said last.
#[track_caller]
pub fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Result<T, String>) -> impl Future<Output = T> {
    within(PATIENCE, what, check)
}

/// Waits until `check` gives a value, at most `limit`.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        loop {
            match check().await {
                Ok(value) => return value,
                Err(last) if start.elapsed() > limit => panic!("{caller}: {what}: not within {limit:?}: {last}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// A client without pooled connections: every test has a runtime of its own.
pub fn http() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(10));
        builder.build().unwrap()
    })
}

pub async fn get_json(url: &str) -> Result<Value, String> {
    let response = http().get(url).send().await.map_err(|e| format!("{url}: {e}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|e| format!("{url}: {e}"))?;
    if !status.is_success() {
        return Err(format!("{url}: {status}: {text}"));
    }
    serde_json::from_str(&text).map_err(|e| format!("{url}: {e}: {text}"))
}

/// A child process, killed when dropped; its output goes to a file.
pub struct Process {
    child: Child,
    pub log: PathBuf,
}

impl Process {
    pub fn start(program: &Path, args: &[String], dir: &Path, name: &str) -> Process {
        fs::create_dir_all(dir).unwrap();
        let log = dir.join(format!("{name}.log"));
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(program)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("start {}: {e}", program.display()));
        Process { child, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("still running")
    }

    pub fn signal(&self, signal: &str) {
        let status = std::process::Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Sends a signal unless the process was seen to end.
    pub fn signal_if_running(&self, signal: &str) {
        if self.child.id().is_some() {
            self.signal(signal);
        }
    }

    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub async fn wait(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("ends").unwrap()
    }

    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Resident memory, bytes.
    pub fn memory(&self) -> u64 {
        resident(self.pid())
    }
}

/// Resident memory of a process, bytes.
pub fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// One scrape as an exporter saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    pub user_agent: String,
}

/// An exporter with a fixed number of series.
pub struct Exporter {
    pub address: String,
    state: Arc<ExporterState>,
}

struct ExporterState {
    series: Mutex<usize>,
    delay: Duration,
    seen: Mutex<Vec<Seen>>,
}

impl Exporter {
    pub async fn start(series: usize) -> Exporter {
        Self::start_slow(series, Duration::ZERO).await
    }

    pub async fn start_slow(series: usize, delay: Duration) -> Exporter {
        let state = Arc::new(ExporterState { series: Mutex::new(series), delay, seen: Mutex::default() });
        Self::serve("127.0.0.1:0", state).await
    }

    /// An exporter at an address that was `free_port()` before.
    pub async fn start_at(address: &str, series: usize) -> Exporter {
        let state = Arc::new(ExporterState { series: Mutex::new(series), delay: Duration::ZERO, seen: Mutex::default() });
        Self::serve(address, state).await
    }

    async fn serve(address: &str, state: Arc<ExporterState>) -> Exporter {
        let router = Router::new().route("/metrics", get(expose)).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Exporter { address, state }
    }

    pub fn set_series(&self, series: usize) {
        *self.state.series.lock().unwrap() = series;
    }

    /// Scrapes by Prometheus (through a sidecar), not by exploring.
    pub fn scrapes(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().iter().filter(|s| s.user_agent.starts_with("Prometheus/")).cloned().collect()
    }

    /// Requests that are no scrapes: exploring.
    pub fn explores(&self) -> usize {
        self.requests() - self.scrapes().len()
    }

    /// Scrapes since `start`, and now counted as one more: seconds since `start`.
    pub fn scraped_at(&self, start: Instant) -> Vec<f64> {
        let scrapes = self.scrapes();
        scrapes
            .iter()
            .filter(|s| s.at >= start)
            .map(|s| (s.at - start).as_secs_f64())
            .chain([start.elapsed().as_secs_f64()])
            .collect()
    }

    /// Every request, exploring included.
    pub fn requests(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }
}

async fn expose(State(state): State<Arc<ExporterState>>, headers: HeaderMap) -> String {
    let user_agent = headers.get("user-agent").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    state.seen.lock().unwrap().push(Seen { at: Instant::now(), user_agent });
    tokio::time::sleep(state.delay).await;
    let series = *state.series.lock().unwrap();
    let mut body = String::from("# HELP story_value A value\n# TYPE story_value gauge\n");
    for i in 0..series {
        body.push_str(&format!("story_value{{index=\"{i}\"}} {}\n", i % 17));
    }
    body
}

/// A shard: a real Prometheus with its sidecar.
pub struct Shard {
    pub name: String,
    pub dir: PathBuf,
    pub prometheus: Option<Process>,
    pub sidecar: Option<Process>,
    prometheus_port: u16,
    api_port: u16,
    proxy_port: u16,
    config_file: PathBuf,
    pub sidecar_args: Vec<String>,
    pub prometheus_args: Vec<String>,
}

impl Shard {
    pub fn new(world: &Path, name: &str, config_file: &Path) -> Shard {
        Shard {
            name: name.to_owned(),
            dir: world.join(name),
            prometheus: None,
            sidecar: None,
            prometheus_port: free_port(),
            api_port: free_port(),
            proxy_port: free_port(),
            config_file: config_file.to_owned(),
            sidecar_args: Vec::new(),
            prometheus_args: Vec::new(),
        }
    }

    pub async fn start(world: &Path, name: &str, config_file: &Path) -> Shard {
        let mut shard = Shard::new(world, name, config_file);
        shard.start_sidecar();
        shard.start_prometheus().await;
        shard
    }

    pub fn start_sidecar(&mut self) {
        let mut args = vec![
            "sidecar".to_owned(),
            format!("--web.api-addr=127.0.0.1:{}", self.api_port),
            format!("--web.proxy-addr=127.0.0.1:{}", self.proxy_port),
            format!("--prometheus.url={}", self.prometheus_url()),
            format!("--config.file={}", self.config_file.display()),
            format!("--config.output-file={}", self.injected().display()),
            format!("--store.path={}", self.dir.display()),
            format!("--inject.proxy=http://127.0.0.1:{}", self.proxy_port),
            format!("--inject.external-label=shard={}", self.name),
        ];
        args.extend(self.sidecar_args.iter().cloned());
        self.sidecar = Some(Process::start(Path::new(env!("CARGO_BIN_EXE_kvass")), &args, &self.dir, "sidecar"));
    }

    /// Starts `number` shards at the same time; each is ready, with no targets yet.
    pub async fn start_many(world: &Path, number: usize, config_file: &Path) -> Vec<Shard> {
        let starting = (0..number).map(|i| async move {
            let shard = Shard::start(world, &format!("shard-{i}"), config_file).await;
            shard.ready().await;
            shard
        });
        futures::future::join_all(starting).await
    }

    /// Waits until the configuration is applied and Prometheus is ready.
    #[track_caller]
    pub fn ready(&self) -> impl Future<Output = ()> {
        let url = format!("{}/-/ready", self.url());
        eventually("shard is ready", async move || {
            let response = http().get(&url).send().await.map_err(|e| e.to_string())?;
            let ready = response.status().is_success();
            let text = response.text().await.unwrap_or_default();
            if ready { Ok(()) } else { Err(text) }
        })
    }

    /// Hashes of the targets it reports, with their states.
    pub async fn holds(&self) -> Result<BTreeMap<String, String>, String> {
        let answer = get_json(&format!("{}/api/v1/shard/targets/status/", self.url())).await?;
        let targets = answer["data"].as_object().ok_or(format!("no map: {answer}"))?;
        Ok(targets.iter().map(|(hash, t)| (hash.clone(), t["TargetState"].as_str().unwrap_or_default().to_owned())).collect())
    }

    /// Instance to value of a query of this shard's Prometheus.
    pub async fn by_instance(&self, promql: &str) -> Result<BTreeMap<String, f64>, String> {
        let result = query(&self.prometheus_url(), promql).await?;
        Ok(result.into_iter().map(|(labels, value)| (instance(&labels), value)).collect())
    }

    /// Starts Prometheus once the sidecar has written its configuration.
    pub async fn start_prometheus(&mut self) {
        let injected = self.injected();
        eventually("injected configuration", async || injected.exists().then_some(()).ok_or("no file yet".to_owned())).await;
        self.prometheus = Some(start_prometheus_with(&self.dir, &injected, self.prometheus_port, &self.prometheus_args));
    }

    /// Sends a signal to both processes.
    pub fn signal(&self, signal: &str) {
        [&self.sidecar, &self.prometheus].into_iter().flatten().for_each(|process| process.signal(signal));
    }

    pub fn injected(&self) -> PathBuf {
        self.dir.join("prometheus.yml")
    }

    pub fn prometheus_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.prometheus_port)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    pub fn proxy_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy_port)
    }

    /// How often this shard's Prometheus has loaded its configuration.
    pub async fn reloads(&self) -> Result<f64, String> {
        let text = http().get(format!("{}/metrics", self.prometheus_url())).send().await.map_err(|e| e.to_string())?;
        let text = text.text().await.map_err(|e| e.to_string())?;
        metric(&text, "prometheus_config_last_reload_success_timestamp_seconds").ok_or("no such metric".to_owned())
    }
}

/// Starts a Prometheus on `port`.
pub fn start_prometheus(dir: &Path, config: &Path, port: u16) -> Process {
    start_prometheus_with(dir, config, port, &[])
}

/// Starts a Prometheus on `port` with arguments of the story's own.
pub fn start_prometheus_with(dir: &Path, config: &Path, port: u16, more: &[String]) -> Process {
    Process::start(prometheus_binary(), &prometheus_args(dir, config, port, more), dir, "prometheus")
}

pub fn prometheus_args(dir: &Path, config: &Path, port: u16, more: &[String]) -> Vec<String> {
    let mut args = vec![
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", dir.join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--web.enable-lifecycle".to_owned(),
    ];
    args.extend_from_slice(more);
    args
}

/// A coordinator with static shards.
pub struct Coordinator {
    pub process: Process,
    pub port: u16,
    args: Vec<String>,
    dir: PathBuf,
}

impl Coordinator {
    pub fn start(world: &Path, config_file: &Path, shards: &[&Shard], args: &[&str]) -> Coordinator {
        let file = world.join("static-shards.yaml");
        let entries: String = shards.iter().map(|s| format!("  - {{id: {}, url: \"{}\"}}\n", s.name, s.url())).collect();
        fs::write(&file, format!("replicas:\n- shards:\n{entries}")).unwrap();
        let static_file = format!("--shard.static-file={}", file.display());
        let args: Vec<&str> = ["--shard.type=static", &static_file].into_iter().chain(args.iter().copied()).collect();
        Self::start_with(world, config_file, &args)
    }

    /// A coordinator whose shards are what `args` say.
    pub fn start_with(world: &Path, config_file: &Path, args: &[&str]) -> Coordinator {
        let port = free_port();
        let mut all = vec![
            "coordinator".to_owned(),
            format!("--config.file={}", config_file.display()),
            format!("--web.address=127.0.0.1:{port}"),
        ];
        all.extend(args.iter().map(ToString::to_string));
        let dir = world.join("coordinator");
        let process = Process::start(Path::new(env!("CARGO_BIN_EXE_kvass")), &all, &dir, "coordinator");
        Coordinator { process, port, args: all, dir }
    }

    pub async fn kill_and_restart(&mut self) {
        self.process.kill().await;
        self.restart();
    }

    pub fn restart(&mut self) {
        self.process = Process::start(Path::new(env!("CARGO_BIN_EXE_kvass")), &self.args, &self.dir, "coordinator");
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub async fn targets(&self) -> Result<Vec<Value>, String> {
        let answer = get_json(&format!("{}/api/v1/targets?state=active", self.url())).await?;
        answer["data"]["activeTargets"].as_array().cloned().ok_or(format!("no activeTargets: {answer}"))
    }

    /// Address to shards, for every active target.
    pub async fn placement(&self) -> Result<BTreeMap<String, Vec<String>>, String> {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        Ok(self
            .targets()
            .await?
            .iter()
            .map(|t| {
                let shards = t["shards"].as_array().map(|s| s.iter().map(text).collect()).unwrap_or_default();
                (text(&t["discoveredLabels"]["__address__"]), shards)
            })
            .collect())
    }

    /// Waits until every one of `number` targets has exactly one shard, and is up.
    #[track_caller]
    pub fn all_assigned(&self, number: usize) -> impl Future<Output = BTreeMap<String, Vec<String>>> {
        eventually("all targets assigned", async move || {
            let placement = self.placement().await?;
            let settled = placement.len() == number && placement.values().all(|shards| shards.len() == 1);
            if settled { Ok(placement) } else { Err(format!("{placement:?}")) }
        })
    }

    pub async fn status(&self) -> Result<Value, String> {
        get_json(&format!("{}/api/v1/coordinator/status", self.url())).await
    }

    /// The only replica's shards, as the coordinator's status shows them.
    pub async fn shards(&self) -> Result<Vec<Value>, String> {
        let status = self.status().await?;
        status["data"]["replicas"][0]["shards"].as_array().cloned().ok_or(format!("no replica: {status}"))
    }

    pub async fn metrics(&self) -> String {
        http().get(format!("{}/metrics", self.url())).send().await.unwrap().text().await.unwrap()
    }
}

/// The value of the first series of `name` in a text exposition.
pub fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find(|l| l.starts_with(name) && l[name.len()..].starts_with([' ', '{']))?.rsplit(' ').next()?.parse().ok()
}

/// Runs an instant query; label sets (without `__name__` where asked by the query) to values.
pub async fn query(prometheus: &str, promql: &str) -> Result<BTreeMap<String, f64>, String> {
    let url = format!("{prometheus}/api/v1/query?query={}", promql.bytes().map(|b| format!("%{b:02X}")).collect::<String>());
    let answer = get_json(&url).await?;
    let result = answer["data"]["result"].as_array().ok_or(format!("{promql}: {answer}"))?;
    Ok(result
        .iter()
        .map(|series| {
            let value = series["value"][1].as_str().and_then(|v| v.parse().ok()).unwrap_or(f64::NAN);
            (series["metric"].to_string(), value)
        })
        .collect())
}

/// The label `instance` of a series as `query` and `samples` name it.
pub fn instance(labels: &str) -> String {
    let labels: Value = serde_json::from_str(labels).unwrap();
    labels["instance"].as_str().unwrap_or_default().to_owned()
}

/// Intervals without a scrape or sample: sum of max(0, round(gap ÷ interval) − 1) over the sorted times.
pub fn missing_intervals(times: &[f64], interval: f64) -> u32 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.windows(2).map(|w| ((w[1] - w[0]) / interval).round().max(1.0) as u32 - 1).sum()
}

/// The samples of a range vector: series to (time in seconds, value).
pub async fn samples(prometheus: &str, promql: &str) -> Result<BTreeMap<String, Vec<(f64, f64)>>, String> {
    let url = format!("{prometheus}/api/v1/query?query={}", promql.bytes().map(|b| format!("%{b:02X}")).collect::<String>());
    let answer = get_json(&url).await?;
    let result = answer["data"]["result"].as_array().ok_or(format!("{promql}: {answer}"))?;
    let pair = |v: &Value| Some((v[0].as_f64()?, v[1].as_str()?.parse().ok()?));
    Ok(result
        .iter()
        .map(|s| (s["metric"].to_string(), s["values"].as_array().into_iter().flatten().filter_map(pair).collect()))
        .collect())
}

/// A configuration with one job over static targets.
pub fn static_config(interval: &str, targets: &[&Exporter]) -> String {
    let list: Vec<String> = targets.iter().map(|e| format!("\"{}\"", e.address)).collect();
    format!(
        "global:\n  scrape_interval: {interval}\n  scrape_timeout: {interval}\nscrape_configs:\n- job_name: story\n  static_configs:\n  - targets: [{}]\n",
        list.join(", ")
    )
}

pub fn write(path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    fs::write(&temporary, text).unwrap();
    fs::rename(temporary, path).unwrap();
}

/// A folder for one story, and TLS ready to be used in it.
pub fn world() -> tempfile::TempDir {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tempfile::tempdir().unwrap()
}
