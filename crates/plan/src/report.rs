//! Turns the working assignment into the answer.

use std::collections::{BTreeMap, BTreeSet};

use kvass_model::{Health, SeriesCount, TargetHash, TargetState};

use crate::{Access, Plan, PlannedShard, PlannedTarget, ScaleReason, ShardView, Snapshot, working::Working};

/// The plan: lists of the changeable shards and everything worth telling.
pub(crate) fn report(working: Working<'_>, scale: u32, scale_reason: Option<ScaleReason>) -> Plan {
    let open = working.shards.values().filter(|shard| shard.changeable && !shard.full_head);
    let room = open.map(|shard| working.limits.room(shard.load)).sum();
    let need = working.short.iter().map(|short| short.count).sum();
    let shards = working.shards.iter().filter(|(_, shard)| shard.changeable).map(|(ordinal, shard)| {
        let planned = |target: &TargetHash, state: TargetState| PlannedTarget { state, count: working.sizes.count(*target) };
        let targets: BTreeMap<_, _> = shard.targets.iter().map(|(target, state)| (*target, planned(target, *state))).collect();
        let changed = working.snapshot.shards.get(ordinal).is_none_or(|view| differs(view, &targets));
        let load: SeriesCount = shard.load;
        (*ordinal, PlannedShard { targets, load, changed })
    });
    Plan {
        shards: shards.collect(),
        scale,
        scale_reason,
        need,
        room,
        explore: unexplored(working.snapshot),
        decisions: working.decisions,
        unassigned: working.unassigned,
        transfers: working.transfers,
    }
}

fn differs(view: &ShardView, planned: &BTreeMap<TargetHash, PlannedTarget>) -> bool {
    let reported = view.targets.iter().map(|(target, status)| (target, status.state));
    !reported.eq(planned.iter().map(|(target, planned)| (target, planned.state)))
}

fn unexplored(snapshot: &Snapshot) -> BTreeSet<TargetHash> {
    let mut scraped: BTreeSet<TargetHash> = BTreeSet::new();
    for shard in snapshot.shards.values().filter(|shard| shard.access != Access::Lost) {
        scraped.extend(shard.targets.iter().filter(|(_, status)| status.health != Health::Unknown).map(|(target, _)| *target));
    }
    let wanted = snapshot.targets.iter().filter(|(target, view)| !view.attempted && !scraped.contains(target));
    wanted.map(|(target, _)| *target).collect()
}
