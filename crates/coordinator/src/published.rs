//! What the API shows: the outcome of the last cycles, merged over replicas. Immutable once published.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kvass_model::{Health, ScrapeStatus, SeriesCount, TargetHash};
use kvass_plan::{Access, Limits, Plan};
use serde::Serialize;

use crate::{memory::ReplicaMemory, metrics::access_word, shards::Replica};

/// Outcome of the last cycles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    pub(crate) targets: BTreeMap<TargetHash, PublishedStatus>,
    pub(crate) replicas: Vec<ReplicaReport>,
    /// When the last complete cycle ended.
    pub(crate) at: Option<Timestamp>,
    /// Why the last cycle failed, if it did; everything else is then from an earlier one.
    pub(crate) error: Option<String>,
}

/// What is known of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PublishedStatus {
    pub(crate) status: ScrapeStatus,
    /// Shards that hold it, all replicas.
    pub(crate) shards: Vec<String>,
    /// Why it has no shard.
    pub(crate) unassigned: Option<String>,
}

/// One replica after a cycle.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplicaReport {
    pub(crate) replica: String,
    pub(crate) scale: u32,
    pub(crate) scale_reason: Option<String>,
    pub(crate) settled: bool,
    /// What an operator should know of it: who else sets its number of shards, what its settings endanger.
    pub(crate) notes: Vec<String>,
    pub(crate) targets: usize,
    pub(crate) unassigned: usize,
    pub(crate) transfers: usize,
    pub(crate) need_series: u64,
    pub(crate) need_total_series: u64,
    pub(crate) max_series: Option<u64>,
    pub(crate) max_process_series: Option<u64>,
    pub(crate) shards: Vec<ShardReport>,
    /// The last scalings, newest last.
    pub(crate) scalings: Vec<Scaling>,
}

/// One shard after a cycle.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShardReport {
    pub(crate) shard: String,
    pub(crate) url: Option<String>,
    pub(crate) state: &'static str,
    pub(crate) problem: Option<String>,
    pub(crate) targets: usize,
    pub(crate) in_transfer: usize,
    pub(crate) series: u64,
    pub(crate) total_series: u64,
    pub(crate) head_series: u64,
    /// What keeps an empty shard from being removed besides the idle time.
    pub(crate) samples_pending: Option<String>,
    pub(crate) config_mismatch_since: Option<Timestamp>,
}

/// A change of the number of shards.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Scaling {
    pub(crate) at: Timestamp,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) reason: String,
}

/// Scalings kept for the API.
const SCALINGS_KEPT: usize = 20;

/// Adds a scaling to the last ones.
pub(crate) fn keep(scalings: &mut Vec<Scaling>, scaling: Scaling) {
    if scalings.len() == SCALINGS_KEPT {
        scalings.remove(0);
    }
    scalings.push(scaling);
}

pub(crate) fn report(
    replica: &Replica,
    memory: &ReplicaMemory,
    plan: &Plan,
    limits: &Limits,
    scalings: &[Scaling],
    targets: usize,
) -> ReplicaReport {
    let shards = memory
        .shards
        .iter()
        .map(|(ordinal, shard)| {
            // Loads as they will be once what was just sent is in force.
            let planned = plan.shards.get(ordinal);
            let load = planned.map_or_else(|| shard.targets.values().map(|s| s.count).sum::<SeriesCount>(), |p| p.load);
            let in_transfer = shard.targets.values().filter(|s| s.state == kvass_model::TargetState::InTransfer).count();
            ShardReport {
                shard: shard.name.clone(),
                url: shard.url.clone(),
                state: access_word(shard.access),
                problem: shard.problem.clone().filter(|_| shard.access != Access::Changeable),
                targets: planned.map_or(shard.targets.len(), |p| p.targets.len()),
                in_transfer,
                series: load.series,
                total_series: load.total,
                head_series: shard.head_series,
                samples_pending: shard.samples_pending.clone(),
                config_mismatch_since: shard.mismatch_since,
            }
        })
        .collect();
    ReplicaReport {
        replica: replica.id.clone(),
        scale: plan.scale,
        scale_reason: plan.scale_reason.map(|reason| reason.to_string()),
        settled: memory.settled,
        notes: replica.notes.clone(),
        targets,
        unassigned: plan.unassigned.len(),
        transfers: plan.transfers.values().filter(|t| t.ended.is_none()).count(),
        need_series: plan.need.series,
        need_total_series: plan.need.total,
        max_series: limits.max_series,
        max_process_series: limits.max_process_series,
        shards,
        scalings: scalings.to_vec(),
    }
}

/// Adds what one replica knows to what is known already: an up target beats a down one, more series beat
/// fewer, shard lists are joined.
pub(crate) fn merge(targets: &mut BTreeMap<TargetHash, PublishedStatus>, memory: &ReplicaMemory, plan: &Plan) {
    for (ordinal, shard) in &memory.shards {
        let held = plan.shards.get(ordinal);
        for (hash, status) in &shard.targets {
            // Just released: still in the list that was read, no longer in the one that was sent.
            if held.is_some_and(|planned| !planned.targets.contains_key(hash)) {
                continue;
            }
            let known = targets.entry(*hash).or_default();
            if known.shards.is_empty() || better(status, &known.status) {
                known.status = status.clone();
            }
            known.shards.push(shard.name.clone());
        }
        for (hash, planned) in held.iter().flat_map(|planned| &planned.targets) {
            if !shard.targets.contains_key(hash) {
                let known = targets.entry(*hash).or_default();
                known.status.count = known.status.count.max(planned.count);
                known.shards.push(shard.name.clone());
            }
        }
    }
    for (hash, reason) in &plan.unassigned {
        targets.entry(*hash).or_default().unassigned = Some(reason.to_string());
    }
}

fn better(new: &ScrapeStatus, old: &ScrapeStatus) -> bool {
    if old.health == Health::Unknown {
        return new.health != Health::Unknown;
    }
    new.health == Health::Up && (old.health != Health::Up || new.count.series > old.count.series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_scalings_are_kept() {
        let mut scalings = Vec::new();
        for to in 0..50 {
            keep(&mut scalings, Scaling { at: Timestamp::UNIX_EPOCH, from: 0, to, reason: String::new() });
        }
        assert_eq!(scalings.iter().map(|scaling| scaling.to).collect::<Vec<_>>(), (30..50).collect::<Vec<_>>());
    }
}
