//! The assignment under construction: who holds what, with the loads kept in step.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use kvass_model::{Health, ScrapeStatus, SeriesCount, TargetHash, TargetState};

use crate::{
    Access, Decision, Limits, MoveReason, ShardView, Snapshot, Transfer, UnassignedReason, limits::FULL, room::Room, sizes::Sizes,
};

/// What the steps of a plan hand from one to the next.
pub(crate) struct Working<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) limits: &'a Limits,
    pub(crate) sizes: Sizes,
    /// The shards that hold targets: changeable and holding or failing ones. Lost, pending and outgoing ones hold nothing.
    pub(crate) shards: BTreeMap<u32, Shard>,
    /// For each target the ordinals that hold it, ascending.
    holders: BTreeMap<TargetHash, Vec<u32>>,
    /// Hand-overs under way, and those that ended not long ago.
    pub(crate) transfers: BTreeMap<TargetHash, Transfer>,
    /// Targets no shard has room for.
    pub(crate) short: Vec<Short>,
    pub(crate) unassigned: BTreeMap<TargetHash, UnassignedReason>,
    pub(crate) decisions: Vec<Decision>,
}

/// One shard of the working assignment.
pub(crate) struct Shard {
    pub(crate) changeable: bool,
    /// Its head is too large for more targets than it has.
    pub(crate) full_head: bool,
    /// It takes no more targets because of that.
    pub(crate) gated: bool,
    pub(crate) targets: BTreeMap<TargetHash, TargetState>,
    /// Everything it owns, targets in transfer included: what new targets have to fit beside.
    pub(crate) load: SeriesCount,
    /// What it will own once the targets in transfer are gone: what relief looks at.
    pub(crate) staying: SeriesCount,
    /// What would have been put here, but for its head.
    behind_gate: SeriesCount,
    /// [`Limits::weight`] of `load`.
    weight: u64,
}

/// A target no shard has room for.
#[derive(Clone, Copy)]
pub(crate) struct Short {
    pub(crate) target: TargetHash,
    pub(crate) count: SeriesCount,
    /// There is room for it, on a shard whose head is too large.
    pub(crate) behind_gate: bool,
    /// It has a home still, on a shard that is failing.
    pub(crate) foreseen: bool,
}

impl<'a> Working<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, limits: &'a Limits) -> Self {
        let mut working = Working {
            snapshot,
            limits,
            sizes: Sizes::of(snapshot, limits),
            shards: BTreeMap::new(),
            holders: BTreeMap::new(),
            transfers: snapshot.transfers.clone(),
            short: Vec::new(),
            unassigned: BTreeMap::new(),
            decisions: Vec::new(),
        };
        for (ordinal, view) in &snapshot.shards {
            if !holds(snapshot, *ordinal) {
                continue;
            }
            let changeable = view.access == Access::Changeable;
            let full_head = limits.gates(view.head_series);
            let shard = Shard {
                changeable,
                full_head,
                gated: full_head,
                targets: BTreeMap::new(),
                load: SeriesCount::default(),
                staying: SeriesCount::default(),
                behind_gate: SeriesCount::default(),
                weight: 0,
            };
            working.shards.insert(*ordinal, shard);
            for (target, status) in &view.targets {
                working.insert(*target, *ordinal, status.state);
            }
            if !changeable && view.targets.is_empty() {
                // It could not be read, or has not got its list back yet: no reason to give it away.
                for target in view.remembered.keys() {
                    working.insert(*target, *ordinal, TargetState::Normal);
                }
            }
        }
        working
    }

    /// Has shards without targets take some, however full their heads are: without samples a head is never truncated, and
    /// they would be closed for ever.
    pub(crate) fn open_empty(&mut self) {
        for shard in self.shards.values_mut().filter(|shard| shard.targets.is_empty()) {
            shard.gated = false;
        }
    }

    /// The shards that hold the target, ascending.
    pub(crate) fn holders(&self, target: TargetHash) -> &[u32] {
        self.holders.get(&target).map_or(&[], Vec::as_slice)
    }

    /// Active targets held by more than one shard, or by one that wants to let go.
    pub(crate) fn contested(&self) -> Vec<TargetHash> {
        let contested = |target: &TargetHash, holders: &[u32]| {
            holders.len() > 1 || holders.iter().any(|shard| self.state(*target, *shard) == Some(TargetState::InTransfer))
        };
        let active = self.holders.iter().filter(|(target, _)| self.snapshot.targets.contains_key(target));
        active.filter(|(target, holders)| contested(target, holders)).map(|(target, _)| *target).collect()
    }

    pub(crate) fn state(&self, target: TargetHash, shard: u32) -> Option<TargetState> {
        self.shards.get(&shard)?.targets.get(&target).copied()
    }

    pub(crate) fn changeable(&self, shard: u32) -> bool {
        self.shards.get(&shard).is_some_and(|shard| shard.changeable)
    }

    /// What the shard reports of the target.
    pub(crate) fn status(&self, target: TargetHash, shard: u32) -> Option<&'a ScrapeStatus> {
        self.snapshot.shards.get(&shard)?.targets.get(&target)
    }

    pub(crate) fn health(&self, target: TargetHash, shard: u32) -> Health {
        self.status(target, shard).map_or(Health::Unknown, |status| status.health)
    }

    /// Adds the target to the shard's list.
    pub(crate) fn insert(&mut self, target: TargetHash, shard: u32, state: TargetState) {
        let count = self.sizes.count(target);
        let Some(entry) = self.shards.get_mut(&shard) else { return };
        entry.targets.insert(target, state);
        entry.load += count;
        if state == TargetState::Normal {
            entry.staying += count;
        }
        entry.weight = self.limits.weight(entry.load);
        let holders = self.holders.entry(target).or_default();
        holders.push(shard);
        holders.sort_unstable();
    }

    /// Removes the target from the shard's list.
    pub(crate) fn remove(&mut self, target: TargetHash, shard: u32) {
        let count = self.sizes.count(target);
        let Some(entry) = self.shards.get_mut(&shard) else { return };
        let Some(state) = entry.targets.remove(&target) else { return };
        entry.load = entry.load - count;
        if state == TargetState::Normal {
            entry.staying = entry.staying - count;
        }
        entry.weight = self.limits.weight(entry.load);
        if let Some(holders) = self.holders.get_mut(&target) {
            holders.retain(|holder| *holder != shard);
        }
    }

    /// Changes the state of a target the shard has.
    pub(crate) fn set_state(&mut self, target: TargetHash, shard: u32, state: TargetState) {
        self.remove(target, shard);
        self.insert(target, shard, state);
    }

    /// Begins a hand-over: room is reserved at the destination at once, and the source counts as
    /// relieved at once, although its real load falls only when it lets go.
    pub(crate) fn start_move(&mut self, target: TargetHash, from: u32, to: u32, why: MoveReason) {
        self.set_state(target, from, TargetState::InTransfer);
        self.insert(target, to, TargetState::Normal);
        self.transfers.insert(target, Transfer { from, to, since: self.snapshot.now, ended: None });
        self.decisions.push(Decision::MoveStarted { target, count: self.sizes.count(target), from, to, why });
    }

    /// Remembers that a hand-over has ended, so that the target is left alone for a while.
    pub(crate) fn rest(&mut self, target: TargetHash, transfer: Transfer) {
        self.transfers.insert(target, Transfer { ended: Some(self.snapshot.now), ..transfer });
    }

    /// Whether any hand-over is under way.
    pub(crate) fn moving(&self) -> bool {
        self.transfers.values().any(|transfer| transfer.ended.is_none())
    }

    /// Whether the target may be moved off its shard: it is at home there, and is not resting after a hand-over.
    pub(crate) fn movable(&self, target: TargetHash, shard: u32) -> bool {
        self.at_home(target, shard) && !self.transfers.contains_key(&target)
    }

    /// As [`Working::movable`], for a move to a lower ordinal: a target that has just come down may go on.
    /// Only a move up, which rests, could bring it back, so it does not go to and fro.
    pub(crate) fn movable_down(&self, target: TargetHash, shard: u32) -> bool {
        let came_down = |transfer: &Transfer| transfer.ended.is_some() && transfer.to == shard && transfer.to < transfer.from;
        self.at_home(target, shard) && self.transfers.get(&target).is_none_or(came_down)
    }

    /// Whether the target is on this shard and nowhere else, and was scraped there, so that it is known what
    /// would be moved.
    fn at_home(&self, target: TargetHash, shard: u32) -> bool {
        self.changeable(shard)
            && self.state(target, shard) == Some(TargetState::Normal)
            && self.holders(target) == [shard]
            && self.health(target, shard) != Health::Unknown
    }

    /// The shard among the `allowed` ones for a new target of this size, none filled above `permille` of a
    /// limit: the least loaded one, or the lowest ordinal where shards are to be packed, those with full heads
    /// last. A target that exceeds a limit by itself gets an empty shard, which its own load then closes for others.
    pub(crate) fn find_room(&self, count: SeriesCount, permille: u32, allowed: impl Fn(u32) -> bool) -> Option<u32> {
        let open = self.shards.iter().filter(|(ordinal, shard)| {
            allowed(**ordinal) && shard.changeable && !shard.gated && shard.room().takes(count, self.limits, permille)
        });
        let chosen = if self.packs() {
            open.min_by_key(|(ordinal, shard)| (shard.full_head, **ordinal))
        } else {
            open.min_by_key(|(ordinal, shard)| (shard.full_head, shard.weight, shard.targets.len(), **ordinal))
        };
        chosen.map(|(ordinal, _)| *ordinal)
    }

    /// Notes that no shard has room for the target, or, if that is `foreseen`, will have.
    pub(crate) fn lacks_room(&mut self, target: TargetHash, foreseen: bool) {
        let count = self.sizes.count(target);
        let limits = self.limits;
        let gated = self
            .shards
            .values_mut()
            .find(|shard| shard.changeable && shard.gated && limits.within(shard.load + shard.behind_gate + count, FULL));
        let behind_gate = gated.is_some();
        if let Some(shard) = gated {
            shard.behind_gate += count;
        }
        self.short.push(Short { target, count, behind_gate, foreseen });
    }

    /// Whether low ordinals are filled first, so that the last shards become empty and can be removed.
    pub(crate) fn packs(&self) -> bool {
        !self.limits.max_idle.is_zero()
    }

    /// Sorts targets largest first, ties by hash: the order in which the fewest end up without room.
    pub(crate) fn largest_first(&self, targets: &mut [TargetHash]) {
        targets.sort_by_cached_key(|target| (Reverse(self.limits.weight(self.sizes.count(*target))), *target));
    }

    /// How long ago `then` was; nothing if the clock was set back since.
    pub(crate) fn elapsed(&self, then: Timestamp) -> Duration {
        elapsed(self.snapshot.now, then)
    }
}

impl Shard {
    /// The shard as a place for more targets.
    pub(crate) fn room(&self) -> Room {
        Room { load: self.load, used: !self.targets.is_empty() }
    }
}

/// Time from `then` to `now`; zero where `then` is later.
pub(crate) fn elapsed(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// Whether this listed shard counts as holding its targets.
pub(crate) fn holds(snapshot: &Snapshot, ordinal: u32) -> bool {
    let here = |view: &ShardView| matches!(view.access, Access::Changeable | Access::Holding | Access::Failing);
    snapshot.shards.get(&ordinal).is_some_and(here) && !outgoing(snapshot, ordinal)
}

/// Whether somebody else already lowered the scale below this shard.
pub(crate) fn outgoing(snapshot: &Snapshot, ordinal: u32) -> bool {
    snapshot.scalable && ordinal >= snapshot.scale
}
