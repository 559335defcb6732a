//! (o) Monitors of the Prometheus Operator feed the shards: service monitors, pod monitors, scrape configurations.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::{
    cluster::until,
    fixture::HTTP,
    stage::{Stage, list},
};

/// What a user writes.
const MONITORS: &str = "tests/e2e/overlays/operator/monitors.yaml";

/// The generators' own series: 6 × 10,000.
const SERIES: &str = "60000";

/// Jobs as the Operator calls them, and how many targets of theirs are up.
const JOBS: [(&str, usize); 3] = [
    ("serviceMonitor/monitoring/metrics/0", 6),
    ("podMonitor/monitoring/coordinator/0", 1),
    ("scrapeConfig/monitoring/operator", 1),
];

/// From a change of a monitor to that of what is scraped: the Operator, kubelet's look at the Secret, a cycle, a scrape.
const CHANGE: Duration = Duration::from_secs(90);

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let act = stage.begin("monitors").await?;
    let monitors = stage.cluster.file(MONITORS).display().to_string();
    stage.cluster.kubectl(stage.fixture.namespace, &["create", "-f", &monitors]).await?;
    let wanted = BTreeMap::from(JOBS);
    scraped(stage, "the targets of all monitors are scraped", &wanted).await?;
    let fleet = stage.steady(8, 3, CHANGE).await?;
    stage.expect("3 shards", format!("{:?}", fleet.targets), fleet.shards == 3);
    let count = r#"count({__name__=~"kvass_demo_metric_.+"})"#;
    stage.until_value(count, SERIES, 2 * CHANGE).await?;
    stage.expect(format!("{count} is {SERIES}"), SERIES, true);
    let row = stage.end(act).await?;
    stage.expect(
        "as many exporters as the control has",
        row.shards.targets,
        row.control.is_some_and(|control| control.targets == row.shards.targets),
    );

    let act = stage.begin("a pod monitor deleted").await?;
    delete(stage, "podmonitor", "coordinator").await?;
    let mut left = wanted;
    left.remove("podMonitor/monitoring/coordinator/0");
    scraped(stage, "the pod monitor's targets are gone, the others stay", &left).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);

    operators_own(stage).await?;

    delete(stage, "servicemonitor", "metrics").await?;
    left.remove("serviceMonitor/monitoring/metrics/0");
    scraped(stage, "the service monitor's targets are gone, too", &left).await?;
    until("idle shards removed", CHANGE, async || {
        let scale = stage.scale().await?;
        anyhow::ensure!(scale == 1, "{scale} shards");
        Ok(())
    })
    .await?;
    stage.expect("one shard is enough for what is left", 1, true);
    Ok(())
}

/// A StatefulSet of the Operator is not scaled, even where the selector finds it.
async fn operators_own(stage: &mut Stage) -> anyhow::Result<()> {
    const NAME: &str = "prometheus-kvass";
    let namespace = stage.fixture.namespace;
    let label = ["label", "--overwrite", "statefulset", NAME, "app.kubernetes.io/name=kvass-shard"];
    stage.cluster.kubectl(namespace, &label).await?;
    let told = until("an event NotScaled", CHANGE, async || {
        let events = stage.cluster.get(&format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")).await?;
        let about = |event: &&Value| event["reason"] == "NotScaled" && event["regarding"]["name"] == NAME;
        let note = list(&events["items"]).find(about).map(|event| event["note"].as_str().unwrap_or_default().to_owned());
        note.ok_or_else(|| anyhow::anyhow!("no such event"))
    })
    .await?;
    stage.expect("an event says that the Operator's StatefulSet is not scaled", &told, told.contains("Prometheus"));
    let replicas = stage.cluster.replicas(namespace, NAME).await?;
    stage.expect("it has no replicas", replicas, replicas == 0);
    stage.cluster.kubectl(namespace, &["label", "statefulset", NAME, "app.kubernetes.io/name=prometheus", "--overwrite"]).await?;
    Ok(())
}

async fn delete(stage: &Stage, kind: &str, name: &str) -> anyhow::Result<()> {
    stage.cluster.kubectl(stage.fixture.namespace, &["delete", kind, name]).await?;
    Ok(())
}

/// Waits until just these jobs have just so many targets, and all are up.
async fn scraped(stage: &mut Stage, what: &str, wanted: &BTreeMap<&str, usize>) -> anyhow::Result<()> {
    let (cluster, fixture) = (stage.cluster.clone(), stage.fixture);
    let seen = until(what, CHANGE, async || {
        let coordinator = fixture.leader(&cluster).await?.0;
        let targets = cluster.ask_data(&coordinator, HTTP, "/api/v1/targets", &[("state", "active")]).await?;
        let mut jobs = BTreeMap::<String, (usize, usize)>::new();
        for target in list(&targets["activeTargets"]) {
            let (all, up) = jobs.entry(target["scrapePool"].as_str().unwrap_or_default().to_owned()).or_default();
            *all += 1;
            *up += usize::from(target["health"] == "up" && target["shards"].as_array().is_some_and(|shards| !shards.is_empty()));
        }
        let as_wanted: BTreeMap<String, (usize, usize)> =
            wanted.iter().map(|(job, count)| ((*job).to_owned(), (*count, *count))).collect();
        anyhow::ensure!(jobs == as_wanted, "{jobs:?}");
        Ok(format!("{jobs:?}"))
    })
    .await?;
    stage.expect(what, seen, true);
    Ok(())
}
