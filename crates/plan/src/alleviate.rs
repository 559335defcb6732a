//! Moves targets off shards above their limit.

use kvass_model::{SeriesCount, TargetHash, TargetState};

use crate::{MoveReason, limits::FULL, working::Working};

/// Relieves every changeable shard whose planned load is above the start of relief.
pub(crate) fn alleviate(working: &mut Working<'_>) {
    // Before everything was read, the room seen elsewhere may not be there.
    if !working.limits.alleviate || !working.snapshot.settled {
        return;
    }
    let over = |load| !working.limits.within(load, working.limits.relief_start);
    let full: Vec<u32> =
        working.shards.iter().filter(|(_, s)| s.changeable && over(s.staying)).map(|(ordinal, _)| *ordinal).collect();
    for shard in full {
        relieve(working, shard);
    }
}

/// Moves as few targets as possible until the shard is down to the end of relief. Where no other shard
/// takes any of them, but the shard is still above the start, the rest of what should go lacks room.
///
/// One target always stays: a shard is not relieved of the last one, however large.
fn relieve(working: &mut Working<'_>, shard: u32) {
    let Some(entry) = working.shards.get(&shard) else { return };
    let mut load = entry.staying;
    let mut left = entry.targets.values().filter(|state| **state == TargetState::Normal).count();
    let mut candidates: Vec<TargetHash> =
        entry.targets.keys().copied().filter(|t| working.movable(*t, shard) && working.sizes.is_known(*t)).collect();
    working.largest_first(&mut candidates);

    while left > 1 && !working.limits.within(load, working.limits.relief_end) {
        let choices = in_order_of_merit(working, &candidates, load);
        let Some((index, to)) = choices.into_iter().find_map(|i| Some((i, destination(working, candidates[i], shard)?))) else { break };
        let target = candidates.remove(index);
        working.start_move(target, shard, to, MoveReason::Relief { load });
        load = load - working.sizes.count(target);
        left -= 1;
    }

    let full = !working.limits.within(load, working.limits.relief_start);
    while full && left > 1 && !working.limits.within(load, working.limits.relief_end) {
        let Some(index) = in_order_of_merit(working, &candidates, load).first().copied() else { break };
        let target = candidates.remove(index);
        working.lacks_room(target);
        load = load - working.sizes.count(target);
        left -= 1;
    }
}

/// The candidates (largest first) that lower the excess, best first: the smallest of those that remove it
/// alone, upwards, then the others from the largest down.
fn in_order_of_merit(working: &Working<'_>, candidates: &[TargetHash], load: SeriesCount) -> Vec<usize> {
    let excess = working.limits.excess(load, working.limits.relief_end);
    let covers = |count: SeriesCount| count.series >= excess.series && count.total >= excess.total;
    let helps = |count: SeriesCount| (count.series > 0 && excess.series > 0) || (count.total > 0 && excess.total > 0);
    let useful = (0..candidates.len()).filter(|i| helps(working.sizes.count(candidates[*i])));
    let (mut alone, together): (Vec<usize>, Vec<usize>) = useful.partition(|i| covers(working.sizes.count(candidates[*i])));
    alone.reverse();
    alone.extend(together);
    alone
}

/// Where the target may go. A shard that would be filled to the brim is taken only if there is no other,
/// because it would be the next to need relief.
fn destination(working: &Working<'_>, target: TargetHash, from: u32) -> Option<u32> {
    let count = working.sizes.count(target);
    let find = |permille| working.find_room(count, permille, |ordinal| ordinal != from);
    find(working.limits.relief_end).or_else(|| find(FULL))
}
