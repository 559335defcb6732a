//! The Prometheus configuration in force: loaded from a file, reloaded on request, on SIGHUP and when the
//! file changes. A bad new file leaves the old configuration in force and says why.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use kvass_config::{Config, ConfigError, LoadContext};
use kvass_model::PrometheusLine;
use tokio::sync::{Mutex, watch};

use crate::FileWatcher;

/// How often files are looked at when no change is heard of.
const POLL: Duration = Duration::from_secs(5);
/// A change is often several: wait until the writer is done.
const SETTLE: Duration = Duration::from_millis(50);

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is not a valid configuration.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

/// How the last (re)load went.
#[derive(Clone, Debug, Default)]
pub struct ReloadState {
    /// When a configuration was last taken into force.
    pub last_success: Option<std::time::SystemTime>,
    /// Why the last attempt failed; `None` when it did not.
    pub error: Option<String>,
}

/// The configuration in force and where it comes from.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    line: ArcSwap<PrometheusLine>,
    line_is_open: AtomicBool,
    current: watch::Sender<Option<Arc<Config>>>,
    state: ArcSwap<ReloadState>,
    /// Reloads happen one at a time; holds the texts last tried, so that polling does not repeat a failure.
    last_tried: Mutex<Vec<(PathBuf, String)>>,
}

impl ConfigFile {
    /// Nothing is loaded yet.
    pub fn new(path: impl Into<PathBuf>, line: PrometheusLine) -> Arc<Self> {
        Arc::new(ConfigFile {
            path: path.into(),
            line: ArcSwap::from_pointee(line),
            line_is_open: AtomicBool::new(false),
            current: watch::Sender::new(None),
            state: ArcSwap::default(),
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

    /// Changes whose rules the configuration is read by, from the next load on.
    pub fn set_line(&self, line: PrometheusLine) {
        self.line_is_open.store(false, Ordering::Relaxed);
        self.line.store(Arc::new(line));
    }

    /// Until [`ConfigFile::set_line`], a first configuration that only Prometheus 3 takes is read by its
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

    /// Reads the file and takes it into force. On an error the old configuration stays.
    pub async fn reload(&self) -> Result<Arc<Config>, LoadError> {
        let mut tried = self.last_tried.lock().await;
        self.load(&mut tried).await
    }

    /// Reloads whenever the file, or one it includes, changes, for ever. Failures are logged and shown in
    /// [`ConfigFile::state`]; the same bad content is reported once.
    pub async fn follow(&self, watcher: Arc<FileWatcher>) {
        loop {
            let mut changes = watcher.watch(&self.directories());
            let _ = tokio::time::timeout(POLL, changes.changed()).await;
            tokio::time::sleep(SETTLE).await;
            let mut tried = self.last_tried.lock().await;
            let unchanged = {
                let paths: Vec<PathBuf> = tried.iter().map(|(path, _)| path.clone()).collect();
                let texts = tokio::task::spawn_blocking(move || read_all(&paths)).await.unwrap_or_default();
                !tried.is_empty() && texts == *tried
            };
            if !unchanged {
                let _ = self.load(&mut tried).await;
            }
        }
    }

    async fn load(&self, tried: &mut Vec<(PathBuf, String)>) -> Result<Arc<Config>, LoadError> {
        let (path, line) = (self.path.clone(), self.line());
        let open = self.line_is_open.load(Ordering::Relaxed) && self.current().is_none();
        let read = move || match read_and_parse(&path, line) {
            (_, Err(_)) if open && load_once(&path, PrometheusLine::V3).is_ok() => {
                (PrometheusLine::V3, read_and_parse(&path, PrometheusLine::V3))
            }
            read => (line, read),
        };
        let (read_by, (texts, result)) = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
            (line, (Vec::new(), Err(LoadError::Read { path: self.path.clone(), source: io::Error::other(error) })))
        });
        if read_by != line {
            tracing::info!(file = %self.path.display(), "configuration is one for prometheus 3");
            self.line.store(Arc::new(read_by));
        }
        *tried = texts;
        match result {
            Ok(config) => {
                let config = Arc::new(config);
                self.state.store(Arc::new(ReloadState { last_success: Some(std::time::SystemTime::now()), error: None }));
                tracing::info!(file = %self.path.display(), hash = %config.hash(), jobs = config.jobs().len(), "configuration loaded");
                for warning in config.warnings() {
                    tracing::warn!(file = %self.path.display(), %warning, "configuration warning");
                }
                self.current.send_replace(Some(Arc::clone(&config)));
                Ok(config)
            }
            Err(error) => {
                let text = chain(&error);
                let in_force = self.current().map_or_else(|| "none".to_owned(), |config| config.hash().to_string());
                tracing::error!(file = %self.path.display(), error = %text, %in_force, "configuration refused");
                let last_success = self.state.load().last_success;
                self.state.store(Arc::new(ReloadState { last_success, error: Some(text) }));
                Err(error)
            }
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

/// Loads a configuration once, for commands that do not follow the file.
pub fn load_once(path: &Path, line: PrometheusLine) -> Result<Config, LoadError> {
    read_and_parse(path, line).1
}

/// Loads a configuration from a text that did not come from a file of ours; relative paths in it are
/// resolved as if it stood at `path`.
pub fn parse_text(text: &str, path: &Path, line: PrometheusLine) -> Result<Config, LoadError> {
    parse(text, path, line, &mut Vec::new())
}

/// An error and its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Some libraries repeat their cause's text in their own.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

fn read_and_parse(path: &Path, line: PrometheusLine) -> (Vec<(PathBuf, String)>, Result<Config, LoadError>) {
    let mut texts = Vec::new();
    let result =
        std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source }).and_then(|text| {
            texts.push((path.to_owned(), text.clone()));
            parse(&text, path, line, &mut texts)
        });
    (texts, result)
}

fn parse(text: &str, path: &Path, line: PrometheusLine, texts: &mut Vec<(PathBuf, String)>) -> Result<Config, LoadError> {
    let included = std::cell::RefCell::new(texts);
    let context = LoadContext {
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        line,
        env: &|name| std::env::var(name).ok(),
        read_glob: &|pattern| {
            let files = crate::glob(pattern)?
                .into_iter()
                .map(|path| Ok((path.clone(), std::fs::read_to_string(path)?)))
                .collect::<io::Result<Vec<_>>>()?;
            included.borrow_mut().extend(files.iter().cloned());
            Ok(files)
        },
    };
    Ok(Config::parse(text, &context)?)
}

fn read_all(paths: &[PathBuf]) -> Vec<(PathBuf, String)> {
    paths.iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap_or_default())).collect()
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_first_configuration_decides_an_open_line() {
        use PrometheusLine::{V2, V3};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prometheus.yml");
        let only_3 = "scrape_configs: [{job_name: a, static_configs: [{targets: [h], labels: {'a b': c}}]}]\n";
        for (text, open, taken, line) in
            [(only_3, true, true, V3), (only_3, false, false, V2), ("{}\n", true, true, V2), ("x: y\n", true, false, V2)]
        {
            std::fs::write(&path, text).unwrap();
            let file = ConfigFile::new(&path, V2);
            if open {
                file.leave_line_open();
            }
            assert_eq!((file.reload().await.is_ok(), file.line()), (taken, line), "{text}");
        }

        let file = ConfigFile::new(&path, V2);
        file.leave_line_open();
        file.set_line(V2);
        std::fs::write(&path, only_3).unwrap();
        assert!(file.reload().await.is_err(), "it was said whose rules apply");
    }
}
