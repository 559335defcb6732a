//! When a successful read is not believed at once, because too much is missing in it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kvass_model::TargetGroup;

/// Fewer lost targets are never worth a delay.
pub(crate) const LEAST_LOST: usize = 10;
/// How long a loss must have lasted before a further read confirms it, where the mechanism says nothing else: two reads
/// within a moment see the same mistake.
pub(crate) const CONFIRM_AFTER: Duration = Duration::from_secs(15);
/// No further read is waited for longer.
pub(crate) const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// Share of a section's targets, in percent, that one read may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLoss(u8);

impl MaxLoss {
    /// From 0 to 99: a share of 100 could never be exceeded.
    pub fn percent(percent: u8) -> Option<MaxLoss> {
        (percent < 100).then_some(MaxLoss(percent))
    }

    /// Whether losing that many targets of so many is too much.
    pub(crate) fn is_exceeded(self, lost: usize, of: usize) -> bool {
        lost >= LEAST_LOST && lost.saturating_mul(100) > of.saturating_mul(self.0.into())
    }
}

/// Targets that stay in force although they were missing when last read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// The missing targets, by source of the group they were in.
    pub(crate) groups: BTreeMap<String, Arc<TargetGroup>>,
    /// How many targets there were before any was missed.
    pub(crate) of: usize,
    /// When the first was missed.
    pub(crate) since: Instant,
}

impl Held {
    /// The number of targets held.
    pub(crate) fn targets(&self) -> usize {
        self.groups.values().map(|group| group.targets.len()).sum()
    }
}

/// What a read means for targets held before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Everything there is: what is missing in it, too, is gone if enough time has passed.
    Full {
        /// How long a loss must have lasted.
        confirm_after: Duration,
    },
    /// A change of some part: nothing is said of the rest.
    Change,
}

/// Decides what is held after a read. `lost` are the targets that were there at the last read and are not now, of `of`
/// there were; `found` tells whether an address is there now.
pub(crate) fn held_after(
    held: Option<Held>,
    (lost, of): (BTreeMap<String, Arc<TargetGroup>>, usize),
    found: &dyn Fn(&str) -> bool,
    limit: Option<MaxLoss>,
    read: Read,
    now: Instant,
) -> Option<Held> {
    let limit = limit?;
    let still = held.map(|held| Held { groups: without(&held.groups, found), ..held }).filter(|held| !held.groups.is_empty());
    let still = still.filter(|held| match read {
        Read::Full { confirm_after } => now.saturating_duration_since(held.since) < confirm_after,
        Read::Change => true,
    });
    let number: usize = lost.values().map(|group| group.targets.len()).sum();
    match still {
        // Whatever else goes meanwhile is part of the same trouble.
        Some(mut held) => {
            for (source, group) in lost {
                let merged = match held.groups.get(&source) {
                    Some(before) => Arc::new(merge(before, &group)),
                    None => group,
                };
                held.groups.insert(source, merged);
            }
            Some(held)
        }
        None if limit.is_exceeded(number, of) => Some(Held { groups: lost, of, since: now }),
        None => None,
    }
}

fn merge(before: &TargetGroup, more: &TargetGroup) -> TargetGroup {
    let known: HashSet<&str> = more.targets.iter().map(|target| target.address()).collect();
    let rest = before.targets.iter().filter(|target| !known.contains(target.address()));
    let targets = more.targets.iter().chain(rest).cloned().collect();
    TargetGroup { targets, ..more.clone() }
}

/// The groups without the targets for whose address `gone` holds; none is without targets.
pub(crate) fn without(
    groups: &BTreeMap<String, Arc<TargetGroup>>,
    gone: &dyn Fn(&str) -> bool,
) -> BTreeMap<String, Arc<TargetGroup>> {
    let rest = groups.iter().filter_map(|(source, group)| {
        let targets: Vec<_> = group.targets.iter().filter(|target| !gone(target.address())).cloned().collect();
        match targets.len() {
            0 => None,
            number if number == group.targets.len() => Some((source.clone(), Arc::clone(group))),
            _ => Some((source.clone(), Arc::new(TargetGroup { targets, ..TargetGroup::clone(group) }))),
        }
    });
    rest.collect()
}

#[cfg(test)]
mod tests {
    use kvass_model::Labels;

    use super::*;

    #[test]
    fn too_much() {
        assert_eq!((MaxLoss::percent(99), MaxLoss::percent(100)), (Some(MaxLoss(99)), None));
        for (percent, lost, of, exceeded) in [
            (0, 9, 9, false),
            (0, 10, 1000, true),
            (20, 20, 100, false),
            (20, 21, 100, true),
            (50, 10, 19, true),
            (99, 1000, 1000, true),
            (99, 989, 1000, false),
        ] {
            assert_eq!(MaxLoss(percent).is_exceeded(lost, of), exceeded, "{percent} % {lost}/{of}");
        }
    }

    fn groups(numbers: std::ops::Range<usize>) -> BTreeMap<String, Arc<TargetGroup>> {
        let targets = numbers.map(|n| Labels::from([("__address__", n.to_string())])).collect();
        let group = TargetGroup { source: "s".to_owned(), targets, labels: Labels::default() };
        [("s".to_owned(), Arc::new(group))].into()
    }

    #[test]
    fn a_further_read_decides_when_its_time_has_come() {
        let start = Instant::now();
        let limit = MaxLoss::percent(10);
        let full = Read::Full { confirm_after: Duration::from_secs(30) };
        let nothing = || (BTreeMap::new(), 0);
        let missing = |_: &str| false;
        let held = held_after(None, (groups(0..20), 100), &missing, limit, full, start).unwrap();
        assert_eq!((held.targets(), held.of, held.since), (20, 100, start));
        assert_eq!(held_after(None, (groups(0..20), 200), &missing, limit, full, start), None);
        assert_eq!(held_after(None, (groups(0..20), 100), &missing, None, full, start), None);
        for (seconds, read, stays) in [
            (29, full, true),
            (30, full, false),
            (600, Read::Change, true),
            (0, Read::Full { confirm_after: Duration::ZERO }, false),
        ] {
            let now = start + Duration::from_secs(seconds);
            let after = held_after(Some(held.clone()), nothing(), &missing, limit, read, now);
            assert_eq!(after.is_some(), stays, "{seconds} {read:?}");
        }
        let all_but_one = |address: &str| address != "7";
        let after = held_after(Some(held.clone()), nothing(), &all_but_one, limit, full, start).unwrap();
        assert_eq!((after.targets(), after.since), (1, start));
        assert_eq!(held_after(Some(held), nothing(), &|_| true, limit, Read::Change, start), None);
    }
}
