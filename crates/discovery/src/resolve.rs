//! From target groups to targets: the label set each target starts from, relabelling, checks, identity.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kvass_config::ScrapeConfig;
use kvass_model::{
    ADDRESS_LABEL, INSTANCE_LABEL, JOB_LABEL, Labels, LabelsBuilder, META_LABEL_PREFIX, METRICS_PATH_LABEL, PARAM_LABEL_PREFIX,
    PrometheusLine, SCHEME_LABEL, SCRAPE_INTERVAL_LABEL, SCRAPE_TIMEOUT_LABEL, Target, TargetGroup, TargetHash,
    format_prometheus_duration, parse_prometheus_duration, target_url,
};

use crate::address::complete_port;

/// Labels by which Prometheus 3 lets a target override the job's handling of histograms.
const CONVERT_CLASSIC_LABEL: &str = "__convert_classic_histograms_to_nhcb__";
const ALWAYS_CLASSIC_LABEL: &str = "__always_scrape_classic_histograms__";
const NATIVE_LABEL: &str = "__scrape_native_histograms__";

/// What Go's `strconv.ParseBool` takes.
const GO_BOOLEANS: [&str; 12] = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];

/// The targets of one job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// Unique by hash over the whole job, in the order of the groups.
    pub active: Vec<Arc<Target>>,
    /// Discovered labels of targets that relabelling dropped; at most `keep_dropped_targets` where that
    /// is set.
    pub dropped: Vec<Labels>,
    /// How many targets relabelling dropped.
    pub dropped_total: usize,
    /// Targets that cannot be built; they never affect their siblings.
    pub failed: Vec<FailedTarget>,
    /// The number of active targets where it exceeds the job's `target_limit`: all of them then fail.
    pub over_limit: Option<u64>,
}

/// A target that cannot be scraped as its labels stand after relabelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedTarget {
    /// Its labels before relabelling.
    pub discovered: Labels,
    /// What is wrong with it.
    pub error: String,
}

/// Builds the targets of a job from its groups; see [`Resolver`] for doing so repeatedly.
pub fn resolve(job: &ScrapeConfig, groups: &[Arc<TargetGroup>], line: PrometheusLine) -> Resolved {
    let rules = JobRules::new(job, line);
    collect(job, groups.iter().map(|group| rules.resolve_group(group)))
}

/// Builds the targets of one job again and again, and spends work only on groups that are new: a change
/// of one pod among thousands costs one group. Unchanged targets keep their [`Arc`].
#[derive(Debug, Default)]
pub struct Resolver {
    made_for: Option<(Arc<ScrapeConfig>, PrometheusLine)>,
    /// By address of the group. The value keeps the group alive, so no other can take that address.
    groups: HashMap<usize, ResolvedGroup>,
}

#[derive(Debug)]
struct ResolvedGroup {
    _group: Arc<TargetGroup>,
    outcomes: Vec<Outcome>,
}

impl Resolver {
    /// Nothing is remembered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same as [`resolve`].
    pub fn resolve(&mut self, job: &Arc<ScrapeConfig>, groups: &[Arc<TargetGroup>], line: PrometheusLine) -> Resolved {
        let unchanged =
            self.made_for.as_ref().is_some_and(|(old, old_line)| *old_line == line && (Arc::ptr_eq(old, job) || old == job));
        if !unchanged {
            self.groups.clear();
            self.made_for = Some((Arc::clone(job), line));
        }
        let rules = JobRules::new(job, line);
        let mut before = std::mem::take(&mut self.groups);
        for group in groups {
            let key = Arc::as_ptr(group).addr();
            self.groups.entry(key).or_insert_with(|| {
                before
                    .remove(&key)
                    .unwrap_or_else(|| ResolvedGroup { _group: Arc::clone(group), outcomes: rules.resolve_group(group) })
            });
        }
        collect(job, groups.iter().filter_map(|group| self.groups.get(&Arc::as_ptr(group).addr())).map(|g| g.outcomes.iter().cloned()))
    }
}

#[derive(Clone, Debug)]
enum Outcome {
    Active(Arc<Target>),
    Dropped(Labels),
    Failed(FailedTarget),
}

fn collect<G: IntoIterator<Item = Outcome>>(job: &ScrapeConfig, groups: impl Iterator<Item = G>) -> Resolved {
    let keep_dropped = match usize::try_from(job.keep_dropped_targets) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    let mut resolved = Resolved::default();
    let mut seen = HashSet::new();
    for outcome in groups.flatten() {
        match outcome {
            Outcome::Active(target) => {
                if seen.insert(target.hash) {
                    resolved.active.push(target);
                }
            }
            Outcome::Dropped(discovered) => {
                resolved.dropped_total += 1;
                if resolved.dropped.len() < keep_dropped {
                    resolved.dropped.push(discovered);
                }
            }
            Outcome::Failed(failed) => resolved.failed.push(failed),
        }
    }
    let found = resolved.active.len() as u64;
    resolved.over_limit = (job.target_limit > 0 && found > job.target_limit).then_some(found);
    resolved
}

/// What is the same for all targets of a job.
struct JobRules<'a> {
    job: &'a ScrapeConfig,
    line: PrometheusLine,
    /// Settings of the job that a target may override by a label of this name, as Prometheus renders them.
    settings: Vec<(&'static str, String)>,
    /// First values of the job's `params`, under their label names.
    params: Vec<(String, &'a str)>,
}

impl<'a> JobRules<'a> {
    fn new(job: &'a ScrapeConfig, line: PrometheusLine) -> Self {
        let mut settings = vec![
            (SCRAPE_INTERVAL_LABEL, format_prometheus_duration(job.scrape_interval)),
            (SCRAPE_TIMEOUT_LABEL, format_prometheus_duration(job.scrape_timeout)),
        ];
        if line == PrometheusLine::V3 {
            settings.extend([
                (CONVERT_CLASSIC_LABEL, job.convert_classic_histograms_to_nhcb.to_string()),
                (ALWAYS_CLASSIC_LABEL, job.always_scrape_classic_histograms.to_string()),
                (NATIVE_LABEL, job.scrape_native_histograms.to_string()),
            ]);
        }
        let params = job.params.iter();
        let params = params.filter_map(|(name, values)| Some((format!("{PARAM_LABEL_PREFIX}{name}"), values.first()?.as_str())));
        JobRules { job, line, settings, params: params.collect() }
    }

    fn resolve_group(&self, group: &TargetGroup) -> Vec<Outcome> {
        group.targets.iter().map(|target| self.resolve_target(target, &group.labels)).collect()
    }

    fn resolve_target(&self, target: &Labels, group: &Labels) -> Outcome {
        let mut labels = self.discovered_labels(target, group);
        let discovered = labels.clone().build();
        if !kvass_relabel::process(&self.job.relabel_configs, &mut labels) {
            return Outcome::Dropped(discovered);
        }
        match self.build(&discovered, labels) {
            Ok(target) => Outcome::Active(Arc::new(target)),
            Err(error) => Outcome::Failed(FailedTarget { discovered, error }),
        }
    }

    /// The label set relabelling starts from.
    fn discovered_labels(&self, target: &Labels, group: &Labels) -> LabelsBuilder {
        let mut labels = LabelsBuilder::from(target);
        for (name, value) in group.iter() {
            labels.set_if_absent(name, value);
        }
        labels.set_if_absent(JOB_LABEL, &self.job.job_name);
        for (name, value) in &self.settings {
            labels.set_if_absent(name, value);
        }
        labels.set_if_absent(METRICS_PATH_LABEL, &self.job.metrics_path);
        labels.set_if_absent(SCHEME_LABEL, &self.job.scheme);
        for (name, value) in &self.params {
            match self.line {
                PrometheusLine::V2 => labels.set(name, value),
                PrometheusLine::V3 => labels.set_if_absent(name, value),
            }
        }
        labels
    }

    /// The target with these labels, as relabelling left them.
    fn build(&self, discovered: &Labels, mut labels: LabelsBuilder) -> Result<Target, String> {
        let address = labels.get(ADDRESS_LABEL).ok_or("no address: __address__ is missing or empty")?.to_owned();
        let completed = complete_port(&address, labels.get(SCHEME_LABEL).unwrap_or_default());
        let completed = match (self.line, completed) {
            (_, Ok(completed)) => completed,
            (PrometheusLine::V3, Err(_)) => address.as_str().into(),
            (PrometheusLine::V2, Err(scheme)) => {
                return Err(format!("__scheme__: {scheme:?} has no default port for address {address:?}: expected http or https"));
            }
        };
        if address.contains('/') {
            return Err(format!("__address__: {address:?} is not a host with a port: it contains a slash"));
        }
        let interval = duration(&labels, SCRAPE_INTERVAL_LABEL, self.job.scrape_interval)?;
        let timeout = duration(&labels, SCRAPE_TIMEOUT_LABEL, self.job.scrape_timeout)?;
        if timeout > interval {
            let (timeout, interval) = (format_prometheus_duration(timeout), format_prometheus_duration(interval));
            return Err(format!("{SCRAPE_TIMEOUT_LABEL}: {timeout} is longer than the scrape interval {interval}"));
        }
        if self.line == PrometheusLine::V3 {
            for name in [CONVERT_CLASSIC_LABEL, ALWAYS_CLASSIC_LABEL, NATIVE_LABEL] {
                if let Some(value) = labels.get(name).filter(|value| !GO_BOOLEANS.contains(value)) {
                    return Err(format!("{name}: {value:?} is not a boolean: expected true or false"));
                }
            }
        }

        labels.retain(|name| !name.starts_with(META_LABEL_PREFIX));
        // A setting that repeats the job's is not part of the target: the original Kvass did not know
        // these labels, and a target's identity must be the one it computed.
        for (name, value) in &self.settings {
            if labels.get(name) == Some(value) {
                labels.remove(name);
            }
        }

        let mut identity = labels.clone();
        identity.set(ADDRESS_LABEL, &completed);
        identity.set_if_absent(INSTANCE_LABEL, &completed);
        let identity = identity.build();
        let hash = TargetHash::of(&identity, &target_url(&identity, &self.job.params));

        let labels = match self.line {
            PrometheusLine::V2 => identity,
            PrometheusLine::V3 => {
                labels.set_if_absent(INSTANCE_LABEL, &address);
                labels.build()
            }
        };
        let url = target_url(&labels, &self.job.params);
        Ok(Target { hash, job: Arc::clone(&self.job.job_name), discovered: discovered.clone(), labels, url, interval, timeout })
    }
}

/// The duration in a label. A label that is gone means the job's: Prometheus refuses the target then, but
/// `labelkeep` rules written for the original Kvass, which had no such labels, go on working.
fn duration(labels: &LabelsBuilder, name: &str, job: Duration) -> Result<Duration, String> {
    let Some(text) = labels.get(name) else { return Ok(job) };
    match parse_prometheus_duration(text) {
        Ok(Duration::ZERO) => Err(format!("{name}: {text:?} must not be zero")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
