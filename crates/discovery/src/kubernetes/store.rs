//! The objects of a watch, and who is told of their changes.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, Weak},
};

use tokio::sync::Notify;

use crate::feed::lock;

/// What is known from a watch, by object key. It stays while the server cannot be reached.
#[derive(Debug)]
pub(crate) struct Store<E>(Mutex<State<E>>);

#[derive(Debug)]
struct State<E> {
    objects: HashMap<String, Arc<E>>,
    synced: bool,
    error: Option<String>,
    /// How often everything was listed.
    lists: u64,
    subscribers: Vec<Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    changed: Weak<ChangedKeys>,
    wake: Arc<Notify>,
}

/// Collects the keys of changed objects until they are asked for.
#[derive(Debug, Default)]
pub(crate) struct ChangedKeys(Mutex<BTreeSet<String>>);

impl ChangedKeys {
    /// The keys collected since this was last asked.
    pub(crate) fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *lock(&self.0))
    }
}

impl<E> Default for Store<E> {
    fn default() -> Self {
        Store(Mutex::new(State { objects: HashMap::new(), synced: false, error: None, lists: 0, subscribers: Vec::new() }))
    }
}

impl<E: PartialEq> Store<E> {
    /// Collects changes from now on, beginning with all objects there are; `wake` is notified of each.
    pub(crate) fn subscribe(&self, wake: &Arc<Notify>) -> Arc<ChangedKeys> {
        let mut state = lock(&self.0);
        let changed = Arc::new(ChangedKeys(Mutex::new(state.objects.keys().cloned().collect())));
        state.subscribers.push(Subscriber { changed: Arc::downgrade(&changed), wake: Arc::clone(wake) });
        wake.notify_one();
        changed
    }

    /// Everything there is, after a list: what is missing was deleted unheard.
    pub(crate) fn replace(&self, objects: impl IntoIterator<Item = (String, E)>) {
        let mut state = lock(&self.0);
        let mut gone: BTreeSet<String> = state.objects.keys().cloned().collect();
        let mut changed = BTreeSet::new();
        for (key, entry) in objects {
            gone.remove(&key);
            if state.set(&key, entry) {
                changed.insert(key);
            }
        }
        for key in &gone {
            state.objects.remove(key);
        }
        changed.extend(gone);
        state.synced = true;
        state.lists += 1;
        state.error = None;
        state.notify(&changed);
    }

    /// How often everything was listed.
    pub(crate) fn lists(&self) -> u64 {
        lock(&self.0).lists
    }

    /// An object came or changed.
    pub(crate) fn apply(&self, key: String, entry: E) {
        let mut state = lock(&self.0);
        if state.set(&key, entry) {
            state.notify(&[key].into());
        }
    }

    /// An object went.
    pub(crate) fn delete(&self, key: String) {
        let mut state = lock(&self.0);
        if state.objects.remove(&key).is_some() {
            state.notify(&[key].into());
        }
    }

    /// Says what is wrong at present.
    pub(crate) fn set_error(&self, error: Option<String>) {
        let mut state = lock(&self.0);
        if state.error != error {
            state.error = error;
            state.notify(&BTreeSet::new());
        }
    }

    /// The object of that key, if it exists.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<E>> {
        lock(&self.0).objects.get(key).cloned()
    }

    /// The keys of all objects.
    pub(crate) fn keys(&self) -> Vec<String> {
        lock(&self.0).objects.keys().cloned().collect()
    }

    /// Whether all objects were ever listed.
    pub(crate) fn synced(&self) -> bool {
        lock(&self.0).synced
    }

    /// What is wrong at present.
    pub(crate) fn error(&self) -> Option<String> {
        lock(&self.0).error.clone()
    }
}

impl<E: PartialEq> State<E> {
    /// Whether this changed anything.
    fn set(&mut self, key: &str, entry: E) -> bool {
        let changed = self.objects.get(key).is_none_or(|old| **old != entry);
        if changed {
            self.objects.insert(key.to_owned(), Arc::new(entry));
        }
        changed
    }

    fn notify(&mut self, keys: &BTreeSet<String>) {
        self.subscribers.retain(|subscriber| {
            let Some(changed) = subscriber.changed.upgrade() else { return false };
            lock(&changed.0).extend(keys.iter().cloned());
            subscriber.wake.notify_one();
            true
        });
    }
}
