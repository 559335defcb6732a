//! `GET /api/v1/targets/relabel_steps`: what the rules of a job do with a label set, step by step. Prometheus' endpoint, and
//! what happens before and after the rules.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::{RawQuery, State};
use kvass_api::{ApiError, ApiResult, ok};
use kvass_config::ScrapeConfig;
use kvass_discovery::{Change, End, explain};
use kvass_model::{Labels, PrometheusLine, Target};
use kvass_relabel::{RelabelConfig, Step};
use serde::Serialize;
use serde_json::Value;

use super::targets::{first, form_pairs, interval_text, map, timeout_text};
use crate::coordinator::Shared;

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Question {
    pool: String,
    labels: Labels,
    /// `add_job_labels`: the labels are those of discovery alone.
    add_job_labels: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    steps: Vec<RuleStep>,
    /// What the job added before the rules.
    added: Vec<ShownChange>,
    /// The target that came of it; null if none did.
    target: Option<ShownTarget>,
    /// What was done to its labels after the rules.
    finished: Vec<ShownChange>,
    /// Index of the rule that dropped the labels.
    dropped_by: Option<usize>,
    /// Why there is no target although no rule dropped it; empty otherwise.
    error: String,
}

/// `rule`, `output` and `keep` are Prometheus'.
#[derive(Serialize)]
struct RuleStep {
    rule: ShownRule,
    output: BTreeMap<String, String>,
    keep: bool,
    index: usize,
    input: BTreeMap<String, String>,
    changes: Vec<LabelChange>,
    reason: String,
}

#[derive(Serialize)]
struct ShownRule {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_labels: Vec<String>,
    separator: String,
    regex: String,
    #[serde(skip_serializing_if = "is_zero")]
    modulus: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    target_label: String,
    replacement: String,
    action: String,
}

/// One label that a rule changed; empty means absent.
#[derive(Debug, PartialEq, Serialize)]
struct LabelChange {
    label: String,
    before: String,
    after: String,
}

#[derive(Serialize)]
struct ShownChange {
    #[serde(flatten)]
    change: LabelChange,
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownTarget {
    hash: String,
    labels: BTreeMap<String, String>,
    scrape_url: String,
    scrape_interval: String,
    scrape_timeout: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

pub(super) async fn relabel_steps(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> ApiResult {
    let question = Question::parse(query.as_deref().unwrap_or_default())?;
    let catalog = shared.catalog.load();
    let Some(job) = catalog.jobs.get(question.pool.as_str()) else {
        let pool = &question.pool;
        return Err(ApiError::bad_data(format_args!("error retrieving scrape config: scrape pool {pool:?} not found")));
    };
    let answer = serde_json::to_value(answer(&job.config, &question, catalog.line)).map_err(ApiError::internal)?;
    Ok(ok(masked(answer)))
}

/// With the passwords of URLs hidden, wherever they stand, as where the configuration is shown.
fn masked(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(kvass_config::mask_password(&text)),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, masked(value))).collect(),
        other => other,
    }
}

impl Question {
    fn parse(query: &str) -> Result<Question, ApiError> {
        let pairs = form_pairs(query);
        let given = |name| Some(first(&pairs, name)).filter(|value| !value.is_empty());
        let pool = given("scrapePool").ok_or(ApiError::bad_data("no scrapePool parameter provided"))?;
        let labels = given("labels").ok_or(ApiError::bad_data("no labels parameter provided"))?;
        // As in Go, null is an empty map and, as a value, an empty text.
        let labels: Option<BTreeMap<String, Option<String>>> =
            serde_json::from_str(labels).map_err(|error| ApiError::bad_data(format_args!("error parsing labels: {error}")))?;
        let add_job_labels = match first(&pairs, "add_job_labels") {
            "" | "false" => false,
            "true" => true,
            other => return Err(ApiError::bad_data(format_args!("add_job_labels: {other:?}: expected true or false"))),
        };
        let labels = labels.unwrap_or_default().into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
        Ok(Question { pool: pool.to_owned(), labels, add_job_labels })
    }
}

fn answer(job: &ScrapeConfig, question: &Question, line: PrometheusLine) -> Answer {
    let explanation = explain(job, &question.labels, question.add_job_labels, line);
    let steps = job.relabel_configs.iter().zip(&explanation.steps).enumerate();
    let mut answer = Answer {
        steps: steps.map(|(index, (config, step))| rule_step(index, config, step)).collect(),
        added: explanation.added.into_iter().map(shown_change).collect(),
        target: None,
        finished: Vec::new(),
        dropped_by: None,
        error: String::new(),
    };
    match explanation.end {
        End::Target(target, finished) => {
            answer.target = Some(shown_target(&target, job));
            answer.finished = finished.into_iter().map(shown_change).collect();
        }
        End::Dropped(index) => answer.dropped_by = Some(index),
        End::Failed(error) => answer.error = error,
    }
    answer
}

fn rule_step(index: usize, config: &RelabelConfig, step: &Step) -> RuleStep {
    let rule = config.rule().with_defaults();
    RuleStep {
        rule: ShownRule {
            source_labels: rule.source_labels.unwrap_or_default(),
            separator: rule.separator.unwrap_or_default(),
            regex: rule.regex.unwrap_or_default(),
            modulus: rule.modulus.unwrap_or_default(),
            target_label: rule.target_label.unwrap_or_default(),
            replacement: rule.replacement.unwrap_or_default(),
            action: rule.action.unwrap_or_default(),
        },
        output: map(&step.after),
        keep: step.keep,
        index,
        input: map(&step.before),
        changes: if step.keep { changes(&step.before, &step.after) } else { Vec::new() },
        reason: step.reason.clone(),
    }
}

/// The labels in which two sets differ, by name.
fn changes(before: &Labels, after: &Labels) -> Vec<LabelChange> {
    let names = before.iter().chain(after.iter()).map(|(name, _)| name);
    let names: std::collections::BTreeSet<&str> = names.filter(|name| before.get(name) != after.get(name)).collect();
    let value = |labels: &Labels, name: &str| labels.get(name).unwrap_or_default().to_owned();
    let change = |name: &str| LabelChange { label: name.to_owned(), before: value(before, name), after: value(after, name) };
    names.into_iter().map(change).collect()
}

fn shown_change(Change { label, before, after, reason }: Change) -> ShownChange {
    ShownChange { change: LabelChange { label, before, after }, reason }
}

fn shown_target(target: &Target, job: &ScrapeConfig) -> ShownTarget {
    ShownTarget {
        hash: target.hash.to_string(),
        labels: map(&target.public_labels()),
        scrape_url: target.url.clone(),
        scrape_interval: interval_text(target, job),
        scrape_timeout: timeout_text(target, job),
    }
}
