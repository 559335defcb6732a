use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kvass_model::{ScrapeStatus, SeriesCount, TargetHash};

/// One replica (one StatefulSet, one static list, one set of processes) as the last observation saw it.
///
/// It is stale by the time it is read: a shard may have restarted, a target may have gone. A plan is
/// therefore a wish that may fail to apply, and the next observation, not the last plan, is what the
/// next plan starts from. Only [`Snapshot::transfers`] and [`ShardView::remembered`] carry memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// When the observation was made; the only clock the planner knows.
    pub now: Timestamp,
    /// Every active target of every job. What a changeable shard holds beyond that is dropped, so a shard
    /// that holds targets of a job without a current discovery has to be [`Access::Holding`].
    pub targets: BTreeMap<TargetHash, TargetView>,
    /// The listed shards by ordinal. Where the replica is scalable, one at or beyond [`Snapshot::scale`]
    /// is on its way out (somebody lowered the scale) and is treated as if it were not listed; an
    /// ordinal below the scale that is not listed is treated as [`Access::Pending`].
    pub shards: BTreeMap<u32, ShardView>,
    /// How many shards are wished now (`spec.replicas`), whether or not they exist yet.
    pub scale: u32,
    /// Whether the number of shards can be changed; false for a static list.
    pub scalable: bool,
    /// False right after the start of the coordinator, until every shard was read once or the grace has
    /// passed: a target seen nowhere may sit on a shard that was not read yet, so nothing is assigned,
    /// moved or scaled for want of room.
    pub settled: bool,
    /// [`Plan::transfers`](crate::Plan::transfers) of the previous plan; empty after a restart.
    pub transfers: BTreeMap<TargetHash, Transfer>,
    /// Targets that were on shards and are not active any more, those of the last
    /// [`ROOM_KEPT`](crate::ROOM_KEPT) at least; empty after a restart.
    pub departed: BTreeMap<TargetHash, Departed>,
}

/// An active target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetView {
    /// The job it belongs to; lends its median size to targets that were never measured.
    pub job: Arc<str>,
    /// Best known size. None: never measured.
    pub count: Option<SeriesCount>,
    /// Whether it was explored at least once, with or without success, or was on a shard.
    pub attempted: bool,
    /// Its scrape interval; the deadline of a hand-over is counted in it.
    pub interval: Duration,
}

/// A listed shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardView {
    /// Name for texts, for example the pod's.
    pub name: String,
    /// What may be done with it.
    pub access: Access,
    /// Series in the head of its TSDB, as it reports them.
    pub head_series: u64,
    /// Series before metric relabelling, as it reports them. Not used to decide: the sum over its
    /// targets is, because that falls as soon as a target leaves.
    pub process_series: u64,
    /// Since when it has had no target, if it has none.
    pub idle_since: Option<Timestamp>,
    /// Samples of it are not in the object store yet, where there is one. It is then kept for
    /// [`Limits::upload_deadline`](crate::Limits::upload_deadline) beyond the idle time.
    pub samples_pending: bool,
    /// The targets it reports.
    pub targets: BTreeMap<TargetHash, ScrapeStatus>,
    /// The list it was last given, or, where newer, the one seen on it. A changeable shard that came
    /// back without its list gets it back from here; a holding one that reports nothing still holds it.
    pub remembered: BTreeMap<TargetHash, SeriesCount>,
}

/// What may be done with a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Read completely; takes a new list.
    Changeable,
    /// Holds its targets, and its list must not be changed now: unreachable within the grace, on another
    /// configuration, its Prometheus down.
    Holding,
    /// As holding, and unreachable for so long that it will probably be lost: room for its targets is made in
    /// advance, as shards take a while to start.
    Failing,
    /// Created but never read yet. Nothing can be given to it, but it counts as room to come, so that
    /// growth does not repeat while a shard starts.
    #[default]
    Pending,
    /// Unreachable beyond the grace, or not to come as its former pod does not end: its targets may be placed elsewhere, its
    /// room is not counted.
    Lost,
}

/// A target that is not active any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Best known size.
    pub count: SeriesCount,
    /// When it was seen to be gone.
    pub at: Timestamp,
}

/// A hand-over the planner remembers from one plan to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Ordinal of the shard that lets go.
    pub from: u32,
    /// Ordinal of the shard that takes over.
    pub to: u32,
    /// When the hand-over began.
    pub since: Timestamp,
    /// When it ended, finished or taken back. The target then rests where it is for a while before it is
    /// moved again, except further down by a drain; see [`REST_AFTER_MOVE`](crate::REST_AFTER_MOVE).
    pub ended: Option<Timestamp>,
}
