//! Which rules are refused and what the user is told.

#![allow(clippy::panic, clippy::unwrap_used, reason = "failing is what a test does")]

use kvass_model::PrometheusLine::{self, V2, V3};
use kvass_relabel::{
    NameScheme::{self, Legacy, Utf8},
    RelabelConfig, Rule,
};

/// A rule from `key=value` pairs separated by spaces.
fn rule(text: &str) -> Rule {
    let mut rule = Rule::default();
    for pair in text.split_whitespace() {
        let (key, value) = pair.split_once('=').unwrap();
        let value = value.to_owned();
        match key {
            "source_labels" => rule.source_labels = Some(value.split_terminator(',').map(str::to_owned).collect()),
            "separator" => rule.separator = Some(value),
            "regex" => rule.regex = Some(value),
            "modulus" => rule.modulus = Some(value.parse().unwrap()),
            "target_label" => rule.target_label = Some(value),
            "replacement" => rule.replacement = Some(value),
            "action" => rule.action = Some(value),
            _ => panic!("{key}"),
        }
    }
    rule
}

#[track_caller]
fn accepted(line: PrometheusLine, scheme: NameScheme, text: &str) {
    let result = RelabelConfig::new(rule(text), line, scheme);
    assert_eq!(result.map(|config| config.rule().clone()), Ok(rule(text)));
}

#[track_caller]
fn refused(line: PrometheusLine, scheme: NameScheme, text: &str, message: &str) {
    let error = RelabelConfig::new(rule(text), line, scheme).unwrap_err();
    assert_eq!(error.to_string(), message, "{text}");
}

#[test]
fn actions() {
    accepted(V2, Legacy, "action=KeepEqual target_label=x");
    accepted(V2, Legacy, "target_label=x");
    let actions = "replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase or uppercase";
    refused(V3, Utf8, "action=", &format!(r#"action: "": expected {actions}"#));
    refused(V3, Utf8, "action=repalce", &format!(r#"action: "repalce": expected {actions}"#));
    refused(V3, Utf8, "action=hashmod target_label=x", r#"modulus: "": expected a positive number for action hashmod"#);
    refused(
        V3,
        Utf8,
        "action=hashmod target_label=x modulus=0",
        r#"modulus: "0": expected a positive number for action hashmod"#,
    );
}

#[test]
fn targets() {
    for action in ["replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal"] {
        let text = format!("action={action} modulus=3");
        let message = format!(r#"target_label: "": expected a label name, action {action} needs it"#);
        refused(V3, Utf8, &text, &message);
        refused(V3, Utf8, &format!("{text} target_label="), &message);
    }
    let legacy = r#"expected a label name: letters, digits and underscores, no digit first"#;
    for action in ["replace", "lowercase", "uppercase", "keepequal", "dropequal"] {
        let text = format!("action={action} target_label=a.b");
        accepted(V3, Utf8, &text);
        refused(V3, Legacy, &text, &format!(r#"target_label: "a.b": {legacy}"#));
        refused(V2, Utf8, &text, &format!(r#"target_label: "a.b": {legacy}"#));
    }
    // Only replace has a template here.
    refused(V3, Legacy, "action=lowercase target_label=$1", &format!(r#"target_label: "$1": {legacy}"#));
}

#[test]
fn name_templates() {
    let message = |key, text| {
        format!("{key}: {text:?}: expected a template of label names: letters, digits and underscores, no digit first")
    };
    for text in ["$1", "${1}x", "x_${1}", "a1${1}2$b", "$1abc", "${a}${b}", "_$0"] {
        accepted(V2, Legacy, &format!("target_label={text}"));
        accepted(V2, Legacy, &format!("action=labelmap replacement={text}"));
    }
    for text in ["1${1}", "a-$1", "$", "x$", "$$1", "${1", "${}", "${a-b}", "$é", "é$1"] {
        refused(V2, Legacy, &format!("target_label={text}"), &message("target_label", text));
        refused(V2, Legacy, &format!("action=labelmap replacement={text}"), &message("replacement", text));
        accepted(V3, Utf8, &format!("target_label={text}"));
        accepted(V3, Utf8, &format!("action=labelmap replacement={text}"));
    }
    accepted(V2, Legacy, "action=labelmap replacement=constant");
    refused(V2, Legacy, "action=labelmap replacement=", &message("replacement", ""));
    refused(
        V3,
        Utf8,
        "action=labelmap replacement=",
        r#"replacement: "": expected a template of label names: any text but the empty one"#,
    );
}

#[test]
fn source_labels() {
    // The scheme of a Prometheus 3 has no say in names that are only read.
    accepted(V3, Legacy, "source_labels=a-b,c action=keep");
    refused(
        V2,
        Legacy,
        "source_labels=c,a-b action=keep",
        r#"source_labels: "a-b": expected a label name: letters, digits and underscores, no digit first"#,
    );
    refused(
        V3,
        Utf8,
        "source_labels=a,,b action=keep",
        r#"source_labels: "": expected a label name: any text but the empty one"#,
    );
}

#[test]
fn keys_an_action_has_no_use_for() {
    let useless = |key, value, action| format!("{key}: {value:?}: expected to be absent, action {action} has no use for it");
    for action in ["keepequal", "dropequal"] {
        let text = format!("action={action} target_label=x source_labels=a");
        accepted(V3, Utf8, &format!("{text} separator=; replacement=$1 modulus=0"));
        refused(V3, Utf8, &format!("{text} regex=(.*)"), &useless("regex", "(.*)", action));
        refused(V3, Utf8, &format!("{text} regex="), &useless("regex", "", action));
        refused(V3, Utf8, &format!("{text} modulus=2"), &useless("modulus", "2", action));
        refused(V3, Utf8, &format!("{text} separator=-"), &useless("separator", "-", action));
        refused(V3, Utf8, &format!("{text} separator="), &useless("separator", "", action));
        refused(V3, Utf8, &format!("{text} replacement=$0"), &useless("replacement", "$0", action));
    }
    for action in ["labeldrop", "labelkeep"] {
        let text = format!("action={action} regex=a");
        accepted(V3, Utf8, &format!("{text} separator=; replacement=$1 modulus=0 target_label="));
        refused(V3, Utf8, &format!("{text} source_labels="), &useless("source_labels", "", action));
        refused(V3, Utf8, &format!("{text} source_labels=a,b"), &useless("source_labels", "a, b", action));
        refused(V3, Utf8, &format!("{text} target_label=x"), &useless("target_label", "x", action));
        refused(V3, Utf8, &format!("{text} modulus=2"), &useless("modulus", "2", action));
        refused(V3, Utf8, &format!("{text} separator=-"), &useless("separator", "-", action));
        refused(V3, Utf8, &format!("{text} replacement=x"), &useless("replacement", "x", action));
    }
    for action in ["lowercase", "uppercase"] {
        let text = format!("action={action} target_label=x");
        accepted(V3, Utf8, &format!("{text} regex=a separator=- modulus=2 replacement=$1"));
        refused(V3, Utf8, &format!("{text} replacement=x"), &useless("replacement", "x", action));
    }
}

#[test]
fn regular_expressions() {
    // Also of actions that have no use for one.
    for action in ["replace", "labelmap", "hashmod"] {
        refused(
            V3,
            Utf8,
            &format!("action={action} target_label=x modulus=1 regex=a**"),
            r#"regex: "a**": expected a regular expression in Go's syntax: repetition operator "*" follows another one"#,
        );
    }
}

#[test]
fn equality_is_by_rule_line_and_scheme() {
    let config = |text, line, scheme| RelabelConfig::new(rule(text), line, scheme).unwrap();
    let first = config("target_label=x", V3, Utf8);
    assert_eq!(first, first.clone());
    assert_eq!(first, config("target_label=x", V3, Utf8));
    assert_ne!(first, config("target_label=y", V3, Utf8));
    assert_ne!(first, config("target_label=x", V2, Utf8));
    assert_ne!(first, config("target_label=x", V3, Legacy));
    // An explicit default is another rule: the rewritten configuration differs.
    assert_ne!(first, config("target_label=x separator=;", V3, Utf8));
}
