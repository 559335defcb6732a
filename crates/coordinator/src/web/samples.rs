//! `GET /api/v1/samples`: samples per second and job, asked from every shard now.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::{Query, State};
use futures::future::join_all;
use kvass_api::{ApiResult, ShardClient, Statistics, ok};
use serde::Deserialize;

use crate::coordinator::Shared;

#[derive(Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    job: String,
    #[serde(default)]
    with_metrics_detail: String,
}

pub(super) async fn samples(State(shared): State<Arc<Shared>>, Query(query): Query<Parameters>) -> ApiResult {
    let detail = query.with_metrics_detail == "true";
    let published = shared.published.load_full();
    let mut jobs: BTreeMap<String, Statistics> = BTreeMap::new();
    for replica in &published.replicas {
        let shards = replica.shards.iter().filter_map(|shard| shard.url.as_deref());
        let asked = shards.map(|url| {
            let client = ShardClient::new(url, shared.http.clone());
            let job = query.job.clone();
            // A shard that does not answer leaves a gap; the others' figures are still worth showing.
            async move { client.samples(&job, detail).await.unwrap_or_default() }
        });
        let mut sums: BTreeMap<String, Statistics> = BTreeMap::new();
        for (job, statistics) in join_all(asked).await.into_iter().flatten() {
            add(sums.entry(job).or_default(), &statistics);
        }
        // Replicas scrape the same targets: the first that knows a job speaks for it.
        for (job, statistics) in sums {
            jobs.entry(job).or_insert(statistics);
        }
    }
    let catalog = shared.catalog.load();
    let mut answer = BTreeMap::new();
    for (name, job) in catalog.jobs.iter().filter(|(name, _)| name.contains(&query.job)) {
        let mut statistics = jobs.remove(&**name).unwrap_or_default();
        per_second(&mut statistics, job.config.scrape_interval.as_secs_f64());
        answer.insert(name.to_string(), statistics);
    }
    Ok(ok(answer))
}

fn add(sum: &mut Statistics, more: &Statistics) {
    sum.scraped_total += more.scraped_total;
    sum.total += more.total;
    for (metric, count) in &more.metrics_total {
        let known = sum.metrics_total.entry(metric.clone()).or_default();
        known.total += count.total;
        known.scraped += count.scraped;
    }
}

fn per_second(statistics: &mut Statistics, interval: f64) {
    statistics.scraped_total /= interval;
    statistics.total /= interval;
    for count in statistics.metrics_total.values_mut() {
        count.total /= interval;
        count.scraped /= interval;
    }
}
