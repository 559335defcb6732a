//! placeholder

mod decision;
mod limits;
mod outcome;
mod snapshot;

pub use decision::{Barrier, Decision, MoveReason, ScaleReason, UnassignedReason};
pub use limits::Limits;
pub use outcome::{Plan, PlannedShard, PlannedTarget};
pub use snapshot::{Access, ShardView, Snapshot, TargetView, Transfer};

/// How long a target whose hand-over was taken back is left alone: long enough not to repeat a move that
/// cannot work, short enough to try again while somebody is still looking at it.
pub const REST_AFTER_TAKE_BACK: std::time::Duration = std::time::Duration::from_secs(600);

/// Computes what should be done now.
pub fn plan(snapshot: &Snapshot, _limits: &Limits) -> Plan {
    Plan { scale: snapshot.scale, ..Plan::default() }
}
