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
/// still looking at it. A drain need not wait for a target that has come down: further down is not to and fro.
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
    if !working.changeable(from) {
        return;
    }
    let late = is_late(working, target, since);
    if working.changeable(to) && has_taken_over(working, target, from, to, late) {
        working.remove(target, from);
        working.rest(target, transfer);
        working.decisions.push(Decision::HandedOver { target, from, to });
    } else if late {
        if working.changeable(to) {
            working.remove(target, to);
        }
        // Otherwise both have it as their own until the destination can be changed again: a double.
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

#[cfg(test)]
mod tests {
    use kvass_model::ScrapeStatus;

    use super::*;
    use crate::{Access, Limits, ShardView, Snapshot, TargetView};

    const TARGET: TargetHash = TargetHash(1);

    /// A hand-over from shard 0 to shard 1 that began `age` seconds ago.
    fn snapshot(source: Health, destination: (Health, u64), age: i64) -> Snapshot {
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(100);
        let shard = |status| ShardView { access: Access::Changeable, targets: [(TARGET, status)].into(), ..ShardView::default() };
        let leaving = ScrapeStatus { health: source, state: TargetState::InTransfer, ..ScrapeStatus::default() };
        let (health, scrape_times) = destination;
        let coming = ScrapeStatus { health, scrape_times, ..ScrapeStatus::default() };
        let view = TargetView { job: "j".into(), count: None, attempted: true, interval: Duration::from_secs(15) };
        let since = now - jiff::SignedDuration::from_secs(age);
        Snapshot {
            now,
            targets: [(TARGET, view)].into(),
            shards: [(0, shard(leaving)), (1, shard(coming))].into(),
            scale: 2,
            scalable: true,
            settled: true,
            transfers: [(TARGET, Transfer { from: 0, to: 1, since, ended: None })].into(),
            departed: [].into(),
        }
    }

    #[test]
    fn finish_wait_or_take_back() {
        use Health::{Down, Unknown, Up};
        // Source, destination and its scrapes, age (the deadline for two scrapes is four intervals and 30 s), what is decided.
        for (source, destination, age, decided) in [
            (Up, (Unknown, 0), 0, None),
            (Up, (Up, 1), 0, None),
            (Up, (Up, 2), 0, Some("hand_over")),
            (Up, (Down, 9), 0, None),
            (Down, (Down, 1), 0, None),
            (Down, (Down, 2), 0, Some("hand_over")),
            (Unknown, (Down, 2), 0, Some("hand_over")),
            (Up, (Unknown, 0), 90, None),
            (Up, (Unknown, 0), 91, Some("take_back")),
            (Up, (Down, 9), 91, Some("take_back")),
            (Up, (Up, 2), 91, Some("hand_over")),
            (Up, (Up, 1), 91, Some("take_back")),
            // Only there it is up, if not for long.
            (Down, (Up, 1), 90, None),
            (Down, (Up, 1), 91, Some("hand_over")),
            (Down, (Unknown, 0), 91, Some("take_back")),
            // The clock was set back.
            (Up, (Unknown, 0), -9999, None),
        ] {
            let snapshot = snapshot(source, destination, age);
            let limits = Limits { hand_over_scrapes: 2, ..Limits::default() };
            let mut working = Working::new(&snapshot, &limits);
            hand_overs(&mut working);
            let kinds: Vec<&str> = working.decisions.iter().map(Decision::kind).collect();
            assert_eq!(kinds, Vec::from_iter(decided), "{source} to {destination:?} after {age} s");
            let holders: &[u32] = match decided {
                None => &[0, 1],
                Some("hand_over") => &[1],
                _ => &[0],
            };
            assert_eq!(working.holders(TARGET), holders);
            assert_eq!(working.transfers[&TARGET].ended.is_some(), decided.is_some());
        }
    }
}
