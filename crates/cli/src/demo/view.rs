//! What the coordinator says of the world, and whether it has settled.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Context;
use serde::{Deserialize, de::DeserializeOwned};

use super::world::JOB;

/// Longest time any answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The client of everything the demo asks.
pub(crate) fn client() -> reqwest::Result<reqwest::Client> {
    // Everything is on this machine: a proxy of the environment would only be in the way.
    reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()
}

/// The coordinator's view after a cycle.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) targets: Vec<TargetView>,
    pub(crate) shards: Vec<ShardView>,
    pub(crate) transfers: usize,
    pub(crate) scalings: Vec<Scaling>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TargetView {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) health: String,
    pub(crate) series: u64,
    pub(crate) shards: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShardView {
    pub(crate) shard: String,
    pub(crate) url: Option<String>,
    pub(crate) state: String,
    pub(crate) targets: usize,
    pub(crate) series: u64,
    pub(crate) head_series: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Scaling {
    pub(crate) at: jiff::Timestamp,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<TargetView>,
}

#[derive(Deserialize)]
struct Status {
    replicas: Vec<Replica>,
}

#[derive(Deserialize)]
struct Replica {
    transfers: usize,
    shards: Vec<ShardView>,
    scalings: Vec<Scaling>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

/// Gets what Prometheus and kvass wrap in `{"status":…,"data":…}`.
pub(crate) async fn get<T: DeserializeOwned>(client: &reqwest::Client, url: &str, query: &[(&str, &str)]) -> anyhow::Result<T> {
    let url = reqwest::Url::parse_with_params(url, query).with_context(|| format!("GET {url}"))?;
    let answer = client.get(url.clone()).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    anyhow::ensure!(status.is_success(), "GET {url}: {status}: {}", text.trim());
    let envelope: Envelope<T> = serde_json::from_str(&text).with_context(|| format!("GET {url}: unexpected answer"))?;
    Ok(envelope.data)
}

impl View {
    /// Asks the coordinator.
    pub(crate) async fn of(coordinator: &str, client: &reqwest::Client) -> anyhow::Result<View> {
        let targets: Targets = get(client, &format!("{coordinator}/api/v1/targets"), &[("state", "active")]).await?;
        let status: Status = get(client, &format!("{coordinator}/api/v1/coordinator/status"), &[]).await?;
        let mut view = View { targets: targets.active_targets, ..View::default() };
        for replica in status.replicas {
            view.transfers += replica.transfers;
            view.shards.extend(replica.shards);
            view.scalings.extend(replica.scalings);
        }
        Ok(view)
    }

    pub(crate) fn explored(&self) -> usize {
        self.targets.iter().filter(|target| target.series > 0).count()
    }

    pub(crate) fn assigned(&self) -> usize {
        self.targets.iter().filter(|target| target.shards.as_ref().is_some_and(|shards| !shards.is_empty())).count()
    }

    pub(crate) fn series(&self) -> u64 {
        self.targets.iter().map(|target| target.series).sum()
    }

    /// Whether exactly these instances are up, each of `series` series, on one shard each, none of which is
    /// above `limit` or cannot be reached.
    pub(crate) fn has_settled(&self, instances: &[String], series: u64, limit: u64) -> bool {
        let found: BTreeSet<&str> =
            self.targets.iter().filter_map(|target| target.labels.get("instance").map(String::as_str)).collect();
        found == instances.iter().map(String::as_str).collect()
            && self.targets.len() == instances.len()
            && self.transfers == 0
            && self.targets.iter().all(|target| {
                let job = target.labels.get("job").is_some_and(|job| job == JOB);
                job && target.health == "up"
                    && target.series == series
                    && target.shards.as_ref().is_some_and(|shards| shards.len() == 1)
            })
            && self.shards.iter().all(|shard| shard.url.is_some() && shard.series <= limit.max(series))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = (&'static str, fn(&mut View));

    fn target(instance: &str, shards: &[&str]) -> TargetView {
        TargetView {
            labels: [("instance".to_owned(), instance.to_owned()), ("job".to_owned(), JOB.to_owned())].into(),
            health: "up".to_owned(),
            series: 10,
            shards: Some(shards.iter().map(|shard| (*shard).to_owned()).collect()),
        }
    }

    fn shard(name: &str, series: u64) -> ShardView {
        ShardView {
            shard: name.to_owned(),
            url: Some("http://127.0.0.1:1".to_owned()),
            state: "changeable".to_owned(),
            targets: 1,
            series,
            head_series: series,
        }
    }

    fn settled() -> View {
        View {
            targets: vec![target("a", &["shard-0"]), target("b", &["shard-1"])],
            shards: vec![shard("shard-0", 10), shard("shard-1", 10)],
            ..View::default()
        }
    }

    #[test]
    fn settled_means_every_target_up_on_one_shard_within_the_limit() {
        let instances = ["a".to_owned(), "b".to_owned()];
        assert!(settled().has_settled(&instances, 10, 15));
        let changes: [Change; 8] = [
            ("missing", |view| view.targets.truncate(1)),
            ("another", |view| view.targets[0] = target("c", &["shard-0"])),
            ("down", |view| view.targets[0].health = "down".to_owned()),
            ("not measured", |view| view.targets[0].series = 0),
            ("two shards", |view| view.targets[0] = target("a", &["shard-0", "shard-1"])),
            ("no shard", |view| view.targets[0].shards = None),
            ("transfer", |view| view.transfers = 1),
            ("above the limit", |view| view.shards[0].series = 16),
        ];
        for (what, change) in changes {
            let mut view = settled();
            change(&mut view);
            assert!(!view.has_settled(&instances, 10, 15), "{what}");
        }
    }

    #[test]
    fn counts() {
        let mut view = settled();
        view.targets[0].series = 0;
        view.targets[1].shards = Some(Vec::new());
        assert_eq!((view.explored(), view.assigned(), view.series()), (1, 1, 10));
    }
}
