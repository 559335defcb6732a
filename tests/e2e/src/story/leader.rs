//! (c5) The coordinator that leads is killed, then all of them are replaced: another one leads, and nothing moves.

use std::time::Duration;

use super::placement::{Placement, placed};
use crate::{
    cluster::{Pod, until},
    stage::{Stage, now, seconds},
};

const TARGETS: u64 = 6;

/// `--leader-elect.lease-duration` (15 s), a cycle of the fixture (5 s), and what it takes to notice.
const TAKES_OVER: f64 = 22.0;

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let shards = 3 * stage.fixture.replicas.len() as u64;
    stage.generators(TARGETS).await?;
    stage.steady(TARGETS, shards, Duration::from_secs(300)).await?;
    until("two coordinators ready", Duration::from_secs(60), async || {
        let ready = stage.fixture.coordinators(&stage.cluster).await?.iter().filter(|pod| pod.ready()).count();
        anyhow::ensure!(ready >= 2, "{ready} ready");
        Ok(())
    })
    .await?;

    let before = placed(stage).await?;
    stage.expect("who has which target is known", format!("{} targets", before.len()), before.len() as u64 == TARGETS);
    let act = stage.begin("the leader killed").await?;
    let (leader, holder) = leading(stage).await?;
    let at = now();
    stage.cluster.kill(&leader, "coordinator")?;
    // The process alone would come back, and might be the first to ask.
    let gone = ["delete", "pod", &leader.name, "--wait=false", "--force", "--grace-period=0"];
    stage.cluster.kubectl(stage.fixture.namespace, &gone).await?;
    let name = taken_over(stage, &holder).await?;
    let took = seconds(now() - at);
    stage.expect(format!("another one leads within {TAKES_OVER} s"), format!("{name} after {took:.1} s"), took <= TAKES_OVER);
    stage.expect("the one that was killed leads no more", &leader.name, name != leader.name);
    unmoved(stage, "the leader killed", &before, shards).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);

    let act = stage.begin("coordinators replaced").await?;
    let (_, holder) = leading(stage).await?;
    let old: Vec<String> = stage.fixture.coordinators(&stage.cluster).await?.into_iter().map(|pod| pod.uid).collect();
    stage.cluster.kubectl(stage.fixture.namespace, &["rollout", "restart", "deployment", "kvass-coordinator"]).await?;
    let status = ["rollout", "status", "deployment", "kvass-coordinator", "--timeout=180s"];
    stage.cluster.kubectl(stage.fixture.namespace, &status).await?;
    until("only new coordinators", Duration::from_secs(60), async || {
        let pods = stage.fixture.coordinators(&stage.cluster).await?;
        anyhow::ensure!(pods.len() >= 2 && pods.iter().all(|pod| pod.ready() && !old.contains(&pod.uid)), "old ones are left");
        Ok(())
    })
    .await?;
    let name = taken_over(stage, &holder).await?;
    stage.expect("one of the new ones leads", name, true);
    unmoved(stage, "coordinators replaced", &before, shards).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    Ok(())
}

/// The coordinator that leads, and under which name it holds the Lease.
async fn leading(stage: &Stage) -> anyhow::Result<(Pod, String)> {
    let (pod, status) = stage.fixture.leader(&stage.cluster).await?;
    let holder = status["holder"].as_str().unwrap_or_default().to_owned();
    anyhow::ensure!(!holder.is_empty(), "{} leads and names no holder of the Lease", pod.name);
    Ok((pod, holder))
}

/// Waits until somebody other than `before` holds the Lease; its pod.
async fn taken_over(stage: &Stage, before: &str) -> anyhow::Result<String> {
    until("another leader", Duration::from_secs(90), async || {
        let (pod, holder) = leading(stage).await?;
        anyhow::ensure!(holder != before, "{holder} leads");
        Ok(pod.name)
    })
    .await
}

/// Two cycles later every target is where it was.
async fn unmoved(stage: &mut Stage, act: &str, before: &Placement, shards: u64) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_secs(10)).await;
    stage.steady(TARGETS, shards, Duration::from_secs(60)).await?;
    let after = placed(stage).await?;
    let moved: Vec<&String> =
        before.iter().filter(|(target, on)| after.get(*target) != Some(on)).map(|(target, _)| target).collect();
    stage.expect(format!("{act}: nothing moved"), format!("{moved:?} of {} targets", after.len()), moved.is_empty());
    Ok(())
}
