//! Collects what is measured while a story runs: records of exporters die with their pods, and samples with
//! the shards that hold them.

mod recording;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::{task::JoinHandle, time::Instant};

use self::recording::{RecordedScrape, Recording, Sample};
use crate::{
    cluster::{Cluster, Pod, until},
    fixture::{Fixture, HTTP, METRICS, UP},
    measure::{Figures, Window, figures, remarks},
};

/// Between two looks at samples and records; between two looks at pods half of it.
const PERIOD: Duration = Duration::from_secs(4);

/// How far a look reaches back: further than any outage of the way to the samples that a story makes.
const REACH: &str = "3m";

/// Collects in the background until it is dropped.
pub(crate) struct Collector {
    cluster: Cluster,
    fixture: &'static Fixture,
    recording: Arc<Mutex<Recording>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Collector {
    /// Starts to collect.
    pub(crate) fn start(cluster: Cluster, fixture: &'static Fixture) -> Self {
        let recording = Arc::new(Mutex::new(Recording::new(fixture.replicas)));
        let look = Look { cluster: cluster.clone(), fixture, recording: recording.clone() };
        let tasks = vec![
            tokio::spawn(repeat(PERIOD / 2, look.clone(), Look::pods)),
            tokio::spawn(repeat(PERIOD, look.clone(), Look::records)),
            tokio::spawn(repeat(PERIOD, look.clone(), Look::samples)),
            tokio::spawn(repeat(PERIOD, look, Look::control)),
        ];
        Self { cluster, fixture, recording, tasks }
    }

    /// Says that exporters died although nobody asked them to: their node did.
    pub(crate) fn died(&self, pods: &[Pod], at: i64) {
        let mut recording = lock(&self.recording);
        for pod in pods {
            recording.died(&pod.uid, at);
        }
    }

    /// Whether every living exporter was scraped by a shard that lives, since that moment; the error names one that was not.
    pub(crate) fn all_scraped(&self, since: i64) -> anyhow::Result<()> {
        let unscraped = lock(&self.recording).unscraped(since);
        anyhow::ensure!(unscraped.is_empty(), "not scraped yet: {}", unscraped.join(", "));
        Ok(())
    }

    /// When the last exporter to come was scraped for the first time.
    pub(crate) fn last_first_scrape(&self) -> Option<i64> {
        lock(&self.recording).last_first_scrape()
    }

    /// Shards wished for now, all replicas; what is seen counts as a look.
    pub(crate) async fn scale(&self) -> anyhow::Result<u64> {
        self.look().scale().await
    }

    /// The numbers of shards that each replica was told to have since that moment, repetitions left out.
    pub(crate) fn scales(&self, since: i64) -> BTreeMap<String, Vec<u64>> {
        lock(&self.recording).scales(since)
    }

    /// Longest time without a look at the shards' samples since the last call, in seconds.
    pub(crate) fn longest_pause(&self) -> f64 {
        lock(&self.recording).longest_pause()
    }

    fn look(&self) -> Look {
        Look { cluster: self.cluster.clone(), fixture: self.fixture, recording: self.recording.clone() }
    }

    /// Judges a window that is over since at least one period: the shards, and the control.
    pub(crate) async fn judge(&self, window: Window) -> anyhow::Result<(Figures, Option<Figures>)> {
        let interval = i64::try_from(self.fixture.interval.as_millis())?;
        let look = self.look();
        let afterwards = until("an answer to what users ask", Duration::from_secs(60), async || {
            look.visible(&self.fixture.query(&self.cluster).await?, window).await
        })
        .await?;
        let control_afterwards = match self.fixture.control(&self.cluster).await {
            Ok(control) => look.visible(&control, window).await.ok(),
            Err(_) => None,
        };
        let recording = lock(&self.recording);
        let targets = recording.targets();
        let of_shards = recording.of_shards(&afterwards);
        let shards = figures(window, interval, &targets, &of_shards);
        for remark in remarks(window, interval, &targets, &of_shards) {
            tracing::info!("{remark}");
        }
        let control = control_afterwards.map(|steps| figures(window, interval, &targets, &recording.of_control(&steps)));
        Ok((shards, control))
    }
}

#[derive(Clone)]
struct Look {
    cluster: Cluster,
    fixture: &'static Fixture,
    recording: Arc<Mutex<Recording>>,
}

async fn repeat<F: Future<Output = anyhow::Result<()>>>(period: Duration, look: Look, act: impl Fn(Look) -> F) {
    let mut next = Instant::now();
    loop {
        // While the API server or a pod is away there is nothing to see; what was missed comes with the next look.
        if let Err(error) = act(look.clone()).await {
            tracing::debug!("{error:#}");
        }
        next = (next + period).max(Instant::now());
        tokio::time::sleep_until(next).await;
    }
}

/// A line of an exporter's `/scrapes`.
#[derive(Deserialize)]
struct Line {
    time: Timestamp,
    path: String,
    scraper: std::net::IpAddr,
}

impl Look {
    async fn pods(self) -> anyhow::Result<()> {
        let at = Timestamp::now().as_millisecond();
        let pods = self.cluster.pods(self.fixture.namespace).await?;
        lock(&self.recording).pods(&pods, at);
        self.scale().await.map(drop)
    }

    /// The shards wished for, all replicas.
    async fn scale(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for replica in self.fixture.replicas {
            let at = Timestamp::now().as_millisecond();
            let scale = self.cluster.replicas(self.fixture.namespace, replica).await?;
            lock(&self.recording).scale(replica, at, scale);
            sum += scale;
        }
        Ok(sum)
    }

    /// From the exporters known so far: they are asked while the API server is away, too.
    async fn records(self) -> anyhow::Result<()> {
        let generators = lock(&self.recording).living_generators();
        join_all(generators.iter().map(|pod| self.record(pod))).await;
        Ok(())
    }

    async fn record(&self, pod: &Pod) {
        let asked = Timestamp::now().as_millisecond();
        let Ok(text) = self.cluster.ask(pod, METRICS, "/scrapes").await else { return };
        let Ok(lines) = serde_json::from_str::<Vec<Line>>(&text) else { return };
        let scrapes = lines.into_iter().filter(|line| line.path == "/metrics");
        let scrapes = scrapes.map(|line| RecordedScrape { at: line.time.as_millisecond(), scraper: line.scraper });
        lock(&self.recording).record(&pod.name, asked, scrapes);
    }

    async fn samples(self) -> anyhow::Result<()> {
        let query = lock(&self.recording).find(self.fixture.query);
        let Some(query) = query else { return Ok(()) };
        let range = format!("{UP}[{REACH}]");
        let parameters = [("query", range.as_str()), ("dedup", "false")];
        let samples = matrix(&self.cluster.ask_data(&query, HTTP, "/api/v1/query", &parameters).await?);
        lock(&self.recording).stored(samples, Timestamp::now().as_millisecond());
        let visible = self.visible(&query, self.settled()?).await?;
        lock(&self.recording).visible(visible);
        Ok(())
    }

    /// The steps that no later look can show differently, unless history is lost: the marker by which Prometheus ends
    /// a series is written up to 1.1 intervals after the time it bears.
    fn settled(&self) -> anyhow::Result<Window> {
        let (now, settle) = (Timestamp::now().as_millisecond(), self.fixture.interval * 5 / 4 + Duration::from_secs(2));
        Ok(Window { from: now - 180_000, until: now - i64::try_from(settle.as_millis())? })
    }

    /// Steps at which a user sees the targets.
    async fn visible(&self, pod: &Pod, window: Window) -> anyhow::Result<Vec<Sample>> {
        let interval = i64::try_from(self.fixture.interval.as_secs())?;
        // Multiples of the interval, so that all looks are at the same steps.
        let start = (window.from.div_euclid(1000 * interval) * interval).to_string();
        let (end, step) = ((window.until / 1000).to_string(), interval.to_string());
        let query = [("query", UP), ("start", &start), ("end", &end), ("step", &step)];
        Ok(matrix(&self.cluster.ask_data(pod, HTTP, "/api/v1/query_range", &query).await?))
    }

    async fn control(self) -> anyhow::Result<()> {
        let control = lock(&self.recording).find("kvass-e2e-control");
        let Some(control) = control else { return Ok(()) };
        let range = format!("{UP}[{REACH}]");
        let samples = matrix(&self.cluster.ask_data(&control, HTTP, "/api/v1/query", &[("query", &range)]).await?);
        lock(&self.recording).control(samples);
        let visible = self.visible(&control, self.settled()?).await?;
        lock(&self.recording).control_visible(visible);
        Ok(())
    }
}

fn lock(recording: &Mutex<Recording>) -> std::sync::MutexGuard<'_, Recording> {
    recording.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Samples of a matrix, each with the `pod` that it is about.
fn matrix(data: &Value) -> Vec<Sample> {
    let series = data["result"].as_array().into_iter().flatten();
    let samples = series.flat_map(|series| {
        let target = series["metric"]["pod"].as_str().unwrap_or_default();
        series["values"].as_array().into_iter().flatten().filter_map(move |value| {
            #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this century")]
            let at = (value[0].as_f64()? * 1000.0).round() as i64;
            Some(Sample { target: target.to_owned(), at, up: value[1].as_str()? != "0" })
        })
    });
    samples.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn samples_of_a_matrix() {
        let data = json!({"resultType": "matrix", "result": [
            {"metric": {"pod": "a", "shard": "s-0"}, "values": [[1763860000.123, "1"], [1763860005.123, "0"]]},
        ]});
        let seen: Vec<(i64, bool)> = matrix(&data).into_iter().map(|sample| (sample.at, sample.up)).collect();
        assert_eq!(seen, [(1_763_860_000_123, true), (1_763_860_005_123, false)]);
    }
}
