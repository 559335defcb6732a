//! The coordinator beside a configuration file that is broken or missing, and shards that have none.

#![allow(clippy::unwrap_used)] // helpers of tests too

mod fake;

use std::{os::unix::fs::symlink, path::Path, time::Duration};

use fake::{Behaviour, FakeShard, Fleet, config_of, exporter, options, until};
use kvass_plan::Limits;
use serde_json::{Value, json};

fn good(config: &str) -> Behaviour {
    Behaviour { config_text: config.to_owned(), scrapes: true, ..Behaviour::default() }
}

async fn ready(fleet: &Fleet) -> (u16, String) {
    let response = reqwest::get(format!("{}/-/ready", fleet.url)).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn shard_shown(fleet: &Fleet, index: usize) -> Value {
    fleet.get("/api/v1/coordinator/status").await["data"]["replicas"][0]["shards"][index].clone()
}

/// What the coordinator can do, a broken or missing file or not.
async fn waits(fleet: &Fleet, shard: &FakeShard, reason: &str) {
    // Longer than two cycles.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let (status, text) = ready(fleet).await;
    assert_eq!(status, 503);
    assert!(text.starts_with("no configuration: ") && text.contains(reason), "{text}");
    for (path, expected) in [
        ("/-/healthy", 200),
        ("/metrics", 200),
        ("/api/v1/targets", 200),
        ("/api/v1/runtimeinfo", 200),
        ("/api/v1/samples", 200),
        ("/api/v1/status/config", 503),
        ("/api/v1/status/extra_config", 200),
        ("/api/v1/coordinator/status", 200),
    ] {
        assert_eq!(reqwest::get(format!("{}{path}", fleet.url)).await.unwrap().status(), expected, "{path}");
    }
    let status = fleet.get("/api/v1/coordinator/status").await;
    assert!(status["data"]["config"]["error"].as_str().unwrap().contains(reason), "{status}");
    assert_eq!((&status["data"]["config"]["hash"], &status["data"]["lastCycle"]), (&json!(""), &Value::Null));
    assert_eq!(fleet.get("/api/v1/runtimeinfo").await["data"]["ConfigHash"], "");
    let metrics = reqwest::get(format!("{}/metrics", fleet.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nkvass_coordinator_config_last_reload_successful 0\n"), "{metrics}");
    assert_eq!(fleet.post("/-/reload", "").await.0, 400);
    let state = shard.lock();
    assert_eq!((state.posts.len(), state.extra.len(), state.pushed_configs.len()), (0, 0, 0), "nothing is pushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_waited_for() {
    fake::rustls();
    let config = config_of(&[exporter(10).await]);
    let shard = FakeShard::start(good(&config)).await;
    let fleet = Fleet::start("scrape_configs: [{}]", &[&shard], Limits::default()).await;
    waits(&fleet, &shard, "job_name").await;
    std::fs::write(fleet.config_file(), &config).unwrap();
    until("the target is assigned", || shard.hashes().len() == 1).await;
    assert_eq!(ready(&fleet).await, (200, "kvass coordinator is ready.\n".to_owned()));
    std::fs::write(fleet.config_file(), "a: [").unwrap();
    for _ in 0..500 {
        if ready(&fleet).await.1.contains("the last good configuration is in force") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, text) = ready(&fleet).await;
    assert_eq!(status, 200, "it works");
    assert!(text.contains("the last good configuration is in force: ") && text.contains("prometheus.yml"), "{text}");
    assert_eq!(shard.hashes().len(), 1);
    fleet.stop().await;
}

/// As the kubelet updates a ConfigMap volume.
fn update_config_map(dir: &Path, version: &str, text: &str) {
    std::fs::create_dir(dir.join(version)).unwrap();
    std::fs::write(dir.join(version).join("prometheus.yml"), text).unwrap();
    symlink(version, dir.join("..data_tmp")).unwrap();
    std::fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_may_come_with_a_config_map_later_than_discovery_would_be_waited_for() {
    fake::rustls();
    let config = config_of(&[exporter(10).await]);
    let shard = FakeShard::start(good(&config)).await;
    let dir = tempfile::tempdir().unwrap();
    let volume = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), &[&shard], Limits::default());
    options.config_file = volume.path().join("prometheus.yml");
    options.sd_init_timeout = Duration::from_millis(300);
    let fleet = Fleet::with(dir, "", options).await;
    waits(&fleet, &shard, "cannot be read").await;
    symlink("..data/prometheus.yml", volume.path().join("prometheus.yml")).unwrap();
    update_config_map(volume.path(), "..v1", "a: [");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ready(&fleet).await.0, 503);
    update_config_map(volume.path(), "..v2", &config);
    until("the target is assigned", || shard.hashes().len() == 1).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_the_last_good_configuration_where_a_folder_is_given() {
    fake::rustls();
    let config = config_of(&[exporter(10).await, exporter(20).await]);
    let shard = FakeShard::start(good(&config)).await;
    let store = tempfile::tempdir().unwrap();
    let start = async |text: &str, store: Option<&Path>| {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), &[&shard], Limits::default());
        options.store_path = store.map(Path::to_owned);
        Fleet::with(dir, text, options).await
    };
    let fleet = start(&config, Some(store.path())).await;
    until("both are assigned", || shard.hashes().len() == 2).await;
    fleet.stop().await;
    shard.lock().targets.clear();

    let fleet = start("a: [", None).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ready(&fleet).await.0, 503);
    fleet.stop().await;
    assert!(shard.hashes().is_empty());

    let fleet = start("a: [", Some(store.path())).await;
    until("both are assigned again", || shard.hashes().len() == 2).await;
    let (status, text) = ready(&fleet).await;
    assert_eq!(status, 200);
    assert!(text.contains("the last good configuration is in force: "), "{text}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_any_configuration_gets_nothing_and_loses_its_targets_after_the_grace() {
    fake::rustls();
    let config = config_of(&[exporter(10).await, exporter(10).await]);
    let none = Behaviour { config_hash: Some(String::new()), ..good(&config) };
    let (a, b) = (FakeShard::start(good(&config)).await, FakeShard::start(none.clone()).await);
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), &[&a, &b], Limits { max_series: Some(15), ..Limits::default() });
    options.unavailable_grace = Duration::from_secs(2);
    let fleet = Fleet::with(dir, &config, options).await;
    until("one fits the shard that can take it", || a.hashes().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(b.lock().posts.is_empty(), "{:?}", b.lock().posts);
    let shown = shard_shown(&fleet, 1).await;
    assert_ne!(shown["state"], "changeable", "{shown}");
    assert!(shown["problem"].as_str().unwrap().contains("has no configuration"), "{shown}");

    // Its file is mended.
    b.lock().behaviour.config_hash = None;
    until("the other is assigned", || b.hashes().len() == 1).await;

    // Replaced by a pod without store, beside a broken file.
    for shard in [&a, &b] {
        shard.lock().behaviour.config_text = config.clone();
    }
    {
        let mut state = b.lock();
        state.behaviour = none;
        state.targets.clear();
        state.posts.clear();
    }
    let lost = std::time::Instant::now();
    let mut shown = Value::Null;
    for _ in 0..500 {
        shown = shard_shown(&fleet, 1).await;
        if shown["state"] == "lost" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(shown["state"], "lost", "{shown}");
    assert!(lost.elapsed() >= Duration::from_secs(2), "not before the grace is over");
    assert!(b.lock().posts.is_empty());
    let status = fleet.get("/api/v1/coordinator/status").await;
    assert_eq!(status["data"]["unassigned"].as_array().unwrap().len(), 1, "free to go elsewhere: {status:#}");

    b.lock().behaviour.config_hash = None;
    until("it gets its target back", || b.hashes().len() == 1).await;
    fleet.stop().await;
}
