//! The heart of the coordinator: who scrapes what, on how many shards.
//!
//! [`plan`] maps a [`Snapshot`] of one replica and its [`Limits`] to a [`Plan`], and does nothing else: no
//! I/O, no clock (the snapshot carries the time), no randomness. There is no seed either: everything is
//! walked in order, and every tie ends in an ordinal or a target hash, so equal input gives equal output.
//!
//! The README beside this file tells what the plan is meant to achieve before it tells how.

mod alleviate;
mod assign;
mod check;
mod collect;
mod decision;
mod drain;
mod foresee;
mod give_back;
mod hand_over;
mod limits;
mod outcome;
mod report;
mod room;
mod scale;
mod sizes;
mod snapshot;
mod working;

pub use check::violations;
pub use decision::{Barrier, Decision, MoveReason, ScaleReason, UnassignedReason};
pub use drain::ROOM_KEPT;
pub use hand_over::REST_AFTER_MOVE;
pub use limits::Limits;
pub use outcome::{Plan, PlannedShard, PlannedTarget};
pub use snapshot::{Access, Departed, ShardView, Snapshot, TargetView, Transfer};

/// Computes what should be done now.
///
/// Applying the plan and planning again without news changes nothing.
pub fn plan(snapshot: &Snapshot, limits: &Limits) -> Plan {
    let mut working = working::Working::new(snapshot, limits);
    collect::garbage(&mut working);
    collect::doubles(&mut working);
    hand_over::hand_overs(&mut working);
    give_back::remembered(&mut working);
    working.open_empty();
    alleviate::alleviate(&mut working);
    assign::assign(&mut working);
    foresee::foresee(&mut working);
    drain::drain(&mut working);
    let (scale, reason) = scale::scale(&mut working);
    let plan = report::report(working, scale, reason);
    debug_assert_eq!(check::violations(snapshot, limits, &plan), Vec::<String>::new());
    plan
}
