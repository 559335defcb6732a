use std::{collections::BTreeMap, sync::Arc};

use kvass_model::{ADDRESS_LABEL, INVALID_LABEL_PREFIX, Labels, LabelsBuilder, PrometheusLine, TargetGroup};

use crate::yaml::{Node, Scalar};

/// Name of the job that watches the shard's own Prometheus.
pub const SELF_MONITOR_JOB: &str = "prometheus_shards";

/// What the document of a shard gets that the user's document has not.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// The sidecar's forward proxy; every scrape of every job goes through it. Without it jobs get no proxy at all, not even
    /// their own: how targets are reached is the sidecar's affair.
    pub proxy_url: Option<String>,
    /// How Prometheus learns its targets.
    pub targets: TargetDelivery,
    /// External labels of this shard; they win over the user's of the same name.
    pub extra_external_labels: Labels,
    /// Adds a job that scrapes the shard's Prometheus itself, without proxy. Left out when the user has
    /// a job of the same name ([`SELF_MONITOR_JOB`]).
    pub self_monitor: Option<SelfMonitor>,
    /// Leave out `rule_files` and `alerting`: a shard sees only a part of the data a rule would need.
    pub strip_rules: bool,
}

/// How the targets of each job reach Prometheus; a job that is not listed gets none.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetDelivery {
    /// The file named in the job's `file_sd_configs`; a relative one is resolved by Prometheus against
    /// the folder of the injected document.
    File(BTreeMap<Arc<str>, String>),
    /// The URL named in the job's `http_sd_configs`, polled every five seconds.
    Http(BTreeMap<Arc<str>, String>),
    /// The groups, written into the job's `static_configs`.
    Static(BTreeMap<Arc<str>, Vec<TargetGroup>>),
}

/// The job that watches the shard's own Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfMonitor {
    /// Host and port of Prometheus.
    pub address: String,
    /// Label `replicate`.
    pub replicate: String,
    /// Label `shard`.
    pub shard: String,
}

/// Keys of a job that concern finding and reaching its targets, which is the sidecar's task. `target_limit` is the
/// coordinator's: a shard counts its own part only.
const REMOVED_KEYS: [&str; 17] = [
    "static_configs",
    "params",
    "target_limit",
    "relabel_configs",
    "scheme",
    "basic_auth",
    "authorization",
    "oauth2",
    "bearer_token",
    "bearer_token_file",
    "tls_config",
    "http_headers",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "sigv4",
];

/// Whether a key of a job is the coordinator's and the sidecar's affair: a shard's Prometheus gets another value or none.
pub fn is_kept_from_shards(key: &str) -> bool {
    REMOVED_KEYS.contains(&key) || key.ends_with("_sd_configs")
}

/// Edits the user's document into a shard's. `included` are the documents named by `scrape_config_files`: their jobs move
/// into the main one, or every shard would scrape them in full. All that is not named here stays as written.
pub(crate) fn inject(main: &Node, included: &[&Node], injection: &Injection, line: PrometheusLine) -> Node {
    let mut root = main.clone();
    let mut jobs: Vec<Node> = Vec::new();
    for document in [main].iter().chain(included) {
        jobs.extend(document.get("scrape_configs").iter().flat_map(|list| list.items()).cloned());
    }
    let names: Vec<String> = jobs.iter().map(|job| job_name(job).to_owned()).collect();
    for (job, name) in jobs.iter_mut().zip(&names) {
        rewrite(job, name, injection);
    }
    if let Some(monitor) = injection.self_monitor.as_ref().filter(|_| !names.iter().any(|name| name == SELF_MONITOR_JOB)) {
        jobs.push(self_monitor_job(monitor));
    }

    root.set("scrape_configs", Node::list(jobs));
    root.remove(|key| key == "scrape_config_files" || injection.strip_rules && matches!(key, "rule_files" | "alerting"));
    if root.get("global").is_some_and(|global| global.get("target_limit").is_some()) {
        root.edit_key("global", |global| global.remove(|key| key == "target_limit"));
    }
    if !injection.extra_external_labels.is_empty() {
        root.edit_key("global", |global| {
            global.edit_key("external_labels", |labels| {
                for (name, value) in injection.extra_external_labels.iter() {
                    labels.set(name, Node::text(literal(value, line)));
                }
            });
        });
    }
    root
}

/// Prometheus 3 expands `$` in external labels; these are meant as they are.
fn literal(value: &str, line: PrometheusLine) -> String {
    match line {
        PrometheusLine::V2 => value.to_owned(),
        PrometheusLine::V3 => value.replace('$', "$$"),
    }
}

fn job_name(job: &Node) -> &str {
    job.get("job_name").and_then(Node::as_scalar).map(Scalar::as_text).unwrap_or_default()
}

fn rewrite(job: &mut Node, name: &str, injection: &Injection) {
    job.remove(is_kept_from_shards);
    job.set("scheme", Node::text("http"));
    if let Some(url) = &injection.proxy_url {
        job.set("proxy_url", Node::text(url));
    }
    // Gives labels that Prometheus 2 would refuse in a target their names back.
    let restore = [
        ("action", Node::text("labelmap")),
        ("regex", Node::text(format!("{INVALID_LABEL_PREFIX}(.+)"))),
        ("replacement", Node::text("$1")),
    ];
    job.set("relabel_configs", Node::list(vec![Node::map(restore)]));
    let (key, section) = match &injection.targets {
        TargetDelivery::File(files) => {
            let file = files.get(name).map(|file| Node::map([("files", Node::list(vec![Node::text(file)]))]));
            ("file_sd_configs", file.into_iter().collect())
        }
        TargetDelivery::Http(urls) => {
            let url = urls.get(name).map(|url| Node::map([("url", Node::text(url)), ("refresh_interval", Node::text("5s"))]));
            ("http_sd_configs", url.into_iter().collect())
        }
        TargetDelivery::Static(groups) => {
            ("static_configs", groups.get(name).into_iter().flatten().flat_map(static_configs).collect())
        }
    };
    job.set(key, Node::list(section));
}

/// One entry for the targets that have nothing but an address, one for each of the others.
fn static_configs(group: &TargetGroup) -> Vec<Node> {
    let mut plain = Vec::new();
    let mut entries = Vec::new();
    for target in &group.targets {
        if target.len() == 1 {
            plain.push(Node::text(target.address()));
        } else {
            let mut labels = LabelsBuilder::from(&group.labels);
            target.iter().for_each(|(name, value)| labels.set(name, value));
            entries.push(static_config(vec![Node::text(target.address())], &labels.build()));
        }
    }
    if !plain.is_empty() {
        entries.insert(0, static_config(plain, &group.labels));
    }
    entries
}

fn static_config(addresses: Vec<Node>, labels: &Labels) -> Node {
    let labels =
        Node::map(labels.iter().filter(|(name, _)| *name != ADDRESS_LABEL).map(|(name, value)| (name, Node::text(value))));
    Node::map([("targets", Node::list(addresses)), ("labels", labels)])
}

fn self_monitor_job(monitor: &SelfMonitor) -> Node {
    let labels = Labels::from([("replicate", monitor.replicate.as_str()), ("shard", monitor.shard.as_str())]);
    Node::map([
        ("job_name", Node::text(SELF_MONITOR_JOB)),
        ("static_configs", Node::list(vec![static_config(vec![Node::text(&monitor.address)], &labels)])),
    ])
}
