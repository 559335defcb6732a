//! The user's configuration: from a file that is watched, or pushed by the coordinator. Whatever was
//! good last stays in force, over a restart too.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use kvass_config::{Config, PrometheusRelease};
use kvass_model::PrometheusLine;
use kvass_service::{ConfigFile, LoadError, ReloadState, config_file};
use tokio::sync::watch;

use crate::{lock, store::Store};

/// What Prometheus runs with until a configuration is pushed; the text is the original's.
const PLACEHOLDER: &str = "\nglobal:\n  external_labels:\n    status: default\n";

/// Where the user's configuration comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    File(Arc<ConfigFile>),
    Pushed(Pushed),
}

/// A pushed configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    #[error("config file is set, raw content config update is not allowed")]
    FileIsSet,
    #[error(transparent)]
    Invalid(#[from] LoadError),
}

/// There is nothing to reload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    #[error("no config file is set, the configuration is pushed by the coordinator")]
    NoFile,
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Origin {
    /// `output` is the injected file: relative paths of a pushed text start in its folder. `line` is
    /// `None` until Prometheus can be asked.
    pub(crate) fn new(file: Option<&Path>, output: &Path, store: &Store, line: Option<PrometheusLine>) -> Self {
        let assumed = line.unwrap_or_default();
        match file {
            Some(file) => {
                let file = ConfigFile::new(file, assumed, Some(store.directory()));
                if line.is_none() {
                    file.leave_line_open();
                }
                Origin::File(file)
            }
            None => Origin::Pushed(Pushed::new(output.with_file_name("pushed.yml"), store.clone(), assumed)),
        }
    }

    /// The first load. A failure is shown by [`Origin::state`] and in the log.
    pub(crate) async fn load(&self) {
        match self {
            // The failure was logged and is kept in the state.
            Origin::File(file) => drop(file.reload().await),
            Origin::Pushed(pushed) => pushed.restore(),
        }
    }

    /// The configuration in force: for pushed ones at first a placeholder, for files nothing until one
    /// could be loaded.
    pub(crate) fn current(&self) -> Option<Arc<Config>> {
        self.subscribe().borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Config>>> {
        match self {
            Origin::File(file) => file.subscribe(),
            Origin::Pushed(pushed) => pushed.current.subscribe(),
        }
    }

    /// The hash in force; empty before there is any configuration of the user.
    pub(crate) fn hash(&self) -> String {
        match self {
            Origin::Pushed(pushed) if pushed.is_placeholder.load(Ordering::Relaxed) => String::new(),
            _ => self.current().map(|config| config.hash().to_string()).unwrap_or_default(),
        }
    }

    /// How the last (re)load went.
    pub(crate) fn state(&self) -> Arc<ReloadState> {
        match self {
            Origin::File(file) => file.state(),
            Origin::Pushed(pushed) => pushed.state.load_full(),
        }
    }

    /// Permission of the files written for Prometheus: no wider than the user's file, yet readable for a
    /// Prometheus of another user where that one is. A pushed configuration has no file to go by.
    pub(crate) fn output_mode(&self) -> u32 {
        match self {
            Origin::File(file) => std::fs::metadata(file.path()).map_or(0o600, |m| 0o600 | (m.permissions().mode() & 0o044)),
            Origin::Pushed(_) => 0o644,
        }
    }

    /// Notes that Prometheus has confirmed `config`: it is worth being kept for the next start. A pushed
    /// one is kept when it is taken.
    pub(crate) async fn keep(&self, config: &Arc<Config>) {
        if let Origin::File(file) = self {
            file.keep(config).await;
        }
    }

    /// Reads the file again.
    pub(crate) async fn reload(&self) -> Result<(), ReloadError> {
        match self {
            Origin::File(file) => Ok(file.reload().await.map(drop)?),
            Origin::Pushed(_) => Err(ReloadError::NoFile),
        }
    }

    /// Takes a pushed text into force.
    pub(crate) fn push(&self, text: &str) -> Result<(), PushError> {
        match self {
            Origin::File(_) => Err(PushError::FileIsSet),
            Origin::Pushed(pushed) => pushed.push(text),
        }
    }

    /// Keeps a pushed configuration that could not be kept when it came.
    pub(crate) fn keep_again(&self) {
        match self {
            Origin::File(_) => {}
            Origin::Pushed(pushed) => pushed.keep_again(),
        }
    }

    /// Which Prometheus the configuration is read for.
    pub(crate) fn release(&self) -> PrometheusRelease {
        match self {
            Origin::File(file) => file.release(),
            Origin::Pushed(pushed) => **pushed.release.load(),
        }
    }

    /// Changes which Prometheus the configuration is read for, and reads it again.
    pub(crate) async fn set_release(&self, release: PrometheusRelease) {
        match self {
            Origin::File(file) => {
                file.set_release(release);
                drop(file.reload().await);
            }
            Origin::Pushed(pushed) => pushed.set_release(release),
        }
    }
}

/// A configuration that comes over the API. The last one is kept in the store, so that a restart does
/// not take all targets from Prometheus until the coordinator pushes again.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// Names the text in errors and resolves its relative paths; there is no such file.
    path: PathBuf,
    store: Store,
    release: ArcSwap<PrometheusRelease>,
    current: watch::Sender<Option<Arc<Config>>>,
    is_placeholder: AtomicBool,
    /// What is in force could not be kept.
    is_unkept: AtomicBool,
    state: ArcSwap<ReloadState>,
    text: ArcSwapOption<String>,
    /// What is kept and what is in force must come from the same push.
    pushing: Mutex<()>,
}

impl Pushed {
    fn new(path: PathBuf, store: Store, line: PrometheusLine) -> Self {
        Pushed {
            path,
            store,
            release: ArcSwap::from_pointee(PrometheusRelease { line, knows_more: false }),
            current: watch::Sender::new(None),
            is_placeholder: AtomicBool::new(true),
            is_unkept: AtomicBool::new(false),
            state: ArcSwap::default(),
            text: ArcSwapOption::empty(),
            pushing: Mutex::default(),
        }
    }

    fn restore(&self) {
        let kept = self.store.load_pushed_config().is_some_and(|text| match self.take(&text, self.release_of_kept()) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(error = %config_file::chain(&error), "kept configuration is refused, waiting for a new one");
                false
            }
        });
        if !kept {
            match self.parse(PLACEHOLDER) {
                Ok(config) => drop(self.current.send_replace(Some(Arc::new(config)))),
                Err(error) => tracing::error!(error = %config_file::chain(&error), "placeholder configuration is refused"),
            }
        }
    }

    fn push(&self, text: &str) -> Result<(), PushError> {
        let _pushing = lock(&self.pushing);
        if self.text.load().as_deref().is_some_and(|current| current == text) {
            // Another one may have been refused in between.
            let last_success = self.state.load().last_success;
            self.state.store(Arc::new(ReloadState { last_success, error: None }));
            return Ok(());
        }
        match self.parse(text).map_err(PushError::from) {
            Ok(config) => {
                self.keep(text);
                self.enforce(text, config);
                Ok(())
            }
            Err(error) => {
                let text = config_file::chain(&error);
                tracing::error!(error = %text, "pushed configuration refused, the last good one stays in force");
                let last_success = self.state.load().last_success;
                self.state.store(Arc::new(ReloadState { last_success, error: Some(text) }));
                Err(error)
            }
        }
    }

    fn keep(&self, text: &str) {
        let kept = self.store.save_pushed_config(text);
        if let Err(error) = &kept
            && !self.is_unkept.load(Ordering::Relaxed)
        {
            tracing::error!(error = %config_file::chain(error), "pushed configuration cannot be kept for the next start, trying again");
        }
        self.is_unkept.store(kept.is_err(), Ordering::Relaxed);
    }

    fn keep_again(&self) {
        let _pushing = lock(&self.pushing);
        if self.is_unkept.load(Ordering::Relaxed)
            && let Some(text) = self.text.load_full()
        {
            self.keep(&text);
        }
    }

    fn set_release(&self, release: PrometheusRelease) {
        self.release.store(Arc::new(release));
        if let Some(text) = self.text.load_full()
            && let Err(error) = self.take(&text, release)
        {
            tracing::error!(error = %config_file::chain(&error), "configuration is refused by the rules of the newly seen Prometheus");
        }
    }

    fn take(&self, text: &str, release: PrometheusRelease) -> Result<(), LoadError> {
        self.enforce(text, config_file::parse_text(text, &self.path, release)?);
        Ok(())
    }

    /// Keys that are not known here were let through when the text came.
    fn release_of_kept(&self) -> PrometheusRelease {
        PrometheusRelease { knows_more: true, ..**self.release.load() }
    }

    fn enforce(&self, text: &str, config: Config) {
        tracing::info!(hash = %config.hash(), jobs = config.jobs().len(), "pushed configuration in force");
        self.text.store(Some(Arc::new(text.to_owned())));
        self.is_placeholder.store(false, Ordering::Relaxed);
        self.state.store(Arc::new(ReloadState { last_success: Some(std::time::SystemTime::now()), error: None }));
        self.current.send_replace(Some(Arc::new(config)));
    }

    fn parse(&self, text: &str) -> Result<Config, LoadError> {
        config_file::parse_text(text, &self.path, **self.release.load())
    }
}
