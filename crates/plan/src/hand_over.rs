//! Finishes hand-overs, or takes them back.
//!
//! ```text
//!   source        normal ──▶ in transfer ────────────────────▶ dropped   (finished)
//!                                │
//!   destination              normal, not scraped ──▶ scraped, up
//!                                │
//!                                └──▶ dropped, source normal again       (deadline: taken back)
//! ```

use std::time::Duration;

use jiff::Timestamp;
use kvass_model::{Health, TargetHash, TargetState};

use crate::{Decision, Transfer, working::Working};

/// How long a target is left alone after a hand-over has ended, finished or taken back: long enough not to
/// send it to and fro, or to repeat a move that cannot work; short enough to try again while somebody is
/// still looking at it.
pub const REST_AFTER_MOVE: Duration = Duration::from_secs(600);

/// What a hand-over may take beyond the scrapes it waits for: delivering the list to the destination,
/// its Prometheus reading it, and the coordinator seeing the result.
const SLACK: Duration = Duration::from_secs(30);

/// Looks at every hand-over: finish it, take it back, or wait.
pub(crate) fn hand_overs(working: &mut Working<'_>) {
    let remembered = std::mem::take(&mut working.transfers);
    for (target, transfer) in &remembered {
        let Some(ended) = transfer.ended else { continue };
        // A clock that was set back must not keep a target from moving for years.
        let ended = ended.min(working.snapshot.now);
        if working.elapsed(ended) <= REST_AFTER_MOVE {
            working.transfers.insert(*target, Transfer { ended: Some(ended), ..*transfer });
        }
    }
    for target in working.contested() {
        let in_state = |state| {
            let mut shards = working.holders(target).iter().copied().filter(|s| working.state(target, *s) == Some(state));
            shards.next().filter(|_| shards.next().is_none())
        };
        let (Some(from), Some(to)) = (in_state(TargetState::InTransfer), in_state(TargetState::Normal)) else { continue };
        let known = remembered.get(&target).filter(|t| (t.from, t.to) == (from, to) && t.ended.is_none());
        if known.is_none() {
            working.decisions.push(Decision::Adopted { target, from, to });
        }
        let since = known.map_or(working.snapshot.now, |transfer| transfer.since.min(working.snapshot.now));
        advance(working, target, Transfer { from, to, since, ended: None });
    }
}

fn advance(working: &mut Working<'_>, target: TargetHash, transfer: Transfer) {
    let Transfer { from, to, since, .. } = transfer;
    working.transfers.insert(target, transfer);
    if !(working.changeable(from) && working.changeable(to)) {
        return;
    }
    let late = is_late(working, target, since);
    if has_taken_over(working, target, from, to, late) {
        working.remove(target, from);
        working.rest(target, transfer);
        working.decisions.push(Decision::HandedOver { target, from, to });
    } else if late {
        working.remove(target, to);
        working.set_state(target, from, TargetState::Normal);
        working.rest(target, transfer);
        working.decisions.push(Decision::TakenBack { target, from, to, waited: working.elapsed(since) });
    }
}

/// Whether the source may let go: the destination scraped often enough, and the target is up there, or
/// not up at the source either (nothing is lost by moving a target that is down). After the deadline a
/// single success counts where the source has none: taking back would release the only one that is up.
fn has_taken_over(working: &Working<'_>, target: TargetHash, from: u32, to: u32, late: bool) -> bool {
    let Some(there) = working.status(target, to) else { return false };
    let up_here = working.health(target, from) == Health::Up;
    let up_there = there.health == Health::Up;
    let scraped = there.health != Health::Unknown && there.scrape_times >= working.limits.hand_over_scrapes;
    (scraped && (up_there || !up_here)) || (late && up_there && !up_here)
}

/// Three intervals, or two more than the scrapes it waits for, and some slack.
fn is_late(working: &Working<'_>, target: TargetHash, since: Timestamp) -> bool {
    let interval = working.snapshot.targets.get(&target).map_or(Duration::ZERO, |view| view.interval);
    let intervals = u32::try_from(working.limits.hand_over_scrapes.saturating_add(2).max(3)).unwrap_or(u32::MAX);
    working.elapsed(since) > interval.saturating_mul(intervals).saturating_add(SLACK)
}
