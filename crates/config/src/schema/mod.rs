//! Which keys Prometheus knows, and what kind of value each holds: the union of what 2.42 to 3.x accept.
//!
//! One table serves three purposes: refusing what Prometheus would refuse, resolving relative paths,
//! and finding the secrets.

mod aws;
mod check;
mod cloud_auth;
mod clouds;
mod http;
mod iaas;
mod job;
mod main;
mod mechanisms;
mod service_discovery;
mod without_code;

pub(crate) use check::{Rules, UnknownKeys, check};
pub(crate) use main::{INCLUDED, MAIN};
pub(crate) use service_discovery::TARGET_GROUPS;

use crate::{
    cursor::Cursor,
    yaml::{Node, Value},
};

/// What a key holds.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Any scalar; its text counts.
    Text,
    Bool,
    Int,
    Uint,
    Float,
    Duration,
    /// Number of bytes with a unit.
    Size,
    Url,
    /// Text that must not be shown.
    Secret,
    /// Path of a file, relative to the folder of the configuration file.
    Path,
    /// Path with at most one run of `*`, in its last segment.
    Pattern,
    /// As `Pattern`, of a JSON or YAML file.
    TargetFile,
    /// One of these words.
    Choice(&'static [&'static str]),
    LabelName,
    /// Label names and their values.
    Labels,
    /// A mapping whose names are the user's.
    Free(&'static Kind),
    List(&'static Kind),
    Section(&'static Schema),
    /// As inside, but Prometheus does not resolve the paths.
    PathsAsGiven(&'static Kind),
    /// Not looked into.
    Any,
}

/// The keys of a mapping.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) fields: &'static [(&'static str, Kind)],
    /// Schemas whose keys this mapping has as well.
    pub(crate) includes: &'static [&'static Schema],
}

impl Schema {
    const fn of(fields: &'static [(&'static str, Kind)], includes: &'static [&'static Schema]) -> Schema {
        Schema { fields, includes }
    }

    pub(crate) fn field(&self, key: &str) -> Option<&'static Kind> {
        let own = self.fields.iter().find(|(name, _)| *name == key).map(|(_, kind)| kind);
        own.or_else(|| self.includes.iter().find_map(|schema| schema.field(key)))
    }

    fn keys(&self) -> impl Iterator<Item = &'static str> {
        let mut keys: Vec<&'static str> = self.fields.iter().map(|(name, _)| *name).collect();
        keys.extend(self.includes.iter().flat_map(|schema| schema.keys().collect::<Vec<_>>()));
        keys.into_iter()
    }
}

/// What one section under this key of a job holds; `None` for keys of a Prometheus newer than this table.
pub(crate) fn discovery_section(key: &str) -> Option<&'static Kind> {
    let mut kind = service_discovery::SERVICE_DISCOVERY.field(key)?;
    while let Kind::PathsAsGiven(inside) | Kind::List(inside) = kind {
        kind = inside;
    }
    Some(kind)
}

/// As [`visit_values`], but only to look, and with the way to each value.
pub(crate) fn walk(kind: &'static Kind, cursor: Cursor<'_>, visit: &mut dyn FnMut(&'static Kind, Cursor<'_>)) {
    match (kind, &cursor.node().value) {
        (Kind::Section(schema), Value::Map(_)) => {
            for (key, value) in cursor.pairs() {
                match schema.field(key) {
                    Some(kind) => walk(kind, value, visit),
                    None => visit(&Kind::Secret, value),
                }
            }
        }
        (Kind::Free(kind), Value::Map(_)) => cursor.pairs().for_each(|(_, value)| walk(kind, value, visit)),
        (Kind::List(kind), Value::List(_)) => cursor.items().for_each(|item| walk(kind, item, visit)),
        (Kind::PathsAsGiven(kind), _) => walk(kind, cursor, &mut |kind, cursor| {
            if !matches!(kind, Kind::Path) {
                visit(kind, cursor);
            }
        }),
        _ => visit(kind, cursor),
    }
}

/// Calls `visit` for every value under `node` whose kind is known and is no collection of others.
pub(crate) fn visit_values(kind: &'static Kind, node: &mut Node, visit: &mut dyn FnMut(&'static Kind, &mut Node)) {
    match (kind, &mut node.value) {
        (Kind::Section(schema), Value::Map(entries)) => {
            for entry in entries {
                match schema.field(&entry.key.text) {
                    Some(kind) => visit_values(kind, &mut entry.value, visit),
                    // Of a Prometheus newer than this table: nobody knows whether it is a secret.
                    None => visit(&Kind::Secret, &mut entry.value),
                }
            }
        }
        (Kind::Free(kind), Value::Map(entries)) => {
            entries.iter_mut().for_each(|entry| visit_values(kind, &mut entry.value, visit));
        }
        (Kind::List(kind), Value::List(items)) => items.iter_mut().for_each(|item| visit_values(kind, item, visit)),
        (Kind::PathsAsGiven(kind), _) => visit_values(kind, node, &mut |kind, node| {
            if !matches!(kind, Kind::Path) {
                visit(kind, node);
            }
        }),
        _ => visit(kind, node),
    }
}
