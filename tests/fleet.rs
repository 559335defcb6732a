//! A fleet of fixed shards: what is assigned where, what a move costs, what a target or a configuration that
//! is wrong does to the others.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    Coordinator, Exporter, Shard, eventually, free_port, get_json, http, instance, metric, missing_intervals, query, samples,
    static_config, within, write,
};

/// Drops the series whose index ends in 7: what is stored is less than what is exposed.
const DROP_SEVENS: &str = "  metric_relabel_configs:\n  - {source_labels: [index], regex: '[0-9]*7', action: drop}\n";

fn stored(exposed: usize) -> usize {
    exposed - (0..exposed).filter(|index| index % 10 == 7).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_of_all_sizes_find_their_shards() {
    const LIMIT: usize = 4_500;
    let world = tempfile::tempdir().unwrap();
    let config = world.path().join("prometheus.yml");
    let sizes: Vec<usize> = (0..24).map(|i| (10.0 * 300f64.powf(f64::from(i) / 23.0)).round() as usize).collect();
    let mut exporters = Vec::new();
    for size in &sizes {
        exporters.push(Exporter::start(*size).await);
    }
    let truth: BTreeMap<&str, usize> = exporters.iter().map(|e| e.address.as_str()).zip(sizes).collect();
    write(&config, &(static_config("3s", &exporters.iter().collect::<Vec<_>>()) + DROP_SEVENS));
    let shards = Shard::start_many(world.path(), 4, &config).await;

    let started = Instant::now();
    let all: Vec<&Shard> = shards.iter().collect();
    let max = format!("--shard.max-series={LIMIT}");
    let coordinator = Coordinator::start(world.path(), &config, &all, &["--coordinator.interval=3s", &max]);
    coordinator.all_assigned(truth.len()).await;
    println!("24 targets on 4 shards: all assigned {:.2} s after the coordinator's start", started.elapsed().as_secs_f64());

    // What Prometheus itself stored is the truth about who scrapes what.
    let homes = within(Duration::from_secs(30), "everything is scraped", async || {
        let mut homes: BTreeMap<String, String> = BTreeMap::new();
        for shard in &shards {
            for (instance, series) in shard.by_instance("count by (instance) (story_value)").await? {
                assert_eq!(series as usize, stored(truth[instance.as_str()]), "series of {instance}");
                let other = homes.insert(instance, shard.name.clone());
                assert_eq!(other, None, "on {} as well", shard.name);
            }
        }
        if homes.len() == truth.len() { Ok(homes) } else { Err(format!("{} of {}", homes.len(), truth.len())) }
    })
    .await;
    println!("24 targets on 4 shards: all scraped {:.2} s after the coordinator's start", started.elapsed().as_secs_f64());

    let targets = eventually("every target is up", async || {
        let targets = coordinator.targets().await?;
        let up = targets.iter().filter(|t| t["health"] == "up").count();
        if up == truth.len() { Ok(targets) } else { Err(format!("{up} up")) }
    })
    .await;
    for target in &targets {
        let address = target["discoveredLabels"]["__address__"].as_str().unwrap();
        let exposed = truth[address];
        assert_eq!(target["totalSeries"], exposed, "{address}");
        assert_eq!(target["series"], stored(exposed), "{address}");
        assert_eq!(target["shards"], serde_json::json!([homes[address]]), "{address}");
    }
    for shard in &shards {
        let load: usize = homes.iter().filter(|(_, home)| **home == shard.name).map(|(a, _)| stored(truth[a.as_str()])).sum();
        assert!(load <= LIMIT, "{} carries {load}", shard.name);
        assert!(load > 0, "{} carries nothing", shard.name);
        let shown = coordinator.shards().await.unwrap().into_iter().find(|s| s["shard"] == shard.name.as_str()).unwrap();
        assert_eq!(shown["series"], load, "{shown}");
        println!("{}: {load} of {LIMIT} series", shard.name);
    }
    for exporter in &exporters {
        assert_eq!(exporter.explores(), 1, "each target is explored once: {}", exporter.address);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_shard_is_relieved_without_a_gap() {
    const INTERVAL: f64 = 2.0;
    let world = tempfile::tempdir().unwrap();
    let config = world.path().join("prometheus.yml");
    let mut exporters = Vec::new();
    for series in [300, 300, 300, 300] {
        exporters.push(Exporter::start(series).await);
    }
    write(&config, &static_config("2s", &exporters.iter().collect::<Vec<_>>()));
    let shards = Shard::start_many(world.path(), 2, &config).await;
    let all: Vec<&Shard> = shards.iter().collect();
    let coordinator = Coordinator::start(world.path(), &config, &all, &["--coordinator.interval=2s", "--shard.max-series=1000"]);
    let before = coordinator.all_assigned(4).await;
    eventually("every target is scraped", async || {
        if exporters.iter().all(|e| e.scrapes().len() >= 2) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;

    let start = Instant::now();
    exporters[0].set_series(800);
    let grown = &exporters[0].address;
    let after = eventually("a target moves", async || {
        let placement = coordinator.placement().await?;
        let settled = placement.values().all(|shards| shards.len() == 1);
        if placement != before && settled { Ok(placement) } else { Err(format!("{placement:?}")) }
    })
    .await;
    let moved: BTreeSet<&String> = before.keys().filter(|address| before[*address] != after[*address]).collect();
    println!("relief: hand-over complete {:.1} s after the growth, moved {moved:?}", start.elapsed().as_secs_f64());
    assert_eq!(moved.len(), 1, "one move is enough: {before:?} to {after:?}");
    assert!(!moved.contains(grown), "the smaller one moves, it is enough");
    assert_eq!(before[moved.first().copied().unwrap()], before[grown], "off the shard that is full");

    // A released target may be scraped by the old shard until its Prometheus has read the new list.
    let moved = *moved.first().unwrap();
    let old = shards.iter().find(|s| before[moved] == [s.name.clone()]).unwrap();
    eventually("the old shard has let go", async || {
        let active = old.by_instance("up{job='story'}").await?;
        if active.contains_key(moved) { Err("still there".to_owned()) } else { Ok(()) }
    })
    .await;
    tokio::time::sleep(Duration::from_secs_f64(2.0 * INTERVAL)).await;

    let mut ups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for shard in &shards {
        for (labels, values) in samples(&shard.prometheus_url(), "up{job='story'}[5m]").await.unwrap() {
            assert!(values.iter().all(|(_, up)| *up == 1.0), "{} stored up == 0: {labels} {values:?}", shard.name);
            ups.entry(instance(&labels)).or_default().extend(values.iter().map(|(at, _)| *at));
        }
    }
    for exporter in &exporters {
        let times = &ups[&exporter.address];
        assert_eq!(missing_intervals(times, INTERVAL), 0, "stored samples of {}: {times:?}", exporter.address);
        let times = exporter.scraped_at(start);
        assert_eq!(missing_intervals(&times, INTERVAL), 0, "scrapes of {}: {times:?}", exporter.address);
    }
    let status = coordinator.shards().await.unwrap();
    assert!(status.iter().all(|shard| shard["series"].as_u64().unwrap() <= 1000), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_down_is_watched_until_it_comes_up() {
    let world = tempfile::tempdir().unwrap();
    let config = world.path().join("prometheus.yml");
    let address = format!("127.0.0.1:{}", free_port());
    let healthy = Exporter::start(20).await;
    let targets = format!("\"{}\", \"{address}\"", healthy.address);
    write(&config, &static_config("2s", &[&healthy]).replace(&format!("\"{}\"", healthy.address), &targets));
    let shards = Shard::start_many(world.path(), 2, &config).await;
    let all: Vec<&Shard> = shards.iter().collect();
    let coordinator = Coordinator::start(world.path(), &config, &all, &["--coordinator.interval=2s", "--shard.max-series=1000"]);
    let placement = coordinator.all_assigned(2).await;
    let shard = shards.iter().find(|s| placement[&address] == [s.name.clone()]).unwrap();

    let up = async || shard.by_instance("up{job='story'}").await?.get(&address).copied().ok_or("no sample".to_owned());
    let value = eventually("a sample of the target that is down", up).await;
    assert_eq!(value, 0.0);
    let targets = eventually("the coordinator shows it as down", async || {
        let targets = coordinator.targets().await?;
        let down: Vec<Value> = targets.into_iter().filter(|t| t["health"] == "down").collect();
        if down.is_empty() { Err("nothing is down".to_owned()) } else { Ok(down) }
    })
    .await;
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0]["discoveredLabels"]["__address__"], address.as_str());
    assert!(targets[0]["lastError"].as_str().unwrap().to_lowercase().contains("refused"), "{}", targets[0]["lastError"]);

    let exporter = Exporter::start_at(&address, 30).await;
    let came = Instant::now();
    eventually("it is up", async || (up().await? == 1.0).then_some(()).ok_or("down".to_owned())).await;
    println!("up in Prometheus {:.1} s after it came up (interval 2 s)", came.elapsed().as_secs_f64());
    eventually("its size is known", async || {
        let targets = coordinator.targets().await?;
        let target = targets.iter().find(|t| t["discoveredLabels"]["__address__"] == address.as_str()).ok_or("gone")?;
        if target["series"] == 30 && target["health"] == "up" { Ok(()) } else { Err(target.to_string()) }
    })
    .await;
    assert!(!exporter.scrapes().is_empty());
    assert_eq!(coordinator.placement().await.unwrap(), placement, "nothing moved for that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_cannot_be_discovered_leaves_the_others_alone() {
    let world = tempfile::tempdir().unwrap();
    let config = world.path().join("prometheus.yml");
    let [first, second, third] = [Exporter::start(10).await, Exporter::start(20).await, Exporter::start(30).await];
    let unsupported = "- job_name: elsewhere\n  kuma_sd_configs:\n  - server: http://127.0.0.1:1\n";
    write(&config, &(static_config("1s", &[&first, &second]) + unsupported));
    let shards = Shard::start_many(world.path(), 1, &config).await;
    let all: Vec<&Shard> = shards.iter().collect();
    let coordinator = Coordinator::start(world.path(), &config, &all, &["--coordinator.interval=2s", "--shard.max-series=1000"]);
    coordinator.all_assigned(2).await;

    let status = coordinator.status().await.unwrap();
    let jobs = status["data"]["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|j| j["job"] == "elsewhere").unwrap_or_else(|| panic!("{status}"));
    assert!(job["unsupported"].to_string().contains("kuma_sd_configs"), "{job}");
    let metrics = coordinator.metrics().await;
    assert_eq!(metric(&metrics, "kvass_coordinator_discovery_unsupported{job=\"elsewhere\"}"), Some(1.0));
    assert_eq!(metric(&metrics, "kvass_coordinator_discovery_unsupported{job=\"story\"}"), Some(0.0));
    let log = coordinator.process.log_text();
    let line = log.lines().find(|line| line.contains("kuma_sd_configs")).unwrap_or_else(|| panic!("not in the log: {log}"));
    assert!(line.contains("elsewhere"), "the job is named: {line}");

    // Other jobs' targets come and go as usual.
    write(&config, &(static_config("1s", &[&second, &third]) + unsupported));
    eventually("one target replaced by another", async || {
        let placement = coordinator.placement().await?;
        let addresses: BTreeSet<&String> = placement.keys().collect();
        let expected = BTreeSet::from([&second.address, &third.address]);
        if addresses == expected && placement.values().all(|s| s.len() == 1) { Ok(()) } else { Err(format!("{placement:?}")) }
    })
    .await;
    eventually("Prometheus follows", async || {
        let up = shards[0].by_instance("up{job='story'} == 1").await?;
        if up.len() == 2 && up.contains_key(&third.address) { Ok(()) } else { Err(format!("{up:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_above_its_target_limit_is_down_as_a_whole_and_comes_back() {
    let world = tempfile::tempdir().unwrap();
    let config = world.path().join("prometheus.yml");
    let [other, first, second] = [Exporter::start(10).await, Exporter::start(20).await, Exporter::start(30).await];
    let with = |targets: &[&Exporter]| {
        let list: Vec<&str> = targets.iter().map(|exporter| exporter.address.as_str()).collect();
        let limited = format!("- job_name: limited\n  target_limit: 1\n  static_configs: [{{targets: {list:?}}}]\n");
        static_config("1s", &[&other]) + &limited
    };
    write(&config, &with(&[&first]));
    let shards = Shard::start_many(world.path(), 1, &config).await;
    let all: Vec<&Shard> = shards.iter().collect();
    let coordinator = Coordinator::start(world.path(), &config, &all, &["--coordinator.interval=2s", "--shard.max-series=1000"]);
    coordinator.all_assigned(2).await;
    let exceeded = async || {
        let name = "kvass_coordinator_target_limit_exceeded_targets{job=\"limited\"}";
        metric(&coordinator.metrics().await, name).ok_or(format!("no {name}"))
    };
    assert_eq!(exceeded().await, Ok(0.0));

    write(&config, &with(&[&first, &second]));
    eventually("none is scraped, and the targets say why", async || {
        let targets = coordinator.targets().await?;
        let limited: Vec<&Value> = targets.iter().filter(|t| t["scrapePool"] == "limited").collect();
        let error = "target_limit exceeded (number of targets: 2, limit: 1)";
        let down =
            |t: &&Value| t["health"] == "down" && t["lastError"] == error && t["shards"].as_array().is_none_or(Vec::is_empty);
        let up = shards[0].by_instance("up").await?;
        let ok = limited.len() == 2 && limited.iter().all(down) && exceeded().await? == 2.0;
        if ok && up.into_keys().eq([other.address.clone()]) { Ok(()) } else { Err(format!("{limited:?}")) }
    })
    .await;

    write(&config, &with(&[&second]));
    coordinator.all_assigned(2).await;
    eventually("it is scraped again", async || {
        let up = shards[0].by_instance("up{job='limited'} == 1").await?;
        if up.contains_key(&second.address) && exceeded().await? == 0.0 { Ok(()) } else { Err(format!("{up:?}")) }
    })
    .await;
}

/// What the coordinator says about its configuration: status, metric.
async fn config_error(coordinator: &Coordinator) -> Result<(Option<String>, f64), String> {
    let error = coordinator.status().await?["data"]["config"]["error"].as_str().map(str::to_owned);
    let metrics = coordinator.metrics().await;
    let name = "kvass_coordinator_config_last_reload_successful";
    Ok((error, metric(&metrics, name).ok_or(format!("no {name}"))?))
}

fn three_jobs(exporter: &Exporter, action: &str, regex: &str) -> String {
    let targets = format!("  static_configs:\n  - targets: [\"{}\"]\n", exporter.address);
    format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: a\n{targets}- job_name: b\n{targets}- job_name: c\n{targets}  relabel_configs:\n  - source_labels: [__address__]\n    target_label: copy\n    action: {action}\n  metric_relabel_configs:\n  - {{source_labels: [index], regex: '{regex}', action: drop}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typo_is_refused_by_name_and_healed_by_the_file() {
    let world = tempfile::tempdir().unwrap();
    let config = world.path().join("prometheus.yml");
    let exporter = Exporter::start(20).await;
    write(&config, &three_jobs(&exporter, "replace", "1[0-9]"));
    let shards = Shard::start_many(world.path(), 2, &config).await;
    let all: Vec<&Shard> = shards.iter().collect();
    let coordinator = Coordinator::start(world.path(), &config, &all, &["--coordinator.interval=2s", "--shard.max-series=1000"]);
    let jobs = async || {
        let targets = coordinator.targets().await?;
        Ok::<_, String>(
            targets.iter().filter(|t| t["shards"].is_array()).map(|t| t["scrapePool"].to_string()).collect::<Vec<_>>(),
        )
    };
    eventually("three jobs", async || if jobs().await?.len() == 3 { Ok(()) } else { Err("fewer".to_owned()) }).await;

    let broken = three_jobs(&exporter, "repalce", "1[0-9]");
    let line = 1 + broken.lines().position(|line| line.contains("repalce")).unwrap();
    write(&config, &broken);
    let answer = http().post(format!("{}/-/reload", coordinator.url())).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let text = answer.text().await.unwrap();
    println!("typo: {text}");
    let place = format!("prometheus.yml:{line}:");
    for part in [place.as_str(), "scrape_configs[2].relabel_configs[0].action", "repalce"] {
        assert!(text.contains(part), "{part} is named: {text}");
    }
    let (error, success) = config_error(&coordinator).await.unwrap();
    assert!(error.as_ref().is_some_and(|e| e.contains(&place)), "{error:?}");
    assert_eq!(success, 0.0);
    assert!(coordinator.process.log_text().contains(&place), "the log says so too");
    // Some cycles later everything is as it was.
    let scrapes = exporter.scrapes().len();
    eventually("scraping goes on", async || if exporter.scrapes().len() > scrapes + 8 { Ok(()) } else { Err("no".to_owned()) })
        .await;
    assert_eq!(jobs().await.unwrap().len(), 3);

    let healed = Instant::now();
    write(&config, &three_jobs(&exporter, "replace", "1[0-5]"));
    eventually("the file alone heals it", async || match config_error(&coordinator).await? {
        (None, 1.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    println!("typo healed by file watching in {:.2} s", healed.elapsed().as_secs_f64());
    for shard in &shards {
        eventually("the changed regex reaches the shard", async || {
            let injected = fs::read_to_string(shard.injected()).map_err(|e| e.to_string())?;
            if injected.contains("1[0-5]") { Ok(()) } else { Err(injected) }
        })
        .await;
        let url = format!("{}/api/v1/status/config", shard.prometheus_url());
        eventually("and its Prometheus", async || {
            let text = get_json(&url).await?["data"]["yaml"].to_string();
            if text.contains("1[0-5]") { Ok(()) } else { Err(text) }
        })
        .await;
    }
    println!("changed regex in force on every shard after {:.2} s", healed.elapsed().as_secs_f64());
    eventually("the series follow", async || {
        let mut count = BTreeMap::new();
        for shard in &shards {
            count.extend(query(&shard.prometheus_url(), "count(story_value{job='c'})").await?);
        }
        if count.values().copied().eq([14.0]) { Ok(()) } else { Err(format!("{count:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_map_is_followed() {
    let world = tempfile::tempdir().unwrap();
    // As the kubelet mounts it: prometheus.yml -> ..data/prometheus.yml, ..data -> a folder that is swapped.
    let mount = world.path().join("mount");
    fs::create_dir(&mount).unwrap();
    let swap = |name: &str, text: &str| {
        fs::create_dir(mount.join(name)).unwrap();
        fs::write(mount.join(name).join("prometheus.yml"), text).unwrap();
        let temporary = mount.join("..data_tmp");
        symlink(name, &temporary).unwrap();
        fs::rename(&temporary, mount.join("..data")).unwrap();
    };
    let exporter = Exporter::start(20).await;
    swap("..first", &three_jobs(&exporter, "replace", "1"));
    symlink("..data/prometheus.yml", mount.join("prometheus.yml")).unwrap();
    let config = mount.join("prometheus.yml");
    let shards = Shard::start_many(world.path(), 1, &config).await;
    let coordinator =
        Coordinator::start(world.path(), &config, &[&shards[0]], &["--coordinator.interval=2s", "--shard.max-series=1000"]);
    eventually("a first cycle", async || coordinator.shards().await.map(drop)).await;
    let hash = async || Ok::<_, String>(coordinator.status().await?["data"]["config"]["hash"].to_string());
    let mut before = hash().await.unwrap();

    for (step, (name, regex)) in [("..second", "2"), ("..third", "3")].into_iter().enumerate() {
        let swapped = Instant::now();
        swap(name, &three_jobs(&exporter, "replace", regex));
        let old = if step == 0 { "..first" } else { "..second" };
        fs::remove_dir_all(mount.join(old)).unwrap();
        eventually("the shard follows", async || {
            let injected = fs::read_to_string(shards[0].injected()).map_err(|e| e.to_string())?;
            if injected.contains(&format!("regex: '{regex}'")) || injected.contains(&format!("regex: \"{regex}\"")) {
                Ok(())
            } else {
                Err(injected)
            }
        })
        .await;
        before = eventually("the coordinator follows, and they agree", async || {
            let shown = coordinator.shards().await?;
            let now = hash().await?;
            if now != before && shown[0]["state"] == "changeable" { Ok(now) } else { Err(format!("{shown:?}")) }
        })
        .await;
        println!("symlink swap {} followed in {:.2} s", step + 1, swapped.elapsed().as_secs_f64());
        assert_eq!(config_error(&coordinator).await.unwrap(), (None, 1.0));
    }
}
