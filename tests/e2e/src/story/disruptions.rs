//! (c) What happens to every installation sooner or later.

use std::time::Duration;

use crate::{
    cluster::{Pod, until},
    measure::Row,
    stage::{Stage, now, seconds},
};

const TARGETS: u64 = 12;
const SHARDS: u64 = 6;

async fn loaded(stage: &mut Stage) -> anyhow::Result<()> {
    stage.generators(TARGETS).await?;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(240)).await?;
    Ok(())
}

/// A shard pod deleted; the coordinator killed.
pub(super) async fn kills(stage: &mut Stage) -> anyhow::Result<()> {
    loaded(stage).await?;
    let act = stage.begin("coordinator killed").await?;
    for pod in stage.fixture.coordinators(&stage.cluster).await? {
        stage.cluster.kill(&pod, "coordinator")?;
    }
    // Until it is counted as restarted, the old one's readiness would be taken for the new one's.
    until("coordinator restarted", Duration::from_secs(60), async || {
        let pods = stage.fixture.coordinators(&stage.cluster).await?;
        anyhow::ensure!(!pods.is_empty() && pods.iter().all(|pod| pod.restarts > 0 && pod.ready()), "not yet");
        Ok(())
    })
    .await?;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(120)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);

    let act = stage.begin("a shard pod deleted").await?;
    let name = format!("{}-1", stage.fixture.replicas.first().copied().unwrap_or_default());
    let away = replaced(stage, &[&name], async |stage| {
        stage.cluster.kubectl(stage.fixture.namespace, &["delete", "pod", &name, "--wait=false"]).await?;
        Ok(())
    })
    .await?;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(180)).await?;
    let row = stage.end(act).await?;
    expect_own_time(stage, &row, &away);
    Ok(())
}

/// Every shard replaced, one at a time.
pub(super) async fn rolling_update(stage: &mut Stage) -> anyhow::Result<()> {
    loaded(stage).await?;
    let act = stage.begin("rolling update").await?;
    let names: Vec<String> = stage.fixture.shards(&stage.cluster).await?.into_iter().map(|pod| pod.name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let away = replaced(stage, &names, async |stage| {
        for replica in stage.fixture.replicas {
            stage.cluster.kubectl(stage.fixture.namespace, &["rollout", "restart", "statefulset", replica]).await?;
        }
        Ok(())
    })
    .await?;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(180)).await?;
    let row = stage.end(act).await?;
    expect_own_time(stage, &row, &away);
    stage.expect("rolling update: one shard at a time", away.at_once, away.at_once <= stage.fixture.replicas.len());
    Ok(())
}

/// Coordinator and API server away for a minute, each and both, while a fifth of the exporters is replaced.
pub(super) async fn outages(stage: &mut Stage) -> anyhow::Result<()> {
    loaded(stage).await?;
    for (name, coordinator, api_server) in [
        ("coordinator away for 60 s", true, false),
        ("API server away for 60 s", false, true),
        ("both away for 60 s", true, true),
    ] {
        let act = stage.begin(name).await?;
        if coordinator {
            coordinators(stage, 0).await?;
        }
        replace_a_fifth(stage).await?;
        if api_server {
            stage.cluster.machine("stop", &["kube-apiserver"]).await?;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let back = now();
        if api_server {
            stage.cluster.machine("start", &["kube-apiserver"]).await?;
        }
        if coordinator {
            coordinators(stage, 1).await?;
        }
        stage.steady(TARGETS, SHARDS, Duration::from_secs(180)).await?;
        let reached = now();
        let row = stage.end_at(act, reached).await?;
        stage.expect_no_gap(&row);
        let first = stage.collector.last_first_scrape().map_or(f64::INFINITY, |at| seconds((at - back).max(0)));
        stage.expect(format!("{name}: new targets scraped within 15 s of return"), format!("{first:.1} s"), first <= 15.0);
    }
    Ok(())
}

async fn coordinators(stage: &Stage, number: u64) -> anyhow::Result<()> {
    let replicas = format!("--replicas={number}");
    stage.cluster.kubectl(stage.fixture.namespace, &["scale", "deployment", "kvass-coordinator", &replicas]).await?;
    if number == 0 {
        until("coordinator gone", Duration::from_secs(60), async || {
            anyhow::ensure!(stage.fixture.coordinators(&stage.cluster).await?.is_empty(), "still there");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Deletes a fifth of the exporters and waits until there are new ones in their place.
async fn replace_a_fifth(stage: &Stage) -> anyhow::Result<()> {
    let pods = stage.fixture.generators(&stage.cluster).await?;
    let names: Vec<&str> = pods.iter().take(pods.len() / 5).map(|pod| pod.name.as_str()).collect();
    stage.cluster.kubectl(stage.fixture.namespace, &[&["delete", "pod", "--wait=false"], &names[..]].concat()).await?;
    until("new exporters", Duration::from_secs(60), async || {
        let pods = stage.fixture.generators(&stage.cluster).await?;
        let ready = pods.iter().filter(|pod| pod.ready() && !names.contains(&pod.name.as_str())).count();
        anyhow::ensure!(ready as u64 == TARGETS, "{ready} ready");
        Ok(())
    })
    .await
}

/// A node drained; a node crashed and back.
pub(super) async fn nodes(stage: &mut Stage) -> anyhow::Result<()> {
    loaded(stage).await?;
    let node = busiest_node_but_one(stage).await?;
    let act = stage.begin("node drained").await?;
    let drain = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s"];
    let drained = stage.cluster.kubectl(stage.fixture.namespace, &drain).await;
    let steady = stage.steady(TARGETS, SHARDS, Duration::from_secs(240)).await;
    stage.cluster.kubectl(stage.fixture.namespace, &["uncordon", &node]).await?;
    let held = drained.is_ok();
    stage.expect(
        "node drained: kubectl drain ends",
        drained.map_or_else(|error| format!("{error:#}"), |_| "yes".to_owned()),
        held,
    );
    steady?;
    let row = stage.end(act).await?;
    stage.expect("node drained: unscraped intervals", row.shards.unscraped, true);

    let node = busiest_node_but_one(stage).await?;
    let number = node.trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned();
    let lost = |pods: Vec<Pod>| pods.into_iter().filter(|pod| pod.node == node).collect::<Vec<_>>();
    let exporters = lost(stage.fixture.generators(&stage.cluster).await?);
    let act = stage.begin("node crashed").await?;
    let at = now();
    stage.cluster.machine("node-crash", &[&number]).await?;
    stage.collector.died(&exporters, at);
    // The pods stay Terminating, so the fleet is not steady: what counts is that all living targets are scraped.
    let limit = Duration::from_secs(180);
    let scraped = until("all living exporters scraped", limit, async || stage.collector.all_scraped(at)).await;
    let reached = now();
    stage.expect(
        "node crashed: all living exporters are scraped again",
        scraped.as_ref().map_or_else(|error| format!("{error:#}"), |()| format!("after {:.0} s", seconds(reached - at))),
        scraped.is_ok(),
    );
    let row = stage.end_at(act, reached).await?;
    stage.expect("node crashed: unscraped intervals", row.shards.unscraped, true);

    let act = stage.begin("node returned").await?;
    stage.cluster.machine("node-return", &[&number]).await?;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(240)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    let act = stage.begin("after the return").await?;
    tokio::time::sleep(stage.fixture.interval * 4).await;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    stage.expect("after the return: no target is scraped twice", row.shards.doubled, row.shards.doubled == 0);
    Ok(())
}

/// The node with the most shards on which neither coordinator nor Thanos Query nor the control runs, or at least
/// not all of them.
async fn busiest_node_but_one(stage: &Stage) -> anyhow::Result<String> {
    let pods = stage.cluster.pods(stage.fixture.namespace).await?;
    let mut nodes: std::collections::BTreeMap<&str, (i64, i64)> = std::collections::BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.ready()) {
        let (needed, shards) = nodes.entry(pod.node.as_str()).or_default();
        if stage.fixture.replicas.contains(&pod.owner.as_str()) {
            *shards += 1;
        } else if !pod.name.starts_with("metrics") {
            *needed += 1;
        }
    }
    let node =
        nodes.iter().filter(|(_, (_, shards))| *shards > 0).min_by_key(|(name, (needed, shards))| (*needed, -shards, **name));
    node.map(|(name, _)| (*name).to_owned()).ok_or_else(|| anyhow::anyhow!("no node runs a shard"))
}

/// How long pods were not ready while they were replaced.
struct Away {
    /// Of each, in seconds.
    seconds: Vec<f64>,
    /// Most of them at the same time.
    at_once: usize,
}

/// Does something to pods and waits until each was replaced and is ready again.
async fn replaced(stage: &Stage, names: &[&str], act: impl AsyncFnOnce(&Stage) -> anyhow::Result<()>) -> anyhow::Result<Away> {
    let before = stage.fixture.shards(&stage.cluster).await?;
    let old = |name: &str| before.iter().find(|pod| pod.name == name).map(|pod| pod.uid.clone());
    let mut gone: Vec<Option<i64>> = vec![None; names.len()];
    let mut at_once = 0;
    act(stage).await?;
    let limit = Duration::from_secs(60 * (1 + names.len() as u64));
    let start = std::time::Instant::now();
    loop {
        anyhow::ensure!(start.elapsed() < limit, "{names:?}: not replaced within {} s", limit.as_secs());
        let pods = stage.cluster.pods(stage.fixture.namespace).await?;
        let mut seconds_away = vec![];
        let mut unready = 0;
        for (name, gone) in names.iter().zip(&mut gone) {
            let pod = pods.iter().find(|pod| pod.name == *name);
            unready += usize::from(!pod.is_some_and(Pod::ready));
            match pod {
                Some(pod) if Some(&pod.uid) != old(name).as_ref() => {
                    // Replaced between two looks: gone when the new one was made, at the latest.
                    let gone = *gone.get_or_insert(pod.created);
                    seconds_away.extend(pod.ready_since.map(|ready| seconds(ready - gone)));
                }
                Some(pod) => *gone = pod.deleting.or(*gone),
                None => {}
            }
        }
        at_once = at_once.max(unready);
        if seconds_away.len() == names.len() {
            return Ok(Away { seconds: seconds_away, at_once });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// At most each pod's own time away plus an interval, for each of its two targets.
fn expect_own_time(stage: &mut Stage, row: &Row, away: &Away) {
    let interval = stage.fixture.interval.as_secs_f64();
    let per_shard = TARGETS / SHARDS;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few intervals")]
    let most: u64 = away.seconds.iter().map(|away| (away / interval).ceil() as u64 + 1).sum::<u64>() * per_shard;
    let longest = away.seconds.iter().copied().fold(0.0, f64::max);
    stage.expect_unscraped(row, most, &format!("{} pods not ready for up to {longest:.0} s", away.seconds.len()));
}
