//! Discovery by a real Prometheus beside us, of a mechanism that we have no code for.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kvass_config::{SdConfig, delegate_config};
use kvass_discovery::{DelegateOptions, Discovered, DiscoveryOptions, JobDiscovery, Manager};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    sync::watch,
};

use crate::{
    common::{addresses, jobs, options},
    fake_service::{FakeService, Reply},
};

/// What `scripts/prometheus.sh` finds or fetches.
fn prometheus() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/prometheus.sh");
        let output = std::process::Command::new(&script).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "no Prometheus to test with: {}", script.display());
        String::from_utf8(output.stdout).unwrap().lines().last().unwrap().into()
    })
}

/// A Uyuni server: it tells so many systems with one endpoint each to whoever logs in while it is open.
struct Uyuni {
    service: FakeService,
    systems: Arc<AtomicUsize>,
    open: Arc<AtomicBool>,
}

impl Uyuni {
    async fn start(systems: usize) -> Uyuni {
        let (systems, open) = (Arc::new(AtomicUsize::new(systems)), Arc::new(AtomicBool::new(true)));
        let (number, is_open) = (Arc::clone(&systems), Arc::clone(&open));
        let service = FakeService::by(move |request| {
            let method = request.body.split_once("<methodName>").and_then(|(_, rest)| rest.split_once("</methodName>"));
            let method = method.map(|(method, _)| method.to_owned()).unwrap_or_default();
            let password_is_right = method != "auth.login" || request.body.contains("s3cret");
            let systems = number.load(Ordering::SeqCst);
            let reply = match is_open.load(Ordering::SeqCst) && password_is_right {
                true => Reply::xml(response(&method, systems)),
                false => Reply::status(403),
            };
            std::future::ready(reply)
        })
        .await;
        Uyuni { service, systems, open }
    }

    fn section(&self) -> String {
        format!("{{server: '{}', username: u, password: s3cret, refresh_interval: 5s}}", self.service.url)
    }
}

fn response(method: &str, systems: usize) -> String {
    let member = |name: &str, value: String| format!("<member><name>{name}</name><value>{value}</value></member>");
    let structure = |members: String| format!("<value><struct>{members}</struct></value>");
    let array = |items: String| format!("<array><data>{items}</data></array>");
    let int = |n: usize| format!("<int>{n}</int>");
    let text = |text: String| format!("<string>{text}</string>");
    let each = |of: &dyn Fn(usize) -> String| array((1..=systems).map(|n| structure(of(n))).collect());
    let value = match method {
        "auth.login" => text("token".to_owned()),
        "system.listSystemGroupsForSystemsWithEntitlement" => each(&|n| {
            let group = structure(member("id", int(1)) + &member("name", text("all".to_owned())));
            member("id", int(n)) + &member("system_groups", array(group))
        }),
        "system.getNetworkForSystems" => each(&|n| {
            member("system_id", int(n))
                + &member("hostname", text(format!("host-{n}")))
                + &member("ip", text("10.0.0.1".to_owned()))
        }),
        "system.monitoring.listEndpoints" => each(&|n| {
            member("system_id", int(n))
                + &member("endpoint_name", text("node".to_owned()))
                + &member("port", int(9100))
                + &member("path", text("/metrics".to_owned()))
                + &member("exporter_name", text("node_exporter".to_owned()))
                + &member("tls_enabled", "<boolean>0</boolean>".to_owned())
        }),
        other => panic!("{other}"),
    };
    format!("<?xml version=\"1.0\"?><methodResponse><params><param><value>{value}</value></param></params></methodResponse>")
}

/// A folder with the delegate's file, and its address.
struct Place {
    dir: tempfile::TempDir,
    address: String,
}

impl Place {
    fn new() -> Place {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        Place { dir: tempfile::tempdir().unwrap(), address }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("discovery.yml")
    }

    fn manager(&self) -> Manager {
        let delegate = DelegateOptions { url: format!("http://{}", self.address), config_file: self.file() };
        Manager::new(DiscoveryOptions { delegate: Some(delegate), ..options() })
    }

    fn start(&self, program: &Path) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        Command::new(program)
            .arg(format!("--config.file={}", self.file().display()))
            .args(["--storage.tsdb.path=data", "--web.enable-lifecycle"])
            .arg(format!("--web.listen-address={}", self.address))
            .current_dir(self.dir.path())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let output = Command::new("curl").args(["-fsS", &format!("http://{}{path}", self.address)]).output().await.unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }
}

/// As `common::until`, for changes that take several rounds of several programs.
async fn until(
    snapshots: &mut watch::Receiver<Arc<Discovered>>,
    job: &str,
    place: &Place,
    what: &str,
    holds: impl Fn(&JobDiscovery) -> bool,
) -> JobDiscovery {
    let found = snapshots.wait_for(|found| found.jobs.get(job).is_some_and(&holds));
    let found = tokio::time::timeout(Duration::from_secs(180), found).await.map(|found| found.unwrap().jobs[job].clone());
    found.unwrap_or_else(|_| {
        let log = fs::read_to_string(place.dir.path().join("log")).unwrap_or_default();
        panic!("{what}: never came about, last seen: {:#?}\n{log}", snapshots.borrow().jobs.get(job))
    })
}

fn sorted(job: &JobDiscovery) -> Vec<String> {
    let mut addresses = addresses(job);
    addresses.sort();
    addresses
}

#[tokio::test(flavor = "multi_thread")]
async fn no_target_is_lost_whatever_befalls_the_delegate() {
    let uyuni = Uyuni::start(2).await;
    let place = Place::new();
    let manager = place.manager();
    let mut snapshots = manager.subscribe();
    let job = format!("- job_name: j\n  uyuni_sd_configs: [{}]\n  static_configs: [{{targets: ['own:1']}}]\n", uyuni.section());
    manager.apply(&jobs(&job));

    // Nobody is there yet: the others work, and the delegate finds a file to start with.
    let found = until(&mut snapshots, "j", &place, "delegate is missed", |job| !job.errors.is_empty()).await;
    let error = format!("uyuni_sd_configs: the delegate at http://{} cannot be read: ", place.address);
    assert!(found.errors[0].starts_with(&error), "{:?}", found.errors);
    assert_eq!((addresses(&found), found.complete, found.unsupported.len()), (vec!["own:1".to_owned()], false, 0));
    let text = fs::read_to_string(place.file()).unwrap();
    assert!(!text.contains("uyuni"), "a file that it surely takes: {text}");

    let mut delegate = place.start(prometheus());
    let both = ["host-1:9100", "host-2:9100", "own:1"].map(str::to_owned);
    let found = until(&mut snapshots, "j", &place, "targets are found", |job| sorted(job) == both).await;
    assert!(found.complete && found.errors.is_empty(), "{found:?}");
    let labels = found.groups.iter().map(|group| group.targets[0].to_string()).find(|labels| labels.contains("host-1"));
    assert_eq!(
        labels.unwrap(),
        r#"{__address__="host-1:9100", __meta_uyuni_endpoint_name="node", __meta_uyuni_exporter="node_exporter", __meta_uyuni_groups="all", __meta_uyuni_metrics_path="/metrics", __meta_uyuni_minion_hostname="host-1", __meta_uyuni_scheme="http", __meta_uyuni_system_id="1"}"#
    );
    let mode = fs::metadata(place.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(fs::read_to_string(place.file()).unwrap().contains("s3cret"));

    // It is killed, and comes back to a service that does not let it in.
    delegate.kill().await.unwrap();
    let found = until(&mut snapshots, "j", &place, "its death is noticed", |job| !job.errors.is_empty()).await;
    assert_eq!(sorted(&found), both);
    uyuni.open.store(false, Ordering::SeqCst);
    delegate = place.start(prometheus());
    let is_failing = |job: &JobDiscovery| job.errors.iter().any(|error| error.contains("cannot read the service"));
    let found = until(&mut snapshots, "j", &place, "failures are noticed", is_failing).await;
    assert_eq!((sorted(&found), found.complete), (both.to_vec(), true));

    // A section that it does not take: the other one goes on, through the reload.
    let broken = format!(
        "{job}- job_name: k\n  uyuni_sd_configs: [{{server: 'http://u:1', username: u, password: hunter2, http_headers: {{X-A: {{values: [b]}}}}}}]\n"
    );
    manager.apply(&jobs(&broken));
    let refused = until(&mut snapshots, "k", &place, "refusal is noticed", |job| !job.errors.is_empty()).await;
    let error = "uyuni_sd_configs: the delegate does not take this section: ";
    assert!(refused.errors[0].starts_with(error) && refused.errors[0].contains("http_headers"), "{:?}", refused.errors);
    let found = until(&mut snapshots, "j", &place, "failures are noticed again", is_failing).await;
    assert_eq!(sorted(&found), both);
    assert!(!fs::read_to_string(place.file()).unwrap().contains("http://u:1"), "a restart needs a file that is taken");

    uyuni.systems.store(1, Ordering::SeqCst);
    uyuni.open.store(true, Ordering::SeqCst);
    let one = ["host-1:9100", "own:1"].map(str::to_owned);
    until(&mut snapshots, "j", &place, "the service is back", |job| sorted(job) == one && job.errors.is_empty()).await;
    uyuni.systems.store(0, Ordering::SeqCst);
    until(&mut snapshots, "j", &place, "the last target is gone", |job| addresses(job) == ["own:1"]).await;
    delegate.kill().await.unwrap();
}

/// Writes what the program $PROMETHEUS lists, as a delegate and for an ordinary job, into
/// `tests/data/delegate/<version>.json`.
#[tokio::test]
#[ignore = "needs $PROMETHEUS, a program that knows uyuni_sd_configs"]
async fn record_answers() {
    let program = PathBuf::from(std::env::var("PROMETHEUS").unwrap());
    let uyuni = Uyuni::start(3).await;
    let parsed = jobs(&format!("- job_name: j\n  uyuni_sd_configs: [{}]\n", uyuni.section()));
    let [SdConfig::Other(section)] = &parsed[0].service_discovery[..] else { panic!("{parsed:?}") };
    let place = Place::new();
    let ordinary = format!(
        "  - job_name: ordinary\n    uyuni_sd_configs: [{}]\n    relabel_configs: [{{regex: __meta_(.+), action: labelmap}}]\n",
        uyuni.section()
    );
    fs::write(place.file(), delegate_config([section]) + &ordinary).unwrap();
    let _delegate = place.start(&program);
    tokio::time::sleep(Duration::from_secs(25)).await;
    let dropped = place.get("/api/v1/targets?state=dropped").await.unwrap();
    let active = place.get("/api/v1/targets?state=active").await.unwrap();
    let version = place.get("/api/v1/status/buildinfo").await.unwrap()["data"]["version"].as_str().unwrap().to_owned();
    let discovered: Vec<BTreeMap<String, String>> = active["data"]["activeTargets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| serde_json::from_value(target["discoveredLabels"].clone()).unwrap())
        .collect();
    assert_eq!(discovered.len(), 3);
    let recorded = serde_json::json!({ "section": section.digest(), "dropped": dropped, "discovered": discovered });
    let text = serde_json::to_string_pretty(&recorded).unwrap().replace(uyuni.service.host(), "127.0.0.1:1");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/delegate");
    let version: String = version.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    fs::write(folder.join(format!("{version}.json")), text + "\n").unwrap();
}
