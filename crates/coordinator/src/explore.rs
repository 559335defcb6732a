//! Exploring: scraping a target once to learn its size before a shard is chosen for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kvass_model::{Health, PrometheusLine, ScrapeStatus, Target, TargetHash};
use kvass_scrape::{JobClient, measure};
use tokio::sync::{Notify, Semaphore};

use crate::metrics::CoordinatorMetrics;

/// A target that failed is tried again after this long, while it has no home.
const RETRY: Duration = Duration::from_secs(5);

/// Scrapes targets, a bounded number at a time, and remembers what came of it.
pub(crate) struct Explorer {
    table: Mutex<BTreeMap<TargetHash, Exploration>>,
    permits: Arc<Semaphore>,
    /// Told whenever a result is new.
    news: Arc<Notify>,
    metrics: CoordinatorMetrics,
}

#[derive(Debug, Default)]
struct Exploration {
    status: Option<ScrapeStatus>,
    in_flight: bool,
    last_attempt: Option<Instant>,
}

impl Explorer {
    pub(crate) fn new(concurrency: usize, news: Arc<Notify>, metrics: CoordinatorMetrics) -> Arc<Self> {
        Arc::new(Explorer { table: Mutex::default(), permits: Arc::new(Semaphore::new(concurrency.max(1))), news, metrics })
    }

    /// Explores a target unless that is under way, has succeeded, or has failed just now.
    pub(crate) fn explore(self: &Arc<Self>, target: &Arc<Target>, client: &Arc<JobClient>, line: PrometheusLine) {
        {
            let mut table = self.lock();
            let exploration = table.entry(target.hash).or_default();
            let succeeded = exploration.status.as_ref().is_some_and(|status| status.health == Health::Up);
            let too_soon = exploration.last_attempt.is_some_and(|at| at.elapsed() < RETRY);
            if exploration.in_flight || succeeded || too_soon {
                return;
            }
            exploration.in_flight = true;
        }
        let (explorer, target, client) = (Arc::clone(self), Arc::clone(target), Arc::clone(client));
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _permit = explorer.permits.acquire().await;
            if !explorer.lock().contains_key(&target.hash) {
                return;
            }
            let status = explorer.attempt(&target, &client, line).await;
            if let Some(exploration) = explorer.lock().get_mut(&target.hash) {
                *exploration = Exploration { status: Some(status), in_flight: false, last_attempt: Some(Instant::now()) };
            }
            explorer.news.notify_one();
        });
    }

    /// A target that could not even be tried, for example because its job's client cannot be built.
    pub(crate) fn fail(&self, hash: TargetHash, error: String) {
        let status = ScrapeStatus { health: Health::Down, last_error: error, ..ScrapeStatus::default() };
        self.lock().insert(hash, Exploration { status: Some(status), in_flight: false, last_attempt: Some(Instant::now()) });
    }

    /// All results.
    pub(crate) fn statuses(&self) -> BTreeMap<TargetHash, ScrapeStatus> {
        self.lock().iter().filter_map(|(hash, e)| Some((*hash, e.status.clone()?))).collect()
    }

    /// Forgets targets that are not active any more.
    pub(crate) fn retain(&self, active: impl Fn(TargetHash) -> bool) {
        self.lock().retain(|hash, _| active(*hash));
    }

    /// Forgets the per-job metrics of jobs that are gone.
    pub(crate) fn retain_jobs(&self, jobs: &BTreeSet<Arc<str>>) {
        self.metrics.retain_explored_jobs(jobs);
    }

    async fn attempt(&self, target: &Target, client: &JobClient, line: PrometheusLine) -> ScrapeStatus {
        let started = Instant::now();
        let last_scrape = Some(Timestamp::now());
        let exploring = self.metrics.exploring(&target.job);
        exploring.inc();
        let result = measure(client, &target.url, &target.labels, target.timeout, line).await;
        exploring.dec();
        let last_scrape_duration = started.elapsed();
        self.metrics.explored(&target.job, result.is_ok());
        match result {
            Ok(counts) => {
                tracing::debug!(job = %target.job, url = target.place(), series = counts.count.series, total = counts.count.total, "explored");
                ScrapeStatus {
                    health: Health::Up,
                    last_scrape,
                    last_scrape_duration,
                    count: counts.count,
                    ..ScrapeStatus::default()
                }
            }
            Err(error) => {
                let last_error = kvass_service::config_file::chain(&error);
                tracing::debug!(job = %target.job, url = target.place(), error = %last_error, "exploring failed");
                ScrapeStatus { health: Health::Down, last_error, last_scrape, last_scrape_duration, ..ScrapeStatus::default() }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TargetHash, Exploration>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
