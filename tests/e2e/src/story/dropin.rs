//! (u) What users of the original have in their clusters, with our image: it comes up, grows and shrinks as theirs did, and
//! another image, of the coordinator first and the shards then or the other way round, moves nothing.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;

use super::{absence, growth};
use crate::{
    fixture::SIDECAR,
    rbac::calls,
    stage::{Stage, seconds},
};

const TARGETS: u64 = 6;
const SHARDS: u64 = 3;

/// What the manifests name.
const IMAGE: &str = concat!("kvass:", env!("CARGO_PKG_VERSION"));

/// The same under another name (`cluster/images.sh`), so that a change of the image is nothing but that.
const OTHER_IMAGE: &str = "kvass:same";

/// v0.1: volumes, and idle shards that are removed.
pub(super) async fn v0_1(stage: &mut Stage) -> anyhow::Result<()> {
    installed(stage).await?;
    coordinator_changed(stage, "the coordinator's image", OTHER_IMAGE).await?;
    shards_changed(stage, "the shards' image", OTHER_IMAGE).await?;
    shards_changed(stage, "the shards' image back", IMAGE).await?;
    coordinator_changed(stage, "the coordinator's image back", IMAGE).await?;
    growth::with_volumes(stage).await?;
    nothing_refused_but_events(stage)
}

/// v0.2: data that goes with the pod, and shards that stay.
pub(super) async fn v0_2(stage: &mut Stage) -> anyhow::Result<()> {
    installed(stage).await?;
    coordinator_changed(stage, "the coordinator's image", OTHER_IMAGE).await?;
    shards_changed(stage, "the shards' image", OTHER_IMAGE).await?;
    grows_and_stays(stage).await?;
    nothing_refused_but_events(stage)
}

/// v0.3: both limits, and shards that scrape their own Prometheus.
pub(super) async fn v0_3(stage: &mut Stage) -> anyhow::Result<()> {
    installed(stage).await?;
    let monitored = r#"count(up{job="prometheus_shards"} == 1)"#;
    stage.until_value(monitored, &SHARDS.to_string(), Duration::from_secs(60)).await?;
    stage.expect("every shard scrapes its Prometheus", monitored, true);
    grows_and_stays(stage).await?;
    nothing_refused_but_events(stage)
}

/// Three shards come by themselves and have everything.
async fn installed(stage: &mut Stage) -> anyhow::Result<()> {
    let act = stage.begin_at("installation", stage.up_at, 0);
    let fleet = stage.steady(TARGETS, SHARDS, Duration::from_secs(240)).await?;
    stage.expect(
        "3 shards with 2 targets each",
        format!("{:?}", fleet.targets),
        fleet.targets.iter().all(|(_, held)| *held == 2),
    );
    let count = r#"count({__name__=~"kvass_demo_metric_.+"})"#;
    stage.until_value(count, "60000", Duration::from_secs(90)).await?;
    stage.expect(format!("{count} is 60000"), "60000", true);
    let row = stage.end(act).await?;
    stage.expect("every target is found", row.shards.targets, row.shards.targets == TARGETS);
    let images = images(stage).await?;
    stage.expect("the reloader of the original runs beside the coordinator", format!("{images:?}"), images.len() == 2);
    Ok(())
}

/// Images of the coordinator's pod.
async fn images(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let path = ["get", "deployment", "kvass-coordinator", "-o", "jsonpath={.spec.template.spec.containers[*].image}"];
    let images = stage.cluster.kubectl(stage.fixture.namespace, &path).await?;
    Ok(images.split_whitespace().map(str::to_owned).collect())
}

async fn coordinator_changed(stage: &mut Stage, name: &str, image: &str) -> anyhow::Result<()> {
    let namespace = stage.fixture.namespace;
    let before = held(stage).await?;
    let act = stage.begin(name).await?;
    let image = format!("kvass={image}");
    stage.cluster.kubectl(namespace, &["set", "image", "deployment/kvass-coordinator", &image]).await?;
    let status = ["rollout", "status", "deployment", "kvass-coordinator", "--timeout=180s"];
    stage.cluster.kubectl(namespace, &status).await?;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(120)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    same(stage, name, &before).await
}

async fn shards_changed(stage: &mut Stage, name: &str, image: &str) -> anyhow::Result<()> {
    let before = held(stage).await?;
    let claims = stage.cluster.claims(stage.fixture.namespace).await?;
    let act = stage.begin(name).await?;
    let names: Vec<&str> = before.keys().map(String::as_str).collect();
    let image = format!("kvass={image}");
    let away = absence::replaced(stage, &names, async |stage| {
        for replica in stage.fixture.replicas {
            let statefulset = format!("statefulset/{replica}");
            stage.cluster.kubectl(stage.fixture.namespace, &["set", "image", &statefulset, &image]).await?;
        }
        Ok(())
    })
    .await?;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(180)).await?;
    let row = stage.end(act).await?;
    absence::expect_own_time(stage, &row, &away, TARGETS / SHARDS);
    stage.expect(format!("{name}: one shard at a time"), away.at_once, away.at_once <= 1);
    let kept = stage.cluster.claims(stage.fixture.namespace).await? == claims;
    stage.expect(format!("{name}: no volume claim deleted"), claims.len(), kept);
    same(stage, name, &before).await
}

/// Shard to the hashes of its targets, as its sidecar has them.
async fn held(stage: &Stage) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut held = BTreeMap::new();
    for shard in stage.fixture.shards(&stage.cluster).await? {
        let data = stage.cluster.ask_data(&shard, SIDECAR, "/api/v1/shard/targets/status/", &[]).await?;
        let statuses = data.as_object().with_context(|| format!("{}: expected the status of targets", shard.name))?;
        held.insert(shard.name, statuses.keys().cloned().collect());
    }
    Ok(held)
}

async fn same(stage: &mut Stage, name: &str, before: &BTreeMap<String, Vec<String>>) -> anyhow::Result<()> {
    let after = held(stage).await?;
    let targets: usize = after.values().map(Vec::len).sum();
    let seen = format!("{targets} targets on {} shards", after.len());
    stage.expect(format!("{name}: every shard has its targets, under their hashes"), seen, after == *before);
    Ok(())
}

/// Twice the exporters and twice the shards; then few exporters, and the shards stay: `--shard.max-idle-time=0`.
async fn grows_and_stays(stage: &mut Stage) -> anyhow::Result<()> {
    let act = stage.begin("6 → 12 exporters").await?;
    stage.generators(12).await?;
    stage.steady(12, 6, Duration::from_secs(240)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    let slowest = row.shards.slowest_first_scrape.unwrap_or(0);
    stage.expect("6 → 12 exporters: slowest first scrape", format!("{:.1} s", seconds(slowest)), true);
    let count = r#"count({__name__=~"kvass_demo_metric_.+"})"#;
    stage.until_value(count, "120000", Duration::from_secs(90)).await?;
    stage.expect(format!("{count} is 120000"), "120000", true);

    let act = stage.begin("12 → 4 exporters").await?;
    stage.generators(4).await?;
    let fleet = stage.steady(4, 6, Duration::from_secs(180)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    stage.expect("12 → 4 exporters: the shards stay", format!("{:?}", fleet.targets), fleet.shards == 6);
    Ok(())
}

/// The original's permissions are enough: only events, which it did not write, are refused.
fn nothing_refused_but_events(stage: &mut Stage) -> anyhow::Result<()> {
    let log = stage.cluster.environment().audit_log.clone().context("the cluster has no audit log that we can read")?;
    let log = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let denied = calls(&log, stage.fixture.namespace, stage.up_at).denied;
    let refused: Vec<String> =
        denied.keys().filter(|call| call.what != "events.events.k8s.io").map(ToString::to_string).collect();
    stage.expect("the original's permissions are enough for all but events", format!("{refused:?}"), refused.is_empty());
    Ok(())
}
