//! The coordinator over every recorded case.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use futures::StreamExt;
use kvass_coordinator::{Coordinator, Options, ShardOptions};
use kvass_model::PrometheusLine;
use serde_json::Value;

use crate::{
    cases::{self, Case, Outcome, VERSIONS},
    compare,
    picture::Picture,
    support::{eventually, get_json},
};

/// Coordinators at the same time.
const AT_ONCE: usize = 8;

/// Cases in which an upgrade from Prometheus 2 to 3 changes targets, and why. In all others every target stays what it is,
/// whatever 3 finds besides.
const OTHERS: &[(&str, &str)] = &[
    ("histogram-labels", "a label that 3.16 reads as a setting, and refuses, means nothing to 2.42"),
    ("labels-name-by-template", "names by template that 2.42 does not take are labels in 3.16"),
    ("params-against-labels", "configured parameters win over labels in 2.42, labels in 3.16"),
    ("params-blank-first-against-label", "configured parameters win over labels in 2.42, labels in 3.16"),
    ("rule-regex-newline", "the dot of patterns matches a line break in 3.16 only"),
];

/// What the coordinator makes of a case under the rules of a version.
async fn shown(case: &Case, line: PrometheusLine, server: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    case.lay_out(folder.path(), server);
    let coordinator = Coordinator::build(options(folder.path(), line)).await.unwrap();
    let url = format!("http://{}", coordinator.address().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(coordinator.run(async move {
        let _ = stopped.await;
    }));
    let outcome = eventually(&case.name, async || {
        let status = get_json(&format!("{url}/api/v1/coordinator/status")).await?;
        let status = &status["data"];
        if let Some(error) = status["config"]["error"].as_str() {
            return Ok(Outcome::Refused { error: error.to_owned() });
        }
        let jobs = status["jobs"].as_array().ok_or("no jobs")?;
        let settled = |job: &Value| job["complete"] == true || job["errors"].as_array().is_some_and(|errors| !errors.is_empty());
        if status["lastCycle"].is_null() || !jobs.iter().all(settled) {
            return Err(status.to_string());
        }
        Picture::of(&get_json(&format!("{url}/api/v1/targets")).await?).map(Outcome::Shown)
    })
    .await;
    drop(stop);
    running.await.unwrap().unwrap();
    let shorten = |text: &str| cases::without_places(text, folder.path(), server);
    match outcome {
        Outcome::Refused { error } => Outcome::Refused { error: shorten(&error) },
        Outcome::Shown(picture) => Outcome::Shown(picture.map_text(shorten)),
    }
}

fn options(folder: &Path, line: PrometheusLine) -> Options {
    let shards = folder.join("static-shards.yaml");
    std::fs::write(&shards, "replicas:\n- shards: [{id: nobody, url: \"http://127.0.0.1:9\"}]\n").unwrap();
    Options {
        config_file: folder.join("prometheus.yml"),
        store_path: None,
        web_address: "127.0.0.1:0".to_owned(),
        interval: Duration::from_secs(10),
        sd_init_timeout: Duration::from_secs(30),
        shards: ShardOptions::Static(shards),
        limits: kvass_plan::Limits::default(),
        unavailable_grace: Duration::from_secs(60),
        explore_concurrency: 1,
        scrape_keep_alive: false,
        discovery_keep_alive: false,
        delegate: None,
        max_loss: None,
        http2: true,
        scrape_proxy: None,
        body_size_limit: 1 << 20,
        inject: kvass_config::InjectOptions::default(),
        leader_election: None,
        prometheus_line: Some(line),
    }
}

/// What is wrong with what was shown, given what was recorded.
fn judge(case: &Case, version: &str, shown: &Outcome) -> Vec<String> {
    let expected = case.expected();
    let Some(expected) = expected.get(version) else { return vec!["not recorded yet: make goldens".to_owned()] };
    let wrong = compare(case, version, shown, expected);
    match (case.divergences().get(version), wrong.is_empty()) {
        (None, _) => wrong,
        (Some(divergence), true) => vec![format!("divergence.json is not needed any more ({})", divergence.why)],
        (Some(divergence), false) => {
            let wrong = compare(case, version, shown, &divergence.kvass);
            wrong.into_iter().map(|line| format!("not as divergence.json has it: {line}")).collect()
        }
    }
}

fn compare(case: &Case, version: &str, shown: &Outcome, expected: &Outcome) -> Vec<String> {
    match (shown, expected) {
        (Outcome::Refused { .. }, Outcome::Refused { .. }) => Vec::new(),
        (Outcome::Refused { error }, Outcome::Shown(_)) => vec![format!("only kvass refuses the configuration: {error}")],
        (Outcome::Shown(_), Outcome::Refused { error }) => vec![format!("only Prometheus refuses the configuration: {error}")],
        (Outcome::Shown(shown), Outcome::Shown(expected)) => {
            let line = if version == "2.42" { PrometheusLine::V2 } else { PrometheusLine::V3 };
            let config = compare::parse(&case.config(), line).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            compare::compare(&config, line, shown, expected)
        }
    }
}

/// Every case under the rules of every version.
async fn all_shown() -> BTreeMap<(String, &'static str), (Case, Outcome)> {
    let server = cases::serve().await;
    let runs = VERSIONS.iter().flat_map(|(version, line)| cases::all().into_iter().map(move |case| (*version, *line, case)));
    let runs = futures::stream::iter(runs).map(|(version, line, case)| {
        let server = &server;
        async move {
            let outcome = shown(&case, line, server).await;
            ((case.name.clone(), version), (case, outcome))
        }
    });
    runs.buffer_unordered(AT_ONCE).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_those_of_prometheus_and_an_upgrade_moves_none() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let shown = all_shown().await;
    assert!(shown.len() >= 2 * 80, "{}", shown.len());
    let mut wrong = Vec::new();
    let (mut targets, mut refused) = (0, 0);
    for ((name, version), (case, outcome)) in &shown {
        wrong.extend(judge(case, version, outcome).into_iter().map(|line| format!("{name} {version}: {line}")));
        match outcome {
            Outcome::Shown(picture) => targets += picture.len(),
            Outcome::Refused { .. } => refused += 1,
        }
    }
    for case in cases::all() {
        let hashes = |version| match &shown[&(case.name.clone(), version)].1 {
            Outcome::Shown(picture) => picture.hashes.clone(),
            Outcome::Refused { .. } => BTreeSet::new(),
        };
        let moved: Vec<String> = hashes("2.42").difference(&hashes("3.16")).cloned().collect();
        match OTHERS.iter().find(|(name, _)| *name == case.name) {
            None if !moved.is_empty() => wrong.push(format!("{}: an upgrade moves targets: {moved:?}", case.name)),
            Some((_, why)) if moved.is_empty() => wrong.push(format!("{}: stays in OTHERS without need: {why}", case.name)),
            _ => {}
        }
    }
    println!("{} runs: {targets} targets, {refused} configurations refused", shown.len());
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert!(targets > 200 && refused >= 10, "{targets} {refused}");
}

/// `CASE=name WHY=reason` writes down that kvass differs here on purpose, in whichever version it does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes divergence.json of the case $CASE with the reason $WHY"]
async fn note_divergence() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (name, why) = (std::env::var("CASE").unwrap(), std::env::var("WHY").unwrap());
    let case = cases::all().into_iter().find(|case| case.name == name).expect("a case of that name");
    let server = cases::serve().await;
    let mut divergences = BTreeMap::new();
    for (version, line) in VERSIONS {
        let kvass = shown(&case, line, &server).await;
        if !compare(&case, version, &kvass, &case.expected()[version]).is_empty() {
            divergences.insert(version.to_owned(), cases::Divergence { why: why.clone(), kvass });
        }
    }
    assert!(!divergences.is_empty(), "{name} does not differ");
    case.write_divergences(&divergences);
}
