//! Gives homes to targets that have none.

use kvass_model::{TargetHash, TargetState};

use crate::{Decision, UnassignedReason, limits::FULL, scale::can_grow, working::Working};

/// Assigns every active target nobody holds: largest first, but those that exceed a limit by themselves
/// last, so that they do not take the shard the others need. What finds no room is left to
/// [`scale`](crate::scale), which knows whether room can be made.
pub(crate) fn assign(working: &mut Working<'_>) {
    let mut ready: Vec<TargetHash> = Vec::new();
    for (target, view) in &working.snapshot.targets {
        if !working.holders(*target).is_empty() {
            continue;
        }
        if !working.snapshot.settled {
            working.unassigned.insert(*target, UnassignedReason::Unsettled);
        } else if !view.attempted {
            working.unassigned.insert(*target, UnassignedReason::NotExplored);
        } else {
            ready.push(*target);
        }
    }
    working.largest_first(&mut ready);
    ready.sort_by_key(|target| working.limits.too_big(working.sizes.count(*target)));
    for target in ready {
        let count = working.sizes.count(target);
        let alone = working.limits.too_big(count);
        let shard = if alone && !spares_a_shard(working) { None } else { working.find_room(count, FULL, |_| true) };
        match shard {
            Some(shard) => {
                working.insert(target, shard, TargetState::Normal);
                working.decisions.push(Decision::Assigned { target, count, shard, alone });
            }
            None => working.lacks_room(target, false),
        }
    }
}

/// Whether a shard can be given to one target alone: another one is left for all others, or can be added.
fn spares_a_shard(working: &Working<'_>) -> bool {
    let ordinary = working.shards.values().filter(|shard| shard.changeable && !working.limits.too_big(shard.load));
    ordinary.count() > 1 || can_grow(working)
}
