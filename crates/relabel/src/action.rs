use std::{borrow::Cow, num::NonZeroU64};

use kvass_model::{LabelsBuilder, PrometheusLine};
use md5::{Digest, Md5};

use crate::{
    case_mapping::{lowercase, uppercase},
    order::Order,
    regex::{GoRegex, Groups},
    rule::NameScheme,
    template::Template,
};

/// What a rule does, with just what it needs to do it.
pub(crate) enum Action {
    Filter(Filter),
    Replace(Replace),
    HashMod { source: Source, modulus: NonZeroU64, target: String },
    LabelMap { regex: GoRegex, replacement: Template },
    LabelDrop { regex: GoRegex },
    LabelKeep { regex: GoRegex },
    Lowercase { source: Source, target: String },
    Uppercase { source: Source, target: String },
}

/// The actions that keep or drop and change nothing.
pub(crate) enum Filter {
    Keep { source: Source, regex: GoRegex },
    Drop { source: Source, regex: GoRegex },
    KeepEqual { source: Source, target: String },
    DropEqual { source: Source, target: String },
}

/// The action `replace`.
pub(crate) struct Replace {
    pub(crate) source: Source,
    pub(crate) regex: GoRegex,
    pub(crate) target: Template,
    /// The target as written.
    pub(crate) target_label: String,
    pub(crate) replacement: Template,
    pub(crate) scheme: NameScheme,
    pub(crate) line: PrometheusLine,
}

/// Labels whose values an action looks at.
pub(crate) struct Source {
    pub(crate) labels: Vec<String>,
    pub(crate) separator: String,
}

/// Buffers that the rules of one call share.
#[derive(Default)]
pub(crate) struct Scratch {
    joined: String,
    name: String,
    value: String,
    pub(crate) order: Order,
}

impl Source {
    /// The joined values; missing labels count as empty. Only several labels need the buffer.
    pub(crate) fn value<'a>(&self, labels: &'a LabelsBuilder, buffer: &'a mut String) -> Cow<'a, str> {
        self.look_up(|name| labels.get(name).unwrap_or_default().into(), buffer)
    }

    /// The same, with the value of a label as `value` has it.
    fn look_up<'a, 'l: 'a>(&self, value: impl Fn(&str) -> Cow<'l, str>, buffer: &'a mut String) -> Cow<'a, str> {
        match self.labels.as_slice() {
            [] => "".into(),
            [name] => value(name),
            [first, others @ ..] => {
                buffer.clear();
                buffer.push_str(&value(first));
                for name in others {
                    buffer.push_str(&self.separator);
                    buffer.push_str(&value(name));
                }
                buffer.as_str().into()
            }
        }
    }
}

impl Filter {
    /// Whether the labels are kept, with the value of a label as `value` has it.
    pub(crate) fn keeps<'l>(&self, value: impl Fn(&str) -> Cow<'l, str>, buffer: &mut String) -> bool {
        match self {
            Filter::Keep { source, regex } => regex.is_match(&source.look_up(value, buffer)),
            Filter::Drop { source, regex } => !regex.is_match(&source.look_up(value, buffer)),
            Filter::KeepEqual { source, target } => source.look_up(&value, buffer) == value(target),
            Filter::DropEqual { source, target } => source.look_up(&value, buffer) != value(target),
        }
    }
}

impl Action {
    /// Applies the action; `false` means dropped.
    pub(crate) fn apply(&self, labels: &mut LabelsBuilder, scratch: &mut Scratch) -> bool {
        let Scratch { joined, order, .. } = scratch;
        match self {
            Action::Filter(filter) => return filter.keeps(|name| labels.get(name).unwrap_or_default().into(), joined),
            Action::Replace(replace) => replace.apply(labels, scratch),
            Action::HashMod { source, modulus, target } => {
                let hash = hash(&source.value(labels, joined)) % modulus.get();
                order.set(labels, target, &hash.to_string());
            }
            Action::LabelMap { regex, replacement } => map_names(regex, replacement, labels, order),
            Action::LabelDrop { regex } => order.retain(labels, |name| !regex.is_match(name)),
            Action::LabelKeep { regex } => order.retain(labels, |name| regex.is_match(name)),
            Action::Lowercase { source, target } => {
                let value = lowercase(&source.value(labels, joined));
                order.set(labels, target, &value);
            }
            Action::Uppercase { source, target } => {
                let value = uppercase(&source.value(labels, joined));
                order.set(labels, target, &value);
            }
        }
        true
    }
}

impl Replace {
    fn apply(&self, labels: &mut LabelsBuilder, scratch: &mut Scratch) {
        let text = &*self.source.value(labels, &mut scratch.joined);
        let (name, value) = match (self.target.constant(), self.replacement.constant()) {
            (Some(name), Some(value)) if self.regex.is_match(text) => (name, value),
            (Some(_), Some(_)) => return,
            _ => {
                let Some(groups) = self.regex.groups(text) else { return };
                let name = expanded(&self.target, &groups, &mut scratch.name);
                (name, expanded(&self.replacement, &groups, &mut scratch.value))
            }
        };
        let is_legal = self.scheme.allows(name);
        if self.line == PrometheusLine::V2 && (value.is_empty() || !is_legal) {
            // It removes the label that is called like the template: none, if there is a reference in it.
            scratch.order.set(labels, &self.target_label, "");
        } else if is_legal {
            // A template may yield any text; Prometheus leaves the labels alone if that is no name.
            scratch.order.set(labels, name, value);
        }
    }
}

fn expanded<'a>(template: &'a Template, groups: &Groups<'_>, buffer: &'a mut String) -> &'a str {
    template.constant().unwrap_or_else(|| {
        buffer.clear();
        template.expand(buffer, |index| groups.get(index));
        buffer
    })
}

/// Copies labels under new names, the last of equal new names wins. The new names are not checked, as in Prometheus.
fn map_names(regex: &GoRegex, replacement: &Template, labels: &mut LabelsBuilder, order: &mut Order) {
    let renamed = |(name, value): (&str, &str)| Some((regex.replace_all(name, replacement)?, value.to_owned()));
    let copies: Vec<(String, String)> = order.visit(labels).filter_map(renamed).collect();
    for (name, value) in copies {
        order.set(labels, &name, &value);
    }
}

/// The second half of the MD5 sum.
fn hash(text: &str) -> u64 {
    let [_, _, _, _, _, _, _, _, half @ ..]: [u8; 16] = Md5::digest(text).into();
    u64::from_be_bytes(half)
}
