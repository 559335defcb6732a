//! What the API says about targets and the way they came to be.

// Clippy knows test functions, not their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fake;

use fake::{Behaviour, FakeShard, Fleet, options};
use kvass_model::PrometheusLine;
use kvass_plan::Limits;
use serde_json::{Value, json};

const CONFIG: &str = "scrape_configs:
- job_name: web
  scheme: https
  params: {module: [http_2xx]}
  static_configs:
  - targets: ['10.0.0.1', '10.0.0.2:9', '10.0.0.3:9']
    labels: {__meta_env: prod}
  keep_dropped_targets: 1
  relabel_configs:
  - {source_labels: [__address__], regex: '10.0.0.[23].*', action: DROP}
  - {source_labels: [__meta_env], target_label: env}
  - {target_label: link, replacement: 'http://user:secret@host/'}
- {job_name: empty}
";

async fn fleet(line: PrometheusLine) -> Fleet {
    fake::rustls();
    let shard = FakeShard::start(Behaviour::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), &[&shard], Limits::default());
    options.prometheus_line = Some(line);
    let fleet = Fleet::with(dir, CONFIG, options).await;
    for _ in 0..600 {
        if fleet.get("/api/v1/targets").await["data"]["activeTargets"].as_array().is_some_and(|targets| !targets.is_empty()) {
            return fleet;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no targets");
}

/// The answer to a question with these parameters.
async fn ask(fleet: &Fleet, parameters: &[(&str, &str)]) -> Value {
    let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    fleet.get(&format!("/api/v1/targets/relabel_steps?{query}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_is_explained_and_what_is_around_them() {
    let fleet = fleet(PrometheusLine::V2).await;
    let answer = ask(
        &fleet,
        &[("scrapePool", "web"), ("labels", r#"{"__address__":"10.0.0.1","__meta_env":"prod"}"#), ("add_job_labels", "true")],
    )
    .await;
    let data = &answer["data"];
    let steps = data["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3, "{answer:#}");
    assert_eq!(
        steps[0]["rule"],
        json!({"source_labels": ["__address__"], "separator": ";", "regex": "10.0.0.[23].*", "replacement": "$1", "action": "drop"})
    );
    assert_eq!((&steps[0]["keep"], &steps[0]["changes"]), (&json!(true), &json!([])));
    assert_eq!(steps[0]["reason"], r#"kept: "10.0.0.1" (__address__) does not match "10.0.0.[23].*""#);
    assert_eq!(steps[1]["index"], 1);
    assert_eq!(steps[1]["changes"], json!([{"label": "env", "before": "", "after": "prod"}]));
    assert_eq!((&steps[1]["input"]["env"], &steps[1]["output"]["env"]), (&Value::Null, &json!("prod")));
    assert_eq!(steps[2]["output"]["link"], "http://user:xxxxx@host/");

    let named = |list: &Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|change| format!("{} {}", change["label"], change["after"]).replace('"', ""))
            .collect()
    };
    assert_eq!(
        named(&data["added"]),
        [
            "__metrics_path__ /metrics",
            "__param_module http_2xx",
            "__scheme__ https",
            "__scrape_interval__ 1m",
            "__scrape_timeout__ 10s",
            "job web"
        ]
    );
    assert_eq!(named(&data["finished"]), ["__address__ 10.0.0.1:443", "__meta_env ", "instance 10.0.0.1:443"]);
    let shown = fleet.get("/api/v1/targets?state=active").await["data"]["activeTargets"][0].clone();
    assert_eq!(data["target"]["hash"], shown["hash"]);
    assert_eq!(data["target"]["scrapeUrl"], "https://10.0.0.1:443/metrics?module=http_2xx");
    assert_eq!(data["target"]["scrapeInterval"], "1m");
    assert_eq!((&data["droppedBy"], &data["error"]), (&Value::Null, &json!("")));
    assert!(!answer.to_string().contains("secret"), "{answer:#}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_dropped_refused_or_taken_as_they_are() {
    let fleet = fleet(PrometheusLine::V3).await;
    let with = async |labels: &str| ask(&fleet, &[("scrapePool", "web"), ("labels", labels)]).await;
    let dropped = with(r#"{"__address__":"10.0.0.2:9"}"#).await;
    assert_eq!(dropped["data"]["droppedBy"], 0, "{dropped:#}");
    let keep: Vec<&Value> = dropped["data"]["steps"].as_array().unwrap().iter().map(|step| &step["keep"]).collect();
    assert_eq!(keep, [false, false, false]);
    assert_eq!(dropped["data"]["steps"][2]["output"], json!({}));
    assert_eq!((&dropped["data"]["added"], &dropped["data"]["target"]), (&json!([]), &Value::Null));

    let failed = with(r#"{"env":"x","gone":null}"#).await;
    assert_eq!(failed["data"]["error"], "no address: __address__ is missing or empty");
    assert_eq!(failed["data"]["steps"][0]["input"], json!({"env": "x"}));
    assert_eq!(ask(&fleet, &[("scrapePool", "empty"), ("labels", "null")]).await["data"]["steps"], json!([]));

    for (parameters, expected) in [
        (&[("labels", "{}")][..], "no scrapePool parameter provided"),
        (&[("scrapePool", "web")], "no labels parameter provided"),
        (&[("scrapePool", "none"), ("labels", "{}")], r#"error retrieving scrape config: scrape pool "none" not found"#),
        (&[("scrapePool", "web"), ("labels", "[]")], "error parsing labels: "),
        (&[("scrapePool", "web"), ("labels", r#"{"a":1}"#)], "error parsing labels: "),
        (
            &[("scrapePool", "web"), ("labels", "{}"), ("add_job_labels", "yes")],
            r#"add_job_labels: "yes": expected true or false"#,
        ),
    ] {
        let answer = ask(&fleet, parameters).await;
        assert_eq!(answer["errorType"], "bad_data", "{answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.starts_with(expected)), "{answer}");
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_filtered_and_counted_as_prometheus_does() {
    let fleet = fleet(PrometheusLine::V3).await;
    let shown = async |query: &str| {
        let answer = fleet.get(&format!("/api/v1/targets?{query}")).await;
        let length = |list: &str| answer["data"][list].as_array().unwrap().len();
        (length("activeTargets"), length("droppedTargets"), answer["data"]["droppedTargetCounts"].clone())
    };
    let counts = json!({"empty": 0, "web": 2});
    assert_eq!(shown("").await, (1, 1, counts.clone()));
    assert_eq!(shown("state=Any&scrapePool=web").await, (1, 1, counts.clone()));
    assert_eq!(shown("state=ACTIVE").await, (1, 0, Value::Null));
    assert_eq!(shown("state=dropped&scrapePool=we").await, (0, 0, counts));
    assert_eq!(shown("state=neither").await, (0, 0, Value::Null));
    assert_eq!(fleet.get("/api/v1/scrape_pools").await["data"], json!({"scrapePools": ["empty", "web"]}));
    fleet.stop().await;
}
