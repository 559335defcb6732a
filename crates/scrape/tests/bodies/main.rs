//! Bodies good and bad: whether they are, and how much is in them, is for Prometheus to say.
//!
//! What it said is in `tests/data/bodies`; see the README there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod fuzz;
mod plan;
mod proto_text;
mod record;
#[allow(dead_code, reason = "shared with the other tests of this crate")]
#[path = "../scrape/support.rs"]
mod support;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use kvass_config::{Config, LoadContext};
use kvass_exposition::{CountError, CountOptions, Counts, SeriesCounter};
use kvass_model::{Labels, LabelsBuilder};
use kvass_scrape::{ClientOptions, JobClient, ScrapeError, USER_AGENT, measure};
use plan::{Case, Plan, SERVERS, Server, folder};
use support::{PATIENCE, read_all};
use verdict::{Golden, Verdict};

#[tokio::test]
async fn bodies_are_judged_and_counted_as_prometheus_does_2_42() {
    replay(&SERVERS[0]).await;
}

#[tokio::test]
async fn bodies_are_judged_and_counted_as_prometheus_does_2_42_with_native_histograms() {
    replay(&SERVERS[1]).await;
}

#[tokio::test]
async fn bodies_are_judged_and_counted_as_prometheus_does_3_16() {
    replay(&SERVERS[2]).await;
}

async fn replay(server: &Server) {
    let plan = Arc::new(Plan::read());
    assert!(plan.bodies().len() >= 550, "{}", plan.bodies().len());
    let answers = Arc::clone(&plan);
    let bodies = support::Server::start(move |request| answers.reply(request)).await;
    let text = plan.config(server.line, server.global, &bodies.addr.to_string());
    let context =
        LoadContext { path: "/prometheus.yml".into(), line: server.line, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
    let config = Config::parse(&text, &context).unwrap();
    let golden = fs::read_to_string(folder().join(format!("{}.golden", server.name))).unwrap();
    let (headers, golden): (Vec<&str>, Vec<&str>) = golden.lines().partition(|line| line.starts_with("Accept\t"));
    let mut golden: BTreeMap<&str, Golden> = golden.into_iter().map(Golden::of_line).collect();

    let mut wrong = String::new();
    let mut differing = differences(server);
    let mut compared = BTreeSet::new();
    for case in plan.cases(server.line) {
        let golden = golden.remove(case.name.as_str()).unwrap_or_else(|| panic!("{} was not recorded", case.name));
        let client = JobClient::new(config.job(case.job).unwrap(), &ClientOptions::default()).unwrap();
        let problem = compare(server, &case, &golden, &client, &bodies.url(&case.path())).await;
        match (problem, differing.remove(&case.name)) {
            (Err(problem), false) => wrong += &format!("{}: {problem}\n", case.name),
            (Ok(()), true) => wrong += &format!("{}: listed in differences.txt, but there is none\n", case.name),
            _ => {}
        }
        compared.insert(case.number);
    }
    let mut asking = 0;
    for line in headers {
        let (header, jobs) = line.trim_start_matches("Accept\t").split_once('\t').unwrap();
        for job in jobs.split(' ') {
            let accept = &config.job(job).unwrap().accept;
            if accept != header {
                wrong += &format!("Accept of {job}: {accept}, but Prometheus sends {header}\n");
            }
            asking += 1;
        }
    }
    assert_eq!(asking, config.jobs().len(), "the Accept header of every job is recorded");
    assert!(golden.is_empty(), "recorded, but there is no such case: {:?}", golden.keys());
    assert!(differing.is_empty(), "differences.txt names cases that are not there: {differing:?}");
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(compared.len() >= 450, "only {} bodies were compared", compared.len());
}

/// Whether scraping as the explorer does comes to what Prometheus came to, however the body is cut into pieces and
/// however closely its labels are looked at.
async fn compare(server: &Server, case: &Case<'_>, golden: &Golden, client: &JobClient, url: &str) -> Result<(), String> {
    let labels = target_labels(client, case);
    let measured: Verdict = measure(client, url, &labels, PATIENCE, server.line).await.into();
    let expected = golden.verdict(case.body.is_gzip());
    if measured != expected {
        return Err(format!("{measured:?}, but Prometheus: {expected:?} {}", golden.error));
    }
    if let Verdict::Up(count) = measured
        && let Some(added) = golden.added
        && added != count.series
    {
        return Err(format!("{added} series of {} were added: is one of them repeated?", count.series));
    }

    let Ok(mut response) = client.scrape(url, client.default_headers(PATIENCE, USER_AGENT), PATIENCE).await else {
        return Ok(());
    };
    let Ok(options) = client.count_options(&labels, &response, server.line) else { return Ok(()) };
    let Ok(bytes) = read_all(&mut response).await else { return Ok(()) };
    let assembling = match options.label_limit {
        0 => CountOptions { label_limit: u64::MAX, ..options.clone() },
        _ => options.clone(),
    };
    for (options, size) in [(&options, 1), (&options, 7), (&assembling, 7), (&assembling, usize::MAX)] {
        let counted: Verdict = count(options, &bytes, size).map_err(ScrapeError::Format).into();
        if counted != measured {
            return Err(format!("{counted:?} in pieces of {size} bytes, else {measured:?}"));
        }
    }
    Ok(())
}

fn count(options: &CountOptions, bytes: &[u8], size: usize) -> Result<Counts, CountError> {
    let mut counter = SeriesCounter::new(options.clone());
    bytes.chunks(size).try_for_each(|chunk| counter.push(chunk))?;
    counter.finish()
}

fn target_labels(client: &JobClient, case: &Case<'_>) -> Labels {
    let mut labels = LabelsBuilder::new();
    labels.set("job", case.job);
    labels.set("instance", &case.number.to_string());
    assert!(kvass_relabel::process(&client.job().relabel_configs, &mut labels));
    labels.build()
}

/// Cases in which we differ from this server, and mean to.
fn differences(server: &Server) -> BTreeSet<String> {
    let text = fs::read_to_string(folder().join("differences.txt")).unwrap();
    let entries = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [server, case, reason] = fields[..] else { panic!("{line}: expected server, case and reason") };
        assert!(!reason.is_empty(), "{line}");
        assert!(SERVERS.iter().any(|s| s.name == server), "{server}: no such server");
        (server, case)
    });
    entries.filter(|(name, _)| *name == server.name).map(|(_, case)| case.to_owned()).collect()
}
