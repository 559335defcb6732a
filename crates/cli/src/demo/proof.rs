//! The proof that sharding loses nothing and doubles nothing: one query over all shards finds every
//! generator's every series, and every target is scraped by exactly one shard.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{
    view::{View, get},
    world::JOB,
};
use crate::generator::METRIC_PREFIX;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Proof {
    /// Generators' own series in one query over all shards.
    pub(crate) global_count: u64,
    /// The same by the external label `shard`.
    pub(crate) count_by_shard: BTreeMap<String, u64>,
    /// Targets that each shard's own Prometheus says are up.
    pub(crate) up_by_shard: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct QueryResult {
    result: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    metric: BTreeMap<String, String>,
    /// Time and, as text, value.
    value: (f64, String),
}

impl Sample {
    fn count(&self) -> u64 {
        self.value.1.parse().unwrap_or(0)
    }

    fn label(&self, name: &str) -> String {
        self.metric.get(name).cloned().unwrap_or_default()
    }
}

impl Proof {
    /// Asks the global Prometheus, and each shard for itself.
    pub(crate) async fn find(view: &View, global: &str, client: &reqwest::Client) -> anyhow::Result<Proof> {
        let own = format!("{{__name__=~\"{METRIC_PREFIX}.+\"}}");
        let total = query(client, global, &format!("count({own})")).await?;
        let by_shard = query(client, global, &format!("count by (shard) ({own})")).await?;
        let mut up_by_shard = BTreeMap::new();
        for shard in &view.shards {
            let Some(url) = &shard.url else { continue };
            let up = query(client, url, &format!("up{{job=\"{JOB}\"}} == 1")).await?;
            up_by_shard.insert(shard.shard.clone(), up.iter().map(|sample| sample.label("instance")).collect());
        }
        Ok(Proof {
            global_count: total.first().map_or(0, Sample::count),
            count_by_shard: by_shard.iter().map(|sample| (sample.label("shard"), sample.count())).collect(),
            up_by_shard,
        })
    }

    /// What is wrong with it; nothing if it proves that exactly these instances, of `own` series each, are
    /// scraped once each.
    pub(crate) fn problems(&self, instances: &[String], own: u64) -> Vec<String> {
        let mut problems = Vec::new();
        let expected = own * instances.len() as u64;
        if self.global_count != expected {
            problems.push(format!("the global query counts {} series of the generators, expected {expected}", self.global_count));
        }
        let mut scraped_by: BTreeMap<&str, Vec<&str>> =
            instances.iter().map(|instance| (instance.as_str(), Vec::new())).collect();
        for (shard, ups) in &self.up_by_shard {
            for instance in ups {
                scraped_by.entry(instance).or_default().push(shard);
            }
        }
        for (instance, shards) in scraped_by {
            if shards.len() != 1 || !instances.iter().any(|known| known == instance) {
                problems.push(format!("target {instance} is up on {shards:?}, expected exactly one shard"));
            }
        }
        // Shards without a target have no series to carry their label.
        let busy = self.up_by_shard.values().filter(|ups| !ups.is_empty()).count();
        let labels: BTreeSet<&str> = self.count_by_shard.keys().map(String::as_str).filter(|label| !label.is_empty()).collect();
        if own > 0 && labels.len() != busy {
            problems.push(format!("{busy} shards have targets, but external labels shard are {labels:?}"));
        }
        problems
    }
}

async fn query(client: &reqwest::Client, url: &str, query: &str) -> anyhow::Result<Vec<Sample>> {
    let answer: QueryResult = get(client, &format!("{url}/api/v1/query"), &[("query", query)]).await?;
    Ok(answer.result)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = (&'static str, fn(&mut Proof));

    fn proof() -> Proof {
        Proof {
            global_count: 30,
            count_by_shard: [("0".to_owned(), 20), ("1".to_owned(), 10)].into(),
            up_by_shard: [
                ("shard-0".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
                ("shard-1".to_owned(), vec!["c".to_owned()]),
                ("shard-2".to_owned(), vec![]),
            ]
            .into(),
        }
    }

    #[test]
    fn nothing_lost_and_nothing_twice() {
        let instances = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(proof().problems(&instances, 10), Vec::<String>::new());
        let changes: [Change; 6] = [
            ("counts 29", |proof| proof.global_count = 29),
            (r#"target c is up on []"#, |proof| proof.up_by_shard.get_mut("shard-1").unwrap().clear()),
            (r#"target a is up on ["shard-0", "shard-1"]"#, |proof| {
                proof.up_by_shard.get_mut("shard-1").unwrap().push("a".to_owned())
            }),
            (r#"target x is up on ["shard-1"]"#, |proof| proof.up_by_shard.get_mut("shard-1").unwrap().push("x".to_owned())),
            ("2 shards have targets", |proof| proof.count_by_shard.retain(|shard, _| shard == "0")),
            ("2 shards have targets", |proof| proof.count_by_shard = [(String::new(), 30)].into()),
        ];
        for (message, change) in changes {
            let mut proof = proof();
            change(&mut proof);
            let problems = proof.problems(&instances, 10);
            assert!(problems.iter().any(|problem| problem.contains(message)), "{message}: {problems:?}");
        }
    }

    #[test]
    fn answers_of_prometheus_are_understood() {
        let text = r#"{"resultType":"vector","result":[{"metric":{"shard":"0"},"value":[1763800000.123,"20000"]}]}"#;
        let answer: QueryResult = serde_json::from_str(text).unwrap();
        assert_eq!((answer.result[0].label("shard").as_str(), answer.result[0].count()), ("0", 20_000));
    }
}
