//! (a) `kubectl create -f` in the order of the tutorial, and nothing else: three shards come by themselves.

use std::time::Duration;

use crate::{cluster::until, stage::Stage};

/// The generators' own series: 6 × 10,000.
const SERIES: &str = "60000";

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let act = stage.begin_at("tutorial", stage.up_at, 0);
    let fleet = stage.steady(6, 3, Duration::from_secs(180)).await?;
    let two_each = fleet.targets.iter().all(|(_, targets)| *targets == 2);
    stage.expect("3 shards with 2 targets each", format!("{:?}", fleet.targets), two_each && fleet.shards == 3);

    let count = r#"count({__name__=~"kvass_demo_metric_.+"})"#;
    stage.until_value(count, SERIES, Duration::from_secs(90)).await?;
    let row = stage.end(act).await?;
    stage.expect(format!("{count} is {SERIES}"), SERIES, true);
    stage.expect(
        "as many targets as the control has",
        row.shards.targets,
        row.control.is_some_and(|control| control.targets == row.shards.targets),
    );

    let rule = until("the rule's result", Duration::from_secs(120), async || {
        let value = stage.value("metrics_count").await?;
        anyhow::ensure!(value == SERIES, "it is {value}");
        Ok(value)
    })
    .await;
    let held = rule.is_ok();
    stage.expect(format!("the rule's metrics_count is {SERIES}"), rule.unwrap_or_else(|error| format!("{error:#}")), held);

    everything_ready(stage).await?;

    let act = stage.begin("a quiet minute").await?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    stage.expect("a quiet minute: no doubled scrape", row.shards.doubled, row.shards.doubled == 0);
    let pause = stage.collector.longest_pause();
    stage.expect("samples were collected at least every 10 s", format!("{pause:.1} s"), pause <= 10.0);
    Ok(())
}

async fn everything_ready(stage: &mut Stage) -> anyhow::Result<()> {
    let pods = stage.cluster.pods(stage.fixture.namespace).await?;
    let unready: Vec<&str> = pods.iter().filter(|pod| !pod.ready()).map(|pod| pod.name.as_str()).collect();
    let seen = if unready.is_empty() { format!("{} pods", pods.len()) } else { unready.join(", ") };
    stage.expect("every pod is ready", seen, unready.is_empty());
    let count = |prefix: &str| pods.iter().filter(|pod| pod.name.starts_with(prefix)).count();
    let seen = ["kvass-coordinator-", "metrics-", "prometheus-rep-0-", "thanos-query-"].map(|prefix| (prefix, count(prefix)));
    let counts = seen.map(|(_, count)| count);
    stage.expect("coordinator, 6 exporters, 3 shards, Thanos Query", format!("{seen:?}"), counts == [1, 6, 3, 1]);
    let shards = pods.iter().filter(|pod| pod.name.starts_with("prometheus-rep-0-"));
    let restarts: u64 = shards.map(|pod| pod.restarts).sum();
    stage.expect("no restart of a shard", restarts, restarts == 0);
    Ok(())
}
