//! The rules of discovery sections for which kvass has no code.

use std::time::Duration;

use super::{
    http,
    service_discovery::{refresh_interval, required},
};
use crate::{ConfigError, cursor::Cursor, url_text};

/// Checks one entry of the list under `key`.
pub(super) fn check(key: &str, cursor: Cursor<'_>) -> Result<(), ConfigError> {
    match key {
        "elasticache_sd_configs" | "rds_sd_configs" => aws(cursor)?,
        "kuma_sd_configs" => kuma(cursor)?,
        "serverset_sd_configs" | "nerve_sd_configs" => zookeeper(cursor)?,
        "oci_sd_configs" => oci(cursor)?,
        "outscale_sd_configs" => outscale(cursor)?,
        "stackit_sd_configs" => stackit(cursor)?,
        "triton_sd_configs" => triton(cursor)?,
        "uyuni_sd_configs" => uyuni(cursor)?,
        _ => {}
    }
    refresh_interval(cursor, Duration::from_secs(60))?;
    // Sections without a client have no key of one either.
    http::client(cursor).map(drop)
}

fn require(cursor: Cursor<'_>, keys: &[&str]) -> Result<(), ConfigError> {
    keys.iter().try_for_each(|key| required(cursor, key).map(drop))
}

/// The text under `key`; a default holds unless the key is there.
fn one_of(cursor: Cursor<'_>, key: &str, default: &str, words: &[&str]) -> Result<(), ConfigError> {
    let word = cursor.text(key).unwrap_or(default);
    if words.contains(&word) { Ok(()) } else { Err(cursor.error_at(key, format!("expected one of {}", words.join(", ")))) }
}

fn url(cursor: Cursor<'_>, key: &str) -> Result<(), ConfigError> {
    match cursor.text(key).and_then(url_text::fault) {
        Some(expected) => Err(cursor.error_at(key, format!("expected {expected}"))),
        None => Ok(()),
    }
}

fn aws(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    match cursor.integer("request_concurrency") {
        Some(number) if number <= 0 => Err(cursor.error_at("request_concurrency", "expected a number above 0")),
        _ => Ok(()),
    }
}

fn kuma(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    let server = required(cursor, "server")?;
    url(cursor, "server")?;
    match url_text::scheme_and_host(server) {
        Some(_) => Ok(()),
        None => Err(cursor.error_at("server", "expected a URL with scheme and host")),
    }
}

fn zookeeper(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    for key in ["servers", "paths"] {
        if cursor.texts(key).unwrap_or_default().is_empty() {
            return Err(cursor.error_at(key, "expected at least one"));
        }
    }
    for path in cursor.get("paths").iter().flat_map(|list| list.items()) {
        if !path.node().as_scalar().is_some_and(|scalar| scalar.as_text().starts_with('/')) {
            return Err(path.error("expected a path that begins with /"));
        }
    }
    Ok(())
}

fn oci(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    require(cursor, &["region"])?;
    one_of(cursor, "auth", "api_key", &["api_key", "instance_principal"])?;
    if cursor.text("auth").unwrap_or("api_key") == "api_key" {
        require(cursor, &["tenancy", "user", "fingerprint", "key_file"])?;
        http::secret(cursor, "key_passphrase")?;
    } else {
        let keys = ["tenancy", "user", "fingerprint", "key_file", "key_passphrase", "key_passphrase_file"];
        if let Some(key) = keys.into_iter().find(|key| cursor.non_empty(key).is_some()) {
            let place = cursor.get(key).unwrap_or(cursor);
            return Err(place.error_without_value("cannot be combined with auth: instance_principal"));
        }
    }
    for compartment in cursor.get("compartments").iter().flat_map(|list| list.items()) {
        if compartment.node().as_scalar().is_none_or(|scalar| scalar.as_text().is_empty()) {
            return Err(compartment.error("expected the identifier of a compartment"));
        }
    }
    Ok(())
}

fn outscale(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    if cursor.text("region").is_some_and(str::is_empty) {
        return Err(cursor.error_at("region", "is required"));
    }
    require(cursor, &["access_key"])?;
    match http::secret(cursor, "secret_key")? {
        Some(_) => Ok(()),
        None => Err(cursor.error_at("secret_key", "is required, or secret_key_file")),
    }
}

fn stackit(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    if cursor.text("region").is_some_and(str::is_empty) && cursor.non_empty("endpoint").is_none() {
        return Err(cursor.error_at("region", "is required, or endpoint"));
    }
    url(cursor, "endpoint")
}

fn triton(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    one_of(cursor, "role", "container", &["container", "cn"])?;
    require(cursor, &["account", "dns_suffix", "endpoint"])?;
    cursor.get("tls_config").map(|section| http::tls(section)).transpose().map(drop)
}

fn uyuni(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    require(cursor, &["server", "username", "password"])?;
    url(cursor, "server")
}
