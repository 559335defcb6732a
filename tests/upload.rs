//! Samples outlive the shard that took them: the head of an emptied shard becomes a block that a Thanos
//! sidecar uploads. Uploading itself is played by the story, which writes the file that Thanos notes it in.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    Coordinator, Exporter, Shard, eventually, free_port, get_json, http, metric, prometheus_binary, query, samples,
    start_prometheus, static_config, world, write,
};

const ADMIN: &str = "--web.enable-admin-api";

/// Plays the Thanos sidecar: everything that is there is uploaded.
fn upload(data: &Path) -> BTreeSet<String> {
    let blocks = blocks(data);
    write(&data.join("thanos.shipper.json"), &json!({"version": 1, "uploaded": blocks}).to_string());
    blocks
}

fn blocks(data: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(data).into_iter().flatten().map(|entry| entry.unwrap());
    entries.filter(|e| e.path().join("meta.json").exists()).map(|e| e.file_name().into_string().unwrap()).collect()
}

fn snapshots(data: &Path) -> usize {
    fs::read_dir(data.join("snapshots")).into_iter().flatten().count()
}

async fn pending(shard: &Shard) -> Result<Option<String>, String> {
    let info = get_json(&format!("{}/api/v1/shard/runtimeinfo/", shard.url())).await?;
    Ok(info["data"]["samplesPending"].as_str().map(str::to_owned))
}

/// Waits until what is pending contains `text`; an empty text waits until nothing is.
async fn until_pending(shard: &Shard, text: &str) {
    eventually("samples pending", async || {
        let pending = pending(shard).await?;
        let right = if text.is_empty() { pending.is_none() } else { pending.as_ref().is_some_and(|p| p.contains(text)) };
        if right { Ok(()) } else { Err(format!("{pending:?}, not {text:?}")) }
    })
    .await;
}

/// Has the shard scrape `targets`.
async fn assign(shard: &Shard, targets: &[&Exporter]) {
    let target = |(hash, exporter): (usize, &&Exporter)| {
        let labels = json!({"__address__": exporter.address, "__scheme__": "http", "__metrics_path__": "/metrics",
            "instance": exporter.address, "job": "story"});
        json!({"hash": hash + 1, "labels": labels, "series": 5, "totalSeries": 5, "TargetState": ""})
    };
    let list: Vec<Value> = targets.iter().enumerate().map(target).collect();
    let body = json!({"Targets": {"story": list}}).to_string();
    let answer = http().post(format!("{}/api/v1/shard/targets/", shard.url())).body(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// The times of all `up` samples a Prometheus has.
async fn ups(prometheus: &str) -> Result<Vec<f64>, String> {
    Ok(samples(prometheus, "up{job=\"story\"}[1h]").await?.into_values().flatten().map(|(at, _)| at).collect())
}

async fn scraped(shard: &Shard, at_least: usize) -> Vec<f64> {
    eventually("samples", async || {
        let ups = ups(&shard.prometheus_url()).await?;
        if ups.len() >= at_least { Ok(ups) } else { Err(format!("{} samples", ups.len())) }
    })
    .await
}

/// The samples that blocks alone hold, as another Prometheus sees them.
async fn in_blocks(world: &Path, data: &Path) -> Vec<f64> {
    let dir = tempfile::tempdir_in(world).unwrap();
    let copy = dir.path().join("data");
    for block in blocks(data) {
        let status = std::process::Command::new("cp")
            .arg("-r")
            .args([data.join(&block), {
                fs::create_dir_all(&copy).unwrap();
                copy.clone()
            }])
            .status();
        assert!(status.unwrap().success());
    }
    let (config, port) = (dir.path().join("empty.yml"), free_port());
    write(&config, "{}\n");
    let _reader = start_prometheus(dir.path(), &config, port);
    let url = format!("http://127.0.0.1:{port}");
    eventually("samples of the blocks", async || match ups(&url).await? {
        ups if ups.is_empty() => Err("none".to_owned()),
        ups => Ok(ups),
    })
    .await
}

struct Story {
    world: tempfile::TempDir,
    shard: Shard,
    data: PathBuf,
}

async fn story(prometheus_args: &[&str]) -> Story {
    let world = world();
    let config = world.path().join("prometheus.yml");
    write(&config, &static_config("1s", &[]));
    let mut shard = Shard::new(world.path(), "shard-0", &config);
    let data = shard.dir.join("data");
    shard.sidecar_args = vec![format!("--tsdb.path={}", data.display())];
    shard.prometheus_args = prometheus_args.iter().map(ToString::to_string).collect();
    shard.start_sidecar();
    shard.start_prometheus().await;
    shard.ready().await;
    Story { world, shard, data }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_of_an_emptied_shard_becomes_a_block() {
    let Story { world, mut shard, data } = story(&[ADMIN]).await;
    let exporter = Exporter::start(5).await;
    until_pending(&shard, "not a block yet").await;
    until_pending(&shard, "").await;
    assert_eq!(blocks(&data), BTreeSet::new(), "an empty head makes no block");

    assign(&shard, &[&exporter]).await;
    scraped(&shard, 5).await;
    assert_eq!(pending(&shard).await.unwrap(), None, "nothing is said while there are targets");
    let emptied = Instant::now();
    assign(&shard, &[]).await;
    until_pending(&shard, "no thanos.shipper.json").await;
    println!("emptied shard: its head was a block after {:.1} s", emptied.elapsed().as_secs_f64());
    let taken = ups(&shard.prometheus_url()).await.unwrap();
    let first = blocks(&data);
    assert_eq!((first.len(), snapshots(&data)), (1, 0));
    assert_eq!(in_blocks(world.path(), &data).await, taken, "to the last sample");
    let stale = query(&shard.prometheus_url(), "up{job=\"story\"}").await.unwrap();
    assert!(stale.is_empty(), "its stale marker was waited for: {stale:?}");

    // A sidecar that was started again knows the block, and makes no other.
    shard.sidecar.as_mut().unwrap().kill().await;
    shard.start_sidecar();
    shard.ready().await;
    until_pending(&shard, "no thanos.shipper.json").await;
    assert_eq!((blocks(&data), snapshots(&data)), (first.clone(), 0));
    let metrics = http().get(format!("{}/metrics", shard.url())).send().await.unwrap().text().await.unwrap();
    assert_eq!(metric(&metrics, "kvass_sidecar_unuploaded_blocks"), Some(1.0));
    assert_eq!(metric(&metrics, "kvass_sidecar_samples_pending"), Some(1.0));

    // Targets return before it is uploaded: the head has everything, the block would only overlap it.
    assign(&shard, &[&exporter]).await;
    eventually("the block goes", async || if blocks(&data).is_empty() { Ok(()) } else { Err("still there".to_owned()) }).await;
    let more = scraped(&shard, taken.len() + 3).await;
    assert!(taken.iter().all(|at| more.contains(at)));
    assign(&shard, &[]).await;
    until_pending(&shard, "are not uploaded").await;
    let all = ups(&shard.prometheus_url()).await.unwrap();
    assert_eq!(in_blocks(world.path(), &data).await, all, "the next block has all, from before and after");

    // Prometheus is killed: what is in the block is not in its head any more, and nothing is twice.
    shard.prometheus.as_mut().unwrap().kill().await;
    shard.start_prometheus().await;
    shard.ready().await;
    assert_eq!(ups(&shard.prometheus_url()).await.unwrap(), all);
    assign(&shard, &[&exporter]).await;
    scraped(&shard, all.len() + 3).await;
    assert_eq!(blocks(&data).len(), 1, "the block stays");
    assign(&shard, &[]).await;
    eventually("a block of the rest", async || match blocks(&data).len() {
        2 => Ok(()),
        blocks => Err(format!("{blocks} blocks")),
    })
    .await;
    let all = ups(&shard.prometheus_url()).await.unwrap();
    let mut in_blocks = in_blocks(world.path(), &data).await;
    in_blocks.dedup();
    assert_eq!(in_blocks, all);

    // Uploaded: nothing is pending, and the last block goes because its samples are in the head.
    assert_eq!(upload(&data).len(), 2);
    let uploaded = Instant::now();
    until_pending(&shard, "").await;
    println!("uploaded: nothing pending after {:.1} s", uploaded.elapsed().as_secs_f64());
    assert_eq!(blocks(&data).len(), 1);
    assert_eq!(ups(&shard.prometheus_url()).await.unwrap(), all);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!((pending(&shard).await.unwrap(), blocks(&data).len()), (None, 1), "one snapshot for one idle time");
    let said = shard.prometheus.as_ref().unwrap().log_text();
    assert!(!said.to_lowercase().contains("level=error"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_prometheus_lacks_is_told_once() {
    let Story { shard, data, world: _world } = story(&[]).await;
    until_pending(&shard, "needs --web.enable-admin-api").await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    let said = shard.sidecar.as_ref().unwrap().log_text();
    assert_eq!(said.matches("--web.enable-admin-api").count(), 1, "{said}");
    assert_eq!(snapshots(&data), 0);
}

/// Two shards of which one is emptied, with an idle time that is short.
async fn shrinks(deadline: &str, check: impl AsyncFn(&Coordinator, &Path)) {
    let world = world();
    let exporters = [Exporter::start(500).await, Exporter::start(500).await];
    let config = world.path().join("prometheus.yml");
    write(&config, &static_config("1s", &[&exporters[0], &exporters[1]]));
    let dir = world.path().join("shards");
    let args = [
        "--shard.type=process".to_owned(),
        format!("--shard.process-dir={}", dir.display()),
        format!("--shard.prometheus-binary={}", prometheus_binary().display()),
        format!("--shard.prometheus-arg={ADMIN}"),
        "--shard.sidecar-arg=--tsdb.path=data".to_owned(),
        "--shard.process-stop=true".to_owned(),
        "--shard.max-series=600".to_owned(),
        "--shard.max-idle-time=2s".to_owned(),
        format!("--shard.upload-deadline={deadline}"),
        "--coordinator.interval=1s".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut coordinator = Coordinator::start_with(world.path(), &config, &args);
    let placement = coordinator.all_assigned(2).await;
    eventually("scrapes", async || {
        if exporters.iter().all(|exporter| exporter.scrapes().len() >= 3) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let first = exporters.iter().find(|e| placement[&e.address] == ["shard-0"]).unwrap();
    write(&config, &static_config("1s", &[first]));
    check(&coordinator, &dir.join("shard-1").join("data")).await;
    coordinator.process.signal("-TERM");
    assert!(coordinator.process.wait().await.success());
}

async fn replica(coordinator: &Coordinator) -> Result<Value, String> {
    Ok(coordinator.status().await?["data"]["replicas"][0].clone())
}

async fn one_is_left(coordinator: &Coordinator) {
    eventually("one shard is left", async || {
        let replica = replica(coordinator).await?;
        if replica["shards"].as_array().is_some_and(|s| s.len() == 1) { Ok(()) } else { Err(replica.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_waits_for_the_upload_of_its_samples() {
    shrinks("1h", async |coordinator, data| {
        let waiting = |replica: &Value, what: &str| {
            let reason = replica["scaleReason"].as_str().unwrap_or_default();
            let pending = replica["shards"][1]["samplesPending"].as_str().unwrap_or_default();
            reason == "shard 1 waits for the upload of its samples" && pending.contains(what)
        };
        for what in ["last samples are waited for", "are not uploaded"] {
            eventually("it waits", async || {
                let replica = replica(coordinator).await?;
                if waiting(&replica, what) { Ok(()) } else { Err(replica.to_string()) }
            })
            .await;
        }
        let metrics = coordinator.metrics().await;
        assert!(
            metrics.contains("kvass_coordinator_shard_samples_pending{replica=\"process\",shard=\"shard-1\"} 1"),
            "{metrics}"
        );
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(waiting(&replica(coordinator).await.unwrap(), "are not uploaded"), "four times the idle time later");
        upload(data);
        let uploaded = Instant::now();
        one_is_left(coordinator).await;
        println!("uploaded: the shard was removed after {:.1} s", uploaded.elapsed().as_secs_f64());
        assert!(!coordinator.process.log_text().contains("not in the object store"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_does_not_wait_for_ever() {
    shrinks("30s", async |coordinator, _| {
        one_is_left(coordinator).await;
        let said = coordinator.process.log_text();
        let warned = said
            .lines()
            .find(|line| line.contains("with samples that are not in the object store"))
            .unwrap_or_else(|| panic!("{said}"));
        assert!(warned.contains("shard-1") && warned.contains("1 blocks with samples since"), "{warned}");
        let scalings = replica(coordinator).await.unwrap()["scalings"].to_string();
        assert!(scalings.contains("1 of them with samples not uploaded by the deadline"), "{scalings}");
    })
    .await;
}
