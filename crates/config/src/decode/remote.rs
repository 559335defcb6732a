use std::collections::BTreeSet;

use super::{Globals, global::name_scheme, http, relabel};
use crate::{ConfigError, cursor::Cursor};

/// The rules of `remote_write` and `remote_read`; `cursor` stands on the document.
pub(crate) fn check_remote(cursor: Cursor<'_>, globals: &Globals) -> Result<(), ConfigError> {
    for section in ["remote_write", "remote_read"] {
        let mut names = BTreeSet::new();
        for item in cursor.get(section).iter().flat_map(|list| list.items()) {
            if item.non_empty("url").is_none() {
                return Err(item.error_at("url", "is required"));
            }
            if item.non_empty("name").is_some_and(|name| !names.insert(name.to_owned())) {
                return Err(item.error_at("name", "given twice"));
            }
            http::client(item)?;
            http::refuse_reserved_headers(item, "headers")?;
            let methods = ["basic_auth", "authorization", "oauth2", "sigv4", "azuread", "google_iam"];
            let used: Vec<&str> = methods.into_iter().filter(|key| item.get(key).is_some()).collect();
            if let [first, second, ..] = used[..] {
                return Err(item.error_at(second, format!("cannot be combined with {first}")));
            }
            relabel::rules(item, "write_relabel_configs", globals.line, name_scheme(globals))?;
        }
    }
    Ok(())
}

/// The rules of `tracing`.
pub(crate) fn check_tracing(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    let Some(tracing) = cursor.get("tracing") else { return Ok(()) };
    if tracing.non_empty("endpoint").is_none() {
        return Err(tracing.error_at("endpoint", "is required"));
    }
    if let Some(section) = tracing.get("tls_config") {
        http::tls(section)?;
    }
    http::refuse_reserved_headers(tracing, "headers")
}

/// The rules of `storage`.
pub(crate) fn check_storage(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    let Some(storage) = cursor.get("storage") else { return Ok(()) };
    let Some(tsdb) = storage.get("tsdb") else { return Ok(()) };
    let Some(retention) = tsdb.get("retention") else { return Ok(()) };
    match retention.float("percentage") {
        Some(percentage) if !(0.0..=100.0).contains(&percentage) => {
            Err(retention.error_at("percentage", "expected a number from 0 to 100"))
        }
        _ => Ok(()),
    }
}

/// The rules of `otlp`.
pub(crate) fn check_otlp(cursor: Cursor<'_>, globals: &Globals) -> Result<(), ConfigError> {
    let Some(otlp) = cursor.get("otlp") else { return Ok(()) };
    let all = otlp.boolean("promote_all_resource_attributes").unwrap_or(false);
    let filled = |key| otlp.texts(key).is_some_and(|list| !list.is_empty());
    if all && filled("promote_resource_attributes") {
        let message = "cannot be combined with promote_all_resource_attributes";
        return Err(otlp.error_at("promote_resource_attributes", message));
    }
    if !all && filled("ignore_resource_attributes") {
        return Err(otlp.error_at("ignore_resource_attributes", "needs promote_all_resource_attributes"));
    }
    let utf8 = matches!(otlp.text("translation_strategy"), Some("NoUTF8EscapingWithSuffixes" | "NoTranslation"));
    if utf8 && globals.validation == "legacy" {
        return Err(otlp.error_at("translation_strategy", "contradicts the name validation scheme legacy"));
    }
    Ok(())
}
