//! How long a target added to a file SD file waits for its first scrape: behind kvass, and on a plain
//! Prometheus with the same file, in the same run. Prints medians and their ratio.
//!
//! `cargo bench -p kvass --bench add_target` (20 trials, about four minutes; `KVASS_TRIALS=n` for fewer).

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::time::{Duration, Instant};

use support::{Coordinator, Exporter, Shard, eventually, free_port, start_prometheus, write};

/// Not a divisor of the interval, so that trials start at every phase of it.
const PAUSE: Duration = Duration::from_millis(8_700);

#[tokio::main]
async fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trials: usize = std::env::var("KVASS_TRIALS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let world = tempfile::tempdir().unwrap();
    let config = world.path().join("prometheus.yml");
    write(
        &config,
        "global: {scrape_interval: 15s}\nscrape_configs:\n- job_name: files\n  file_sd_configs:\n  - files: [targets.json]\n",
    );
    // Each side scrapes exporters of its own, so that the exporter's record says who came first when.
    let plain_config = world.path().join("plain.yml");
    write(&plain_config, &std::fs::read_to_string(&config).unwrap().replace("targets.json", "plain.json"));
    let mut sides = [Side::new("kvass", world.path().join("targets.json")), Side::new("plain", world.path().join("plain.json"))];
    for side in &mut sides {
        side.add().await;
    }
    let shard = Shard::start(world.path(), "shard-0", &config).await;
    let coordinator = Coordinator::start(world.path(), &config, &[&shard], &["--shard.max-series=100000"]);
    let _plain = start_prometheus(&world.path().join("plain"), &plain_config, free_port());
    coordinator.all_assigned(1).await;
    for side in &sides {
        side.scraped(0).await;
    }
    let reloads = shard.reloads().await.unwrap();

    for _ in 0..trials {
        for side in &mut sides {
            side.add().await;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let mut medians = Vec::new();
    for side in &sides {
        let mut waited = Vec::new();
        for trial in 1..=trials {
            waited.push(side.scraped(trial).await.as_secs_f64());
        }
        waited.sort_by(f64::total_cmp);
        let median = waited[trials / 2];
        println!(
            "{:6} median {median:5.1} s, shortest {:4.1} s, longest {:4.1} s, {trials} trials",
            side.name,
            waited[0],
            waited[trials - 1]
        );
        medians.push(median);
    }
    println!("kvass - plain: {:+.1} s; kvass / plain: {:.2}", medians[0] - medians[1], medians[0] / medians[1]);
    assert_eq!(shard.reloads().await.unwrap(), reloads, "no reload of Prometheus");
}

struct Side {
    name: &'static str,
    file: std::path::PathBuf,
    exporters: Vec<(Exporter, Instant)>,
}

impl Side {
    fn new(name: &'static str, file: std::path::PathBuf) -> Side {
        Side { name, file, exporters: Vec::new() }
    }

    async fn add(&mut self) {
        let exporter = Exporter::start_slow(100, Duration::from_millis(100)).await;
        self.exporters.push((exporter, Instant::now()));
        let addresses: Vec<String> = self.exporters.iter().map(|(e, _)| format!("\"{}\"", e.address)).collect();
        write(&self.file, &format!("[{{\"targets\": [{}]}}]", addresses.join(", ")));
    }

    /// Time from the addition of a target to the first scrape of it.
    async fn scraped(&self, trial: usize) -> Duration {
        let (exporter, added) = &self.exporters[trial];
        eventually("first scrape", async || exporter.scrapes().first().map(|s| s.at - *added).ok_or("none".to_owned())).await
    }
}
