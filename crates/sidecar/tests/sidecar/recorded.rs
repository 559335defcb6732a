//! Requests that coordinators of the original really sent (v0.1.4, v0.2.3, v0.3.1 and the last commit).

use std::collections::{BTreeMap, BTreeSet};

use prometheus_parse::{Scrape, Value as MetricValue};
use serde_json::{Value, json};

use crate::support::{World, assert_differences, differences, eventually, target};

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[tokio::test]
async fn every_recorded_request_of_a_coordinator_is_answered() {
    let origin = include_str!("../data/origin-prometheus.yml");
    let world = World::with(origin, |_| {}).await;
    for case in lines(include_str!("../data/coordinator-requests.jsonl")) {
        let (method, uri) = (case["method"].as_str().unwrap(), case["uri"].as_str().unwrap());
        let body = match &case["body"] {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        let (status, answer) = world.send_as_original(method, uri, body).await;
        // What was a redirect is answered directly; where there is a file, a push of anything else is refused.
        let is_refused = uri.trim_end_matches('/') == "/api/v1/status/config" && case["body"]["rawContent"] != origin;
        let expected = if is_refused { 400 } else { 200 };
        assert_eq!(status, expected, "{} {answer}", case["from"]);
        assert_eq!(answer["status"], if expected == 200 { "success" } else { "error" });
        if method == "GET" {
            assert!(answer["data"].is_object(), "{} {answer}", case["from"]);
        } else if let Some(jobs) = case["body"]["Targets"].as_object() {
            let (_, statuses) = world.get("/api/v1/shard/targets/").await;
            let mut posted: Vec<String> =
                jobs.values().flat_map(|list| list.as_array().unwrap()).map(|target| target["hash"].to_string()).collect();
            posted.sort();
            posted.dedup();
            let held: Vec<&String> = statuses["data"].as_object().unwrap().keys().collect();
            assert_eq!(held, posted.iter().collect::<Vec<_>>(), "{}", case["from"]);
        }
    }
}

/// Asks ours what a sidecar of the original was asked; what it answers, beside the recorded answer.
async fn asked(world: &World, case: &Value) -> (u16, Value) {
    let (method, uri) = (case["method"].as_str().unwrap(), case["uri"].as_str().unwrap());
    let body = match &case["body"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let (status, answer) = world.send_as_original(method, uri, body).await;
    // What we do not know is passed on, and the real Prometheus knows neither; the original passed on less.
    (if status == 418 { 404 } else { status }, answer)
}

/// What differs, from the recorded answer to ours: status, outcome, kind of error, and members of the data.
fn difference(case: &Value, status: u16, ours: &Value) -> Option<String> {
    let theirs = &case["answer"];
    let told = case["from"].as_str().unwrap();
    if u64::from(status) != case["status"] {
        return Some(format!("{told}: {} is now {status}", case["status"]));
    }
    let differs = ["status", "errorType"].iter().any(|name| theirs.is_object() && theirs[name] != ours[name]);
    let members = |answer: &Value| answer["data"].as_object().map(|data| data.keys().cloned().collect::<Vec<_>>());
    let lacking = members(theirs).unwrap_or_default().into_iter().filter(|name| ours["data"].get(name).is_none());
    let lacking: Vec<String> = lacking.collect();
    (differs || !lacking.is_empty()).then(|| format!("{told}: lacks {lacking:?}: {ours}"))
}

#[tokio::test]
async fn every_recorded_question_to_a_sidecar_is_answered_as_the_original_did() {
    let world = World::with(include_str!("../data/origin-prometheus.yml"), |_| {}).await;
    crate::support::eventually("the first reload", async || world.prometheus.reload_count() == 1).await;
    let mut differences = vec![];
    for case in lines(include_str!("../data/exchanges.jsonl")) {
        let (status, answer) = asked(&world, &case).await;
        differences.extend(difference(&case, status, &answer));
    }
    let want = [
        // With and without a slash at the end, directly.
        "sidecar/runtimeinfo-noslash.json: 301 is now 200",
        "sidecar/errors/err-metrics-slash.json: 301 is now 200",
        "sidecar/errors/err-post-config-noslash.json: 307 is now 400",
        // The handler of the original panicked.
        "sidecar/errors/err-post-targets-null.json: 500 is now 400",
        "sidecar/errors/head-runtimeinfo.json: 404 is now 200",
        "sidecar/errors/reload-noslash.json: 307 is now 200",
        // As Prometheus has it.
        "sidecar/errors/reload-put.json: 404 is now 200",
    ];
    assert_eq!(differences, want);
}

#[tokio::test]
async fn so_is_one_that_gets_its_configuration_pushed() {
    let world = World::with("", |options| options.config_file = None).await;
    let mut differences = vec![];
    for case in lines(include_str!("../data/exchanges-pushed-config.jsonl")) {
        let (status, answer) = asked(&world, &case).await;
        differences.extend(difference(&case, status, &answer));
    }
    // The handler of the original panicked.
    assert_eq!(differences, ["sidecar-pushed-config/25-post-targets-null-element.json: 500 is now 400"]);
}

#[tokio::test]
async fn so_is_one_whose_prometheus_is_down() {
    let world = World::with(include_str!("../data/origin-prometheus.yml"), |_| {}).await;
    eventually("the first reload", async || world.prometheus.reload_count() == 1).await;
    world.prometheus_server.abort();
    eventually("it is gone", async || world.get("/api/v1/status/flags").await.0 == 502).await;
    let mut found = vec![];
    for case in lines(include_str!("../data/exchanges-prometheus-down.jsonl")) {
        let (status, answer) = asked(&world, &case).await;
        found.extend(difference(&case, status, &answer));
    }
    // What is wanted is written, kept and tried until Prometheus is back: a coordinator need not send it again.
    let want =
        ["sidecar/prometheus-down/reload.json: 400 is now 200", "sidecar/prometheus-down/targets-post.json: 503 is now 200"];
    assert_differences(found, &want);
}

/// Configurations that the original refused, answering `reload failed: ` and why: changes of one that it took.
#[tokio::test]
async fn so_is_one_that_is_to_read_a_bad_file() {
    let origin = include_str!("../data/origin-prometheus.yml");
    let world = World::with(origin, |_| {}).await;
    let hash = async || world.send_as_original("GET", "/api/v1/shard/runtimeinfo/", "").await.1["data"]["ConfigHash"].clone();
    let before = hash().await;
    for (name, text, says) in [
        ("reload-bad-regex", origin.replace("regex: drop-me", "regex: '('"), Some("relabel_configs[0].regex")),
        ("reload-dup-job", format!("{origin}- job_name: dup\n"), Some("\"dup\"")),
        ("reload-empty", String::new(), Some("empty")),
        ("reload-syntax", "global: [\n".to_owned(), Some("not valid YAML")),
        ("reload-unknown-key", format!("{origin}foo: bar\n"), Some("foo")),
        // Its Prometheus did not know that one yet.
        ("reload-newer-key", origin.replace("honor_labels: true", "honor_labels: true\n  scrape_classic_histograms: true"), None),
    ] {
        std::fs::write(world.file("prometheus.yml"), text).unwrap();
        let (status, answer) = world.post("/-/reload/", "").await;
        let Some(says) = says else {
            assert_eq!(status, 200, "{name}: {answer}");
            continue;
        };
        let error = answer["error"].as_str().unwrap_or_default();
        assert_eq!(
            (status, &answer["errorType"], &answer["status"]),
            (400, &json!("bad_data"), &json!("error")),
            "{name}: {answer}"
        );
        assert!(error.starts_with("reload failed: ") && error.contains(says), "{name}: {error}");
        assert_eq!(hash().await, before, "{name}: the last good one stays");
    }
}

/// Kind of every metric, with the names of its labels and the bounds of its buckets.
fn metrics(text: &str) -> BTreeMap<String, String> {
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let mut metrics = BTreeMap::new();
    for sample in scrape.samples {
        let labels: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
        let kind = match &sample.value {
            MetricValue::Counter(_) => "counter".to_owned(),
            MetricValue::Gauge(_) => "gauge".to_owned(),
            MetricValue::Histogram(buckets) => {
                format!("histogram {:?}", buckets.iter().map(|bucket| bucket.less_than).collect::<Vec<_>>())
            }
            // Sums and counts of histograms, which have no kind of their own.
            _ => continue,
        };
        metrics.insert(sample.metric, format!("{kind} {labels:?}"));
    }
    metrics
}

/// All but those of the Go runtime, which there is none of.
#[tokio::test]
async fn every_metric_of_the_original_is_there() {
    let exporter = axum::Router::new().route("/m", axum::routing::get(async || "a 1\n"));
    let (port, _exporter) = crate::support::serve(exporter, 0).await;
    let world = World::new().await;
    let address = format!("127.0.0.1:{port}");
    world.assign(&[target(1, &address, "/m")]).await;
    assert_eq!(world.scrape(&address, "/m", 1, "j").await.status, 200);
    let (ours, recorded) = (metrics(&world.text("/metrics").await), metrics(include_str!("../data/metrics.txt")));
    for (name, shape) in recorded {
        assert_eq!(ours.get(&name), Some(&shape), "{name}");
    }
}

/// What a store held, whether the original started with it, and what it reported then.
#[tokio::test]
async fn stores_of_all_kinds_are_started_with() {
    for case in lines(include_str!("../data/restarts.jsonl")) {
        let (from, before) = (case["from"].as_str().unwrap(), case["store_before"].as_str().unwrap());
        let world = World::start(folder_with(crate::support::CONFIG, "kvass-shard.json", before), |_| {}).await;
        // The original ended with a panic where it could not read the store, and had overwritten it by then.
        let unreadable = case["started"] == false;
        assert_eq!(world.read("store/kvass-shard.json.corrupt"), if unreadable { before } else { "" }, "{from}");
        let (status, info) = world.get("/api/v1/shard/runtimeinfo/").await;
        assert_eq!(status, 200, "{from}: {info}");
        let idle_since = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let ours = idle_since(&info["data"]["IdleStartAt"]);
        if before.contains("IdleAt\":\"") {
            assert_eq!(ours, idle_since(&case["runtimeinfo"]["data"]["IdleStartAt"]), "{from}: idle time survives");
        } else {
            assert!(jiff::Timestamp::now().duration_since(ours).as_secs() < 60, "{from}: {ours}");
        }
    }
}

/// Until they are scraped again, targets have the sizes they were sent with.
#[tokio::test]
async fn statuses_after_a_restart_are_those_of_the_original() {
    let status = |series: i64, total: i64| {
        json!({"lastError": "", "lastScrape": "0001-01-01T00:00:00Z", "lastScrapeDuration": 0, "health": "unknown",
            "series": series, "totalSeries": total, "TargetState": "", "ScrapeTimes": 0, "shards": null})
    };
    let world = World::new().await;
    let hashes = 21..=29;
    world.assign(&hashes.clone().map(|hash| target(hash, "h:1", "/m")).collect::<Vec<_>>()).await;
    let world = World::start(world.stop().await, |_| {}).await;
    let (_, statuses) = world.get("/api/v1/shard/targets/status/").await;
    let recorded: BTreeMap<String, Value> = hashes.map(|hash| (hash.to_string(), status(3, 4))).collect();
    assert_eq!(differences(&json!(recorded), &statuses["data"]), []);
    let (_, info) = world.send_as_original("GET", "/api/v1/shard/runtimeinfo/", "").await;
    assert_eq!(
        differences(&json!({"headSeries": 27, "processSeries": 36, "ConfigHash": "516301219204613524"}), &info["data"]),
        []
    );

    let old = include_str!("../data/targets-v0.0.2.json");
    let world = World::start(folder_with(include_str!("../data/origin-of-versions.yml"), "targets.json", old), |_| {}).await;
    let (_, statuses) = world.get("/api/v1/shard/targets/").await;
    assert_eq!(differences(&json!({"31": status(12, 0)}), &statuses["data"]), []);
}

#[tokio::test]
async fn label_names_of_the_original_arrive_as_it_ships_them() {
    let origin = include_str!("../data/origin-prometheus.yml");
    let dir = folder_with(origin, "kvass-shard.json", include_str!("../data/kvass-shard.json"));
    let world = World::start(dir, |_| {}).await;
    crate::support::eventually("files", async || world.prometheus.reload_count() == 1).await;
    assert_eq!(
        world.read("out/injected_targets/labelmapped.json"),
        r#"[{"targets":["127.0.0.1:9102"],"labels":{"__invalid_label_9lives":"cat","__metrics_path__":"/openmetrics","__param__hash":"6240435184723260952","__param__jobName":"labelmapped","__param__scheme":"http","__scheme__":"http","instance":"127.0.0.1:9102","job":"labelmapped","ok":"dog"}}]"#
    );
    assert!(!world.read("out/injected_targets/probe.json").contains("__param_target"));
    assert!(world.read("out/injected_targets/secure-bearer.json").contains(r#""__param__scheme":"https","__scheme__":"http""#));
    let (_, info) = world.get("/api/v1/shard/runtimeinfo/").await;
    assert_eq!(info["data"]["processSeries"], 10045 * 2 + 3 + 5 + 5 + 21);
}

/// A folder in which a sidecar of the original has left its store.
fn folder_with(origin: &str, store_file: &str, store: &str) -> std::sync::Arc<tempfile::TempDir> {
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("prometheus.yml"), origin).unwrap();
    std::fs::create_dir(dir.path().join("store")).unwrap();
    std::fs::write(dir.path().join("store").join(store_file), store).unwrap();
    dir
}

/// Hash and series of every target, as a coordinator reads them.
async fn statuses(world: &World) -> Vec<(String, Value)> {
    let (_, answer) = world.get("/api/v1/shard/targets/status/").await;
    answer["data"].as_object().unwrap().iter().map(|(hash, status)| (hash.clone(), status["series"].clone())).collect()
}

#[tokio::test]
async fn the_store_of_every_version_is_read() {
    let origin = include_str!("../data/origin-of-versions.yml");
    let v0_2 = vec![("15849517907542975497".to_owned(), 10045.into()), ("5339544738315052883".to_owned(), 10045.into())];
    let expected = |hash: &str, series: i64| vec![(hash.to_owned(), Value::from(series))];
    for (version, file, store, expected) in [
        ("v0.0.2", "targets.json", include_str!("../data/targets-v0.0.2.json"), expected("31", 12)),
        ("v0.1.4", "kvass-shard.json", include_str!("../data/kvass-shard-v0.1.4.json"), expected("77", 5)),
        ("v0.2.3", "kvass-shard.json", include_str!("../data/kvass-shard-v0.2.3.json"), v0_2.clone()),
        ("v0.3.1", "kvass-shard.json", include_str!("../data/kvass-shard-v0.3.1.json"), v0_2),
    ] {
        let world = World::start(folder_with(origin, file, store), |_| {}).await;
        assert_eq!(statuses(&world).await, expected, "{version}");
        crate::support::eventually("files", async || {
            let files = world.read("out/injected_targets/test.json");
            expected.iter().all(|(hash, _)| files.contains(&format!(r#""__param__hash":"{hash}""#)))
        })
        .await;
        // What is kept from now on is what the original could read again.
        let target = json!({"hash": 9, "labels": {"__address__": "h:1"}, "series": 3, "totalSeries": 4, "TargetState": ""});
        assert_eq!(world.post("/api/v1/shard/targets/", json!({"Targets": {"test": [target]}})).await.0, 200);
        let kept: Value = serde_json::from_str(&world.read("store/kvass-shard.json")).unwrap();
        assert_eq!(kept, json!({"Targets": {"test": [target]}, "IdleAt": null}), "{version}");
    }
}

/// The hashes that the sidecars of these versions reported for that file.
#[tokio::test]
async fn a_sidecar_put_in_the_place_of_an_old_one_reports_the_same_hash() {
    let world = World::with(include_str!("../data/origin-of-versions.yml"), |_| {}).await;
    let hash = async || world.send_as_original("GET", "/api/v1/shard/runtimeinfo/", "").await.1["data"]["ConfigHash"].clone();
    assert_ne!(hash().await, "11336704588051267789", "the last commit's comes first");
    let push = json!({"rawContent": include_str!("../data/origin-of-versions.yml")});
    assert_eq!(world.send_as_original("POST", "/api/v1/status/config", push).await.0, 200);
    assert_eq!(hash().await, "11336704588051267789");
}
