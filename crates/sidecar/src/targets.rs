//! What the shard was told to scrape, and what came of it. Pure: the time is passed in.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kvass_api::{AssignedTarget, ScrapeStatusWire, StatusMap, Stored, TargetList};
use kvass_model::{Health, Labels, ScrapeStatus, SeriesCount, TargetHash, TargetState};

/// How long a target that was taken away is still served. Prometheus 2.42 goes on scraping for some
/// seconds after its targets were emptied, and must not store a failure of a healthy target then.
const RELEASE_GRACE: SignedDuration = SignedDuration::from_secs(30);
/// Prometheus may still be about to list a target it was given a moment before it was taken away again.
const RELEASE_MINIMUM: SignedDuration = SignedDuration::from_secs(10);
/// The reported size is the mean of this many scrapes.
const MEAN_OF: usize = 3;

/// Everything the shard holds.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    list: TargetList,
    held: BTreeMap<TargetHash, Held>,
    released: BTreeMap<TargetHash, Released>,
    idle_at: Option<Timestamp>,
}

/// A target and its record.
#[derive(Debug)]
struct Held {
    /// Usually one; two jobs may yield the same labels and URL, and then share hash and status.
    holdings: Vec<Holding>,
    status: ScrapeStatus,
    /// Series of the last scrapes that succeeded, the newest last.
    recent: VecDeque<u64>,
    last_success: Option<LastSuccess>,
    over_limit: bool,
}

/// A target within one job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Holding {
    pub(crate) job: Arc<str>,
    /// As relabelled: names that travel under a prefix have their own name again.
    pub(crate) labels: Labels,
}

#[derive(Debug)]
struct Released {
    holdings: Vec<Holding>,
    since: Timestamp,
}

/// The last scrape that succeeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LastSuccess {
    pub(crate) count: SeriesCount,
    pub(crate) duration: Duration,
}

/// What a hash names within a job.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// A target of this shard, or one released a moment ago.
    Target {
        /// Its labels.
        labels: Labels,
        /// Its body was too large last time: read it without forwarding.
        over_limit: bool,
    },
    /// The hash is a target's, but of another job.
    OtherJob,
    /// Not a target of this shard.
    Unknown,
}

/// How a scrape ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Up(SeriesCount),
    Down(String),
    /// Down because of the body size limit; the target is not forwarded until it fits again.
    OverLimit(String),
    /// The body fits the limit again; nothing was forwarded yet.
    FitsAgain(String),
}

/// A finished scrape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scrape {
    pub(crate) start: Timestamp,
    pub(crate) duration: Duration,
    pub(crate) outcome: Outcome,
}

/// A target whose health changed.
#[derive(Debug, PartialEq)]
pub(crate) struct HealthChange {
    pub(crate) from: Health,
    pub(crate) to: Health,
}

impl Targets {
    /// What was stored before the process started.
    pub(crate) fn restore(stored: Stored, now: Timestamp) -> Self {
        let mut targets = Targets { idle_at: stored.idle_at, ..Targets::default() };
        targets.replace(stored.targets, now);
        targets
    }

    /// The list as posted, jobs without targets left out.
    pub(crate) fn list(&self) -> &TargetList {
        &self.list
    }

    /// Whether `list` would change nothing.
    pub(crate) fn equals(&self, list: &TargetList) -> bool {
        let mut ours = self.list.iter();
        list.iter().filter(|(_, targets)| !targets.is_empty()).all(|theirs| ours.next() == Some(theirs)) && ours.next().is_none()
    }

    /// What the store file has to hold once `list` is in force.
    pub(crate) fn stored_with(&self, list: &TargetList, now: Timestamp) -> Stored {
        let targets = without_empty_jobs(list.clone());
        let idle_at = if targets.is_empty() { self.idle_at.or(Some(now)) } else { None };
        Stored { targets, idle_at }
    }

    /// What is to be kept of the list in force.
    pub(crate) fn stored(&self) -> Stored {
        Stored { targets: self.list.clone(), idle_at: self.idle_at }
    }

    /// Takes a new list into force. Known targets keep their record, new ones start with the sizes they
    /// come with, and a target that becomes `in_transfer` counts its scrapes from zero.
    pub(crate) fn replace(&mut self, list: TargetList, now: Timestamp) {
        let Stored { targets: list, idle_at } = self.stored_with(&list, now);
        let mut previous = std::mem::take(&mut self.held);
        for (job, targets) in &list {
            let job: Arc<str> = job.as_str().into();
            for target in targets {
                let holding = Holding { job: Arc::clone(&job), labels: target.label_set().unshipped() };
                match self.held.get_mut(&target.target_hash()) {
                    Some(held) if held.holdings.iter().any(|h| h.job == holding.job) => {}
                    Some(held) => held.holdings.push(holding),
                    None => {
                        let known = previous.remove(&target.target_hash());
                        self.released.remove(&target.target_hash());
                        self.held.insert(target.target_hash(), hold(known, target, holding));
                    }
                }
            }
        }
        for (hash, held) in previous {
            self.released.insert(hash, Released { holdings: held.holdings, since: now });
        }
        self.list = list;
        self.idle_at = idle_at;
    }

    /// What `hash` names within `job`.
    pub(crate) fn find(&self, hash: TargetHash, job: &str, now: Timestamp) -> Found {
        let held = self.held.get(&hash).map(|held| (&held.holdings, held.over_limit));
        let released = || {
            let released = self.released.get(&hash).filter(|released| !released.expired(now))?;
            Some((&released.holdings, false))
        };
        let Some((holdings, over_limit)) = held.or_else(released) else { return Found::Unknown };
        match holdings.iter().find(|holding| &*holding.job == job) {
            Some(holding) => Found::Target { labels: holding.labels.clone(), over_limit },
            None => Found::OtherJob,
        }
    }

    /// Notes a scrape. Scrapes of targets the shard no longer holds are not noted.
    pub(crate) fn record(&mut self, hash: TargetHash, scrape: Scrape) -> Option<HealthChange> {
        let held = self.held.get_mut(&hash)?;
        let status = &mut held.status;
        let from = status.health;
        status.scrape_times += 1;
        status.last_scrape = Some(scrape.start);
        status.last_scrape_duration = scrape.duration;
        let failure = match scrape.outcome {
            Outcome::Up(count) => {
                if held.recent.len() == MEAN_OF {
                    held.recent.pop_front();
                }
                held.recent.push_back(count.series);
                let mean = held.recent.iter().sum::<u64>() / held.recent.len() as u64;
                status.count = SeriesCount { series: mean, total: count.total };
                held.last_success = Some(LastSuccess { count, duration: scrape.duration });
                held.over_limit = false;
                None
            }
            Outcome::Down(reason) => Some(reason),
            Outcome::OverLimit(reason) => {
                held.over_limit = true;
                Some(reason)
            }
            Outcome::FitsAgain(reason) => {
                held.over_limit = false;
                Some(reason)
            }
        };
        status.health = if failure.is_none() { Health::Up } else { Health::Down };
        status.last_error = failure.unwrap_or_default();
        let to = status.health;
        (from != to).then_some(HealthChange { from, to })
    }

    /// The status of every target held, as the API shows it.
    pub(crate) fn status_map(&self) -> StatusMap {
        self.held.iter().map(|(hash, held)| (hash.to_string(), ScrapeStatusWire::from(&held.status))).collect()
    }

    /// Number of targets held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Sum of the sizes of all targets held, whatever their state or health.
    pub(crate) fn total(&self) -> SeriesCount {
        self.held.values().map(|held| held.status.count).sum()
    }

    /// Since when there is no target.
    pub(crate) fn idle_at(&self) -> Option<Timestamp> {
        self.idle_at
    }

    /// Every target with its last success, job by job.
    pub(crate) fn successes(&self) -> impl Iterator<Item = (&Holding, LastSuccess)> {
        let successes = self.held.values().filter_map(|held| Some((&held.holdings, held.last_success?)));
        successes.flat_map(|(holdings, success)| holdings.iter().map(move |holding| (holding, success)))
    }

    /// Per job, the samples of the last scrape of each target that is up.
    pub(crate) fn samples(&self) -> BTreeMap<Arc<str>, SeriesCount> {
        let mut jobs: BTreeMap<Arc<str>, SeriesCount> = BTreeMap::new();
        for held in self.held.values() {
            let last = held.last_success.filter(|_| held.status.health == Health::Up).map(|last| last.count);
            for holding in &held.holdings {
                *jobs.entry(Arc::clone(&holding.job)).or_default() += last.unwrap_or_default();
            }
        }
        jobs
    }

    /// The targets of all jobs for which `wanted` holds.
    pub(crate) fn of_jobs(&self, wanted: impl Fn(&str) -> bool) -> Vec<Holding> {
        self.held.values().flat_map(|held| &held.holdings).filter(|holding| wanted(&holding.job)).cloned().collect()
    }

    /// Hashes per job that Prometheus should list.
    pub(crate) fn expected(&self) -> BTreeMap<Arc<str>, Vec<TargetHash>> {
        let mut jobs: BTreeMap<Arc<str>, Vec<TargetHash>> = BTreeMap::new();
        for (hash, held) in &self.held {
            for holding in &held.holdings {
                jobs.entry(Arc::clone(&holding.job)).or_default().push(*hash);
            }
        }
        jobs
    }

    /// Whether released targets are still served.
    pub(crate) fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// Forgets released targets that Prometheus no longer lists, or whose time is over. `None` means
    /// that Prometheus could not be asked.
    pub(crate) fn forget_released(&mut self, listed: Option<&dyn Fn(TargetHash) -> bool>, now: Timestamp) {
        self.released.retain(|hash, released| {
            let fresh = released.age(now) < RELEASE_MINIMUM;
            !released.expired(now) && (fresh || listed.is_none_or(|listed| listed(*hash)))
        });
    }
}

impl Released {
    fn expired(&self, now: Timestamp) -> bool {
        self.age(now) >= RELEASE_GRACE
    }

    /// Where the clock was set back, by as much: it must not be served until the clock is there again.
    fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.since).abs()
    }
}

fn hold(known: Option<Held>, target: &AssignedTarget, holding: Holding) -> Held {
    let state = target.state();
    match known {
        Some(mut held) => {
            if held.status.state == TargetState::Normal && state == TargetState::InTransfer {
                held.status.scrape_times = 0;
            }
            held.status.state = state;
            held.holdings = vec![holding];
            held
        }
        None => Held {
            holdings: vec![holding],
            status: ScrapeStatus { count: target.count(), state, ..ScrapeStatus::default() },
            recent: VecDeque::new(),
            last_success: None,
            over_limit: false,
        },
    }
}

fn without_empty_jobs(mut list: TargetList) -> TargetList {
    list.retain(|_, targets| !targets.is_empty());
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn target(hash: u64, state: TargetState) -> AssignedTarget {
        let labels = Labels::from([("__address__", "h:1"), ("__invalid_label_9lives", "cat")]);
        AssignedTarget::new(TargetHash(hash), &labels, SeriesCount { series: 3, total: 4 }, state)
    }

    fn list(jobs: &[(&str, &[u64])]) -> TargetList {
        let normal = |hashes: &[u64]| hashes.iter().map(|hash| target(*hash, TargetState::Normal)).collect();
        jobs.iter().map(|(job, hashes)| ((*job).to_owned(), normal(hashes))).collect()
    }

    fn scrape(second: i64, outcome: Outcome) -> Scrape {
        Scrape { start: at(second), duration: Duration::from_millis(20), outcome }
    }

    fn up(series: u64) -> Outcome {
        Outcome::Up(SeriesCount { series, total: series + 1 })
    }

    #[test]
    fn new_targets_start_with_the_sizes_they_come_with() {
        let mut targets = Targets::default();
        targets.replace(list(&[("j", &[1])]), at(0));
        let status = &targets.status_map()["1"];
        assert_eq!((status.health.as_str(), status.series, status.total_series, status.scrape_times), ("unknown", 3, 4, 0));
        let Found::Target { labels, over_limit } = targets.find(TargetHash(1), "j", at(0)) else { panic!() };
        assert_eq!((labels.get("9lives"), over_limit), (Some("cat"), false));
        assert_eq!(targets.find(TargetHash(1), "k", at(0)), Found::OtherJob);
        assert_eq!(targets.find(TargetHash(2), "j", at(0)), Found::Unknown);
    }

    #[test]
    fn records_mean_of_three_and_keeps_sizes_on_failure() {
        let mut targets = Targets::default();
        targets.replace(list(&[("j", &[1])]), at(0));
        let mut change = None;
        for (second, series) in [(1, 10), (2, 20), (3, 30), (4, 40)] {
            change = targets.record(TargetHash(1), scrape(second, up(series)));
        }
        assert_eq!(change, None);
        let change = targets.record(TargetHash(1), scrape(5, Outcome::Down("50% broken".to_owned())));
        assert_eq!(change, Some(HealthChange { from: Health::Up, to: Health::Down }));
        let status = &targets.status_map()["1"];
        assert_eq!((status.series, status.total_series, status.scrape_times), (30, 41, 5));
        assert_eq!((status.health.as_str(), status.last_error.as_str(), status.last_scrape), ("down", "50% broken", Some(at(5))));
        assert_eq!(targets.samples()["j"], SeriesCount::default());
        assert_eq!(targets.record(TargetHash(9), scrape(5, up(1))), None);
    }

    #[test]
    fn a_replacement_keeps_records_and_resets_scrapes_when_a_transfer_begins() {
        let mut targets = Targets::default();
        targets.replace(list(&[("j", &[1, 2])]), at(0));
        targets.record(TargetHash(1), scrape(1, up(10)));
        targets.replace(list(&[("j", &[1, 3])]), at(2));
        assert_eq!(targets.status_map()["1"].scrape_times, 1);
        let transfer: TargetList = [("j".to_owned(), vec![target(1, TargetState::InTransfer)])].into();
        targets.replace(transfer.clone(), at(3));
        targets.record(TargetHash(1), scrape(4, up(10)));
        targets.replace(transfer, at(5));
        let status = &targets.status_map()["1"];
        assert_eq!((status.target_state.as_str(), status.scrape_times, status.series), ("in_transfer", 1, 10));
    }

    #[test]
    fn released_targets_are_served_until_unlisted_or_expired() {
        let listed = |hash: TargetHash| hash == TargetHash(1);
        for (listed, second, served) in [
            (Some(&listed as &dyn Fn(TargetHash) -> bool), 9, [true, true]),
            (Some(&listed), 29, [true, false]),
            (None, 29, [true, true]),
            (Some(&listed), 30, [false, false]),
            (None, 30, [false, false]),
        ] {
            let mut targets = Targets::default();
            targets.replace(list(&[("j", &[1, 2])]), at(-5));
            targets.replace(TargetList::new(), at(0));
            assert!(targets.has_released());
            assert!(targets.status_map().is_empty());
            targets.forget_released(listed, at(second));
            let found = [1, 2].map(|hash| targets.find(TargetHash(hash), "j", at(second)) != Found::Unknown);
            assert_eq!(found, served, "{second}");
            assert_eq!(targets.record(TargetHash(1), scrape(1, up(1))), None);
        }
    }

    #[test]
    fn a_released_target_expires_even_when_nobody_asks_prometheus() {
        let mut targets = Targets::default();
        targets.replace(list(&[("j", &[1])]), at(0));
        targets.replace(TargetList::new(), at(0));
        assert_eq!(targets.find(TargetHash(1), "j", at(31)), Found::Unknown);
        assert_eq!(targets.find(TargetHash(1), "j", at(-1000)), Found::Unknown, "the clock was set back");
    }

    #[test]
    fn idle_time() {
        let mut targets = Targets::restore(Stored::default(), at(0));
        assert_eq!(targets.idle_at(), Some(at(0)));
        targets.replace(list(&[("j", &[])]), at(5));
        assert_eq!(targets.idle_at(), Some(at(0)));
        targets.replace(list(&[("j", &[1])]), at(6));
        assert_eq!(targets.idle_at(), None);
        targets.replace(TargetList::new(), at(7));
        assert_eq!(targets.idle_at(), Some(at(7)));
        let stored = Stored { targets: TargetList::new(), idle_at: Some(at(-100)) };
        assert_eq!(Targets::restore(stored, at(0)).idle_at(), Some(at(-100)));
    }

    #[test]
    fn equality_ignores_jobs_without_targets() {
        let mut targets = Targets::default();
        assert!(targets.equals(&list(&[("j", &[])])));
        targets.replace(list(&[("a", &[1]), ("b", &[])]), at(0));
        assert!(targets.equals(&list(&[("a", &[1]), ("c", &[])])));
        for other in [list(&[]), list(&[("a", &[2])]), list(&[("a", &[1]), ("b", &[2])]), list(&[("b", &[1])])] {
            assert!(!targets.equals(&other));
        }
    }

    #[test]
    fn one_hash_in_two_jobs_has_one_status_and_counts_once() {
        let mut targets = Targets::default();
        targets.replace(list(&[("j", &[9, 9]), ("k", &[9])]), at(0));
        assert_eq!(targets.total(), SeriesCount { series: 3, total: 4 });
        assert_eq!(targets.len(), 1);
        targets.record(TargetHash(9), scrape(1, up(5)));
        let samples = targets.samples();
        assert_eq!((samples["j"].series, samples["k"].series), (5, 5));
        assert_eq!(targets.expected().values().map(Vec::len).sum::<usize>(), 2);
    }

    #[test]
    fn a_body_over_the_limit_is_remembered_until_it_fits() {
        let mut targets = Targets::default();
        targets.replace(list(&[("j", &[1])]), at(0));
        let over = |targets: &Targets| matches!(targets.find(TargetHash(1), "j", at(9)), Found::Target { over_limit: true, .. });
        targets.record(TargetHash(1), scrape(1, Outcome::OverLimit("x".to_owned())));
        assert!(over(&targets));
        targets.record(TargetHash(1), scrape(2, Outcome::Down("x".to_owned())));
        assert!(over(&targets));
        targets.record(TargetHash(1), scrape(3, Outcome::FitsAgain("x".to_owned())));
        assert!(!over(&targets));
        assert_eq!(targets.status_map()["1"].health, "down");
    }
}
