//! Drops what should not be on a shard: targets that are gone, and all but one copy of the others.

use std::cmp::Reverse;

use kvass_model::{Health, TargetHash, TargetState};

use crate::{Decision, Transfer, working::Working};

/// Drops targets that are not active any more.
pub(crate) fn garbage(working: &mut Working<'_>) {
    let active = &working.snapshot.targets;
    let changeable = working.shards.iter().filter(|(_, shard)| shard.changeable);
    let gone: Vec<(u32, TargetHash)> = changeable
        .flat_map(|(ordinal, shard)| shard.targets.keys().map(|target| (*ordinal, *target)))
        .filter(|(_, target)| !active.contains_key(target))
        .collect();
    for (shard, target) in gone {
        working.remove(target, shard);
        working.decisions.push(Decision::Collected { target, shard });
    }
    working.transfers.retain(|target, _| active.contains_key(target));
}

/// Leaves each target at most one home and one shard that hands it over.
///
/// A lost shard that returns brings doubles of all its targets, so they are normal. Shards that are
/// holding neither keep nor release one: what they report may be old, so their doubles wait.
pub(crate) fn doubles(working: &mut Working<'_>) {
    for target in working.contested() {
        let home = release_all_but_best(working, target, TargetState::Normal);
        let leaving = release_all_but_best(working, target, TargetState::InTransfer);
        let held_normal = working.holders(target).iter().any(|s| working.state(target, *s) == Some(TargetState::Normal));
        if let (None, Some(shard), false) = (home, leaving, held_normal) {
            working.set_state(target, shard, TargetState::Normal);
            working.decisions.push(Decision::Reverted { target, shard });
        }
    }
}

/// Of the changeable shards that have the target in this state, keeps the best and returns it.
fn release_all_but_best(working: &mut Working<'_>, target: TargetHash, state: TargetState) -> Option<u32> {
    let mut holders: Vec<u32> = working.holders(target).to_vec();
    holders.retain(|shard| working.changeable(*shard) && working.state(target, *shard) == Some(state));
    let keeper = holders.iter().copied().max_by_key(|shard| worth(working, target, *shard))?;
    for shard in holders.into_iter().filter(|shard| *shard != keeper) {
        working.remove(target, shard);
        // Resting, it is not sent back to the shard that has just let go.
        let now = working.snapshot.now;
        working.rest(target, Transfer { from: shard, to: keeper, since: now, ended: None });
        working.decisions.push(Decision::DoubleReleased { target, shard, keeper });
    }
    Some(keeper)
}

/// How much a shard deserves to keep a target. Health comes first, so that the only shard that scrapes
/// it successfully is never the one to let go; then the shard that was given it; then the lower ordinal.
fn worth(working: &Working<'_>, target: TargetHash, shard: u32) -> (u8, bool, Reverse<u32>) {
    let health = match working.status(target, shard) {
        Some(status) if status.health == Health::Up && status.scrape_times >= working.limits.hand_over_scrapes => 2,
        Some(status) if status.health == Health::Up => 1,
        _ => 0,
    };
    let remembered = working.snapshot.shards.get(&shard).is_some_and(|view| view.remembered.contains_key(&target));
    (health, remembered, Reverse(shard))
}
