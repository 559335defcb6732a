use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::support::{CONFIG, World, eventually, serve, target};

#[tokio::test]
async fn a_placeholder_then_what_is_pushed_even_after_a_restart() {
    let world = World::with("", |o| o.config_file = None).await;
    eventually("the placeholder", async || world.read("out/injected.yml").contains("status")).await;
    let (_, answer) = world.get("/api/v1/status/config/").await;
    assert_eq!(answer["data"]["yaml"].as_str().map(str::trim), Some("global:\n  external_labels:\n    status: default"));
    assert_eq!(world.get("/api/v1/shard/runtimeinfo/").await.1["data"]["ConfigHash"], "");
    eventually("ready", async || world.get("/-/ready").await.0 == 200).await;

    for (body, text) in [
        (json!({"rawContent": "a: ["}), "reload failed: "),
        (json!({"rawContent": ""}), "reload failed: "),
        (json!({}), "reload failed: "),
    ] {
        let (status, answer) = world.post("/api/v1/status/config/", &body).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer["error"].as_str().unwrap().starts_with(text), "{answer}");
    }
    assert_eq!(world.post("/-/reload/", "").await.0, 400);

    let push = json!({"rawContent": CONFIG});
    assert_eq!(world.post("/api/v1/status/config", &push).await, (200, json!({"status": "success"})));
    let hash = world.get("/api/v1/shard/runtimeinfo/").await.1["data"]["ConfigHash"].clone();
    assert!(hash.as_str().unwrap().starts_with("k1-"), "{hash}");
    assert!(world.read("out/injected.yml").contains("injected_targets/j.json"));
    world.assign(&[target(1, "h:1", "/m")]).await;
    for (text, good) in [("a: [", 0), (CONFIG, 1)] {
        world.post("/api/v1/status/config/", json!({"rawContent": text})).await;
        let metrics = world.text("/metrics").await;
        assert!(metrics.contains(&format!("kvass_sidecar_config_last_reload_successful {good}\n")), "{text}: {metrics}");
    }

    let world = World::start(world.stop().await, |o| o.config_file = None).await;
    assert_eq!(world.get("/api/v1/shard/runtimeinfo/").await.1["data"]["ConfigHash"], hash);
    eventually("files", async || world.read("out/injected_targets/j.json").contains("h:1")).await;
}

#[tokio::test]
async fn what_is_pushed_is_in_force_although_it_cannot_be_kept_and_kept_once_it_can() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("prometheus.yml"), CONFIG).unwrap();
    std::fs::write(dir.path().join("store"), "a file in the place of the folder").unwrap();
    let world = World::start(dir, |o| o.config_file = None).await;
    assert_eq!(world.post("/api/v1/status/config", &json!({"rawContent": CONFIG})).await.0, 200);
    assert!(world.read("out/injected.yml").contains("injected_targets/j.json"));
    std::fs::remove_file(world.file("store")).unwrap();
    eventually("kept", async || world.read("store/kvass-config.yml") == CONFIG).await;
}

#[tokio::test]
async fn the_hash_of_a_coordinator_with_the_same_configuration_is_reported() {
    let yaml = Arc::new(Mutex::new(format!("# a comment more\n{CONFIG}")));
    let coordinator = Router::new()
        .route(
            "/api/v1/runtimeinfo",
            get(|| async { Json(json!({"status": "success", "data": {"ConfigHash": "516301219204613524"}})) }),
        )
        .route(
            "/api/v1/status/config",
            get(async |State(yaml): State<Arc<Mutex<String>>>| -> Json<Value> {
                Json(json!({"status": "success", "data": {"yaml": *yaml.lock().unwrap()}}))
            }),
        )
        .with_state(Arc::clone(&yaml));
    let (port, _server) = serve(coordinator, 0).await;
    let world = World::with(CONFIG, |o| o.compat_coordinator_url = Some(format!("http://127.0.0.1:{port}"))).await;
    let hash = async || world.get("/api/v1/shard/runtimeinfo/").await.1["data"]["ConfigHash"].as_str().unwrap().to_owned();
    eventually("adopted", async || hash().await == "516301219204613524").await;
    *yaml.lock().unwrap() = CONFIG.replace("drop_.*", "drop_x.*");
    eventually("given up", async || hash().await.starts_with("k1-")).await;
}
