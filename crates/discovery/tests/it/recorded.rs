//! Targets as the original Kvass built them, recorded for many configurations.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use kvass_config::{ScrapeConfig, SdConfig};
use kvass_discovery::resolve;
use kvass_model::{Labels, PrometheusLine, TargetGroup};
use serde::Deserialize;

use crate::common::parse;

#[derive(Deserialize)]
struct Recorded {
    config_file: String,
    job: String,
    group: usize,
    #[serde(default)]
    discovered_labels: BTreeMap<String, String>,
    #[serde(default)]
    labels_sent: BTreeMap<String, String>,
    #[serde(default)]
    url: String,
    #[serde(default)]
    public_labels: BTreeMap<String, String>,
    /// Absent where the original refused the whole group.
    hash: Option<String>,
    #[serde(default)]
    dropped: bool,
}

/// Where we send more than the original: it left out every label of a configured parameter, also one
/// that relabelling had given another value.
const SENT_BESIDES: [(&str, &str, &str); 1] = [("param-overridden", "t:2", "__param_module")];

const SETTINGS: [&str; 5] = [
    "__scrape_interval__",
    "__scrape_timeout__",
    "__convert_classic_histograms_to_nhcb__",
    "__always_scrape_classic_histograms__",
    "__scrape_native_histograms__",
];

/// Jobs whose discovered labels name a configured parameter: Prometheus 3 lets them win.
const OTHERWISE_IN_V3: [&str; 1] = ["param-overridden"];

#[test]
fn targets_are_those_of_the_original() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kvass-go");
    let recorded = std::fs::read_to_string(folder.join("target-hashes.jsonl")).unwrap();
    let recorded: Vec<Recorded> = recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let files: BTreeSet<&str> = recorded.iter().map(|r| r.config_file.as_str()).collect();
    let mut compared = 0;
    for line in [PrometheusLine::V2, PrometheusLine::V3] {
        for file in &files {
            let jobs = parse(&std::fs::read_to_string(folder.join(file)).unwrap(), line);
            for recorded in recorded.iter().filter(|r| r.config_file == *file && r.hash.is_some()) {
                let job = jobs.iter().find(|job| *job.job_name == *recorded.job).unwrap();
                if line == PrometheusLine::V3 && OTHERWISE_IN_V3.contains(&&*recorded.job) {
                    continue;
                }
                compare(recorded, job, line);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 2 * 89 - 2);
}

fn compare(recorded: &Recorded, job: &Arc<ScrapeConfig>, line: PrometheusLine) {
    let Some(SdConfig::Static(groups)) = job.service_discovery.iter().find(|s| matches!(s, SdConfig::Static(_))) else {
        panic!("{}: no static groups", job.job_name)
    };
    let group: &TargetGroup = &groups[recorded.group];
    // Alone: of equal targets in a group Prometheus, and we, show the last one's discovered labels only.
    let alone = group.targets.iter().map(|target| TargetGroup { targets: vec![target.clone()], ..group.clone() });
    let (mut active, mut dropped) = (Vec::new(), Vec::new());
    for resolved in alone.map(|group| resolve(job, &[Arc::new(group)], line)) {
        dropped.extend(resolved.dropped.labels());
        active.extend(resolved.active);
    }
    let discovered: Labels = recorded.discovered_labels.iter().collect();
    // The original knew the labels by which a target overrides the job's settings only where they were given.
    let is_recorded = |labels: &Labels| labels.filter(|n| !SETTINGS.contains(&n) || discovered.get(n).is_some()) == discovered;
    let what = format!("{line:?} {} {} {discovered}", recorded.config_file, recorded.job);
    if recorded.dropped {
        assert!(dropped.iter().any(is_recorded), "{what}");
        return;
    }
    let target = active.iter().find(|target| is_recorded(&target.discovered)).unwrap_or_else(|| panic!("{what}: {active:#?}"));
    assert_eq!(target.hash.to_string(), *recorded.hash.as_ref().unwrap(), "{what}");
    if line == PrometheusLine::V2 {
        let besides = |name: &str| {
            SENT_BESIDES.contains(&(&*recorded.job, discovered.address(), name)) && !recorded.labels_sent.contains_key(name)
        };
        let sent = target.shipped_labels(&job.params).filter(|name| !besides(name));
        assert_eq!(sent, recorded.labels_sent.iter().collect(), "{what}");
        assert_eq!(target.url, recorded.url, "{what}");
        assert_eq!(target.public_labels(), recorded.public_labels.iter().collect(), "{what}");
    }
}
