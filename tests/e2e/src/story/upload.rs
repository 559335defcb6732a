//! (g) The last sample that a drained shard took is found in the object store after the shard and its volume are gone.

use std::time::Duration;

use crate::{
    cluster::until,
    fixture::{HTTP, UP},
    stage::{Stage, list, now},
};

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.generators(12).await?;
    stage.steady(12, 6, Duration::from_secs(300)).await?;
    let replica = stage.fixture.replicas.first().copied().unwrap_or_default();
    let shard = format!("{replica}-5");
    let act = stage.begin("shards drained and removed").await?;
    let begin = now();
    stage.generators(4).await?;
    // The shard's own last word, asked for as long as it is there.
    let mut last = None;
    loop {
        let pods = stage.cluster.pods(stage.fixture.namespace).await?;
        if !pods.iter().any(|pod| pod.name == shard) {
            break;
        }
        anyhow::ensure!(now() - begin < 600_000, "{shard} is still there after 10 minutes");
        last = last.max(last_sample(stage, &shard).await.unwrap_or(None));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    stage.steady(4, 2, Duration::from_secs(300)).await?;
    let claim = until("its volume claim is gone", Duration::from_secs(120), async || {
        let claims = stage.cluster.claims(stage.fixture.namespace).await?;
        anyhow::ensure!(!claims.keys().any(|claim| claim.ends_with(&shard)), "it is still there");
        Ok(claims.len())
    })
    .await?;
    stage.expect("the drained shard's claim is gone", format!("{claim} claims left"), true);
    let found = until("its last sample in the store", Duration::from_secs(300), async || {
        let found = last_sample(stage, &shard).await?;
        anyhow::ensure!(found >= last, "the last one found is of {found:?}, taken was one of {last:?}");
        Ok(found)
    })
    .await;
    let held = found.is_ok() && last.is_some();
    let seen = found.map_or_else(|error| format!("{error:#}"), |at| format!("{at:?} of {last:?}"));
    stage.expect("its last sample is found without it", seen, held);
    let row = stage.end(act).await?;
    stage.expect_moves_only(&row);
    Ok(())
}

/// Time of the newest `up` sample that a shard took.
async fn last_sample(stage: &Stage, shard: &str) -> anyhow::Result<Option<i64>> {
    let pod = stage.fixture.query(&stage.cluster).await?;
    let query = format!("{}[30m]", UP.replace('}', &format!(r#",shard="{shard}"}}"#)));
    let parameters = [("query", query.as_str()), ("dedup", "false")];
    let data = stage.cluster.ask_data(&pod, HTTP, "/api/v1/query", &parameters).await?;
    let times = list(&data["result"]).flat_map(|series| list(&series["values"])).filter_map(|value| value[0].as_f64());
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this century")]
    let newest = times.map(|seconds| (seconds * 1000.0).round() as i64).max();
    Ok(newest)
}
