//! What Prometheus is told of each target, and in which form. Pure.

use std::{collections::BTreeMap, sync::Arc};

use kvass_api::AssignedTarget;
use kvass_config::{Config, TargetDelivery};
use kvass_model::{
    ADDRESS_LABEL, INVALID_LABEL_PREFIX, Labels, LabelsBuilder, METRICS_PATH_LABEL, PrometheusLine, RESERVED_LABEL_PREFIX,
    SCHEME_LABEL, SCRAPE_INTERVAL_LABEL, SCRAPE_TIMEOUT_LABEL, TargetGroup, is_legacy_label_name, label_hash, query_escape,
};
use serde::Serialize;

use crate::DeliveryMode;

/// Parameter of every scrape: the target's hash in decimal.
pub(crate) const HASH_PARAM: &str = "_hash";
/// Parameter of every scrape: the job in the configuration.
pub(crate) const JOB_PARAM: &str = "_jobName";
/// Parameter of every scrape: the target's own scheme.
pub(crate) const SCHEME_PARAM: &str = "_scheme";

/// Above this many jobs the default is HTTP: each file costs one inotify instance, of which a node has
/// 128 by default, shared by all its containers of one user.
const MANY_JOBS: usize = 100;

/// The form in which targets reach Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Delivery {
    File,
    Http,
    Static,
}

impl Delivery {
    /// `vmagent` looks at nothing but its configuration as soon as it is told to. `unseen` tells that Prometheus did not
    /// see files although it had the time to.
    pub(crate) fn choose(mode: DeliveryMode, vmagent: bool, jobs: usize, unseen: bool) -> Self {
        match mode {
            DeliveryMode::File => Delivery::File,
            DeliveryMode::Http => Delivery::Http,
            DeliveryMode::Static => Delivery::Static,
            DeliveryMode::Auto if vmagent => Delivery::Static,
            DeliveryMode::Auto if unseen || jobs > MANY_JOBS => Delivery::Http,
            DeliveryMode::Auto => Delivery::File,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Delivery::File => "file",
            Delivery::Http => "http",
            Delivery::Static => "static",
        }
    }
}

/// A target group in the JSON of file and HTTP discovery.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct JsonGroup {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

/// The groups of a job as JSON; `[]` when it has no targets.
pub(crate) fn json_groups(job: &str, targets: &[AssignedTarget], line: PrometheusLine) -> Vec<u8> {
    let json = |shipped: Shipped| JsonGroup {
        targets: [shipped.address],
        labels: shipped.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    let groups: Vec<JsonGroup> = shipped(job, targets, line).into_iter().map(json).collect();
    // A list of string maps has a JSON form.
    serde_json::to_vec(&groups).unwrap_or_else(|_| b"[]".to_vec())
}

/// The groups of a job for its `static_configs`.
fn static_groups(job: &str, targets: &[AssignedTarget], line: PrometheusLine) -> Vec<TargetGroup> {
    let group = |(index, shipped): (usize, Shipped)| TargetGroup {
        source: index.to_string(),
        targets: vec![Labels::from([(ADDRESS_LABEL, shipped.address)])],
        labels: shipped.labels,
    };
    shipped(job, targets, line).into_iter().enumerate().map(group).collect()
}

struct Shipped {
    address: String,
    labels: Labels,
}

/// Targets in hash order, each once, so that equal lists have equal text. Prometheus can do nothing with
/// a target without address.
fn shipped(job: &str, targets: &[AssignedTarget], line: PrometheusLine) -> Vec<Shipped> {
    let unique: BTreeMap<u64, &AssignedTarget> = targets.iter().map(|target| (target.hash, target)).collect();
    let ship = |target: &AssignedTarget| {
        let labels = target.label_set();
        let address = labels.get(ADDRESS_LABEL)?.to_owned();
        Some(Shipped { address, labels: shipped_labels(job, target.hash, &labels, line) })
    };
    unique.values().filter_map(|target| ship(target)).collect()
}

/// Only what Prometheus needs: the labels of series, the path, the control parameters, and the target's
/// own interval and timeout. The sidecar knows the rest. Other parameters stay here: Prometheus 2
/// refuses a whole file for a name like `__param_match[]`.
fn shipped_labels(job: &str, hash: u64, labels: &Labels, line: PrometheusLine) -> Labels {
    let mut shipped = LabelsBuilder::new();
    for (name, value) in labels.iter() {
        let reserved = name.starts_with(RESERVED_LABEL_PREFIX) && !name.starts_with(INVALID_LABEL_PREFIX);
        let needed = !reserved || [METRICS_PATH_LABEL, SCRAPE_INTERVAL_LABEL, SCRAPE_TIMEOUT_LABEL].contains(&name);
        // Prometheus 2 refuses the whole file for one name it does not know.
        if needed && (line == PrometheusLine::V3 || is_legacy_label_name(name)) {
            shipped.set(name, value);
        }
    }
    let scheme = Some(labels.scheme()).filter(|scheme| !scheme.is_empty()).unwrap_or("http");
    shipped.set(SCHEME_LABEL, "http");
    shipped.set(&format!("__param_{HASH_PARAM}"), &hash.to_string());
    shipped.set(&format!("__param_{JOB_PARAM}"), job);
    shipped.set(&format!("__param_{SCHEME_PARAM}"), scheme);
    shipped.build()
}

/// A name for the job's file that is legal on every file system and differs between jobs.
pub(crate) fn file_name(job: &str) -> String {
    const MAX: usize = 100;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !job.is_empty() && job.len() <= MAX && job.chars().all(plain) {
        return format!("{job}.json");
    }
    let readable: String = job.chars().take(MAX).map(|c| if plain(c) { c } else { '_' }).collect();
    // The dot keeps these apart from the names above.
    format!("{readable}.{:016x}.json", label_hash(&Labels::from([("job", job)])))
}

/// How the injected configuration refers to the targets.
pub(crate) fn target_delivery(
    delivery: Delivery,
    config: &Config,
    targets: &kvass_api::TargetList,
    line: PrometheusLine,
    folder: &str,
    http_sd_url: &str,
) -> TargetDelivery {
    let names = config.jobs().iter().map(|job| Arc::clone(&job.job_name));
    match delivery {
        Delivery::File => {
            TargetDelivery::File(names.map(|job| (Arc::clone(&job), format!("{folder}/{}", file_name(&job)))).collect())
        }
        Delivery::Http => TargetDelivery::Http(
            names.map(|job| (Arc::clone(&job), format!("{http_sd_url}?job={}", query_escape(&job)))).collect(),
        ),
        Delivery::Static => TargetDelivery::Static(
            names
                .map(|job| {
                    let targets = targets.get(&*job).map(Vec::as_slice).unwrap_or_default();
                    (Arc::clone(&job), static_groups(&job, targets, line))
                })
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use kvass_model::{SeriesCount, TargetHash, TargetState};

    use super::*;

    fn target(hash: u64, labels: &[(&str, &str)]) -> AssignedTarget {
        AssignedTarget::new(TargetHash(hash), &labels.iter().copied().collect(), SeriesCount::default(), TargetState::Normal)
    }

    #[test]
    fn ships_what_prometheus_needs_and_nothing_else() {
        let labels = [
            ("__address__", "h:443"),
            ("__invalid_label_9lives", "cat"),
            ("__meta_x", "m"),
            ("__metrics_path__", "/probe"),
            ("__param_match[]", "up"),
            ("__param_target", "https://a.b"),
            ("__scheme__", "https"),
            ("__scrape_interval__", "5s"),
            ("__tmp_x", "t"),
            ("a-b", "c"),
            ("instance", "i"),
            ("job", "relabelled"),
        ];
        let json = |line| String::from_utf8(json_groups("j", &[target(7, &labels)], line)).unwrap();
        let expected = |odd: &str| {
            format!(
                r#"[{{"targets":["h:443"],"labels":{{"__invalid_label_9lives":"cat","__metrics_path__":"/probe","__param__hash":"7","__param__jobName":"j","__param__scheme":"https","__scheme__":"http","__scrape_interval__":"5s",{odd}"instance":"i","job":"relabelled"}}}}]"#
            )
        };
        assert_eq!(json(PrometheusLine::V2), expected(""));
        assert_eq!(json(PrometheusLine::V3), expected(r#""a-b":"c","#));
    }

    #[test]
    fn order_duplicates_and_targets_without_address() {
        let (a, b) = (target(1, &[("__address__", "a")]), target(2, &[("__address__", "b")]));
        let none = target(3, &[("instance", "x")]);
        let text = |targets: &[AssignedTarget]| json_groups("j", targets, PrometheusLine::V2);
        assert_eq!(text(&[b.clone(), a.clone(), b.clone(), none]), text(&[a, b]));
        assert_eq!(text(&[]), b"[]");
    }

    #[test]
    fn file_names() {
        let long = "x".repeat(300);
        for (job, name) in [("metrics-test", "metrics-test.json"), ("a_1", "a_1.json")] {
            assert_eq!(file_name(job), name);
        }
        let odd = ["", "..", "a/b", "a b", "ä", ".hidden", &long, "a/b.0123"];
        let names: std::collections::BTreeSet<String> = odd.iter().map(|job| file_name(job)).collect();
        assert_eq!(names.len(), odd.len());
        for name in names {
            assert!(!name.starts_with("..") && !name.contains(['/', '*', '?', '[']) && name.len() < 150, "{name}");
        }
    }

    #[test]
    fn many_jobs_or_unseen_files_mean_http_and_vmagent_static() {
        for (mode, vmagent, jobs, unseen, expected) in [
            (DeliveryMode::Auto, false, 100, false, Delivery::File),
            (DeliveryMode::Auto, false, 101, false, Delivery::Http),
            (DeliveryMode::Auto, false, 1, true, Delivery::Http),
            (DeliveryMode::Auto, true, 500, true, Delivery::Static),
            (DeliveryMode::File, true, 500, true, Delivery::File),
            (DeliveryMode::Http, true, 1, false, Delivery::Http),
            (DeliveryMode::Static, false, 500, true, Delivery::Static),
        ] {
            assert_eq!(Delivery::choose(mode, vmagent, jobs, unseen), expected, "{mode} {vmagent} {jobs} {unseen}");
        }
    }
}
