//! `kvass check targets`: one round of service discovery, printed as `promtool check service-discovery` prints it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

use kvass_config::{InjectOptions, ScrapeConfig, apply_sd_injection, mask_password};
use kvass_discovery::{Discovered, DiscoveryOptions, DnsOptions, Environment, JobDiscovery, Manager, Resolved, resolve};
use kvass_model::{Labels, LabelsBuilder, PARAM_LABEL_PREFIX, PrometheusLine, TargetGroup};
use serde::Serialize;
use tokio::sync::watch;

use super::{Accepted, load, text};
use crate::flags::CheckTargetsFlags;

/// What to print.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The document; none if nothing was discovered at all.
    pub(super) json: Option<String>,
    /// One a line.
    pub(super) errors: Vec<String>,
}

impl Report {
    fn failed(error: String) -> Report {
        Report { json: None, errors: vec![error] }
    }
}

/// A target as promtool describes it. One that relabelling dropped has no labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    discovered_labels: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    /// promtool prints an empty object.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn check(flags: &CheckTargetsFlags) -> Report {
    let Accepted { config, line, .. } = match load(Path::new(&flags.file), flags.prometheus_version) {
        Ok(accepted) => accepted,
        Err(error) => return Report::failed(text(&error)),
    };
    let jobs: Vec<Arc<ScrapeConfig>> = match &flags.job {
        None => config.jobs().to_vec(),
        Some(name) => match config.job(name) {
            Some(job) => vec![Arc::clone(job)],
            None => {
                let known: Vec<&str> = config.jobs().iter().map(|job| &*job.job_name).collect();
                return Report::failed(format!("--job={name}: expected one of {}", known.join(", ")));
            }
        },
    };
    let inject = InjectOptions { scrape_proxy: variable("SCRAPE_PROXY"), ..InjectOptions::default() };
    let options = DiscoveryOptions {
        keep_alive: true,
        scrape_proxy: inject.scrape_proxy.clone(),
        http2: variable("PROMETHEUS_COMMON_DISABLE_HTTP2").is_none(),
        dns: DnsOptions::default(),
        environment: Environment::default(),
        delegate: None,
        max_loss: None,
    };
    let manager = Manager::new(options);
    manager.set_line(line);
    let discovered_as: Vec<Arc<ScrapeConfig>> = jobs.iter().map(|job| Arc::new(apply_sd_injection(job, &inject))).collect();
    manager.apply(&discovered_as);
    let mut snapshots = manager.subscribe();
    // What came in time is shown in any case.
    let _ = tokio::time::timeout(flags.timeout, complete(&mut snapshots)).await;
    let discovered = snapshots.borrow().clone();
    manager.shutdown().await;

    let mut report = Report::default();
    let mut by_job: BTreeMap<&str, Vec<Target>> = BTreeMap::new();
    let nothing = JobDiscovery::default();
    for job in &jobs {
        let found = discovered.jobs.get(&job.job_name).unwrap_or(&nothing);
        report.errors.extend(problems(job, found, line));
        by_job.insert(&job.job_name, targets(job, found, line));
    }
    let json = match (&flags.job, by_job.values().next()) {
        (Some(_), Some(targets)) => serde_json::to_string_pretty(targets),
        _ => serde_json::to_string_pretty(&by_job),
    };
    match json {
        Ok(json) => report.json = Some(json),
        Err(error) => report.errors.push(format!("the targets cannot be written as JSON: {error}")),
    }
    report
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Waits until every section of every job has delivered.
async fn complete(snapshots: &mut watch::Receiver<Arc<Discovered>>) {
    // It fails only if the manager is gone, which the caller holds.
    let _ = snapshots.wait_for(|discovered| discovered.jobs.values().all(|job| job.complete)).await;
}

fn problems(job: &Arc<ScrapeConfig>, found: &JobDiscovery, line: PrometheusLine) -> Vec<String> {
    let name = &job.job_name;
    let mut problems = Vec::new();
    problems.extend(found.unsupported.iter().map(|key| format!("job {name}: {key}: kvass has no code for this discovery")));
    problems.extend(found.errors.iter().map(|error| format!("job {name}: {error}")));
    if !found.complete && found.errors.is_empty() {
        problems.push(format!("job {name}: service discovery has not answered within --timeout"));
    }
    if let Some(count) = resolve(job, &found.groups, line).over_limit {
        let limit = job.target_limit;
        problems.push(format!("job {name}: has {count} targets and a target_limit of {limit}: none of them would be scraped"));
    }
    problems
}

/// Group by group, sorted by source. Of equal targets of one source one is shown.
fn targets(job: &Arc<ScrapeConfig>, found: &JobDiscovery, line: PrometheusLine) -> Vec<Target> {
    // The limit would hide some.
    let job = Arc::new(ScrapeConfig { keep_dropped_targets: 0, ..(**job).clone() });
    let mut by_source: BTreeMap<&str, (Vec<Target>, HashSet<Target>)> = BTreeMap::new();
    for group in &found.groups {
        let (shown, known) = by_source.entry(&group.source).or_default();
        for target in &group.targets {
            let (source, labels) = (group.source.clone(), group.labels.clone());
            let alone = TargetGroup { source, targets: vec![target.clone()], labels };
            let target = described(&resolve(&job, &[Arc::new(alone)], line));
            shown.extend(target.filter(|target| known.insert(target.clone())));
        }
    }
    by_source.into_values().flat_map(|(shown, _)| shown).collect()
}

/// The one target that was resolved.
fn described(resolved: &Resolved) -> Option<Target> {
    if let Some(target) = resolved.active.first() {
        let labels = with_settings(&target.labels, &target.discovered);
        return Some(Target { discovered_labels: shown(&target.discovered), labels: shown(&labels), error: None });
    }
    if let Some(failed) = resolved.failed.first() {
        let error = Some(mask_password(&failed.error));
        return Some(Target { discovered_labels: shown(&failed.discovered), labels: BTreeMap::new(), error });
    }
    let discovered = resolved.dropped.labels().next()?;
    Some(Target { discovered_labels: shown(&discovered), labels: BTreeMap::new(), error: None })
}

/// Labels of a target that repeat a setting of its job, which kvass leaves out.
const SETTINGS: [&str; 5] = [
    "__scrape_interval__",
    "__scrape_timeout__",
    "__convert_classic_histograms_to_nhcb__",
    "__always_scrape_classic_histograms__",
    "__scrape_native_histograms__",
];

fn with_settings(labels: &Labels, discovered: &Labels) -> Labels {
    let mut builder = LabelsBuilder::from(labels);
    for name in SETTINGS {
        if let Some((_, value)) = discovered.iter().find(|(known, _)| *known == name) {
            builder.set_if_absent(name, value);
        }
    }
    builder.build()
}

/// Labels as they may be shown: parameters that sound like secrets and passwords in URLs are masked.
fn shown(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), masked(name, value).into_owned())).collect()
}

fn masked<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if name.strip_prefix(PARAM_LABEL_PREFIX).is_some_and(kvass_config::sounds_secret) && !value.is_empty() {
        return "<secret>".into();
    }
    if value.contains("://") { mask_password(value).into() } else { value.into() }
}
