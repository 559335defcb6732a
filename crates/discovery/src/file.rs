//! Targets from files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kvass_config::FileSdConfig;
use kvass_model::{LabelsBuilder, PrometheusLine, TargetGroup};
use kvass_service::FileWatcher;
use tokio::time::{sleep, timeout};

use crate::{feed::Feed, json_groups};

/// How often files are read where no change is heard of: inotify is silent on network file systems, and
/// when a folder above the watched one is replaced.
const POLL: Duration = Duration::from_secs(5);
/// A change is often several; a reader that is too fast sees half a file.
const SETTLE: Duration = Duration::from_millis(30);
/// Label holding the path of the file, as the pattern found it.
const FILE_PATH_LABEL: &str = "__meta_filepath";

/// Reads the files of a `file_sd_configs` entry on every change, for ever.
pub(crate) async fn run(config: FileSdConfig, watcher: Arc<FileWatcher>, feed: Arc<Feed>) {
    feed.set_name("file_sd_configs");
    let directories = directories(&config.files);
    let poll = POLL.min(config.refresh_interval);
    let mut changes = watcher.watch(&directories);
    let mut files = Files::default();
    loop {
        let (patterns, line) = (config.files.clone(), config.line);
        // Names may live on slow file systems; the runtime must not wait for them.
        let Ok((read, changed)) = tokio::task::spawn_blocking(move || {
            let changed = files.read(&patterns, line);
            (files, changed)
        })
        .await
        else {
            return;
        };
        files = read;
        // Finding no file at all is no change, but has to be said once.
        if changed || !feed.delivered() || feed.holds() {
            files.publish(&feed);
        }
        match timeout(poll, changes.changed()).await {
            Ok(_) => {
                sleep(SETTLE).await;
                changes.mark_unchanged();
            }
            // Nothing was heard: perhaps because a directory is new or was replaced.
            Err(_) => changes = watcher.watch(&directories),
        }
    }
}

fn directories(patterns: &[String]) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> =
        patterns.iter().filter_map(|pattern| Path::new(pattern).parent().map(Path::to_owned)).collect();
    directories.sort();
    directories.dedup();
    directories
}

/// What is known of the files of one section.
#[derive(Debug, Default)]
struct Files {
    files: BTreeMap<PathBuf, File>,
    /// Patterns that cannot be expanded.
    errors: Vec<String>,
}

#[derive(Debug, Default)]
struct File {
    /// Last content read, good or bad; `None` if it could not be read.
    content: Option<String>,
    /// Groups of the last good content; `None` if there was none yet.
    groups: Option<Vec<TargetGroup>>,
    error: Option<String>,
}

impl Files {
    /// Reads all files; tells whether anything changed since the last time.
    fn read(&mut self, patterns: &[String], line: PrometheusLine) -> bool {
        let mut before = std::mem::take(&mut self.files);
        let errors_before = std::mem::take(&mut self.errors);
        let mut changed = false;
        for pattern in patterns {
            match kvass_service::glob(pattern) {
                Ok(paths) => {
                    for path in paths {
                        if self.files.contains_key(&path) {
                            continue;
                        }
                        let mut file = before.remove(&path).unwrap_or_else(|| {
                            changed = true;
                            File::default()
                        });
                        match fs::read(&path) {
                            Ok(bytes) => changed |= file.update(&path, bytes, line),
                            // It vanished since the pattern was expanded.
                            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                                changed = true;
                                continue;
                            }
                            Err(error) => changed |= file.unreadable(&path, &error),
                        }
                        self.files.insert(path, file);
                    }
                }
                Err(error) => self.errors.push(format!("file_sd_configs: {pattern:?} cannot be expanded: {error}")),
            }
        }
        changed || !before.is_empty() || self.errors != errors_before
    }

    fn publish(&self, feed: &Feed) {
        let errors = self.files.values().filter_map(|file| file.error.clone());
        feed.set_errors(self.errors.iter().cloned().chain(errors).collect());
        // A file that was never good may hold targets that shards are scraping.
        let complete = self.errors.is_empty() && self.files.values().all(|file| file.groups.is_some());
        let groups = self.files.values().flat_map(|file| file.groups.iter().flatten().cloned());
        feed.replace_but(&BTreeSet::new(), groups, complete);
    }
}

impl File {
    fn update(&mut self, path: &Path, bytes: Vec<u8>, line: PrometheusLine) -> bool {
        let content = match String::from_utf8(bytes) {
            Ok(content) => content,
            Err(error) => return self.unreadable(path, &io::Error::new(io::ErrorKind::InvalidData, error.utf8_error())),
        };
        if self.content.as_ref() == Some(&content) {
            return false;
        }
        match groups(&content, path, line) {
            Ok(groups) => {
                self.groups = Some(groups.into_iter().enumerate().map(|(index, group)| named(group, path, index)).collect());
                self.error = None;
            }
            Err(error) => {
                let error = format!("file_sd_configs: {error}");
                tracing::warn!(file = %path.display(), error, "target file is not usable, its previous targets stay");
                self.error = Some(error);
            }
        }
        self.content = Some(content);
        true
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) -> bool {
        let error = format!("file_sd_configs: {} cannot be read: {error}", path.display());
        self.content = None;
        if self.error.as_ref() == Some(&error) {
            return false;
        }
        tracing::warn!(file = %path.display(), error, "target file is not readable, its previous targets stay");
        self.error = Some(error);
        true
    }
}

/// The groups of a file, whose name says what it is written in: JSON is not only YAML of another look.
fn groups(content: &str, path: &Path, line: PrometheusLine) -> Result<Vec<TargetGroup>, String> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        return json_groups::decode(content.as_bytes(), line).map_err(|error| format!("{}: {error}", path.display()));
    }
    kvass_config::parse_target_groups(content, path, line).map_err(|error| error.to_string())
}

/// The group as it is known to others: with its source and the label telling the file.
fn named(mut group: TargetGroup, path: &Path, index: usize) -> TargetGroup {
    let path = path.to_string_lossy();
    group.source = format!("{path}:{index}");
    let mut labels = LabelsBuilder::from(&group.labels);
    labels.set(FILE_PATH_LABEL, &path);
    group.labels = labels.build();
    group
}
