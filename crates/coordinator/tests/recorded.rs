//! What a coordinator of the original answered about a configuration, and what we answer about the same one.

#![allow(clippy::unwrap_used)]

mod fake;

use std::collections::BTreeSet;

use fake::{Behaviour, FakeShard, Fleet, options, until};
use kvass_plan::Limits;
use serde_json::Value;

const ORIGIN: &str = include_str!("data/origin-prometheus.yml");

/// Targets in it. (The original lists one that two groups name twice.)
const TARGETS: usize = 16;

/// Where we answer more than the original did.
const MORE: [(&str, u16); 2] = [
    // With and without a slash at the end, directly; the path of v0.1 and v0.2, too.
    ("coordinator/status-config-slash.json", 301),
    ("coordinator/shard-runtimeinfo-old-path.json", 404),
];

async fn fleet() -> Fleet {
    fake::rustls();
    let shard = FakeShard::start(Behaviour { scrapes: true, config_text: ORIGIN.to_owned(), ..Behaviour::default() }).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sd-mixed.json"), include_str!("data/sd-mixed.json")).unwrap();
    let options = options(dir.path(), &[&shard], Limits { max_series: Some(1_000_000), ..Limits::default() });
    let fleet = Fleet::with(dir, ORIGIN, options).await;
    until("every target assigned", || shard.hashes().len() == TARGETS).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_question_is_answered_as_the_original_did() {
    let fleet = fleet().await;
    let client = reqwest::Client::new();
    let mut compared = 0;
    for line in include_str!("data/coordinator-answers.jsonl").lines() {
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
        if MORE.contains(&(from, u16::try_from(case["status"].as_u64().unwrap()).unwrap())) {
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
        // Samples and health are the shards' affair; nothing is down here.
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
    assert!(compared >= 10, "{compared}");
    fleet.stop().await;
}

/// Name, kind and labels of the original's own metrics, v0.2.3 to the last commit.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_original_is_there() {
    let fleet = fleet().await;
    let _ = fleet.get("/api/v1/targets").await;
    let text = reqwest::get(format!("{}/metrics", fleet.url)).await.unwrap().text().await.unwrap();
    for (name, kind, labels) in [
        ("kvass_coordinator_assign_targets_total", "counter", &[][..]),
        ("kvass_coordinator_http_request_duration_seconds", "histogram", &[r#"code="200""#, r#"path="/api/v1/targets""#, "le="]),
        ("kvass_explore_explored_total", "counter", &[r#"job="down""#, r#"success="false""#]),
        ("kvass_explore_exploring_total", "gauge", &[r#"job="down""#]),
    ] {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}\n{text}");
        let mut samples = text.lines().filter(|line| line.starts_with(name));
        assert!(samples.any(|line| labels.iter().all(|label| line.contains(label))), "{name} {labels:?}\n{text}");
    }
    fleet.stop().await;
}
