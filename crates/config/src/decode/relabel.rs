use kvass_model::PrometheusLine;
use kvass_relabel::{NameScheme, RelabelConfig, Rule};

use crate::{ConfigError, cursor::Cursor};

/// The rules of the list under `key`.
pub(super) fn rules(
    cursor: Cursor<'_>,
    key: &str,
    line: PrometheusLine,
    scheme: NameScheme,
) -> Result<Vec<RelabelConfig>, ConfigError> {
    let Some(list) = cursor.get(key) else { return Ok(Vec::new()) };
    list.items().map(|item| rule(item, line, scheme)).collect()
}

fn rule(cursor: Cursor<'_>, line: PrometheusLine, scheme: NameScheme) -> Result<RelabelConfig, ConfigError> {
    let owned = |key| cursor.text(key).map(str::to_owned);
    let rule = Rule {
        source_labels: cursor.texts("source_labels"),
        separator: owned("separator"),
        regex: owned("regex"),
        modulus: cursor.unsigned("modulus"),
        target_label: owned("target_label"),
        replacement: owned("replacement"),
        action: owned("action"),
    };
    RelabelConfig::new(rule, line, scheme).map_err(|fault| cursor.error_at(fault.key, fault.expected))
}
