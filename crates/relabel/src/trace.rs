//! What each rule did, in words, for those who wonder why a target looks as it does.

use kvass_model::{Labels, LabelsBuilder, PrometheusLine};

use crate::{
    RelabelConfig,
    action::{Action, Filter, Replace, Scratch, Source},
    regex::GoRegex,
};

/// One rule applied to one label set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The labels as the rule found them; empty once an earlier rule dropped them.
    pub before: Labels,
    /// The labels as it left them; empty if they are dropped.
    pub after: Labels,
    /// Whether the labels are still there after this rule.
    pub keep: bool,
    /// Why the rule did what it did.
    pub reason: String,
}

/// Applies `rules` as [`process`](crate::process) does and tells of each what it did. One step per rule, those behind one
/// that drops included.
pub fn trace(rules: &[RelabelConfig], labels: &Labels) -> Vec<Step> {
    let mut scratch = Scratch::of_target(rules);
    let mut builder = LabelsBuilder::from(labels);
    let mut dropped_by = None;
    let step = |(index, config): (usize, &RelabelConfig)| {
        if let Some(dropped_by) = dropped_by {
            let reason = format!("not applied: rule {dropped_by} dropped the labels");
            return Step { before: Labels::default(), after: Labels::default(), keep: false, reason };
        }
        let action = &config.0.action;
        let (before, reason) = (builder.clone().build(), action.reason(&builder));
        let keep = action.apply(&mut builder, &mut scratch);
        if !keep {
            dropped_by = Some(index);
        }
        let after = if keep { builder.clone().build() } else { Labels::default() };
        Step { before, after, keep, reason }
    };
    rules.iter().enumerate().map(step).collect()
}

impl Action {
    /// What the action is going to do with the labels, and why.
    fn reason(&self, labels: &LabelsBuilder) -> String {
        match self {
            Action::Filter(filter) => filter.reason(labels),
            Action::Replace(replace) => replace.reason(labels),
            Action::HashMod { source, modulus, target } => {
                format!("{target} becomes the hash of {} modulo {modulus}", source.described(labels))
            }
            Action::LabelMap { regex, .. } => format!("copied under other names: {}", matching(regex, true, labels)),
            Action::LabelDrop { regex } => format!("removed: {}", matching(regex, true, labels)),
            Action::LabelKeep { regex } => format!("removed: {}", matching(regex, false, labels)),
            Action::Lowercase { source, target } => format!("{target} becomes {} in lower case", source.described(labels)),
            Action::Uppercase { source, target } => format!("{target} becomes {} in upper case", source.described(labels)),
        }
    }
}

impl Filter {
    fn reason(&self, labels: &LabelsBuilder) -> String {
        let keeps = self.keeps(|name| labels.get(name).unwrap_or_default().into(), &mut String::new());
        let what = match self {
            Filter::Keep { source, regex } => matched(source, regex, keeps, labels),
            Filter::Drop { source, regex } => matched(source, regex, !keeps, labels),
            Filter::KeepEqual { source, target } => equal(source, target, keeps, labels),
            Filter::DropEqual { source, target } => equal(source, target, !keeps, labels),
        };
        format!("{}: {what}", if keeps { "kept" } else { "dropped" })
    }
}

impl Replace {
    fn reason(&self, labels: &LabelsBuilder) -> String {
        let mut buffer = String::new();
        let text = self.source.value(labels, &mut buffer);
        let Some(groups) = self.regex.groups(&text) else {
            return format!("nothing: {}", matched(&self.source, &self.regex, false, labels));
        };
        let (mut name, mut value) = (String::new(), String::new());
        self.target.expand(&mut name, |index| groups.get(index));
        self.replacement.expand(&mut value, |index| groups.get(index));
        let matched = matched(&self.source, &self.regex, true, labels);
        let removes = self.line == PrometheusLine::V3 || name == self.target_label;
        if !self.scheme.allows(&name) {
            format!("nothing: {matched}, but {name:?} is no label name")
        } else if value.is_empty() && !removes {
            format!("nothing: {matched}, but an empty replacement does not remove what a template names in Prometheus 2")
        } else if value.is_empty() {
            format!("{name} is removed, as the replacement is empty: {matched}")
        } else {
            format!("{name} becomes {value:?}: {matched}")
        }
    }
}

impl Source {
    /// The joined values, and whose they are.
    fn described(&self, labels: &LabelsBuilder) -> String {
        let mut buffer = String::new();
        let value = self.value(labels, &mut buffer);
        match self.labels.as_slice() {
            [] => format!("{value:?} (no source labels)"),
            names => format!("{value:?} ({})", names.join(", ")),
        }
    }
}

fn matched(source: &Source, regex: &GoRegex, matches: bool, labels: &LabelsBuilder) -> String {
    let verb = if matches { "matches" } else { "does not match" };
    format!("{} {verb} {:?}", source.described(labels), regex.as_str())
}

fn equal(source: &Source, target: &str, is_equal: bool, labels: &LabelsBuilder) -> String {
    let verb = if is_equal { "equals" } else { "does not equal" };
    format!("{} {verb} {:?} ({target})", source.described(labels), labels.get(target).unwrap_or_default())
}

/// The labels whose names match, or do not.
fn matching(regex: &GoRegex, wanted: bool, labels: &LabelsBuilder) -> String {
    let names: Vec<&str> = labels.iter().map(|(name, _)| name).filter(|name| regex.is_match(name) == wanted).collect();
    let verb = if wanted { "match" } else { "do not match" };
    match names.as_slice() {
        [] => format!("nothing, as no names {verb} {:?}", regex.as_str()),
        names => format!("{}, which {verb} {:?}", names.join(", "), regex.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NameScheme, Rule};

    fn rule(action: &str, source: &[&str], regex: Option<&str>, target: Option<&str>, replacement: Option<&str>) -> Rule {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Rule {
            action: text(Some(action)),
            source_labels: (!source.is_empty()).then(|| source.iter().map(ToString::to_string).collect()),
            regex: text(regex),
            target_label: text(target),
            replacement: text(replacement),
            modulus: (action == "hashmod").then_some(4),
            ..Rule::default()
        }
    }

    #[test]
    fn every_action_says_what_it_did_and_why() {
        for (rule, expected) in [
            (rule("replace", &["a"], Some("(.)"), Some("x"), Some("${1}2")), r#"x becomes "12": "1" (a) matches "(.)""#),
            (rule("replace", &["a"], Some("2"), Some("x"), None), r#"nothing: "1" (a) does not match "2""#),
            (
                rule("replace", &["n"], None, Some("x"), None),
                r#"x is removed, as the replacement is empty: "" (n) matches "(.*)""#,
            ),
            (
                rule("replace", &["a"], Some("(.)"), Some("${1}"), Some("v")),
                r#"nothing: "1" (a) matches "(.)", but "1" is no label name"#,
            ),
            (rule("replace", &[], None, Some("x"), Some("v")), r#"x becomes "v": "" (no source labels) matches "(.*)""#),
            (rule("keep", &["a", "b"], Some("1;2"), None, None), r#"kept: "1;2" (a, b) matches "1;2""#),
            (rule("keep", &["a"], Some("x"), None, None), r#"dropped: "1" (a) does not match "x""#),
            (rule("drop", &["a"], Some("1"), None, None), r#"dropped: "1" (a) matches "1""#),
            (rule("drop", &["a"], Some("x"), None, None), r#"kept: "1" (a) does not match "x""#),
            (rule("keepequal", &["a"], None, Some("b"), None), r#"dropped: "1" (a) does not equal "2" (b)"#),
            (rule("dropequal", &["a"], None, Some("b"), None), r#"kept: "1" (a) does not equal "2" (b)"#),
            (rule("dropequal", &["a"], None, Some("a"), None), r#"dropped: "1" (a) equals "1" (a)"#),
            (rule("hashmod", &["a"], None, Some("x"), None), r#"x becomes the hash of "1" (a) modulo 4"#),
            (rule("labelmap", &[], Some("(a|b)"), None, Some("x_$1")), r#"copied under other names: a, b, which match "(a|b)""#),
            (rule("labeldrop", &[], Some("z"), None, None), r#"removed: nothing, as no names match "z""#),
            (rule("labelkeep", &[], Some("a"), None, None), r#"removed: b, which do not match "a""#),
            (rule("lowercase", &["a"], None, Some("x"), None), r#"x becomes "1" (a) in lower case"#),
            (rule("uppercase", &["a"], None, Some("x"), None), r#"x becomes "1" (a) in upper case"#),
        ] {
            let config = RelabelConfig::new(rule, PrometheusLine::V2, NameScheme::Legacy).unwrap();
            let steps = trace(&[config], &Labels::from([("a", "1"), ("b", "2")]));
            assert_eq!(steps[0].reason, expected);
            assert_eq!(steps[0].keep, !expected.starts_with("dropped"), "{expected}");
        }
    }

    #[test]
    fn rules_behind_one_that_drops_are_not_applied() {
        let rules = [
            rule("replace", &[], None, Some("x"), Some("v")),
            rule("drop", &["x"], Some("v"), None, None),
            rule("labeldrop", &[], Some(".*"), None, None),
        ];
        let rules = rules.map(|rule| RelabelConfig::new(rule, PrometheusLine::V3, NameScheme::Utf8).unwrap());
        let labels = Labels::from([("a", "1")]);
        let with_x = Labels::from([("a", "1"), ("x", "v")]);
        let [first, second, third] = &trace(&rules, &labels)[..] else { panic!("one step per rule") };
        assert_eq!((&first.before, &first.after, first.keep), (&labels, &with_x, true));
        assert_eq!((&second.before, &second.after, second.keep), (&with_x, &Labels::default(), false));
        assert_eq!((third.keep, third.reason.as_str()), (false, "not applied: rule 1 dropped the labels"));
    }
}
