use std::{
    os::unix::fs::PermissionsExt,
    sync::{Arc, atomic::Ordering},
};

use kvass_model::Labels;
use serde_json::json;

use crate::support::{CONFIG, FakePrometheus, World, eventually, serve, target};

#[tokio::test]
async fn targets_survive_an_orderly_and_a_sudden_end() {
    let world = World::new().await;
    let list = [target(1, "h:1", "/m"), target(u64::MAX, "h:2", "/m")];
    world.assign(&list).await;
    let world = World::start(world.stop().await, |_| {}).await;
    assert_eq!(world.get("/api/v1/shard/targets/assigned/").await.1["data"]["Targets"]["j"], json!(list));
    world.assign(&list[..1]).await;
    let world = World::start(world.kill(), |_| {}).await;
    assert_eq!(world.get("/api/v1/shard/targets/assigned/").await.1["data"]["Targets"]["j"], json!(list[..1]));
    assert_eq!(world.status(1).await["series"], 3);
    eventually("files are back", async || world.read("out/injected_targets/j.json").contains("h:1")).await;
}

#[tokio::test]
async fn an_end_takes_no_longer_than_allowed_even_with_a_client_that_stays() {
    let world = World::new().await;
    let _idle = tokio::net::TcpStream::connect(world.proxy).await.unwrap();
    // `stop` itself waits ten seconds at most.
    world.stop().await;
}

#[tokio::test]
async fn a_corrupt_store_does_not_prevent_the_start() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("prometheus.yml"), CONFIG).unwrap();
    std::fs::create_dir(dir.path().join("store")).unwrap();
    std::fs::write(dir.path().join("store/kvass-shard.json"), "{\"Targets\":{\"j\":[{\"hash\":1").unwrap();
    let world = World::start(dir, |_| {}).await;
    assert_eq!(world.get("/api/v1/shard/targets/status/").await.1["data"], json!({}));
    assert_eq!(world.read("store/kvass-shard.json.corrupt"), "{\"Targets\":{\"j\":[{\"hash\":1");
    world.assign(&[target(2, "h:1", "/m")]).await;
    assert!(world.read("store/kvass-shard.json").contains("\"hash\":2"));
}

#[tokio::test]
async fn targets_are_scraped_although_their_list_cannot_be_kept_and_kept_once_it_can() {
    let world = World::new().await;
    eventually("applied", async || world.file("store/kvass-last-good-config.json").exists()).await;
    // A file in the place of the folder: as with a full disk, nothing can be written.
    std::fs::remove_dir_all(world.file("store")).unwrap();
    std::fs::write(world.file("store"), "").unwrap();
    world.assign(&[target(7, "h:7", "/m")]).await;
    assert!(world.read("out/injected_targets/j.json").contains("h:7"));
    let (status, text) = world.get("/-/ready").await;
    assert_eq!(status, 200);
    assert!(text.as_str().unwrap().contains("the target list cannot be kept for the next start: "), "{text}");
    std::fs::remove_file(world.file("store")).unwrap();
    eventually("kept", async || {
        std::fs::read_to_string(world.file("store/kvass-shard.json")).is_ok_and(|kept| kept.contains("\"hash\":7"))
    })
    .await;
    assert!(!world.get("/-/ready").await.1.as_str().unwrap().contains("cannot be kept"));
}

#[tokio::test]
async fn prometheus_may_come_later() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("prometheus.yml"), CONFIG).unwrap();
    let prometheus = FakePrometheus::new();
    let world = World::start_beside(dir, prometheus.clone(), free, tokio::spawn(async {}), |_| {}).await;
    // The list is taken and written although nobody reads it yet.
    world.assign(&[target(1, "h:1", "/m")]).await;
    assert!(world.read("out/injected_targets/j.json").contains("h:1"));
    let (status, text) = world.get("/-/ready").await;
    assert_eq!(status, 503);
    assert!(text.as_str().unwrap().contains("has not confirmed"), "{text}");
    assert_eq!(world.get("/-/healthy").await.0, 200);
    let _server = serve(prometheus.router(), free).await;
    eventually("ready", async || world.get("/-/ready").await.0 == 200).await;
    assert_eq!(world.prometheus.reload_count(), 1);
}

#[tokio::test]
async fn a_refused_reload_is_repeated_until_confirmed() {
    let world = World::new().await;
    eventually("ready", async || world.get("/-/ready").await.0 == 200).await;
    world.prometheus.refuses.store(true, Ordering::SeqCst);
    let changed = CONFIG.replace("job_name: k", "job_name: l");
    std::fs::write(world.file("prometheus.yml"), changed).unwrap();
    assert_eq!(world.post("/-/reload", "").await.0, 200);
    assert!(world.read("out/injected.yml").contains("injected_targets/l.json"));
    eventually("unready", async || world.get("/-/ready").await.0 == 503).await;
    assert!(world.text("/metrics").await.contains("\nkvass_sidecar_prometheus_up_to_date 0\n"));
    assert!(world.file("out/injected_targets/k.json").exists());
    world.prometheus.refuses.store(false, Ordering::SeqCst);
    eventually("ready again", async || world.get("/-/ready").await.0 == 200).await;
    eventually("the stale file goes", async || !world.file("out/injected_targets/k.json").exists()).await;
    assert!(world.file("out/injected_targets/j.json").exists());
}

#[tokio::test]
async fn a_bad_file_leaves_the_old_configuration_in_force() {
    let world = World::new().await;
    eventually("the first reload", async || world.prometheus.reload_count() == 1).await;
    let (_, before) = world.get("/api/v1/shard/runtimeinfo").await;
    let injected = world.read("out/injected.yml");
    std::fs::write(world.file("prometheus.yml"), "scrape_configs: [").unwrap();
    let (status, answer) = world.post("/-/reload/", "").await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().starts_with("reload failed: "), "{answer}");
    let (_, after) = world.get("/api/v1/shard/runtimeinfo").await;
    assert_eq!(before["data"]["ConfigHash"], after["data"]["ConfigHash"]);
    assert_eq!(world.read("out/injected.yml"), injected);
    assert!(world.text("/metrics").await.contains("\nkvass_sidecar_config_last_reload_successful 0\n"));
    eventually("still ready", async || world.get("/-/ready").await.0 == 200).await;
    assert!(world.text("/-/ready").await.contains("prometheus.yml"));
    std::fs::write(world.file("prometheus.yml"), CONFIG).unwrap();
    assert_eq!(world.post("/-/reload/", "").await.0, 200);
    assert!(world.text("/metrics").await.contains("\nkvass_sidecar_config_last_reload_successful 1\n"));
}

#[tokio::test]
async fn a_changed_file_is_noticed_without_being_told() {
    let world = World::new().await;
    eventually("the first reload", async || world.prometheus.reload_count() == 1).await;
    std::fs::write(world.file("prometheus.yml"), CONFIG.replace("job_name: k", "job_name: l")).unwrap();
    eventually("the new job", async || world.read("out/injected.yml").contains("injected_targets/l.json")).await;
    eventually("the second reload", async || world.prometheus.reload_count() == 2).await;
}

#[tokio::test]
async fn a_file_that_is_missing_at_the_start_may_come_later() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let world = World::start(dir, |_| {}).await;
    let (status, text) = world.get("/-/ready").await;
    assert_eq!(status, 503);
    assert!(text.as_str().unwrap().contains("prometheus.yml: cannot be read"), "{text}");
    assert_eq!(world.get("/api/v1/status/config").await.0, 503);
    assert_eq!(world.get("/api/v1/shard/runtimeinfo/").await.1["data"]["ConfigHash"], "");
    assert!(world.text("/metrics").await.contains("\nkvass_sidecar_config_last_reload_successful 0\n"));
    // Prometheus would end without a file.
    assert_eq!(world.read("out/injected.yml"), "scrape_configs: []\nglobal:\n  external_labels:\n    status: default\n");
    std::fs::write(world.file("prometheus.yml"), CONFIG).unwrap();
    eventually("ready", async || world.get("/-/ready").await.0 == 200).await;
}

/// The last good configuration as it is kept, as soon as it contains `part`.
async fn kept(world: &World, part: &str) -> String {
    eventually("kept", async || world.read("store/kvass-last-good-config.json").contains(part)).await;
    world.read("store/kvass-last-good-config.json")
}

#[tokio::test]
async fn a_restart_beside_a_broken_file_goes_on_with_the_last_good_one() {
    let world = World::new().await;
    let list = [target(1, "h:1", "/m")];
    world.assign(&list).await;
    kept(&world, "job_name: k").await;
    let mode = std::fs::metadata(world.file("store/kvass-last-good-config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds the user's secrets");
    let hash = world.get("/api/v1/shard/runtimeinfo/").await.1["data"]["ConfigHash"].clone();
    let injected = world.read("out/injected.yml");
    let dir = world.dir.clone();
    // Two sidecars in one folder would keep configurations for one another.
    world.stop().await;

    for broken in [Some("scrape_configs: [{}]"), None] {
        match broken {
            Some(text) => std::fs::write(dir.path().join("prometheus.yml"), text).unwrap(),
            None => std::fs::remove_file(dir.path().join("prometheus.yml")).unwrap(),
        }
        // The container starts again, or the pod, with its volume but an empty folder for the output.
        for new_pod in [false, true] {
            if new_pod {
                std::fs::remove_dir_all(dir.path().join("out")).unwrap();
            }
            let world = World::start(dir.clone(), |_| {}).await;
            eventually("ready", async || world.get("/-/ready").await.0 == 200).await;
            let text = world.text("/-/ready").await;
            assert!(text.contains("the last good configuration is in force: ") && text.contains("prometheus.yml"), "{text}");
            assert!(world.text("/metrics").await.contains("\nkvass_sidecar_config_last_reload_successful 0\n"));
            assert_eq!(world.get("/api/v1/shard/runtimeinfo/").await.1["data"]["ConfigHash"], hash);
            // The ports of this sidecar differ, nothing else does.
            assert_eq!(world.read("out/injected.yml").lines().count(), injected.lines().count());
            assert!(world.read("out/injected_targets/j.json").contains("h:1"));
            // The job's client is there: what fails is the target's name.
            let answer = world.scrape("h:1", "/m", 1, "j").await;
            assert!(matches!(answer.status, 502 | 504), "{answer:?}");
            world.stop().await;
        }
    }
    let world = World::start(dir.clone(), |_| {}).await;
    std::fs::write(world.file("prometheus.yml"), CONFIG.replace("job_name: k", "job_name: l")).unwrap();
    kept(&world, "job_name: l").await;
    assert_eq!(world.text("/-/ready").await, "kvass sidecar is ready\n");
}

#[tokio::test]
async fn what_prometheus_refuses_is_not_kept() {
    let world = World::new().await;
    let good = kept(&world, "job_name: k").await;
    world.prometheus.refuses.store(true, Ordering::SeqCst);
    std::fs::write(world.file("prometheus.yml"), CONFIG.replace("job_name: k", "job_name: l")).unwrap();
    assert_eq!(world.post("/-/reload", "").await.0, 200);
    eventually("refused", async || world.text("/metrics").await.contains("prometheus_reload_total{success=\"false\"}")).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(world.read("store/kvass-last-good-config.json"), good);
    world.prometheus.refuses.store(false, Ordering::SeqCst);
    kept(&world, "job_name: l").await;
}

#[tokio::test]
async fn a_job_that_comes_gives_waiting_targets_to_prometheus() {
    let world = World::new().await;
    let list = json!({"Targets": {"later": [target(1, "h:1", "/m")]}});
    assert_eq!(world.post("/api/v1/shard/targets/", list).await.0, 200);
    assert_eq!(world.status(1).await["health"], "unknown");
    std::fs::write(world.file("prometheus.yml"), format!("{CONFIG}- job_name: later\n")).unwrap();
    assert_eq!(world.post("/-/reload", "").await.0, 200);
    assert!(world.read("out/injected_targets/later.json").contains("h:1"));
}

#[tokio::test]
async fn written_files_are_no_wider_than_the_users() {
    for (mode, expected) in [(0o600, 0o600), (0o640, 0o640), (0o644, 0o644), (0o755, 0o644)] {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, CONFIG).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let world = World::start(dir, |_| {}).await;
        world.assign(&[target(1, "h:1", "/m")]).await;
        for name in ["out/injected.yml", "out/injected_targets/j.json"] {
            assert_eq!(std::fs::metadata(world.file(name)).unwrap().permissions().mode() & 0o777, expected, "{name} {mode:o}");
        }
    }
}

#[tokio::test]
async fn the_version_of_prometheus_decides_what_is_shipped() {
    let world = World::new().await;
    let mut odd = target(1, "h:1", "/m");
    odd["labels"]["a-b"] = json!("c");
    world.assign(&[odd]).await;
    assert!(!world.read("out/injected_targets/j.json").contains("a-b"));
    *world.prometheus.version.lock().unwrap() = "3.16.0".to_owned();
    // Asked again at the next start; while running, once a minute.
    let world = World::start_beside(
        Arc::clone(&world.dir),
        world.prometheus.clone(),
        world.prometheus_port,
        tokio::spawn(async {}),
        |_| {},
    )
    .await;
    eventually("the new rules", async || world.read("out/injected_targets/j.json").contains("a-b")).await;
}

#[tokio::test]
async fn self_monitor_external_labels_and_direct_scrapes() {
    let world = World::with(CONFIG, |o| {
        o.self_monitor = true;
        o.pod_name = "prometheus-rep-0-3".to_owned();
        o.external_labels = Labels::from([("shard", "prometheus-rep-0-3")]);
        o.inject_proxy = None;
    })
    .await;
    world.assign(&[]).await;
    eventually("files", async || !world.read("out/injected.yml").is_empty()).await;
    let injected = world.read("out/injected.yml");
    let address = format!("127.0.0.1:{}", world.prometheus_port);
    for part in ["prometheus_shards", &address, "prometheus-rep-0-3", "\"3\""] {
        assert!(injected.contains(part), "{part} not in\n{injected}");
    }
    assert!(!injected.contains("proxy_url"), "{injected}");
}

#[tokio::test]
async fn files_that_prometheus_does_not_see_are_given_up_for_http() {
    let world = World::new().await;
    world.assign(&[target(1, "h:1", "/m")]).await;
    tokio::time::sleep(std::time::Duration::from_secs(25)).await;
    assert!(world.read("out/injected.yml").contains("file_sd_configs"));
    eventually("http instead", async || world.read("out/injected.yml").contains("/api/v1/shard/http_sd/?job=j")).await;
    eventually("the second reload", async || world.prometheus.reload_count() == 2).await;
    let metrics = world.text("/metrics").await;
    for line in [
        "kvass_sidecar_inotify_fallbacks_total 1",
        "kvass_sidecar_target_delivery{form=\"http\"} 1",
        "kvass_sidecar_targets_unseen 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} not in\n{metrics}");
    }
    eventually("the files go", async || !world.file("out/injected_targets/j.json").exists()).await;
    // Seen by http: nothing is missed any longer.
    world.prometheus.listed.lock().unwrap().insert(1);
    eventually("it is seen", async || world.text("/metrics").await.contains("\nkvass_sidecar_targets_unseen 0\n")).await;
}
