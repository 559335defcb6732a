//! Requests that coordinators of the original really sent (v0.1.4, v0.2.3, v0.3.1 and the last commit).

use serde_json::Value;

use crate::support::World;

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

#[tokio::test]
async fn label_names_of_the_original_arrive_as_it_ships_them() {
    let origin = include_str!("../data/origin-prometheus.yml");
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("prometheus.yml"), origin).unwrap();
    std::fs::create_dir(dir.path().join("store")).unwrap();
    std::fs::write(dir.path().join("store/kvass-shard.json"), include_str!("../data/kvass-shard.json")).unwrap();
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
