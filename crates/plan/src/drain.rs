//! Empties shards at the end, so that they can be removed once they have been idle long enough.

use std::{collections::BTreeMap, time::Duration};

use kvass_model::{SeriesCount, TargetHash};

use crate::{
    Access, MoveReason,
    room::Room,
    working::{Shard, Working, outgoing},
};

/// How long a drain leaves room for a target that is gone, but never longer than the idle time: what is replaced, one by
/// one or all at once, usually comes back within it, and a drain into its place would have to be undone.
pub const ROOM_KEPT: Duration = Duration::from_secs(300);

/// Moves everything off the last shards, if all of it fits on the shards before them, beside what has just gone.
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
        Some(view) => matches!(view.access, Access::Failing | Access::Pending | Access::Lost),
        None => true,
    });
    snapshot.settled && !unseen && working.short.is_empty() && working.unassigned.is_empty() && !working.moving()
}

/// The shards that might be emptied, last first, without those that are empty already. It ends at the first that cannot
/// be: removing shards goes from the end, so emptying one before it would be in vain.
fn drainable(working: &Working<'_>) -> Vec<u32> {
    let least = working.limits.min_shards.max(1);
    let movable = |ordinal: u32, shard: &Shard| shard.targets.keys().all(|target| working.movable_down(*target, ordinal));
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
        let kept = working.shards.range(..tail[emptied - 1]).filter(|(_, shard)| shard.changeable && !shard.full_head);
        let room: SeriesCount = kept.map(|(_, shard)| working.limits.room(shard.load)).sum();
        moved.series <= room.series && moved.total <= room.total
    };
    // A target larger than the limit needs an empty shard rather than room.
    let oversized = |ordinal: &u32| working.limits.too_big(load(ordinal));
    (1..=tail.len()).take_while(|emptied| feasible(*emptied) || tail[..*emptied].iter().any(oversized)).last().unwrap_or(0)
}

/// A place for every target of the emptied shards on a lower one, beside those that have just gone, or None.
fn moves(working: &Working<'_>, emptied: &[u32]) -> Option<Vec<(TargetHash, u32, u32)>> {
    let first = *emptied.last()?;
    let kept = working.shards.range(..first).filter(|(_, shard)| shard.changeable && !shard.full_head);
    let mut open: Vec<(u32, Room)> = kept.map(|(ordinal, shard)| (*ordinal, shard.room())).collect();
    let mut home: BTreeMap<TargetHash, Option<u32>> = just_gone(working).map(|target| (target, None)).collect();
    for ordinal in emptied {
        home.extend(working.shards.get(ordinal)?.targets.keys().map(|target| (*target, Some(*ordinal))));
    }
    let mut targets: Vec<TargetHash> = home.keys().copied().collect();
    working.largest_first(&mut targets);
    let mut moves = Vec::with_capacity(targets.len());
    for target in targets {
        let count = working.sizes.count(target);
        let (to, room) = open.iter_mut().find(|(_, room)| room.takes(count, working.limits, working.limits.scale_in))?;
        room.add(count);
        if let Some(from) = *home.get(&target)? {
            moves.push((target, from, *to));
        }
    }
    Some(moves)
}

/// The targets that went a moment ago.
fn just_gone(working: &Working<'_>) -> impl Iterator<Item = TargetHash> {
    let kept = ROOM_KEPT.min(working.limits.max_idle);
    let departed = working.snapshot.departed.iter();
    let gone = departed.filter(|(target, _)| !working.snapshot.targets.contains_key(target));
    gone.filter(move |(_, gone)| working.elapsed(gone.at) < kept).map(|(target, _)| *target)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use kvass_model::{Health, ScrapeStatus};

    use crate::{Limits, ShardView, Snapshot, TargetView, Transfer, plan};

    use super::*;

    /// Two shards with one small target each; that of shard 1 had a hand-over a minute ago.
    fn moves_after(from: u32, to: u32) -> usize {
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(100);
        let earlier = now - jiff::SignedDuration::from_secs(60);
        let count = SeriesCount { series: 10, total: 10 };
        let shard = |target| {
            let status = ScrapeStatus { health: Health::Up, count, scrape_times: 9, ..ScrapeStatus::default() };
            ShardView { access: Access::Changeable, targets: [(TargetHash(target), status)].into(), ..ShardView::default() }
        };
        let view = TargetView { job: "j".into(), count: Some(count), attempted: true, interval: Duration::from_secs(15) };
        let snapshot = Snapshot {
            now,
            targets: [(TargetHash(1), view.clone()), (TargetHash(2), view)].into(),
            shards: [(0, shard(1)), (1, shard(2))].into(),
            scale: 2,
            scalable: true,
            settled: true,
            transfers: [(TargetHash(2), Transfer { from, to, since: earlier, ended: Some(earlier) })].into(),
            departed: BTreeMap::new(),
        };
        let limits = Limits { max_series: Some(100), max_idle: Duration::from_secs(60), ..Limits::default() };
        plan(&snapshot, &limits).decisions.len()
    }

    #[test]
    fn what_came_down_goes_on_down_and_the_rest_rests() {
        assert_eq!(moves_after(2, 1), 1, "came down");
        assert_eq!(moves_after(0, 1), 0, "was moved up");
        assert_eq!(moves_after(1, 0), 0, "was taken back");
    }
}
