//! (c) What happens to every installation sooner or later.

use std::time::{Duration, Instant};

use super::{
    absence::{expect_own_time, replaced},
    placement::placed,
};
use crate::{
    cluster::{Pod, until},
    measure::Row,
    stage::{Act, Stage, now, seconds},
};

const TARGETS: u64 = 12;
const SHARDS: u64 = 6;

/// `--shard.unavailable-grace` of all fixtures: its default.
const GRACE: Duration = Duration::from_secs(60);
/// `--coordinator.interval` of the fixtures: how late the end of the grace may be noticed.
const CYCLE: Duration = Duration::from_secs(5);

async fn loaded(stage: &mut Stage) -> anyhow::Result<()> {
    stage.generators(TARGETS).await?;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(240)).await?;
    Ok(())
}

/// The coordinator killed; a shard pod deleted.
pub(super) async fn kills(stage: &mut Stage) -> anyhow::Result<()> {
    coordinator_killed(stage).await?;
    shard_killed(stage).await?;
    Ok(())
}

/// The coordinator killed, with all shards loaded.
pub(super) async fn coordinator_killed(stage: &mut Stage) -> anyhow::Result<()> {
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
    Ok(())
}

/// A shard pod deleted; what was measured, and the most unscraped intervals that its own time away explains.
pub(super) async fn shard_killed(stage: &mut Stage) -> anyhow::Result<(Row, u64)> {
    let act = stage.begin("a shard pod deleted").await?;
    let name = format!("{}-1", stage.fixture.replicas.first().copied().unwrap_or_default());
    let away = replaced(stage, &[&name], async |stage| {
        stage.cluster.kubectl(stage.fixture.namespace, &["delete", "pod", &name, "--wait=false"]).await?;
        Ok(())
    })
    .await?;
    stage.steady(TARGETS, SHARDS, Duration::from_secs(180)).await?;
    let row = stage.end(act).await?;
    let most = expect_own_time(stage, &row, &away, TARGETS / SHARDS);
    Ok((row, most))
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
    expect_own_time(stage, &row, &away, TARGETS / SHARDS);
    stage.expect("rolling update: one shard at a time", away.at_once, away.at_once <= stage.fixture.replicas.len());
    Ok(())
}

/// Coordinator and API server away for a minute, each and both, while a fifth of the exporters is replaced.
pub(super) async fn outages(stage: &mut Stage) -> anyhow::Result<()> {
    loaded(stage).await?;
    let number = stage.fixture.coordinators(&stage.cluster).await?.len();
    for (name, coordinator, api_server) in [
        ("coordinator away for 60 s", true, false),
        ("both away for 60 s", true, true),
        // Last, because a coordinator that sees old and new exporters together asks for a shard more.
        ("API server away for 60 s", false, true),
    ] {
        let before = placed(stage).await?;
        let act = stage.begin(name).await?;
        if coordinator {
            coordinators(stage, 0).await?;
        }
        replace_a_fifth(stage).await?;
        if api_server {
            stage.cluster.machine("stop", &["kube-apiserver"]).await?;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut back = now();
        if api_server {
            stage.cluster.machine("start", &["kube-apiserver"]).await?;
            until("the API server answers", Duration::from_secs(60), async || stage.cluster.get("/version").await).await?;
        }
        if coordinator {
            coordinators(stage, number).await?;
            // After an outage of the API server it takes Kubernetes a while to start pods again.
            back = until("a coordinator is back", Duration::from_secs(180), async || {
                let pods = stage.fixture.coordinators(&stage.cluster).await?;
                pods.iter().filter_map(|pod| pod.started).min().ok_or_else(|| anyhow::anyhow!("none was started"))
            })
            .await?;
        }
        // Old and new exporters together may need a shard more for a while, and full heads keep it until they are truncated.
        stage.settled(TARGETS, Duration::from_secs(180)).await?;
        let reached = now();
        let row = stage.end_at(act, reached).await?;
        stage.expect_moves_only(&row);
        let after = placed(stage).await?;
        let stayed: Vec<_> = before.iter().filter(|(target, _)| after.contains_key(*target)).collect();
        let moved: Vec<_> = stayed.iter().filter(|(target, on)| after.get(*target) != Some(on)).collect();
        let seen = format!("{moved:?} of {}", stayed.len());
        stage.expect(format!("{name}: no exporter of before moved"), seen, moved.is_empty() && !stayed.is_empty());
        let first = stage.collector.last_first_scrape().map_or(f64::INFINITY, |at| seconds((at - back).max(0)));
        stage.expect(format!("{name}: new targets scraped within 15 s of return"), format!("{first:.1} s"), first <= 15.0);
    }
    Ok(())
}

async fn coordinators(stage: &Stage, number: usize) -> anyhow::Result<()> {
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

/// A node crashed and back; a node drained, after which all pods are on the other.
pub(super) async fn nodes(stage: &mut Stage) -> anyhow::Result<()> {
    loaded(stage).await?;
    crashed(stage).await?;
    drained(stage).await
}

async fn drained(stage: &mut Stage) -> anyhow::Result<()> {
    let node = busiest_node_but_one(stage).await?;
    let names: Vec<String> = on(&node, stage.fixture.shards(&stage.cluster).await?).into_iter().map(|pod| pod.name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let act = stage.begin("node drained").await?;
    let away = replaced(stage, &names, async |stage| {
        let drain = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s"];
        stage.cluster.kubectl(stage.fixture.namespace, &drain).await?;
        Ok(())
    })
    .await;
    let steady = match &away {
        Ok(_) => stage.settled(TARGETS, Duration::from_secs(240)).await.map(drop),
        Err(_) => Ok(()),
    };
    stage.cluster.kubectl(stage.fixture.namespace, &["uncordon", &node]).await?;
    let away = away?;
    steady?;
    let row = stage.end(act).await?;
    expect_own_time(stage, &row, &away, TARGETS / SHARDS);
    stage.expect("node drained: one shard at a time", away.at_once, away.at_once <= 1);
    Ok(())
}

async fn crashed(stage: &mut Stage) -> anyhow::Result<()> {
    let node = busiest_node_but_one(stage).await?;
    let number = node.trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned();
    let exporters = on(&node, stage.fixture.generators(&stage.cluster).await?);
    let lost: Vec<String> = on(&node, stage.fixture.shards(&stage.cluster).await?).into_iter().map(|pod| pod.name).collect();
    let act = stage.begin("node crashed").await?;
    let at = now();
    stage.cluster.machine("node-crash", &[&number]).await?;
    stage.collector.died(&exporters, at);
    let told = without_a_node(stage, act, at, &exporters, &lost).await;

    let act = stage.begin("node returned").await?;
    // Whatever happened: without it no pod of its can be cleared away.
    stage.cluster.machine("node-return", &[&number]).await?;
    told?;
    at_rest(stage).await?;
    let row = stage.end(act).await?;
    stage.expect_moves_only(&row);
    let act = stage.begin("after the return").await?;
    tokio::time::sleep(stage.fixture.interval * 4).await;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    stage.expect("after the return: no target is scraped twice", row.shards.doubled, row.shards.doubled == 0);
    Ok(())
}

/// Waits until nothing has moved for a while. Shards that come back with their targets keep what was given to others
/// there for ten minutes; those that come back empty are filled, and the others drained, at once.
async fn at_rest(stage: &Stage) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(300);
    let mut before = stage.settled(TARGETS, Duration::from_secs(300)).await?;
    loop {
        tokio::time::sleep(stage.fixture.interval * 4).await;
        let fleet = stage.settled(TARGETS, end.saturating_duration_since(Instant::now())).await?;
        if fleet.targets == before.targets {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < end, "targets still move: {:?}, then {:?}", before.targets, fleet.targets);
        before = fleet;
    }
}

/// What happens until the living exporters are given to living shards, and scraped by them. The lost pods stay
/// Terminating, so the fleet is not steady meanwhile.
async fn without_a_node(stage: &mut Stage, act: Act, at: i64, dead: &[Pod], lost: &[String]) -> anyhow::Result<()> {
    let limit = Duration::from_secs(180);
    let given = async {
        let given = until("all living exporters given to others", limit, async || given_to_others(stage, dead, lost).await).await;
        (given, now())
    };
    let scraped = async {
        let scraped = until("all living exporters scraped", limit, async || stage.collector.all_scraped(at)).await;
        (scraped, now())
    };
    let ((given, given_at), (scraped, reached)) = tokio::join!(given, scraped);
    let after = |done: &anyhow::Result<()>, then: i64| {
        done.as_ref().map_or_else(|error| format!("{error:#}"), |()| format!("after {:.1} s", seconds(then - at)))
    };
    // What was asked in vain must have ended, and the harness looks once a second.
    let soon = (GRACE + CYCLE + Duration::from_secs(2)).as_secs_f64();
    stage.expect(
        format!("node crashed: all living exporters are given to living shards within {soon} s"),
        after(&given, given_at),
        given.is_ok() && seconds(given_at - at) <= soon,
    );
    // Until the coordinator notices, and until Prometheus looks at its targets, which it does every five seconds.
    let soon = (GRACE + CYCLE + stage.fixture.interval + Duration::from_secs(5)).as_secs_f64();
    stage.expect(
        format!("node crashed: all living exporters are scraped again within {soon} s"),
        after(&scraped, reached),
        scraped.is_ok() && seconds(reached - at) <= soon,
    );
    let row = stage.end_at(act, reached).await?;
    let intervals = (GRACE + CYCLE).as_secs().div_ceil(stage.fixture.interval.as_secs()) + 1;
    let most = intervals * lost.len() as u64 * (TARGETS / SHARDS);
    stage.expect_unscraped(&row, most, &format!("the grace and an interval for each target of {} lost shards", lost.len()));
    Ok(())
}

async fn given_to_others(stage: &Stage, dead: &[Pod], lost: &[String]) -> anyhow::Result<()> {
    let placed = placed(stage).await?;
    let living = placed.iter().filter(|(exporter, _)| dead.iter().all(|pod| pod.name != **exporter));
    let waiting: Vec<&str> =
        living.filter(|(_, shards)| shards.iter().all(|shard| lost.contains(shard))).map(|(name, _)| name.as_str()).collect();
    anyhow::ensure!(!placed.is_empty() && waiting.is_empty(), "not given to others yet: {}", waiting.join(", "));
    Ok(())
}

fn on(node: &str, pods: Vec<Pod>) -> Vec<Pod> {
    pods.into_iter().filter(|pod| pod.node == node).collect()
}

/// The node that can best be spared: without Thanos Query, which is asked for samples, if possible without the control
/// as well, and of such nodes the one with the most shards.
async fn busiest_node_but_one(stage: &Stage) -> anyhow::Result<String> {
    let pods = stage.cluster.pods(stage.fixture.namespace).await?;
    let mut nodes: std::collections::BTreeMap<&str, (i64, i64)> = std::collections::BTreeMap::new();
    let (query, control) = (stage.fixture.query(&stage.cluster).await?.name, stage.fixture.control(&stage.cluster).await?.name);
    for pod in pods.iter().filter(|pod| pod.ready()) {
        let (needed, shards) = nodes.entry(pod.node.as_str()).or_default();
        *needed += 2 * i64::from(pod.name == query) + i64::from(pod.name == control);
        *shards += i64::from(stage.fixture.replicas.contains(&pod.owner.as_str()));
    }
    let node =
        nodes.iter().filter(|(_, (_, shards))| *shards > 0).min_by_key(|(name, (needed, shards))| (*needed, -shards, **name));
    node.map(|(name, _)| (*name).to_owned()).ok_or_else(|| anyhow::anyhow!("no node runs a shard"))
}
