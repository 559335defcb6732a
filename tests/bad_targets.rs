//! Targets that misbehave harm neither Prometheus nor the others, and each is reported with its own reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "support/raw_server.rs"]
mod raw_server;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use raw_server::{Authority, Connection, Request, serve};
use serde_json::Value;
use support::{Coordinator, Exporter, Process, Shard, eventually, free_port, get_json, resident, samples, static_config, write};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const TEXT: &str = "Content-Type: text/plain; version=0.0.4\r\n";

/// Jobs, how they are reached, and what must be told of each.
const BAD: [(&str, &str, &str); 20] = [
    ("endless", "GENERATOR", "body size limit of 67108864 bytes exceeded"),
    ("bomb", "GENERATOR", "body size limit of 67108864 bytes exceeded"),
    ("garbage", "GENERATOR", "line 1: \"<html><body>this is not metrics"),
    ("hang", "GENERATOR", "while waiting for the response headers"),
    ("half-good", "SERVER", "line 3: \"bad bad bad\""),
    ("trickle", "SERVER", "while reading the body"),
    ("stuck", "SERVER", "while reading the body"),
    ("cut-length", "SERVER", "body is incomplete: the server closed the connection before the announced end"),
    ("cut-chunked", "SERVER", "body is incomplete: the server closed the connection before the announced end"),
    ("cut-gzip", "SERVER", "body is incomplete: the gzip stream stops short"),
    ("no-gzip", "SERVER", "gzip: "),
    ("failing", "SERVER", "server returned HTTP status 500"),
    ("redirects", "SERVER", "redirect: stopped after 10 requests"),
    ("reset", "SERVER", "reset"),
    ("no-http", "SERVER", "no valid HTTP response"),
    ("endless-headers", "SERVER", "no valid HTTP response"),
    ("endless-answers", "SERVER", "while waiting for the response headers"),
    ("endless-line", "SERVER", "body size limit of 67108864 bytes exceeded"),
    ("untrusted", "SECURE", "certificate"),
    ("refused", "127.0.0.1:1", "cannot connect to 127.0.0.1:1"),
];

async fn misbehave(request: Request, mut connection: Connection) -> io::Result<()> {
    let good = "bad_first 1\nbad_second 2\n";
    match request.path() {
        "/half-good" => connection.answer("200 OK", TEXT, format!("{good}bad bad bad\n").as_bytes()).await,
        "/trickle" => {
            connection.send(format!("HTTP/1.1 200 OK\r\n{TEXT}Transfer-Encoding: chunked\r\n\r\n")).await?;
            for line in 0.. {
                let line = format!("bad_line{{n=\"{line}\"}} 1\n");
                connection.send(format!("{:x}\r\n{line}\r\n", line.len())).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
        "/stuck" => {
            connection.send(format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 1000\r\n\r\n{good}")).await?;
            connection.hang().await
        }
        "/cut-length" => {
            connection.send(format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 1000\r\n\r\n{good}")).await?;
            connection.end().await
        }
        "/cut-chunked" => {
            connection
                .send(format!("HTTP/1.1 200 OK\r\n{TEXT}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n", good.len()))
                .await?;
            // With its half of the body Prometheus would have something to store.
            tokio::time::sleep(Duration::from_millis(200)).await;
            connection.end().await
        }
        "/cut-gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
            encoder.write_all(good.repeat(5_000).as_bytes())?;
            let whole = encoder.finish()?;
            connection.answer("200 OK", &format!("{TEXT}Content-Encoding: gzip\r\n"), &whole[..whole.len() / 2]).await
        }
        "/no-gzip" => connection.answer("200 OK", &format!("{TEXT}Content-Encoding: gzip\r\n"), good.as_bytes()).await,
        "/failing" => connection.answer("500 Internal Server Error", TEXT, good.as_bytes()).await,
        "/redirects" => connection.answer("302 Found", "Location: /redirects\r\n", good.as_bytes()).await,
        "/reset" => {
            connection.send(format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 1000\r\n\r\n{good}")).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            connection.reset()
        }
        "/no-http" => {
            connection.send(&good).await?;
            connection.end().await
        }
        "/endless-headers" => endless(connection, "HTTP/1.1 200 OK\r\n", format!("X-Long: {}\r\n", "x".repeat(8_000))).await,
        "/endless-answers" => endless(connection, "", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(100)).await,
        "/endless-line" => {
            let head = format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 10000000000\r\n\r\nbad{{x=\"");
            endless(connection, &head, "x".repeat(1 << 20)).await
        }
        _ => connection.answer("200 OK", TEXT, b"good 1\n").await,
    }
}

async fn endless(mut connection: Connection, head: &str, piece: String) -> io::Result<()> {
    connection.send(head).await?;
    loop {
        connection.send(&piece).await?;
    }
}

#[tokio::test]
async fn each_is_down_for_its_own_reason_and_the_healthy_one_is_not_disturbed() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = tempfile::tempdir().unwrap();
    let healthy = Exporter::start(100).await;
    let server = serve(None, misbehave).await;
    let secure = serve(Some(Authority::new().server("127.0.0.1")), misbehave).await;
    let generator = format!("127.0.0.1:{}", free_port());
    let args = ["metrics-generator".to_owned(), format!("--address={generator}")];
    let _generator = Process::start(Path::new(env!("CARGO_BIN_EXE_kvass")), &args, world.path(), "generator");

    let config = world.path().join("prometheus.yml");
    let mut text = format!(
        "global: {{scrape_interval: 2s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: healthy\n  scrape_interval: 1s\n  static_configs: [{{targets: ['{}']}}]\n",
        healthy.address
    );
    for (job, place, _) in BAD {
        let address = place.replace("GENERATOR", &generator).replace("SERVER", &server).replace("SECURE", &secure);
        let scheme = if place == "SECURE" { "https" } else { "http" };
        text += &format!(
            "- job_name: {job}\n  metrics_path: /{job}\n  scheme: {scheme}\n  static_configs: [{{targets: ['{address}']}}]\n"
        );
        if ["endless", "endless-line", "bomb"].contains(&job) {
            text += "  scrape_interval: 8s\n  scrape_timeout: 8s\n"; // reading up to the limit takes a debug build a while
        }
    }
    write(&config, &text);
    let mut shard = Shard::new(world.path(), "shard-0", &config);
    shard.sidecar_args = vec!["--scrape.body-size-limit=64MiB".to_owned()];
    shard.start_sidecar();
    shard.start_prometheus().await;
    let coordinator = Coordinator::start(
        world.path(),
        &config,
        &[&shard],
        &["--scrape.body-size-limit=64MiB", "--shard.max-series=100000", "--coordinator.interval=1s"],
    );
    let memory = Peaks::watch([shard.sidecar.as_ref().unwrap().pid(), shard.prometheus.as_ref().unwrap().pid()]);

    let reasons = eventually("each is down for its own reason", async || {
        // What the shard says, and what the coordinator hands on.
        let (own, all) = (shard_statuses(&shard).await?, coordinator_statuses(&coordinator).await?);
        let mut differing = String::new();
        for (job, _, reason) in BAD {
            for (who, statuses) in [("sidecar", &own), ("coordinator", &all)] {
                let status = statuses.get(job).ok_or(format!("{who}: {job}: not listed"))?;
                if status.health != "down" || !status.error.contains(reason) || who == "sidecar" && status.scrapes < 2 {
                    differing += &format!("{who}: {job}: expected {reason:?}: {status:?}\n");
                }
            }
        }
        if differing.is_empty() { Ok(own) } else { Err(differing) }
    })
    .await;
    for (job, status) in &reasons {
        println!("{job:12} {:4} {}", status.health, status.error.chars().take(150).collect::<String>());
    }

    // From now on everything is at its worst: all of this while the healthy one is scraped.
    let from = Instant::now();
    eventually("a while", async || if from.elapsed() > Duration::from_secs(15) { Ok(()) } else { Err("not over".to_owned()) })
        .await;
    let scrapes = healthy.scrapes();
    let gaps: Vec<f64> = scrapes.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect();
    let longest = gaps.iter().copied().fold(0.0, f64::max);
    println!("healthy: {} scrapes, longest gap {longest:.2} s at an interval of 1 s", scrapes.len());
    assert!(scrapes.len() > 15 && longest < 2.0, "{gaps:?}");

    let stored = samples(&shard.prometheus_url(), "{__name__=~\".+\"}[5m]").await.unwrap();
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut ups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (labels, samples) in stored {
        let labels: Value = serde_json::from_str(&labels).unwrap();
        let (name, job) = (labels["__name__"].as_str().unwrap(), labels["job"].as_str().unwrap());
        names.entry(job.to_owned()).or_default().insert(name.to_owned());
        if name == "up" {
            ups.entry(job.to_owned()).or_default().extend(samples.iter().map(|(_, value)| *value));
        }
    }
    let about_scrapes = [
        "scrape_duration_seconds",
        "scrape_samples_post_metric_relabeling",
        "scrape_samples_scraped",
        "scrape_series_added",
        "up",
    ];
    for (job, _, _) in BAD {
        let up = &ups[job];
        assert!(up.len() >= 2 && up.iter().all(|up| *up == 0.0), "{job}: {up:?}");
        assert!(names[job].iter().eq(about_scrapes), "nothing of {job} is stored: {:?}", names[job]);
    }
    let up = &ups["healthy"];
    assert!(up.len() > 15 && up.iter().all(|up| *up == 1.0), "{up:?}");
    assert!(names["healthy"].contains("story_value"));

    let [sidecar, prometheus] = memory.stop().await;
    println!("peak of resident memory: sidecar {sidecar} MiB, Prometheus {prometheus} MiB");
    assert!(sidecar < 120, "sidecar: {sidecar} MiB");
    assert!(prometheus < 1536, "Prometheus: {prometheus} MiB");
}

/// The largest resident memory of two processes, looked at four times a second.
struct Peaks {
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<[u64; 2]>,
}

impl Peaks {
    fn watch(processes: [u32; 2]) -> Peaks {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut peaks = [0, 0];
            while stopped.try_recv().is_err() {
                for (peak, process) in peaks.iter_mut().zip(processes) {
                    *peak = resident(process).max(*peak);
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            peaks
        });
        Peaks { stop, task }
    }

    /// MiB.
    async fn stop(self) -> [u64; 2] {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().map(|bytes| bytes >> 20)
    }
}

#[derive(Debug)]
struct Status {
    health: String,
    error: String,
    scrapes: u64,
}

impl Status {
    fn read(status: &Value) -> Status {
        let text = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
        Status { health: text("health"), error: text("lastError"), scrapes: status["ScrapeTimes"].as_u64().unwrap_or_default() }
    }
}

/// By job, as the sidecar tells.
async fn shard_statuses(shard: &Shard) -> Result<BTreeMap<String, Status>, String> {
    let assigned = get_json(&format!("{}/api/v1/shard/targets/assigned/", shard.url())).await?;
    let statuses = get_json(&format!("{}/api/v1/shard/targets/status/", shard.url())).await?;
    let jobs = assigned["data"]["Targets"].as_object().ok_or(format!("no targets: {assigned}"))?;
    let status = |targets: &Value| Status::read(&statuses["data"][targets[0]["hash"].to_string()]);
    Ok(jobs.iter().map(|(job, targets)| (job.clone(), status(targets))).collect())
}

/// By job, as the coordinator tells.
async fn coordinator_statuses(coordinator: &Coordinator) -> Result<BTreeMap<String, Status>, String> {
    let targets = coordinator.targets().await?;
    Ok(targets.iter().map(|t| (t["scrapePool"].as_str().unwrap_or_default().to_owned(), Status::read(t))).collect())
}

/// Nobody gets the proxy to send a job's credentials, or anything at all, to a place that is not the target's.
#[tokio::test]
async fn the_proxy_goes_to_assigned_targets_only() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = tempfile::tempdir().unwrap();
    let (target, victim) = (Exporter::start(5).await, Exporter::start(5).await);
    let config = world.path().join("prometheus.yml");
    write(
        &config,
        &static_config("1s", &[&target]).replace("- job_name: story\n", "- job_name: story\n  bearer_token: secret\n"),
    );
    let shard = Shard::start(world.path(), "shard-0", &config).await;
    let coordinator =
        Coordinator::start(world.path(), &config, &[&shard], &["--shard.max-series=1000", "--coordinator.interval=1s"]);
    coordinator.all_assigned(1).await;
    eventually("first scrape", async || target.scrapes().first().map(drop).ok_or("none".to_owned())).await;
    let assigned = get_json(&format!("{}/api/v1/shard/targets/assigned/", shard.url())).await.unwrap();
    let hash = assigned["data"]["Targets"]["story"][0]["hash"].to_string();

    let (address, victim_address) = (&target.address, &victim.address);
    let query = format!("_hash={hash}&_jobName=story&_scheme=http");
    let ask = async |line: String| {
        let mut stream = TcpStream::connect(shard.proxy_url().trim_start_matches("http://")).await.unwrap();
        stream.write_all(format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    for (line, status) in [
        (format!("GET http://{address}/metrics?{query}"), "200"),
        (format!("GET http://{victim_address}/metrics?{query}"), "403"),
        (format!("GET http://{address}@{victim_address}/metrics?{query}"), "403"),
        (format!("GET http://169.254.169.254/metrics?{query}"), "403"),
        (format!("GET http://{address}/debug?{query}"), "403"),
        (format!("GET http://{address}/metrics/../debug?{query}"), "403"),
        (format!("GET http://{address}/metrics?{}", query.replace("=http", "=https")), "403"),
        (format!("GET http://{address}/metrics?{}", query.replace("story", "other")), "404"),
        (format!("GET http://{address}/metrics?{}", query.replace(&hash, "1")), "404"),
        (format!("GET http://{victim_address}/metrics"), "400"),
        (format!("GET /metrics?{query}"), "400"),
        (format!("POST http://{address}/metrics?{query}"), "405"),
        (format!("CONNECT {victim_address}"), "405"),
    ] {
        assert_eq!(ask(line.clone()).await, status, "{line}");
    }
    assert_eq!(victim.requests(), 0);
    // Refused requests are not scrapes of the target.
    let up = samples(&shard.prometheus_url(), "up[5m]").await.unwrap();
    assert!(up.values().flatten().all(|(_, up)| *up == 1.0), "{up:?}");
}
