use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::gaps::{Window, holes, missing, surplus};

/// When a target could be scraped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lived {
    /// It was ready for the first time.
    pub(crate) from: i64,
    /// It was asked to end, or died; `None` while it lives.
    pub(crate) until: Option<i64>,
}

impl Lived {
    /// Whether it came in the window. Kubernetes cuts times to whole seconds: one of the second in which the window begins
    /// may be from after it.
    fn is_new(&self, window: Window) -> bool {
        self.from > window.from - 1000
    }
}

/// A scrape as the target saw it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scrape {
    /// When it came.
    pub(crate) at: i64,
    /// The replica (StatefulSet) of the shard that scraped.
    pub(crate) replica: String,
}

/// All that is known of the scrapes of some targets by one system: the shards together, or the control.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observations {
    /// Target to the timestamps of its stored `up` samples, of all shards, without deduplication.
    pub(crate) stored: BTreeMap<String, BTreeSet<i64>>,
    /// Those of them that are 0.
    pub(crate) down: BTreeMap<String, BTreeSet<i64>>,
    /// Target to its own record.
    pub(crate) scrapes: BTreeMap<String, BTreeSet<Scrape>>,
    /// Target to when its record was last read: nothing is known of what came after.
    pub(crate) read: BTreeMap<String, i64>,
    /// Target to the steps at which the default query had a value while the story ran.
    pub(crate) visible: BTreeMap<String, BTreeSet<i64>>,
    /// The same, asked for when all was over.
    pub(crate) visible_afterwards: BTreeMap<String, BTreeSet<i64>>,
}

/// Sums over all targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Figures {
    /// Targets that lived in the window.
    pub(crate) targets: u64,
    /// Intervals of which no shard has a sample.
    pub(crate) missing: u64,
    /// Steps at which the default query shows nothing, while it happens.
    pub(crate) visible: u64,
    /// Steps at which it showed something, and does no more: history that went with a pod.
    pub(crate) lost: u64,
    /// Intervals in which nobody scraped.
    pub(crate) unscraped: u64,
    /// Scrapes beyond one for each interval and replica.
    pub(crate) doubled: u64,
    /// Samples that say `up == 0` of a target that lived.
    pub(crate) down: u64,
    /// Milliseconds from ready to the first scrape, of the slowest new target.
    pub(crate) slowest_first_scrape: Option<i64>,
}

/// Judges a window. Targets that were there before count from its beginning, new ones from their first scrape:
/// how long they waited for that is a figure of its own.
pub(crate) fn figures(window: Window, interval: i64, targets: &BTreeMap<String, Lived>, seen: &Observations) -> Figures {
    let mut sum = Figures::default();
    let empty_steps = BTreeSet::new();
    for (target, lived) in targets {
        let Some(alive) = window.meet(Window { from: lived.from, until: lived.until.unwrap_or(i64::MAX) }) else { continue };
        sum.targets += 1;
        let stored = times(seen.stored.get(target));
        let empty = BTreeSet::new();
        let scrapes = seen.scrapes.get(target).unwrap_or(&empty);
        let scraped: Vec<i64> = scrapes.iter().map(|scrape| scrape.at).collect();
        let new = lived.is_new(window);
        if new && let Some(first) = scraped.iter().find(|at| **at >= lived.from) {
            let waited = first - lived.from;
            sum.slowest_first_scrape = Some(sum.slowest_first_scrape.map_or(waited, |slowest| slowest.max(waited)));
        }
        let queried = counted(alive, new, &stored);
        sum.missing += missing(&stored, queried, interval);
        let mut recorded = counted(alive, new, &scraped);
        if lived.until.is_some() {
            recorded.until = seen.read.get(target).map_or(recorded.until, |read| recorded.until.min(*read));
        }
        sum.unscraped += missing(&scraped, recorded, interval);
        let holes_in =
            |steps: &BTreeMap<String, BTreeSet<i64>>| holes(steps.get(target).unwrap_or(&empty_steps), queried, interval);
        let (during, afterwards) = (holes_in(&seen.visible), holes_in(&seen.visible_afterwards));
        sum.visible += during.len() as u64;
        sum.lost += afterwards.iter().filter(|step| !during.contains(step)).count() as u64;
        let replicas: BTreeSet<&str> = scrapes.iter().map(|scrape| scrape.replica.as_str()).collect();
        for replica in replicas {
            let own: Vec<i64> = scrapes.iter().filter(|scrape| scrape.replica == replica).map(|scrape| scrape.at).collect();
            sum.doubled += surplus(&own, alive, interval);
        }
        let down = times(seen.down.get(target));
        sum.down += u64::try_from(down.iter().filter(|at| alive.from <= **at && **at < alive.until).count()).unwrap_or(u64::MAX);
    }
    sum
}

/// What is wrong with which target, for whoever wants to know why: each hole in what users see, with the time since
/// the sample before it and until the one after it.
pub(crate) fn remarks(window: Window, interval: i64, targets: &BTreeMap<String, Lived>, seen: &Observations) -> Vec<String> {
    let mut remarks = vec![];
    for (target, lived) in targets {
        let Some(alive) = window.meet(Window { from: lived.from, until: lived.until.unwrap_or(i64::MAX) }) else { continue };
        let stored = times(seen.stored.get(target));
        let queried = counted(alive, lived.is_new(window), &stored);
        for hole in holes(seen.visible.get(target).unwrap_or(&BTreeSet::new()), queried, interval) {
            let before = stored.iter().rfind(|at| **at <= hole).map(|at| hole - at);
            let after = stored.iter().find(|at| **at > hole).map(|at| at - hole);
            remarks.push(format!(
                "{target}: nothing to see {} ms after the beginning; last sample {before:?} ms before, next {after:?} ms after",
                hole - window.from
            ));
        }
    }
    remarks
}

/// What counts of the time a target lived: from its first timestamp on, if it is new.
fn counted(alive: Window, new: bool, times: &[i64]) -> Window {
    match times.iter().find(|time| **time >= alive.from) {
        Some(first) if new => Window { from: *first, ..alive },
        _ => alive,
    }
}

fn times(set: Option<&BTreeSet<i64>>) -> Vec<i64> {
    set.into_iter().flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { from: 1000, until: 2000 };
    /// Before the second in which the window begins.
    const EARLIER: i64 = -1000;

    fn one(
        stored: impl IntoIterator<Item = i64>,
        scraped: impl IntoIterator<Item = (i64, &'static str)>,
        visible: impl IntoIterator<Item = i64>,
    ) -> Observations {
        let scrapes = scraped.into_iter().map(|(at, replica)| Scrape { at, replica: replica.to_owned() }).collect();
        Observations {
            stored: BTreeMap::from([("a".to_owned(), stored.into_iter().collect())]),
            scrapes: BTreeMap::from([("a".to_owned(), scrapes)]),
            visible: BTreeMap::from([("a".to_owned(), visible.into_iter().collect())]),
            visible_afterwards: BTreeMap::from([("a".to_owned(), every_100(1000, 2000).collect())]),
            ..Observations::default()
        }
    }

    fn every_100(from: i64, until: i64) -> impl Iterator<Item = i64> {
        (from..=until).step_by(100)
    }

    fn lived(from: i64, until: Option<i64>) -> BTreeMap<String, Lived> {
        BTreeMap::from([("a".to_owned(), Lived { from, until })])
    }

    #[test]
    fn lost_history_is_not_a_missed_scrape() {
        let scraped = every_100(950, 2000).map(|at| (at, "rep-0"));
        let stored = every_100(950, 1200).chain(every_100(1650, 2000));
        let seen = one(stored, scraped, every_100(1000, 2000));
        let figures = figures(WINDOW, 100, &lived(EARLIER, None), &seen);
        assert_eq!(figures, Figures { targets: 1, missing: 4, ..Figures::default() });
    }

    #[test]
    fn only_what_lived_counts() {
        let seen = one(every_100(1350, 1600), every_100(1350, 1600).map(|at| (at, "rep-0")), every_100(1400, 1600));
        let new = figures(WINDOW, 100, &lived(1200, Some(1620)), &seen);
        assert_eq!(new, Figures { targets: 1, slowest_first_scrape: Some(150), ..Figures::default() });
        let at_once = figures(WINDOW, 100, &lived(900, Some(1620)), &seen);
        assert_eq!((at_once.missing, at_once.unscraped, at_once.visible), (0, 0, 0));
        let died_late = figures(WINDOW, 100, &lived(1200, Some(1900)), &seen);
        assert_eq!((died_late.missing, died_late.unscraped, died_late.visible), (3, 3, 3));
        let unread = Observations { read: BTreeMap::from([("a".to_owned(), 1650)]), ..seen.clone() };
        assert_eq!(figures(WINDOW, 100, &lived(1200, Some(1900)), &unread).unscraped, 0);
        assert_eq!(figures(WINDOW, 100, &lived(EARLIER, Some(900)), &seen), Figures::default());
    }

    #[test]
    fn replicas_do_not_double_each_other() {
        let both = every_100(1000, 2000).map(|at| (at, "rep-0")).chain(every_100(1030, 2000).map(|at| (at, "rep-1")));
        let seen = one(every_100(1000, 2000), both.collect::<Vec<_>>(), every_100(1000, 2000));
        assert_eq!(figures(WINDOW, 100, &lived(EARLIER, None), &seen).doubled, 0);
        let same = every_100(1000, 2000).map(|at| (at, "rep-0")).chain(every_100(1230, 1440).map(|at| (at, "rep-0")));
        let seen = one(every_100(1000, 2000), same.collect::<Vec<_>>(), every_100(1000, 2000));
        assert_eq!(figures(WINDOW, 100, &lived(EARLIER, None), &seen).doubled, 3);
    }

    #[test]
    fn a_target_nobody_knows_is_missing_all_along() {
        let figures = figures(WINDOW, 100, &lived(EARLIER, None), &Observations::default());
        assert_eq!((figures.missing, figures.unscraped, figures.visible), (9, 9, 11));
    }
}
