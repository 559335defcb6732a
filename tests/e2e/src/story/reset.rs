//! (h) Somebody sets the number of shards back on a loaded fleet: put back within one cycle, no volume deleted,
//! an event that says who it was.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    cluster::until,
    stage::{Stage, now, seconds},
};

/// `--coordinator.interval` of the fixture, and what it takes to notice.
const PUT_BACK: f64 = 7.0;

/// The API server notes no field manager for a scale to 0.
const NO_NAME: &str = "left no name";

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.generators(6).await?;
    stage.steady(6, 3, Duration::from_secs(240)).await?;
    let file = stage.cluster.file("deploy/demo/prometheus-rep-0.yaml").display().to_string();
    reset(
        stage,
        "kubectl apply with replicas: 0",
        &["apply", "--server-side", "--force-conflicts", "-f", &file],
        "set by kubectl",
    )
    .await?;
    reset(stage, "kubectl scale --replicas=0", &["scale", "statefulset", "prometheus-rep-0", "--replicas=0"], NO_NAME).await?;
    reset(stage, "kubectl scale --replicas=1", &["scale", "statefulset", "prometheus-rep-0", "--replicas=1"], "set by kubectl")
        .await
}

async fn reset(stage: &mut Stage, name: &str, command: &[&str], who: &str) -> anyhow::Result<()> {
    let namespace = stage.fixture.namespace;
    let claims = stage.cluster.claims(namespace).await?;
    let before: BTreeSet<String> = stage.cluster.events(namespace).await?.into_iter().map(|event| event.uid).collect();
    let act = stage.begin(name).await?;
    let at = now();
    stage.cluster.kubectl(namespace, command).await?;
    until("the number of shards put back", Duration::from_secs(60), async || {
        let scale = stage.scale().await?;
        anyhow::ensure!(scale == 3, "{scale} shards are wished for");
        Ok(())
    })
    .await?;
    let took = seconds(now() - at);
    stage.expect(format!("{name}: put back within a cycle ({PUT_BACK} s)"), format!("{took:.1} s"), took <= PUT_BACK);
    stage.steady(6, 3, Duration::from_secs(180)).await?;
    let row = stage.end(act).await?;
    let unscraped = row.shards.unscraped;
    stage.expect(format!("{name}: unscraped intervals, as the pods went away"), unscraped, true);
    let kept = stage.cluster.claims(namespace).await? == claims;
    stage.expect(format!("{name}: no volume claim deleted"), claims.len(), kept);
    let all = stage.cluster.events(namespace).await?;
    let mut new = all.iter().filter(|event| !before.contains(&event.uid));
    let told = new.find(|event| event.about.starts_with("StatefulSet/") && event.message.contains(who));
    let seen = told.map_or_else(|| "no event".to_owned(), |event| format!("{}: {}", event.reason, event.message));
    let held = told.is_some();
    stage.expect(format!("{name}: an event says who it was, {who:?}"), seen, held);
    Ok(())
}
