use std::collections::{BTreeMap, BTreeSet};

use kvass_model::{SeriesCount, TargetHash, TargetState};

use crate::{Decision, ScaleReason, Transfer, UnassignedReason};

/// What should be done now, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The complete new list of every changeable shard, by ordinal. Other shards are left as they are.
    pub shards: BTreeMap<u32, PlannedShard>,
    /// How many shards there should be.
    pub scale: u32,
    /// Why the scale changes, or why it stays although room is missing.
    pub scale_reason: Option<ScaleReason>,
    /// Everything that changes between the snapshot and `shards`, in the order it was decided.
    pub decisions: Vec<Decision>,
    /// Active targets without a home, each with the reason.
    pub unassigned: BTreeMap<TargetHash, UnassignedReason>,
    /// Size of everything no shard had room for: targets without a home and targets to be moved off full shards.
    pub need: SeriesCount,
    /// What the shards that take targets could still hold after this plan; `u64::MAX` where there is no limit.
    pub room: SeriesCount,
    /// Active targets to be scraped once to learn their size: never attempted, and no shard knows their health.
    pub explore: BTreeSet<TargetHash>,
    /// Hand-overs to remember; goes into the next [`Snapshot::transfers`](crate::Snapshot::transfers).
    pub transfers: BTreeMap<TargetHash, Transfer>,
}

/// The new list of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedShard {
    /// All its targets.
    pub targets: BTreeMap<TargetHash, PlannedTarget>,
    /// The sum of their sizes, those in transfer included.
    pub load: SeriesCount,
    /// Whether the list differs from what the shard reports, in its targets or in a state.
    pub changed: bool,
}

/// One target of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlannedTarget {
    /// Normal, or in transfer to another shard.
    pub state: TargetState,
    /// The size it was planned with.
    pub count: SeriesCount,
}
