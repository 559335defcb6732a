//! Everything the demo runs: generators, a coordinator (which runs the shards), and a global Prometheus.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::process::Process;
use crate::flags::DemoFlags;

/// Name of the only job.
pub(crate) const JOB: &str = "demo";

/// The running demo.
pub(crate) struct World {
    flags: DemoFlags,
    /// Absolute: children run in it.
    dir: PathBuf,
    program: PathBuf,
    prometheus: PathBuf,
    coordinator_port: u16,
    global_port: u16,
    record: Record,
    next_generator: usize,
    /// Shards that the global Prometheus reads.
    read: Vec<String>,
}

/// Content of `processes.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    coordinator: Option<Process>,
    global: Option<Process>,
    /// By the port they serve on.
    generators: BTreeMap<u16, Process>,
}

impl Record {
    fn all(&self) -> impl Iterator<Item = &Process> {
        // The coordinator first: it ends the shards, which should not see their targets vanish.
        self.coordinator.iter().chain(&self.global).chain(self.generators.values())
    }
}

/// What the demo needs of the coordinator's record of its processes.
#[derive(Deserialize)]
struct ShardRecord {
    shards: BTreeMap<u32, ShardProcesses>,
}

#[derive(Deserialize)]
struct ShardProcesses {
    prometheus: Option<Process>,
    sidecar: Option<Process>,
}

impl World {
    /// Ends what an earlier demo left, empties the folder, and starts generators and coordinator.
    pub(crate) async fn start(flags: DemoFlags) -> anyhow::Result<World> {
        let prometheus = find_prometheus(&flags.prometheus)?;
        fs::create_dir_all(&flags.dir).with_context(|| format!("--dir={}", flags.dir.display()))?;
        let dir = flags.dir.canonicalize()?;
        end_leftovers(&dir).await;
        empty(&dir)?;
        fs::create_dir_all(dir.join("logs"))?;
        let mut world = World {
            dir,
            program: std::env::current_exe().context("own program file")?,
            prometheus,
            coordinator_port: free_port()?,
            global_port: free_port()?,
            record: Record::default(),
            next_generator: 0,
            read: Vec::new(),
            flags,
        };
        match world.start_all() {
            Ok(()) => Ok(world),
            Err(error) => {
                world.stop().await;
                Err(error)
            }
        }
    }

    fn start_all(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.flags.generators {
            self.start_generator()?;
        }
        self.write_targets()?;
        self.write("prometheus.yml", &self.config())?;
        self.start_coordinator()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn coordinator_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.coordinator_port)
    }

    /// The Prometheus that sees all series, once it runs.
    pub(crate) fn global_url(&self) -> Option<String> {
        self.record.global.as_ref().map(|_| format!("http://127.0.0.1:{}", self.global_port))
    }

    /// `host:port` of every generator.
    pub(crate) fn generators(&self) -> Vec<String> {
        self.record.generators.keys().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Starts one more generator and lists it as a target.
    pub(crate) fn add_generator(&mut self) -> anyhow::Result<()> {
        self.start_generator()?;
        self.write_targets()
    }

    /// Takes a generator off the list of targets and ends it.
    pub(crate) async fn remove_generator(&mut self) -> anyhow::Result<()> {
        let Some((_, process)) = self.record.generators.pop_last() else { return Ok(()) };
        self.write_targets()?;
        process.end().await;
        self.save()
    }

    /// Makes the global Prometheus read exactly these shards, starting it first if need be. Tells whether
    /// anything had to change.
    pub(crate) async fn read_shards(&mut self, urls: Vec<String>, client: &reqwest::Client) -> anyhow::Result<bool> {
        if urls == self.read && self.record.global.is_some() {
            return Ok(false);
        }
        self.write("global.yml", &global_config(&urls))?;
        match self.global_url() {
            Some(url) => {
                client.post(format!("{url}/-/reload")).send().await?.error_for_status()?;
            }
            None => self.start_global()?,
        }
        self.read = urls;
        Ok(true)
    }

    /// Names of children that have ended without being asked to.
    pub(crate) fn ended(&self) -> Vec<&'static str> {
        let named = [("coordinator", &self.record.coordinator), ("global Prometheus", &self.record.global)];
        let mut ended: Vec<&str> = named
            .into_iter()
            .filter(|(_, process)| process.as_ref().is_some_and(|process| !process.is_running()))
            .map(|(name, _)| name)
            .collect();
        if self.record.generators.values().any(|process| !process.is_running()) {
            ended.push("generator");
        }
        ended
    }

    /// Ends everything that was started, and nothing else.
    pub(crate) async fn stop(self) {
        end_all(&self.dir, &self.record).await;
        let _ = fs::remove_file(self.dir.join("processes.json"));
    }

    fn start_generator(&mut self) -> anyhow::Result<()> {
        let port = free_port()?;
        let mut command = Command::new(&self.program);
        command
            .arg("metrics-generator")
            .arg(format!("--address=127.0.0.1:{port}"))
            .arg(format!("--series={}", self.flags.series));
        let process = self.spawn(command, &format!("generator-{}", self.next_generator))?;
        self.next_generator += 1;
        self.record.generators.insert(port, process);
        self.save()
    }

    fn start_coordinator(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command
            .arg("coordinator")
            .arg(format!("--config.file={}", self.dir.join("prometheus.yml").display()))
            .arg(format!("--web.address=127.0.0.1:{}", self.coordinator_port))
            .arg("--shard.type=process")
            .arg(format!("--shard.process-dir={}", self.dir.join("shards").display()))
            .arg(format!("--shard.prometheus-binary={}", self.prometheus.display()))
            .arg("--shard.process-stop")
            .arg(format!("--shard.max-series={}", self.flags.limit))
            .arg(format!("--shard.max-idle-time={}ms", self.flags.max_idle_time.as_millis()))
            .arg("--coordinator.interval=2s")
            .arg("--sd.init-timeout=10s");
        self.record.coordinator = Some(self.spawn(command, "coordinator")?);
        self.save()
    }

    fn start_global(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.prometheus);
        command
            .arg(format!("--config.file={}", self.dir.join("global.yml").display()))
            .arg(format!("--storage.tsdb.path={}", self.dir.join("global").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.global_port))
            .arg("--web.enable-lifecycle");
        self.record.global = Some(self.spawn(command, "global")?);
        self.save()
    }

    fn spawn(&self, mut command: Command, name: &str) -> anyhow::Result<Process> {
        command.current_dir(&self.dir);
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        Process::start(command, &self.log(name)).with_context(|| format!("start {name} ({program})"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    fn config(&self) -> String {
        let interval = kvass_model::format_prometheus_duration(self.flags.scrape_interval);
        format!(
            "global:\n  scrape_interval: {interval}\n  scrape_timeout: {interval}\n\nscrape_configs:\n- job_name: {JOB}\n  \
             file_sd_configs:\n  - files: [targets.json]\n"
        )
    }

    fn write_targets(&self) -> anyhow::Result<()> {
        self.write("targets.json", &serde_json::json!([{ "targets": self.generators() }]).to_string())
    }

    fn save(&self) -> anyhow::Result<()> {
        self.write("processes.json", &serde_json::to_string_pretty(&self.record)?)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir.join(name);
        kvass_service::write_atomically(&path, text.as_bytes(), 0o644).with_context(|| format!("write {}", path.display()))
    }
}

/// A Prometheus without targets that answers queries from the shards' data.
fn global_config(urls: &[String]) -> String {
    let mut text = "remote_read:\n".to_owned();
    for url in urls {
        text.push_str(&format!("- url: {url}/api/v1/read\n  read_recent: true\n"));
    }
    if urls.is_empty() { "{}\n".to_owned() } else { text }
}

/// A demo that was killed leaves its children behind, and perhaps shards that its coordinator left.
async fn end_leftovers(dir: &Path) {
    let record = fs::read(dir.join("processes.json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    end_all(dir, &record.unwrap_or_default()).await;
}

async fn end_all(dir: &Path, record: &Record) {
    for process in record.all() {
        process.end().await;
    }
    // The coordinator has ended the shards, unless it was killed.
    let shards =
        fs::read(dir.join("shards/shards.json")).ok().and_then(|bytes| serde_json::from_slice::<ShardRecord>(&bytes).ok());
    for shard in shards.into_iter().flat_map(|record| record.shards.into_values()) {
        for process in shard.prometheus.iter().chain(&shard.sidecar) {
            process.end().await;
        }
    }
}

/// Removes what demos write, and nothing else that may lie in the folder.
fn empty(dir: &Path) -> anyhow::Result<()> {
    for name in ["shards", "global", "logs"] {
        let path = dir.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `wanted` if it is a file, else a `prometheus` on the search path.
fn find_prometheus(wanted: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(wanted);
    if path.is_file() {
        return Ok(path.canonicalize()?);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join("prometheus")).find(|path| path.is_file());
    match found {
        Some(found) => Ok(found),
        None => bail!(
            "--prometheus={wanted}: no such file, and no prometheus on the PATH: run scripts/prometheus.sh or install Prometheus"
        ),
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_global_prometheus_reads_every_shard() {
        assert_eq!(
            global_config(&["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()]),
            "remote_read:\n- url: http://127.0.0.1:1/api/v1/read\n  read_recent: true\n\
             - url: http://127.0.0.1:2/api/v1/read\n  read_recent: true\n"
        );
        assert_eq!(global_config(&[]), "{}\n");
    }

    #[test]
    fn a_missing_prometheus_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("prometheus");
        fs::write(&file, "").unwrap();
        assert_eq!(find_prometheus(file.to_str().unwrap()).unwrap(), file.canonicalize().unwrap());
    }

    #[test]
    fn the_record_of_the_coordinator_is_understood() {
        let text = r#"{"scale":1,"shards":{"0":{"prometheus_port":1,"api_port":2,"proxy_port":3,
            "prometheus":{"pid":7,"start_time":8},"sidecar":null}}}"#;
        let record: ShardRecord = serde_json::from_str(text).unwrap();
        assert_eq!(record.shards[&0].prometheus, Some(Process { pid: 7, start_time: 8 }));
        assert_eq!(record.shards[&0].sidecar, None);
    }

    #[test]
    fn only_what_a_demo_writes_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("shards/shard-0")).unwrap();
        fs::create_dir(dir.path().join("mine")).unwrap();
        empty(dir.path()).unwrap();
        assert!(!dir.path().join("shards").exists() && dir.path().join("mine").exists());
    }
}
