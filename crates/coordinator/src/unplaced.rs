//! When to tell people about targets that cannot be placed: once, and again when it is another set of targets, but
//! not more often than every ten minutes. The API and the metrics show the present state at any time.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use kvass_model::TargetHash;
use kvass_plan::UnassignedReason;

use crate::{catalog::Catalog, memory::elapsed};

/// Least time between two announcements about one replica.
const QUIET: Duration = Duration::from_secs(600);

/// What was told of one replica's targets without a shard.
#[derive(Debug, Default)]
pub(crate) struct Unplaced {
    told: BTreeMap<TargetHash, &'static str>,
    at: Option<Timestamp>,
}

impl Unplaced {
    /// What to tell now, if anything. Reasons that pass by themselves, such as a shard that is starting, are none.
    pub(crate) fn news(
        &mut self,
        unassigned: &BTreeMap<TargetHash, UnassignedReason>,
        catalog: &Catalog,
        now: Timestamp,
    ) -> Option<String> {
        let lasting: BTreeMap<TargetHash, &'static str> =
            unassigned.iter().filter(|(_, reason)| !reason.is_passing()).map(|(hash, reason)| (*hash, reason.kind())).collect();
        let (hash, reason) = unassigned.iter().find(|(hash, _)| lasting.contains_key(hash))?;
        // A time that is to come is one of a clock that was set back.
        let quiet = self.at.is_some_and(|at| at <= now && elapsed(at, now) < QUIET);
        if quiet || lasting == self.told {
            return None;
        }
        let target = catalog.targets.get(hash);
        let example = target.map_or_else(|| hash.to_string(), |target| format!("{} of job {}", target.place(), target.job));
        let number = lasting.len();
        let (targets, have) = if number == 1 { ("target", "has") } else { ("targets", "have") };
        self.told = lasting;
        self.at = Some(now);
        Some(format!("{number} {targets} {have} no shard, for example {example}: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use kvass_model::SeriesCount;
    use kvass_plan::Barrier;

    use super::*;

    #[test]
    fn told_once_and_again_when_it_is_another_set() {
        let (catalog, mut unplaced) = (Catalog::default(), Unplaced::default());
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let too_big =
            || UnassignedReason::TooBig { count: SeriesCount { series: 500, total: 500 }, barrier: Barrier::MaxShards(2) };
        let waiting = || UnassignedReason::AwaitingShard { count: SeriesCount::default() };
        let mut unassigned = BTreeMap::from([(TargetHash(1), waiting())]);
        assert_eq!(unplaced.news(&unassigned, &catalog, at(0)), None, "a shard is coming");

        unassigned.insert(TargetHash(2), too_big());
        let text = unplaced.news(&unassigned, &catalog, at(10)).unwrap();
        assert!(text.starts_with("1 target has no shard, for example 2: ") && text.contains("500 series"), "{text}");
        assert_eq!(unplaced.news(&unassigned, &catalog, at(10_000)), None, "nothing new");

        unassigned.insert(TargetHash(3), too_big());
        assert!(unplaced.news(&unassigned, &catalog, at(10_010)).unwrap().starts_with("2 targets have no shard"));
        unassigned.insert(TargetHash(4), too_big());
        assert_eq!(unplaced.news(&unassigned, &catalog, at(10_020)), None, "not so soon");
        assert!(unplaced.news(&unassigned, &catalog, at(10_610)).is_some());
        assert_eq!(unplaced.news(&BTreeMap::new(), &catalog, at(20_000)), None);
        unassigned.insert(TargetHash(5), too_big());
        assert!(unplaced.news(&unassigned, &catalog, at(500)).is_some(), "the clock was set back");
    }

    #[test]
    fn parameters_are_not_told() {
        let hash = TargetHash(1);
        let target = kvass_model::Target {
            hash,
            job: "j".into(),
            discovered: Default::default(),
            labels: Default::default(),
            url: "http://h/probe?key=secret".to_owned(),
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
        };
        let catalog = Catalog { targets: std::sync::Arc::new([(hash, target.into())].into()), ..Catalog::default() };
        let reason = UnassignedReason::TooBig { count: SeriesCount::default(), barrier: Barrier::MaxShards(2) };
        let text = Unplaced::default().news(&[(hash, reason)].into(), &catalog, Timestamp::UNIX_EPOCH).unwrap();
        assert!(text.contains("http://h/probe of job j") && !text.contains("secret"), "{text}");
    }
}
