use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{
    assert_differences,
    support::{Shard, eventually, get_json, world, write},
};

/// A sidecar of ours in the place of one of the original, with its store: the targets of its Prometheus stay the same,
/// so the series do.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_the_same_after_the_sidecar_is_replaced() {
    let world = world();
    let config = world.path().join("origin.yml");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sidecar/tests/data");
    write(&config, &fs::read_to_string(folder.join("origin-prometheus.yml")).unwrap());
    let mut found = Vec::new();
    for (number, line) in include_str!("../data/prometheus-targets.jsonl").lines().enumerate() {
        let case: Value = serde_json::from_str(line).unwrap();
        let mut shard = Shard::new(world.path(), &format!("shard-{number}"), &config);
        fs::create_dir_all(&shard.dir).unwrap();
        write(&shard.dir.join("kvass-shard.json"), &case["store"].to_string());
        let self_monitored = line.contains("prometheus_shards");
        shard.sidecar_args = self_monitored.then(|| "--shard.self-monitor".to_owned()).into_iter().collect();
        shard.start_sidecar();
        shard.start_prometheus().await;
        let recorded = case["targets"].as_array().unwrap();
        let ours = eventually("all targets", async || {
            let answer = get_json(&format!("{}/api/v1/targets?state=active", shard.prometheus_url())).await?;
            let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
            if targets.len() == recorded.len() { Ok(targets) } else { Err(format!("{} of {}", targets.len(), recorded.len())) }
        })
        .await;
        let find = |hash: &Value| ours.iter().find(|target| target["discoveredLabels"]["__param__hash"] == *hash).unwrap();
        for target in recorded {
            let (pool, labels) = (&target["scrapePool"], target["discoveredLabels"].as_object().unwrap());
            let mut ours = find(&target["discoveredLabels"]["__param__hash"]).clone();
            let members = target.as_object().unwrap();
            ours.as_object_mut().unwrap().retain(|name, _| members.contains_key(name));
            // Where a file told of it.
            ours["discoveredLabels"].as_object_mut().unwrap().remove("__meta_filepath");
            let own = shard.prometheus_url();
            let ours: Value =
                serde_json::from_str(&ours.to_string().replace(&own["http://".len()..], "127.0.0.1:18202")).unwrap();
            for (name, value) in members.iter().filter(|(name, _)| *name != "discoveredLabels") {
                if ours[name] != *value {
                    found.push(format!("{pool} {name}: {value} -> {}", ours[name]));
                }
            }
            let our_labels = ours["discoveredLabels"].as_object().unwrap();
            for name in labels.keys().chain(our_labels.keys()) {
                let (theirs, ours) = (labels.get(name), our_labels.get(name));
                if theirs != ours {
                    found.push(format!("{pool} {name}: {} -> {}", json!(theirs), json!(ours)));
                }
            }
        }
    }
    // The proxy knows the parameters: no secret among them reaches Prometheus.
    let want = [r#""probe" __param_match[]"#, r#""probe" __param_module"#, r#""probe" __param_target"#, r#""probe" scrapeUrl"#];
    assert_differences(found.iter().map(|line: &String| line.split(": ").next().unwrap().to_owned()), &want);
}
