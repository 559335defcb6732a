//! (e) Two replica StatefulSets: each has all targets, Thanos shows them once, a shard of one may go
//! unnoticed, and both shrink with their volumes.

use std::time::Duration;

use super::growth;
use crate::stage::Stage;

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let (targets, shards) = (6, 3);
    let replicas = stage.fixture.replicas;
    stage.generators(targets).await?;
    let fleet = stage.steady(targets, shards * replicas.len() as u64, Duration::from_secs(300)).await?;
    for replica in replicas {
        let held: u64 = fleet.targets.iter().filter(|(shard, _)| shard.starts_with(replica)).map(|(_, targets)| targets).sum();
        stage.expect(format!("{replica} has every target"), held, held == targets);
    }
    let count = r#"count({__name__=~"kvass_demo_metric_.+"})"#;
    stage.until_value(count, "60000", Duration::from_secs(120)).await?;
    stage.expect("Thanos counts every series once", "60000", true);

    let act = stage.begin("a shard of one replica deleted").await?;
    let name = format!("{}-1", replicas.first().copied().unwrap_or_default());
    stage.cluster.kubectl(stage.fixture.namespace, &["delete", "pod", &name, "--wait=false"]).await?;
    tokio::time::sleep(stage.fixture.interval * 2).await;
    stage.steady(targets, shards * replicas.len() as u64, Duration::from_secs(240)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);

    let before = stage.cluster.claims(stage.fixture.namespace).await?;
    let act = stage.begin("6 → 4 exporters").await?;
    stage.generators(4).await?;
    stage.steady(4, 2 * replicas.len() as u64, Duration::from_secs(420)).await?;
    let row = stage.end(act).await?;
    stage.expect_moves_only(&row);
    growth::claims_of_living_shards(stage, &before).await
}
