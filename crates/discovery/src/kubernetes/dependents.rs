//! Which groups were made with the help of which other objects.

use std::collections::{BTreeSet, HashMap};

/// A kind of objects that groups of other kinds are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Pod,
    Service,
    Node,
    Namespace,
    ReplicaSet,
    Job,
}

/// An object that was asked for, whether it was there or not: its kind and key.
pub(crate) type Reference = (Kind, String);

/// Groups by the objects that were asked for when they were made, and the other way round.
#[derive(Debug, Default)]
pub(crate) struct Dependents {
    groups: HashMap<Reference, BTreeSet<String>>,
    references: HashMap<String, BTreeSet<Reference>>,
}

impl Dependents {
    /// Says what the group was made with this time; nothing where there is no group.
    pub(crate) fn set(&mut self, group: &str, references: BTreeSet<Reference>) {
        let before = self.references.remove(group).unwrap_or_default();
        for reference in before.difference(&references) {
            if let Some(groups) = self.groups.get_mut(reference) {
                groups.remove(group);
                if groups.is_empty() {
                    self.groups.remove(reference);
                }
            }
        }
        for reference in references.difference(&before) {
            self.groups.entry(reference.clone()).or_default().insert(group.to_owned());
        }
        if !references.is_empty() {
            self.references.insert(group.to_owned(), references);
        }
    }

    /// The groups that were made with that object, or without it because it was not there.
    pub(crate) fn of(&self, reference: &Reference) -> impl Iterator<Item = &String> {
        self.groups.get(reference).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_follow_what_they_were_made_with() {
        let pod = |name: &str| (Kind::Pod, name.to_owned());
        let service = (Kind::Service, "a".to_owned());
        let mut dependents = Dependents::default();
        dependents.set("one", [pod("a"), pod("b")].into());
        dependents.set("two", [pod("b"), service.clone()].into());
        let of = |dependents: &Dependents, reference: &Reference| dependents.of(reference).cloned().collect::<Vec<_>>();
        assert_eq!(of(&dependents, &pod("a")), ["one"]);
        assert_eq!(of(&dependents, &pod("b")), ["one", "two"]);
        assert_eq!(of(&dependents, &service), ["two"], "a service is not a pod of the same name");
        dependents.set("one", [pod("c")].into());
        assert_eq!(of(&dependents, &pod("b")), ["two"]);
        assert_eq!(of(&dependents, &pod("c")), ["one"]);
        for group in ["one", "two"] {
            dependents.set(group, BTreeSet::new());
        }
        assert!(dependents.groups.is_empty() && dependents.references.is_empty(), "{dependents:?}");
    }
}
