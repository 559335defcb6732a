//! How many shards there should be.

use std::{cmp::Reverse, collections::BTreeMap};

use kvass_model::TargetHash;

use crate::{
    Access, Barrier, ScaleReason, UnassignedReason,
    limits::FULL,
    room::Room,
    working::{Short, Working, outgoing},
};

/// The scale wished, and why it differs from the present one or stays although room is missing. Also
/// gives every target without room its reason.
///
/// Growth starts from the scale wished now, not from the shards seen: shards that are wished but not
/// there yet, or not read yet, are room to come. What lacks room is packed into them first and only the
/// rest into new ones, so that planning again before they are up does not grow again.
pub(crate) fn scale(working: &mut Working<'_>) -> (u32, Option<ScaleReason>) {
    let snapshot = working.snapshot;
    let floor = floor(working);
    let growth = Growth::of(working, floor);
    let added = u32::try_from(growth.added).unwrap_or(u32::MAX);
    let wished = floor.saturating_add(added);
    let barrier = growth.barrier();
    explain(working, &growth);

    if added > 0 {
        let targets = working.short.len();
        let foreseen = working.short.iter().filter(|short| short.foreseen).count();
        let need = working.short.iter().map(|short| short.count).sum();
        return (wished, Some(ScaleReason::Need { targets, foreseen, need, added, barrier }));
    }
    if wished > snapshot.scale {
        let first = snapshot.scale == 0 && wished == 1 && working.limits.min_shards == 0;
        return (wished, Some(if first { ScaleReason::First } else { ScaleReason::Minimum(wished) }));
    }
    if let Some(barrier) = barrier {
        let targets = growth.without_room.len();
        let need = growth.without_room.keys().map(|target| working.sizes.count(*target)).sum();
        return (wished, Some(ScaleReason::NoRoom { targets, need, barrier }));
    }
    let Removal { removed, unsaved, awaiting } = removal(working);
    let reason = match awaiting {
        _ if removed > 0 => Some(ScaleReason::Idle { removed, unsaved }),
        Some(shard) => Some(ScaleReason::AwaitingUpload { shard }),
        None => None,
    };
    (wished - removed, reason)
}

/// The scale before need is looked at: the minimum, and one shard as soon as there is any target.
fn floor(working: &Working<'_>) -> u32 {
    let Working { snapshot, limits, .. } = working;
    if !snapshot.scalable {
        return snapshot.scale;
    }
    let first = u32::from(!snapshot.targets.is_empty() && limits.max_shards > 0);
    snapshot.scale.max(limits.min_shards).max(first)
}

/// First-fit decreasing of everything without room into shards to come and new ones.
struct Growth {
    /// New shards.
    added: usize,
    /// What even they do not hold.
    without_room: BTreeMap<TargetHash, Barrier>,
}

impl Growth {
    fn of(working: &Working<'_>, floor: u32) -> Growth {
        let limits = working.limits;
        let coming = coming(working, floor);
        let (allowed, barrier) = allowed(working, floor);
        let mut items = working.short.clone();
        items.sort_by_cached_key(|item| {
            (item.behind_gate, limits.too_big(item.count), Reverse(limits.weight(item.count)), item.target)
        });

        let mut bins: Vec<Room> = vec![Room::default(); coming.min(items.len())];
        let mut added = 0;
        let mut added_for_heads = 0;
        let mut without_room = BTreeMap::new();
        for item in items {
            if let Some(bin) = bins.iter_mut().find(|bin| bin.takes(item.count, limits, FULL)) {
                bin.add(item.count);
                continue;
            }
            let (may_add, barrier) = if item.behind_gate {
                // A head shrinks by itself at its next truncation, while a shard, once added, stays, so the whole
                // room behind full heads is not rebuilt: they grow the replica by one shard at a time, and only when
                // none is coming.
                (added == 0 && added_for_heads == 0 && coming == 0, Barrier::HeadGate)
            } else {
                (true, barrier)
            };
            if may_add && added + added_for_heads < allowed {
                bins.push(Room { load: item.count, used: true });
                if item.behind_gate { added_for_heads += 1 } else { added += 1 }
            } else if !item.foreseen {
                without_room.insert(item.target, barrier);
            }
        }
        Growth { added: added + added_for_heads, without_room }
    }

    /// What keeps the replica from growing enough. Full heads are named only if there is nothing else,
    /// because they pass.
    fn barrier(&self) -> Option<Barrier> {
        let lasting = self.without_room.values().find(|barrier| **barrier != Barrier::HeadGate);
        lasting.or(self.without_room.values().next()).copied()
    }
}

/// Shards that are wished but cannot be used yet.
fn coming(working: &Working<'_>, floor: u32) -> usize {
    let listed = working.snapshot.shards.iter().filter(|(ordinal, _)| !outgoing(working.snapshot, **ordinal));
    let pending = listed.clone().filter(|(_, view)| view.access == Access::Pending).count();
    if working.snapshot.scalable {
        let missing = usize::try_from(floor).unwrap_or(usize::MAX).saturating_sub(listed.count());
        missing.saturating_add(pending)
    } else {
        pending
    }
}

/// Whether another shard is coming, or may be added.
pub(crate) fn can_grow(working: &Working<'_>) -> bool {
    let floor = floor(working);
    coming(working, floor) > 0 || allowed(working, floor).0 > 0
}

/// How many shards may be added, and what keeps more from being added.
fn allowed(working: &Working<'_>, floor: u32) -> (usize, Barrier) {
    let Working { snapshot, limits, .. } = working;
    if !snapshot.scalable {
        return (0, Barrier::Static);
    }
    let listed = snapshot.shards.iter().filter(|(ordinal, _)| !outgoing(snapshot, **ordinal));
    let lost = listed.clone().filter(|(_, view)| matches!(view.access, Access::Failing | Access::Lost)).count();
    let listed = listed.count();
    // One of one, or one of two, is a broken node. More than half is more likely a coordinator that is
    // cut off, and doubling the replica would not cure that.
    if lost >= 2 && lost * 2 > listed {
        return (0, Barrier::MostLost { lost, listed });
    }
    let max = limits.max_shards.max(limits.min_shards);
    (usize::try_from(max.saturating_sub(floor)).unwrap_or(usize::MAX), Barrier::MaxShards(max))
}

/// Writes down why each target without room has no home. A target that only should move has one.
fn explain(working: &mut Working<'_>, growth: &Growth) {
    for Short { target, count, .. } in working.short.clone() {
        if !working.holders(target).is_empty() {
            continue;
        }
        let reason = match growth.without_room.get(&target).copied() {
            None => UnassignedReason::AwaitingShard { count },
            Some(barrier) if working.limits.too_big(count) => UnassignedReason::TooBig { count, barrier },
            Some(barrier) => UnassignedReason::NoRoom { count, barrier },
        };
        working.unassigned.insert(target, reason);
    }
}

/// The shards at the end that go.
#[derive(Default)]
struct Removal {
    removed: u32,
    /// How many of them have samples nobody else has.
    unsaved: u32,
    /// The shard that would go too, but for samples that are not uploaded yet.
    awaiting: Option<u32>,
}

/// The shards at the end that have been empty long enough to be removed, with nothing left to assign.
fn removal(working: &Working<'_>) -> Removal {
    let Working { snapshot, limits, .. } = working;
    let mut removal = Removal::default();
    let needed = working.short.is_empty() && working.unassigned.is_empty();
    // What is empty now may be the room made for the targets of such a shard.
    let failing = snapshot.shards.values().any(|view| view.access == Access::Failing);
    if !(snapshot.scalable && snapshot.settled && working.packs() && needed) || failing {
        return removal;
    }
    let least = limits.min_shards.max(u32::from(!snapshot.targets.is_empty()));
    for ordinal in (least..snapshot.scale).rev() {
        match idleness(working, ordinal) {
            Idleness::Busy => break,
            Idleness::AwaitsUpload => {
                removal.awaiting = Some(ordinal);
                break;
            }
            Idleness::Over { unsaved } => {
                removal.removed += 1;
                removal.unsaved += u32::from(unsaved);
            }
        }
    }
    removal
}

/// How far a shard is from being removed.
enum Idleness {
    /// It has targets, or had until lately, or nobody knows.
    Busy,
    /// It was empty long enough, and its samples are not uploaded yet.
    AwaitsUpload,
    /// It was empty long enough, or even until its samples are given up.
    Over { unsaved: bool },
}

fn idleness(working: &Working<'_>, ordinal: u32) -> Idleness {
    let (Some(shard), Some(view)) = (working.shards.get(&ordinal), working.snapshot.shards.get(&ordinal)) else {
        return Idleness::Busy;
    };
    let limits = working.limits;
    // `elapsed` is zero for a time in the future, which never exceeds the idle time.
    let idle_for = view.idle_since.map(|since| working.elapsed(since)).unwrap_or_default();
    let empty = shard.changeable && shard.targets.is_empty() && view.targets.is_empty();
    if !empty || idle_for <= limits.max_idle {
        Idleness::Busy
    } else if view.samples_pending && idle_for <= limits.max_idle.saturating_add(limits.upload_deadline) {
        Idleness::AwaitsUpload
    } else {
        Idleness::Over { unsaved: view.samples_pending }
    }
}
