//! Whether Prometheus really sees the targets it was given. Pure; the time is passed in.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kvass_model::TargetHash;
use tokio::time::Instant;

/// Prometheus needs up to ten seconds (two batches of five) from a file to a scrape pool.
const PATIENCE: Duration = Duration::from_secs(30);

/// Since when each job has targets of which Prometheus lists none.
#[derive(Debug, Default)]
pub(crate) struct Visibility {
    unseen_since: BTreeMap<Arc<str>, Instant>,
}

/// What a look at Prometheus' list says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Sight {
    /// Jobs none of whose targets appeared within the patience.
    pub(crate) unseen_jobs: Vec<Arc<str>>,
    /// Targets not listed, of any job.
    pub(crate) unseen_targets: usize,
}

impl Visibility {
    /// Compares what Prometheus was given with what it lists.
    pub(crate) fn observe(
        &mut self,
        expected: &BTreeMap<Arc<str>, Vec<TargetHash>>,
        listed: &HashSet<TargetHash>,
        now: Instant,
    ) -> Sight {
        let mut sight = Sight::default();
        let mut unseen_since = BTreeMap::new();
        for (job, hashes) in expected {
            let unseen = hashes.iter().filter(|hash| !listed.contains(hash)).count();
            sight.unseen_targets += unseen;
            if unseen < hashes.len() {
                continue;
            }
            let since = self.unseen_since.get(job).copied().unwrap_or(now);
            if now.duration_since(since) >= PATIENCE {
                sight.unseen_jobs.push(Arc::clone(job));
            }
            unseen_since.insert(Arc::clone(job), since);
        }
        self.unseen_since = unseen_since;
        sight
    }

    /// Starts the patience anew, after the form of delivery changed.
    pub(crate) fn reset(&mut self) {
        self.unseen_since.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_unseen_once_the_patience_is_over() {
        let start = Instant::now();
        let hashes = |hashes: &[u64]| hashes.iter().copied().map(TargetHash).collect::<Vec<_>>();
        let expected = BTreeMap::from([("a".into(), hashes(&[1, 2])), ("b".into(), hashes(&[3]))]);
        let mut visibility = Visibility::default();
        let mut look = |listed: &[u64], second: u64| {
            let listed = hashes(listed).into_iter().collect();
            let sight = visibility.observe(&expected, &listed, start + Duration::from_secs(second));
            (sight.unseen_jobs.iter().map(|job| job.to_string()).collect::<Vec<_>>(), sight.unseen_targets)
        };
        assert_eq!(look(&[], 0), (vec![], 3));
        assert_eq!(look(&[1], 10), (vec![], 2));
        assert_eq!(look(&[], 29), (vec![], 3));
        assert_eq!(look(&[], 30), (vec!["b".to_owned()], 3));
        assert_eq!(look(&[3], 59), (vec!["a".to_owned()], 2));
        assert_eq!(look(&[1, 2, 3], 60), (vec![], 0));
        assert_eq!(look(&[1, 2], 90), (vec![], 1));
    }
}
