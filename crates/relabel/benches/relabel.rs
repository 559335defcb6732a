//! Relabelling the samples of a scrape. `naive` is what the shortcuts are measured against: every rule takes
//! the captures of a regular expression, whether it needs them or not.

#![allow(clippy::unwrap_used, reason = "failing is what a benchmark does")]

use divan::{Bencher, black_box, counter::ItemsCount};
use kvass_model::{LabelsBuilder, PrometheusLine};
use kvass_relabel::{NameScheme, RelabelConfig, Rule, process};
use regex::Regex;

const SAMPLES: usize = 1000;

/// Source labels, pattern, target label, replacement, action.
type Spec = (&'static [&'static str], &'static str, &'static str, &'static str, &'static str);

/// Typical metric rules, few of which match.
const RULES: [Spec; 5] = [
    (&["__name__"], "go_gc_.+|process_.*", "", "$1", "drop"),
    (&["__name__", "le"], "http_request_duration_seconds_bucket;0\\.0[0-9]+", "", "$1", "drop"),
    (&["__name__"], "a|b|c|http_requests_total_old", "", "$1", "drop"),
    (&["path"], "/api/v1/users/([0-9]+)/.*", "user", "$1", "replace"),
    (&["instance"], "(.*)", "node", "$1", "replace"),
];

fn main() {
    divan::main();
}

fn samples() -> Vec<LabelsBuilder> {
    (0..SAMPLES)
        .map(|i| {
            [
                ("__name__", "http_request_duration_seconds_bucket".to_owned()),
                ("instance", "10.0.0.1:9100".to_owned()),
                ("job", "api".to_owned()),
                ("le", format!("{}", i % 10)),
                ("path", format!("/api/v1/{}/{i}/x", if i % 10 == 0 { "users" } else { "things" })),
            ]
            .into_iter()
            .collect()
        })
        .collect()
}

#[divan::bench]
fn shortcuts(bencher: Bencher<'_, '_>) {
    let rules: Vec<RelabelConfig> = RULES
        .iter()
        .map(|(source, regex, target, replacement, action)| {
            let rule = Rule {
                source_labels: Some(source.iter().map(|label| (*label).to_owned()).collect()),
                regex: Some((*regex).to_owned()),
                target_label: Some((*target).to_owned()),
                replacement: Some((*replacement).to_owned()),
                action: Some((*action).to_owned()),
                ..Rule::default()
            };
            RelabelConfig::new(rule, PrometheusLine::V3, NameScheme::Utf8).unwrap()
        })
        .collect();
    bencher.counter(ItemsCount::new(SAMPLES)).with_inputs(samples).bench_local_refs(|samples| {
        samples.iter_mut().filter_map(|labels| process(black_box(&rules), labels).then_some(())).count()
    });
}

#[divan::bench]
fn naive(bencher: Bencher<'_, '_>) {
    let rules: Vec<(Spec, Regex)> =
        RULES.iter().map(|spec| (*spec, Regex::new(&format!("^(?s:{})$", spec.1)).unwrap())).collect();
    bencher.counter(ItemsCount::new(SAMPLES)).with_inputs(samples).bench_local_refs(|samples| {
        samples.iter_mut().filter_map(|labels| naive_process(black_box(&rules), labels).then_some(())).count()
    });
}

fn naive_process(rules: &[(Spec, Regex)], labels: &mut LabelsBuilder) -> bool {
    for ((source, _, target, replacement, action), regex) in rules {
        let values: Vec<&str> = source.iter().map(|label| labels.get(label).unwrap_or_default()).collect();
        let value = values.join(";");
        let captures = regex.captures(&value);
        match (*action, captures) {
            ("drop", Some(_)) => return false,
            ("replace", Some(captures)) => {
                let mut expanded = String::new();
                captures.expand(replacement, &mut expanded);
                labels.set(target, &expanded);
            }
            _ => {}
        }
    }
    true
}
