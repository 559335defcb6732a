//! Ways into Azure.

use std::time::Duration;

use kvass_config::{AzureAuthentication, AzureSdConfig, HttpClientConfig};
use serde::Deserialize;
use serde_json::Value;

use super::super::web::{Message, Token, Web};
use crate::{environment::Environment, manager::DiscoveryOptions, refresh::RefreshError, text::path_segment};

const INSTANCE: &str = "http://169.254.169.254";

/// One of the separate clouds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cloud {
    /// URL of the resource manager.
    pub(super) manager: &'static str,
    /// For whom tokens are.
    audience: &'static str,
    /// URL where one signs in.
    authority: &'static str,
}

const PUBLIC: Cloud = Cloud {
    manager: "https://management.azure.com",
    audience: "https://management.core.windows.net/",
    authority: "https://login.microsoftonline.com",
};
const CHINA: Cloud = Cloud {
    manager: "https://management.chinacloudapi.cn",
    audience: "https://management.core.chinacloudapi.cn/",
    authority: "https://login.chinacloudapi.cn",
};
const GOVERNMENT: Cloud = Cloud {
    manager: "https://management.usgovcloudapi.net",
    audience: "https://management.core.usgovcloudapi.net/",
    authority: "https://login.microsoftonline.us",
};

impl Cloud {
    /// Names count in any case.
    pub(super) fn named(name: &str) -> Result<Self, RefreshError> {
        match name.to_uppercase().as_str() {
            // The German cloud is no more.
            "AZUREPUBLICCLOUD" | "AZURECLOUD" | "AZUREGERMANCLOUD" => Ok(PUBLIC),
            "AZURECHINACLOUD" => Ok(CHINA),
            "AZUREUSGOVERNMENT" | "AZUREUSGOVERNMENTCLOUD" => Ok(GOVERNMENT),
            _ => {
                let known = "AzurePublicCloud, AzureChinaCloud or AzureUSGovernmentCloud";
                Err(RefreshError::Other(format!("environment {name:?}: expected {known}")))
            }
        }
    }
}

/// Gets tokens.
#[derive(Debug)]
pub(super) struct Login {
    cloud: Cloud,
    config: AzureSdConfig,
    environment: Environment,
    web: Web,
    /// For what the machine itself answers.
    machine: Web,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// A text in answers of machines.
    #[serde(default)]
    expires_in: Value,
    /// Seconds since 1970, in a text; of App Service, which says nothing else.
    #[serde(default)]
    expires_on: Value,
}

impl From<Answer> for Token {
    fn from(answer: Answer) -> Self {
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let left = || {
            let now = u64::try_from(jiff::Timestamp::now().as_second()).ok()?;
            number(&answer.expires_on)?.checked_sub(now)
        };
        let seconds = number(&answer.expires_in).or_else(left).unwrap_or_default();
        Token { text: answer.access_token, lifetime: Duration::from_secs(seconds) }
    }
}

impl Login {
    pub(super) fn new(config: &AzureSdConfig, cloud: Cloud, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let environment = options.environment.clone();
        let timeout = config.api.refresh_interval;
        Ok(Login {
            cloud,
            config: config.clone(),
            web: Web::new(environment.http(), timeout, options)?,
            machine: Web::new(&HttpClientConfig::default(), timeout, options)?,
            environment,
        })
    }

    /// A token of whoever the section says we are.
    pub(super) async fn token(&self) -> Result<Token, RefreshError> {
        let config = &self.config;
        let token = match (config.authentication, &config.client_secret) {
            (AzureAuthentication::OAuth, Some(secret)) => {
                self.application(&config.tenant_id, &config.client_id, ("client_secret", secret.reveal())).await
            }
            (AzureAuthentication::OAuth, None) => Err(RefreshError::Other("client_secret is required".to_owned())),
            (AzureAuthentication::ManagedIdentity, _) => self.managed_identity(&config.client_id).await,
            (AzureAuthentication::WorkloadIdentity, _) => self.workload_identity(None).await,
            (AzureAuthentication::Sdk, _) => self.whatever_there_is().await,
        };
        token.map_err(|error| RefreshError::Other(format!("no token of Azure: {error}")))
    }

    /// In the order of Azure's libraries, as far as no person is needed.
    async fn whatever_there_is(&self) -> Result<Token, RefreshError> {
        let variable = |name| self.environment.variable(name);
        let tenant = Some(&self.config.tenant_id).filter(|tenant| !tenant.is_empty()).map(String::as_str);
        let application = (variable("AZURE_TENANT_ID"), variable("AZURE_CLIENT_ID"), variable("AZURE_CLIENT_SECRET"));
        if let (Some(tenant), Some(client), Some(secret)) = application {
            return self.application(&tenant, &client, ("client_secret", &secret)).await;
        }
        if variable("AZURE_FEDERATED_TOKEN_FILE").is_some() {
            return self.workload_identity(tenant).await;
        }
        self.managed_identity(&variable("AZURE_CLIENT_ID").unwrap_or_default()).await
    }

    /// `proof` is the name and value of what shows that it is the application.
    async fn application(&self, tenant: &str, client: &str, proof: (&str, &str)) -> Result<Token, RefreshError> {
        let url = format!("{}/{}/oauth2/v2.0/token", self.cloud.authority, path_segment(tenant));
        let scope = format!("{}/.default", self.cloud.audience);
        let mut parameters = vec![("client_id", client), ("grant_type", "client_credentials"), ("scope", scope.as_str()), proof];
        if proof.0 == "client_assertion" {
            parameters.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        }
        let reply = self.web.send(Message::form(url.clone(), &parameters)).await?;
        match reply.status.is_success() {
            true => reply.object::<Answer>().map(Token::from).map_err(|error| crate::api::wrap("POST", &url, error)),
            false => Err(RefreshError::Refused { what: format!("POST {url}"), status: reply.status, code: refusal(&reply.body) }),
        }
    }

    async fn workload_identity(&self, tenant: Option<&str>) -> Result<Token, RefreshError> {
        let needed = |name: &str| {
            let missing = || RefreshError::Other(format!("{name} is not set, which WorkloadIdentity needs"));
            self.environment.variable(name).ok_or_else(missing)
        };
        let (client, file) = (needed("AZURE_CLIENT_ID")?, needed("AZURE_FEDERATED_TOKEN_FILE")?);
        let tenant = match tenant {
            Some(tenant) => tenant.to_owned(),
            None => needed("AZURE_TENANT_ID")?,
        };
        let token = tokio::fs::read_to_string(&file).await;
        let token = token.map_err(|error| RefreshError::Other(format!("AZURE_FEDERATED_TOKEN_FILE: {file}: {error}")))?;
        self.application(&tenant, &client, ("client_assertion", token.trim())).await
    }

    /// Asks the machine, or App Service where it says so.
    async fn managed_identity(&self, client: &str) -> Result<Token, RefreshError> {
        let variable = |name| self.environment.variable(name);
        let (mut url, version, header) = match (variable("IDENTITY_ENDPOINT"), variable("IDENTITY_HEADER")) {
            (Some(url), Some(secret)) => (url, "2019-08-01", Some(secret)),
            _ => {
                let host = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| INSTANCE.to_owned());
                (format!("{}/metadata/identity/oauth2/token", host.trim_end_matches('/')), "2018-02-01", None)
            }
        };
        let parameters = [("api-version", version), ("resource", self.cloud.audience), ("client_id", client)];
        url = format!("{url}?{}", query(&parameters));
        let message = match &header {
            Some(secret) => Message::get(url).with_secret("x-identity-header", secret)?,
            None => Message::get(url).with("metadata", "true"),
        };
        self.machine.object::<Answer>(message).await.map(Token::from)
    }
}

/// Leaves out what is empty.
fn query(parameters: &[(&str, &str)]) -> String {
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
}

/// The code of an error, RFC 6749 §5.2; the description beside it may repeat what was sent.
fn refusal(body: &[u8]) -> String {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let code = value.as_ref().and_then(|value| value.get("error")?.as_str()).unwrap_or_default();
    code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds() {
        assert_eq!(Cloud::named("azurepubliccloud").unwrap().manager, PUBLIC.manager);
        assert_eq!(Cloud::named("AzureChinaCloud").unwrap().authority, CHINA.authority);
        assert_eq!(Cloud::named("AzureUSGovernment").unwrap().audience, GOVERNMENT.audience);
        let error = Cloud::named("AzureMoon").unwrap_err().to_string();
        assert!(error.starts_with("environment \"AzureMoon\": expected AzurePublicCloud"), "{error}");
    }

    #[test]
    fn lifetimes() {
        for (text, seconds) in [
            (r#"{"access_token": "t", "expires_in": 3599}"#, 3599),
            (r#"{"access_token": "t", "expires_in": "86399", "expires_on": "1586984735"}"#, 86399),
            (r#"{"access_token": "t", "expires_on": "1586984735"}"#, 0),
            (r#"{"access_token": "t"}"#, 0),
        ] {
            let token = Token::from(serde_json::from_str::<Answer>(text).unwrap());
            assert_eq!(token.lifetime, Duration::from_secs(seconds), "{text}");
        }
        let now = jiff::Timestamp::now().as_second();
        let text = format!(r#"{{"access_token": "t", "expires_on": {}}}"#, now + 1000);
        let left = Token::from(serde_json::from_str::<Answer>(&text).unwrap()).lifetime.as_secs();
        assert!((900..=1000).contains(&left), "{left}");
    }
}
