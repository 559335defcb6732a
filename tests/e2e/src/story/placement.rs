//! Who scrapes what.

use std::collections::BTreeMap;

use crate::{
    fixture::HTTP,
    stage::{Stage, list},
};

/// Exporter to the shards that have it.
pub(super) type Placement = BTreeMap<String, Vec<String>>;

/// Exporter to the shards that have it.
pub(super) async fn placed(stage: &Stage) -> anyhow::Result<Placement> {
    let (pod, _) = stage.fixture.leader(&stage.cluster).await?;
    let data = stage.cluster.ask_data(&pod, HTTP, "/api/v1/targets", &[("state", "active")]).await?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut placed = BTreeMap::new();
    for target in list(&data["activeTargets"]) {
        let mut shards: Vec<String> = list(&target["shards"]).map(text).collect();
        shards.sort();
        placed.insert(text(&target["labels"]["pod"]), shards);
    }
    Ok(placed)
}
