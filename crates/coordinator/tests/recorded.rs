//! What a coordinator of the original answered about a configuration, and what we answer about the same one.

#![allow(clippy::unwrap_used)]

mod fake;

use std::collections::{BTreeMap, BTreeSet};

use fake::{Behaviour, FakeShard, Fleet, options, until};
use kvass_plan::Limits;
use prometheus_parse::{Scrape, Value as MetricValue};
use serde_json::Value;

const ORIGIN: &str = include_str!("data/origin-prometheus.yml");

/// Targets in it. (The original lists one that two groups name twice.)
const TARGETS: usize = 16;

/// Where we answer, although the original did not: with and without a slash at the end, and what other versions have.
const MORE: [&str; 6] = [
    "coordinator/status-config-slash.json",
    "coordinator/shard-runtimeinfo-old-path.json",
    "versions/v0.2.3/coordinator-extra_config.json",
    "versions/v0.2.3/coordinator-runtimeinfo.json",
    "versions/v0.2.3/coordinator-samples.json",
    "versions/v0.3.1/coordinator-shard-runtimeinfo.json",
];

/// A coordinator over shards that say of their samples what those of the original did.
async fn fleet(origin: &str, targets: usize) -> Fleet {
    fake::rustls();
    let mut shards = Vec::new();
    for line in include_str!("data/shard-samples.jsonl").lines() {
        let behaviour = Behaviour {
            scrapes: true,
            config_text: origin.to_owned(),
            samples: serde_json::from_str(line).unwrap(),
            ..Behaviour::default()
        };
        shards.push(FakeShard::start(behaviour).await);
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sd-mixed.json"), include_str!("data/sd-mixed.json")).unwrap();
    let limits = Limits { max_series: Some(1_000_000), ..Limits::default() };
    let options = options(dir.path(), &shards.iter().collect::<Vec<_>>(), limits);
    let fleet = Fleet::with(dir, origin, options).await;
    until("every target assigned", || shards.iter().map(|shard| shard.hashes().len()).sum::<usize>() == targets).await;
    fleet
}

/// What a target is, whoever scrapes it and with what success.
fn identities(answer: &Value, list: &str) -> BTreeSet<String> {
    let of = |target: &Value| {
        let mut labels = target["discoveredLabels"].clone();
        // As Prometheus does, we show these two, and a file's whole path.
        for name in ["__scrape_interval__", "__scrape_timeout__"] {
            labels.as_object_mut().unwrap().remove(name);
        }
        if let Some(file) = labels.get_mut("__meta_filepath") {
            *file = file.as_str().unwrap().rsplit('/').next().unwrap().into();
        }
        let pool = if list == "activeTargets" { &target["scrapePool"] } else { &Value::Null };
        format!("{labels} {} {pool} {} {}", target["labels"], target["scrapeUrl"], target["globalUrl"])
    };
    answer["data"][list].as_array().unwrap().iter().map(of).collect()
}

/// Number of targets of each job, where statistics are shown.
fn totals(answer: &Value) -> Vec<String> {
    let statistics = answer["data"]["activeStatistics"].as_array().into_iter().flatten();
    // The one of the target that is named twice.
    let statistics = statistics.filter(|job| job["JobName"] != "dup");
    statistics.map(|job| format!("{} {}", job["JobName"], job["Total"])).collect()
}

/// Members of the recorded answer that ours lacks, or has of another kind.
fn lacking(ours: &Value, recorded: &Value, path: &str, found: &mut Vec<String>) {
    match (ours, recorded) {
        (Value::Object(ours), Value::Object(recorded)) => {
            for (name, value) in recorded {
                match ours.get(name) {
                    Some(ours) => lacking(ours, value, &format!("{path}.{name}"), found),
                    None => found.push(format!("{path}.{name}")),
                }
            }
        }
        (Value::Array(ours), Value::Array(recorded)) => {
            if let (Some(ours), Some(recorded)) = (ours.first(), recorded.first()) {
                lacking(ours, recorded, &format!("{path}[]"), found);
            }
        }
        _ if std::mem::discriminant(ours) != std::mem::discriminant(recorded) => found.push(format!("{path}: {ours}")),
        _ => {}
    }
}

/// Whether two values are equal, numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_question_is_answered_as_the_original_did() {
    let of_versions = include_str!("../../sidecar/tests/data/origin-of-versions.yml");
    for (origin, targets, answers, lists) in [
        (ORIGIN, TARGETS, include_str!("data/coordinator-answers.jsonl"), 12),
        (of_versions, 2, include_str!("data/coordinator-answers-of-versions.jsonl"), 2),
    ] {
        let fleet = fleet(origin, targets).await;
        assert_eq!(replay(&fleet, answers).await, lists, "lists of targets that were compared");
        fleet.stop().await;
    }
}

async fn replay(fleet: &Fleet, answers: &str) -> usize {
    let client = reqwest::Client::new();
    let mut compared = 0;
    for line in answers.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (from, uri, recorded) = (case["from"].as_str().unwrap(), case["uri"].as_str().unwrap(), &case["answer"]);
        let body = match &case["body"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        let method = case["method"].as_str().unwrap().parse().unwrap();
        let answer = client.request(method, format!("{}{uri}", fleet.url)).body(body).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        if MORE.contains(&from) {
            assert_ne!(case["status"], 200, "{from}");
            assert_eq!(status, 200, "{from}: {text}");
            continue;
        }
        // A method that a path does not have: the original knew no such path.
        let known = if status == 405 { 404 } else { status };
        assert_eq!(u64::from(known), case["status"], "{from}: {text}");
        let Some(recorded_status) = recorded["status"].as_str() else { continue };
        let ours: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(ours["status"], recorded_status, "{from}");
        if recorded_status == "error" {
            assert_eq!(ours["errorType"], recorded["errorType"], "{from}");
            assert!(ours["error"].as_str().is_some_and(|error| !error.is_empty()), "{from}: {ours}");
            continue;
        }
        let mut found = Vec::new();
        lacking(&ours, recorded, "", &mut found);
        if uri.starts_with("/api/v1/samples") {
            assert!(same(&ours["data"], &recorded["data"]), "{from}: {ours:#}");
        }
        // Health is the shards' affair; nothing is down here.
        found.retain(|path| !path.starts_with(".data") || uri.starts_with("/api/v1/targets") && !path.contains("Health"));
        assert_eq!(found, Vec::<String>::new(), "{from}: {ours:#}");
        if uri.starts_with("/api/v1/targets") && !uri.contains("health=") {
            for list in ["activeTargets", "droppedTargets"] {
                assert_eq!(identities(&ours, list), identities(recorded, list), "{from}");
            }
            compared += 1;
        }
        assert_eq!(totals(&ours), totals(recorded), "{from}");
        if uri.starts_with("/api/v1/status/extra_config") {
            assert_eq!(ours["data"], recorded["data"], "{from}");
        }
    }
    compared
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
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_original_is_there() {
    let fleet = fleet(ORIGIN, TARGETS).await;
    let _ = fleet.get("/api/v1/targets").await;
    let text = reqwest::get(format!("{}/metrics", fleet.url)).await.unwrap().text().await.unwrap();
    let (ours, recorded) = (metrics(&text), metrics(include_str!("data/metrics.txt")));
    for (name, shape) in recorded {
        assert_eq!(ours.get(&name), Some(&shape), "{name}");
    }
    fleet.stop().await;
}

/// Configurations that the original refused, answering `reload failed: ` and why: changes of one that it took.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_refused_as_by_the_original() {
    let fleet = fleet(ORIGIN, TARGETS).await;
    let hash = async || fleet.get("/api/v1/runtimeinfo").await["data"]["ConfigHash"].clone();
    let before = hash().await;
    for (name, text, says) in [
        ("reload-bad-regex", ORIGIN.replace("regex: drop-me", "regex: '('"), Some("relabel_configs[0].regex")),
        ("reload-dup-job", format!("{ORIGIN}- job_name: dup\n"), Some("\"dup\"")),
        ("reload-empty", String::new(), Some("empty")),
        ("reload-syntax", "global: [\n".to_owned(), Some("not valid YAML")),
        ("reload-unknown-key", format!("{ORIGIN}foo: bar\n"), Some("foo")),
        // Its Prometheus did not know that one yet.
        ("reload-newer-key", ORIGIN.replace("honor_labels: true", "honor_labels: true\n  scrape_classic_histograms: true"), None),
    ] {
        std::fs::write(fleet.config_file(), text).unwrap();
        let (status, answer) = fleet.post("/-/reload", "").await;
        let Some(says) = says else {
            assert_eq!(status, 200, "{name}: {answer}");
            continue;
        };
        let error = answer["error"].as_str().unwrap_or_default();
        assert_eq!((status, &answer["errorType"]), (400, &Value::from("bad_data")), "{name}: {answer}");
        assert!(error.starts_with("reload failed: ") && error.contains(says), "{name}: {error}");
        assert_eq!(hash().await, before, "{name}: the last good one stays");
    }
    fleet.stop().await;
}

/// Targets shown, as a file of a job's file discovery changes: what is in it, and how many are then shown.
#[tokio::test(flavor = "multi_thread")]
async fn file_discovery_follows_its_file_as_the_original_did() {
    fake::rustls();
    let group = |number: usize| format!(r#"{{"targets": ["127.0.0.1:{number}"]}}"#);
    let groups = |numbers: &[usize]| format!("[{}]", numbers.iter().map(|&n| group(n)).collect::<Vec<_>>().join(","));
    // The original opened its API only when the other job's discovery had answered, or the wait for it was over.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let job = |name: &str, sd: String| format!("- job_name: {name}\n  {sd}\n");
    let config = [
        "scrape_configs:\n".to_owned(),
        job("j", "file_sd_configs: [{files: [sd.json]}]".to_owned()),
        job("silent", format!("http_sd_configs: [{{url: \"http://{}/\"}}]", silent.local_addr().unwrap())),
    ]
    .concat();
    let shard = FakeShard::start(Behaviour { scrapes: true, config_text: config.clone(), ..Behaviour::default() }).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sd.json");
    std::fs::write(&file, groups(&[1, 2, 3, 4])).unwrap();
    let mut options = options(dir.path(), &[&shard], Limits { max_series: Some(1000), ..Limits::default() });
    options.sd_init_timeout = std::time::Duration::from_secs(3600);
    let fleet = Fleet::with(dir, &config, options).await;
    let shown = async || fleet.get("/api/v1/targets?state=active&job=j").await["data"]["activeTargets"].as_array().unwrap().len();
    let becomes = async |number: usize, what: &str| {
        let start = std::time::Instant::now();
        while shown().await != number {
            assert!(start.elapsed().as_secs() < 30, "{what}: {} instead of {number}", shown().await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    becomes(4, "4 targets").await;
    std::fs::write(&file, groups(&[1, 2])).unwrap();
    becomes(2, "file reduced to 2 groups").await;
    std::fs::write(&file, "[]").unwrap();
    becomes(0, "file emptied to []").await;
    std::fs::write(&file, groups(&[1, 2, 3])).unwrap();
    becomes(3, "3 again").await;
    std::fs::write(&file, "[{").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    becomes(3, "file broken").await;
    std::fs::remove_file(&file).unwrap();
    becomes(0, "file deleted").await;
    let statistics = fleet.get("/api/v1/targets?statistics=only&job=j").await["data"]["activeStatistics"].clone();
    assert_eq!(statistics, serde_json::json!([{"JobName": "j", "Total": 0, "Health": {}}]));

    let without = format!("scrape_configs:\n{}", job("other", "static_configs: [{targets: [\"127.0.0.1:5\"]}]".to_owned()));
    std::fs::write(fleet.config_file(), &without).unwrap();
    shard.lock().behaviour.config_text = without;
    assert_eq!(fleet.post("/-/reload", "").await.0, 200);
    let start = std::time::Instant::now();
    let explored = async || {
        let text = reqwest::get(format!("{}/metrics", fleet.url)).await.unwrap().text().await.unwrap();
        let jobs = text.lines().filter(|line| line.starts_with("kvass_explore_explored_total{"));
        jobs.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    // Those of the removed job stayed in the original, if its explorer had none of its targets any more.
    while explored().await != BTreeSet::from(["other".to_owned()]) {
        assert!(start.elapsed().as_secs() < 30, "{:?}", explored().await);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let statistics = fleet.get("/api/v1/targets?statistics=only").await["data"]["activeStatistics"].clone();
    assert_eq!((&statistics[0]["JobName"], &statistics[0]["Total"], &statistics[1]), (&"other".into(), &1.into(), &Value::Null));
    fleet.stop().await;
}

/// The original divided by whole seconds: an interval below one was a division by zero.
#[tokio::test(flavor = "multi_thread")]
async fn samples_per_second_of_a_job_scraped_more_often() {
    fake::rustls();
    for (interval, per_second) in [("500ms", 4.0), ("1s", 2.0)] {
        let config = format!("scrape_configs:\n- job_name: own\n  scrape_interval: {interval}\n");
        let samples = [("own".to_owned(), serde_json::json!({"scrapedTotal": 2, "total": 0, "metricsTotal": {}}))];
        let behaviour = Behaviour { config_text: config.clone(), samples: samples.into(), ..Behaviour::default() };
        let shard = FakeShard::start(behaviour).await;
        let fleet = Fleet::start(&config, &[&shard], Limits { max_series: Some(1000), ..Limits::default() }).await;
        let start = std::time::Instant::now();
        while fleet.get("/api/v1/samples").await["data"]["own"]["scrapedTotal"] != per_second {
            assert!(start.elapsed().as_secs() < 30, "{}", fleet.get("/api/v1/samples").await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        fleet.stop().await;
    }
}
