//! The Prometheus configuration in force: loaded from a file, reloaded on request, on SIGHUP and when the
//! file changes. A bad new file leaves the old configuration in force and says why; where a folder is given
//! for it, also over a restart.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use kvass_config::{Config, PrometheusRelease};
use kvass_model::PrometheusLine;
use tokio::sync::{Mutex, watch};

pub use crate::read_config::{LoadError, chain, load_once, parse_text};
use crate::{
    FileWatcher,
    last_good::LastGood,
    read_config::{Attempt, Files, parse_kept, read_again, read_and_parse},
};

/// How often files are looked at when no change is heard of.
const POLL: Duration = Duration::from_secs(5);
/// A change is often several: wait until the writer is done.
const SETTLE: Duration = Duration::from_millis(50);
/// How long changed files must stay as they are. Who writes without a rename may take a while, and the first part of a configuration is
/// often a good one, without the jobs of the rest.
const STILL: Duration = Duration::from_millis(500);
/// How often that is waited for. What never rests is read all the same.
const STILL_TRIES: usize = 20;

/// How the last (re)load went.
#[derive(Clone, Debug, Default)]
pub struct ReloadState {
    /// When a configuration was last taken into force.
    pub last_success: Option<SystemTime>,
    /// Why the last attempt failed; `None` when it did not.
    pub error: Option<String>,
}

/// The configuration in force and where it comes from.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    line: ArcSwap<PrometheusLine>,
    line_is_open: AtomicBool,
    pass_unknown_keys: AtomicBool,
    current: watch::Sender<Option<Arc<Config>>>,
    state: ArcSwap<ReloadState>,
    in_force: StdMutex<Option<InForce>>,
    last_good: Option<LastGood>,
    /// Reloads happen one at a time; holds what was last tried, so that polling does not repeat a failure.
    last_tried: Mutex<Attempt>,
}

/// What the configuration in force was made of.
#[derive(Debug)]
struct InForce {
    config: Arc<Config>,
    line: PrometheusLine,
    files: Files,
    is_kept: bool,
}

impl ConfigFile {
    /// Nothing is loaded yet. In `keep_in`, a folder, the last good configuration is kept for the next
    /// start: see [`ConfigFile::keep`].
    pub fn new(path: impl Into<PathBuf>, line: PrometheusLine, keep_in: Option<&Path>) -> Arc<Self> {
        Arc::new(ConfigFile {
            path: path.into(),
            line: ArcSwap::from_pointee(line),
            line_is_open: AtomicBool::new(false),
            pass_unknown_keys: AtomicBool::new(false),
            current: watch::Sender::new(None),
            state: ArcSwap::default(),
            in_force: StdMutex::default(),
            last_good: keep_in.map(LastGood::new),
            last_tried: Mutex::default(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose rules the configuration is read by.
    pub fn line(&self) -> PrometheusLine {
        **self.line.load()
    }

    /// Which Prometheus the configuration is read for.
    pub fn release(&self) -> PrometheusRelease {
        PrometheusRelease { line: self.line(), knows_more: self.pass_unknown_keys.load(Ordering::Relaxed) }
    }

    /// Changes which Prometheus the configuration is read for, from the next load on.
    pub fn set_release(&self, release: PrometheusRelease) {
        self.line_is_open.store(false, Ordering::Relaxed);
        self.line.store(Arc::new(release.line));
        self.pass_unknown_keys.store(release.knows_more, Ordering::Relaxed);
    }

    /// Until [`ConfigFile::set_release`], a first configuration that only Prometheus 3 takes is read by its
    /// rules: the Prometheus that could be asked may be waiting for this very configuration.
    pub fn leave_line_open(&self) {
        self.line_is_open.store(true, Ordering::Relaxed);
    }

    /// The configuration in force, if any was ever loaded.
    pub fn current(&self) -> Option<Arc<Config>> {
        self.current.borrow().clone()
    }

    /// Follows the configuration in force.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Config>>> {
        self.current.subscribe()
    }

    /// How the last (re)load went.
    pub fn state(&self) -> Arc<ReloadState> {
        self.state.load_full()
    }

    /// Reads the file and takes it into force. On an error the old configuration stays; where there is
    /// none, that kept from before the start takes its place.
    pub async fn reload(&self) -> Result<Arc<Config>, LoadError> {
        let mut tried = self.last_tried.lock().await;
        self.load(&mut tried).await
    }

    /// Reloads whenever the file, or one it includes, changes, for ever. Failures are logged and shown in
    /// [`ConfigFile::state`]; the same bad content is reported once.
    pub async fn follow(&self, watcher: Arc<FileWatcher>) {
        let mut heard: Option<watch::Receiver<u64>> = None;
        loop {
            // Directories may have come or been replaced.
            let mut changes = watcher.watch(&self.directories());
            // Something may have changed while we read, or before we began to watch.
            let is_due = heard.is_none_or(|heard| heard.has_changed().unwrap_or(true));
            if !is_due {
                let _ = tokio::time::timeout(POLL, changes.changed()).await;
            }
            heard = Some(changes);
            tokio::time::sleep(SETTLE).await;
            let files = self.read_until_still().await;
            let mut tried = self.last_tried.lock().await;
            let unchanged = !tried.files.is_empty() && files == tried.files;
            if !unchanged {
                let _ = self.load(&mut tried).await;
            }
        }
    }

    /// What the files say; if that is news, once nobody writes to them any more. A reload may be asked for meanwhile.
    async fn read_until_still(&self) -> Files {
        let (patterns, mut files) = {
            let tried = self.last_tried.lock().await;
            let files = self.read_again(tried.patterns.clone()).await;
            if files == tried.files {
                return files;
            }
            (tried.patterns.clone(), files)
        };
        for _ in 0..STILL_TRIES {
            tokio::time::sleep(STILL).await;
            let now = self.read_again(patterns.clone()).await;
            if now == files {
                break;
            }
            files = now;
        }
        files
    }

    async fn read_again(&self, patterns: Vec<String>) -> Files {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || read_again(&path, &patterns)).await.unwrap_or_default()
    }

    /// Keeps `config` for the next start, provided it is still the one in force: called once it has proved
    /// good. Without a folder to keep it in nothing happens; a failure is logged.
    pub async fn keep(&self, config: &Arc<Config>) {
        let Some(last_good) = self.last_good.clone() else { return };
        let files = match &*self.in_force() {
            Some(in_force) if Arc::ptr_eq(&in_force.config, config) && !in_force.is_kept => in_force.files.clone(),
            _ => return,
        };
        let saved = tokio::task::spawn_blocking(move || last_good.save(&files)).await;
        if let Some(in_force) = &mut *self.in_force()
            && Arc::ptr_eq(&in_force.config, config)
        {
            // A write that failed fails again: it is tried with the next configuration.
            in_force.is_kept = true;
        }
        if let Err(error) = saved.unwrap_or_else(|error| Err(io::Error::other(error))) {
            let folder = self.last_good.as_ref().map(|kept| kept.path().display().to_string());
            tracing::error!(file = folder, %error, "last good configuration cannot be kept for the next start");
        }
    }

    async fn load(&self, tried: &mut Attempt) -> Result<Arc<Config>, LoadError> {
        let (path, release) = (self.path.clone(), self.release());
        let line = release.line;
        let open = self.is_open();
        let read = move || match read_and_parse(&path, release) {
            (_, Err(_)) if open && load_once(&path, PrometheusLine::V3).is_ok() => {
                let newer = PrometheusRelease { line: PrometheusLine::V3, ..release };
                (PrometheusLine::V3, read_and_parse(&path, newer))
            }
            read => (line, read),
        };
        let (read_by, (attempt, result)) = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
            (line, (Attempt::default(), Err(LoadError::Read { path: self.path.clone(), source: io::Error::other(error) })))
        });
        *tried = attempt;
        match result {
            Ok(config) => {
                let config = Arc::new(config);
                self.adopt_line(read_by);
                self.state.store(Arc::new(ReloadState { last_success: Some(SystemTime::now()), error: None }));
                tracing::info!(file = %self.path.display(), hash = %config.hash(), jobs = config.jobs().len(), "configuration loaded");
                for warning in config.warnings() {
                    tracing::warn!(file = %self.path.display(), %warning, "configuration warning");
                }
                for name in &tried.unresolved {
                    tracing::warn!(file = %self.path.display(), name, "no such environment variable: the reference stays as it is");
                }
                self.enforce(&config, read_by, tried.files.clone(), false);
                Ok(config)
            }
            Err(error) => {
                let text = chain(&error);
                let before = self.state();
                let kept_since = self.fall_back().await;
                let in_force = self.current().map_or_else(|| "none".to_owned(), |config| config.hash().to_string());
                if before.error.as_ref() == Some(&text) {
                    tracing::info!(file = %self.path.display(), %in_force, "configuration is still refused");
                } else {
                    tracing::error!(file = %self.path.display(), error = %text, %in_force, "configuration refused");
                }
                let last_success = kept_since.or(before.last_success);
                self.state.store(Arc::new(ReloadState { last_success, error: Some(text) }));
                Err(error)
            }
        }
    }

    /// What to go on with while the file cannot be used: what is in force, read anew if other rules apply
    /// by now, or, after a start, what was kept. Answers when what was kept was good.
    async fn fall_back(&self) -> Option<SystemTime> {
        let (line, open) = (self.line(), self.is_open());
        let (files, since) = match &*self.in_force() {
            Some(in_force) if in_force.line == line => return None,
            Some(in_force) => (Some(in_force.files.clone()), None),
            None => (None, None),
        };
        let (files, since) = match files {
            Some(files) => (files, since),
            None => {
                let last_good = self.last_good.clone()?;
                tokio::task::spawn_blocking(move || last_good.load()).await.ok().flatten()?
            }
        };
        let lines = [Some(line), open.then_some(PrometheusLine::V3)];
        let mut refusal = None;
        for line in lines.into_iter().flatten() {
            match parse_kept(&files, line) {
                Ok(config) => {
                    let config = Arc::new(config);
                    self.adopt_line(line);
                    if since.is_some() {
                        tracing::warn!(file = %self.path.display(), hash = %config.hash(), jobs = config.jobs().len(), "last good configuration of before the start in force");
                    }
                    self.enforce(&config, line, files, since.is_some());
                    return since;
                }
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        if let Some(error) = refusal {
            tracing::error!(error = %chain(&error), "last good configuration is refused by the rules of this Prometheus");
        }
        None
    }

    fn enforce(&self, config: &Arc<Config>, line: PrometheusLine, files: Files, is_kept: bool) {
        *self.in_force() = Some(InForce { config: Arc::clone(config), line, files, is_kept });
        self.current.send_replace(Some(Arc::clone(config)));
    }

    fn in_force(&self) -> std::sync::MutexGuard<'_, Option<InForce>> {
        // Nothing is left half-done by a panic elsewhere.
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a first configuration may still decide whose rules apply.
    fn is_open(&self) -> bool {
        self.line_is_open.load(Ordering::Relaxed) && self.current().is_none()
    }

    fn adopt_line(&self, read_by: PrometheusLine) {
        if read_by != self.line() {
            tracing::info!(file = %self.path.display(), "configuration is one for prometheus 3");
            self.line.store(Arc::new(read_by));
        }
    }

    /// The directories in which a change may concern us: those of the files, and, for a ConfigMap mount,
    /// that of the path itself, in which the kubelet swaps the `..data` symlink.
    fn directories(&self) -> Vec<PathBuf> {
        let files = self.current().map(|config| config.files().to_vec()).unwrap_or_default();
        let mut directories: Vec<PathBuf> = files.iter().chain([&self.path]).map(|file| directory_of(file)).collect();
        directories.sort();
        directories.dedup();
        directories
    }
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
