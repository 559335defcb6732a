//! The rules of `sigv4` and `azuread`.

use super::service_discovery::required;
use crate::{ConfigError, cursor::Cursor};

/// Checks what stands under the keys `sigv4` and `azuread` of the mapping of `cursor`.
pub(super) fn check(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    if let Some(section) = cursor.get("sigv4") {
        sigv4(section)?;
    }
    cursor.get("azuread").map_or(Ok(()), |section| azure_ad(section))
}

fn sigv4(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    match (cursor.non_empty("access_key"), cursor.non_empty("secret_key")) {
        (Some(_), None) => return Err(cursor.error_at("secret_key", "is required with access_key")),
        (None, Some(_)) => return Err(cursor.error_at("access_key", "is required with secret_key")),
        _ => {}
    }
    let tags = cursor.get("tags");
    let tags: Vec<(&str, Cursor<'_>)> = tags.iter().flat_map(|tags| tags.pairs()).collect();
    if cursor.non_empty("role_arn").is_none() {
        let used = ["external_id", "session_name"].into_iter().find(|key| cursor.non_empty(key).is_some());
        if let Some(key) = used.or((!tags.is_empty()).then_some("tags")) {
            return Err(cursor.error_at(key, "needs role_arn"));
        }
    }
    if cursor.non_empty("session_name").is_some_and(|name| !is_session_name(name)) {
        return Err(cursor.error_at("session_name", "expected 2 to 64 letters, digits or _+=,.@-"));
    }
    for (name, value) in tags {
        let text = value.node().as_scalar().map(|scalar| scalar.as_text()).unwrap_or_default();
        if name.is_empty() || name.len() > 128 {
            return Err(value.error_without_value("expected the key to be 1 to 128 bytes long"));
        }
        if text.len() > 256 {
            return Err(value.error("expected at most 256 bytes"));
        }
    }
    Ok(())
}

fn is_session_name(name: &str) -> bool {
    (2..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

const AZURE_METHODS: [&str; 5] = ["managed_identity", "workload_identity", "oauth", "sdk", "certificate"];

fn azure_ad(cursor: Cursor<'_>) -> Result<(), ConfigError> {
    let clouds = ["AzurePublic", "AzureChina", "AzureGovernment"];
    if cursor.non_empty("cloud").is_some_and(|cloud| !clouds.contains(&cloud)) {
        return Err(cursor.error_at("cloud", format!("expected one of {}", clouds.join(", "))));
    }
    let used: Vec<&str> = AZURE_METHODS.into_iter().filter(|key| cursor.get(key).is_some()).collect();
    match used[..] {
        [] => return Err(cursor.error_without_value(format!("expected one of {}", AZURE_METHODS.join(", ")))),
        [_] => {}
        [first, second, ..] => return Err(cursor.error_at(second, format!("cannot be combined with {first}"))),
    }
    if let Some(section) = cursor.get("managed_identity") {
        uuid(section, "client_id")?;
    }
    if let Some(section) = cursor.get("workload_identity") {
        required(section, "client_id")?;
        required(section, "tenant_id")?;
        uuid(section, "client_id")?;
        uuid(section, "tenant_id")?;
    }
    for (key, keys) in
        [("oauth", ["client_id", "client_secret", "tenant_id"]), ("certificate", ["client_id", "tenant_id", "certificate_path"])]
    {
        if let Some(section) = cursor.get(key) {
            keys.into_iter().try_for_each(|key| required(section, key).map(drop))?;
            uuid(section, "client_id")?;
        }
    }
    Ok(())
}

/// The forms that the library of Prometheus reads: with hyphens, in braces, after `urn:uuid:`, or of digits alone.
fn uuid(cursor: Cursor<'_>, key: &str) -> Result<(), ConfigError> {
    match cursor.non_empty(key) {
        Some(text) if !is_uuid(text) => Err(cursor.error_at(key, "expected a UUID")),
        _ => Ok(()),
    }
}

fn is_uuid(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    if text.len() == 32 {
        return digits(text);
    }
    let text = match text.len() {
        45 if text.get(..9).is_some_and(|prefix| prefix.eq_ignore_ascii_case("urn:uuid:")) => text.get(9..),
        // The library does not look at what stands around the 36 characters.
        38 => text.get(1..37),
        _ => Some(text),
    };
    let groups: Vec<&str> = text.unwrap_or_default().split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && groups.into_iter().all(digits)
}
