//! Keystone, version 3: who we are, and what we ask to act on.

use kvass_config::{OpenStackIdentity, Secret};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    super::web::{Message, Web},
    session::{Catalogue, Session},
};
use crate::{environment::Environment, refresh::RefreshError};

/// What is told when one signs in, and where.
#[derive(Debug)]
pub(super) struct Identity {
    endpoint: String,
    /// With secrets.
    request: Request,
}

/// Not shown: it holds passwords.
struct Request(Value);

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Versions {
    versions: Values,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Values {
    values: Vec<Version>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version {
    id: String,
    status: String,
    links: Vec<Link>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link {
    rel: String,
    href: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    token: Catalogue,
}

impl Identity {
    pub(super) fn new(config: &OpenStackIdentity, environment: &Environment) -> Result<Self, RefreshError> {
        let (config, system) = match config.endpoint.is_empty() {
            true => (of_environment(environment)?, environment.variable("OS_SYSTEM_SCOPE").as_deref() == Some("all")),
            false => (config.clone(), false),
        };
        if !Url::parse(&config.endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            let shown = crate::api::masked(&config.endpoint);
            return Err(RefreshError::Other(format!("identity_endpoint {shown:?}: expected http:// or https:// and a host")));
        }
        let mut auth = Map::new();
        auth.insert("identity".to_owned(), who(&config).map_err(refused)?);
        if system {
            auth.insert("scope".to_owned(), json!({"system": {"all": true}}));
        } else if let Some(scope) = scope(&config).map_err(refused)? {
            auth.insert("scope".to_owned(), scope);
        }
        Ok(Identity { endpoint: config.endpoint, request: Request(json!({ "auth": auth })) })
    }

    pub(super) async fn sign_in<'a>(
        &self,
        web: &'a Web,
        region: &'a str,
        availability: &'a str,
    ) -> Result<Session<'a>, RefreshError> {
        let base = self.version_3(web).await?;
        let url = format!("{base}auth/tokens");
        let reply = web.send(Message::post(&url, "application/json", self.request.0.to_string())).await?;
        let reply = reply.success().map_err(|error| crate::api::wrap("POST", &url, error))?;
        let Answer { token } = reply.object()?;
        let pass = Some(reply.header("x-subject-token")).filter(|pass| !pass.is_empty());
        let pass = pass.ok_or_else(|| RefreshError::Body("the answer has no header X-Subject-Token".to_owned()))?;
        Ok(Session { web, pass: Secret::new(pass), catalogue: token, region, availability })
    }

    /// Where version 3 is, with a slash at the end.
    async fn version_3(&self, web: &Web) -> Result<String, RefreshError> {
        let endpoint = format!("{}/", self.endpoint.trim_end_matches('/'));
        if endpoint.ends_with("/v3/") {
            return Ok(endpoint);
        }
        let url = endpoint.strip_suffix("v2.0/").unwrap_or(&endpoint);
        let reply = web.send(Message::get(url)).await?;
        // 300 is Multiple Choices.
        if !matches!(reply.status.as_u16(), 200 | 300) {
            let error = RefreshError::Status { status: reply.status, expected: "200 or 300" };
            return Err(crate::api::wrap("GET", url, error));
        }
        let Versions { versions } = reply.object().map_err(|error| crate::api::wrap("GET", url, error))?;
        let usable = |version: &&Version| {
            let status = version.status.to_lowercase();
            version.id.contains("v3") && ["current", "supported", "stable"].contains(&status.as_str())
        };
        let links = versions.values.iter().filter(usable).flat_map(|version| &version.links);
        let link = links.filter(|link| link.rel == "self" && !link.href.is_empty()).map(|link| &link.href).next();
        link.map(|href| format!("{}/", href.trim_end_matches('/')))
            .ok_or_else(|| RefreshError::Other(format!("GET {url}: no version 3 of the identity service")))
    }
}

fn refused(problem: &str) -> RefreshError {
    RefreshError::Other(problem.to_owned())
}

fn of_environment(environment: &Environment) -> Result<OpenStackIdentity, RefreshError> {
    let text = |names: &[&str]| environment.first_of(names).unwrap_or_default();
    let secret = |name| environment.variable(name).map(Secret::new);
    let Some(endpoint) = environment.variable("OS_AUTH_URL") else {
        return Err(refused("identity_endpoint is not given, and neither is the variable OS_AUTH_URL"));
    };
    Ok(OpenStackIdentity {
        endpoint,
        username: text(&["OS_USERNAME"]),
        user_id: text(&["OS_USERID"]),
        password: secret("OS_PASSWORD"),
        project_name: text(&["OS_PROJECT_NAME", "OS_TENANT_NAME"]),
        project_id: text(&["OS_PROJECT_ID", "OS_TENANT_ID"]),
        domain_name: text(&["OS_DOMAIN_NAME"]),
        domain_id: text(&["OS_DOMAIN_ID"]),
        application_credential_name: text(&["OS_APPLICATION_CREDENTIAL_NAME"]),
        application_credential_id: text(&["OS_APPLICATION_CREDENTIAL_ID"]),
        application_credential_secret: secret("OS_APPLICATION_CREDENTIAL_SECRET"),
    })
}

/// The domain, by ID or by name.
fn domain(config: &OpenStackIdentity) -> Option<Value> {
    match (config.domain_id.as_str(), config.domain_name.as_str()) {
        ("", "") => None,
        ("", name) => Some(json!({ "name": name })),
        (id, _) => Some(json!({ "id": id })),
    }
}

fn who(config: &OpenStackIdentity) -> Result<Value, &'static str> {
    let (name, id) = (config.username.as_str(), config.user_id.as_str());
    let has_domain = domain(config).is_some();
    if let Some(password) = &config.password {
        let user = match (name, id) {
            ("", "") => return Err("password needs username or userid"),
            ("", _) if has_domain => return Err("userid cannot be combined with domain_id or domain_name"),
            ("", id) => json!({"id": id, "password": password.reveal()}),
            (_, "") if !config.domain_id.is_empty() && !config.domain_name.is_empty() => {
                return Err("domain_id cannot be combined with domain_name");
            }
            (name, "") => {
                let domain = domain(config).ok_or("username needs domain_id or domain_name")?;
                json!({"name": name, "domain": domain, "password": password.reveal()})
            }
            _ => return Err("username cannot be combined with userid"),
        };
        return Ok(json!({"methods": ["password"], "password": {"user": user}}));
    }
    if config.application_credential_id.is_empty() && config.application_credential_name.is_empty() {
        return Err("password, application_credential_id or application_credential_name is required");
    }
    let secret = config.application_credential_secret.as_ref().ok_or("application_credential_secret is required")?.reveal();
    let credential = if !config.application_credential_id.is_empty() {
        json!({"id": config.application_credential_id, "secret": secret})
    } else {
        let user = match (name, id) {
            ("", "") => return Err("application_credential_name needs username or userid"),
            (_, id) if !id.is_empty() => json!({ "id": id }),
            (name, _) => json!({"name": name, "domain": domain(config).ok_or("username needs domain_id or domain_name")?}),
        };
        json!({"name": config.application_credential_name, "user": user, "secret": secret})
    };
    Ok(json!({"methods": ["application_credential"], "application_credential": credential}))
}

/// What the token is for. Application credentials belong to a project already.
fn scope(config: &OpenStackIdentity) -> Result<Option<Value>, &'static str> {
    if !config.application_credential_id.is_empty() || !config.application_credential_name.is_empty() {
        return Ok(None);
    }
    if !config.project_id.is_empty() {
        return Ok(Some(json!({"project": {"id": config.project_id}})));
    }
    if !config.project_name.is_empty() {
        let domain = domain(config).ok_or("project_name needs domain_id or domain_name")?;
        return Ok(Some(json!({"project": {"name": config.project_name, "domain": domain}})));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use kvass_config::HttpClientConfig;

    use super::*;

    fn nothing() -> Environment {
        Environment::new(|_| None, HttpClientConfig::default())
    }

    #[test]
    fn what_is_told() {
        let base = OpenStackIdentity { endpoint: "http://keystone/v3".to_owned(), ..OpenStackIdentity::default() };
        let password = Some(Secret::new("hidden"));
        let text = str::to_owned;
        for (config, expected) in [
            (
                OpenStackIdentity {
                    username: text("u"),
                    password: password.clone(),
                    domain_name: text("Default"),
                    project_name: text("p"),
                    ..base.clone()
                },
                json!({
                    "identity": {"methods": ["password"], "password": {"user":
                        {"name": "u", "password": "hidden", "domain": {"name": "Default"}}}},
                    "scope": {"project": {"name": "p", "domain": {"name": "Default"}}}
                }),
            ),
            (
                OpenStackIdentity { user_id: text("i"), password: password.clone(), project_id: text("p"), ..base.clone() },
                json!({
                    "identity": {"methods": ["password"], "password": {"user": {"id": "i", "password": "hidden"}}},
                    "scope": {"project": {"id": "p"}}
                }),
            ),
            (
                OpenStackIdentity {
                    application_credential_id: text("c"),
                    application_credential_secret: password.clone(),
                    project_id: text("p"),
                    ..base.clone()
                },
                json!({"identity": {"methods": ["application_credential"],
                    "application_credential": {"id": "c", "secret": "hidden"}}}),
            ),
            (
                OpenStackIdentity {
                    application_credential_name: text("c"),
                    application_credential_secret: password.clone(),
                    username: text("u"),
                    domain_id: text("d"),
                    ..base.clone()
                },
                json!({"identity": {"methods": ["application_credential"], "application_credential":
                    {"name": "c", "secret": "hidden", "user": {"name": "u", "domain": {"id": "d"}}}}}),
            ),
        ] {
            let identity = Identity::new(&config, &nothing()).unwrap();
            assert_eq!(identity.request.0, json!({ "auth": expected }));
            assert!(!format!("{identity:?}").contains("hidden"));
        }
        for (config, problem) in [
            (base.clone(), "password, application_credential_id or application_credential_name is required"),
            (OpenStackIdentity { password: password.clone(), ..base.clone() }, "password needs username or userid"),
            (
                OpenStackIdentity { password: password.clone(), username: text("u"), ..base.clone() },
                "username needs domain_id or domain_name",
            ),
            (
                OpenStackIdentity { application_credential_id: text("c"), ..base.clone() },
                "application_credential_secret is required",
            ),
            (
                OpenStackIdentity { endpoint: text("keystone"), ..base.clone() },
                "identity_endpoint \"keystone\": expected http://",
            ),
            (
                OpenStackIdentity { endpoint: String::new(), ..base.clone() },
                "identity_endpoint is not given, and neither is the variable OS_AUTH_URL",
            ),
        ] {
            let error = Identity::new(&config, &nothing()).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    #[test]
    fn the_environment_stands_in() {
        let variables = |name: &str| {
            let value = match name {
                "OS_AUTH_URL" => "http://keystone/v3",
                "OS_USERNAME" => "u",
                "OS_PASSWORD" => "hidden",
                "OS_DOMAIN_NAME" => "Default",
                "OS_TENANT_NAME" => "old",
                "OS_PROJECT_NAME" => "new",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let environment = Environment::new(variables, HttpClientConfig::default());
        let identity = Identity::new(&OpenStackIdentity::default(), &environment).unwrap();
        assert_eq!(identity.endpoint, "http://keystone/v3");
        assert_eq!(identity.request.0["auth"]["scope"]["project"]["name"], "new");
    }
}
