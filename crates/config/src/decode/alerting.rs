use kvass_model::PrometheusLine;

use super::{Globals, cloud_auth, global::name_scheme, http, relabel, service_discovery};
use crate::{ConfigError, HttpClientConfig, cursor::Cursor};

/// The rules of `alerting`; `cursor` stands on the document.
pub(crate) fn check_alerting(cursor: Cursor<'_>, globals: &Globals) -> Result<(), ConfigError> {
    let Some(alerting) = cursor.get("alerting") else { return Ok(()) };
    let scheme = name_scheme(globals);
    relabel::rules(alerting, "alert_relabel_configs", globals.line, scheme)?;
    for item in alerting.get("alertmanagers").iter().flat_map(|list| list.items()) {
        let client = http::client(item)?;
        cloud_auth::check(item)?;
        if item.get("sigv4").is_some() {
            refuse_authentication(item, &client)?;
        }
        let versions: &[&str] = match globals.line {
            PrometheusLine::V2 => &["v1", "v2"],
            PrometheusLine::V3 => &["v2"],
        };
        // Prometheus does not look at null.
        let given = item.get("api_version").and_then(|_| item.text("api_version"));
        if given.is_some_and(|version| !versions.contains(&version)) {
            return Err(item.error_at("api_version", format!("expected {}", versions.join(" or "))));
        }
        let rules = relabel::rules(item, "relabel_configs", globals.line, scheme)?;
        relabel::rules(item, "alert_relabel_configs", globals.line, scheme)?;
        service_discovery::sections(item, rules.is_empty(), globals.line)?;
    }
    Ok(())
}

/// `sigv4` and the like sign requests themselves.
fn refuse_authentication(cursor: Cursor<'_>, client: &HttpClientConfig) -> Result<(), ConfigError> {
    let used = client.basic_auth.is_some() || client.authorization.is_some() || client.oauth2.is_some();
    if used { Err(cursor.error_at("sigv4", "cannot be combined with another authentication")) } else { Ok(()) }
}
