//! Random configurations: the coordinator and a real Prometheus beside each other, which have to list the same targets.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::IntoResponse,
};
use kvass_config::Config;
use kvass_model::PrometheusLine;
use tokio::time::{Instant, sleep};

use crate::{
    compare::{compare, parse},
    generator::{self, Job, Rendered},
    picture::Picture,
    support::{Coordinator, Process, eventually, free_port, get_json, http, prometheus_args, prometheus_binary},
};

/// Jobs of one configuration.
const JOBS: u64 = 100;
/// Jobs of one configuration with files: inotify instances of a user are few, and others need them, too.
const JOBS_WITH_FILES: u64 = 5;
/// How long two servers may take to come to the same list.
const PATIENCE: Duration = Duration::from_secs(60);
/// When nothing changes any more: Prometheus may take ten seconds to act on what it discovers.
const SETTLED: Duration = Duration::from_secs(20);
/// Variants of a failing job that are tried at the same time.
const VARIANTS: usize = 100;

type Bodies = Arc<Mutex<BTreeMap<String, String>>>;

/// Both servers, and what they read.
struct Servers {
    folder: tempfile::TempDir,
    line: PrometheusLine,
    prometheus: Process,
    prometheus_url: String,
    coordinator: Coordinator,
    bodies: Bodies,
    sd: String,
    rounds: u64,
}

/// A job that differs, and how.
type Failures = BTreeMap<String, Vec<String>>;

impl Servers {
    async fn start(program: &Path, line: PrometheusLine) -> Servers {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, "scrape_configs: []\n").unwrap();
        let port = free_port();
        let args = prometheus_args(folder.path(), &config, port, &[]);
        let prometheus = Process::start(program, &args, folder.path(), "prometheus");
        let version = if line == PrometheusLine::V3 { "3" } else { "2" };
        let shards = folder.path().join("static-shards.yaml");
        fs::write(&shards, "replicas:\n- shards: [{id: nobody, url: \"http://127.0.0.1:9\"}]\n").unwrap();
        let (version, shards) = (format!("--prometheus.version={version}"), format!("--shard.static-file={}", shards.display()));
        let coordinator = Coordinator::start_with(folder.path(), &config, &["--shard.type=static", &shards, &version]);
        let bodies = Bodies::default();
        let sd = serve(Arc::clone(&bodies)).await;
        let prometheus_url = format!("http://127.0.0.1:{port}");
        for url in [&format!("{prometheus_url}/-/ready"), &format!("{}/-/healthy", coordinator.url())] {
            eventually("both servers", async || {
                let answer = http().get(url).send().await.map_err(|error| error.to_string())?;
                if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
            })
            .await;
        }
        Servers { folder, line, prometheus, prometheus_url, coordinator, bodies, sd, rounds: 0 }
    }

    /// Gives both servers a configuration with these jobs and says which of them differ, and how many targets were compared.
    async fn compare(&mut self, global: &str, jobs: &[Job]) -> (Failures, usize) {
        self.rounds += 1;
        let files = format!("files-{}", self.rounds);
        fs::create_dir(self.folder.path().join(&files)).unwrap();
        let mut text = format!("{global}scrape_configs:\n");
        let mut bodies = BTreeMap::new();
        for job in jobs {
            let Rendered { yaml, files: job_files, bodies: job_bodies } = job.render(&files, &self.sd);
            text += &yaml;
            for (name, content) in job_files {
                fs::write(self.folder.path().join(&files).join(name), content).unwrap();
            }
            bodies.extend(job_bodies);
        }
        *self.bodies.lock().unwrap() = bodies;
        fs::write(self.config(), &text).unwrap();
        let ours = reload(&self.coordinator.url()).await;
        let theirs = reload(&self.prometheus_url).await;
        match (ours, theirs) {
            (Ok(()), Ok(())) => {}
            (ours, theirs) => return (self.refusals(global, jobs, &[ours, theirs]).await, 0),
        }
        let config = parse(&text, self.line).unwrap_or_else(|error| panic!("{error}"));
        let start = Instant::now();
        let (mut last, mut since) = (Failures::new(), start);
        loop {
            let pictures = (self.picture(&self.coordinator.url()).await, self.picture(&self.prometheus_url).await);
            let (failures, targets) = match pictures {
                (Ok(ours), Ok(theirs)) => (failing(&config, &ours, &theirs, self.line), theirs.len()),
                (Err(error), _) | (_, Err(error)) => ([(jobs[0].name.clone(), vec![error])].into(), 0),
            };
            if failures != last {
                (last, since) = (failures.clone(), Instant::now());
            }
            if failures.is_empty() || since.elapsed() > SETTLED || start.elapsed() > PATIENCE {
                return (failures, targets);
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("prometheus.yml")
    }

    async fn picture(&self, url: &str) -> Result<Picture, String> {
        let mut picture = Picture::of(&get_json(&format!("{url}/api/v1/targets")).await?)?;
        if self.line == PrometheusLine::V2 {
            // 2.42 does not say of which job they are.
            picture.dropped_targets.iter_mut().for_each(|target| target.scrape_pool = None);
            picture.sort();
        }
        Ok(picture)
    }

    /// The jobs about which the two do not agree whether they can be loaded.
    async fn refusals(&self, global: &str, jobs: &[Job], said: &[Result<(), String>; 2]) -> Failures {
        let mut failures = Failures::new();
        for job in jobs {
            let text = format!("{global}scrape_configs:\n{}", job.render("files", &self.sd).yaml);
            fs::write(self.config(), &text).unwrap();
            let ours = parse(&text, self.line).map(|_| ());
            let theirs = reload(&self.prometheus_url).await;
            if ours.is_err() || theirs.is_err() {
                failures.insert(job.name.clone(), vec![format!("load: kvass {ours:?}, Prometheus {theirs:?}")]);
            }
        }
        if failures.is_empty() {
            failures.insert(jobs[0].name.clone(), vec![format!("load of all jobs together: {said:?}")]);
        }
        failures
    }

    /// Takes parts away from a job for as long as it still differs, and says how it does in the end.
    async fn smallest(&mut self, global: &str, job: &Job, lines: Vec<String>) -> (Job, Vec<String>) {
        let (mut smallest, mut differ) = (job.clone(), lines);
        loop {
            let limit = if smallest.has_files() { 2 * JOBS_WITH_FILES as usize } else { VARIANTS };
            let mut variants = smallest.smaller();
            variants.truncate(limit);
            if variants.is_empty() {
                return (smallest, differ);
            }
            for (number, variant) in variants.iter_mut().enumerate() {
                // A name of its own, or an earlier one's answers of HTTP discovery would still be in force.
                variant.name = format!("{} variant {}-{number}", job.name, self.rounds);
            }
            let (failures, _) = self.compare(global, &variants).await;
            let Some(failing) = variants.into_iter().find(|variant| failures.contains_key(&variant.name)) else {
                return (smallest, differ);
            };
            differ.clone_from(&failures[&failing.name]);
            smallest = failing;
        }
    }
}

/// Serves the bodies of HTTP discovery. Its host and port.
async fn serve(bodies: Bodies) -> String {
    let answer = async |State(bodies): State<Bodies>, uri: Uri| match bodies.lock().unwrap().get(uri.path()) {
        Some(body) => ([(header::CONTENT_TYPE, "application/json")], body.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer).with_state(bodies)).await });
    address
}

async fn reload(url: &str) -> Result<(), String> {
    let answer = http().post(format!("{url}/-/reload")).timeout(PATIENCE).send().await.map_err(|error| error.to_string())?;
    if answer.status().is_success() { Ok(()) } else { Err(answer.text().await.unwrap_or_default().trim().to_owned()) }
}

/// The jobs that differ, and how; under an empty name what cannot be said of which.
fn failing(config: &Config, ours: &Picture, theirs: &Picture, line: PrometheusLine) -> Failures {
    let (mut ours, mut theirs) = (by_job(ours), by_job(theirs));
    let names: BTreeSet<String> = ours.keys().chain(theirs.keys()).cloned().collect();
    let mut failures = Failures::new();
    for name in names {
        let [ours, theirs] = [&mut ours, &mut theirs].map(|side| side.remove(&name).unwrap_or_default());
        let lines = compare(config, line, &ours, &theirs);
        if !lines.is_empty() {
            failures.insert(name, lines);
        }
    }
    failures
}

fn by_job(picture: &Picture) -> BTreeMap<String, Picture> {
    let mut jobs: BTreeMap<String, Picture> = BTreeMap::new();
    for target in &picture.active_targets {
        jobs.entry(target.scrape_pool.clone()).or_default().active_targets.push(target.clone());
    }
    for target in &picture.dropped_targets {
        jobs.entry(target.scrape_pool.clone().unwrap_or_default()).or_default().dropped_targets.push(target.clone());
    }
    for (name, count) in picture.dropped_target_counts.iter().flatten() {
        jobs.entry(name.clone()).or_default().dropped_target_counts = Some([(name.clone(), *count)].into());
    }
    jobs
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: {text:?}: expected a number")))
}

/// One round, or as many as begin within `FUZZ_SECONDS`, from `FUZZ_SEED`, against `FUZZ_PROMETHEUS`.
#[tokio::test(flavor = "multi_thread")]
async fn random_configurations_have_the_same_targets() {
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let duration = Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(0));
    let program = env::var_os("FUZZ_PROMETHEUS").map_or_else(|| prometheus_binary().to_owned(), PathBuf::from);
    let said = tokio::process::Command::new(&program).arg("--version").output().await.unwrap();
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned();
    let line = if said.contains("version 2.") { PrometheusLine::V2 } else { PrometheusLine::V3 };
    println!("seed {seed}, against {said}");

    let mut servers = Servers::start(&program, line).await;
    let start = Instant::now();
    let (mut round, mut compared) = (0, 0);
    while round == 0 || start.elapsed() < duration {
        let global = generator::global(seed, round);
        let jobs: Vec<Job> = (0..JOBS).map(|number| Job::random(seed, round, number, line, number < JOBS_WITH_FILES)).collect();
        let (failures, targets) = servers.compare(&global, &jobs).await;
        println!("round {round}: {} jobs, {targets} targets, {} differ", jobs.len(), failures.len());
        if !failures.is_empty() {
            let failing = |job: &&Job| failures.contains_key(&job.name);
            let Some(job) = jobs.iter().find(failing) else { panic!("seed {seed}, round {round}: {failures:#?}") };
            let (name, lines) = (&job.name, &failures[&job.name]);
            println!("{name} differs:\n{}\nlooking for a smaller one", lines.join("\n"));
            let (smallest, differ) = servers.smallest(&global, job, lines.clone()).await;
            let Rendered { yaml, files, bodies } = smallest.render("files", "sd");
            panic!(
                "seed {seed}, round {round}, {}\n{global}scrape_configs:\n{yaml}files {files:#?}\nbodies {bodies:#?}\n{}\n",
                said,
                differ.join("\n")
            );
        }
        compared += targets;
        round += 1;
    }
    assert!(servers.prometheus.pid() > 0);
    assert!(compared as u64 > 100 * round, "{compared} targets in {round} rounds");
    println!("{round} rounds, {compared} targets, 0 differences");
}
