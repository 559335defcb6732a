//! (i) Other scrapers than the Prometheus of the manifests: scale-out, hand-over, a kill. No sample may be refused or
//! given up on its way.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;

use super::{disruptions, growth};
use crate::{
    cluster::Cluster,
    fixture::{Fixture, HTTP},
    stage::Stage,
};

/// What shards run, and where it counts what it loses.
pub(super) struct Scraper {
    /// Where its metrics are.
    port: u16,
    /// Counters of lost samples that it has from the start.
    lost: &'static [&'static str],
    /// Others that there are once they count.
    also_lost: &'static [&'static str],
    /// Whether it writes all samples to one Prometheus, and has none of its own.
    remote: bool,
}

pub(super) const PROMETHEUS: Scraper = Scraper {
    port: HTTP,
    lost: &[
        "prometheus_target_scrapes_sample_out_of_order_total",
        "prometheus_target_scrapes_sample_duplicate_timestamp_total",
        "prometheus_target_scrapes_sample_out_of_bounds_total",
    ],
    also_lost: &[],
    remote: false,
};

pub(super) const AGENT: Scraper = Scraper {
    port: HTTP,
    lost: &["prometheus_agent_out_of_order_samples_total", "prometheus_remote_storage_samples_failed_total"],
    also_lost: &["prometheus_remote_storage_samples_dropped_total"],
    remote: true,
};

pub(super) const VMAGENT: Scraper = Scraper {
    port: 8429,
    lost: &["vmagent_remotewrite_packets_dropped_total", "vmagent_remotewrite_samples_dropped_total"],
    also_lost: &[],
    remote: true,
};

/// Counters of the Prometheus that others write to; anything but 0 is a sample that it refused.
const REFUSED: [&str; 4] = [
    "prometheus_tsdb_out_of_order_samples_total",
    "prometheus_tsdb_out_of_bound_samples_total",
    "prometheus_tsdb_too_old_samples_total",
    "prometheus_api_remote_write_invalid_labels_samples_total",
];

/// Its answers to writers, with a status each.
const ANSWERS: &str = "prometheus_http_requests_total";

/// Counters die with their shards, so they are read all the time.
const PERIOD: Duration = Duration::from_secs(2);

pub(super) async fn tell(stage: &mut Stage, scraper: &'static Scraper) -> anyhow::Result<()> {
    let losses = Losses::watch(stage.cluster.clone(), stage.fixture, scraper);
    growth::tell(stage).await?;
    disruptions::coordinator_killed(stage).await?;
    let (row, most) = disruptions::shard_killed(stage).await?;
    if scraper.remote {
        let missing = row.shards.missing;
        stage.expect(format!("{}: at most {most} missing, as many as may be unscraped", row.act), missing, missing <= most);
    }
    // What was kept back while a receiver was busy comes late.
    tokio::time::sleep(Duration::from_secs(10)).await;
    losses.judge(stage);
    if scraper.remote {
        refused(stage).await?;
    }
    Ok(())
}

async fn refused(stage: &mut Stage) -> anyhow::Result<()> {
    let receiver = stage.fixture.query(&stage.cluster).await?;
    let metrics = stage.cluster.ask(&receiver, HTTP, "/metrics").await?;
    let counts = counters(&metrics, &REFUSED);
    let seen = format!("{} counters, above 0: {:?}", counts.len(), above_zero(&counts));
    let held = counts.len() >= REFUSED.len() && above_zero(&counts).is_empty();
    stage.expect("no sample refused by the receiver", seen, held);

    let answers = counters(&metrics, &[ANSWERS]);
    let answers = answers.into_iter().filter(|(name, _)| name.contains(r#"handler="/api/v1/write""#));
    let (good, bad): (Vec<_>, Vec<_>) = answers.partition(|(name, _)| name.contains(r#"code="2"#));
    let taken: f64 = good.iter().map(|(_, count)| count).sum();
    let seen = format!("{taken} taken, not taken: {:?}", above_zero(&bad));
    stage.expect("every write taken by the receiver", seen, taken > 0.0 && above_zero(&bad).is_empty());
    Ok(())
}

/// The counters of all shards there were, each at its highest.
struct Losses {
    scraper: &'static Scraper,
    seen: Arc<Mutex<BTreeMap<String, f64>>>,
    task: JoinHandle<()>,
}

impl Drop for Losses {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Losses {
    fn watch(cluster: Cluster, fixture: &'static Fixture, scraper: &'static Scraper) -> Self {
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let counts = Arc::clone(&seen);
        let names = [scraper.lost, scraper.also_lost].concat();
        let task = tokio::spawn(async move {
            loop {
                for pod in fixture.shards(&cluster).await.unwrap_or_default() {
                    // One that starts or ends has nothing to say.
                    let Ok(metrics) = cluster.ask(&pod, scraper.port, "/metrics").await else { continue };
                    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                    for (name, count) in counters(&metrics, &names) {
                        let highest = counts.entry(format!("{} {name}", pod.uid)).or_insert(count);
                        *highest = highest.max(count);
                    }
                }
                tokio::time::sleep(PERIOD).await;
            }
        });
        Losses { scraper, seen, task }
    }

    fn judge(&self, stage: &mut Stage) {
        let counts: Vec<(String, f64)> =
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(name, count)| (name.clone(), *count)).collect();
        let all_known = self.scraper.lost.iter().all(|name| counts.iter().any(|(count, _)| count.contains(name)));
        let seen = format!("{} counters, above 0: {:?}", counts.len(), above_zero(&counts));
        stage.expect("no sample lost by a shard", seen, all_known && above_zero(&counts).is_empty());
    }
}

fn above_zero(counts: &[(String, f64)]) -> Vec<String> {
    counts.iter().filter(|(_, count)| *count > 0.0).map(|(name, count)| format!("{name} {count}")).collect()
}

/// The samples of metrics with these names, each with its labels.
fn counters(metrics: &str, names: &[&str]) -> Vec<(String, f64)> {
    let of_name = |line: &str| names.iter().any(|name| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    metrics.lines().filter(|line| of_name(line)).filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_with_and_without_labels() {
        let metrics = "# HELP a_total x\na_total 0\na_total_more 3\nb_total{type=\"float\"} 2\nc_total 1\n";
        let counts = counters(metrics, &["a_total", "b_total"]);
        assert_eq!(counts, [("a_total".to_owned(), 0.0), ("b_total{type=\"float\"}".to_owned(), 2.0)]);
        assert_eq!(above_zero(&counts), ["b_total{type=\"float\"} 2"]);
    }
}
