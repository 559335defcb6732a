//! Who asks Google: the places where its own libraries look for credentials.

use std::{collections::BTreeMap, future::Future, path::PathBuf, pin::Pin, time::Duration};

use ::http::{HeaderName, HeaderValue};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use kvass_config::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::web::{Message, Token, Web},
    jwt::{self, Claims},
};
use crate::{environment::Environment, refresh::RefreshError};

const SCOPE: &str = "https://www.googleapis.com/auth/compute.readonly";
/// Asked for where another account is taken on with the token.
const ANY_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const METADATA: &str = "169.254.169.254";

/// How Google is reached.
#[derive(Debug)]
pub(super) struct Google {
    pub(super) web: Web,
    /// For what the machine itself answers.
    pub(super) machine: Web,
    pub(super) environment: Environment,
}

/// A file with credentials. It has the members of its type only.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    private_key_id: String,
    private_key: Hidden,
    audience: String,
    token_uri: String,
    client_id: String,
    client_secret: Hidden,
    refresh_token: Hidden,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: String,
    source_credentials: Option<Box<File>>,
    delegates: Vec<String>,
    credential_source: Source,
}

/// Where the token of another identity provider is found.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Source {
    file: Option<PathBuf>,
    url: Option<String>,
    headers: BTreeMap<String, String>,
    format: Format,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
    subject_token_field_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(from = "String")]
struct Hidden(Secret);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Hidden(Secret::new(text))
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

impl From<Answer> for Token {
    fn from(Answer { access_token, expires_in }: Answer) -> Self {
        Token { text: access_token, lifetime: Duration::from_secs(expires_in) }
    }
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<Token, RefreshError>> + Send + 'a>>;

impl Google {
    /// A token of whoever the environment says we are.
    pub(super) async fn token(&self) -> Result<Token, RefreshError> {
        let token = match self.environment.variable("GOOGLE_APPLICATION_CREDENTIALS") {
            Some(path) => self.of_file(&self.read(path.into()).await?, SCOPE).await,
            None => match self.usual_file().await? {
                Some(file) => self.of_file(&file, SCOPE).await,
                None => self.of_machine().await,
            },
        };
        token.map_err(|error| RefreshError::Other(format!("no token of Google: {error}")))
    }

    async fn usual_file(&self) -> Result<Option<File>, RefreshError> {
        let path = self.environment.below_home(".config/gcloud/application_default_credentials.json");
        match path.filter(|path| path.exists()) {
            Some(path) => self.read(path).await.map(Some),
            None => Ok(None),
        }
    }

    async fn read(&self, path: PathBuf) -> Result<File, RefreshError> {
        let shown = path.display();
        let text = tokio::fs::read_to_string(&path).await;
        let text = text.map_err(|error| RefreshError::Other(format!("credentials of Google: {shown}: {error}")))?;
        // The error would show what the file holds.
        serde_json::from_str(&text)
            .map_err(|_| RefreshError::Other(format!("credentials of Google: {shown}: expected a JSON object with a type")))
    }

    async fn of_machine(&self) -> Result<Token, RefreshError> {
        let host = self.environment.variable("GCE_METADATA_HOST").unwrap_or_else(|| METADATA.to_owned());
        let path = "computeMetadata/v1/instance/service-accounts/default/token";
        let message = Message::get(format!("http://{host}/{path}?scopes={SCOPE}")).with("metadata-flavor", "Google");
        self.machine.object::<Answer>(message).await.map(Token::from)
    }

    /// Boxed, because a file can hold another one.
    fn of_file<'a>(&'a self, file: &'a File, scope: &'a str) -> Asked<'a> {
        Box::pin(async move {
            match file.kind.as_str() {
                "service_account" => self.of_service_account(file, scope).await,
                "authorized_user" => {
                    let url = if file.token_uri.is_empty() { TOKEN_URL } else { &file.token_uri };
                    let parameters = [
                        ("grant_type", "refresh_token"),
                        ("client_id", &file.client_id),
                        ("client_secret", file.client_secret.0.reveal()),
                        ("refresh_token", file.refresh_token.0.reveal()),
                    ];
                    self.web.object::<Answer>(Message::form(url, &parameters)).await.map(Token::from)
                }
                "external_account" if file.service_account_impersonation_url.is_empty() => self.exchange(file, scope).await,
                "external_account" => {
                    let token = self.exchange(file, ANY_SCOPE).await?;
                    self.impersonate(file, &token, scope).await
                }
                "impersonated_service_account" => {
                    let Some(source) = &file.source_credentials else {
                        return Err(RefreshError::Other("impersonated_service_account needs source_credentials".to_owned()));
                    };
                    let token = self.of_file(source, ANY_SCOPE).await?;
                    self.impersonate(file, &token, scope).await
                }
                kind => Err(RefreshError::Other(format!(
                    "type {kind:?}: expected service_account, authorized_user, external_account or impersonated_service_account"
                ))),
            }
        })
    }

    async fn of_service_account(&self, file: &File, scope: &str) -> Result<Token, RefreshError> {
        let url = if file.token_uri.is_empty() { TOKEN_URL } else { &file.token_uri };
        let audience = if file.audience.is_empty() { url } else { &file.audience };
        let claims = Claims { issuer: &file.client_email, audience, scope };
        let assertion = jwt::signed(&claims, &file.private_key_id, file.private_key.0.reveal(), Timestamp::now())?;
        let parameters = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
        self.web.object::<Answer>(Message::form(url, &parameters)).await.map(Token::from)
    }

    /// Exchanges the token of another identity provider, RFC 8693.
    async fn exchange(&self, file: &File, scope: &str) -> Result<Token, RefreshError> {
        let subject = self.subject(&file.credential_source).await?;
        let parameters = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", &file.audience),
            ("scope", scope),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", &subject),
            ("subject_token_type", &file.subject_token_type),
        ];
        let mut message = Message::form(&file.token_url, &parameters);
        if !file.client_id.is_empty() {
            let pair = BASE64_STANDARD.encode(format!("{}:{}", file.client_id, file.client_secret.0.reveal()));
            message = message.with_secret("authorization", &format!("Basic {pair}"))?;
        }
        self.web.object::<Answer>(message).await.map(Token::from)
    }

    async fn subject(&self, source: &Source) -> Result<String, RefreshError> {
        let text = match (&source.file, &source.url) {
            (Some(path), _) => tokio::fs::read_to_string(path)
                .await
                .map_err(|error| RefreshError::Other(format!("credential_source: {}: {error}", path.display())))?,
            (None, Some(url)) => {
                let mut message = Message::get(url);
                for (name, value) in &source.headers {
                    let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
                        return Err(RefreshError::Other(format!("credential_source: header {name:?} cannot be sent")));
                    };
                    value.set_sensitive(true);
                    message.headers.insert(name, value);
                }
                let reply = self.machine.send(message).await?.success()?;
                String::from_utf8_lossy(&reply.body).into_owned()
            }
            (None, None) => return Err(RefreshError::Other("credential_source: expected a file or a url".to_owned())),
        };
        if source.format.kind != "json" {
            return Ok(text.trim().to_owned());
        }
        let name = &source.format.subject_token_field_name;
        let value: Option<Value> = serde_json::from_str(&text).ok();
        let token = value.as_ref().and_then(|value| value.get(name)?.as_str());
        token.map(str::to_owned).ok_or_else(|| RefreshError::Other(format!("credential_source: expected a text under {name:?}")))
    }

    async fn impersonate(&self, file: &File, token: &Token, scope: &str) -> Result<Token, RefreshError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            access_token: String,
            expire_time: Timestamp,
        }
        let body = json!({"scope": [scope], "lifetime": "3600s", "delegates": file.delegates}).to_string();
        let message = Message::post(&file.service_account_impersonation_url, "application/json", body);
        let message = message.with_secret("authorization", &format!("Bearer {}", token.text))?;
        let Answer { access_token, expire_time } = self.web.object(message).await?;
        let lifetime = Duration::try_from(Timestamp::now().duration_until(expire_time)).unwrap_or_default();
        Ok(Token { text: access_token, lifetime })
    }
}
