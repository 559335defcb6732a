//! A broken configuration file at the start and over restarts, with a real Prometheus beside the sidecar.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use support::{Coordinator, Exporter, Shard, eventually, http, metric, missing_intervals, static_config, world};

const BROKEN: &str = "scrape_configs:\n- job_name: story\n  scrape_intervall: 1s\n";

/// A volume as the kubelet fills it from a ConfigMap: an update swaps the symlink `..data`.
struct ConfigMap {
    dir: PathBuf,
    updates: AtomicU32,
}

impl ConfigMap {
    fn new(dir: PathBuf, text: &str) -> Self {
        fs::create_dir(&dir).unwrap();
        let map = ConfigMap { dir, updates: AtomicU32::new(0) };
        symlink("..data/prometheus.yml", map.file()).unwrap();
        map.update(text);
        map
    }

    fn update(&self, text: &str) {
        let old = fs::read_link(self.dir.join("..data")).ok();
        let new = format!("..{}", self.updates.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(self.dir.join(&new)).unwrap();
        fs::write(self.dir.join(&new).join("prometheus.yml"), text).unwrap();
        symlink(&new, self.dir.join("..data_tmp")).unwrap();
        fs::rename(self.dir.join("..data_tmp"), self.dir.join("..data")).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(self.dir.join(old)).unwrap();
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.join("prometheus.yml")
    }
}

async fn readiness(url: &str) -> Result<(bool, String), String> {
    let response = http().get(format!("{url}/-/ready")).send().await.map_err(|e| e.to_string())?;
    Ok((response.status().is_success(), response.text().await.map_err(|e| e.to_string())?))
}

/// Waits until the service is ready, or is not, for a reason that holds `part`.
async fn is_ready(url: &str, ready: bool, part: &str) {
    eventually("readiness", async || {
        let (is, text) = readiness(url).await?;
        if is == ready && text.contains(part) { Ok(()) } else { Err(text) }
    })
    .await;
}

async fn reload_ok(url: &str, name: &str) -> f64 {
    let text = http().get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
    metric(&text, name).unwrap()
}

/// Whether a process has not ended.
fn runs(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_config_map_at_the_start_then_mended_then_broken_over_a_restart() {
    let world = world();
    let exporters = [Exporter::start(20).await, Exporter::start(30).await];
    let good = static_config("1s", &exporters.iter().collect::<Vec<_>>());
    let map = ConfigMap::new(world.path().join("etc"), BROKEN);
    let store = world.path().join("coordinator-store");
    let keep = format!("--store.path={}", store.display());

    // Everything starts beside the broken file, Prometheus as soon as anything can start it.
    let mut shard = Shard::new(world.path(), "shard-0", &map.file());
    let start = Instant::now();
    shard.start_sidecar();
    shard.start_prometheus().await;
    let file_after = start.elapsed();
    let args = ["--coordinator.interval=1s", "--shard.max-series=1000", &keep];
    let mut coordinator = Coordinator::start(world.path(), &map.file(), &[&shard], &args);
    is_ready(&shard.url(), false, "scrape_intervall").await;
    is_ready(&coordinator.url(), false, "scrape_intervall").await;
    eventually("prometheus runs", async || {
        readiness(&shard.prometheus_url()).await.and_then(|(ready, t)| ready.then_some(()).ok_or(t))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let prometheus = shard.prometheus.as_ref().unwrap().pid();
    assert!(runs(prometheus), "{}", shard.prometheus.as_ref().unwrap().log_text());
    assert!(runs(shard.sidecar.as_ref().unwrap().pid()) && runs(coordinator.process.pid()));
    assert_eq!(reload_ok(&shard.url(), "kvass_sidecar_config_last_reload_successful").await, 0.0);
    assert_eq!(reload_ok(&coordinator.url(), "kvass_coordinator_config_last_reload_successful").await, 0.0);
    for (name, log) in [("sidecar", shard.sidecar.as_ref().unwrap().log_text()), ("coordinator", coordinator.process.log_text())]
    {
        assert_eq!(log.matches("configuration refused").count(), 1, "{name} says it once: {log}");
        assert!(log.contains("scrape_intervall"), "{name}: {log}");
    }
    println!("broken at the start: a file for prometheus after {:.2} s, nothing ended", file_after.as_secs_f64());

    let mended = Instant::now();
    map.update(&good);
    eventually("all scraped", async || exporters.iter().all(|e| !e.scrapes().is_empty()).then_some(()).ok_or("no".to_owned()))
        .await;
    println!("mended: all targets scraped after {:.2} s", mended.elapsed().as_secs_f64());
    is_ready(&shard.url(), true, "ready").await;
    coordinator.all_assigned(2).await;
    assert_eq!(shard.prometheus.as_ref().unwrap().pid(), prometheus, "the same Prometheus");

    // Broken while at work: nothing changes.
    let broken = Instant::now();
    map.update(BROKEN);
    is_ready(&shard.url(), true, "the last good configuration is in force").await;
    is_ready(&coordinator.url(), true, "the last good configuration is in force").await;
    println!("broken again: told after {:.2} s", broken.elapsed().as_secs_f64());

    // And then everything is killed: first the sidecar alone, so that only its own store can help it.
    coordinator.process.kill().await;
    shard.sidecar.as_mut().unwrap().kill().await;
    let killed = Instant::now();
    shard.start_sidecar();
    let scraped = async |since: Instant| {
        eventually("scraped again", async || {
            let again = exporters.iter().all(|e| e.scrapes().iter().any(|s| s.at > since));
            if again { Ok(()) } else { Err("no".to_owned()) }
        })
        .await;
        since.elapsed().as_secs_f64()
    };
    println!("sidecar killed and started beside the broken file: all scraped after {:.2} s", scraped(killed).await);
    is_ready(&shard.url(), true, "the last good configuration is in force").await;
    let missed: Vec<u32> = exporters.iter().map(|e| missing_intervals(&e.scraped_at(broken), 1.0)).collect();
    assert!(missed.iter().all(|missed| *missed <= 2), "unscraped intervals of a kill and a start: {missed:?}");

    // A new pod with the old volume: the output is gone, Prometheus starts anew.
    shard.sidecar.as_mut().unwrap().kill().await;
    shard.prometheus.as_mut().unwrap().kill().await;
    fs::remove_file(shard.injected()).unwrap();
    let replaced = Instant::now();
    shard.start_sidecar();
    shard.start_prometheus().await;
    println!("pod replaced beside the broken file, volume kept: all scraped after {:.2} s", scraped(replaced).await);

    coordinator.restart();
    is_ready(&coordinator.url(), true, "the last good configuration is in force").await;
    coordinator.all_assigned(2).await;
    assert!(store.join("kvass-last-good-config.json").exists());
    let mended = Instant::now();
    map.update(&static_config("2s", &exporters.iter().collect::<Vec<_>>()));
    eventually("nobody complains any more", async || {
        let texts = [readiness(&shard.url()).await?, readiness(&coordinator.url()).await?];
        let fine = texts.iter().all(|(ready, text)| *ready && !text.contains("last good"));
        if fine { Ok(()) } else { Err(format!("{texts:?}")) }
    })
    .await;
    println!("mended: in force everywhere after {:.2} s", mended.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_starts_anew_beside_a_broken_file_gives_its_targets_to_others() {
    let world = world();
    let exporters = [Exporter::start(50).await, Exporter::start(50).await, Exporter::start(50).await, Exporter::start(50).await];
    let good = static_config("1s", &exporters.iter().collect::<Vec<_>>());
    let maps: Vec<ConfigMap> = (0..2).map(|i| ConfigMap::new(world.path().join(format!("etc-{i}")), &good)).collect();
    let mut shards = Vec::new();
    for (i, map) in maps.iter().enumerate() {
        let shard = Shard::start(world.path(), &format!("shard-{i}"), &map.file()).await;
        shard.ready().await;
        shards.push(shard);
    }
    let args = ["--coordinator.interval=1s", "--shard.max-series=1000", "--shard.unavailable-grace=5s"];
    let coordinator = Coordinator::start(world.path(), &maps[0].file(), &shards.iter().collect::<Vec<_>>(), &args);
    let placement = coordinator.all_assigned(4).await;
    assert!(placement.values().any(|shards| shards == &["shard-1"]), "{placement:?}");

    // Only this shard's node has the broken ConfigMap yet.
    maps[1].update(BROKEN);
    let shard = &mut shards[1];
    shard.sidecar.as_mut().unwrap().kill().await;
    shard.prometheus.as_mut().unwrap().kill().await;
    let dir: &Path = &shard.dir;
    fs::remove_dir_all(dir).unwrap();
    let replaced = Instant::now();
    shard.start_sidecar();
    shard.start_prometheus().await;
    let elsewhere = async |targets: usize| {
        let placement = coordinator.placement().await?;
        let there = placement.values().filter(|shards| **shards == ["shard-0"]).count();
        if there >= targets { Ok(()) } else { Err(format!("{placement:?}")) }
    };
    eventually("its targets are elsewhere", async || elsewhere(4).await).await;
    println!("targets of the unconfigured shard elsewhere after {:.1} s (grace 5 s)", replaced.elapsed().as_secs_f64());
    is_ready(&shards[1].url(), false, "no configuration: ").await;
    assert!(shards[1].holds().await.unwrap().is_empty(), "it was given nothing");
    assert!(runs(shards[1].prometheus.as_ref().unwrap().pid()));

    let mended = Instant::now();
    maps[1].update(&good);
    shards[1].ready().await;
    eventually("the shard can be used again", async || {
        let shown = coordinator.shards().await?;
        if shown[1]["state"] == "changeable" { Ok(()) } else { Err(shown[1].to_string()) }
    })
    .await;
    println!("mended: the shard is back after {:.1} s", mended.elapsed().as_secs_f64());
}
