//! Who leads, decided from what the Lease says and how long it has said so. Pure: time is an argument, and
//! only this machine's monotonic clock counts. The times written into a Lease are other machines' and are
//! compared for change alone, never with a clock of ours.
//!
//! ```text
//!   standby ──▶ nobody holds it, or its holder was silent for the whole duration ──▶ written ──▶ leader
//!   leader  ──▶ renewed every third of the duration
//!           ──▶ not renewed for two thirds of it, or held by another ──▶ standby
//! ```

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// What a Lease says, as far as electing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Who holds it; `None` after it was released.
    pub(super) holder: Option<String>,
    /// How long the holder may be silent, where that is said.
    pub(super) duration: Option<Duration>,
    /// The holder's own clock.
    pub(super) renewed: Option<Timestamp>,
    /// When the holder became it, by its own clock.
    pub(super) acquired: Option<Timestamp>,
    /// How often the holder changed.
    pub(super) transitions: i32,
}

/// What to do about the Lease now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none: create it with this record.
    Create(Record),
    /// Write this record, provided that nobody else wrote in between.
    Write(Record),
    /// Another holds it.
    Wait,
}

/// One candidate's view of the election.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    duration: Duration,
    /// What the Lease said last, and since when it has said just that.
    seen: Option<(Record, Instant)>,
    /// Until when this candidate leads.
    until: Option<Instant>,
}

impl Election {
    pub(super) fn new(identity: String, duration: Duration) -> Self {
        Election { identity, duration, seen: None, until: None }
    }

    /// Looks at the Lease as it was read (`None`: there is none) and says what to do. `wall` is what is
    /// written into it for people to read.
    pub(super) fn look(&mut self, lease: Option<Record>, now: Instant, wall: Timestamp) -> Step {
        let Some(record) = lease else {
            // Whoever held it may not have noticed yet that somebody deleted it.
            let gone = self.seen.as_ref().is_none_or(|(seen, since)| !self.is_taken(seen, *since, now));
            return if gone { Step::Create(self.claim(&Record::default(), wall)) } else { Step::Wait };
        };
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != record) {
            self.seen = Some((record.clone(), now));
        }
        if record.holder.as_ref().is_some_and(|holder| *holder != self.identity) {
            self.until = None;
        }
        let taken = self.seen.as_ref().is_some_and(|(seen, since)| self.is_taken(seen, *since, now));
        if taken { Step::Wait } else { Step::Write(self.claim(&record, wall)) }
    }

    /// The API server has taken a record of ours that was sent at `sent`: this leads until two thirds of the
    /// duration after that, so that it ends well before anybody else may begin.
    pub(super) fn written(&mut self, record: Record, sent: Instant, now: Instant) {
        self.seen = Some((record, now));
        self.until = Some(sent + self.duration * 2 / 3).filter(|until| *until > now);
    }

    /// Until when this candidate leads, unless it renews or loses the Lease before.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Who holds the Lease, as last seen.
    pub(super) fn holder(&self) -> Option<&str> {
        self.seen.as_ref().and_then(|(seen, _)| seen.holder.as_deref())
    }

    /// When to look again, after a look that went well or failed.
    pub(super) fn next_look(&self, now: Instant, failed: bool) -> Instant {
        match self.until {
            Some(until) if until > now => {
                let pause = if failed { self.duration / 15 } else { self.duration / 3 };
                (now + pause).min(until)
            }
            // A standby looks often, so that a rollout, which releases the Lease, hands over at once.
            _ => {
                let regular = now + (self.duration / 20).clamp(Duration::from_millis(100), Duration::from_millis(750));
                let expiry = self.seen.as_ref().map(|(seen, since)| *since + self.patience(seen)).filter(|at| *at > now);
                expiry.map_or(regular, |at| at.min(regular))
            }
        }
    }

    /// What the Lease should say when this leaves: nothing of a holder. `None` if it is not ours.
    pub(super) fn release(&mut self, lease: &Record) -> Option<Record> {
        self.until = None;
        let ours = lease.holder.as_ref() == Some(&self.identity);
        ours.then(|| Record { holder: None, acquired: None, ..lease.clone() })
    }

    /// Stops leading now.
    pub(super) fn abdicate(&mut self) {
        self.until = None;
    }

    fn is_taken(&self, record: &Record, since: Instant, now: Instant) -> bool {
        let another = record.holder.as_ref().is_some_and(|holder| *holder != self.identity);
        another && now.saturating_duration_since(since) < self.patience(record)
    }

    /// How long a holder may be silent: as long as it said itself, it may have been started with another value.
    fn patience(&self, record: &Record) -> Duration {
        record.duration.unwrap_or(self.duration)
    }

    fn claim(&self, before: &Record, wall: Timestamp) -> Record {
        let renews = before.holder.as_ref() == Some(&self.identity);
        // Every write must change the record, or others would take this holder for silent. With a clock that
        // was set back it would not.
        let tick = |at: Timestamp| at.checked_add(jiff::SignedDuration::from_micros(1)).unwrap_or(at);
        let renewed = before.renewed.map_or(wall, |at| wall.max(tick(at)));
        Record {
            holder: Some(self.identity.clone()),
            duration: Some(self.duration),
            renewed: Some(renewed),
            acquired: if renews { before.acquired } else { Some(wall) },
            transitions: if renews { before.transitions } else { before.transitions.saturating_add(1) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn wall(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1_800_000_000 + seconds)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn held(by: &str, renewed: i64) -> Record {
        Record {
            holder: Some(by.to_owned()),
            duration: Some(DURATION),
            renewed: Some(wall(renewed)),
            acquired: Some(wall(0)),
            transitions: 1,
        }
    }

    fn as_record(step: Step) -> Record {
        match step {
            Step::Create(record) | Step::Write(record) => record,
            Step::Wait => unreachable!("expected a record"),
        }
    }

    /// A candidate that leads since `start`, and its record.
    fn leader(name: &str, start: Instant) -> (Election, Record) {
        let mut election = Election::new(name.to_owned(), DURATION);
        let step = election.look(None, start, wall(0));
        assert!(matches!(step, Step::Create(_)), "{step:?}");
        let record = as_record(step);
        election.written(record.clone(), start, start);
        (election, record)
    }

    #[test]
    fn the_first_creates_the_lease_and_leads_for_two_thirds_of_it() {
        let start = Instant::now();
        let (election, record) = leader("a", start);
        assert_eq!((record.holder.as_deref(), record.transitions), (Some("a"), 1));
        assert_eq!(election.until(), Some(start + seconds(10)));
        assert_eq!(election.next_look(start, false), start + seconds(5));
        assert_eq!(election.next_look(start + seconds(5), true), start + seconds(6));
        assert_eq!(election.next_look(start + seconds(9) + DURATION / 30, true), start + seconds(10), "not after the end");
    }

    #[test]
    fn renewing_extends_from_when_it_was_sent_and_keeps_the_term() {
        let start = Instant::now();
        let (mut election, record) = leader("a", start);
        let renewed = as_record(election.look(Some(record.clone()), start + seconds(5), wall(5)));
        assert_eq!((renewed.transitions, renewed.acquired), (record.transitions, record.acquired));
        election.written(renewed, start + seconds(5), start + seconds(8));
        assert_eq!(election.until(), Some(start + seconds(15)));
    }

    #[test]
    fn a_process_that_was_frozen_while_it_wrote_does_not_lead() {
        let start = Instant::now();
        let (mut election, record) = leader("a", start);
        election.written(record, start + seconds(5), start + seconds(60));
        assert_eq!(election.until(), None);
    }

    #[test]
    fn a_standby_waits_for_the_whole_silence_it_watched_itself() {
        let start = Instant::now();
        let mut election = Election::new("b".to_owned(), DURATION);
        // Whatever the times in it say: a year ago, a year ahead.
        for (renewed, at) in [(-31_536_000, 0), (31_536_000, 20)] {
            let at = start + seconds(at);
            assert_eq!(election.look(Some(held("a", renewed)), at, wall(0)), Step::Wait);
            assert_eq!(election.look(Some(held("a", renewed)), at + seconds(14), wall(0)), Step::Wait);
        }
        let taken = as_record(election.look(Some(held("a", 31_536_000)), start + seconds(35), wall(0)));
        assert_eq!((taken.holder.as_deref(), taken.transitions), (Some("b"), 2));
        assert!(taken.renewed > held("a", 31_536_000).renewed, "a write that others see, although the clock is behind");
    }

    #[test]
    fn every_renewal_starts_the_wait_anew() {
        let start = Instant::now();
        let mut election = Election::new("b".to_owned(), DURATION);
        for renewal in 0..20 {
            let at = start + seconds(5 * renewal);
            // The holder's clock stands still or goes back: what counts is that something changed.
            let renewed = if renewal % 2 == 0 { 7 } else { -100 };
            assert_eq!(election.look(Some(held("a", renewed)), at, wall(0)), Step::Wait, "{renewal}");
        }
        assert_eq!(election.until(), None);
    }

    #[test]
    fn the_holder_says_how_long_it_may_be_silent() {
        let start = Instant::now();
        let mut election = Election::new("b".to_owned(), DURATION);
        let slow = Record { duration: Some(seconds(60)), ..held("a", 0) };
        assert_eq!(election.look(Some(slow.clone()), start, wall(0)), Step::Wait);
        assert_eq!(election.look(Some(slow.clone()), start + seconds(59), wall(0)), Step::Wait);
        assert!(matches!(election.look(Some(slow), start + seconds(60), wall(0)), Step::Write(_)));
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let start = Instant::now();
        let (mut old, record) = leader("a", start);
        let mut next = Election::new("b".to_owned(), DURATION);
        assert_eq!(next.look(Some(record.clone()), start, wall(0)), Step::Wait);
        assert!(next.next_look(start, false) <= start + Duration::from_millis(750));
        let released = old.release(&record).unwrap();
        assert_eq!((old.until(), released.holder.clone()), (None, None));
        let taken = as_record(next.look(Some(released), start + seconds(1), wall(1)));
        assert_eq!((taken.holder.as_deref(), taken.transitions), (Some("b"), 2));
        assert_eq!(old.release(&taken), None, "another's is left alone");
    }

    #[test]
    fn who_sees_another_holder_has_lost() {
        let start = Instant::now();
        let (mut election, _) = leader("a", start);
        assert_eq!(election.look(Some(held("b", 1)), start + seconds(1), wall(1)), Step::Wait);
        assert_eq!((election.until(), election.holder()), (None, Some("b")));
    }

    #[test]
    fn a_deleted_lease_is_no_invitation_while_its_holder_may_lead() {
        let start = Instant::now();
        let mut standby = Election::new("b".to_owned(), DURATION);
        assert_eq!(standby.look(Some(held("a", 0)), start, wall(0)), Step::Wait);
        assert_eq!(standby.look(None, start + seconds(14), wall(14)), Step::Wait);
        assert!(matches!(standby.look(None, start + seconds(15), wall(15)), Step::Create(_)));
        let (mut leader, _) = leader("a", start);
        assert!(matches!(leader.look(None, start + seconds(5), wall(5)), Step::Create(_)), "its holder makes it anew");
        assert!(leader.until().is_some());
    }

    #[test]
    fn a_write_whose_answer_was_lost_is_recognised() {
        let start = Instant::now();
        let mut election = Election::new("a".to_owned(), DURATION);
        let sent = as_record(election.look(None, start, wall(0)));
        assert_eq!(election.until(), None, "nothing was confirmed");
        let again = as_record(election.look(Some(sent.clone()), start + seconds(1), wall(1)));
        assert_eq!(again.transitions, sent.transitions);
    }

    /// Two candidates, an API server that loses or delays answers, and clocks that jump: never two leaders.
    #[test]
    fn never_two_leaders() {
        for seed in 0..200_u64 {
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut chance = |one_in: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % one_in == 0
            };
            let start = Instant::now();
            let mut candidates = [Election::new("a".to_owned(), DURATION), Election::new("b".to_owned(), DURATION)];
            let mut next = [start, start];
            // What is stored, and its version.
            let (mut lease, mut version): (Option<Record>, u64) = (None, 0);
            let mut led = 0;
            for step in 0..4000_u64 {
                let now = start + Duration::from_millis(100 * step);
                for (me, candidate) in candidates.iter_mut().enumerate() {
                    if now < next[me] || chance(40) {
                        continue;
                    }
                    let away = (step / 300 + me as u64).is_multiple_of(3) && chance(2);
                    if !away {
                        let read = version;
                        let jump = if chance(5) { -3600 } else { 0 };
                        let plan = candidate.look(lease.clone(), now, wall(step.cast_signed() / 10 + jump));
                        if let Step::Create(record) | Step::Write(record) = plan {
                            // Somebody else may have written in between.
                            let conflict = chance(10);
                            if !conflict && read == version {
                                (lease, version) = (Some(record.clone()), version + 1);
                                if !chance(10) {
                                    candidate.written(record, now, now);
                                }
                            }
                        }
                    }
                    next[me] = candidate.next_look(now, away);
                }
                let leaders = candidates.iter().filter(|c| c.until().is_some_and(|until| until > now)).count();
                assert!(leaders < 2, "seed {seed}, step {step}");
                led += leaders;
            }
            assert!(led > 2000, "seed {seed}: led {led} of 4000");
        }
    }
}
