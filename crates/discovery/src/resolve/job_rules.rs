//! One target of a job: the label set it starts from, relabelling, checks, identity.

use std::{sync::Arc, time::Duration};

use kvass_config::ScrapeConfig;
use kvass_model::{
    ADDRESS_LABEL, INSTANCE_LABEL, JOB_LABEL, Labels, LabelsBuilder, META_LABEL_PREFIX, METRICS_PATH_LABEL, PARAM_LABEL_PREFIX,
    PrometheusLine, SCHEME_LABEL, SCRAPE_INTERVAL_LABEL, SCRAPE_TIMEOUT_LABEL, Target, TargetGroup, TargetHash,
    format_prometheus_duration, parse_prometheus_duration, target_url,
};

use super::{FailedTarget, Outcome};
use crate::address::complete_port;

/// Labels by which Prometheus 3 lets a target override the job's handling of histograms.
const CONVERT_CLASSIC_LABEL: &str = "__convert_classic_histograms_to_nhcb__";
const ALWAYS_CLASSIC_LABEL: &str = "__always_scrape_classic_histograms__";
const NATIVE_LABEL: &str = "__scrape_native_histograms__";

/// What Go's `strconv.ParseBool` takes.
const GO_BOOLEANS: [&str; 12] = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];

/// What is the same for all targets of a job.
pub(super) struct JobRules<'a> {
    pub(super) job: &'a ScrapeConfig,
    pub(super) line: PrometheusLine,
    /// Settings of the job that a target may override by a label of this name, as Prometheus renders them.
    settings: Vec<(&'static str, String)>,
    /// First values of the job's `params`, under their label names.
    params: Vec<(String, &'a str)>,
}

impl<'a> JobRules<'a> {
    pub(super) fn new(job: &'a ScrapeConfig, line: PrometheusLine) -> Self {
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

    pub(super) fn resolve_group(&self, group: &TargetGroup) -> Vec<Outcome> {
        group.targets.iter().map(|target| self.resolve_target(target, &group.labels)).collect()
    }

    fn resolve_target(&self, target: &Labels, group: &Labels) -> Outcome {
        let mut labels = self.discovered_labels(target, group);
        if !kvass_relabel::process(&self.job.relabel_configs, &mut labels) {
            return Outcome::Dropped;
        }
        let discovered = self.discovered_labels(target, group).build();
        match self.build(&discovered, labels) {
            Ok(target) => Outcome::Active(Arc::new(target)),
            Err(error) => Outcome::Failed(Box::new(FailedTarget { discovered, error })),
        }
    }

    /// The label set relabelling starts from.
    pub(super) fn discovered_labels(&self, target: &Labels, group: &Labels) -> LabelsBuilder {
        let mut labels = LabelsBuilder::from(target);
        // Every target has an address of its own, and an empty one hides that of the group, too.
        for (name, value) in group.iter().filter(|(name, _)| *name != ADDRESS_LABEL) {
            labels.set_if_absent(name, value);
        }
        self.add_job_labels(&mut labels);
        labels
    }

    /// Adds what a target takes from its job before it is relabelled.
    pub(super) fn add_job_labels(&self, labels: &mut LabelsBuilder) {
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
    }

    /// Whether a label is a setting that repeats the job's. Such are not part of a target: the original Kvass did not know
    /// these labels, and a target's identity must be the one it computed.
    pub(super) fn repeats_job(&self, name: &str, value: &str) -> bool {
        self.settings.iter().any(|(setting, of_job)| *setting == name && of_job == value)
    }

    /// The target with these labels, as relabelling left them.
    pub(super) fn build(&self, discovered: &Labels, mut labels: LabelsBuilder) -> Result<Target, String> {
        let address = labels.get(ADDRESS_LABEL).ok_or("no address: __address__ is missing or empty")?.to_owned();
        let completed = complete_port(&address, labels.get(SCHEME_LABEL).unwrap_or_default());
        let completed = match (self.line, completed) {
            (_, Ok(completed)) => completed,
            (PrometheusLine::V3, Err(_)) => address.as_str().into(),
            (PrometheusLine::V2, Err(scheme)) => {
                return Err(format!(
                    "__scheme__: {scheme:?} has no default port for address {address:?}: expected http or https"
                ));
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
        for (name, _) in &self.settings {
            if labels.get(name).is_some_and(|value| self.repeats_job(name, value)) {
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
