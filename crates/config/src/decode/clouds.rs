//! Discovery sections that ask a cloud provider for its servers.

use super::{
    http,
    mechanisms::{port, seconds, text, word},
    service_discovery::required,
};
use crate::{
    CloudApi, ConfigError, DigitalOceanRole, DigitalOceanSdConfig, HetznerRole, HetznerSdConfig, IonosSdConfig, LinodeSdConfig,
    ScalewayRole, ScalewaySdConfig, SdConfig, VultrSdConfig, cursor::Cursor,
};

/// One entry of the list under `key`; `None` for mechanisms without code.
pub(super) fn section(key: &str, cursor: Cursor<'_>) -> Result<Option<SdConfig>, ConfigError> {
    Ok(Some(match key {
        "digitalocean_sd_configs" => SdConfig::DigitalOcean(digitalocean(cursor)?),
        "hetzner_sd_configs" => SdConfig::Hetzner(hetzner(cursor)?),
        "ionos_sd_configs" => {
            SdConfig::Ionos(IonosSdConfig { datacenter_id: required(cursor, "datacenter_id")?.to_owned(), api: api(cursor)? })
        }
        "linode_sd_configs" => SdConfig::Linode(linode(cursor)?),
        "vultr_sd_configs" => SdConfig::Vultr(VultrSdConfig { api: api(cursor)? }),
        "scaleway_sd_configs" => SdConfig::Scaleway(scaleway(cursor)?),
        _ => return Ok(None),
    }))
}

fn api(cursor: Cursor<'_>) -> Result<CloudApi, ConfigError> {
    Ok(CloudApi { port: port(cursor), refresh_interval: seconds(cursor, 60)?, http: http::client(cursor)? })
}

fn digitalocean(cursor: Cursor<'_>) -> Result<DigitalOceanSdConfig, ConfigError> {
    let roles = [("droplets", DigitalOceanRole::Droplets), ("databases", DigitalOceanRole::Databases)];
    Ok(DigitalOceanSdConfig { role: word(cursor, "role", "droplets", &roles)?, api: api(cursor)? })
}

fn hetzner(cursor: Cursor<'_>) -> Result<HetznerSdConfig, ConfigError> {
    let roles = [("robot", HetznerRole::Robot), ("hcloud", HetznerRole::Hcloud)];
    let role = word(cursor, "role", "", &roles)?;
    Ok(HetznerSdConfig { role, label_selector: text(cursor, "label_selector", ""), api: api(cursor)? })
}

fn linode(cursor: Cursor<'_>) -> Result<LinodeSdConfig, ConfigError> {
    let text = |key, default| text(cursor, key, default);
    Ok(LinodeSdConfig { region: text("region", ""), tag_separator: text("tag_separator", ","), api: api(cursor)? })
}

/// Prometheus checks the form of the credentials as Scaleway's own client does.
fn scaleway(cursor: Cursor<'_>) -> Result<ScalewaySdConfig, ConfigError> {
    let roles = [("instance", ScalewayRole::Instance), ("baremetal", ScalewayRole::Baremetal)];
    let role = word(cursor, "role", "", &roles)?;
    if !is_uuid(required(cursor, "project_id")?) {
        return Err(cursor.error_at("project_id", "expected a UUID"));
    }
    let Some(secret_key) = http::secret(cursor, "secret_key")? else {
        return Err(cursor.error_at("secret_key", "is required, or secret_key_file"));
    };
    if cursor.non_empty("secret_key").is_some_and(|key| !is_uuid(key)) {
        let place = cursor.get("secret_key").unwrap_or(cursor);
        return Err(place.error_without_value("expected a UUID"));
    }
    let is_access_key = |key: &str| {
        let rest = key.strip_prefix("SCW").unwrap_or_default();
        rest.len() == 17 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    if !is_access_key(required(cursor, "access_key")?) {
        return Err(cursor.error_at("access_key", "expected SCW and 17 capital letters or digits"));
    }
    let api_url = text(cursor, "api_url", "https://api.scaleway.com");
    if api_url.is_empty() {
        return Err(cursor.error_at("api_url", "expected a URL"));
    }
    let zone = text(cursor, "zone", "fr-par-1");
    if !is_zone(&zone) {
        return Err(cursor.error_at("zone", "expected a zone such as fr-par-1"));
    }
    Ok(ScalewaySdConfig {
        role,
        api_url,
        zone,
        secret_key,
        name_filter: text(cursor, "name_filter", ""),
        tags_filter: cursor.texts("tags_filter").unwrap_or_default(),
        api: api(cursor)?,
    })
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn is_zone(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let letters = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase());
    match parts[..] {
        [country, city, number] => {
            country.len() == 2
                && letters(country)
                && (3..=7).contains(&city.len())
                && letters(city)
                && (1..=2).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, ok) in [
            ("11111111-2222-3333-4444-abcdefABCDEF", true),
            ("11111111-2222-3333-4444-abcdefABCDE", false),
            ("11111111-2222-3333-4444-abcdefABCDEG", false),
            ("", false),
        ] {
            assert_eq!(is_uuid(text), ok, "{text}");
        }
        for (text, ok) in [("fr-par-1", true), ("pl-waw-12", true), ("fr-par", false), ("FR-par-1", false), ("", false)] {
            assert_eq!(is_zone(text), ok, "{text}");
        }
    }
}
