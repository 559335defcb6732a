//! (b) Twice the exporters, twice the shards; then few of them: drain, idle time, scale-in.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    cluster::until,
    stage::{Stage, now},
};

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.generators(6).await?;
    stage.steady(6, 3, Duration::from_secs(300)).await?;

    let act = stage.begin("6 → 12 exporters").await?;
    stage.generators(12).await?;
    stage.steady(12, 6, Duration::from_secs(180)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    let slowest = row.shards.slowest_first_scrape.unwrap_or(0);
    stage.expect("6 → 12 exporters: every target is found", row.shards.targets, row.shards.targets == 12);
    stage.expect("6 → 12 exporters: slowest first scrape", format!("{:.1} s", crate::stage::seconds(slowest)), true);

    let act = stage.begin("12 → 4 exporters").await?;
    stage.generators(4).await?;
    stage.steady(4, 2, Duration::from_secs(300)).await?;
    let row = stage.end(act).await?;
    stage.expect_moves_only(&row);

    // Scaled in and not undone: pods that are still terminating must not count.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let fleet = stage.steady(4, 2, Duration::from_secs(5)).await;
    let seen = fleet.as_ref().map_or_else(|error| format!("{error:#}"), |fleet| format!("{:?}", fleet.targets));
    stage.expect("30 s later still 2 shards", seen, fleet.is_ok());
    Ok(())
}

/// The same with volumes, which are deleted with their shards.
pub(super) async fn with_volumes(stage: &mut Stage) -> anyhow::Result<()> {
    stage.steady(6, 3, Duration::from_secs(300)).await?;
    let before = stage.cluster.claims(stage.fixture.namespace).await?;
    tell(stage).await?;
    claims_of_living_shards(stage, &before).await
}

/// With `--shard.delete-pvc=false` volumes stay, and shards that come back have their own.
pub(super) async fn volumes_kept(stage: &mut Stage) -> anyhow::Result<()> {
    let namespace = stage.fixture.namespace;
    stage.generators(4).await?;
    stage.steady(4, 2, Duration::from_secs(300)).await?;
    let argument = r#"[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--shard.delete-pvc=false"}]"#;
    stage.cluster.kubectl(namespace, &["patch", "deployment", "kvass-coordinator", "--type=json", "--patch", argument]).await?;
    let status = ["rollout", "status", "deployment", "kvass-coordinator", "--timeout=180s"];
    stage.cluster.kubectl(namespace, &status).await?;

    stage.generators(8).await?;
    stage.steady(8, 4, Duration::from_secs(300)).await?;
    let four = stage.cluster.claims(namespace).await?;
    let act = stage.begin("8 → 4 exporters, volumes kept").await?;
    stage.generators(4).await?;
    stage.steady(4, 2, Duration::from_secs(300)).await?;
    let row = stage.end(act).await?;
    stage.expect_moves_only(&row);
    let kept = stage.cluster.claims(namespace).await?;
    stage.expect("volumes kept: every claim is the same", format!("{:?}", kept.keys().collect::<Vec<_>>()), kept == four);

    let act = stage.begin("4 → 8 exporters, on kept volumes").await?;
    stage.generators(8).await?;
    stage.steady(8, 4, Duration::from_secs(300)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    let again = stage.cluster.claims(namespace).await?;
    stage.expect("on kept volumes: every claim is the same", again.len(), again == four);
    Ok(())
}

/// Claims go after their pods: waits until the claims of shards are those of living ones, and promises that those of
/// `before` are the same as they were.
pub(super) async fn claims_of_living_shards(stage: &mut Stage, before: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let namespace = stage.fixture.namespace;
    let mut living: Vec<String> =
        stage.fixture.shards(&stage.cluster).await?.iter().map(|pod| format!("data-{}", pod.name)).collect();
    living.sort();
    let of_shards = |claim: &str| stage.fixture.replicas.iter().any(|replica| claim.starts_with(&format!("data-{replica}-")));
    let left = until("no claim of a removed shard", Duration::from_secs(60), async || {
        let mut claims = stage.cluster.claims(namespace).await?;
        claims.retain(|name, _| of_shards(name));
        anyhow::ensure!(claims.keys().eq(living.iter()), "{:?}", claims.keys().collect::<Vec<_>>());
        Ok(claims)
    })
    .await;
    let kept = left.as_ref().is_ok_and(|left| left.iter().all(|(name, uid)| before.get(name).is_none_or(|old| old == uid)));
    let seen = left.map_or_else(|error| format!("{error:#}"), |left| format!("{:?}", left.keys().collect::<Vec<_>>()));
    stage.expect("each living shard has its old claim, and no other claim of a shard is left", seen, kept);
    Ok(())
}

/// Ten times up and down, with exporters coming and going all the time.
pub(super) async fn ten_times(stage: &mut Stage) -> anyhow::Result<()> {
    stage.generators(4).await?;
    stage.steady(4, 2, Duration::from_secs(300)).await?;
    let staying = stage.cluster.claims(stage.fixture.namespace).await?;
    let mut undone = vec![];
    let begin = now();
    let act = stage.begin("10 × 4 → 12 → 4 exporters").await?;
    for round in 1..=10 {
        for (targets, shards) in [(12, 6), (4, 2)] {
            let from = now();
            stage.generators(targets).await?;
            // Heads that are full of what went make for a shard more until they are truncated.
            stage.steady(targets, shards, Duration::from_secs(600)).await?;
            for (replica, scales) in stage.collector.scales(from) {
                if !(scales.is_sorted() || scales.iter().rev().is_sorted()) {
                    undone.push(format!("round {round}, {replica}: {scales:?}"));
                }
            }
            replace_one(stage).await?;
        }
    }
    stage.expect("no scaling was undone", format!("{undone:?}"), undone.is_empty());
    let scales = stage.collector.scales(begin);
    stage.expect("20 scalings at least", format!("{scales:?}"), scales.values().all(|scales| scales.len() > 20));
    // The last exporter that was replaced may have asked for a shard more.
    stage.steady(4, 2, Duration::from_secs(600)).await?;
    claims_of_living_shards(stage, &staying).await?;
    let row = stage.end(act).await?;
    stage.expect_moves_only(&row);
    Ok(())
}

/// An exporter deleted, another comes.
async fn replace_one(stage: &Stage) -> anyhow::Result<()> {
    let pods = stage.fixture.generators(&stage.cluster).await?;
    let Some(pod) = pods.first() else { return Ok(()) };
    stage.cluster.kubectl(stage.fixture.namespace, &["delete", "pod", "--wait=false", &pod.name]).await?;
    Ok(())
}
