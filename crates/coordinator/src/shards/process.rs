//! Shards that are processes on this machine (`--shard.type=process`): each a real Prometheus with its
//! sidecar, started in process groups of their own, so that they outlive the coordinator, and recorded in
//! `<dir>/shards.json`, so that the next coordinator adopts them.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio::{process::Command, sync::Mutex};

use super::{ListedShard, ManagerContext, Replica, ShardError};
use crate::options::ProcessShards;

/// How long a process may take to end after SIGTERM.
const TERM_PATIENCE: Duration = Duration::from_secs(10);

/// The processes of one folder; a single replica.
pub(crate) struct Processes {
    options: ProcessShards,
    context: ManagerContext,
    record: Mutex<Record>,
    /// Locked as long as we live: two coordinators would each start what the other has ended, and forget what it has started.
    _folder: File,
}

/// Content of `shards.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    scale: u32,
    #[serde(default)]
    shards: BTreeMap<u32, Shard>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Shard {
    prometheus_port: u16,
    api_port: u16,
    proxy_port: u16,
    #[serde(default)]
    prometheus: Option<Process>,
    #[serde(default)]
    sidecar: Option<Process>,
}

/// A process, told from a later one of the same pid by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    pid: i32,
    /// Clock ticks since boot, field 22 of `/proc/<pid>/stat`.
    start_time: u64,
}

impl Processes {
    pub(crate) fn new(mut options: ProcessShards, context: ManagerContext) -> Result<Self, ShardError> {
        let error = |action: String| move |source| ShardError::Process { action, source };
        fs::create_dir_all(&options.dir).map_err(error(format!("create {}", options.dir.display())))?;
        // Children run in other directories.
        options.dir = options.dir.canonicalize().map_err(error(format!("resolve {}", options.dir.display())))?;
        let folder = File::open(&options.dir).map_err(error(format!("open {}", options.dir.display())))?;
        // Some file systems know no locks.
        if let Err(TryLockError::WouldBlock) = folder.try_lock() {
            let source = io::Error::other("another coordinator that runs uses this folder");
            return Err(error(format!("{}: expected a folder of our own", options.dir.display()))(source));
        }
        let path = options.dir.join("shards.json");
        let record = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| error(format!("{}: not a record of shards", path.display()))(io::Error::other(e)))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(e) => return Err(error(format!("read {}", path.display()))(e)),
        };
        Ok(Processes { options, context, record: Mutex::new(record), _folder: folder })
    }

    /// Lists the shards, starting again what has died.
    pub(crate) async fn list(&self) -> Result<Vec<Replica>, ShardError> {
        let mut record = self.record.lock().await;
        let before = record.clone();
        let mut shards = Vec::new();
        for ordinal in 0..record.scale {
            let shard = record.shards.entry(ordinal).or_default();
            // One shard that cannot be started must not hide the others.
            if let Err(error) = self.supervise(ordinal, shard) {
                tracing::warn!(shard = ordinal, error = %kvass_service::config_file::chain(&error), "shard cannot be started");
            }
            shards.push(ListedShard {
                ordinal,
                name: format!("shard-{ordinal}"),
                absent: shard.sidecar.is_none().then_some("its sidecar does not run"),
                overdue: false,
                url: shard.sidecar.map(|_| format!("http://127.0.0.1:{}", shard.api_port)),
                incarnation: shard.sidecar.map(|p| format!("{}-{}", p.pid, p.start_time)).unwrap_or_default(),
            });
        }
        if *record != before {
            self.save(&record)?;
        }
        Ok(vec![Replica { id: "process".to_owned(), scale: record.scale, scalable: true, shards, ..Replica::default() }])
    }

    pub(crate) async fn set_scale(&self, scale: u32) -> Result<(), ShardError> {
        let mut record = self.record.lock().await;
        record.scale = scale;
        // The wish first: after a crash in between, list() starts or stop() ends what is left.
        self.save(&record)?;
        let removed: Vec<u32> = record.shards.range(scale..).map(|(ordinal, _)| *ordinal).collect();
        for ordinal in removed {
            if let Some(shard) = record.shards.get_mut(&ordinal) {
                stop(shard).await;
            }
            if self.options.delete_data {
                let dir = self.shard_dir(ordinal);
                match fs::remove_dir_all(&dir) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => {
                        tracing::warn!(shard = ordinal, directory = %dir.display(), %error, "data of a removed shard stays")
                    }
                }
            }
            record.shards.remove(&ordinal);
            self.save(&record)?;
        }
        Ok(())
    }

    /// Ends the shards if asked to; otherwise they go on scraping.
    pub(crate) async fn shutdown(&self) {
        if !self.options.stop_on_exit {
            return;
        }
        let mut record = self.record.lock().await;
        futures::future::join_all(record.shards.values_mut().map(stop)).await;
        if let Err(error) = self.save(&record) {
            tracing::warn!(error = %kvass_service::config_file::chain(&error), "shards are ended but not recorded as such");
        }
    }

    fn shard_dir(&self, ordinal: u32) -> PathBuf {
        self.options.dir.join(format!("shard-{ordinal}"))
    }

    fn save(&self, record: &Record) -> Result<(), ShardError> {
        let path = self.options.dir.join("shards.json");
        let error = |source| ShardError::Process { action: format!("write {}", path.display()), source };
        let text = serde_json::to_vec_pretty(record).map_err(|e| error(io::Error::other(e)))?;
        kvass_service::write_atomically(&path, &text, 0o600).map_err(error)
    }

    /// Starts what is not running. Prometheus comes once the sidecar has written its configuration.
    fn supervise(&self, ordinal: u32, shard: &mut Shard) -> Result<(), ShardError> {
        let dir = self.shard_dir(ordinal);
        let config = dir.join("prometheus.yml");
        let error = |action: &str| {
            let action = format!("shard {ordinal}: {action}");
            move |source| ShardError::Process { action, source }
        };
        if shard.sidecar.is_none_or(|p| !p.is_running()) {
            // A port may have been taken while the process was down; Prometheus keeps its own if it runs.
            let keep_prometheus_port = shard.prometheus.is_some_and(|p| p.is_running());
            fs::create_dir_all(&dir).map_err(error("create its folder"))?;
            shard.sidecar = None;
            shard.api_port = usable_port(shard.api_port).map_err(error("find a port"))?;
            shard.proxy_port = usable_port(shard.proxy_port).map_err(error("find a port"))?;
            if !keep_prometheus_port {
                shard.prometheus_port = usable_port(shard.prometheus_port).map_err(error("find a port"))?;
            }
            let mut command = Command::new(&self.context.program);
            command
                .arg("sidecar")
                .arg(format!("--web.api-addr=127.0.0.1:{}", shard.api_port))
                .arg(format!("--web.proxy-addr=127.0.0.1:{}", shard.proxy_port))
                .arg(format!("--prometheus.url=http://127.0.0.1:{}", shard.prometheus_port))
                .arg(format!("--config.file={}", self.context.config_file.display()))
                .arg(format!("--config.output-file={}", config.display()))
                .arg(format!("--store.path={}", dir.display()))
                .arg(format!("--inject.proxy=http://127.0.0.1:{}", shard.proxy_port))
                .arg(format!("--inject.external-label=shard={ordinal}"))
                .args(&self.options.sidecar_args);
            let process = start(command, &dir, "sidecar.log").map_err(error("start its sidecar"))?;
            tracing::info!(shard = ordinal, pid = process.pid, api_port = shard.api_port, "sidecar started");
            shard.sidecar = Some(process);
        }
        if shard.prometheus.is_none_or(|p| !p.is_running()) && config.exists() {
            shard.prometheus = None;
            let mut command = Command::new(&self.options.prometheus);
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{}", shard.prometheus_port))
                .arg("--web.enable-lifecycle")
                .args(&self.options.prometheus_args);
            let process =
                start(command, &dir, "prometheus.log").map_err(error(&format!("start {}", self.options.prometheus.display())))?;
            tracing::info!(shard = ordinal, pid = process.pid, port = shard.prometheus_port, "prometheus started");
            shard.prometheus = Some(process);
        }
        Ok(())
    }
}

impl Process {
    /// A zombie counts as dead: it is a child that ended and is about to be reaped.
    fn is_running(self) -> bool {
        stat(self.pid).is_some_and(|(state, start_time)| start_time == self.start_time && state != 'Z' && state != 'X')
    }

    /// To the group, so that nothing a wrapper script started is left behind.
    fn signal(self, signal: Signal) {
        let Some(group) = Pid::from_raw(self.pid) else { return };
        if let Err(error) = rustix::process::kill_process_group(group, signal) {
            tracing::debug!(pid = self.pid, %error, "process cannot be signalled");
        }
    }
}

/// Starts a child in a process group of its own (a terminal's Ctrl-C does not reach it), its output
/// appended to a log file in `dir`.
fn start(mut command: Command, dir: &Path, log: &str) -> io::Result<Process> {
    let log = OpenOptions::new().create(true).append(true).open(dir.join(log))?;
    let mut child = command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(false)
        .spawn()?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or_else(|| io::Error::other("ended at once"))?;
    let start_time = stat(pid).map(|(_, start_time)| start_time).ok_or_else(|| io::Error::other("ended at once"))?;
    // Reaps the child when it ends.
    tokio::spawn(async move { child.wait().await });
    Ok(Process { pid, start_time })
}

async fn stop(shard: &mut Shard) {
    let processes: Vec<Process> = [shard.prometheus.take(), shard.sidecar.take()].into_iter().flatten().collect();
    // Prometheus first: it must not find its proxy gone while it still scrapes.
    for process in processes {
        if !process.is_running() {
            continue;
        }
        process.signal(Signal::TERM);
        let ended = async {
            while process.is_running() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(TERM_PATIENCE, ended).await.is_err() {
            tracing::warn!(pid = process.pid, "process did not end when asked to and is killed");
            process.signal(Signal::KILL);
        }
    }
}

/// State letter and start time of a process.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command, in parentheses, may itself hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

/// `port` if it is free, else any free one.
fn usable_port(port: u16) -> io::Result<u16> {
    if port != 0 && TcpListener::bind(("127.0.0.1", port)).is_ok() {
        return Ok(port);
    }
    TcpListener::bind(("127.0.0.1", 0))?.local_addr().map(|address| address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, program: &str) -> Result<Processes, ShardError> {
        let options = ProcessShards {
            dir: dir.to_owned(),
            prometheus: "/bin/false".into(),
            prometheus_args: vec![],
            sidecar_args: vec![],
            delete_data: false,
            stop_on_exit: true,
        };
        Processes::new(options, ManagerContext { config_file: "prometheus.yml".into(), program: program.into() })
    }

    fn manager(dir: &Path, program: &str) -> Processes {
        open(dir, program).unwrap()
    }

    /// A stand-in for a process of ours that ignores its arguments and runs until it is ended.
    fn sleeper(dir: &Path) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.join("sleeper");
        fs::write(&path, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    #[tokio::test]
    async fn adopts_restarts_and_removes() {
        let dir = tempfile::tempdir().unwrap();
        let program = sleeper(dir.path());
        let first = manager(dir.path(), &program);
        first.set_scale(2).await.unwrap();
        let listed = first.list().await.unwrap();
        assert_eq!(listed[0].shards.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["shard-0", "shard-1"]);
        drop(first);

        let second = manager(dir.path(), &program);
        assert_eq!(second.list().await.unwrap(), listed, "the next coordinator adopts what runs");

        let record = second.record.lock().await.clone();
        record.shards[&1].sidecar.unwrap().signal(Signal::KILL);
        while record.shards[&1].sidecar.unwrap().is_running() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let after = second.list().await.unwrap();
        assert_eq!(after[0].shards[0], listed[0].shards[0]);
        assert_ne!(after[0].shards[1].incarnation, listed[0].shards[1].incarnation);

        second.set_scale(0).await.unwrap();
        assert!(second.list().await.unwrap()[0].shards.is_empty());
        assert!(!record.shards[&0].sidecar.unwrap().is_running());
        assert!(dir.path().join("shard-0").exists(), "data of a removed shard stays unless asked otherwise");
    }

    #[test]
    fn a_folder_has_one_coordinator_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let open = || open(dir.path(), "k");
        let first = open().unwrap();
        let error = kvass_service::config_file::chain(&open().err().unwrap());
        assert!(error.ends_with("expected a folder of our own: another coordinator that runs uses this folder"), "{error}");
        drop(first);
        open().unwrap();
    }

    #[test]
    fn a_record_that_is_not_one_is_an_error_naming_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("shards.json"), "{").unwrap();
        let error = open(dir.path(), "k").err().unwrap();
        assert!(error.to_string().contains("shards.json"), "{error}");
    }
}
