//! How targets reach Prometheus: without a reload, however many jobs there are, and without inotify.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::{fs, path::Path, process::Command, time::Instant};

use support::{
    Coordinator, Exporter, Process, Shard, eventually, free_port, metric, prometheus_args, prometheus_binary, start_prometheus,
    world, write,
};

#[tokio::test]
async fn a_new_target_needs_no_reload() {
    const TRIALS: usize = 3;
    let world = world();
    let config = world.path().join("prometheus.yml");
    let text = "global: {scrape_interval: 3s, scrape_timeout: 3s}\nscrape_configs:\n- job_name: files\n  file_sd_configs: [{files: [kvass.json]}]\n";
    write(&config, text);
    // Each side has exporters of its own, so that their records say who came first when.
    let alone_config = world.path().join("alone.yml");
    write(&alone_config, &text.replace("kvass.json", "alone.json"));
    let mut sides: [(&str, Vec<(Exporter, Instant)>); 2] = [("kvass", Vec::new()), ("alone", Vec::new())];
    let add = async |name: &str, exporters: &mut Vec<(Exporter, Instant)>| {
        exporters.push((Exporter::start(5).await, Instant::now()));
        let targets: Vec<_> = exporters.iter().map(|(exporter, _)| format!("\"{}\"", exporter.address)).collect();
        write(&world.path().join(format!("{name}.json")), &format!("[{{\"targets\": [{}]}}]", targets.join(",")));
    };
    for (name, exporters) in &mut sides {
        add(name, exporters).await;
    }
    let shard = Shard::start(world.path(), "shard-0", &config).await;
    let _coordinator = Coordinator::start(world.path(), &config, &[&shard], &["--shard.max-series=1000"]);
    let _alone = start_prometheus(&world.path().join("alone"), &alone_config, free_port());
    let first_scrape = async |exporters: &[(Exporter, Instant)]| {
        let (exporter, added) = exporters.last().unwrap();
        eventually("first scrape", async || exporter.scrapes().first().map(|s| s.at - *added).ok_or("none".to_owned()))
            .await
            .as_secs_f64()
    };
    for (_, exporters) in &sides {
        first_scrape(exporters).await;
    }

    let loaded = shard.reloads().await.unwrap();
    for trial in 1..=TRIALS {
        for (name, exporters) in &mut sides {
            add(name, exporters).await;
        }
        let (kvass, alone) = (first_scrape(&sides[0].1).await, first_scrape(&sides[1].1).await);
        println!("trial {trial}: first scrape after {kvass:.1} s behind kvass, {alone:.1} s alone");
        eventually("all targets up", async || {
            let up = support::query(&shard.prometheus_url(), "up == 1").await?;
            if up.len() == trial + 1 { Ok(()) } else { Err(format!("{up:?}")) }
        })
        .await;
    }
    assert_eq!(shard.reloads().await.unwrap(), loaded, "Prometheus was not asked to reload");
}

/// A configuration of many jobs with one target each.
fn jobs(number: usize, exporter: &Exporter) -> String {
    let mut text = "global: {scrape_interval: 3s, scrape_timeout: 3s}\nscrape_configs:\n".to_owned();
    for job in 0..number {
        text += &format!("- {{job_name: job-{job}, static_configs: [{{targets: ['{}']}}]}}\n", exporter.address);
    }
    text
}

/// Waits until `number` jobs are up on the shard.
async fn jobs_up(shard: &Shard, number: usize) {
    eventually("jobs up", async || {
        let up = support::query(&shard.prometheus_url(), "count(up == 1)").await?;
        if up.values().eq([&(number as f64)]) { Ok(()) } else { Err(format!("{up:?}")) }
    })
    .await;
}

async fn sidecar_metric(shard: &Shard, name: &str) -> f64 {
    let text = reqwest::get(format!("{}/metrics", shard.url())).await.unwrap().text().await.unwrap();
    metric(&text, name).unwrap_or_else(|| panic!("{name}: {text}"))
}

#[tokio::test]
async fn three_hundred_jobs_on_one_shard() {
    let world = world();
    let exporter = Exporter::start(3).await;
    let config = world.path().join("prometheus.yml");
    write(&config, &jobs(300, &exporter));
    let start = Instant::now();
    let shard = Shard::start(world.path(), "shard-0", &config).await;
    let _coordinator = Coordinator::start(world.path(), &config, &[&shard], &["--coordinator.interval=1s"]);
    jobs_up(&shard, 300).await;
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap_or_default();
    println!("300 jobs up after {:.1} s; fs.inotify.max_user_instances is {}", start.elapsed().as_secs_f64(), limit.trim());
    assert_eq!(sidecar_metric(&shard, "kvass_sidecar_inotify_fallbacks_total").await, 0.0);
    assert!(fs::read_to_string(shard.injected()).unwrap().contains("http_sd_configs"));
}

/// In a user namespace of its own Prometheus has a limit of its own, which disturbs nobody else.
const FEW_WATCHERS: &str = r#"echo 2 > /proc/sys/user/max_inotify_instances && exec "$@""#;

#[tokio::test]
async fn files_prometheus_cannot_watch_are_replaced_by_http() {
    let possible = Command::new("unshare").args(["-r", "sh", "-c", FEW_WATCHERS, "sh", "true"]).output();
    if !possible.as_ref().is_ok_and(|output| output.status.success()) {
        println!("not told here, as no user namespace can be had: {possible:?}");
        return;
    }
    let world = world();
    let exporter = Exporter::start(3).await;
    let config = world.path().join("prometheus.yml");
    write(&config, &jobs(6, &exporter));
    let mut shards = [Shard::new(world.path(), "auto", &config), Shard::new(world.path(), "forced", &config)];
    shards[1].sidecar_args = vec!["--inject.targets=file".to_owned()];
    let start = Instant::now();
    let mut coordinators = Vec::new();
    for shard in &mut shards {
        shard.start_sidecar();
        let injected = shard.injected();
        eventually("injected configuration", async || injected.exists().then_some(()).ok_or("no file yet".to_owned())).await;
        let port = shard.prometheus_url().rsplit(':').next().unwrap().parse().unwrap();
        let mut args: Vec<String> = ["-r", "sh", "-c", FEW_WATCHERS, "sh"].map(str::to_owned).into();
        args.push(prometheus_binary().display().to_string());
        args.extend(prometheus_args(&shard.dir, &injected, port, &[]));
        shard.prometheus = Some(Process::start(Path::new("unshare"), &args, &shard.dir, "prometheus"));
        let folder = world.path().join(format!("coordinator of {}", shard.name));
        fs::create_dir(&folder).unwrap();
        coordinators.push(Coordinator::start(&folder, &config, &[shard], &["--coordinator.interval=1s"]));
    }
    let [auto, forced] = &shards;
    jobs_up(auto, 6).await;
    println!("6 jobs, 2 watchers: all up after {:.1} s", start.elapsed().as_secs_f64());
    assert!(fs::read_to_string(auto.injected()).unwrap().contains("http_sd_configs"));
    assert_eq!(sidecar_metric(auto, "kvass_sidecar_inotify_fallbacks_total").await, 1.0);
    let said = auto.sidecar.as_ref().unwrap().log_text();
    assert!(said.contains("fs.inotify.max_user_instances"), "{said}");

    // A form that was asked for stays, and what is missing is named.
    let unseen = eventually("report of what is missing", async || {
        let said = forced.sidecar.as_ref().unwrap().log_text();
        let unseen = sidecar_metric(forced, "kvass_sidecar_targets_unseen").await as usize;
        let seen = support::query(&forced.prometheus_url(), "up == 1").await?.len();
        let told = unseen > 0 && seen + unseen == 6 && said.contains("prometheus does not list targets of these jobs");
        if told { Ok(unseen) } else { Err(format!("{seen} seen, {unseen} not: {said}")) }
    })
    .await;
    println!("with files all the same {unseen} of 6 jobs are without targets");
    assert!(fs::read_to_string(forced.injected()).unwrap().contains("file_sd_configs"));
}
