//! What real servers make of the cases.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::StreamExt;
use tokio::time::{Instant, sleep};

use crate::{
    cases::{self, Case, Outcome, VERSIONS},
    compare,
    picture::Picture,
    support::{Process, free_port, get_json, prometheus_args},
};

/// Servers at the same time.
const AT_ONCE: usize = 10;
/// When nothing changes any more: a server hears from discovery every five seconds, and looks at what it heard every five.
const SETTLED: Duration = Duration::from_secs(12);

/// The programs to ask, by version: `PROMETHEUS_2` and `PROMETHEUS_3`, each with promtool beside it.
fn programs() -> BTreeMap<&'static str, PathBuf> {
    let program = |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name}: expected a program")));
    VERSIONS.iter().map(|(version, _)| (*version, program(&format!("PROMETHEUS_{}", &version[..1])))).collect()
}

/// `NAMES=a,b` asks for these cases only.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes what $PROMETHEUS_2 and $PROMETHEUS_3 make of the cases into tests/conformance/cases"]
async fn record_goldens() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let names = std::env::var("NAMES").ok();
    let named = |case: &Case| names.as_ref().is_none_or(|names| names.split(',').any(|name| name == case.name));
    let programs = programs();
    for (version, program) in &programs {
        let said = tokio::process::Command::new(program).arg("--version").output().await.unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
        // A 3.16 built from its module has the version of none.
        let major = if said.contains("version 2.") { "2" } else { "3" };
        assert!(version.starts_with(major), "{}: expected {version}: {said}", program.display());
    }
    let server = cases::serve().await;
    let recorded = futures::stream::iter(cases::all().into_iter().filter(named)).map(|case| {
        let (server, programs) = (&server, &programs);
        async move {
            let mut expected = case.expected();
            for (version, line) in VERSIONS {
                let mut outcome = ask(&case, &programs[version], server).await;
                let before = expected.get(version);
                if let (Outcome::Shown(new), Some(Outcome::Shown(before))) = (&mut outcome, before)
                    && let Ok(config) = compare::parse(&case.config(), line)
                {
                    // What the server chooses by chance is no news.
                    compare::with_choice_of(before, &config, line, new);
                }
                expected.insert(version.to_owned(), outcome);
            }
            case.write_expected(&expected);
            println!("{}", case.name);
        }
    });
    recorded.buffer_unordered(AT_ONCE).collect::<()>().await;
}

async fn ask(case: &Case, prometheus: &Path, server: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    case.lay_out(folder.path(), server);
    let config = folder.path().join("prometheus.yml");
    let shorten = |text: &str| cases::without_places(text, folder.path(), server);
    let check = tokio::process::Command::new(prometheus.with_file_name("promtool"))
        .args(["check", "config", "--syntax-only"])
        .arg(&config)
        .output()
        .await
        .unwrap();
    // Of a file that can be loaded promtool also says which static targets are bad; the server just leaves them out.
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    if let Some((_, error)) = said.split_once("FAILED: parsing YAML file") {
        return Outcome::Refused { error: shorten(&format!("parsing YAML file{}", error.trim_end())) };
    }
    let port = free_port();
    let process = Process::start(prometheus, &prometheus_args(folder.path(), &config, port, &[]), folder.path(), "prometheus");
    let url = format!("http://127.0.0.1:{port}/api/v1/targets");
    let started = Instant::now();
    while get_json(&url).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(120), "{}: {}", case.name, process.log_text());
        sleep(Duration::from_millis(500)).await;
    }
    let (mut last, mut since) = (Picture::default(), Instant::now());
    while since.elapsed() < SETTLED {
        sleep(Duration::from_secs(1)).await;
        let picture = Picture::of(&get_json(&url).await.unwrap()).unwrap();
        if picture != last {
            (last, since) = (picture, Instant::now());
        }
    }
    Outcome::Shown(last.map_text(shorten))
}
