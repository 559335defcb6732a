//! Where a story is told: the cluster, the manifests that are up, what is collected, and what it promises.

use std::{fmt::Display, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    cluster::{Cluster, until},
    collect::Collector,
    fixture::{Fixture, HTTP},
    flows::Flows,
    measure::{Figures, Row, Window},
    report::Expectations,
};

/// Handed to a story.
pub(crate) struct Stage {
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// What is up.
    pub(crate) fixture: &'static Fixture,
    /// What is measured.
    pub(crate) collector: Collector,
    /// Who talks to whom, where policies say who may.
    pub(crate) flows: Option<Flows>,
    /// When the first manifest was applied.
    pub(crate) up_at: i64,
    /// What was promised, so far.
    pub(crate) expectations: Expectations,
    /// What was measured, so far.
    pub(crate) rows: Vec<Row>,
}

/// An act that is being measured.
pub(crate) struct Act {
    name: String,
    from: i64,
    shards: u64,
    claims: u64,
}

/// The fleet as its coordinator describes it when nothing is left to do.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    /// Shards of all replicas.
    pub(crate) shards: u64,
    /// Shard to its targets.
    pub(crate) targets: Vec<(String, u64)>,
}

impl Stage {
    /// Notes a promise and whether it held.
    pub(crate) fn expect(&mut self, expected: impl Into<String>, seen: impl Display, held: bool) {
        self.expectations.expect(expected, seen, held);
    }

    /// Begins to measure.
    pub(crate) async fn begin(&self, name: &str) -> anyhow::Result<Act> {
        tracing::info!("act: {name}");
        let (shards, claims) = (self.scale().await?, self.claims().await?);
        Ok(Act { name: name.to_owned(), from: now(), shards, claims })
    }

    /// Begins to measure at an earlier time, when there were no claims and so many shards.
    pub(crate) fn begin_at(&self, name: &str, from: i64, shards: u64) -> Act {
        Act { name: name.to_owned(), from, shards, claims: 0 }
    }

    /// Ends an act whose goal is reached: measures two intervals more, so that what it broke shows, and judges it.
    pub(crate) async fn end(&mut self, act: Act) -> anyhow::Result<Row> {
        let reached = now();
        self.end_at(act, reached).await
    }

    /// The same for a goal that was reached some time ago.
    pub(crate) async fn end_at(&mut self, act: Act, reached: i64) -> anyhow::Result<Row> {
        let interval = self.fixture.interval;
        tokio::time::sleep(interval * 2).await;
        let window = Window { from: act.from, until: now() };
        // The last samples have to be stored, and collected.
        tokio::time::sleep(interval + Duration::from_secs(6)).await;
        let (shards, control) = self.collector.judge(window).await?;
        let row = Row {
            act: act.name,
            seconds: seconds(reached - act.from),
            shards,
            control,
            shard_count: (act.shards, self.scale().await?),
            claims: (act.claims, self.claims().await?),
        };
        tracing::info!("measured: {row:?}");
        self.rows.push(row.clone());
        Ok(row)
    }

    /// The promise of everything planned: nothing missing, nothing unscraped, nothing to be seen.
    pub(crate) fn expect_no_gap(&mut self, row: &Row) {
        let Figures { missing, visible, unscraped, down, .. } = row.shards;
        let seen = format!("{missing} missing, {visible} visible, {unscraped} unscraped, {down} up=0");
        self.expect(format!("{}: no gap", row.act), seen, missing + visible + unscraped + down == 0);
    }

    /// The promise where targets move between shards whose history stays: nothing missing, nothing unscraped. The shard
    /// that a target leaves ends its series an interval after its last scrape, and Thanos shows nothing from there to the
    /// next sample of the other one, less than an interval later: at most one step of each target.
    pub(crate) fn expect_moves_only(&mut self, row: &Row) {
        let Figures { targets, missing, visible, unscraped, down, .. } = row.shards;
        let seen = format!("{missing} missing, {unscraped} unscraped, {down} up=0; {visible} visible for {targets} targets");
        let held = missing + unscraped + down == 0 && visible <= targets;
        self.expect(format!("{}: nothing missing, at most a step of each target not visible", row.act), seen, held);
    }

    /// The promise where scrapes of a pod must fail: at most so many of them for each target.
    pub(crate) fn expect_unscraped(&mut self, row: &Row, most: u64, why: &str) {
        let seen = row.shards.unscraped;
        self.expect(format!("{}: at most {most} unscraped ({why})", row.act), seen, seen <= most);
    }

    /// Shards wished for, all replicas.
    pub(crate) async fn scale(&self) -> anyhow::Result<u64> {
        self.collector.scale().await
    }

    /// Volume claims.
    pub(crate) async fn claims(&self) -> anyhow::Result<u64> {
        Ok(self.cluster.claims(self.fixture.namespace).await?.len() as u64)
    }

    /// Waits until `targets` targets have a shard each in every replica, there are `shards` shards, all are ready, and
    /// nothing is on its way.
    pub(crate) async fn steady(&self, targets: u64, shards: u64, limit: Duration) -> anyhow::Result<Fleet> {
        until(&format!("{targets} targets on {shards} shards"), limit, async || self.fleet(targets, shards).await).await
    }

    /// The same on as many shards as there happen to be.
    pub(crate) async fn settled(&self, targets: u64, limit: Duration) -> anyhow::Result<Fleet> {
        until(&format!("{targets} targets at rest"), limit, async || self.fleet(targets, self.scale().await?).await).await
    }

    async fn fleet(&self, targets: u64, shards: u64) -> anyhow::Result<Fleet> {
        let scale = self.scale().await?;
        anyhow::ensure!(scale == shards, "{scale} shards are wished for");
        let pods = self.fixture.shards(&self.cluster).await?;
        let ready = pods.iter().filter(|pod| pod.ready()).count();
        anyhow::ensure!(ready as u64 == shards && pods.len() == ready, "{ready} of {} shards are ready", pods.len());
        let status = self.fixture.coordinator_status(&self.cluster).await?;
        let mut fleet = Fleet { shards, targets: vec![] };
        for replica in list(&status["replicas"]) {
            let held: Vec<(String, u64)> =
                list(&replica["shards"]).map(|shard| (text(&shard["shard"]), number(&shard["targets"]))).collect();
            let sum: u64 = held.iter().map(|(_, targets)| targets).sum();
            let changeable = list(&replica["shards"]).all(|shard| shard["state"] == "changeable");
            let quiet = number(&replica["unassigned"]) == 0 && number(&replica["transfers"]) == 0;
            anyhow::ensure!(
                changeable && quiet && sum == targets,
                "replica {}: {held:?}, quiet: {quiet}, changeable: {changeable}",
                replica["replica"]
            );
            fleet.targets.extend(held);
        }
        // Assigned is not scraped yet.
        let lately = now() - 3 * i64::try_from(self.fixture.interval.as_millis())?;
        self.collector.all_scraped(lately)?;
        Ok(fleet)
    }

    /// The value of a query that has exactly one, as users ask it.
    pub(crate) async fn value(&self, query: &str) -> anyhow::Result<String> {
        let pod = self.fixture.query(&self.cluster).await?;
        let data = self.cluster.ask_data(&pod, HTTP, "/api/v1/query", &[("query", query)]).await?;
        let values: Vec<&Value> = list(&data["result"]).map(|series| &series["value"][1]).collect();
        match values.as_slice() {
            [value] => Ok(text(value)),
            values => anyhow::bail!("{query}: {} values, expected one", values.len()),
        }
    }

    /// Waits until a query has a value.
    pub(crate) async fn until_value(&self, query: &str, wanted: &str, limit: Duration) -> anyhow::Result<()> {
        until(&format!("{query} is {wanted}"), limit, async || {
            let value = self.value(query).await?;
            anyhow::ensure!(value == wanted, "it is {value}");
            Ok(())
        })
        .await
    }

    /// Changes the number of exporters.
    pub(crate) async fn generators(&self, number: u64) -> anyhow::Result<()> {
        let replicas = format!("--replicas={number}");
        self.cluster.kubectl(self.fixture.namespace, &["scale", "deployment", "metrics", &replicas]).await?;
        Ok(())
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Of milliseconds.
pub(crate) fn seconds(millis: i64) -> f64 {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0)).as_secs_f64()
}

/// The elements of a JSON list.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
