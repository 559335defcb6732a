//! Which configuration is in force: when the file changes, while it is broken, and over a restart.

#![allow(clippy::unwrap_used)] // helpers of tests too

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kvass_config::{Config, PrometheusRelease};
use kvass_model::PrometheusLine::{self, V2, V3};
use kvass_service::{ConfigFile, FileWatcher};

fn release(line: PrometheusLine, knows_more: bool) -> PrometheusRelease {
    PrometheusRelease { line, knows_more }
}

/// A volume as the kubelet fills it from a ConfigMap: every update swaps the symlink `..data`.
struct ConfigMap {
    dir: tempfile::TempDir,
    updates: usize,
}

impl ConfigMap {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut map = ConfigMap { dir: tempfile::tempdir().unwrap(), updates: 0 };
        map.update(files);
        map
    }

    fn update(&mut self, files: &[(&str, &str)]) {
        self.updates += 1;
        let version = format!("..v{}", self.updates);
        fs::create_dir(self.path(&version)).unwrap();
        for (name, text) in files {
            fs::write(self.path(&version).join(name), text).unwrap();
            if fs::symlink_metadata(self.path(name)).is_err() {
                symlink(Path::new("..data").join(name), self.path(name)).unwrap();
            }
        }
        symlink(&version, self.path("..data_tmp")).unwrap();
        fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
        fs::remove_dir_all(self.path(&format!("..v{}", self.updates - 1))).unwrap_or_default();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("prometheus.yml")
    }
}

fn jobs(config: &Config) -> Vec<&str> {
    config.jobs().iter().map(|job| &*job.job_name).collect()
}

fn in_force(file: &ConfigFile) -> Vec<String> {
    file.current().iter().flat_map(|config| jobs(config)).map(str::to_owned).collect()
}

async fn until(what: &str, check: impl Fn() -> bool) {
    for _ in 0..600 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(check(), "never: {what}");
}

fn config(job: &str) -> String {
    format!("scrape_configs: [{{job_name: {job}}}]\n")
}

/// A new process with the same folder.
async fn start(file: &Path, line: PrometheusLine, folder: Option<&Path>) -> Arc<ConfigFile> {
    let file = ConfigFile::new(file, line, folder);
    let _ = file.reload().await;
    file
}

async fn keep(file: &ConfigFile) {
    file.keep(&file.current().unwrap()).await;
}

#[tokio::test]
async fn a_config_map_is_followed_and_a_broken_one_changes_nothing() {
    let mut map = ConfigMap::new(&[("prometheus.yml", "a: [")]);
    let file = start(&map.file(), V2, None).await;
    assert!(file.current().is_none());
    assert!(file.state().error.is_some());
    let following = tokio::spawn({
        let file = Arc::clone(&file);
        async move { file.follow(FileWatcher::new()).await }
    });
    map.update(&[("prometheus.yml", &config("a"))]);
    until("the first good one", || in_force(&file) == ["a"]).await;
    map.update(&[("prometheus.yml", "scrape_configs: [{}]")]);
    until("the broken one is told", || file.state().error.as_ref().is_some_and(|e| e.contains("job_name"))).await;
    assert_eq!(in_force(&file), ["a"]);
    map.update(&[("prometheus.yml", &config("b"))]);
    until("the next good one", || in_force(&file) == ["b"]).await;
    assert_eq!(file.state().error, None);
    following.abort();
}

#[tokio::test]
async fn a_file_that_is_written_slowly_is_taken_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prometheus.yml");
    let text: String =
        std::iter::once("scrape_configs:\n".to_owned()).chain((0..20).map(|job| format!("- job_name: job-{job}\n"))).collect();
    fs::write(&path, &text).unwrap();
    let file = start(&path, V2, None).await;
    let following = tokio::spawn({
        let file = Arc::clone(&file);
        async move { file.follow(FileWatcher::new()).await }
    });
    let mut taken = file.subscribe();
    let mut numbers = Vec::new();
    let mut writer = fs::File::create(&path).unwrap();
    for line in text.replace("job-19", "last").lines() {
        writeln!(writer, "{line}").unwrap();
        if let Ok(changed) = tokio::time::timeout(Duration::from_millis(70), taken.changed()).await {
            changed.unwrap();
            numbers.push(in_force(&file).len());
        }
    }
    until("all of it", || in_force(&file).last().unwrap() == "last").await;
    assert!(numbers.is_empty(), "{numbers:?}");
    following.abort();
}

#[tokio::test]
async fn what_was_kept_is_in_force_after_a_start_beside_a_broken_or_missing_file() {
    let store = tempfile::tempdir().unwrap();
    let mut map = ConfigMap::new(&[("prometheus.yml", &config("a"))]);
    let file = start(&map.file(), V2, Some(store.path())).await;
    let first = file.current().unwrap();
    map.update(&[("prometheus.yml", &config("b"))]);
    file.reload().await.unwrap();
    file.keep(&first).await;
    assert_eq!(fs::read_dir(store.path()).unwrap().count(), 0, "what is not in force any more is not kept");
    keep(&file).await;
    let hash = file.current().unwrap().hash().clone();

    map.update(&[("prometheus.yml", "a: [")]);
    let file = start(&map.file(), V2, Some(store.path())).await;
    assert_eq!(in_force(&file), ["b"]);
    assert_eq!(*file.current().unwrap().hash(), hash);
    let state = file.state();
    assert!(state.error.as_ref().is_some_and(|error| error.contains("prometheus.yml")), "{state:?}");
    assert!(state.last_success.is_some());
    assert!(start(&map.file(), V2, None).await.current().is_none(), "only where a folder is given");

    fs::remove_file(map.file()).unwrap();
    let file = start(&map.file(), V2, Some(store.path())).await;
    assert_eq!(in_force(&file), ["b"]);
    // And healed without a restart.
    let following = tokio::spawn({
        let file = Arc::clone(&file);
        async move { file.follow(FileWatcher::new()).await }
    });
    map.update(&[("prometheus.yml", &config("c"))]);
    until("the mended file", || in_force(&file) == ["c"] && file.state().error.is_none()).await;
    following.abort();
}

#[tokio::test]
async fn included_files_are_kept_too() {
    let store = tempfile::tempdir().unwrap();
    let main = "scrape_config_files: ['*.inc.yml', 'x?.yml']\nscrape_configs: [{job_name: a}]\n";
    let mut map = ConfigMap::new(&[("prometheus.yml", main), ("b.inc.yml", &config("b")), ("x1.yml", &config("c"))]);
    let file = start(&map.file(), V2, Some(store.path())).await;
    assert_eq!(in_force(&file), ["a", "b", "c"]);
    keep(&file).await;
    map.update(&[("prometheus.yml", main), ("b.inc.yml", "scrape_configs: [{}]"), ("x1.yml", &config("c"))]);
    assert_eq!(in_force(&*start(&map.file(), V2, Some(store.path())).await), ["a", "b", "c"]);
}

#[tokio::test]
async fn an_included_file_that_comes_or_can_be_read_again_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prometheus.yml");
    fs::write(&path, "scrape_config_files: ['*.inc']\n").unwrap();
    let file = start(&path, V2, None).await;
    let following = tokio::spawn({
        let file = Arc::clone(&file);
        async move { file.follow(FileWatcher::new()).await }
    });
    fs::write(dir.path().join("a.inc"), config("a")).unwrap();
    until("the new file", || in_force(&file) == ["a"]).await;
    fs::write(dir.path().join("b.inc"), b"\xff").unwrap();
    until("it cannot be read", || file.state().error.is_some()).await;
    fs::write(dir.path().join("b.inc"), config("b")).unwrap();
    until("it can", || in_force(&file) == ["a", "b"] && file.state().error.is_none()).await;
    following.abort();
}

#[tokio::test]
async fn what_was_kept_is_read_by_the_rules_in_force() {
    let store = tempfile::tempdir().unwrap();
    let only_3 = "scrape_configs: [{job_name: a, static_configs: [{targets: [h], labels: {'a b': c}}]}]\n";
    let mut map = ConfigMap::new(&[("prometheus.yml", only_3)]);
    keep(&*start(&map.file(), V3, Some(store.path())).await).await;
    map.update(&[("prometheus.yml", "a: [")]);

    let file = ConfigFile::new(map.file(), V2, Some(store.path()));
    file.leave_line_open();
    file.reload().await.unwrap_err();
    assert_eq!((in_force(&file), file.line()), (vec!["a".to_owned()], V3), "open: it decides itself");

    let file = start(&map.file(), V2, Some(store.path())).await;
    assert!(file.current().is_none(), "not one for Prometheus 2");
    file.set_release(release(V3, false));
    file.reload().await.unwrap_err();
    assert_eq!(in_force(&file), ["a"]);

    // What is in force is read anew, too, although the file is broken.
    map.update(&[("prometheus.yml", &config("b"))]);
    let file = start(&map.file(), V2, None).await;
    let before = file.current().unwrap();
    map.update(&[("prometheus.yml", "a: [")]);
    file.reload().await.unwrap_err();
    assert!(Arc::ptr_eq(&before, &file.current().unwrap()));
    file.set_release(release(V3, false));
    file.reload().await.unwrap_err();
    assert!(!Arc::ptr_eq(&before, &file.current().unwrap()));
    assert_eq!(in_force(&file), ["b"]);
}

#[tokio::test]
async fn a_first_configuration_decides_an_open_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prometheus.yml");
    let only_3 = "scrape_configs: [{job_name: a, static_configs: [{targets: [h], labels: {'a b': c}}]}]\n";
    for (text, open, taken, line) in
        [(only_3, true, true, V3), (only_3, false, false, V2), ("{}\n", true, true, V2), ("x: y\n", true, false, V2)]
    {
        fs::write(&path, text).unwrap();
        let file = ConfigFile::new(&path, V2, None);
        if open {
            file.leave_line_open();
        }
        assert_eq!((file.reload().await.is_ok(), file.line()), (taken, line), "{text}");
    }

    let file = ConfigFile::new(&path, V2, None);
    file.leave_line_open();
    file.set_release(release(V2, false));
    fs::write(&path, only_3).unwrap();
    assert!(file.reload().await.is_err(), "it was said whose rules apply");
}

#[tokio::test]
async fn unknown_keys_are_for_a_prometheus_that_may_know_them() {
    let store = tempfile::tempdir().unwrap();
    let map = ConfigMap::new(&[("prometheus.yml", "scrape_configs: [{job_name: a, key_of_tomorrow: {x: y}}]\n")]);
    let file = ConfigFile::new(map.file(), V3, Some(store.path()));
    assert!(file.reload().await.unwrap_err().to_string().contains("key_of_tomorrow: unknown key"));
    file.set_release(release(V3, true));
    let config = file.reload().await.unwrap();
    assert!(config.warnings()[0].ends_with("key_of_tomorrow: unknown key, passed on to Prometheus"), "{:?}", config.warnings());
    file.keep(&config).await;

    // At the next start nobody knows yet which Prometheus is there; it was good before.
    let file = ConfigFile::new(map.file(), V3, Some(store.path()));
    file.reload().await.unwrap_err();
    assert_eq!(in_force(&file), ["a"]);
}
