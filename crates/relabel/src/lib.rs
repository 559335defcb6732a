//! Relabelling: Prometheus' `relabel_configs` and `metric_relabel_configs` over label sets.
//!
//! A [`Rule`] is what a configuration says. [`RelabelConfig::new`] checks it and compiles it for one line of
//! Prometheus; [`process`] applies a list of them. [`GoRegex`] is the regular expression underneath, with the
//! syntax of Go. No I/O, no clock, no YAML (that is `kvass-config`).

mod action;
mod case_mapping;
mod order;
mod regex;
mod rule;
mod template;
mod trace;

use std::{borrow::Cow, fmt, sync::Arc};

use kvass_model::{LabelsBuilder, PrometheusLine};

use self::action::{Action, Scratch};
pub use self::{
    regex::{GoRegex, Groups, RegexError},
    rule::{NameScheme, Rule, RuleError},
    trace::{Step, trace},
};

/// A validated rule, ready to be applied. Cloning copies a pointer; two are equal if they were made from equal
/// rules for the same line and scheme.
#[derive(Clone)]
pub struct RelabelConfig(Arc<Compiled>);

struct Compiled {
    rule: Rule,
    line: PrometheusLine,
    scheme: NameScheme,
    action: Action,
}

impl RelabelConfig {
    /// Validates a rule under the regex dialect of `line` and the name rules of `scheme`. Prometheus 2 knows
    /// legacy names only, whatever `scheme` says.
    ///
    /// # Errors
    /// What Prometheus refuses to load, naming the key: an unknown action, a key the action needs and lacks, one
    /// it must not have, an illegal label name, a malformed regular expression.
    pub fn new(rule: Rule, line: PrometheusLine, scheme: NameScheme) -> Result<Self, RuleError> {
        let action = rule.compile(line, scheme)?;
        Ok(RelabelConfig(Arc::new(Compiled { rule, line, scheme, action })))
    }

    /// The rule as written.
    pub fn rule(&self) -> &Rule {
        &self.0.rule
    }

    /// Whether the order in which labels were set matters.
    fn asks_order(&self) -> bool {
        self.0.line == PrometheusLine::V3 && matches!(self.0.action, Action::LabelMap { .. })
    }
}

impl PartialEq for RelabelConfig {
    fn eq(&self, other: &Self) -> bool {
        let key = |config: &Self| (config.0.line, config.0.scheme);
        Arc::ptr_eq(&self.0, &other.0) || (key(self) == key(other) && self.0.rule == other.0.rule)
    }
}

impl Eq for RelabelConfig {}

impl fmt::Debug for RelabelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compiled { rule, line, scheme, action: _ } = &*self.0;
        f.debug_struct("RelabelConfig").field("rule", rule).field("line", line).field("scheme", scheme).finish()
    }
}

/// Applies `rules` in order to the labels of a target; `false` means dropped (the builder is then unspecified).
///
/// Rules that do not match allocate nothing, but for joining the values of several source labels, which all
/// rules of a call do in one buffer.
pub fn process(rules: &[RelabelConfig], labels: &mut LabelsBuilder) -> bool {
    apply(rules, labels, &mut Scratch::of_target(rules))
}

/// The same for the labels of a series. `set` has the names of those that were set on top of the exposed ones, in that order:
/// where a `labelmap` gives two labels the same name, the later wins in Prometheus 3.
pub fn process_series<'n, N: Iterator<Item = &'n str>>(
    rules: &[RelabelConfig],
    labels: &mut LabelsBuilder,
    set: impl FnOnce() -> N,
) -> bool {
    let mut scratch = Scratch::default();
    if rules.iter().any(RelabelConfig::asks_order) {
        scratch.order.keep_of_series(set());
    }
    apply(rules, labels, &mut scratch)
}

impl Scratch {
    /// For the labels of a target.
    fn of_target(rules: &[RelabelConfig]) -> Scratch {
        let mut scratch = Scratch::default();
        // As long as nothing was set, labelmap takes all in name order.
        if rules.iter().skip(1).any(RelabelConfig::asks_order) {
            scratch.order.keep_of_target();
        }
        scratch
    }
}

fn apply(rules: &[RelabelConfig], labels: &mut LabelsBuilder, scratch: &mut Scratch) -> bool {
    rules.iter().all(|config| config.0.action.apply(labels, scratch))
}

/// What [`process`] would answer about labels that are in no builder: `value` has their values, empty for absent
/// ones. `None` if the rules that only keep or drop do not decide before one that changes labels.
pub fn foresee<'l>(rules: &[RelabelConfig], value: impl Fn(&str) -> Cow<'l, str>) -> Option<bool> {
    let mut joined = String::new();
    for config in rules {
        let Action::Filter(filter) = &config.0.action else { return None };
        if !filter.keeps(&value, &mut joined) {
            return Some(false);
        }
    }
    Some(true)
}
