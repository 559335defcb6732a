//! Where a discoverer puts what it found.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kvass_model::TargetGroup;
use tokio::{sync::Notify, time::Instant};

use crate::loss::{self, CONFIRM_AFTER, Held, LEAST_LOST, LONGEST_HOLD, MaxLoss, Read, held_after};

/// Groups by source.
type Groups = BTreeMap<String, Arc<TargetGroup>>;

/// The current groups of one discoverer, shared by all jobs with an equal section.
#[derive(Debug)]
pub(crate) struct Feed {
    state: Mutex<FeedState>,
    changed: Arc<Notify>,
    max_loss: Option<MaxLoss>,
}

/// What a discoverer has to say at present.
#[derive(Debug)]
pub(crate) struct FeedState {
    /// What was read last, by source; none is without targets.
    pub(crate) groups: Groups,
    /// What was missing in that, and stays in force nevertheless.
    pub(crate) held: Option<Held>,
    /// Whether the discoverer ever knew all its groups.
    pub(crate) delivered: bool,
    /// What is wrong at present, for operators.
    pub(crate) errors: Vec<String>,
    /// The section, for operators.
    pub(crate) name: String,
    confirm_after: Duration,
}

impl FeedState {
    /// The groups in force.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = &Arc<TargetGroup>> {
        self.groups.values().chain(self.held.iter().flat_map(|held| held.groups.values()))
    }
}

impl Feed {
    /// Nothing is known yet; `changed` is notified whenever that changes.
    #[cfg(test)]
    pub(crate) fn new(changed: Arc<Notify>) -> Arc<Self> {
        Self::with_max_loss(changed, None)
    }

    /// Nothing is known yet; `changed` is notified whenever that changes. Where one read loses more than `max_loss` of the
    /// targets, they are held for a further one.
    pub(crate) fn with_max_loss(changed: Arc<Notify>, max_loss: Option<MaxLoss>) -> Arc<Self> {
        let state = FeedState {
            groups: BTreeMap::new(),
            held: None,
            delivered: false,
            errors: Vec::new(),
            name: String::new(),
            confirm_after: CONFIRM_AFTER,
        };
        Arc::new(Feed { state: Mutex::new(state), changed, max_loss })
    }

    /// How the section is called in logs and for operators; without secrets.
    pub(crate) fn set_name(&self, name: &str) {
        name.clone_into(&mut self.lock().name);
    }

    /// Says how long after a read another one sees the service anew.
    pub(crate) fn set_confirm_after(&self, pause: Duration) {
        self.lock().confirm_after = pause.min(LONGEST_HOLD);
    }

    /// Replaces all groups; those that stay equal keep their [`Arc`].
    pub(crate) fn replace(&self, groups: impl IntoIterator<Item = TargetGroup>) {
        self.replace_but(&BTreeSet::new(), groups, true);
    }

    /// As [`Feed::replace`], but the groups of `kept` sources stay. `complete` says whether every source has been
    /// known by now.
    pub(crate) fn replace_but(&self, kept: &BTreeSet<&str>, groups: impl IntoIterator<Item = TargetGroup>, complete: bool) {
        self.edit(|state| {
            let before = std::mem::take(&mut state.groups);
            for source in kept {
                state.groups.extend(before.get_key_value(*source).map(|(source, group)| (source.clone(), Arc::clone(group))));
            }
            for group in groups.into_iter().filter(|group| !group.targets.is_empty()) {
                let unchanged = before.get(&group.source).filter(|old| ***old == group).cloned();
                state.groups.insert(group.source.clone(), unchanged.unwrap_or_else(|| Arc::new(group)));
            }
            state.delivered |= complete;
            let read = Read::Full { confirm_after: state.confirm_after };
            self.judge(state, &before, &|_| targets(&before), read);
            !same(&before, &state.groups)
        });
    }

    /// Replaces some groups, by source; `None` and groups without targets go away. `complete` says whether every source has
    /// been known by now.
    pub(crate) fn update_part(&self, changes: impl IntoIterator<Item = (String, Option<Arc<TargetGroup>>)>, complete: bool) {
        self.edit(|state| {
            let mut before = Groups::new();
            let (mut changed, mut came) = (false, 0);
            for (source, group) in changes {
                let group = group.filter(|group| !group.targets.is_empty());
                if state.groups.get(&source) == group.as_ref() {
                    continue;
                }
                changed = true;
                let old = match group {
                    Some(group) => {
                        came += group.targets.len();
                        state.groups.insert(source.clone(), group)
                    }
                    None => state.groups.remove(&source),
                };
                if let Some(old) = old {
                    before.entry(source).or_insert(old);
                }
            }
            state.delivered |= complete;
            let of = |now: &Groups| (targets(now) + targets(&before)).saturating_sub(came);
            self.judge(state, &before, &of, Read::Change);
            changed
        });
    }

    /// What is held is gone: everything was read anew and it is missing still.
    pub(crate) fn confirm(&self) {
        self.edit(|state| {
            self.judge(state, &Groups::new(), &|_| 0, Read::Full { confirm_after: Duration::ZERO });
            false
        });
    }

    /// Whether targets are in force that were missing when last read: a further read is wanted.
    pub(crate) fn holds(&self) -> bool {
        self.lock().held.is_some()
    }

    /// Says what is wrong at present; the groups stay in force.
    pub(crate) fn set_errors(&self, errors: Vec<String>) {
        let mut state = self.lock();
        if state.errors != errors {
            state.errors = errors;
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Whether all groups were ever known.
    pub(crate) fn delivered(&self) -> bool {
        self.lock().delivered
    }

    /// The present state.
    pub(crate) fn lock(&self) -> MutexGuard<'_, FeedState> {
        lock(&self.state)
    }

    /// `before` are those of the groups before the read that may have lost targets. `of` counts the targets of all groups
    /// before the read, by those of now; that is not for nothing, and seldom needed.
    fn judge(&self, state: &mut FeedState, before: &Groups, of: &dyn Fn(&Groups) -> usize, read: Read) {
        if self.max_loss.is_none() || state.held.is_none() && targets(before) < LEAST_LOST {
            return;
        }
        let of = of(&state.groups);
        let found: HashSet<&str> =
            state.groups.values().flat_map(|group| &group.targets).map(|target| target.address()).collect();
        let is_found = |address: &str| found.contains(address);
        let lost = loss::without(before, &is_found);
        let held = state.held.take();
        let ended = held.as_ref().map(|held| !loss::without(&held.groups, &is_found).is_empty());
        let next = held_after(held.clone(), (lost, of), &is_found, self.max_loss, read, Instant::now().into_std());
        let section = &state.name;
        match (&held, &next) {
            (Some(before), Some(now)) if before.since == now.since => {}
            (_, Some(now)) => tracing::warn!(
                section,
                missing = now.targets(),
                of = now.of,
                "more targets are missing than --discovery.max-loss, they stay until a further read"
            ),
            (Some(before), None) if ended == Some(true) => {
                tracing::warn!(
                    section,
                    missing = before.targets(),
                    "missing targets are given up, a further read has confirmed it"
                );
            }
            (Some(_), None) => tracing::info!(section, "missing targets are back"),
            (None, None) => {}
        }
        state.held = next;
    }

    /// `edit` tells whether groups changed.
    fn edit(&self, edit: impl FnOnce(&mut FeedState) -> bool) {
        let mut state = self.lock();
        let (delivered, held) = (state.delivered, state.held.clone());
        if edit(&mut state) || state.delivered != delivered || state.held != held {
            drop(state);
            self.changed.notify_one();
        }
    }
}

fn targets(groups: &Groups) -> usize {
    groups.values().map(|group| group.targets.len()).sum()
}

fn same(a: &Groups, b: &Groups) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((a, x), (b, y))| a == b && Arc::ptr_eq(x, y))
}

/// Locks; a panic elsewhere leaves nothing half-done in what our locks guard.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use kvass_model::Labels;

    use super::*;

    fn group(source: &str, numbers: std::ops::Range<usize>) -> TargetGroup {
        let targets = numbers.map(|n| Labels::from([("__address__", format!("t:{n}"))])).collect();
        TargetGroup { source: source.to_owned(), targets, labels: Labels::from([("g", source)]) }
    }

    fn feed(percent: u8) -> Arc<Feed> {
        Feed::with_max_loss(Arc::default(), MaxLoss::percent(percent))
    }

    /// Targets read last, and those held.
    fn seen(feed: &Feed) -> (usize, usize) {
        let state = feed.lock();
        let all: usize = state.in_force().map(|group| group.targets.len()).sum();
        let held = state.held.as_ref().map_or(0, Held::targets);
        (all - held, held)
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_lost_too_much_waits_for_a_further_one() {
        let feed = feed(50);
        feed.replace([group("a", 0..40), group("b", 40..60)]);
        feed.replace([group("a", 0..30)]);
        assert_eq!(seen(&feed), (30, 0), "half is not more than half");
        feed.replace([group("a", 0..5), group("new", 90..92)]);
        assert_eq!(seen(&feed), (7, 25), "what is new is there at once");
        let labels: Vec<Labels> = feed.lock().in_force().map(|group| group.labels.clone()).collect();
        assert_eq!(labels.len(), 3);
        feed.replace([group("a", 0..5)]);
        assert_eq!(seen(&feed), (5, 27), "a read right after is no further one, and what it lacks is held too");
        tokio::time::advance(CONFIRM_AFTER).await;
        feed.replace([group("a", 0..6)]);
        assert_eq!(seen(&feed), (6, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_back_was_never_away() {
        let feed = feed(10);
        feed.replace([group("a", 0..100)]);
        feed.replace([]);
        assert_eq!(seen(&feed), (0, 100));
        feed.replace([group("a", 0..95)]);
        assert_eq!(seen(&feed), (95, 5));
        tokio::time::advance(CONFIRM_AFTER).await;
        // Loses what was held, and too much besides.
        feed.replace([group("a", 0..10)]);
        assert_eq!(seen(&feed), (10, 85), "each target has its further read");
        tokio::time::advance(CONFIRM_AFTER).await;
        feed.replace([group("a", 0..10)]);
        assert_eq!(seen(&feed), (10, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn changes_wait_until_a_list_confirms() {
        let feed = feed(10);
        let change = |feed: &Feed, source: &str, numbers| {
            feed.update_part([(source.to_owned(), Some(Arc::new(group(source, numbers))))], true)
        };
        (0..5).for_each(|n| change(&feed, &n.to_string(), n * 10..n * 10 + 10));
        feed.update_part([("0".to_owned(), None)], true);
        assert_eq!(seen(&feed), (40, 10));
        tokio::time::advance(LONGEST_HOLD * 5).await;
        change(&feed, "7", 70..71);
        feed.update_part([("7".to_owned(), None)], true);
        assert_eq!(seen(&feed), (40, 11));
        assert!(feed.holds());
        change(&feed, "moved", 0..9);
        assert_eq!(seen(&feed), (49, 2));
        feed.confirm();
        assert_eq!(seen(&feed), (49, 0));
        assert!(!feed.holds());
    }

    #[tokio::test]
    async fn a_change_is_measured_by_what_there_was() {
        let feed = feed(10);
        feed.replace([group("a", 0..20), group("b", 20..40), group("c", 40..50)]);
        let change = |source: &str, group: Option<TargetGroup>| (source.to_owned(), group.map(Arc::new));
        let (b, new) = (group("b", 20..25), group("new", 100..200));
        feed.update_part([change("a", None), change("b", Some(b)), change("new", Some(new))], true);
        assert_eq!((seen(&feed), feed.lock().held.as_ref().map(|held| held.of)), ((115, 35), Some(50)));
    }

    #[test]
    fn without_a_limit_nothing_is_held() {
        let feed = Feed::new(Arc::default());
        feed.replace([group("a", 0..100)]);
        feed.replace([]);
        assert_eq!(seen(&feed), (0, 0));
    }

    #[tokio::test]
    async fn only_news_is_told() {
        let changed = Arc::new(Notify::new());
        let feed = Feed::new(Arc::clone(&changed));
        let told = async || tokio::time::timeout(Duration::from_millis(20), changed.notified()).await.is_ok();
        feed.replace([]);
        assert!(told().await, "even nothing is news once");
        feed.replace([group("a", 0..1)]);
        assert!(told().await);
        feed.replace([group("a", 0..1)]);
        assert!(!told().await);
        let change = |source: &str, group: Option<TargetGroup>| {
            feed.update_part([(source.to_owned(), group.map(Arc::new))], true);
        };
        change("b", Some(group("b", 0..1)));
        assert!(told().await);
        let known = Arc::clone(&feed.lock().groups["b"]);
        // As of a pod without an address, and of one of which nothing has changed that is shown.
        change("c", None);
        change("c", Some(group("c", 0..0)));
        change("b", Some(group("b", 0..1)));
        assert!(!told().await);
        assert!(Arc::ptr_eq(&known, &feed.lock().groups["b"]));
        change("b", None);
        assert!(told().await);
    }
}
