//! Where a discoverer puts what it found.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kvass_model::TargetGroup;
use tokio::sync::Notify;

/// The current groups of one discoverer, shared by all jobs with an equal section.
#[derive(Debug)]
pub(crate) struct Feed {
    state: Mutex<FeedState>,
    changed: Arc<Notify>,
}

/// What a discoverer has to say at present.
#[derive(Debug, Default)]
pub(crate) struct FeedState {
    /// By source; none is without targets.
    pub(crate) groups: BTreeMap<String, Arc<TargetGroup>>,
    /// Whether the discoverer ever knew all its groups.
    pub(crate) delivered: bool,
    /// What is wrong at present, for operators.
    pub(crate) errors: Vec<String>,
}

impl Feed {
    /// Nothing is known yet; `changed` is notified whenever that changes.
    pub(crate) fn new(changed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Feed { state: Mutex::default(), changed })
    }

    /// Replaces all groups; those that stay equal keep their [`Arc`].
    pub(crate) fn replace(&self, groups: impl IntoIterator<Item = TargetGroup>) {
        self.replace_but(&BTreeSet::new(), groups, true);
    }

    /// As [`Feed::replace`], but the groups of `kept` sources stay. `complete` says whether every source has been
    /// known by now.
    pub(crate) fn replace_but(&self, kept: &BTreeSet<&str>, groups: impl IntoIterator<Item = TargetGroup>, complete: bool) {
        self.edit(|state| {
            let mut before = std::mem::take(&mut state.groups);
            for source in kept {
                state.groups.extend(before.remove_entry(*source));
            }
            for group in groups {
                if group.targets.is_empty() {
                    continue;
                }
                let unchanged = before.remove(&group.source).filter(|old| **old == group);
                state.groups.insert(group.source.clone(), unchanged.unwrap_or_else(|| Arc::new(group)));
            }
            state.delivered |= complete;
        });
    }

    /// Replaces some groups, by source; `None` and groups without targets go away. `complete` says whether every source has
    /// been known by now.
    pub(crate) fn update_part(&self, changes: impl IntoIterator<Item = (String, Option<Arc<TargetGroup>>)>, complete: bool) {
        self.edit(|state| {
            for (source, group) in changes {
                match group.filter(|group| !group.targets.is_empty()) {
                    Some(group) => state.groups.insert(source, group),
                    None => state.groups.remove(&source),
                };
            }
            state.delivered |= complete;
        });
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

    fn edit(&self, edit: impl FnOnce(&mut FeedState)) {
        edit(&mut self.lock());
        self.changed.notify_one();
    }
}

/// Locks; a panic elsewhere leaves nothing half-done in what our locks guard.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
