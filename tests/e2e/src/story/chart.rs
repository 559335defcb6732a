//! (h2) `helm upgrade` and `helm rollback` on a loaded fleet: the number of shards is not the chart's, and nothing moves;
//! then fewer shards.

use std::time::Duration;

use super::growth;
use crate::{
    fixture::Source,
    stage::{Stage, now},
};

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let Source::Chart(values) = &stage.fixture.source else { anyhow::bail!("{} is no chart", stage.fixture.name) };
    stage.generators(6).await?;
    stage.steady(6, 3, Duration::from_secs(300)).await?;
    // Another coordinator, and not another StatefulSet.
    let change = ["--set-string", "coordinator.podAnnotations.told=again"];
    let (cluster, fixture) = (stage.cluster.clone(), stage.fixture);
    unshaken(stage, "helm upgrade", async || fixture.helm(&cluster, "upgrade", values, &change).await).await?;
    let back = ["rollback", "kvass", "1", "--namespace", fixture.namespace];
    unshaken(stage, "helm rollback", async || cluster.helm(&back).await.map(drop)).await?;

    let before = stage.cluster.claims(stage.fixture.namespace).await?;
    let act = stage.begin("6 → 4 exporters").await?;
    stage.generators(4).await?;
    stage.steady(4, 2, Duration::from_secs(420)).await?;
    let row = stage.end(act).await?;
    stage.expect_moves_only(&row);
    growth::claims_of_living_shards(stage, &before).await
}

async fn unshaken(stage: &mut Stage, name: &str, command: impl AsyncFnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let namespace = stage.fixture.namespace;
    let claims = stage.cluster.claims(namespace).await?;
    let old: Vec<String> = stage.fixture.coordinators(&stage.cluster).await?.into_iter().map(|pod| pod.uid).collect();
    let act = stage.begin(name).await?;
    let from = now();
    command().await?;
    let status = ["rollout", "status", "deployment", "kvass-coordinator", "--timeout=180s"];
    stage.cluster.kubectl(namespace, &status).await?;
    stage.steady(6, 3, Duration::from_secs(120)).await?;
    let new = stage.fixture.coordinators(&stage.cluster).await?.iter().filter(|pod| !old.contains(&pod.uid)).count();
    stage.expect(format!("{name}: new coordinators"), new, new > 0);
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    let scales = stage.collector.scales(from);
    stage.expect(format!("{name}: always 3 shards"), format!("{scales:?}"), scales.values().all(|scales| *scales == [3]));
    let kept = stage.cluster.claims(namespace).await? == claims;
    stage.expect(format!("{name}: no volume claim deleted"), claims.len(), kept);
    Ok(())
}
