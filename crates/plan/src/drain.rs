//! Empties shards at the end, so that they can be removed once they have been idle long enough.

use std::collections::BTreeMap;

use kvass_model::{SeriesCount, TargetHash};

use crate::{
    Access, MoveReason,
    room::Room,
    working::{Shard, Working, outgoing},
};

/// Moves everything off the last shards, if all of it fits on the shards before them.
///
/// Nothing is moved unless the whole shard can be emptied: half of a drain only costs moves. Nothing is
/// moved either while the replica is not calm (something lacks room or a home, another move is under
/// way, a shard cannot be seen), because what looks like spare room may be needed in a minute.
pub(crate) fn drain(working: &mut Working<'_>) {
    if !(calm(working) && working.packs() && working.snapshot.scalable) {
        return;
    }
    let tail = drainable(working);
    for emptied in (1..=at_most(working, &tail)).rev() {
        if let Some(moves) = moves(working, &tail[..emptied]) {
            for (target, from, to) in moves {
                working.start_move(target, from, to, MoveReason::Drain);
            }
            return;
        }
    }
}

fn calm(working: &Working<'_>) -> bool {
    let snapshot = working.snapshot;
    let unseen = (0..snapshot.scale).any(|ordinal| match snapshot.shards.get(&ordinal) {
        Some(view) => matches!(view.access, Access::Pending | Access::Lost),
        None => true,
    });
    snapshot.settled && !unseen && working.short.is_empty() && working.unassigned.is_empty() && !working.moving()
}

/// The shards that might be emptied, last first, without those that are empty already. It ends at the first that cannot
/// be: removing shards goes from the end, so emptying one before it would be in vain.
fn drainable(working: &Working<'_>) -> Vec<u32> {
    let least = working.limits.min_shards.max(1);
    let movable = |ordinal: u32, shard: &Shard| shard.targets.keys().all(|target| working.movable(*target, ordinal));
    let tail = working.shards.iter().rev().filter(|(ordinal, _)| !outgoing(working.snapshot, **ordinal));
    tail.take_while(|(ordinal, shard)| **ordinal >= least && shard.changeable && movable(**ordinal, shard))
        .filter(|(_, shard)| !shard.targets.is_empty())
        .map(|(ordinal, _)| *ordinal)
        .collect()
}

/// How many of the tail could be emptied if targets could be cut to measure; saves trying the hopeless.
fn at_most(working: &Working<'_>, tail: &[u32]) -> usize {
    let load = |ordinal: &u32| working.shards.get(ordinal).map_or(SeriesCount::default(), |shard| shard.load);
    let feasible = |emptied: usize| {
        let moved: SeriesCount = tail[..emptied].iter().map(load).sum();
        let kept = working.shards.range(..tail[emptied - 1]).filter(|(_, shard)| shard.changeable && !shard.gated);
        let room: SeriesCount = kept.map(|(_, shard)| working.limits.room(shard.load)).sum();
        moved.series <= room.series && moved.total <= room.total
    };
    // A target larger than the limit needs an empty shard rather than room.
    let oversized = |ordinal: &u32| working.limits.too_big(load(ordinal));
    (1..=tail.len()).take_while(|emptied| feasible(*emptied) || tail[..*emptied].iter().any(oversized)).last().unwrap_or(0)
}

/// A place for every target of the emptied shards on a lower one, or None.
fn moves(working: &Working<'_>, emptied: &[u32]) -> Option<Vec<(TargetHash, u32, u32)>> {
    let first = *emptied.last()?;
    let kept = working.shards.range(..first).filter(|(_, shard)| shard.changeable && !shard.gated);
    let mut open: Vec<(u32, Room)> = kept.map(|(ordinal, shard)| (*ordinal, shard.room())).collect();
    let mut home: BTreeMap<TargetHash, u32> = BTreeMap::new();
    for ordinal in emptied {
        home.extend(working.shards.get(ordinal)?.targets.keys().map(|target| (*target, *ordinal)));
    }
    let mut targets: Vec<TargetHash> = home.keys().copied().collect();
    working.largest_first(&mut targets);
    let mut moves = Vec::with_capacity(targets.len());
    for target in targets {
        let count = working.sizes.count(target);
        let (to, room) = open.iter_mut().find(|(_, room)| room.takes(count, working.limits, working.limits.scale_in))?;
        room.add(count);
        moves.push((target, *home.get(&target)?, *to));
    }
    Some(moves)
}
