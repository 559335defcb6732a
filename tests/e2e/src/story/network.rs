//! (n) No connection that was seen is refused by the NetworkPolicies, and none lets through what nobody needs.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;

use crate::{
    excused::excused,
    fixture::Source,
    network::{End, Flow, Policies},
    stage::{Stage, list},
};

/// What policies let through though no story uses it, with a reason for each.
const EXCUSED_PRODUCTION: &str = include_str!("../../network-unused-production.txt");
const EXCUSED_CHART: &str = include_str!("../../network-unused-chart.txt");

/// Longest wait for a connection that no story before has seen.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let namespace = stage.fixture.namespace;
    // As applied, whatever rendered it.
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies");
    let policies: Vec<Value> = list(&stage.cluster.get(&path).await?["items"]).cloned().collect();
    stage.expect("there are network policies", policies.len(), !policies.is_empty());
    let namespaces = stage.cluster.namespaces().await?;
    let policies = Policies { policies: &policies, namespaces: &namespaces };
    let (file, list) = match stage.fixture.source {
        Source::Chart(_) => ("network-unused-chart.txt", EXCUSED_CHART),
        _ => ("network-unused-production.txt", EXCUSED_PRODUCTION),
    };
    let excused = excused(list).map_err(|error| anyhow::anyhow!("{file}: {error}"))?;

    // Right after an installation, not everything has been said yet.
    let start = Instant::now();
    let judged = loop {
        let flows = stage.flows.as_ref().context("no connections are recorded on these manifests")?.seen().await?;
        let judged = Judged::of(&flows, &policies, namespace);
        if judged.unused.iter().all(|grant| excused.contains_key(grant)) || start.elapsed() > PATIENCE {
            break judged;
        }
    };
    for flow in &judged.flows {
        tracing::info!("seen: {flow}");
    }
    let seen = format!("{} kinds of connections, refused: {:?}", judged.flows.len(), judged.refused);
    let held = judged.refused.is_empty() && !judged.flows.is_empty();
    stage.expect("every connection seen is let through", seen, held);
    let unexcused: Vec<&String> = judged.unused.iter().filter(|grant| !excused.contains_key(*grant)).collect();
    let seen = format!("{} used; unused and without a reason: {unexcused:?}", judged.used);
    stage.expect(format!("everything let through is used, or {file} says why not"), seen, unexcused.is_empty());
    let stale: Vec<&String> = excused.keys().filter(|grant| !judged.unused.contains(*grant)).collect();
    stage.expect(format!("{file} has no line too many"), format!("{stale:?}"), stale.is_empty());
    Ok(())
}

/// Connections of a namespace's pods, and what policies make of them, in words.
struct Judged {
    flows: BTreeSet<String>,
    refused: BTreeSet<String>,
    used: usize,
    unused: BTreeSet<String>,
}

impl Judged {
    fn of(flows: &BTreeSet<Flow>, policies: &Policies<'_>, namespace: &str) -> Self {
        let here = |end: &End| matches!(end, End::Pod(pod) if pod.namespace == namespace);
        // Probes and we ourselves come from nodes, which network plugins let through.
        let ours = |flow: &&Flow| here(&flow.from) || here(&flow.to) && matches!(flow.from, End::Pod(_));
        let mut used = BTreeSet::new();
        let mut judged = Self { flows: BTreeSet::new(), refused: BTreeSet::new(), used: 0, unused: BTreeSet::new() };
        for flow in flows.iter().filter(ours) {
            let verdict = policies.verdict(flow);
            if !verdict.refused.is_empty() {
                judged.refused.insert(format!("{flow} ({:?})", verdict.refused));
            }
            used.extend(verdict.by);
            // Labels differ more than words: zones, replicas.
            judged.flows.insert(flow.to_string());
        }
        judged.used = used.len();
        judged.unused = policies.grants().difference(&used).map(ToString::to_string).collect();
        judged
    }
}
