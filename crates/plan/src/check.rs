//! What must hold of every plan, stated without looking at how plans are made.

use std::collections::{BTreeMap, BTreeSet};

use kvass_model::{SeriesCount, TargetHash, TargetState};

use crate::{Access, Limits, Plan, PlannedShard, ShardView, Snapshot, limits::FULL, sizes::Sizes, working::holds};

/// The promises `plan` breaks, in words; empty for every plan of [`plan`](crate::plan).
///
/// For tests and debug assertions: it takes about as long as planning does.
pub fn violations(snapshot: &Snapshot, limits: &Limits, plan: &Plan) -> Vec<String> {
    let mut found = Vec::new();
    lists(snapshot, limits, plan, &mut found);
    homes(snapshot, plan, &mut found);
    hand_overs(plan, &mut found);
    scale(snapshot, limits, plan, &mut found);
    if plan.decisions.iter().any(|d| !matches!(d, crate::Decision::Adopted { .. }))
        != plan.shards.values().any(|shard| shard.changed)
    {
        found.push("decisions and changed lists do not go together".to_owned());
    }
    found
}

/// Exactly the changeable shards have a list, of active targets, with a true load, not newly over a limit.
fn lists(snapshot: &Snapshot, limits: &Limits, plan: &Plan, found: &mut Vec<String>) {
    let changeable = |(ordinal, view): (&u32, &ShardView)| {
        (holds(snapshot, *ordinal) && view.access == Access::Changeable).then_some(*ordinal)
    };
    let expected: BTreeSet<u32> = snapshot.shards.iter().filter_map(changeable).collect();
    if !expected.iter().eq(plan.shards.keys()) {
        found.push(format!("lists for shards {:?}, changeable are {expected:?}", plan.shards.keys().collect::<Vec<_>>()));
    }
    let sizes = Sizes::of(snapshot, limits);
    for (ordinal, shard) in &plan.shards {
        for target in shard.targets.keys().filter(|target| !snapshot.targets.contains_key(target)) {
            found.push(format!("shard {ordinal} keeps {target}, which is not active"));
        }
        if shard.load != shard.targets.keys().map(|target| sizes.count(*target)).sum() {
            found.push(format!("shard {ordinal} does not weigh {:?}", shard.load));
        }
        let Some(view) = snapshot.shards.get(ordinal) else { continue };
        let reported: BTreeMap<TargetHash, TargetState> = view.targets.iter().map(|(t, status)| (*t, status.state)).collect();
        let planned: BTreeMap<TargetHash, TargetState> = shard.targets.iter().map(|(t, planned)| (*t, planned.state)).collect();
        if shard.changed != (reported != planned) {
            found.push(format!("shard {ordinal} is said to have changed: {}", shard.changed));
        }
        let over = !limits.within(shard.load, FULL);
        let gains = shard.targets.keys().any(|target| !view.targets.contains_key(target));
        if over && gains && shard.targets.len() > 1 {
            found.push(format!("shard {ordinal} is over its limit with {:?} and gains targets", shard.load));
        }
    }
}

/// Every active target is held by somebody or has a reason not to be; nobody has two homes.
fn homes(snapshot: &Snapshot, plan: &Plan, found: &mut Vec<String>) {
    let held_elsewhere: BTreeSet<TargetHash> = snapshot
        .shards
        .iter()
        .filter(|(ordinal, view)| holds(snapshot, **ordinal) && view.access != Access::Changeable)
        .flat_map(|(_, view)| view.targets.keys().chain(view.remembered.keys().filter(|_| view.targets.is_empty())))
        .copied()
        .collect();
    let mut homes: BTreeMap<TargetHash, usize> = BTreeMap::new();
    for (target, planned) in plan.shards.values().flat_map(|shard| &shard.targets) {
        *homes.entry(*target).or_default() += usize::from(planned.state == TargetState::Normal);
    }
    for (target, homes) in homes.iter().filter(|(_, homes)| **homes > 1) {
        found.push(format!("{target} has {homes} homes"));
    }
    for target in snapshot.targets.keys() {
        let held = homes.contains_key(target) || held_elsewhere.contains(target);
        if homes.get(target) == Some(&0) && !held_elsewhere.contains(target) {
            found.push(format!("{target} is in transfer to nobody"));
        }
        if held == plan.unassigned.contains_key(target) {
            found.push(format!("{target} is held: {held}, and has a reason not to be: {}", !held));
        }
    }
    for target in plan.unassigned.keys().chain(&plan.explore).filter(|target| !snapshot.targets.contains_key(target)) {
        found.push(format!("{target} is listed but not active"));
    }
}

/// What is remembered of hand-overs agrees with the lists.
fn hand_overs(plan: &Plan, found: &mut Vec<String>) {
    let wrong = |shard: Option<&PlannedShard>, target, state| {
        shard.is_some_and(|shard| shard.targets.get(target).map(|planned| planned.state) != Some(state))
    };
    for (target, transfer) in plan.transfers.iter().filter(|(_, transfer)| transfer.ended.is_none()) {
        if wrong(plan.shards.get(&transfer.from), target, TargetState::InTransfer)
            || wrong(plan.shards.get(&transfer.to), target, TargetState::Normal)
        {
            found.push(format!("{target} is not in transfer from {} to {}", transfer.from, transfer.to));
        }
    }
}

/// The scale shrinks by empty shards only and grows within bounds only.
fn scale(snapshot: &Snapshot, limits: &Limits, plan: &Plan, found: &mut Vec<String>) {
    if plan.scale > snapshot.scale && plan.scale > limits.max_shards.max(limits.min_shards) {
        found.push(format!("scale {} exceeds the maximum", plan.scale));
    }
    if plan.scale != snapshot.scale && (!snapshot.scalable || plan.scale_reason.is_none()) {
        found.push(format!("scale {} without a reason or a means", plan.scale));
    }
    if plan.scale < snapshot.scale && plan.scale < limits.min_shards {
        found.push(format!("scale {} is below the minimum", plan.scale));
    }
    for ordinal in plan.scale..snapshot.scale {
        let empty = |shard: &PlannedShard| shard.targets.is_empty() && shard.load == SeriesCount::default();
        let reported_empty = snapshot.shards.get(&ordinal).is_some_and(|view| view.targets.is_empty());
        if !plan.shards.get(&ordinal).is_some_and(empty) || !reported_empty {
            found.push(format!("shard {ordinal} is removed with targets"));
        }
        let idle_for = |view: &ShardView| snapshot.now.duration_since(view.idle_since.unwrap_or(snapshot.now));
        let given_up = limits.max_idle.saturating_add(limits.upload_deadline);
        let too_early = |view: &ShardView| std::time::Duration::try_from(idle_for(view)).is_ok_and(|idle| idle <= given_up);
        if snapshot.shards.get(&ordinal).is_some_and(|view| view.samples_pending && too_early(view)) {
            found.push(format!("shard {ordinal} is removed before its samples are uploaded"));
        }
    }
}
