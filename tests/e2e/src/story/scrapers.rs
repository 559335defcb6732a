//! (i) Other scrapers than the Prometheus of the manifests: scale-out, hand-over, a kill.

use std::time::Duration;

use super::{disruptions, growth};
use crate::{fixture::HTTP, stage::Stage};

/// Counters of a Prometheus that stores what others scraped; anything but 0 is a sample that was lost.
const REJECTED: [&str; 3] = [
    "prometheus_tsdb_out_of_order_samples_total",
    "prometheus_tsdb_too_old_samples_total",
    "prometheus_api_remote_write_invalid_labels_samples_total",
];

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    growth::tell(stage).await?;
    disruptions::kills(stage).await?;
    // What was kept back while a receiver was busy comes late.
    tokio::time::sleep(Duration::from_secs(10)).await;
    rejected(stage).await
}

async fn rejected(stage: &mut Stage) -> anyhow::Result<()> {
    if stage.fixture.query == "thanos-query" {
        return Ok(());
    }
    let receiver = stage.fixture.query(&stage.cluster).await?;
    let metrics = stage.cluster.ask(&receiver, HTTP, "/metrics").await?;
    let counts: Vec<&str> = metrics.lines().filter(|line| REJECTED.iter().any(|name| line.starts_with(name))).collect();
    let none = counts.iter().all(|line| line.ends_with(" 0"));
    stage.expect("no sample rejected by the receiver", format!("{counts:?}"), none && !counts.is_empty());
    Ok(())
}
