//! Shards that are processes of this machine (`--shard.type=process`).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Coordinator, Exporter, eventually, missing_intervals, prometheus_binary, static_config, write};

/// A coordinator with process shards; what it started ends with the test.
struct Local {
    coordinator: Coordinator,
    dir: PathBuf,
    config: PathBuf,
    _world: tempfile::TempDir,
}

/// Start time by pid, of prometheus and sidecar of each shard.
type Pids = BTreeMap<String, [(i64, u64); 2]>;

impl Local {
    fn start(exporters: &[&Exporter], args: &[&str]) -> Local {
        let world = tempfile::tempdir().unwrap();
        let config = world.path().join("prometheus.yml");
        write(&config, &static_config("1s", exporters));
        let dir = world.path().join("shards");
        let fixed = [
            "--shard.type=process".to_owned(),
            format!("--shard.process-dir={}", dir.display()),
            format!("--shard.prometheus-binary={}", prometheus_binary().display()),
            "--shard.max-series=600".to_owned(),
            "--coordinator.interval=1s".to_owned(),
        ];
        let args: Vec<&str> = fixed.iter().map(String::as_str).chain(args.iter().copied()).collect();
        let coordinator = Coordinator::start_with(world.path(), &config, &args);
        Local { coordinator, dir, config, _world: world }
    }

    fn record(&self) -> Value {
        fs::read(self.dir.join("shards.json")).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default()
    }

    fn pids(&self) -> Pids {
        let record = self.record();
        let process = |p: &Value| (p["pid"].as_i64().unwrap_or_default(), p["start_time"].as_u64().unwrap_or_default());
        let shards = record["shards"].as_object().into_iter().flatten();
        shards.map(|(name, shard)| (name.clone(), [process(&shard["prometheus"]), process(&shard["sidecar"])])).collect()
    }

    fn shard_dir(&self, ordinal: u32) -> PathBuf {
        self.dir.join(format!("shard-{ordinal}"))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // The coordinator first, or it would start again what ends here.
        self.coordinator.process.signal_if_running("-KILL");
        let all: Vec<(i64, u64)> = self.pids().into_values().flatten().collect();
        for (pid, start_time) in all {
            if is_running(pid, start_time) {
                kill("-KILL", pid);
            }
        }
    }
}

fn kill(signal: &str, pid: i64) {
    let _ = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
}

/// Told from a later process of the same pid by its start time; a zombie does not run.
fn is_running(pid: i64, start_time: u64) -> bool {
    let Ok(stat) = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")) else { return false };
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[0] != "Z" && fields[19].parse() == Ok(start_time)
}

async fn scraped_since(exporters: &[&Exporter], since: Instant, number: usize) {
    eventually("scrapes", async || {
        let late = |e: &&&Exporter| e.scrapes().iter().filter(|s| s.at >= since).count() < number;
        match exporters.iter().find(late) {
            None => Ok(()),
            Some(exporter) => Err(format!("{} is not scraped", exporter.address)),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grows_survives_its_coordinator_and_heals() {
    let [a, b, c] = [Exporter::start(500).await, Exporter::start(500).await, Exporter::start(500).await];
    let mut local = Local::start(&[&a, &b], &[]);
    let started = Instant::now();
    local.coordinator.all_assigned(2).await;
    scraped_since(&[&a, &b], started, 1).await;
    println!("first start to 2 shards, all scraped: {:.1} s", started.elapsed().as_secs_f64());
    assert_eq!(local.pids().len(), 2);

    let added = Instant::now();
    write(&local.config, &static_config("1s", &[&a, &b, &c]));
    let placement = local.coordinator.all_assigned(3).await;
    scraped_since(&[&c], added, 2).await;
    println!("scale-out to 3, new target scraped: {:.1} s", added.elapsed().as_secs_f64());
    let shards: BTreeSet<&String> = placement.values().flatten().collect();
    assert_eq!(shards.len(), 3, "{placement:?}");

    // The coordinator is killed: scraping goes on, the next one adopts what runs.
    let before = local.pids();
    let explores: Vec<usize> = [&a, &b, &c].map(Exporter::explores).into();
    let start = Instant::now();
    local.coordinator.process.kill().await;
    scraped_since(&[&a, &b, &c], Instant::now(), 3).await;
    local.coordinator.restart();
    assert_eq!(local.coordinator.all_assigned(3).await, placement, "nothing moved");
    scraped_since(&[&a, &b, &c], Instant::now(), 3).await;
    assert_eq!(local.pids(), before, "nothing was started again");
    assert!(before.values().flatten().all(|(pid, start_time)| is_running(*pid, *start_time)));
    assert_eq!(Vec::from([&a, &b, &c].map(Exporter::explores)), explores, "nothing was explored again");
    for exporter in [&a, &b, &c] {
        let times = exporter.scraped_at(start);
        assert_eq!(missing_intervals(&times, 1.0), 0, "{times:?}");
    }

    // A child that crashes is started again, and only that one.
    for (index, name) in ["prometheus", "sidecar"].into_iter().enumerate() {
        let before = local.pids();
        let crashed = Instant::now();
        kill("-KILL", before["1"][index].0);
        eventually("it is started again", async || {
            let now = local.pids();
            if now["1"][index] != before["1"][index] && now["1"][index].0 != 0 { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
        let back = Instant::now();
        scraped_since(&[&a, &b, &c], back, 2).await;
        println!(
            "crashed {name}: started again after {:.1} s, everything scraped {:.1} s after the crash",
            (back - crashed).as_secs_f64(),
            crashed.elapsed().as_secs_f64()
        );
        let after = local.pids();
        assert_eq!(after["1"][1 - index], before["1"][1 - index], "its companion goes on");
        assert_eq!([&after["0"], &after["2"]], [&before["0"], &before["2"]]);
    }
    assert_eq!(local.coordinator.all_assigned(3).await, placement, "nothing moved");

    // An orderly end leaves the shards alone too, unless told otherwise.
    let before = local.pids();
    local.coordinator.process.signal("-TERM");
    assert_eq!(local.coordinator.process.wait().await.code(), Some(0));
    scraped_since(&[&a, &b, &c], Instant::now(), 2).await;
    local.coordinator.restart();
    assert_eq!(local.coordinator.all_assigned(3).await, placement);
    assert_eq!(local.pids(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_killed_at_once() {
    let [a, b] = [Exporter::start(500).await, Exporter::start(500).await];
    let mut local = Local::start(&[&a, &b], &[]);
    let placement = local.coordinator.all_assigned(2).await;
    scraped_since(&[&a, &b], Instant::now(), 1).await;
    let before = local.pids();
    local.coordinator.process.kill().await;
    for (pid, start_time) in before.values().flatten() {
        assert!(is_running(*pid, *start_time));
        kill("-KILL", *pid);
    }
    eventually("all are gone", async || {
        let running = before.values().flatten().filter(|(pid, start_time)| is_running(*pid, *start_time)).count();
        if running == 0 { Ok(()) } else { Err(format!("{running} run")) }
    })
    .await;

    local.coordinator.restart();
    let restarted = Instant::now();
    scraped_since(&[&a, &b], restarted, 1).await;
    println!("everything killed: all scraped {:.1} s after the coordinator's start", restarted.elapsed().as_secs_f64());
    assert_eq!(local.coordinator.all_assigned(2).await, placement, "every shard has its targets from its store");
    assert_eq!([a.explores(), b.explores()], [1, 1], "nothing is explored again");
    let after = local.pids();
    assert!(after.keys().eq(before.keys()));
    assert!(after.values().flatten().all(|process| !before.values().flatten().any(|old| old == process)));
}

/// Three shards, two of which lose their targets: drained, idle, removed.
async fn shrinks(delete: bool) {
    let [a, b, c] = [Exporter::start(500).await, Exporter::start(500).await, Exporter::start(500).await];
    let delete_pvc = format!("--shard.delete-pvc={delete}");
    let mut local = Local::start(&[&a, &b, &c], &["--shard.max-idle-time=4s", &delete_pvc, "--shard.process-stop=true"]);
    let placement = local.coordinator.all_assigned(3).await;
    scraped_since(&[&a, &b, &c], Instant::now(), 1).await;
    let before = local.pids();
    assert_eq!(before.len(), 3);

    // The target that stays is on the last shard: it has to be moved to a lower one first.
    let staying = [&a, &b, &c].into_iter().find(|e| placement[&e.address] == ["shard-2"]).unwrap();
    let start = Instant::now();
    write(&local.config, &static_config("1s", &[staying]));
    eventually("one shard is left", async || {
        let (placement, scale) = (local.coordinator.placement().await?, local.record()["scale"].as_u64());
        let moved = placement.len() == 1 && placement.values().all(|s| s == &["shard-0"]);
        if moved && scale == Some(1) && local.pids().len() == 1 { Ok(()) } else { Err(format!("{placement:?} {scale:?}")) }
    })
    .await;
    println!("delete-pvc={delete}: from 3 shards to 1 in {:.1} s (idle time 4 s)", start.elapsed().as_secs_f64());
    assert_eq!(missing_intervals(&staying.scraped_at(start), 1.0), 0, "{:?}", staying.scraped_at(start));
    for ordinal in ["1", "2"] {
        for (pid, start_time) in before[ordinal] {
            assert!(!is_running(pid, start_time), "process {pid} of shard {ordinal}");
        }
    }
    assert_eq!(local.pids()["0"], before["0"], "the shard that stays is untouched");
    for ordinal in [1, 2] {
        assert_eq!(local.shard_dir(ordinal).exists(), !delete, "data of shard {ordinal}");
    }

    // Told to stop its processes, an orderly end ends exactly them.
    let bystander = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
    let asked = Instant::now();
    local.coordinator.process.signal("-TERM");
    assert_eq!(local.coordinator.process.wait().await.code(), Some(0));
    println!("coordinator and its shard ended {:.1} s after SIGTERM", asked.elapsed().as_secs_f64());
    assert!(asked.elapsed() < Duration::from_secs(15));
    assert!(before["0"].iter().all(|(pid, start_time)| !is_running(*pid, *start_time)));
    assert!(Path::new("/proc").join(bystander.id().unwrap().to_string()).exists());
    assert!(local.shard_dir(0).join("data").exists(), "the data of a shard that is only stopped stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shrinks_and_keeps_data() {
    shrinks(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shrinks_and_deletes_data() {
    shrinks(true).await;
}
