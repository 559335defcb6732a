//! Kills and hangs: what goes on, what comes back, and that nothing moves for nothing.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use support::{Coordinator, Exporter, Shard, eventually, missing_intervals, samples, static_config, within, write};

/// A fleet at work: every target assigned and scraped more than once.
struct Fleet {
    coordinator: Coordinator,
    shards: Vec<Shard>,
    exporters: Vec<Exporter>,
    placement: BTreeMap<String, Vec<String>>,
    world: tempfile::TempDir,
}

const INTERVAL: f64 = 1.0;

impl Fleet {
    async fn start(shards: usize, exporters: usize, args: &[&str]) -> Fleet {
        let world = tempfile::tempdir().unwrap();
        let config = world.path().join("prometheus.yml");
        let exporters: Vec<Exporter> = futures::future::join_all((0..exporters).map(|_| Exporter::start(50))).await;
        write(&config, &static_config("1s", &exporters.iter().collect::<Vec<_>>()));
        let shards = Shard::start_many(world.path(), shards, &config).await;
        let all: Vec<&Shard> = shards.iter().collect();
        let args: Vec<&str> =
            ["--coordinator.interval=1s", "--shard.max-series=1000"].into_iter().chain(args.iter().copied()).collect();
        let coordinator = Coordinator::start(world.path(), &config, &all, &args);
        let placement = coordinator.all_assigned(exporters.len()).await;
        let fleet = Fleet { coordinator, shards, exporters, placement, world };
        fleet.scraped_since(Instant::now(), 2, &fleet.everybody()).await;
        fleet
    }

    fn everybody(&self) -> BTreeSet<String> {
        self.exporters.iter().map(|e| e.address.clone()).collect()
    }

    /// Targets of one shard, by the placement at the start.
    fn of_shard(&self, index: usize) -> BTreeSet<String> {
        let name = &self.shards[index].name;
        self.placement.iter().filter(|(_, shards)| shards.contains(name)).map(|(address, _)| address.clone()).collect()
    }

    /// Waits until each of `addresses` was scraped `number` times since.
    async fn scraped_since(&self, since: Instant, number: usize, addresses: &BTreeSet<String>) {
        eventually("scrapes", async || {
            let late =
                |e: &&Exporter| addresses.contains(&e.address) && e.scrapes().iter().filter(|s| s.at >= since).count() < number;
            match self.exporters.iter().find(late) {
                None => Ok(()),
                Some(exporter) => Err(format!("{} is not scraped", exporter.address)),
            }
        })
        .await;
    }

    fn explores(&self) -> Vec<usize> {
        self.exporters.iter().map(Exporter::explores).collect()
    }

    /// Unscraped intervals since `start` of `addresses`, by the exporters' own record.
    fn unscraped(&self, start: Instant, addresses: &BTreeSet<String>) -> Vec<(String, u32)> {
        let of = |e: &Exporter| (e.address.clone(), missing_intervals(&e.scraped_at(start), INTERVAL));
        self.exporters.iter().filter(|e| addresses.contains(&e.address)).map(of).filter(|(_, missing)| *missing > 0).collect()
    }

    /// Waits for some complete cycles of the coordinator.
    async fn cycles(&self, number: usize) {
        let mut last = None;
        for _ in 0..=number {
            last = eventually("another cycle", async || {
                let at = self.coordinator.status().await?["data"]["lastCycle"].as_str().map(str::to_owned);
                if at.is_some() && at != last { Ok(at) } else { Err(format!("still {at:?}")) }
            })
            .await;
        }
    }

    /// The coordinator's word for each shard.
    async fn states(&self) -> Result<Vec<String>, String> {
        Ok(self.coordinator.shards().await?.iter().map(|s| s["state"].as_str().unwrap_or_default().to_owned()).collect())
    }

    async fn all_changeable(&self) {
        eventually("all shards can be changed", async || {
            let states = self.states().await?;
            if states.iter().all(|s| s == "changeable") { Ok(()) } else { Err(format!("{states:?}")) }
        })
        .await;
    }

    /// Nothing moved, nothing was explored that a shard measures.
    async fn as_before(&self, explores: &[usize]) {
        assert_eq!(self.coordinator.placement().await.unwrap(), self.placement, "nothing moved");
        assert_eq!(self.explores(), explores, "nothing was explored again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinator_is_killed() {
    let mut fleet = Fleet::start(3, 9, &[]).await;
    let explores = fleet.explores();
    let start = Instant::now();
    fleet.coordinator.process.kill().await;
    fleet.scraped_since(Instant::now(), 5, &fleet.everybody()).await;
    let restarted = Instant::now();
    fleet.coordinator.restart();
    fleet.coordinator.all_assigned(9).await;
    println!("coordinator back at work {:.2} s after its start", restarted.elapsed().as_secs_f64());
    fleet.cycles(4).await;
    fleet.as_before(&explores).await;
    let metrics = fleet.coordinator.metrics().await;
    assert!(!metrics.lines().any(|l| l.starts_with("kvass_explore_explored_total{")), "nothing was explored");
    assert_eq!(fleet.unscraped(start, &fleet.everybody()), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinator_is_killed_while_a_shard_hangs() {
    let mut fleet = Fleet::start(3, 9, &[]).await;
    let explores = fleet.explores();
    let hung = fleet.of_shard(1);
    assert!(!hung.is_empty());
    fleet.shards[1].sidecar.as_ref().unwrap().signal("-STOP");
    let start = Instant::now();
    fleet.coordinator.kill_and_restart().await;
    let others: BTreeSet<String> = fleet.everybody().difference(&hung).cloned().collect();
    fleet.scraped_since(Instant::now(), 8, &others).await;
    fleet.cycles(3).await;
    // The hung shard's targets are known to nobody: they wait, they are not given away or explored.
    let placement = fleet.coordinator.placement().await.unwrap();
    for address in &others {
        assert_eq!(placement[address], fleet.placement[address], "{address}");
    }
    for address in &hung {
        assert!(placement[address].is_empty(), "{address} is given to {:?}", placement[address]);
    }
    assert_eq!(fleet.explores(), explores);

    fleet.shards[1].sidecar.as_ref().unwrap().signal("-CONT");
    let back = Instant::now();
    fleet.all_changeable().await;
    fleet.coordinator.all_assigned(9).await;
    println!("hung shard back in the plan {:.2} s after it went on", back.elapsed().as_secs_f64());
    fleet.cycles(3).await;
    fleet.as_before(&explores).await;
    assert_eq!(fleet.unscraped(start, &others), [], "targets of the other shards");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinator_is_killed_during_a_move() {
    let mut fleet = Fleet::start(2, 4, &[]).await;
    let explores = fleet.explores();
    let start = Instant::now();
    fleet.exporters[0].set_series(980);
    let moving = eventually("a move begins", async || {
        for shard in &fleet.shards {
            if let Some((hash, _)) = shard.holds().await?.into_iter().find(|(_, state)| state == "in_transfer") {
                return Ok(hash);
            }
        }
        Err("no target in transfer".to_owned())
    })
    .await;
    fleet.coordinator.process.kill().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut homes = 0;
    for shard in &fleet.shards {
        homes += usize::from(shard.holds().await.unwrap().contains_key(&moving));
    }
    println!("coordinator killed during a move, {homes} shards hold the target");
    assert!(homes >= 1);

    fleet.coordinator.restart();
    let restarted = Instant::now();
    let placement = fleet.coordinator.all_assigned(4).await;
    println!("move finished {:.1} s after the next coordinator's start", restarted.elapsed().as_secs_f64());
    let moved = fleet.placement.iter().filter(|(address, shards)| placement[*address] != **shards).count();
    assert_eq!(moved, 1, "{:?} to {placement:?}", fleet.placement);
    let grown = &fleet.exporters[0].address;
    assert_eq!(placement[grown], fleet.placement[grown]);
    fleet.cycles(3).await;
    for shard in &fleet.shards {
        let holds = shard.holds().await.unwrap();
        assert!(holds.values().all(String::is_empty), "nothing is left in transfer: {holds:?}");
    }
    assert_eq!(fleet.explores(), explores);
    assert_eq!(fleet.unscraped(start, &fleet.everybody()), []);
    for shard in &fleet.shards {
        let stored = samples(&shard.prometheus_url(), "up{job='story'}[5m]").await.unwrap();
        assert!(stored.values().flatten().all(|(_, up)| *up == 1.0), "{}: {stored:?}", shard.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_is_killed() {
    let mut fleet = Fleet::start(2, 6, &[]).await;
    let explores = fleet.explores();
    let (hit, others) = (fleet.of_shard(0), fleet.of_shard(1));
    let start = Instant::now();
    fleet.shards[0].prometheus.as_mut().unwrap().kill().await;
    fleet.cycles(4).await;
    assert_eq!(fleet.states().await.unwrap(), ["holding", "changeable"]);
    fleet.as_before(&explores).await;

    fleet.shards[0].start_prometheus().await;
    let started = Instant::now();
    fleet.shards[0].ready().await;
    let ready = Instant::now();
    fleet.scraped_since(started, 1, &hit).await;
    println!(
        "prometheus killed: ready {:.2} s after its start, all its targets scraped {:.2} s later",
        (ready - started).as_secs_f64(),
        ready.elapsed().as_secs_f64()
    );
    // A Prometheus of its own accord takes up to 5 s until it has its first targets.
    assert!(ready.elapsed() < Duration::from_secs(15), "within an interval, generously");
    fleet.all_changeable().await;
    fleet.cycles(2).await;
    fleet.as_before(&explores).await;
    assert_eq!(fleet.unscraped(start, &others), [], "targets of the other shard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_is_killed() {
    let mut fleet = Fleet::start(2, 6, &[]).await;
    let explores = fleet.explores();
    let (hit, others) = (fleet.of_shard(0), fleet.of_shard(1));
    let start = Instant::now();
    fleet.shards[0].sidecar.as_mut().unwrap().kill().await;
    fleet.cycles(4).await;
    assert_eq!(fleet.states().await.unwrap(), ["holding", "changeable"]);
    fleet.as_before(&explores).await;

    // The store gives it its list: nobody else can, the coordinator is gone too.
    fleet.coordinator.process.kill().await;
    fleet.shards[0].start_sidecar();
    let started = Instant::now();
    fleet.scraped_since(started, 1, &hit).await;
    println!("sidecar killed: all its targets scraped {:.2} s after its start (interval 1 s)", started.elapsed().as_secs_f64());
    assert!(started.elapsed() < Duration::from_secs(10), "within an interval, generously");
    fleet.coordinator.restart();
    fleet.coordinator.all_assigned(6).await;
    fleet.all_changeable().await;
    fleet.cycles(2).await;
    fleet.as_before(&explores).await;
    assert_eq!(fleet.unscraped(start, &others), [], "targets of the other shard");
}

/// Adds a target to the configuration; seconds until it has a shard, and until Prometheus first scrapes it.
async fn add_target(fleet: &mut Fleet) -> (f64, f64) {
    fleet.exporters.push(Exporter::start(50).await);
    let added = Instant::now();
    write(&fleet.world.path().join("prometheus.yml"), &static_config("1s", &fleet.exporters.iter().collect::<Vec<_>>()));
    let exporter = fleet.exporters.last().unwrap();
    eventually("the new target has a shard", async || {
        let placement = fleet.coordinator.placement().await?;
        if placement.get(&exporter.address).is_some_and(|s| s.len() == 1) { Ok(()) } else { Err(format!("{placement:?}")) }
    })
    .await;
    let assigned = added.elapsed();
    let first = eventually("the new target is scraped", async || exporter.scrapes().first().map(|s| s.at).ok_or("no".to_owned()));
    (assigned.as_secs_f64(), (first.await - added).as_secs_f64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_hangs() {
    let mut fleet = Fleet::start(3, 9, &["--shard.unavailable-grace=12s"]).await;
    let (assigned, scraped) = add_target(&mut fleet).await;
    println!("new target: assigned after {assigned:.2} s, scraped after {scraped:.2} s");
    fleet.placement = fleet.coordinator.all_assigned(10).await;
    fleet.all_changeable().await;
    let hung = fleet.of_shard(2);
    fleet.shards[2].signal("-STOP");
    let stopped = Instant::now();
    eventually("the coordinator has noticed", async || {
        let states = fleet.states().await?;
        if states == ["changeable", "changeable", "holding"] { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;
    println!("a shard hangs: noticed after {:.2} s", stopped.elapsed().as_secs_f64());
    let (assigned, scraped) = add_target(&mut fleet).await;
    println!("new target while a shard hangs: assigned after {assigned:.2} s, scraped after {scraped:.2} s");
    assert!(assigned < 5.0, "others do not wait for it: {assigned}");

    let name = fleet.shards[2].name.clone();
    eventually("its targets are elsewhere", async || {
        let placement = fleet.coordinator.placement().await?;
        let elsewhere = |a: &String| placement[a].iter().any(|shard| *shard != name);
        if hung.iter().all(elsewhere) { Ok(()) } else { Err(format!("{placement:?}")) }
    })
    .await;
    let moved = stopped.elapsed();
    println!("targets of the hung shard elsewhere {:.1} s after it stopped (grace 12 s)", moved.as_secs_f64());
    assert!(moved >= Duration::from_secs(12), "not before the grace is over");
    fleet.scraped_since(Instant::now(), 1, &hung).await;

    fleet.shards[2].signal("-CONT");
    let back = Instant::now();
    fleet.all_changeable().await;
    let placement = fleet.coordinator.all_assigned(11).await;
    println!("no doubles any more {:.1} s after it went on", back.elapsed().as_secs_f64());
    eventually("the shards' own lists agree", async || {
        let mut lists = BTreeMap::<String, Vec<String>>::new();
        for shard in &fleet.shards {
            shard.holds().await?.into_keys().for_each(|hash| lists.entry(hash).or_default().push(shard.name.clone()));
        }
        if lists.len() == 11 && lists.values().all(|shards| shards.len() == 1) { Ok(()) } else { Err(format!("{lists:?}")) }
    })
    .await;
    assert!(back.elapsed() < Duration::from_secs(20), "a few cycles, generously");
    let healthy: BTreeSet<String> = fleet.everybody().difference(&hung).cloned().collect();
    assert_eq!(fleet.unscraped(back, &healthy), [], "{placement:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_corrupt() {
    let mut fleet = Fleet::start(2, 6, &[]).await;
    let explores = fleet.explores();
    let hit = fleet.of_shard(1);
    fleet.shards[1].sidecar.as_mut().unwrap().kill().await;
    let store = fleet.shards[1].dir.join("kvass-shard.json");
    fs::write(&store, "{\"Targets\": {\"story\": [{\"ha").unwrap();
    fleet.shards[1].start_sidecar();
    let started = Instant::now();
    fleet.scraped_since(started, 1, &hit).await;
    println!("corrupt store: targets scraped again {:.2} s after the start", started.elapsed().as_secs_f64());
    fleet.all_changeable().await;
    fleet.coordinator.all_assigned(6).await;
    fleet.cycles(2).await;
    fleet.as_before(&explores).await;
    let kept: Vec<String> =
        fs::read_dir(&fleet.shards[1].dir).unwrap().map(|f| f.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(kept.iter().any(|name| name.starts_with("kvass-shard.json") && name.contains("corrupt")), "kept aside: {kept:?}");
    let log = fleet.shards[1].sidecar.as_ref().unwrap().log_text();
    assert!(log.lines().any(|line| line.contains("kvass-shard.json")), "the log names the file: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_comes_later_than_its_sidecar() {
    let world = tempfile::tempdir().unwrap();
    let config = world.path().join("prometheus.yml");
    let exporters = [Exporter::start(50).await, Exporter::start(60).await];
    write(&config, &static_config("1s", &exporters.iter().collect::<Vec<_>>()));
    let mut shard = Shard::new(world.path(), "shard-0", &config);
    shard.start_sidecar();
    let coordinator =
        Coordinator::start(world.path(), &config, &[&shard], &["--coordinator.interval=1s", "--shard.max-series=1000"]);
    let waiting = eventually("the coordinator says what it waits for", async || {
        let shown = coordinator.shards().await?.remove(0);
        let problem = shown["problem"].as_str().unwrap_or_default().to_owned();
        if problem.is_empty() || problem.contains("has no address") { Err(shown.to_string()) } else { Ok(shown) }
    })
    .await;
    println!("without prometheus: {}", waiting["problem"]);
    assert_ne!(waiting["state"], "changeable");
    assert!(exporters.iter().all(|e| e.scrapes().is_empty()));

    shard.start_prometheus().await;
    let started = Instant::now();
    within(Duration::from_secs(30), "both scraped", async || {
        if exporters.iter().all(|e| !e.scrapes().is_empty()) { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;
    println!("prometheus later than its sidecar: all scraped {:.2} s after its start", started.elapsed().as_secs_f64());
    coordinator.all_assigned(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_end_when_asked_to() {
    let mut fleet = Fleet::start(2, 4, &[]).await;
    let start = Instant::now();
    fleet.coordinator.process.signal("-TERM");
    let status = fleet.coordinator.process.wait().await;
    println!("coordinator ended {:.2} s after SIGTERM: {status}", start.elapsed().as_secs_f64());
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
    // With scrapes running and connections open.
    for shard in &mut fleet.shards {
        let start = Instant::now();
        let sidecar = shard.sidecar.as_mut().unwrap();
        sidecar.signal("-TERM");
        let status = sidecar.wait().await;
        println!("sidecar ended {:.2} s after SIGTERM: {status}", start.elapsed().as_secs_f64());
        assert_eq!(status.code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(8));
    }
}
