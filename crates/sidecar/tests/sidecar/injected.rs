//! What sidecars of the original wrote for Prometheus, and what ours writes for the same configuration and targets.

use std::{collections::BTreeSet, path::Path};

use kvass_sidecar::DeliveryMode;
use serde_json::{Value, json};

use crate::support::{World, assert_differences, differences};

/// What the original spelt out and Prometheus assumes anyway.
const DEFAULTS: &[(&str, &str)] = &[
    ("action", "replace"),
    ("api_version", "v2"),
    ("client_type", "grpc"),
    ("evaluation_interval", "1m"),
    ("follow_redirects", "true"),
    ("honor_timestamps", "true"),
    ("metrics_path", "/metrics"),
    ("regex", "(.*)"),
    ("replacement", "$1"),
    ("scheme", "http"),
    ("scrape_interval", "1m"),
    ("scrape_timeout", "10s"),
    ("separator", ";"),
    ("timeout", "10s"),
    // Remote write and read.
    ("batch_send_deadline", "5s"),
    ("capacity", "2500"),
    ("max_backoff", "5s"),
    ("max_samples_per_send", "500"),
    ("max_shards", "200"),
    ("min_backoff", "30ms"),
    ("min_shards", "1"),
    ("send", "true"),
    ("send_interval", "1m"),
];

/// Where ours differs on purpose; every one of these is there in some file. A star ends a name of which the rest is open.
const DELIBERATE: &[&str] = &[
    // The proxy knows the parameters, and no secret among them reaches Prometheus.
    "scrape_configs.*.params",
    "scrape_configs.*.targets.*.__param_*",
    // The proxy authenticates. The original left these, with `<secret>` for what they are about.
    "scrape_configs.*.authorization",
    "scrape_configs.*.oauth2",
    // The coordinator judges it by all targets of the job.
    "scrape_configs.*.target_limit",
    // Says nothing after relabelling.
    "scrape_configs.*.targets.*.__tmp_*",
    // Prometheus' defaults and the operator's spelling are left alone: no need to know them.
    "scrape_configs.custom.body_size_limit",
    "scrape_configs.prometheus_shards.honor_timestamps",
    "scrape_configs.prometheus_shards.follow_redirects",
    // Labels without a value are none.
    "scrape_configs.prometheus_shards.targets.0.replicate",
    "scrape_configs.prometheus_shards.targets.0.shard",
    // Relative to the operator's file, wherever the injected one is.
    "rule_files.*",
    // One target of a list is scraped once, and one without an address never.
    "scrape_configs.dup.targets",
    "scrape_configs.j.targets",
];

/// Values that the original lost or put elsewhere when it wrote the configuration anew.
const LOST_BY_THE_ORIGINAL: &[&str] = &[
    r#"alerting.alertmanagers.0.basic_auth.password: "pa: ss#1" -> "am-pass""#,
    r#"remote_read.0.basic_auth.password: "<secret>" -> "rr-pass""#,
    "remote_read.0.filter_external_labels: null -> false",
    r#"remote_write.0.authorization: {"credentials":"<secret>","type":"Bearer"} -> null"#,
    r#"remote_write.0.bearer_token: null -> "rw-token""#,
    r#"remote_write.0.url: "http://u:xxxxx@127.0.0.1:9/w" -> "http://u:p@127.0.0.1:9/w""#,
    r#"remote_write.1.basic_auth.password: "rr-pass" -> "pa: ss#1""#,
    r#"remote_write.2.sigv4.secret_key: "<secret>" -> "SK""#,
    r#"scrape_configs.j.metric_relabel_configs.0.replacement: null -> """#,
    r#"scrape_configs.j.metric_relabel_configs.1.separator: null -> """#,
    r#"scrape_configs.j.metric_relabel_configs.2.regex: null -> """#,
];

fn deliberate(path: &str) -> Option<&'static str> {
    let fits = |pattern: &str, name: &str| pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start));
    let names: Vec<&str> = path.split('.').collect();
    DELIBERATE.iter().copied().find(|pattern| {
        let patterns: Vec<&str> = pattern.split('.').collect();
        patterns.len() == names.len() && patterns.iter().zip(&names).all(|(pattern, name)| fits(pattern, name))
    })
}

/// Whether leaving it out means the same to Prometheus.
fn is_default(path: &str, value: &Value) -> bool {
    let name = path.rsplit('.').next().unwrap();
    match value {
        Value::Object(members) => members.iter().all(|(name, value)| is_default(&format!("{path}.{name}"), value)),
        Value::String(text) if name == "remote_timeout" => text == if path.starts_with("remote_read") { "1m" } else { "30s" },
        Value::String(text) => DEFAULTS.contains(&(name, text)),
        other => DEFAULTS.contains(&(name, &other.to_string())),
    }
}

/// Every target by itself with all its labels, however they are grouped, and the intervals that a job inherits.
fn normalized(mut document: Value) -> Value {
    let global = document.get("global").cloned().unwrap_or_default();
    let inherited = |name: &str, default: &str| global.get(name).cloned().unwrap_or_else(|| json!(default));
    let seconds = |text: &Value| kvass_model::parse_prometheus_duration(text.as_str().unwrap()).unwrap();
    let shorter = |a: Value, b: Value| if seconds(&a) > seconds(&b) { b } else { a };
    let timeout = shorter(inherited("scrape_timeout", "10s"), inherited("scrape_interval", "1m"));
    if document.get("global").is_none_or(Value::is_null) {
        document["global"] = json!({});
    }
    document["global"].as_object_mut().unwrap().entry("scrape_timeout").or_insert_with(|| timeout.clone());
    if document.get("scrape_configs").is_none() {
        document["scrape_configs"] = json!([]);
    }
    for job in document["scrape_configs"].as_array_mut().into_iter().flatten() {
        let job = job.as_object_mut().unwrap();
        let groups = job.remove("static_configs").unwrap_or_default();
        let mut targets: Vec<Value> = Vec::new();
        for group in groups.as_array().into_iter().flatten() {
            for address in group["targets"].as_array().unwrap() {
                let mut labels = group.get("labels").and_then(Value::as_object).cloned().unwrap_or_default();
                labels.insert("__address__".to_owned(), address.clone());
                targets.push(labels.into());
            }
        }
        targets.sort_by_key(|target| target["__param__hash"].to_string());
        job.insert("targets".to_owned(), targets.into());
        let interval = job.entry("scrape_interval").or_insert_with(|| inherited("scrape_interval", "1m")).clone();
        job.entry("scrape_timeout").or_insert_with(|| shorter(timeout.clone(), interval));
    }
    document
}

fn config_text(name: &Value) -> String {
    let name = name.as_str().unwrap();
    if name.contains('\n') {
        return name.to_owned();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/data/kvass-go");
    std::fs::read_to_string(folder.join(format!("{name}.yml"))).unwrap()
}

#[tokio::test]
async fn what_prometheus_gets_is_what_the_original_gave_it() {
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    for line in include_str!("../data/injected.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let from = case["from"].as_str().unwrap();
        let world = World::with(&config_text(&case["config"]), |options| {
            options.delivery = DeliveryMode::Static;
            options.inject_proxy = case["proxy"].as_str().map(str::to_owned);
            options.self_monitor = case["prometheus"].is_string();
        })
        .await;
        let (status, answer) = world.post("/api/v1/shard/targets/", &case["posted"]).await;
        assert_eq!(status, 200, "{from}: {answer}");
        let mut written = world.read("out/injected.yml");
        if let Some(address) = case["prometheus"].as_str() {
            written = written.replace(&format!("127.0.0.1:{}", world.prometheus_port), address);
        }
        let ours: Value = serde_yaml::from_str(&written).unwrap_or_else(|error| panic!("{from}: {error}\n{written}"));
        for (path, original, ours) in differences(&normalized(case["injected"].clone()), &normalized(ours)) {
            if ours.is_null() && is_default(&path, &original) {
                continue;
            }
            match deliberate(&path) {
                Some(pattern) => drop(seen.insert(pattern.to_owned())),
                None => drop(found.insert(format!("{path}: {original} -> {ours}"))),
            }
        }
    }
    assert_differences(found, LOST_BY_THE_ORIGINAL);
    assert_differences(seen, DELIBERATE);
}
