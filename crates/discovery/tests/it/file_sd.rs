use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use kvass_discovery::{Discovered, Manager};
use tokio::sync::watch;

use crate::common::{addresses, jobs, manager, until};

fn start(directory: &Path, pattern: &str) -> (Manager, watch::Receiver<Arc<Discovered>>) {
    let manager = manager();
    let snapshots = manager.subscribe();
    let config = format!("- job_name: j\n  file_sd_configs: [{{files: ['{}/{pattern}']}}]\n", directory.display());
    manager.apply(&jobs(&config));
    (manager, snapshots)
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn files_come_change_break_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let (_manager, mut snapshots) = start(dir.path(), "*.json");
    let empty = until(&mut snapshots, "j", |job| job.complete).await;
    assert!(empty.groups.is_empty() && empty.errors.is_empty());

    let a = dir.path().join("a.json");
    replace(&a, r#"[{"targets": ["a:1"], "labels": {"env": "x"}}, {"targets": ["b:1"]}]"#);
    let found = until(&mut snapshots, "j", |job| job.groups.len() == 2).await;
    assert_eq!(addresses(&found), ["a:1", "b:1"]);
    assert_eq!(found.groups[0].source, format!("{}:0", a.display()));
    assert_eq!(found.groups[0].labels.get("__meta_filepath"), a.to_str());
    assert_eq!(found.groups[0].labels.get("env"), Some("x"));

    replace(&a, r#"[{"targets": ["a:1"], "label": {}}]"#);
    let broken = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!(broken.groups, found.groups);
    assert!(broken.complete);
    assert!(broken.errors[0].contains("a.json"), "{:?}", broken.errors);

    replace(&a, r#"[{"targets": ["a:1"], "labels": {"env": "x"}}]"#);
    let shrunk = until(&mut snapshots, "j", |job| job.errors.is_empty()).await;
    assert_eq!(addresses(&shrunk), ["a:1"]);
    assert!(Arc::ptr_eq(&shrunk.groups[0], &found.groups[0]), "an unchanged group is kept");

    fs::rename(&a, dir.path().join("b.json")).unwrap();
    until(&mut snapshots, "j", |job| job.groups.len() == 1 && job.groups[0].source.ends_with("b.json:0")).await;

    fs::remove_file(dir.path().join("b.json")).unwrap();
    until(&mut snapshots, "j", |job| job.groups.is_empty() && job.errors.is_empty()).await;
}

#[tokio::test]
async fn yaml_files_and_files_that_do_not_match() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yml"), "- targets: [a:1]\n  labels: {version: 1.10}\n").unwrap();
    fs::write(dir.path().join("a.json"), "{").unwrap();
    let (_manager, mut snapshots) = start(dir.path(), "*.yml");
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["a:1"]);
    assert_eq!(found.groups[0].labels.get("version"), Some("1.10"));
}

/// A shard may be scraping what the file says; an unknown file must not look like an empty one.
#[tokio::test]
async fn a_file_that_was_never_good_leaves_the_job_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.json"), "[").unwrap();
    fs::write(dir.path().join("b.json"), r#"[{"targets": ["b:1"]}]"#).unwrap();
    let (_manager, mut snapshots) = start(dir.path(), "*.json");
    let broken = until(&mut snapshots, "j", |job| !job.errors.is_empty() && !job.groups.is_empty()).await;
    assert!(!broken.complete);
    assert_eq!(addresses(&broken), ["b:1"], "the other file does not wait");
    replace(&dir.path().join("a.json"), "[]");
    until(&mut snapshots, "j", |job| job.complete && job.errors.is_empty()).await;
}

/// ConfigMap mounts: the files are links into a folder that is swapped by replacing a link.
#[tokio::test]
async fn a_swapped_folder_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    for (version, target) in [("v1", "a:1"), ("v2", "b:1")] {
        fs::create_dir(dir.path().join(version)).unwrap();
        fs::write(dir.path().join(version).join("t.yml"), format!("[{{targets: ['{target}']}}]")).unwrap();
    }
    symlink("v1", dir.path().join("data")).unwrap();
    symlink("data/t.yml", dir.path().join("t.yml")).unwrap();
    let (_manager, mut snapshots) = start(dir.path(), "t.yml");
    until(&mut snapshots, "j", |job| addresses(job) == ["a:1"]).await;

    symlink("v2", dir.path().join("data.new")).unwrap();
    fs::rename(dir.path().join("data.new"), dir.path().join("data")).unwrap();
    until(&mut snapshots, "j", |job| addresses(job) == ["b:1"]).await;
}

/// No event tells of this; the poll finds it, and events work afterwards.
#[tokio::test]
async fn a_folder_that_comes_later_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let later = dir.path().join("later");
    let (_manager, mut snapshots) = start(&later, "*.json");
    until(&mut snapshots, "j", |job| job.complete && job.groups.is_empty()).await;
    fs::create_dir(&later).unwrap();
    replace(&later.join("a.json"), r#"[{"targets": ["a:1"]}]"#);
    until(&mut snapshots, "j", |job| addresses(job) == ["a:1"]).await;
    let changed = Instant::now();
    replace(&later.join("a.json"), r#"[{"targets": ["b:1"]}]"#);
    until(&mut snapshots, "j", |job| addresses(job) == ["b:1"]).await;
    assert!(changed.elapsed() < Duration::from_secs(4), "found by the poll, not by an event");
}
