//! Discovery sections that ask AWS.

use super::{
    http,
    mechanisms::{port, seconds, text, word},
};
use crate::{AwsAccess, AwsRole, AwsSdConfig, CloudApi, ConfigError, SdConfig, Secret, cursor::Cursor};

/// One entry of the list under `key`; `None` for mechanisms without code.
pub(super) fn section(key: &str, cursor: Cursor<'_>) -> Result<Option<SdConfig>, ConfigError> {
    Ok(Some(match key {
        "ec2_sd_configs" => {
            for filter in cursor.get("filters").iter().flat_map(|list| list.items()) {
                if filter.texts("values").unwrap_or_default().is_empty() {
                    return Err(filter.error_at("values", "expected at least one value"));
                }
            }
            SdConfig::Aws(config(cursor, AwsRole::Ec2, access(cursor, http::client(cursor)?)?))
        }
        "lightsail_sd_configs" => SdConfig::Aws(config(cursor, AwsRole::Lightsail, access(cursor, http::client(cursor)?)?)),
        "ecs_sd_configs" => SdConfig::Aws(clustered(cursor, AwsRole::Ecs)?),
        "msk_sd_configs" => SdConfig::Aws(clustered(cursor, AwsRole::Msk)?),
        "aws_sd_configs" => return any(cursor),
        _ => return Ok(None),
    }))
}

/// How many requests run at a time is checked as Prometheus does; here they come one after the other.
fn clustered(cursor: Cursor<'_>, role: AwsRole) -> Result<AwsSdConfig, ConfigError> {
    if cursor.integer("request_concurrency").is_some_and(|number| number <= 0) {
        return Err(cursor.error_at("request_concurrency", "expected a whole number above 0"));
    }
    Ok(config(cursor, role, access(cursor, http::client(cursor)?)?))
}

/// A section that names its role, `None` for those without code. Prometheus fills it without the usual defaults of HTTP clients.
fn any(cursor: Cursor<'_>) -> Result<Option<SdConfig>, ConfigError> {
    let roles = [
        ("ec2", Some(AwsRole::Ec2)),
        ("ecs", Some(AwsRole::Ecs)),
        ("elasticache", None),
        ("lightsail", Some(AwsRole::Lightsail)),
        ("msk", Some(AwsRole::Msk)),
        ("rds", None),
    ];
    let role = word(cursor, "role", "", &roles)?;
    let mut http = http::client(cursor)?;
    http.follow_redirects = cursor.boolean("follow_redirects").unwrap_or(false);
    http.enable_http2 = cursor.boolean("enable_http2").unwrap_or(false);
    let mut access = access(cursor, http)?;
    if access.api.port == 0 {
        access.api.port = 80;
    }
    Ok(role.map(|role| SdConfig::Aws(config(cursor, role, access))))
}

fn config(cursor: Cursor<'_>, role: AwsRole, access: AwsAccess) -> AwsSdConfig {
    let filters = cursor.get("filters");
    let filters = filters.iter().flat_map(|list| list.items());
    let filters = filters.map(|filter| (text(filter, "name", ""), filter.texts("values").unwrap_or_default())).collect();
    AwsSdConfig { role, access, filters, clusters: cursor.texts("clusters").unwrap_or_default() }
}

fn access(cursor: Cursor<'_>, http: crate::HttpClientConfig) -> Result<AwsAccess, ConfigError> {
    let text = |key| text(cursor, key, "");
    Ok(AwsAccess {
        region: text("region"),
        endpoint: text("endpoint"),
        access_key: text("access_key"),
        secret_key: cursor.non_empty("secret_key").map(Secret::new),
        profile: text("profile"),
        role_arn: text("role_arn"),
        external_id: text("external_id"),
        api: CloudApi { port: port(cursor), refresh_interval: seconds(cursor, 60)?, http },
    })
}
