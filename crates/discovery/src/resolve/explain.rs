//! Why a target looks as it does: what its job adds, what each rule does, what is done after relabelling.

use std::sync::Arc;

use kvass_config::ScrapeConfig;
use kvass_model::{
    ADDRESS_LABEL, INSTANCE_LABEL, JOB_LABEL, Labels, LabelsBuilder, META_LABEL_PREFIX, METRICS_PATH_LABEL, PARAM_LABEL_PREFIX,
    PrometheusLine, SCHEME_LABEL, SCRAPE_INTERVAL_LABEL, SCRAPE_TIMEOUT_LABEL, Target,
};
use kvass_relabel::Step;

use super::job_rules::JobRules;

/// The way of one label set through a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What the job added before its rules, each with the key it comes from.
    pub added: Vec<Change>,
    /// One step for every rule of `relabel_configs`.
    pub steps: Vec<Step>,
    /// What it came to.
    pub end: End,
}

/// What becomes of a label set.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// This target, with what was done to its labels after the last rule.
    Target(Arc<Target>, Vec<Change>),
    /// Dropped by the rule of this index.
    Dropped(usize),
    /// No target, and why.
    Failed(String),
}

/// A label that got another value outside of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub label: String,
    /// Its value before; empty if it was not there.
    pub before: String,
    /// Its value afterwards; empty if it is gone.
    pub after: String,
    /// What changed it.
    pub reason: String,
}

/// Follows one label set through `job`: the very computation that [`resolve`](super::resolve) does. Without `add`, `labels`
/// are what the rules start from, as the discovered labels of a target are; with it, they are what discovery alone
/// knows, and the job's labels are added first.
pub fn explain(job: &ScrapeConfig, labels: &Labels, add: bool, line: PrometheusLine) -> Explanation {
    let rules = JobRules::new(job, line);
    let mut builder = LabelsBuilder::from(labels);
    if add {
        rules.add_job_labels(&mut builder);
    }
    let discovered = builder.build();
    let added = changes(labels, &discovered, added_by);
    let steps = kvass_relabel::trace(&job.relabel_configs, &discovered);
    let end = match steps.iter().position(|step| !step.keep) {
        Some(index) => End::Dropped(index),
        None => {
            let relabelled = steps.last().map_or(&discovered, |step| &step.after);
            match rules.build(&discovered, LabelsBuilder::from(relabelled)) {
                Ok(target) => {
                    let relabelled = relabelled.filter(|name| !rules.repeats_job(name, relabelled.get(name).unwrap_or_default()));
                    let changes = changes(&relabelled, &target.labels, finished_by);
                    End::Target(Arc::new(target), changes)
                }
                Err(error) => End::Failed(error),
            }
        }
    };
    Explanation { added, steps, end }
}

/// The labels in which two sets differ.
fn changes(before: &Labels, after: &Labels, reason: impl Fn(&str) -> String) -> Vec<Change> {
    let value = |labels: &Labels, name: &str| labels.get(name).unwrap_or_default().to_owned();
    let gone = before.iter().map(|(name, _)| name).filter(|name| after.get(name).is_none());
    let mut names: Vec<&str> = after.iter().map(|(name, _)| name).chain(gone).collect();
    names.sort_unstable();
    let changed = names.into_iter().filter(|name| before.get(name) != after.get(name));
    changed
        .map(|name| Change {
            label: name.to_owned(),
            before: value(before, name),
            after: value(after, name),
            reason: reason(name),
        })
        .collect()
}

/// Where a label of the job comes from.
fn added_by(name: &str) -> String {
    let key = match name {
        JOB_LABEL => "job_name",
        METRICS_PATH_LABEL => "metrics_path",
        SCHEME_LABEL => "scheme",
        SCRAPE_INTERVAL_LABEL => "scrape_interval",
        SCRAPE_TIMEOUT_LABEL => "scrape_timeout",
        _ if name.starts_with(PARAM_LABEL_PREFIX) => "params",
        _ => name.trim_matches('_'),
    };
    format!("{key} of the job")
}

/// What is done to labels after relabelling.
fn finished_by(name: &str) -> String {
    let reason = match name {
        ADDRESS_LABEL => "the scheme's port is added, as Prometheus 2 does",
        INSTANCE_LABEL => "the address, as no rule set it",
        _ if name.starts_with(META_LABEL_PREFIX) => "labels of this prefix end with relabelling",
        _ => "set after relabelling",
    };
    reason.to_owned()
}
