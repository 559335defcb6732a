//! The coordinator in this process, over shards that only pretend.

mod fake;

use std::{collections::BTreeSet, time::Duration};

use fake::{Behaviour, FakeShard, Fleet, config_of, exporter, options, until};
use kvass_plan::Limits;
use serde_json::{Value, json};

fn limit(max_series: u64) -> Limits {
    Limits { max_series: Some(max_series), ..Limits::default() }
}

fn good(config: &str) -> Behaviour {
    Behaviour { config_text: config.to_owned(), scrapes: true, ..Behaviour::default() }
}

async fn shards<const N: usize>(behaviour: Behaviour) -> [FakeShard; N] {
    let mut list = Vec::new();
    for _ in 0..N {
        list.push(FakeShard::start(behaviour.clone()).await);
    }
    list.try_into().unwrap_or_else(|_| unreachable!())
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_explored_assigned_once_and_shown() {
    fake::rustls();
    let mut targets = Vec::new();
    for series in [10, 20, 30, 40] {
        targets.push(exporter(series).await);
    }
    let config = config_of(&targets);
    let [a, b] = shards(good(&config)).await;
    let fleet = Fleet::start(&config, &[&a, &b], limit(60)).await;
    until("four targets on two shards", || a.hashes().len() + b.hashes().len() == 4).await;
    for shard in [&a, &b] {
        let load: i64 = shard.lock().targets.values().map(|t| t["series"].as_i64().unwrap()).sum();
        assert!(load <= 60, "{load}");
    }
    let both: BTreeSet<u64> = a.hashes().into_iter().chain(b.hashes()).collect();
    assert_eq!(both.len(), 4, "each on exactly one");
    let target = a.lock().targets.values().next().unwrap().clone();
    assert_eq!(target["labels"]["job"], "j");
    assert_eq!(target["series"], target["totalSeries"], "the measured size is sent, not 0");

    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(a.lock().posts.len() + b.lock().posts.len(), 2, "an unchanged list is not sent again");

    let answer = fleet.get("/api/v1/targets?state=active").await;
    let active = answer["data"]["activeTargets"].as_array().unwrap();
    assert_eq!(active.len(), 4);
    assert!(active.iter().all(|t| t["health"] == "up" && t["shards"].as_array().unwrap().len() == 1), "{active:#?}");
    assert_eq!(active.iter().map(|t| t["series"].as_i64().unwrap()).sum::<i64>(), 100);
    let info = fleet.get("/api/v1/runtimeinfo").await;
    assert_eq!((&info["data"]["headSeries"], &info["data"]["processSeries"]), (&json!(100), &json!(100)));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn down_and_oversized_targets_are_reported_with_their_reason() {
    fake::rustls();
    let down = "127.0.0.1:9".parse().unwrap();
    let config = config_of(&[exporter(500).await, exporter(5).await, down]);
    let [a] = shards(good(&config)).await;
    let fleet = Fleet::start(&config, &[&a], limit(100)).await;
    until("the small one and the down one are assigned", || a.hashes().len() == 2).await;
    let mut status = Value::Null;
    for _ in 0..100 {
        status = fleet.get("/api/v1/coordinator/status").await;
        if status["data"]["unassigned"][0]["reason"].as_str().is_some_and(|r| r.contains("500 series")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let reason = status["data"]["unassigned"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("exceeds the limit of a shard by itself with 500 series"), "{status:#}");
    let metrics = reqwest::get(format!("{}/metrics", fleet.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"kvass_coordinator_unassigned_targets{replica="static-0",reason="too_big"} 1"#), "{metrics}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_coordinator_moves_nothing_and_explores_nothing() {
    fake::rustls();
    let targets = [exporter(10).await, exporter(10).await, exporter(10).await];
    let config = config_of(&targets);
    let [a, b] = shards(good(&config)).await;
    let fleet = Fleet::start(&config, &[&a, &b], limit(100)).await;
    until("assigned", || a.hashes().len() + b.hashes().len() == 3).await;
    let before = (a.hashes(), b.hashes(), a.lock().posts.len(), b.lock().posts.len());
    fleet.stop().await;

    // One of the two does not answer while the next coordinator starts.
    b.lock().behaviour.hangs = true;
    let fleet = Fleet::start(&config, &[&a, &b], limit(100)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(a.lock().posts.len(), before.2, "nothing is assigned anew while a shard was not read yet");
    b.lock().behaviour.hangs = false;
    let mut shown = Value::Null;
    for _ in 0..600 {
        shown = fleet.get("/api/v1/coordinator/status").await;
        if shown["data"]["replicas"][0]["settled"] == true {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(shown["data"]["replicas"][0]["settled"], true, "{shown:#}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((a.hashes(), b.hashes(), a.lock().posts.len(), b.lock().posts.len()), before);
    let metrics = reqwest::get(format!("{}/metrics", fleet.url)).await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("kvass_explore_explored_total{"), "{metrics}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_on_shards_that_have_not_scraped_again_are_enough() {
    fake::rustls();
    let config = config_of(&[exporter(10).await, exporter(20).await]);
    let [a] = shards(good(&config)).await;
    let fleet = Fleet::start(&config, &[&a], limit(100)).await;
    until("assigned", || a.hashes().len() == 2).await;
    let dir = fleet.stop().await;

    // As after a restart of everything.
    a.lock().behaviour.scrapes = false;
    let options = options(dir.path(), &[&a], limit(100));
    let fleet = Fleet::with(dir, &config, options).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let shard = &fleet.get("/api/v1/coordinator/status").await["data"]["replicas"][0];
    assert_eq!((&shard["settled"], &shard["shards"][0]["series"]), (&json!(true), &json!(30)));
    let metrics = reqwest::get(format!("{}/metrics", fleet.url)).await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("kvass_explore_explored_total{"), "{metrics}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_shard_keeps_its_targets_within_the_grace_and_loses_them_after() {
    fake::rustls();
    let targets = [exporter(10).await, exporter(10).await];
    let config = config_of(&targets);
    let [a, b] = shards(good(&config)).await;
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), &[&a, &b], limit(100));
    options.unavailable_grace = Duration::from_secs(4);
    let fleet = Fleet::with(dir, &config, options).await;
    until("spread", || a.hashes().len() == 1 && b.hashes().len() == 1).await;

    b.lock().behaviour.hangs = true;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(a.hashes().len(), 1, "within the grace nothing moves");
    until("failed over", || a.hashes().len() == 2).await;

    b.lock().behaviour.hangs = false;
    until("the double is released", || a.hashes().len() + b.hashes().len() == 2).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_target_is_released_although_another_job_is_incomplete() {
    fake::rustls();
    let unsupported = "- job_name: other\n  kuma_sd_configs:\n  - server: http://127.0.0.1:1\n";
    let targets = [exporter(10).await, exporter(20).await];
    for v0_2 in [false, true] {
        let config = config_of(&targets) + unsupported;
        let [a] = shards(Behaviour { v0_2, ..good(&config) }).await;
        let fleet = Fleet::start(&config, &[&a], limit(1000)).await;
        until("assigned", || a.hashes().len() == 2).await;
        let dir = fleet.stop().await;

        // The next coordinator reads what the shard holds.
        let options = options(dir.path(), &[&a], limit(1000));
        let fleet = Fleet::with(dir, &config, options).await;
        while fleet.get("/api/v1/coordinator/status").await["data"]["replicas"][0]["shards"][0]["state"] != "changeable" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let less = config_of(&targets[..1]) + unsupported;
        std::fs::write(fleet.config_file(), &less).unwrap();
        a.lock().behaviour.config_text = less;
        assert_eq!(fleet.post("/-/reload", "").await.0, 200);
        until("released", || a.hashes().len() == 1).await;
        fleet.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_shard_does_not_stop_the_others() {
    fake::rustls();
    let config = config_of(&[exporter(10).await]);
    let [a, b] = shards(good(&config)).await;
    let fleet = Fleet::start(&config, &[&a, &b], limit(1000)).await;
    until("assigned", || a.hashes().len() == 1).await;
    b.lock().behaviour.hangs = true;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let more = config_of(&[exporter(10).await, exporter(11).await]);
    std::fs::write(fleet.config_file(), &more).unwrap();
    let (code, _) = fleet.post("/-/reload", "").await;
    assert_eq!(code, 200);
    a.lock().behaviour.config_text = more;
    until("the reachable shard is served", || a.hashes().len() == 2).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_prometheus_keeps_its_targets_and_gets_no_new_ones() {
    fake::rustls();
    let config = config_of(&[exporter(10).await]);
    let [a, b] = shards(good(&config)).await;
    b.lock().behaviour.prometheus_down = true;
    a.lock().behaviour.prometheus_down = true;
    let fleet = Fleet::start(&config, &[&a, &b], limit(1000)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(a.hashes().is_empty() && b.hashes().is_empty());
    b.lock().behaviour.prometheus_down = false;
    until("the one that works gets it", || b.hashes().len() == 1).await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_lost_its_list_gets_it_back() {
    fake::rustls();
    let config = config_of(&[exporter(10).await, exporter(10).await]);
    let [a, b] = shards(good(&config)).await;
    let fleet = Fleet::start(&config, &[&a, &b], limit(1000)).await;
    until("spread", || a.hashes().len() == 1 && b.hashes().len() == 1).await;
    let had = b.hashes();
    b.lock().targets.clear();
    until("given back", || b.hashes() == had).await;
    assert_eq!(a.hashes().len(), 1);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_pushed_to_shards_without_a_file_and_bad_files_change_nothing() {
    fake::rustls();
    let config = config_of(&[exporter(10).await]);
    let [a] = shards(good("global: {external_labels: {status: default}}\n")).await;
    let fleet = Fleet::start(&config, &[&a], limit(1000)).await;
    until("pushed and assigned", || a.lock().pushed_configs == [config.clone()] && a.hashes().len() == 1).await;

    let hash = fleet.get("/api/v1/runtimeinfo").await["data"]["ConfigHash"].clone();
    std::fs::write(
        fleet.config_file(),
        "scrape_configs:\n- job_name: a\n- job_name: b\n- job_name: c\n  relabel_configs:\n  - action: repalce\n",
    )
    .unwrap();
    let (code, body) = fleet.post("/-/reload", "").await;
    assert_eq!((code, &body["errorType"]), (400, &json!("bad_data")));
    let error = body["error"].as_str().unwrap();
    for part in ["reload failed: ", "prometheus.yml:6:", "scrape_configs[2].relabel_configs[0].action", "repalce"] {
        assert!(error.contains(part), "{part:?} not in {error}");
    }
    assert_eq!(fleet.get("/api/v1/runtimeinfo").await["data"]["ConfigHash"], hash);
    let status = fleet.get("/api/v1/coordinator/status").await;
    assert!(status["data"]["config"]["error"].as_str().unwrap().contains("repalce"));
    let metrics = reqwest::get(format!("{}/metrics", fleet.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("kvass_coordinator_config_last_reload_successful 0"), "{metrics}");
    assert_eq!(a.hashes().len(), 1, "targets stay");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_of_the_original_are_understood() {
    fake::rustls();
    let config = config_of(&[exporter(10).await]);
    // v0.2: another path for the status, a hash of its own making, the text shown as it is.
    let old = Behaviour {
        config_hash: Some("16727296455050936695".to_owned()),
        config_text: format!("# comments do not matter\n{config}"),
        v0_2: true,
        scrapes: true,
        ..Behaviour::default()
    };
    let [a] = shards(old).await;
    let fleet = Fleet::start(&config, &[&a], limit(1000)).await;
    until("assigned", || a.hashes().len() == 1).await;
    assert!(a.lock().pushed_configs.is_empty());

    // The same foreign hash for another text is another configuration.
    let other = FakeShard::start(Behaviour {
        config_hash: Some("16727296455050936695".to_owned()),
        config_text: config.replace("job_name: j", "job_name: k"),
        scrapes: true,
        ..Behaviour::default()
    })
    .await;
    let fleet2 = Fleet::start(&config, &[&other], limit(1000)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(other.hashes().is_empty());
    let status = fleet2.get("/api/v1/coordinator/status").await;
    let problem = status["data"]["replicas"][0]["shards"][0]["problem"].as_str().unwrap_or_default().to_owned();
    assert!(problem.contains("another configuration"), "{status:#}");
    fleet.stop().await;
    fleet2.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_whose_discovery_is_not_supported_keep_what_shards_hold() {
    fake::rustls();
    let target = exporter(10).await;
    let config = format!("{}- job_name: c\n  kuma_sd_configs:\n  - server: http://127.0.0.1:1\n", config_of(&[target]));
    let [a] = shards(good(&config)).await;
    {
        let mut state = a.lock();
        let held = json!({"hash": 7, "labels": {"__address__": "10.0.0.1:80", "__scheme__": "http", "__metrics_path__": "/metrics",
            "instance": "10.0.0.1:80", "job": "c"}, "series": 3, "totalSeries": 3, "TargetState": ""});
        state.targets.insert(7, held);
        state.jobs.insert(7, "c".to_owned());
    }
    let fleet = Fleet::start(&config, &[&a], limit(1000)).await;
    until("the supported job is served", || a.hashes().len() == 2).await;
    assert!(a.hashes().contains(&7));
    let status = fleet.get("/api/v1/coordinator/status").await;
    let job = status["data"]["jobs"].as_array().unwrap().iter().find(|j| j["job"] == "c").unwrap().clone();
    assert_eq!((&job["retained"], &job["unsupported"][0]), (&json!(1), &json!("kuma_sd_configs")));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scraping_can_be_stopped() {
    fake::rustls();
    let config = config_of(&[exporter(10).await]);
    let [a] = shards(good(&config)).await;
    let fleet = Fleet::start(&config, &[&a], limit(1000)).await;
    until("assigned", || a.hashes().len() == 1).await;
    let (code, _) = fleet.post("/api/v1/status/extra_config", r#"{"stopScrapeReason":"maintenance 100%d"}"#).await;
    assert_eq!(code, 200);
    until("pushed", || a.lock().extra.last() == Some(&json!({"stopScrapeReason": "maintenance 100%d"}))).await;
    let shown = fleet.get("/api/v1/status/extra_config").await;
    assert_eq!(shown["data"]["json"], r#"{"stopScrapeReason":"maintenance 100%d"}"#);
    assert_eq!(fleet.post("/api/v1/status/extra_config", "{").await.0, 400);
    fleet.stop().await;
}

/// As the Prometheus Operator writes it: the label says something else than the name of the job.
#[tokio::test(flavor = "multi_thread")]
async fn targets_of_a_job_that_was_renamed_go_on_under_its_new_name() {
    fake::rustls();
    let relabel = "  relabel_configs: [{target_label: job, replacement: fixed}]\n";
    let config = config_of(&[exporter(10).await]) + relabel;
    let renamed = config.replace("job_name: j", "job_name: k");
    let [a] = shards(good(&config)).await;
    let fleet = Fleet::start(&config, &[&a], limit(1000)).await;
    until("assigned", || a.lock().jobs.values().eq(["j"])).await;
    let hashes = a.hashes();
    std::fs::write(fleet.config_file(), &renamed).unwrap();
    a.lock().behaviour.config_text.clone_from(&renamed);
    until("renamed", || a.lock().jobs.values().eq(["k"])).await;
    assert_eq!(a.hashes(), hashes, "the same identity");
    let posts = a.lock().posts.len();
    let dir = fleet.stop().await;

    // While no coordinator runs.
    let options = options(dir.path(), &[&a], limit(1000));
    a.lock().behaviour.config_text.clone_from(&config);
    let fleet = Fleet::with(dir, &config, options).await;
    until("renamed again", || a.lock().jobs.values().eq(["j"])).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(a.lock().posts.len(), posts + 1, "sent once");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_new_does_not_undo_that_scraping_is_stopped() {
    fake::rustls();
    let config = config_of(&[exporter(10).await]);
    let [fresh, stopped] = shards(good(&config)).await;
    let reason = json!({"stopScrapeReason": "maintenance"});
    stopped.lock().extra.push(reason.clone());
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), &[&fresh], limit(1000));
    let file = dir.path().join("static-shards.yaml");
    let more = format!("- shards:\n  - {{id: other, url: \"http://{}\"}}\n", stopped.address);
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &more).unwrap();
    let fleet = Fleet::with(dir, &config, options).await;
    until("told", || fresh.lock().extra == [reason.clone()]).await;
    assert!(stopped.lock().extra.iter().all(|told| *told == reason));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_go_with_the_shards_and_replicas_they_are_about() {
    fake::rustls();
    let config = config_of(&[exporter(10).await]);
    let [a, b, c] = shards(good(&config)).await;
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), &[&a, &b], limit(1000));
    let file = dir.path().join("static-shards.yaml");
    let more = format!("- shards:\n  - {{id: other, url: \"http://{}\"}}\n", c.address);
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &more).unwrap();
    let fleet = Fleet::with(dir, &config, options).await;
    let metrics = async || reqwest::get(format!("{}/metrics", fleet.url)).await.unwrap().text().await.unwrap();
    until("assigned", || a.hashes().len() + b.hashes().len() == 1 && c.hashes().len() == 1).await;
    for part in ["shard=\"shard-1\"", "replica=\"static-1\",shard=\"other\"", "scale{replica=\"static-1\"} 1"] {
        assert!(metrics().await.contains(part), "{part}");
    }
    std::fs::write(&file, format!("replicas:\n- shards:\n  - {{id: shard-0, url: \"http://{}\"}}\n", a.address)).unwrap();
    let start = std::time::Instant::now();
    // What was counted stays.
    let stale = |line: &&str| !line.contains("_total{") && ["shard-1", "static-1"].iter().any(|gone| line.contains(gone));
    while let Some(line) = metrics().await.lines().find(stale) {
        assert!(start.elapsed() < Duration::from_secs(10), "{line}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(metrics().await.contains("shard=\"shard-0\""));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_an_error_that_names_it() {
    fake::rustls();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("prometheus.yml"), "global: {}\n").unwrap();
    let mut options = options(dir.path(), &[], limit(1));
    options.web_address.clone_from(&address);
    let error = kvass_coordinator::Coordinator::build(options).await.err().unwrap();
    assert!(error.to_string().contains(&format!("--web.address={address}")), "{error}");
}
