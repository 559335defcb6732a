//! Moves targets off shards above their limit.

use kvass_model::{SeriesCount, TargetHash, TargetState};

use crate::{Limits, MoveReason, limits::FULL, working::Working};

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
    let mut movable: Vec<TargetHash> =
        entry.targets.keys().copied().filter(|t| working.movable(*t, shard) && working.sizes.is_known(*t)).collect();
    working.largest_first(&mut movable);
    let mut candidates: Vec<Candidate> = movable.into_iter().map(|target| (target, working.sizes.count(target))).collect();
    let limits = working.limits;

    while left > 1 && !limits.within(load, limits.relief_end) {
        let mut choices = in_order_of_merit(limits, &candidates, load);
        let found = choices.find_map(|index| Some((index, destination(working, candidates[index].1, shard)?)));
        drop(choices);
        let Some((index, to)) = found else { break };
        let (target, count) = candidates.remove(index);
        working.start_move(target, shard, to, MoveReason::Relief { load });
        load = load - count;
        left -= 1;
    }

    let full = !limits.within(load, limits.relief_start);
    while full && left > 1 && !limits.within(load, limits.relief_end) {
        let Some(index) = in_order_of_merit(limits, &candidates, load).next() else { break };
        let (target, count) = candidates.remove(index);
        working.lacks_room(target, false);
        load = load - count;
        left -= 1;
    }
}

/// A target that may move, and its size.
type Candidate = (TargetHash, SeriesCount);

/// Indices of the candidates (largest first) that lower the excess, best first: the smallest of those
/// that remove it alone, upwards, then the others from the largest down.
fn in_order_of_merit(limits: &Limits, candidates: &[Candidate], load: SeriesCount) -> impl Iterator<Item = usize> {
    let excess = limits.excess(load, limits.relief_end);
    let covers = move |count: SeriesCount| count.series >= excess.series && count.total >= excess.total;
    let helps = move |count: SeriesCount| (count.series > 0 && excess.series > 0) || (count.total > 0 && excess.total > 0);
    let useful = candidates.iter().enumerate().filter(move |(_, (_, count))| helps(*count));
    let alone = useful.clone().rev().filter(move |(_, (_, count))| covers(*count));
    let together = useful.filter(move |(_, (_, count))| !covers(*count));
    alone.chain(together).map(|(index, _)| index)
}

/// Where a target of this size may go. A shard that would be filled to the brim is taken only if there is no other,
/// because it would be the next to need relief.
fn destination(working: &Working<'_>, count: SeriesCount, from: u32) -> Option<u32> {
    let find = |permille| working.find_room(count, permille, |ordinal| ordinal != from);
    find(working.limits.relief_end).or_else(|| find(FULL))
}
