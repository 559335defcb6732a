//! What every target costs.

use std::collections::BTreeMap;

use kvass_model::{Health, SeriesCount, TargetHash};

use crate::{Access, Limits, Snapshot};

/// Best known size of every target that is active, held by a shard, or went a moment ago.
pub(crate) struct Sizes {
    known: BTreeMap<TargetHash, SeriesCount>,
    estimated: BTreeMap<TargetHash, SeriesCount>,
}

impl Sizes {
    pub(crate) fn of(snapshot: &Snapshot, limits: &Limits) -> Sizes {
        let mut known: BTreeMap<TargetHash, SeriesCount> =
            snapshot.departed.iter().map(|(hash, departed)| (*hash, departed.count)).collect();
        known.extend(snapshot.targets.iter().filter_map(|(hash, view)| Some((*hash, view.count?))));
        for shard in snapshot.shards.values().filter(|shard| shard.access != Access::Lost) {
            for (hash, status) in &shard.targets {
                let measured = snapshot.targets.get(hash).is_some_and(|view| view.count.is_some());
                // Without a scrape a shard only repeats the estimate it was sent. Targets that are not
                // active have nobody else to tell their size, and still weigh on a shard that keeps them.
                let scraped = status.health != Health::Unknown || !snapshot.targets.contains_key(hash);
                if !measured && scraped && status.count != SeriesCount::default() {
                    let largest = known.entry(*hash).or_default();
                    largest.series = largest.series.max(status.count.series);
                    largest.total = largest.total.max(status.count.total);
                }
            }
        }
        let estimated = estimate(snapshot, limits, &known);
        Sizes { known, estimated }
    }

    /// What the target is planned with: its size, else the median of its job, else nothing.
    pub(crate) fn count(&self, target: TargetHash) -> SeriesCount {
        self.known.get(&target).or_else(|| self.estimated.get(&target)).copied().unwrap_or_default()
    }

    /// Whether somebody measured it.
    pub(crate) fn is_known(&self, target: TargetHash) -> bool {
        self.known.contains_key(&target)
    }
}

/// The median of its job for each active target that nobody measured. Targets that exceed a limit by themselves are
/// no guide: a guess must never keep a target from being scraped at all.
fn estimate(
    snapshot: &Snapshot,
    limits: &Limits,
    known: &BTreeMap<TargetHash, SeriesCount>,
) -> BTreeMap<TargetHash, SeriesCount> {
    let mut jobs: BTreeMap<&str, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
    for (hash, view) in &snapshot.targets {
        if let Some(count) = known.get(hash).filter(|count| !limits.too_big(**count)) {
            let (series, total) = jobs.entry(&view.job).or_default();
            series.push(count.series);
            total.push(count.total);
        }
    }
    let medians: BTreeMap<&str, SeriesCount> = jobs
        .into_iter()
        .map(|(job, (series, total))| (job, SeriesCount { series: median(series), total: median(total) }))
        .collect();
    let unknown = snapshot.targets.iter().filter(|(hash, _)| !known.contains_key(hash));
    unknown.filter_map(|(hash, view)| Some((*hash, *medians.get(view.job.as_ref())?))).collect()
}

/// The upper median: between two guesses, the one that reserves more.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kvass_model::ScrapeStatus;

    use super::*;
    use crate::{ShardView, TargetView};

    fn view(job: &str, series: Option<u64>) -> TargetView {
        let count = series.map(|series| SeriesCount { series, total: series * 2 });
        TargetView { job: job.into(), count, attempted: true, interval: Duration::from_secs(15) }
    }

    #[test]
    fn unmeasured_targets_cost_the_median_of_their_job() {
        let views = [
            view("a", Some(10)),
            view("a", Some(1000)),
            view("a", Some(30)),
            view("a", None),
            view("b", Some(7)),
            view("c", None),
        ];
        let snapshot = Snapshot { targets: (0..).map(TargetHash).zip(views).collect(), ..Snapshot::default() };
        let sizes = Sizes::of(&snapshot, &Limits::default());
        assert_eq!(sizes.count(TargetHash(3)), SeriesCount { series: 30, total: 60 });
        assert!(!sizes.is_known(TargetHash(3)));
        assert_eq!(sizes.count(TargetHash(5)), SeriesCount::default());
        assert_eq!(sizes.count(TargetHash(4)).series, 7);
        // Only sizes within the limit are an example.
        for (max_series, estimate) in [(999, 30), (29, 10), (9, 0)] {
            let limits = Limits { max_series: Some(max_series), ..Limits::default() };
            assert_eq!(Sizes::of(&snapshot, &limits).count(TargetHash(3)).series, estimate);
        }
    }

    #[test]
    fn a_shard_tells_the_size_only_after_a_scrape() {
        let status = |health| ScrapeStatus { health, count: SeriesCount { series: 50, total: 60 }, ..ScrapeStatus::default() };
        for (health, known) in [(Health::Unknown, false), (Health::Up, true), (Health::Down, true)] {
            let shard = ShardView { targets: [(TargetHash(1), status(health))].into(), ..ShardView::default() };
            let snapshot = Snapshot {
                targets: [(TargetHash(1), view("a", None))].into(),
                shards: [(0, shard)].into(),
                ..Snapshot::default()
            };
            assert_eq!(Sizes::of(&snapshot, &Limits::default()).is_known(TargetHash(1)), known, "{health}");
        }
    }
}
