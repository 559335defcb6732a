use std::collections::BTreeSet;

use kvass_model::PrometheusLine;

use super::{Globals, cloud_auth, global::name_scheme, http, relabel};
use crate::{ConfigError, cursor::Cursor};

/// The rules of `remote_write` and `remote_read`; `cursor` stands on the document.
pub(crate) fn check_remote(cursor: Cursor<'_>, globals: &Globals) -> Result<(), ConfigError> {
    for section in ["remote_write", "remote_read"] {
        let mut names = BTreeSet::new();
        for item in cursor.get(section).iter().flat_map(|list| list.items()) {
            // Prometheus takes an empty one.
            if item.get("url").is_none() {
                return Err(item.error_at("url", "is required"));
            }
            if item.non_empty("name").is_some_and(|name| !names.insert(name.to_owned())) {
                return Err(item.error_at("name", "given twice"));
            }
            let client = http::client(item)?;
            http::refuse_reserved_headers(item, "headers")?;
            let methods = ["basic_auth", "authorization", "oauth2", "sigv4", "azuread", "google_iam"];
            let bearer = ["bearer_token", "bearer_token_file"].into_iter().find(|key| item.non_empty(key).is_some());
            let bearer = bearer.filter(|_| client.authorization.is_some());
            let used: Vec<&str> = bearer.into_iter().chain(methods.into_iter().filter(|key| item.get(key).is_some())).collect();
            if let [first, second, ..] = used[..] {
                return Err(item.error_at(second, format!("cannot be combined with {first}")));
            }
            cloud_auth::check(item)?;
            check_message(item)?;
            if globals.line == PrometheusLine::V3 {
                check_queue(item)?;
            }
            relabel::rules(item, "write_relabel_configs", globals.line, name_scheme(globals))?;
        }
    }
    Ok(())
}

fn check_message(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    let messages = ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"];
    match cursor.text("protobuf_message") {
        Some(message) if !messages.contains(&message) => {
            Err(cursor.error_at("protobuf_message", format!("expected one of {}", messages.join(", "))))
        }
        _ => Ok(()),
    }
}

/// The rules of `queue_config`, which 2.x does not have.
fn check_queue(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    let queue = cursor.get("queue_config");
    let Some(cursor) = queue else {
        // Null takes the defaults away and leaves zeros.
        let is_null = cursor.text("queue_config").is_some();
        return if is_null { Err(cursor.error_at("queue_config", "expected a mapping")) } else { Ok(()) };
    };
    for key in ["max_shards", "min_shards", "max_samples_per_send", "capacity"] {
        if cursor.integer(key).is_some_and(|number| number <= 0) {
            return Err(cursor.error_at(key, "expected a number above 0"));
        }
    }
    let number = |key, default| cursor.integer(key).unwrap_or(default);
    let (min, max) = (number("min_shards", 1), number("max_shards", 50));
    if min > max {
        let key = if cursor.get("min_shards").is_some() { "min_shards" } else { "max_shards" };
        return Err(cursor.error_at(key, format!("expected min_shards, {min}, not to be above max_shards, {max}")));
    }
    let duration = |key, default| cursor.duration(key).unwrap_or(default);
    let millis = std::time::Duration::from_millis;
    if duration("max_backoff", millis(5000)) < duration("min_backoff", millis(30)) {
        let key = if cursor.get("max_backoff").is_some() { "max_backoff" } else { "min_backoff" };
        return Err(cursor.error_at(key, "expected max_backoff not to be below min_backoff"));
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

/// The rules of `runtime`.
pub(crate) fn check_runtime(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    let Some(runtime) = cursor.get("runtime") else { return Ok(()) };
    let levels = ["debug", "info", "warn", "error"];
    match runtime.non_empty("log_level") {
        Some(level) if !levels.iter().any(|known| known.eq_ignore_ascii_case(level)) => {
            Err(runtime.error_at("log_level", format!("expected one of {}", levels.join(", "))))
        }
        _ => Ok(()),
    }
}

/// The rules of `storage`.
pub(crate) fn check_storage(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    let Some(storage) = cursor.get("storage") else { return Ok(()) };
    let Some(tsdb) = storage.get("tsdb") else { return Ok(()) };
    let Some(retention) = tsdb.get("retention") else { return Ok(()) };
    if retention.size("size").is_some_and(|size| size < 0) {
        return Err(retention.error_at("size", "expected a size that is not below 0"));
    }
    match retention.float("percentage") {
        // Prometheus lets what is no number pass.
        Some(percentage) if !percentage.is_nan() && !(0.0..=100.0).contains(&percentage) => {
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
    let key = if all { "ignore_resource_attributes" } else { "promote_resource_attributes" };
    let mut seen = BTreeSet::new();
    for item in otlp.get(key).iter().flat_map(|list| list.items()) {
        let attribute = item.node().as_scalar().map(|scalar| scalar.as_text().trim().to_owned()).unwrap_or_default();
        if attribute.is_empty() {
            return Err(item.error("expected the name of an attribute"));
        }
        if !seen.insert(attribute) {
            return Err(item.error("given twice"));
        }
    }
    let utf8 = matches!(otlp.text("translation_strategy"), Some("NoUTF8EscapingWithSuffixes" | "NoTranslation"));
    if utf8 && globals.validation == "legacy" {
        return Err(otlp.error_at("translation_strategy", "contradicts the name validation scheme legacy"));
    }
    Ok(())
}
