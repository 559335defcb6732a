//! Lists of label names, each in memory once: of a hundred thousand pods most have the same.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use crate::texts::Texts;

/// Fewer lists than this are never looked through for those that nobody has any more.
const FEW: usize = 1024;

#[derive(Default)]
struct Known {
    hasher: RandomState,
    lists: HashMap<u64, Vec<Weak<Texts>>>,
    /// How many lists there are, those that nobody has any more included.
    count: usize,
    /// At how many of them the next look is due.
    look_at: usize,
}

/// The one list that is equal to this one.
pub(crate) fn shared(names: Texts) -> Arc<Texts> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    // Nothing is ever half-done in it.
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).shared(names)
}

impl Known {
    fn shared(&mut self, names: Texts) -> Arc<Texts> {
        let alike = self.lists.entry(self.hasher.hash_one(&names)).or_default();
        if let Some(known) = alike.iter().filter_map(Weak::upgrade).find(|known| **known == names) {
            return known;
        }
        let names = Arc::new(names);
        alike.push(Arc::downgrade(&names));
        self.count += 1;
        if self.count > self.look_at.max(FEW) {
            self.forget();
        }
        names
    }

    /// Forgets the lists that nobody has any more.
    fn forget(&mut self) {
        self.lists.retain(|_, alike| {
            alike.retain(|list| list.strong_count() > 0);
            !alike.is_empty()
        });
        self.count = self.lists.values().map(Vec::len).sum();
        self.look_at = 2 * self.count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let mut known = Known::default();
        let list = |number: usize| Texts::of([number.to_string().as_str(), "b"].into_iter());
        let kept: Vec<Arc<Texts>> = (0..10).map(|number| known.shared(list(number))).collect();
        for number in 10..10 * FEW {
            known.shared(list(number));
        }
        assert!(known.count <= FEW + 1, "{}", known.count);
        for (number, list_of_old) in kept.iter().enumerate() {
            assert!(Arc::ptr_eq(list_of_old, &known.shared(list(number))));
        }
    }
}
