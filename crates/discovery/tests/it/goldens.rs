//! What a service answers, and the targets Prometheus makes of it.
//!
//! `tests/data/mechanisms/<name>.json` holds a section and the replies of its service, `<name>.expected.json` the
//! discovered labels as Prometheus shows them. Record them anew with
//! `PROMETHEUS=… cargo test -p kvass-discovery --test it -- --ignored --nocapture record_goldens`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use kvass_discovery::Environment;
use kvass_model::LabelsBuilder;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    common::until,
    fake_service::{FakeService, Reply, discover_in},
    impostor::Impostor,
};

/// Stands for host and port of the service.
const SERVER: &str = "$SERVER";
/// Stands for the URL of a proxy that answers in a cloud provider's place, and for the file with its authority.
const PROXY: &str = "$PROXY";
const AUTHORITY: &str = "$CA";
/// Stands for the settings that make the service answer in a cloud provider's place.
const CLOUD: &str = "$CLOUD";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The key of the section.
    key: String,
    /// Content of a flow mapping.
    section: String,
    /// Variables of the process that discovers.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// By path, with the query where it matters.
    replies: BTreeMap<String, CaseReply>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseReply {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A document, or the text of another format.
    body: Value,
}

fn ok() -> u16 {
    200
}

type Targets = Vec<BTreeMap<String, String>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mechanisms")
}

fn cases() -> Vec<(String, Case)> {
    let names = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).filter(|name| !name.contains('.'));
    let mut cases: Vec<_> = names
        .map(|name| {
            let text = fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
            let case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, case)
        })
        .collect();
    cases.sort_by(|(a, _), (b, _)| a.cmp(b));
    cases
}

/// A service, and how it is found.
struct Served {
    service: FakeService,
    impostor: Impostor,
    section: String,
    environment: BTreeMap<String, String>,
}

async fn serve(case: &Case) -> Served {
    let service = FakeService::start([]).await;
    for (path, reply) in &case.replies {
        let body = match &reply.body {
            Value::String(text) => text.clone(),
            document => document.to_string(),
        };
        let mut answer = Reply::json(body.replace(SERVER, service.host())).with_status(reply.status);
        for (name, value) in &reply.headers {
            answer = answer.with(name.clone().leak(), value);
        }
        service.set(path, answer);
    }
    let impostor = Impostor::of(&service).await;
    let section = case.section.replace(SERVER, service.host()).replace(CLOUD, &impostor.settings());
    let authority = impostor.authority().display().to_string();
    let fill =
        |text: &String| text.replace(SERVER, service.host()).replace(PROXY, impostor.proxy()).replace(AUTHORITY, &authority);
    let environment = case.environment.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
    Served { service, impostor, section, environment }
}

/// In an order that says nothing, with the place of the service left out.
fn comparable(targets: impl IntoIterator<Item = BTreeMap<String, String>>, service: &FakeService) -> Targets {
    let hide = |labels: BTreeMap<String, String>| {
        labels.into_iter().map(|(name, value)| (name, value.replace(service.host(), SERVER))).collect()
    };
    let mut targets: Targets = targets.into_iter().map(hide).collect();
    targets.sort();
    targets
}

#[tokio::test]
async fn targets_are_those_of_prometheus() {
    let cases = cases();
    assert!(cases.len() >= 32, "{}", cases.len());
    for (name, case) in cases {
        let Served { service, impostor, section, environment } = serve(&case).await;
        let environment = Environment::new(move |name| environment.get(name).cloned(), impostor.http());
        let (_manager, mut snapshots) = discover_in(environment, &case.key, &section);
        let found = until(&mut snapshots, "j", |job| job.complete).await;
        let targets = found.groups.iter().flat_map(|group| {
            group.targets.iter().map(|target| {
                let mut labels = LabelsBuilder::from(&group.labels);
                target.iter().for_each(|(name, value)| labels.set(name, value));
                labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            })
        });
        let targets = comparable(targets, &service);
        let expected = fs::read_to_string(folder().join(format!("{name}.expected.json"))).unwrap();
        let expected: Targets = serde_json::from_str(&expected).unwrap();
        assert!(!expected.is_empty(), "{name}");
        assert_eq!(targets, expected, "{name}");
    }
}

/// Whether a label was discovered; the others every target has from its job.
fn is_discovered(name: &str) -> bool {
    name == "__address__" || name.starts_with("__meta_") || (!name.starts_with("__") && name != "job")
}

/// Targets that differ in discovered labels only would be one to Prometheus.
const KEEP_APART: &str = "  relabel_configs: [{regex: __meta_(.+), replacement: m_$1, action: labelmap}]\n";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiTarget {
    discovered_labels: BTreeMap<String, String>,
    scrape_pool: String,
}

/// `NAMES=a,b` records these cases only, for a Prometheus that does not know all mechanisms.
#[tokio::test]
#[ignore = "writes what the program $PROMETHEUS discovers into tests/data/mechanisms"]
async fn record_goldens() {
    let names = std::env::var("NAMES").ok();
    let named = |name: &str| names.as_ref().is_none_or(|names| names.split(',').any(|n| n == name));
    let cases = cases().into_iter().filter(|(name, _)| named(name));
    // Those with variables of their own get a process of their own.
    let (alone, together): (Vec<_>, Vec<_>) = cases.partition(|(_, case)| !case.environment.is_empty());
    for cases in alone.into_iter().map(|case| vec![case]).chain([together]).filter(|cases| !cases.is_empty()) {
        record(cases).await;
    }
}

async fn record(cases: Vec<(String, Case)>) {
    let prometheus = std::env::var("PROMETHEUS").unwrap();
    let mut config = "scrape_configs:\n".to_owned();
    let mut services = BTreeMap::new();
    for (name, case) in cases {
        let served = serve(&case).await;
        config += &format!("- job_name: {name}\n  {}: [{{{}}}]\n{KEEP_APART}", case.key, served.section);
        services.insert(name, served);
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("prometheus.yml"), config).unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _prometheus = tokio::process::Command::new(&prometheus)
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={address}"))
        // What is set for the cloud's own tools on this machine is not meant.
        .env_clear()
        .envs(services.values().flat_map(|served| &served.environment))
        .current_dir(dir.path())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let url = format!("http://{address}/api/v1/targets?state=active");
    let ask = || tokio::process::Command::new("curl").args(["-fsS", &url]).output();
    while !ask().await.unwrap().status.success() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    // Discoverers deliver every five seconds.
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    let targets: Value = serde_json::from_slice(&ask().await.unwrap().stdout).unwrap();
    let targets: Vec<ApiTarget> = serde_json::from_value(targets["data"]["activeTargets"].clone()).unwrap();
    for (name, Served { service, .. }) in services {
        let targets = targets.iter().filter(|target| target.scrape_pool == name).map(|target| {
            let mut labels = target.discovered_labels.clone();
            labels.retain(|name, _| is_discovered(name));
            labels
        });
        let targets = comparable(targets, &service);
        assert!(!targets.is_empty(), "{name}: nothing was found, what Prometheus logged says why");
        let text = serde_json::to_string_pretty(&targets).unwrap();
        fs::write(folder().join(format!("{name}.expected.json")), text + "\n").unwrap();
    }
}
