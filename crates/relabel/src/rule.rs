use std::num::NonZeroU64;

use kvass_model::{PrometheusLine, is_legacy_label_name};

use crate::{
    action::{Action, Filter, Replace, Source},
    regex::GoRegex,
    template::Template,
};

/// A rule as written; `None` means the key is absent, which is not the same as an empty value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `source_labels`: their values, joined, are what most actions look at; default none.
    pub source_labels: Option<Vec<String>>,
    /// `separator` between those values; default `;`.
    pub separator: Option<String>,
    /// `regex`, which has to match all of the value; default `(.*)`.
    pub regex: Option<String>,
    /// `modulus` of the action hashmod; default 0, which hashmod refuses.
    pub modulus: Option<u64>,
    /// `target_label`: the label that is written or compared; a template in the action replace.
    pub target_label: Option<String>,
    /// `replacement`: template of the value in replace, of the name in labelmap; default `$1`.
    pub replacement: Option<String>,
    /// `action`, in any case; default replace.
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

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {value:?}: {expected}")]
pub struct RuleError {
    /// The key of the rule that is wrong.
    pub key: &'static str,
    /// Its value as written, empty if the key is absent.
    pub value: String,
    /// What was expected instead.
    pub expected: String,
}

const SOURCE_LABELS: &str = "source_labels";
const SEPARATOR: &str = "separator";
const REGEX: &str = "regex";
const MODULUS: &str = "modulus";
const TARGET_LABEL: &str = "target_label";
const REPLACEMENT: &str = "replacement";
const ACTION: &str = "action";

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

const ACTIONS: &str =
    "replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase or uppercase";

impl NameScheme {
    /// Whether a label may have this name.
    pub(crate) fn allows(self, name: &str) -> bool {
        match self {
            NameScheme::Legacy => is_legacy_label_name(name),
            NameScheme::Utf8 => !name.is_empty(),
        }
    }

    /// Whether a template may yield label names.
    fn allows_template(self, template: &str) -> bool {
        match self {
            NameScheme::Legacy => is_legacy_name_template(template),
            NameScheme::Utf8 => !template.is_empty(),
        }
    }

    fn description(self) -> &'static str {
        match self {
            NameScheme::Legacy => "letters, digits and underscores, no digit first",
            NameScheme::Utf8 => "any text but the empty one",
        }
    }
}

/// Whether a template consists of word characters and references, no literal digit first. References have
/// ASCII names here, unlike in [`Template`].
fn is_legacy_name_template(template: &str) -> bool {
    let word_length = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        if word_length(before) < before.len() {
            return false;
        }
        let (text, closing) = match after.strip_prefix('{') {
            Some(braced) => (braced, "}"),
            None => (after, ""),
        };
        let (name, after) = text.split_at(word_length(text));
        let Some(after) = after.strip_prefix(closing) else { return false };
        if name.is_empty() {
            return false;
        }
        rest = after;
    }
    word_length(rest) == rest.len() && !template.is_empty() && !template.starts_with(|c: char| c.is_ascii_digit())
}

impl Rule {
    /// The rule as Prometheus shows it: defaults for absent keys, the action in lower case.
    pub fn with_defaults(&self) -> Rule {
        let or = |value: &Option<String>, default: &str| Some(value.as_deref().unwrap_or(default).to_owned());
        Rule {
            source_labels: Some(self.source_labels.clone().unwrap_or_default()),
            separator: or(&self.separator, DEFAULT_SEPARATOR),
            regex: or(&self.regex, DEFAULT_REGEX),
            modulus: Some(self.modulus.unwrap_or_default()),
            target_label: or(&self.target_label, ""),
            replacement: or(&self.replacement, DEFAULT_REPLACEMENT),
            action: Some(self.action_name().to_lowercase()),
        }
    }

    /// Validates the rule and prepares it to be applied.
    pub(crate) fn compile(&self, line: PrometheusLine, scheme: NameScheme) -> Result<Action, RuleError> {
        let scheme = if line == PrometheusLine::V2 { NameScheme::Legacy } else { scheme };
        self.check_source_labels(line)?;
        // Compiled whether the action uses it or not: Prometheus does not load a malformed one either way.
        let regex = GoRegex::anchored(self.regex.as_deref().unwrap_or(DEFAULT_REGEX), line)
            .map_err(|error| self.error(REGEX, format!("expected a regular expression in Go's syntax: {}", error.problem())))?;
        let source = Source {
            labels: self.source_labels.clone().unwrap_or_default(),
            separator: self.separator.clone().unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned()),
        };
        let replacement = Template::new(self.replacement(), regex.group_names());
        let action = self.action.as_deref().map(str::to_lowercase);
        match action.as_deref().unwrap_or("replace") {
            "replace" => {
                let target_label = self.target_template(scheme)?.to_owned();
                let target = Template::new(&target_label, regex.group_names());
                Ok(Action::Replace(Replace { source, regex, target, target_label, replacement, scheme, line }))
            }
            "keep" => Ok(Action::Filter(Filter::Keep { source, regex })),
            "drop" => Ok(Action::Filter(Filter::Drop { source, regex })),
            "keepequal" => {
                let target = self.literal_target(line, scheme)?;
                self.refuse(&[REGEX, MODULUS, SEPARATOR, REPLACEMENT])?;
                Ok(Action::Filter(Filter::KeepEqual { source, target }))
            }
            "dropequal" => {
                let target = self.literal_target(line, scheme)?;
                self.refuse(&[REGEX, MODULUS, SEPARATOR, REPLACEMENT])?;
                Ok(Action::Filter(Filter::DropEqual { source, target }))
            }
            "hashmod" => {
                let modulus = NonZeroU64::new(self.modulus.unwrap_or_default())
                    .ok_or_else(|| self.error(MODULUS, "expected a positive number for action hashmod"))?;
                Ok(Action::HashMod { source, modulus, target: self.target(scheme)? })
            }
            "labelmap" if scheme.allows_template(self.replacement()) => Ok(Action::LabelMap { regex, replacement }),
            "labelmap" => Err(self.error(REPLACEMENT, format!("expected a template of label names: {}", scheme.description()))),
            "labeldrop" => {
                self.refuse(&[SOURCE_LABELS, TARGET_LABEL, MODULUS, SEPARATOR, REPLACEMENT])?;
                Ok(Action::LabelDrop { regex })
            }
            "labelkeep" => {
                self.refuse(&[SOURCE_LABELS, TARGET_LABEL, MODULUS, SEPARATOR, REPLACEMENT])?;
                Ok(Action::LabelKeep { regex })
            }
            "lowercase" => {
                let target = self.literal_target(line, scheme)?;
                self.refuse(&[REPLACEMENT])?;
                Ok(Action::Lowercase { source, target })
            }
            "uppercase" => {
                let target = self.literal_target(line, scheme)?;
                self.refuse(&[REPLACEMENT])?;
                Ok(Action::Uppercase { source, target })
            }
            _ => Err(self.error(ACTION, format!("expected {ACTIONS}"))),
        }
    }

    /// Prometheus 3 decodes source labels as UTF-8 names even where its scheme is legacy.
    fn check_source_labels(&self, line: PrometheusLine) -> Result<(), RuleError> {
        let scheme = match line {
            PrometheusLine::V2 => NameScheme::Legacy,
            PrometheusLine::V3 => NameScheme::Utf8,
        };
        match self.source_labels.iter().flatten().find(|name| !scheme.allows(name)) {
            None => Ok(()),
            Some(name) => Err(RuleError {
                key: SOURCE_LABELS,
                value: name.clone(),
                expected: format!("expected a label name: {}", scheme.description()),
            }),
        }
    }

    fn replacement(&self) -> &str {
        self.replacement.as_deref().unwrap_or(DEFAULT_REPLACEMENT)
    }

    /// The target label of an action that takes it literally.
    fn target(&self, scheme: NameScheme) -> Result<String, RuleError> {
        let target = self.required_target()?;
        if scheme.allows(target) { Ok(target.to_owned()) } else { Err(self.target_error(scheme, "a label name")) }
    }

    /// The same for actions of which Prometheus 2 checks the target as if it were a template, and then takes it literally.
    fn literal_target(&self, line: PrometheusLine, scheme: NameScheme) -> Result<String, RuleError> {
        match line {
            PrometheusLine::V2 => self.target_template(scheme).map(str::to_owned),
            PrometheusLine::V3 => self.target(scheme),
        }
    }

    /// The target label of `replace`, which is a template if there is a `$` in it.
    fn target_template(&self, scheme: NameScheme) -> Result<&str, RuleError> {
        let target = self.required_target()?;
        if !target.contains('$') {
            if scheme.allows(target) { Ok(target) } else { Err(self.target_error(scheme, "a label name")) }
        } else if scheme.allows_template(target) {
            Ok(target)
        } else {
            Err(self.target_error(scheme, "a template of label names"))
        }
    }

    fn required_target(&self) -> Result<&str, RuleError> {
        match self.target_label.as_deref() {
            None | Some("") => {
                Err(self.error(TARGET_LABEL, format!("expected a label name, action {} needs it", self.action_name())))
            }
            Some(target) => Ok(target),
        }
    }

    fn target_error(&self, scheme: NameScheme, what: &str) -> RuleError {
        self.error(TARGET_LABEL, format!("expected {what}: {}", scheme.description()))
    }

    /// Refuses keys the action has no use for, unless they hold their default. Of `regex` and `source_labels`
    /// Prometheus tolerates not even that.
    fn refuse(&self, keys: &[&'static str]) -> Result<(), RuleError> {
        let differs = |value: &Option<String>, default: &str| value.as_deref().is_some_and(|value| value != default);
        let is_set = |key: &str| match key {
            SOURCE_LABELS => self.source_labels.is_some(),
            SEPARATOR => differs(&self.separator, DEFAULT_SEPARATOR),
            REGEX => self.regex.is_some(),
            MODULUS => self.modulus.is_some_and(|modulus| modulus != 0),
            TARGET_LABEL => differs(&self.target_label, ""),
            REPLACEMENT => differs(&self.replacement, DEFAULT_REPLACEMENT),
            _ => false,
        };
        match keys.iter().find(|key| is_set(key)) {
            None => Ok(()),
            Some(key) => Err(self.error(key, format!("expected to be absent, action {} has no use for it", self.action_name()))),
        }
    }

    fn action_name(&self) -> &str {
        self.action.as_deref().unwrap_or("replace")
    }

    fn error(&self, key: &'static str, expected: impl Into<String>) -> RuleError {
        let value = match key {
            SOURCE_LABELS => self.source_labels.as_ref().map(|labels| labels.join(", ")),
            SEPARATOR => self.separator.clone(),
            REGEX => self.regex.clone(),
            MODULUS => self.modulus.map(|modulus| modulus.to_string()),
            TARGET_LABEL => self.target_label.clone(),
            REPLACEMENT => self.replacement.clone(),
            _ => self.action.clone(),
        };
        RuleError { key, value: value.unwrap_or_default(), expected: expected.into() }
    }
}
