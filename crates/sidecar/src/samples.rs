//! `GET /api/v1/shard/samples/`: samples per job, and, measured at that moment, per metric.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use http::HeaderMap;
use kvass_api::{Statistics, ValueCount};
use kvass_exposition::{Counts, SeriesCounter};
use kvass_scrape::{ScrapeError, USER_AGENT};
use tokio::time::{Instant, timeout_at};

use crate::{
    lock,
    scrape_request::{timeout_of, url_of},
    shard::Shard,
    targets::Holding,
};

/// Coordinators wait about this long for an answer; targets that were not reached by then are left out.
const DETAIL_TIME: Duration = Duration::from_secs(8);
const DETAIL_AT_ONCE: usize = 8;

/// Samples of the last scrape, summed over each job whose name contains `job`.
pub(crate) fn of_jobs(shard: &Shard, job: &str) -> BTreeMap<String, Statistics> {
    let statistics = |count: kvass_model::SeriesCount| Statistics {
        scraped_total: count.series as f64,
        total: count.total as f64,
        metrics_total: BTreeMap::new(),
    };
    let samples = lock(&shard.targets).samples();
    samples
        .into_iter()
        .filter(|(name, _)| name.contains(job))
        .map(|(name, count)| (name.to_string(), statistics(count)))
        .collect()
}

/// Adds the numbers per metric. They are asked for rarely and would take more memory than all else, so
/// nothing is kept of them: the targets are read once more, now.
pub(crate) async fn add_detail(shard: &Arc<Shard>, jobs: &mut BTreeMap<String, Statistics>) {
    if shard.stop_reason().is_some() {
        return;
    }
    let holdings = lock(&shard.targets).of_jobs(|job| jobs.contains_key(job));
    let deadline = Instant::now() + DETAIL_TIME;
    let mut measured = stream::iter(holdings)
        .map(|holding| async move {
            let counts = measure(shard, &holding).await;
            (holding.job, counts)
        })
        .buffer_unordered(DETAIL_AT_ONCE);
    while let Ok(Some((job, counts))) = timeout_at(deadline, measured.next()).await {
        // A target that is down has its own place to say so.
        let (Ok(counts), Some(statistics)) = (counts, jobs.get_mut(&*job)) else { continue };
        for (metric, count) in counts.metrics {
            let sum: &mut ValueCount = statistics.metrics_total.entry(metric).or_default();
            sum.total += count.total as f64;
            sum.scraped += count.series as f64;
        }
    }
}

async fn measure(shard: &Shard, holding: &Holding) -> Result<Counts, ScrapeError> {
    let Some(client) = shard.clients.get(&holding.job) else { return Ok(Counts::default()) };
    let timeout = timeout_of(&holding.labels, client.job(), &HeaderMap::new());
    let headers = client.default_headers(timeout, USER_AGENT);
    let mut response = client.scrape(&url_of(&holding.labels, client.job()), headers, timeout).await?;
    let mut options = client.count_options(&holding.labels, &response, shard.line())?;
    options.per_metric = true;
    let mut counter = SeriesCounter::new(options);
    while let Some(chunk) = response.chunk().await? {
        counter.push(&chunk)?;
    }
    Ok(counter.finish()?)
}
