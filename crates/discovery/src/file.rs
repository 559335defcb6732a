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
use tokio::{
    task::{JoinError, JoinHandle},
    time::{Instant, sleep, timeout},
};

use crate::{feed::Feed, json_groups};

/// How often files are read where no change is heard of: inotify is silent on network file systems, and
/// when a folder above the watched one is replaced.
const POLL: Duration = Duration::from_secs(5);
/// A change is often several; a reader that is too fast sees half a file.
const SETTLE: Duration = Duration::from_millis(30);
/// How long a file may be gone or empty before that is believed. Who writes without a rename removes the file or makes it empty
/// first; Prometheus collects changes for five seconds and sees few of these gaps.
const PATIENCE: Duration = Duration::from_secs(3);
/// After how long a read is said to take long.
const SLOW: Duration = Duration::from_secs(30);
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
        let read = tokio::task::spawn_blocking(move || {
            let changed = files.read(&patterns, line, Instant::now());
            (files, changed)
        });
        let (read, was_slow) = patiently(read, SLOW, &feed).await;
        let changed = match read {
            Ok((read, changed)) => {
                files = read;
                changed
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends.
                Err(_) => return,
            },
        };
        // Finding no file at all is no change, but has to be said once.
        if changed || was_slow || !feed.delivered() || feed.holds() {
            files.publish(&feed);
        }
        let pause = if files.awaits() { PATIENCE.min(poll) } else { poll };
        match timeout(pause, changes.changed()).await {
            Ok(_) => {
                sleep(SETTLE).await;
                changes.mark_unchanged();
            }
            // Nothing was heard: perhaps because a directory is new or was replaced.
            Err(_) => changes = watcher.watch(&directories),
        }
    }
}

/// Waits for the end of a task as long as it takes. Says in the feed when that is long, and tells whether it did.
async fn patiently<T>(mut task: JoinHandle<T>, slow: Duration, feed: &Feed) -> (Result<T, JoinError>, bool) {
    if let Ok(done) = timeout(slow, &mut task).await {
        return (done, false);
    }
    let text = "file_sd_configs: the files are still being read, which takes long: a file system may not answer";
    tracing::warn!("target files are still being read, their previous targets stay");
    feed.set_errors(vec![text.to_owned()]);
    (task.await, true)
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
    /// Since when the file is gone or empty.
    absent_since: Option<Instant>,
}

impl Files {
    /// Reads all files; tells whether anything changed since the last time.
    fn read(&mut self, patterns: &[String], line: PrometheusLine, now: Instant) -> bool {
        let mut before = std::mem::take(&mut self.files);
        let errors_before = std::mem::take(&mut self.errors);
        let mut changed = false;
        for pattern in patterns {
            let (paths, problem) = match kvass_service::glob_with_problem(pattern) {
                Ok(expanded) => expanded,
                Err(error) => (Vec::new(), Some(error)),
            };
            if let Some(error) = problem {
                self.errors.push(format!("file_sd_configs: {pattern:?} cannot be expanded: {error}"));
            }
            for path in paths {
                if self.files.contains_key(&path) {
                    continue;
                }
                let mut file = before.remove(&path).unwrap_or_else(|| {
                    changed = true;
                    File::default()
                });
                changed |= file.read(&path, line, now);
                self.files.insert(path, file);
            }
        }
        for (path, mut file) in before {
            // Where a folder cannot be read nobody knows what is gone.
            if !self.errors.is_empty() || file.is_awaited(now) {
                self.files.insert(path, file);
            } else {
                changed = true;
            }
        }
        if self.errors == errors_before {
            return changed;
        }
        if !self.errors.is_empty() {
            tracing::warn!(errors = ?self.errors, "target files cannot be looked for, the previous targets stay");
        }
        true
    }

    /// Whether a file is gone or empty that may be there again in a moment.
    fn awaits(&self) -> bool {
        self.files.values().any(|file| file.absent_since.is_some())
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
    fn read(&mut self, path: &Path, line: PrometheusLine, now: Instant) -> bool {
        let read = fs::read(path);
        let is_absent = match &read {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_absent && self.is_awaited(now) {
            return false;
        }
        self.absent_since = None;
        match read {
            Ok(bytes) => self.update(path, bytes, line),
            Err(error) => self.unreadable(path, &error),
        }
    }

    /// The file is gone or empty: whether that is not to be believed yet, because there are targets to be lost.
    fn is_awaited(&mut self, now: Instant) -> bool {
        let has_targets = self.groups.iter().flatten().any(|group| !group.targets.is_empty());
        has_targets && now.saturating_duration_since(*self.absent_since.get_or_insert(now)) < PATIENCE
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(files: &Files) -> Vec<&str> {
        let groups = files.files.values().flat_map(|file| file.groups.iter().flatten());
        groups.flat_map(|group| group.targets.iter().map(|target| target.address())).collect()
    }

    #[tokio::test]
    async fn a_file_system_that_does_not_answer_is_named() {
        let feed = Feed::new(Arc::default());
        let (answer, answered) = std::sync::mpsc::channel();
        let task = tokio::task::spawn_blocking(move || answered.recv().unwrap());
        let of_feed = Arc::clone(&feed);
        let waiting = tokio::spawn(async move { patiently(task, Duration::from_millis(10), &of_feed).await });
        while feed.lock().errors.is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(feed.lock().errors[0].contains("still being read"), "{:?}", feed.lock().errors);
        answer.send(7).unwrap();
        let (done, was_slow) = waiting.await.unwrap();
        assert_eq!((done.unwrap(), was_slow), (7, true));
        let quick = tokio::task::spawn_blocking(|| 8);
        assert!(matches!(patiently(quick, SLOW, &feed).await, (Ok(8), false)));
    }

    #[test]
    fn a_file_that_is_gone_or_empty_may_be_about_to_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yml");
        let patterns = [dir.path().join("*.yml").display().to_string()];
        let start = Instant::now();
        let mut files = Files::default();
        let mut read = |after: Duration| {
            let changed = files.read(&patterns, PrometheusLine::V3, start + after);
            (changed, addresses(&files).join(" "), files.awaits())
        };
        let seen = |changed, addresses: &str, awaits| (changed, addresses.to_owned(), awaits);
        let second = Duration::from_secs(1);
        fs::write(&path, "- targets: [a]").unwrap();
        assert_eq!(read(Duration::ZERO), seen(true, "a", false));

        // Begun anew and finished in time: nobody has lost a target, and the patience is whole again.
        for round in 0..2 {
            fs::write(&path, "").unwrap();
            assert_eq!(read(second * (4 * round + 1)), seen(false, "a", true));
            fs::remove_file(&path).unwrap();
            assert_eq!(read(second * (4 * round + 2)), seen(false, "a", true));
            fs::write(&path, "- targets: [a]").unwrap();
            assert_eq!(read(second * (4 * round + 3)), seen(false, "a", false));
        }

        fs::write(&path, "").unwrap();
        assert_eq!(read(second * 10), seen(false, "a", true));
        assert_eq!(read(second * 10 + PATIENCE), seen(true, "", false));
        fs::write(&path, "- targets: [b]").unwrap();
        assert_eq!(read(second * 20), seen(true, "b", false));
        fs::remove_file(&path).unwrap();
        assert_eq!(read(second * 21), seen(false, "b", true));
        assert_eq!(read(second * 21 + PATIENCE), seen(true, "", false));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_an_error_and_takes_no_target_away() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("a.yml"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let patterns = [dir.path().join("*.yml").display().to_string()];
        let mut files = Files::default();
        let start = Instant::now();
        files.read(&patterns, PrometheusLine::V3, start);
        let error = |files: &Files| files.files[&link].error.clone().unwrap_or_default();
        assert!(error(&files).contains("a.yml cannot be read: No such file"), "{}", error(&files));
        fs::write(&file, "- targets: [a]").unwrap();
        files.read(&patterns, PrometheusLine::V3, start);
        assert_eq!((addresses(&files), error(&files)), (vec!["a"], String::new()));
        fs::remove_file(&file).unwrap();
        for after in [Duration::ZERO, PATIENCE] {
            files.read(&patterns, PrometheusLine::V3, start + after);
            assert_eq!(addresses(&files), ["a"]);
        }
        assert!(error(&files).contains("cannot be read") && !files.awaits(), "{}", error(&files));
    }

    #[test]
    fn a_folder_that_cannot_be_read_takes_no_target_away() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("f");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.yml"), "- targets: [a]").unwrap();
        let patterns = [folder.join("*.yml").display().to_string()];
        let mut files = Files::default();
        let start = Instant::now();
        files.read(&patterns, PrometheusLine::V3, start);
        // A link that leads to itself: root may read every folder.
        fs::remove_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(&folder, &folder).unwrap();
        assert!(files.read(&patterns, PrometheusLine::V3, start + PATIENCE * 2));
        assert_eq!(addresses(&files), ["a"]);
        assert!(files.errors[0].contains("cannot be expanded"), "{:?}", files.errors);
        fs::remove_file(&folder).unwrap();
        files.read(&patterns, PrometheusLine::V3, start + PATIENCE * 3);
        files.read(&patterns, PrometheusLine::V3, start + PATIENCE * 4);
        assert_eq!((addresses(&files), files.errors.len()), (vec![], 0));
    }
}
