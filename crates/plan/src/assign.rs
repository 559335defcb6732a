//! Gives homes to targets that have none.

use kvass_model::{TargetHash, TargetState};

use crate::{Decision, UnassignedReason, limits::FULL, working::Working};

/// Assigns every active target nobody holds, largest first. What finds no room is left to
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
    for target in ready {
        let count = working.sizes.count(target);
        match working.find_room(count, FULL, |_| true) {
            Some(shard) => {
                working.insert(target, shard, TargetState::Normal);
                let alone = working.limits.too_big(count);
                working.decisions.push(Decision::Assigned { target, count, shard, alone });
            }
            None => working.lacks_room(target),
        }
    }
}
