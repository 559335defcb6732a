//! A coordinator and Prometheus servers on this machine that discover the same and keep nothing.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::difference::{Discovered, Target};
use crate::cluster::until;

/// Whose rules a coordinator follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    V2,
    V3,
}

/// What is started, and where it writes.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The same binary as in the images.
    pub(crate) kvass: PathBuf,
    pub(crate) prometheus: PathBuf,
    /// Of that Prometheus.
    pub(crate) line: Line,
    /// For configurations, data and logs; it goes with the run.
    pub(crate) folder: PathBuf,
}

/// A running server.
pub(crate) struct Server {
    url: String,
    http: reqwest::Client,
    process: Child,
    config: PathBuf,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    active_targets: Vec<Active>,
    dropped_targets: Vec<Dropped>,
}

/// Not its discovered labels: 2.42 shows them as relabelling leaves them, and of several equal targets it is chance whose they
/// are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Active {
    labels: Target,
    scrape_url: String,
    scrape_interval: String,
    scrape_timeout: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dropped {
    discovered_labels: Target,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Programs {
    /// Our binary: that of `$KVASS_BINARY`, or the release of this checkout.
    pub(crate) fn kvass(checkout: &Path) -> PathBuf {
        std::env::var_os("KVASS_BINARY").map_or_else(|| checkout.join("target/release/kvass"), PathBuf::from)
    }

    /// A coordinator that follows the rules of this Prometheus. Its fleet is one shard that is not there.
    pub(crate) async fn coordinator(&self, config: &str) -> anyhow::Result<Server> {
        self.coordinator_by(Command::new(&self.kvass), config).await
    }

    /// The same, started by that command: the binary itself, or what ends in running it.
    pub(crate) async fn coordinator_by(&self, mut command: Command, config: &str) -> anyhow::Result<Server> {
        let port = free_port()?;
        let folder = self.folder_of("coordinator", port, config)?;
        let shards = folder.join("shards.yaml");
        let fleet = "replicas: [{shards: [{id: none, url: 'http://127.0.0.1:9'}]}]\n";
        fs::write(&shards, fleet).with_context(|| shards.display().to_string())?;
        let version = match self.line {
            Line::V2 => "2",
            Line::V3 => "3",
        };
        command.args(["coordinator", "--shard.type=static"]).arg(format!("--prometheus.version={version}"));
        command.arg(format!("--shard.static-file={}", shards.display())).arg(format!("--web.address=127.0.0.1:{port}"));
        start(command, &folder, port, "/-/healthy").await
    }

    /// A Prometheus.
    pub(crate) async fn prometheus(&self, config: &str) -> anyhow::Result<Server> {
        let port = free_port()?;
        let folder = self.folder_of("prometheus", port, config)?;
        let mut command = Command::new(&self.prometheus);
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        start(command, &folder, port, "/-/ready").await
    }

    fn folder_of(&self, name: &str, port: u16, config: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(format!("{name}-{port}"));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let path = folder.join("prometheus.yml");
        fs::write(&path, config).with_context(|| path.display().to_string())?;
        Ok(folder)
    }
}

async fn start(mut command: Command, folder: &Path, port: u16, ready: &str) -> anyhow::Result<Server> {
    let log = folder.join("log");
    let output = fs::File::create(&log).with_context(|| log.display().to_string())?;
    let config = folder.join("prometheus.yml");
    command.arg(format!("--config.file={}", config.display()));
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
    let process = command.spawn().with_context(|| format!("{command:?}"))?;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build()?;
    let server = Server { url: format!("http://127.0.0.1:{port}"), http, process, config };
    until("it is ready", Duration::from_secs(60), async || server.text(ready).await)
        .await
        .with_context(|| format!("its log is {}", log.display()))?;
    Ok(server)
}

impl Server {
    /// What it discovers now.
    pub(crate) async fn discovered(&self) -> anyhow::Result<Discovered> {
        let path = "/api/v1/targets";
        let answer: Answer = serde_json::from_str(&self.text(path).await?).with_context(|| path.to_owned())?;
        let mut discovered = Discovered::default();
        for Dropped { discovered_labels } in answer.data.dropped_targets {
            discovered.add(discovered_labels);
        }
        for Active { labels: mut target, scrape_url, scrape_interval, scrape_timeout } in answer.data.active_targets {
            // No label's name has a blank.
            target.insert("scrape URL".to_owned(), scrape_url);
            target.insert("scrape interval, timeout".to_owned(), format!("{scrape_interval}, {scrape_timeout}"));
            discovered.add(target);
        }
        Ok(discovered)
    }

    /// What a coordinator says of a job: its discovery's errors.
    pub(crate) async fn errors(&self, job: &str) -> anyhow::Result<String> {
        let status: Value = serde_json::from_str(&self.text("/api/v1/coordinator/status").await?)?;
        let jobs = status["data"]["jobs"].as_array().context("no jobs in the status")?;
        let found = jobs.iter().find(|found| found["job"] == job).with_context(|| format!("no job {job} in the status"))?;
        let errors = found["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(errors.collect::<Vec<_>>().join("; "))
    }

    /// The sum over the series of a metric, whatever their labels.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.text("/metrics").await?;
        let of_metric = |line: &str| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        };
        Ok(text.lines().filter_map(of_metric).sum())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.process.id().context("it has ended")
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }

    async fn text(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?.error_for_status()?;
        Ok(answer.text().await?)
    }
}
