//! Looks for room for the targets of shards that will probably be lost.

use kvass_model::TargetHash;

use crate::{Access, limits::FULL, room::Room, working::Working};

/// Notes the targets of failing shards for which the others have no room, so that shards to come are ready when the
/// grace is over. Nothing is placed yet: they may come back until then.
pub(crate) fn foresee(working: &mut Working<'_>) {
    let snapshot = working.snapshot;
    if !(snapshot.settled && snapshot.scalable) {
        return;
    }
    let failing = |ordinal: &u32| snapshot.shards.get(ordinal).is_some_and(|view| view.access == Access::Failing);
    let held = working.shards.iter().filter(|(ordinal, _)| failing(ordinal)).flat_map(|(_, shard)| shard.targets.keys());
    let alone = |target: &TargetHash| working.holders(*target).iter().all(failing);
    let mut targets: Vec<TargetHash> =
        held.copied().filter(|target| snapshot.targets.contains_key(target)).filter(alone).collect();
    targets.sort_unstable();
    targets.dedup();
    working.largest_first(&mut targets);
    let open = working.shards.values().filter(|shard| shard.changeable && !shard.gated);
    let mut open: Vec<Room> = open.map(|shard| shard.room()).collect();
    for target in targets {
        let count = working.sizes.count(target);
        match open.iter_mut().find(|room| room.takes(count, working.limits, FULL)) {
            Some(room) => room.add(count),
            None => working.lacks_room(target, true),
        }
    }
}
