//! Relabelling: Prometheus' `relabel_configs` and `metric_relabel_configs` over label sets.

use kvass_model::{LabelsBuilder, PrometheusLine};

/// A rule as written; `None` means the key is absent, which is not the same as an empty value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `source_labels`
    pub source_labels: Option<Vec<String>>,
    /// `separator`
    pub separator: Option<String>,
    /// `regex`
    pub regex: Option<String>,
    /// `modulus`
    pub modulus: Option<u64>,
    /// `target_label`
    pub target_label: Option<String>,
    /// `replacement`
    pub replacement: Option<String>,
    /// `action`
    pub action: Option<String>,
}

/// Which label names are legal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameScheme {
    /// Letters, digits and underscore.
    #[default]
    Legacy,
    /// Any UTF-8 (Prometheus 3).
    Utf8,
}

/// A validated rule, ready to be applied.
#[derive(Clone, Debug, PartialEq)]
pub struct RelabelConfig {
    rule: Rule,
}

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {value:?}: {expected}")]
pub struct RuleError {
    /// The key of the rule that is wrong.
    pub key: &'static str,
    /// Its value as written.
    pub value: String,
    /// What was expected instead.
    pub expected: String,
}

impl RelabelConfig {
    /// Validates a rule under the regex dialect of `line` and the name rules of `scheme`.
    pub fn new(rule: Rule, _line: PrometheusLine, _scheme: NameScheme) -> Result<Self, RuleError> {
        Ok(RelabelConfig { rule })
    }
    /// The rule as written.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }
}

/// Applies `rules` in order; `false` means dropped (the builder is then unspecified).
pub fn process(_rules: &[RelabelConfig], _labels: &mut LabelsBuilder) -> bool {
    true
}
