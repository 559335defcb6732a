//! Whether a body is good is for Prometheus to say, and kvass says the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "support/raw_server.rs"]
mod raw_server;
mod support;

use std::collections::BTreeMap;

use raw_server::serve;
use serde_json::Value;
use support::{Coordinator, Shard, eventually, world, write};

/// Bodies at the edge of the formats. Some are good, some are not: Prometheus says which.
const TEXT_BODIES: [&str; 62] = [
    "a 1\n",
    "a 1",
    "a\t1\n",
    " a 1\n",
    "\ta 1\n",
    "a 1 \n",
    "a  1\n",
    "a 1\r\n",
    "\n\n",
    "\r\n",
    "a 1\n\n\nb 2\n",
    "a\n",
    "a \n",
    "a b\n",
    "1 1\n",
    "a 1 2\n",
    "a 1 2.5\n",
    "a 1 x\n",
    "a 1 -5\n",
    "a 1 99999999999999999999\n",
    "a 1 2 3\n",
    "a 0x10\n",
    "a 1_000\n",
    "a 1e400\n",
    "a 1e5\n",
    "a .5\n",
    "a 5.\n",
    "a +5\n",
    "a ++5\n",
    "a nan\n",
    "a NAN\n",
    "a inf\n",
    "a Infinity\n",
    "a -iNf\n",
    "a 0b1\n",
    "a {} 1\n",
    "a{} 1\n",
    "a{ } 1\n",
    "{} 1\n",
    "{x=\"y\"} 1\n",
    "a{,} 1\n",
    "a{x=\"y\",} 1\n",
    "a{x=\"y\",,} 1\n",
    "a{x=\"y\" z=\"w\"} 1\n",
    "a{x='y'} 1\n",
    "a{x=y} 1\n",
    "a{x=\"y} 1\n",
    "a{x=\"\\q\"} 1\n",
    "a{x=\"line\\nend\"} 1\n",
    "a{x=\"real\nline\"} 1\n",
    "a{x=\"y\",x=\"z\"} 1\n",
    "a{x=\"y\"}1\n",
    "a{1x=\"y\"} 1\n",
    "a:b 1\n",
    ":a 1\n",
    "ä 1\n",
    "a{x=\"\u{fffd}ä\"} 1\n",
    "a{__name__=\"b\"} 1\n",
    "# TYPE a banana\na 1\n",
    "# TYPE a\na 1\n",
    "#TYPE a gauge\na 1\n",
    "# EOF\na 1\n",
];
const OPEN_METRICS_BODIES: [&str; 22] = [
    "# EOF\n",
    "# EOF",
    "",
    "a 1\n",
    "a 1\n# EOF\n",
    "a 1\n# EOF\n\n",
    "a 1\n# EOF\nb 1\n",
    "a  1\n# EOF\n",
    "a 1 2.5\n# EOF\n",
    "# a remark\na 1\n# EOF\n",
    "\na 1\n# EOF\n",
    "# TYPE a counter\na_total 1 # {} 1\n# EOF\n",
    "# TYPE a counter\na_total 1 # {x=\"y\"} 1 2\n# EOF\n",
    "a_total 1 #{x=\"y\"} 1\n# EOF\n",
    "# UNIT a seconds\na 1\n# EOF\n",
    "# UNIT a_seconds seconds\na_seconds 1\n# EOF\n",
    "# TYPE a unknown\n# EOF\n",
    "# TYPE a untyped\n# EOF\n",
    "# HELP a \\q\na 1\n# EOF\n",
    "a{x=\"y\"} NaN\n# EOF\n",
    "a{} 0x1\n# EOF\n",
    "a 1\r\n# EOF\n",
];

#[tokio::test]
async fn a_target_is_up_exactly_when_prometheus_says_so() {
    let world = world();
    let bodies: Vec<(&str, &str)> = TEXT_BODIES
        .map(|body| ("text/plain; version=0.0.4", body))
        .into_iter()
        .chain(OPEN_METRICS_BODIES.map(|body| ("application/openmetrics-text; version=1.0.0", body)))
        .collect();
    let served = bodies.clone();
    let address = serve(None, move |request, connection| {
        let number: usize = request.path().trim_start_matches('/').parse().unwrap_or_default();
        let (content_type, body) = served[number];
        async move { connection.answer("200 OK", &format!("Content-Type: {content_type}\r\n"), body.as_bytes()).await }
    })
    .await;
    let config = world.path().join("prometheus.yml");
    write(
        &config,
        "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n- job_name: edge\n  file_sd_configs: [{files: [edge.json]}]\n",
    );
    let group = |number| serde_json::json!({"targets": [address], "labels": {"__metrics_path__": format!("/{number}"), "instance": format!("{number}")}});
    let groups: Vec<Value> = (0..bodies.len()).map(group).collect();
    write(&world.path().join("edge.json"), &Value::from(groups).to_string());
    let shard = Shard::start(world.path(), "shard-0", &config).await;
    let coordinator =
        Coordinator::start(world.path(), &config, &[&shard], &["--shard.max-series=1000", "--coordinator.interval=1s"]);

    let stored = eventually("two scrapes of each", async || {
        let scrapes = support::query(&shard.prometheus_url(), "count_over_time(up[5m]) >= 2").await?;
        if scrapes.len() < bodies.len() {
            return Err(format!("{scrapes:?}"));
        }
        let mut stored: BTreeMap<usize, BTreeMap<String, f64>> = BTreeMap::new();
        for (labels, value) in support::query(&shard.prometheus_url(), "{__name__=~\"up|scrape_samples_.*\"}").await? {
            let labels: Value = serde_json::from_str(&labels).map_err(|e| e.to_string())?;
            let number = labels["instance"].as_str().unwrap_or_default().parse().map_err(|_| labels.to_string())?;
            stored.entry(number).or_default().insert(labels["__name__"].as_str().unwrap_or_default().to_owned(), value);
        }
        Ok(stored)
    })
    .await;
    let targets = eventually("all are known", async || {
        let targets = coordinator.targets().await?;
        let known = targets.iter().filter(|t| t["health"] != "unknown").count();
        if known == bodies.len() { Ok(targets) } else { Err(format!("{known}")) }
    })
    .await;
    let mut differing = String::new();
    let mut up = 0;
    for target in &targets {
        let number: usize = target["labels"]["instance"].as_str().unwrap().parse().unwrap();
        let stored = &stored[&number];
        let expected = if stored["up"] == 1.0 { "up" } else { "down" };
        up += stored["up"] as usize;
        let [series, total] = ["series", "totalSeries"].map(|size| target[size].as_f64().unwrap());
        let sizes_differ = expected == "up"
            && (series, total) != (stored["scrape_samples_post_metric_relabeling"], stored["scrape_samples_scraped"]);
        if target["health"] != expected || sizes_differ {
            let health = [&target["health"], &target["lastError"]];
            differing += &format!("{:?}: Prometheus: {stored:?}; kvass: {health:?} {series} of {total}\n", bodies[number].1);
        }
    }
    println!("{} bodies, {up} of them good", targets.len());
    assert!(differing.is_empty(), "{differing}");
}
