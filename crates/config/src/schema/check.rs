use kvass_model::{PrometheusLine, is_legacy_label_name};

use super::{Kind, Schema};
use crate::{
    ConfigError,
    cursor::Cursor,
    scalar, url_text,
    yaml::{Scalar, Value},
};

/// By what a document is judged.
pub(crate) struct Rules<'a> {
    pub(crate) line: PrometheusLine,
    pub(crate) unknown_keys: UnknownKeys<'a>,
}

/// What becomes of keys that are not in the table.
pub(crate) enum UnknownKeys<'a> {
    /// The errors so far.
    Refuse(Vec<ConfigError>),
    /// Each adds a warning here.
    Warn(&'a mut Vec<String>),
}

/// Refuses keys that are not known, all of them up to the first value of another type than its key asks for, and that.
pub(crate) fn check(kind: &Kind, cursor: Cursor<'_>, mut rules: Rules<'_>) -> Result<(), ConfigError> {
    let fault = check_value(kind, cursor, &mut rules).err();
    let unknown = match rules.unknown_keys {
        UnknownKeys::Refuse(errors) => errors,
        UnknownKeys::Warn(_) => Vec::new(),
    };
    ConfigError::first_of(unknown.into_iter().chain(fault)).map_or(Ok(()), Err)
}

fn check_value(kind: &Kind, cursor: Cursor<'_>, rules: &mut Rules<'_>) -> Result<(), ConfigError> {
    let node = cursor.node();
    if matches!(kind, Kind::Free(_) | Kind::Labels)
        && let Some(entry) = node.entries().iter().find(|entry| entry.overrides)
    {
        let error = cursor.child(&entry.key.text, &entry.value).error_without_value("given twice, once by a merge");
        return Err(error.moved_to(entry.at.line, entry.at.column));
    }
    match (kind, &node.value) {
        (Kind::Any, _) => Ok(()),
        (Kind::PathsAsGiven(kind), _) => check_value(kind, cursor, rules),
        (Kind::List(_) | Kind::Free(_) | Kind::Section(_) | Kind::Labels, Value::Scalar(scalar)) if scalar.is_null() => Ok(()),
        (Kind::List(kind), Value::List(_)) => cursor.items().try_for_each(|item| {
            if matches!(kind, Kind::Section(_)) && item.node().is_null() {
                return Err(item.error_without_value("is null, expected a mapping"));
            }
            check_value(kind, item, rules)
        }),
        (Kind::Free(kind), Value::Map(_)) => cursor.pairs().try_for_each(|(_, value)| check_value(kind, value, rules)),
        (Kind::Labels, Value::Map(_)) => cursor.pairs().try_for_each(|(name, value)| {
            if !is_label_name(name, rules.line) {
                return Err(value.error_without_value(format!("expected the key to be {}", label_name_rule(rules.line))));
            }
            check_value(&Kind::Text, value, rules)
        }),
        (Kind::Section(schema), Value::Map(_)) => check_section(schema, cursor, rules),
        // Not shown: it may be a secret written one level too high.
        (Kind::List(_) | Kind::Free(_) | Kind::Section(_) | Kind::Labels, Value::Scalar(_)) => {
            Err(cursor.error_without_value(format!("expected {}, found a scalar", form(kind))))
        }
        (kind, Value::Scalar(scalar)) => match fault(kind, scalar, rules.line) {
            None => Ok(()),
            Some(expected) if matches!(kind, Kind::Secret) => Err(cursor.error_without_value(format!("expected {expected}"))),
            Some(expected) => Err(cursor.error(format!("expected {expected}"))),
        },
        (kind, value) => {
            let found = if matches!(value, Value::List(_)) { "a list" } else { "a mapping" };
            Err(cursor.error_without_value(format!("expected {}, found {found}", form(kind))))
        }
    }
}

fn check_section(schema: &Schema, cursor: Cursor<'_>, rules: &mut Rules<'_>) -> Result<(), ConfigError> {
    cursor.pairs().zip(cursor.node().entries()).try_for_each(|((key, value), entry)| match schema.field(key) {
        Some(kind) => check_value(kind, value, rules),
        None => {
            let slip = closest(key, schema.keys());
            // The key is at fault, so its place is shown and not that of its value.
            let error = |message| value.error_without_value(message).moved_to(entry.at.line, entry.at.column);
            match &mut rules.unknown_keys {
                UnknownKeys::Warn(warnings) => {
                    warnings.push(error("unknown key, passed on to Prometheus".to_owned()).to_string());
                }
                UnknownKeys::Refuse(errors) => errors.push(error(match slip {
                    Some(known) => format!("unknown key, did you mean {known}?"),
                    None => "unknown key".to_owned(),
                })),
            }
            Ok(())
        }
    })
}

/// What a scalar of this kind should have been; `None` when it is as it should be.
fn fault(kind: &Kind, value: &Scalar, line: PrometheusLine) -> Option<String> {
    let text = value.as_text();
    let fine = match kind {
        Kind::Text | Kind::Secret | Kind::Path | Kind::Any => true,
        Kind::Bool => scalar::boolean(value).is_some(),
        Kind::Int => scalar::integer(value).is_some(),
        Kind::Uint => scalar::unsigned(value).is_some(),
        Kind::Float => scalar::float(value).is_some(),
        Kind::Duration => scalar::duration(value).is_some(),
        Kind::Size => scalar::size(value).is_some(),
        Kind::Url => return url_text::fault(text).map(str::to_owned),
        Kind::Pattern => is_pattern(text),
        Kind::TargetFile => is_pattern(text) && has_target_file_extension(text),
        Kind::Choice(words) => value.is_null() || words.contains(&text),
        // Prometheus does not look at null.
        Kind::LabelName => value.is_null() || is_label_name(text, line),
        Kind::List(_) | Kind::Free(_) | Kind::Labels | Kind::Section(_) | Kind::PathsAsGiven(_) => false,
    };
    if fine {
        return None;
    }
    Some(match kind {
        Kind::Choice(words) => {
            let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
            format!("one of {}", words.join(", "))
        }
        Kind::LabelName => label_name_rule(line).to_owned(),
        kind => form(kind).to_owned(),
    })
}

fn form(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Secret | Kind::Path | Kind::LabelName | Kind::Choice(_) | Kind::Any => "text",
        Kind::Bool => "true or false",
        Kind::Int => "a whole number",
        Kind::Uint => "a whole number, not below 0",
        Kind::Float => "a number",
        Kind::Duration => "a duration such as 30s or 1h30m, of the units y, w, d, h, m, s, ms",
        Kind::Size => "a size such as 512KB, 10MB or 1.5GB",
        Kind::Url => "a URL",
        Kind::Pattern => "a path with * in its last segment only",
        Kind::TargetFile => "a path ending in .json, .yml or .yaml, with * in its last segment only",
        Kind::List(_) | Kind::PathsAsGiven(_) => "a list",
        Kind::Free(_) | Kind::Labels | Kind::Section(_) => "a mapping",
    }
}

fn is_label_name(name: &str, line: PrometheusLine) -> bool {
    match line {
        PrometheusLine::V2 => is_legacy_label_name(name),
        PrometheusLine::V3 => !name.is_empty(),
    }
}

fn label_name_rule(line: PrometheusLine) -> &'static str {
    match line {
        PrometheusLine::V2 => "a label name of letters, digits and _, not beginning with a digit",
        PrometheusLine::V3 => "a label name that is not empty",
    }
}

fn is_pattern(text: &str) -> bool {
    text.split_once('*').is_none_or(|(_, after)| !after.contains('/'))
}

fn has_target_file_extension(text: &str) -> bool {
    [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"].iter().any(|extension| text.ends_with(extension))
}

/// The known key that `key` may be a slip of.
fn closest(key: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let allowed = (key.len() / 4).clamp(1, 2);
    known.map(|name| (distance(key, name), name)).filter(|(distance, _)| *distance <= allowed).min().map(|(_, name)| name)
}

/// Insertions, deletions and replacements of bytes that lead from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips() {
        let known = ["scrape_interval", "scrape_timeout", "job_name", "params"];
        for (key, expected) in [
            ("scrape_intervall", Some("scrape_interval")),
            ("job-name", Some("job_name")),
            ("param", Some("params")),
            ("kvass", None),
            ("", None),
        ] {
            assert_eq!(closest(key, known.into_iter()), expected, "{key}");
        }
    }

    #[test]
    fn patterns() {
        for (text, pattern, target_file) in [
            ("a/b/*.yml", true, true),
            ("a*b*.json", true, true),
            ("a/*/b.yml", false, false),
            ("a.yml", true, true),
            ("a.Yml", true, false),
            ("a.txt", true, false),
            ("", true, false),
        ] {
            assert_eq!(is_pattern(text), pattern, "{text}");
            assert_eq!(is_pattern(text) && has_target_file_extension(text), target_file, "{text}");
        }
    }
}
