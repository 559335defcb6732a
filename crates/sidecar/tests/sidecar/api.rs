use std::os::unix::fs::PermissionsExt;

use kvass_sidecar::{BuildError, DeliveryMode, Sidecar};
use serde_json::json;

use crate::support::{FakePrometheus, World, eventually, options, serve, target};

#[tokio::test]
async fn both_forms_of_every_path_are_answered_directly() {
    let world = World::new().await;
    eventually("ready", async || world.get("/-/ready").await.0 == 200).await;
    for path in [
        "/metrics",
        "/-/healthy",
        "/-/ready",
        "/api/v1/shard/runtimeinfo",
        "/api/v1/shard/targets",
        "/api/v1/shard/targets/status",
        "/api/v1/shard/targets/assigned",
        "/api/v1/shard/samples",
        "/api/v1/status/config",
        "/api/v1/status/extra_config",
    ] {
        for form in [path.to_owned(), format!("{path}/")] {
            assert_eq!(world.get(&form).await.0, 200, "{form}");
            assert_eq!(world.send("HEAD", &form, "").await.0, 200, "HEAD {form}");
        }
    }
    for (method, path, body) in [
        ("POST", "/-/reload", ""),
        ("PUT", "/-/reload/", ""),
        ("POST", "/api/v1/shard/targets", "{}"),
        ("POST", "/api/v1/status/extra_config", "{}"),
    ] {
        let (status, answer) = world.send(method, path, body).await;
        assert_eq!((status, answer), (200, json!({"status": "success"})), "{method} {path}");
    }
}

#[tokio::test]
async fn odd_bodies_are_bad_data() {
    let world = World::new().await;
    world.assign(&[target(1, "h:1", "/m")]).await;
    for (path, body) in [
        ("/api/v1/shard/targets/", ""),
        ("/api/v1/shard/targets/", "null"),
        ("/api/v1/shard/targets/", "{\"Targets\":"),
        ("/api/v1/shard/targets/", "{\"Targets\":{\"j\":[null]}}"),
        ("/api/v1/shard/targets/", "{\"Targets\":{\"j\":[{\"hash\":\"5\"}]}}"),
        ("/api/v1/status/extra_config/", "x"),
        ("/api/v1/status/extra_config/", "null"),
        ("/api/v1/status/extra_config/", "[]"),
        ("/api/v1/status/config/", "{"),
        // A configuration file is set.
        ("/api/v1/status/config/", "{\"rawContent\":\"global: {}\"}"),
    ] {
        let (status, answer) = world.post(path, body).await;
        assert_eq!(
            (status, answer["status"].as_str(), answer["errorType"].as_str()),
            (400, Some("error"), Some("bad_data")),
            "{body}"
        );
    }
    assert_eq!(world.status(1).await["health"], "unknown");
}

#[tokio::test]
async fn runtime_info_sums_targets_and_shows_idleness() {
    let world = World::new().await;
    let (_, info) = world.get("/api/v1/shard/runtimeinfo/").await;
    assert!(info["data"]["IdleStartAt"].is_string(), "{info}");
    assert!(info["data"]["ConfigHash"].as_str().unwrap().starts_with("k1-"), "{info}");
    world.assign(&[target(1, "h:1", "/m"), target(2, "h:2", "/m")]).await;
    let (_, info) = world.get("/api/v1/shard/runtimeinfo/").await;
    assert_eq!((&info["data"]["headSeries"], &info["data"]["processSeries"]), (&json!(6), &json!(8)));
    assert!(info["data"].get("IdleStartAt").is_none());
    world.prometheus_server.abort();
    eventually("head series are gone", async || world.get("/api/v1/shard/runtimeinfo/").await.0 == 503).await;
    let (_, error) = world.get("/api/v1/shard/runtimeinfo/").await;
    assert!(error["error"].as_str().unwrap().starts_with("get runtime from prometheus: "), "{error}");
    assert_eq!(world.get("/api/v1/shard/targets/status/").await.0, 200);
}

#[tokio::test]
async fn configuration_is_shown_without_secrets() {
    let world = World::new().await;
    let (_, answer) = world.get("/api/v1/status/config").await;
    let yaml = answer["data"]["yaml"].as_str().unwrap();
    assert!(yaml.contains("job_name: j") && yaml.contains("<secret>") && !yaml.contains("password: p}"), "{yaml}");
}

#[tokio::test]
async fn lists_are_written_for_prometheus_once() {
    let world = World::new().await;
    eventually("the first reload", async || world.prometheus.reload_count() == 1).await;
    let injected = world.read("out/injected.yml");
    for part in ["injected_targets/j.json", "injected_targets/k.json", "http://127.0.0.1:8008"] {
        assert!(injected.contains(part), "{part} not in\n{injected}");
    }
    assert!(!injected.contains("password"), "{injected}");
    assert_eq!(world.read("out/injected_targets/j.json"), "[]");

    let list = [target(1, "h:1", "/m")];
    world.assign(&list).await;
    let file = world.file("out/injected_targets/j.json");
    assert_eq!(
        world.read("out/injected_targets/j.json"),
        r#"[{"targets":["h:1"],"labels":{"__metrics_path__":"/m","__param__hash":"1","__param__jobName":"j","__param__scheme":"http","__scheme__":"http","instance":"x","job":"j"}}]"#
    );
    assert_eq!(world.get("/api/v1/shard/targets/assigned/").await.1["data"], json!({"Targets": {"j": list}}));
    assert_eq!(std::fs::metadata(world.file("store/kvass-shard.json")).unwrap().permissions().mode() & 0o777, 0o600);

    let modified = |path: &std::path::Path| std::fs::metadata(path).unwrap().modified().unwrap();
    let before = (modified(&file), modified(&world.file("store/kvass-shard.json")));
    world.assign(&list).await;
    assert_eq!((modified(&file), modified(&world.file("store/kvass-shard.json"))), before);
    assert_eq!(world.read("out/injected.yml"), injected);
    assert_eq!(world.prometheus.reload_count(), 1);
}

#[tokio::test]
async fn static_delivery_reloads_and_http_delivery_is_served() {
    let world = World::with(super::support::CONFIG, |o| o.delivery = DeliveryMode::Static).await;
    eventually("the first reload", async || world.prometheus.reload_count() == 1).await;
    world.assign(&[target(1, "h:1", "/m")]).await;
    assert!(world.read("out/injected.yml").contains("h:1"));
    eventually("the second reload", async || world.prometheus.reload_count() == 2).await;

    let world = World::with(super::support::CONFIG, |o| o.delivery = DeliveryMode::Http).await;
    world.assign(&[target(1, "h:1", "/m")]).await;
    let injected = world.read("out/injected.yml");
    let url = format!("{}/api/v1/shard/http_sd/?job=j", world.api);
    assert!(injected.contains(&url), "{url} not in\n{injected}");
    let response = world.http.get(url).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.text().await.unwrap().starts_with(r#"[{"targets":["h:1"]"#));
    assert_eq!(world.get("/api/v1/shard/http_sd?job=none").await.1, json!([]));
    assert_eq!(world.get("/api/v1/shard/http_sd").await.0, 400);
    assert!(!world.file("out/injected_targets").exists());
}

#[tokio::test]
async fn metrics_follow_the_targets() {
    let (port, _exporter) = serve(axum::Router::new().route("/m", axum::routing::get(|| async { "a 1\nb 2\n" })), 0).await;
    let world = World::new().await;
    let address = format!("127.0.0.1:{port}");
    world.assign(&[target(1, &address, "/m")]).await;
    assert_eq!(world.scrape(&address, "/m", 1, "j").await.status, 200);
    let labels = format!(r#"{{target_job="j",url="http://{address}/m"}}"#);
    let text = world.text("/metrics").await;
    for line in [
        "kvass_sidecar_targets_total 1".to_owned(),
        "kvass_sidecar_proxy_total 1".to_owned(),
        "kvass_sidecar_targets_updated_total{success=\"true\"} 1".to_owned(),
        "kvass_sidecar_target_delivery{form=\"file\"} 1".to_owned(),
        "kvass_sidecar_config_last_reload_successful 1".to_owned(),
        format!("kvass_sidecar_proxy_target_series{labels} 2"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
    }
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|l| l.starts_with(&format!("{name}{{"))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (nanoseconds, seconds) =
        (value("kvass_sidecar_proxy_target_scrape_durtion"), value("kvass_sidecar_proxy_target_scrape_duration_seconds"));
    assert!((nanoseconds / 1e9 - seconds).abs() < 1e-6, "{nanoseconds} {seconds}");
    assert!(
        text.contains(r#"kvass_sidecar_http_request_duration_seconds_count{path="/api/v1/shard/targets/",code="200"} 1"#),
        "{text}"
    );
    world.assign(&[]).await;
    assert!(!world.text("/metrics").await.contains(&address));
}

#[tokio::test]
async fn samples_are_summed_per_job_and_measured_per_metric_on_demand() {
    let body = "drop_a 1\nkeep{x=\"1\"} 1\nkeep{x=\"2\"} 1\n";
    let (port, _exporter) = serve(axum::Router::new().route("/m", axum::routing::get(move || async move { body })), 0).await;
    let world = World::new().await;
    let address = format!("127.0.0.1:{port}");
    let list = json!({"Targets": {"j": [target(1, "127.0.0.1:1", "/m")], "k": [target(2, &address, "/m")]}});
    assert_eq!(world.post("/api/v1/shard/targets/", list).await.0, 200);
    assert_eq!(world.scrape(&address, "/m", 2, "k").await.status, 200);
    let (_, samples) = world.get("/api/v1/shard/samples/").await;
    assert_eq!(
        samples["data"],
        json!({
            "j": {"scrapedTotal": 0.0, "total": 0.0, "metricsTotal": {}},
            "k": {"scrapedTotal": 2.0, "total": 3.0, "metricsTotal": {}},
        })
    );
    let (_, samples) = world.get("/api/v1/shard/samples/?job=k&with_metrics_detail=true").await;
    let metrics = json!({"drop_a": {"total": 1.0, "scraped": 0.0}, "keep": {"total": 2.0, "scraped": 2.0}});
    assert_eq!(samples["data"], json!({"k": {"scrapedTotal": 2.0, "total": 3.0, "metricsTotal": metrics}}));
}

#[tokio::test]
async fn a_taken_address_or_a_bad_url_is_an_error_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (port, _server) = serve(FakePrometheus::new().router(), 0).await;
    let taken = format!("127.0.0.1:{port}");
    for (change, expected) in [
        (
            Box::new(|o: &mut kvass_sidecar::Options| o.api_address = taken.clone()) as Box<dyn Fn(&mut _)>,
            "--web.api-addr=\"127.0.0.1:",
        ),
        (Box::new(|o: &mut kvass_sidecar::Options| o.proxy_address = taken.clone()), "--web.proxy-addr=\"127.0.0.1:"),
        (Box::new(|o: &mut kvass_sidecar::Options| o.proxy_address = "nonsense".to_owned()), "--web.proxy-addr=\"nonsense\""),
        (Box::new(|o: &mut kvass_sidecar::Options| o.prometheus_url = "h:9090".to_owned()), "--prometheus.url=\"h:9090\""),
    ] {
        let mut options = options(dir.path(), port);
        change(&mut options);
        let error: BuildError = Sidecar::build(options).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
