//! (h) Somebody applies the manifests again, or sets the number of shards back on a loaded fleet: put back within one
//! cycle, no volume deleted, an event that says who it was.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;

use super::absence::{expect_own_time, replaced};
use crate::{
    cluster::until,
    fixture::DOCUMENT,
    stage::{Stage, now, seconds},
};

const TARGETS: u64 = 6;
const SHARDS: u64 = 3;

/// `--coordinator.interval` of the fixture, and what it takes to notice.
const PUT_BACK: f64 = 7.0;

/// The API server notes no field manager for a scale to 0.
const NO_NAME: &str = "left no name";

const APPLY: [&str; 5] = ["apply", "--server-side", "--force-conflicts", "-f", "-"];

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.generators(TARGETS).await?;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(240)).await?;
    let manifests = stage.fixture.manifests(&stage.cluster).await?;
    apply_again(stage, &manifests).await?;

    let replica = stage.fixture.replicas.first().copied().unwrap_or_default();
    let zero = without_shards(&manifests, replica).with_context(|| format!("no StatefulSet {replica} without replicas"))?;
    let shards: Vec<String> = (0..SHARDS).map(|ordinal| format!("{replica}-{ordinal}")).collect();
    let shards: Vec<&str> = shards.iter().map(String::as_str).collect();
    let scale = |number| ["scale", "statefulset", replica, number];
    reset(stage, "kubectl apply with replicas: 0", &APPLY, &zero, "set by kubectl", &shards).await?;
    reset(stage, "kubectl scale --replicas=0", &scale("--replicas=0"), "", NO_NAME, &shards).await?;
    reset(stage, "kubectl scale --replicas=1", &scale("--replicas=1"), "", "set by kubectl", &shards[1..]).await
}

/// The manifests leave the number of shards out, so nothing happens to it.
async fn apply_again(stage: &mut Stage, manifests: &str) -> anyhow::Result<()> {
    let act = stage.begin("kubectl apply again").await?;
    let at = now();
    // The exporters' number, which the story changed, is in the manifests.
    stage.cluster.kubectl_with(stage.fixture.namespace, &APPLY, manifests).await?;
    tokio::time::sleep(stage.fixture.interval * 3).await;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(60)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    let scales = stage.collector.scales(at);
    stage.expect(
        format!("kubectl apply again: always {SHARDS} shards"),
        format!("{scales:?}"),
        scales.values().all(|scales| *scales == [SHARDS]),
    );
    Ok(())
}

/// The StatefulSet of the shards alone, with `replicas: 0`.
fn without_shards(manifests: &str, replica: &str) -> Option<String> {
    let mut documents = manifests.split(DOCUMENT);
    let name = format!("\n  name: {replica}\n");
    let document = documents.find(|document| document.contains("kind: StatefulSet\n") && document.contains(&name))?;
    let (head, spec) = document.split_once("\nspec:\n")?;
    (!document.contains("\n  replicas:")).then(|| format!("{head}\nspec:\n  replicas: 0\n{spec}"))
}

async fn reset(stage: &mut Stage, name: &str, command: &[&str], input: &str, who: &str, shards: &[&str]) -> anyhow::Result<()> {
    let namespace = stage.fixture.namespace;
    let claims = stage.cluster.claims(namespace).await?;
    let before: BTreeSet<String> = stage.cluster.events(namespace).await?.into_iter().map(|event| event.uid).collect();
    let act = stage.begin(name).await?;
    let mut took = 0.0;
    let away = replaced(stage, shards, async |stage| {
        let at = now();
        stage.cluster.kubectl_with(namespace, command, input).await?;
        until("the number of shards put back", Duration::from_secs(60), async || {
            let scale = stage.scale().await?;
            anyhow::ensure!(scale == SHARDS, "{scale} shards are wished for");
            Ok(())
        })
        .await?;
        took = seconds(now() - at);
        Ok(())
    })
    .await?;
    stage.expect(format!("{name}: put back within a cycle ({PUT_BACK} s)"), format!("{took:.1} s"), took <= PUT_BACK);
    stage.steady(TARGETS, SHARDS, Duration::from_secs(180)).await?;
    let row = stage.end(act).await?;
    expect_own_time(stage, &row, &away, TARGETS / SHARDS);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_set_where_none_are() {
        let manifests =
            "kind: Service\nmetadata:\n  name: a\n---\nkind: StatefulSet\nmetadata:\n  name: a\nspec:\n  serviceName: s\n";
        let zero = without_shards(manifests, "a").unwrap();
        assert_eq!(zero, "kind: StatefulSet\nmetadata:\n  name: a\nspec:\n  replicas: 0\n  serviceName: s\n");
        assert_eq!(without_shards(manifests, "b"), None);
        assert_eq!(without_shards(&zero, "a"), None, "it has some");
    }
}
