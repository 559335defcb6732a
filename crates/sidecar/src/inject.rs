//! Writes what Prometheus reads: the injected configuration and the files with the targets.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use kvass_api::TargetList;
use kvass_config::{Config, Injection, SelfMonitor};
use kvass_model::{Labels, PrometheusLine};
use kvass_service::write_atomically;
use tokio::sync::Mutex;

use crate::delivery::{Delivery, file_name, json_groups, target_delivery};

/// What is the same for every injected configuration of this process.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) output_file: PathBuf,
    pub(crate) proxy_url: Option<String>,
    pub(crate) external_labels: Labels,
    pub(crate) self_monitor: Option<SelfMonitor>,
    pub(crate) strip_rules: bool,
    /// This sidecar's endpoint for `http_sd_configs`.
    pub(crate) http_sd_url: String,
}

/// What Prometheus should have.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) config: Arc<Config>,
    pub(crate) targets: TargetList,
    pub(crate) delivery: Delivery,
    pub(crate) line: PrometheusLine,
    /// Permission of the files.
    pub(crate) mode: u32,
}

/// A file for Prometheus could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be written", path.display())]
pub(crate) struct InjectError {
    path: PathBuf,
    source: io::Error,
}

/// Writer of one injected configuration.
#[derive(Debug)]
pub(crate) struct Injector {
    settings: Arc<Settings>,
    last: Mutex<Option<Rendered>>,
}

/// An injected configuration and what it was made of.
#[derive(Clone, Debug)]
struct Rendered {
    config: Arc<Config>,
    delivery: Delivery,
    yaml: Arc<str>,
}

impl Injector {
    pub(crate) fn new(settings: Settings) -> Self {
        Injector { settings: Arc::new(settings), last: Mutex::default() }
    }

    /// Writes whatever differs from what is on disk, and returns the text of the configuration. Target
    /// files come first, so that a configuration never names a file that is not there.
    pub(crate) async fn write(&self, desired: Desired) -> Result<Arc<str>, InjectError> {
        let mut last = self.last.lock().await;
        let (settings, previous) = (Arc::clone(&self.settings), last.take());
        let written = tokio::task::spawn_blocking(move || settings.write(&desired, previous)).await;
        let rendered =
            written.unwrap_or_else(|error| Err(self.settings.error(&self.settings.output_file, io::Error::other(error))))?;
        let yaml = Arc::clone(&rendered.yaml);
        *last = Some(rendered);
        Ok(yaml)
    }

    /// Removes the target files that the configuration last written does not name. Only once Prometheus
    /// has that configuration: until then it may still read them.
    pub(crate) async fn remove_stale_files(&self) {
        let last = self.last.lock().await;
        let Some(rendered) = &*last else { return };
        let wanted: Vec<String> = match rendered.delivery {
            Delivery::File => rendered.config.jobs().iter().map(|job| file_name(&job.job_name)).collect(),
            Delivery::Http | Delivery::Static => Vec::new(),
        };
        let Ok(entries) = fs::read_dir(self.settings.target_folder()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if !wanted.iter().any(|wanted| name.to_str() == Some(wanted))
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!(file = %entry.path().display(), %error, "stale target file cannot be removed");
            }
        }
    }
}

impl Settings {
    /// Relative to the injected file, which is how Prometheus resolves it.
    fn target_folder_name(&self) -> String {
        let stem = self.output_file.file_stem().unwrap_or_default();
        format!("{}_targets", stem.to_string_lossy())
    }

    fn target_folder(&self) -> PathBuf {
        self.output_file.with_file_name(self.target_folder_name())
    }

    fn write(&self, desired: &Desired, previous: Option<Rendered>) -> Result<Rendered, InjectError> {
        let folder = if desired.delivery == Delivery::File { self.target_folder() } else { self.output_file.with_file_name("") };
        fs::create_dir_all(&folder).map_err(|source| self.error(&folder, source))?;
        if desired.delivery == Delivery::File {
            for (name, content) in target_files(desired) {
                self.write_if_different(&folder.join(name), &content, desired.mode)?;
            }
        }
        let rendered = self.render(desired, previous);
        self.write_if_different(&self.output_file, rendered.yaml.as_bytes(), desired.mode)?;
        Ok(rendered)
    }

    fn render(&self, desired: &Desired, previous: Option<Rendered>) -> Rendered {
        // Only static targets are part of the document; rendering a long one for each change is waste.
        let reusable = |rendered: &Rendered| {
            desired.delivery != Delivery::Static
                && rendered.delivery == desired.delivery
                && Arc::ptr_eq(&rendered.config, &desired.config)
        };
        previous.filter(reusable).unwrap_or_else(|| Rendered {
            config: Arc::clone(&desired.config),
            delivery: desired.delivery,
            yaml: desired.config.inject(&self.injection(desired)).into(),
        })
    }

    fn injection(&self, desired: &Desired) -> Injection {
        let Desired { config, targets, delivery, line, mode: _ } = desired;
        Injection {
            proxy_url: self.proxy_url.clone(),
            targets: target_delivery(*delivery, config, targets, *line, &self.target_folder_name(), &self.http_sd_url),
            extra_external_labels: self.external_labels.clone(),
            self_monitor: self.self_monitor.clone(),
            strip_rules: self.strip_rules,
        }
    }

    fn write_if_different(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), InjectError> {
        if fs::read(path).is_ok_and(|current| current == content) {
            return Ok(());
        }
        write_atomically(path, content, mode).map_err(|source| self.error(path, source))
    }

    fn error(&self, path: &Path, source: io::Error) -> InjectError {
        InjectError { path: path.to_owned(), source }
    }
}

/// A file for every job; `[]` without targets, never a missing file.
fn target_files(desired: &Desired) -> BTreeMap<String, Vec<u8>> {
    let targets_of = |job: &str| desired.targets.get(job).map(Vec::as_slice).unwrap_or_default();
    desired
        .config
        .jobs()
        .iter()
        .map(|job| (file_name(&job.job_name), json_groups(&job.job_name, targets_of(&job.job_name), desired.line)))
        .collect()
}
