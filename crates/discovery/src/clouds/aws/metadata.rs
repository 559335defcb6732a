//! What the machine or container that kvass runs on says of itself.

use std::time::Duration;

use ::http::{Method, StatusCode};
use jiff::Timestamp;
use kvass_config::Secret;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{account::Account, credentials::Credentials};
use crate::{
    api::{Reply, wrap},
    clouds::web::Message,
    refresh::RefreshError,
};

const INSTANCE: &str = "http://169.254.169.254";
const TASK: &str = "http://169.254.170.2";
/// Hosts to which credentials of containers may be sent for without TLS, beside loopback addresses.
const CONTAINER_HOSTS: [&str; 4] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23", "[fd00:ec2::23]"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    /// Absent where nothing can go wrong.
    code: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    #[serde(alias = "SessionToken")]
    token: Option<String>,
    expiration: Option<Timestamp>,
}

impl Answer {
    fn credentials(self, source: &str) -> Result<Credentials, RefreshError> {
        match (self.code.as_deref(), self.access_key_id, self.secret_access_key) {
            (None | Some("Success"), Some(access_key), Some(secret_key)) => Ok(Credentials {
                access_key,
                secret_key: Secret::new(secret_key),
                session_token: self.token.map(Secret::new),
                expires: self.expiration,
            }),
            (None | Some("Success"), ..) => Err(RefreshError::Other(format!("{source}: the answer holds no key"))),
            (Some(code), ..) => Err(RefreshError::Other(format!("{source}: {code:?}"))),
        }
    }
}

/// Reads what a program prints to whom it gives credentials.
pub(super) fn printed(output: &[u8]) -> Result<Credentials, RefreshError> {
    let answer: Result<Answer, _> = serde_json::from_slice(output);
    // The error would show the output.
    let answer = answer.map_err(|_| RefreshError::Other("credential_process: expected a JSON object with keys".to_owned()))?;
    answer.credentials("credential_process")
}

/// The longest wait for an answer of the machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// The instance metadata service.
struct Instance<'a> {
    account: &'a Account,
    base: String,
    /// `None` for version 1, which knows no tokens.
    token: Option<Secret>,
}

impl<'a> Instance<'a> {
    async fn new(account: &'a Account) -> Result<Self, RefreshError> {
        let environment = &account.environment;
        let is_true = |name| environment.variable(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        if is_true("AWS_EC2_METADATA_DISABLED") {
            let problem = "no credentials or region elsewhere, and AWS_EC2_METADATA_DISABLED forbids to ask the machine";
            return Err(RefreshError::Other(problem.to_owned()));
        }
        let base = environment.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE.to_owned());
        let mut instance = Instance { account, base: base.trim_end_matches('/').to_owned(), token: None };
        match instance.new_token().await {
            Ok(token) => instance.token = Some(token),
            // A token is not let through to a container of another network unless the machine is told to.
            Err(error) if error.status() != Some(StatusCode::BAD_REQUEST) && !is_true("AWS_EC2_METADATA_V1_DISABLED") => {
                tracing::debug!(%error, "no token of the instance metadata service, version 1 of it is asked");
            }
            Err(error) => return Err(error),
        }
        Ok(instance)
    }

    async fn new_token(&self) -> Result<Secret, RefreshError> {
        const PATH: &str = "/latest/api/token";
        let message = Message { method: Method::PUT, ..Message::get(format!("{}{PATH}", self.base)) };
        let reply = self.send(PATH, message.with("x-aws-ec2-metadata-token-ttl-seconds", "300")).await?;
        Ok(Secret::new(String::from_utf8_lossy(&reply.body)))
    }

    async fn get(&self, path: &str) -> Result<Reply, RefreshError> {
        let mut message = Message::get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            message = message.with_secret("x-aws-ec2-metadata-token", token.reveal())?;
        }
        self.send(path, message).await
    }

    async fn object<T: DeserializeOwned>(&self, path: &str) -> Result<T, RefreshError> {
        self.get(path).await?.object().map_err(|error| wrap("GET", path, error))
    }

    /// Any status but 2xx is an error.
    async fn send(&self, path: &str, message: Message) -> Result<Reply, RefreshError> {
        let method = message.method.to_string();
        let late = || RefreshError::Other(format!("the machine did not answer within {} seconds", PATIENCE.as_secs()));
        let reply = timeout(PATIENCE, self.account.web.send(message)).await.unwrap_or_else(|_| Err(late()));
        reply.and_then(Reply::success).map_err(|error| wrap(&method, path, error))
    }
}

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// The credentials of the role that the machine has.
pub(super) async fn of_instance(account: &Account) -> Result<Credentials, RefreshError> {
    let instance = Instance::new(account).await?;
    let reply = instance.get(ROLES).await?;
    let roles = String::from_utf8_lossy(&reply.body).into_owned();
    let role = roles.lines().next().unwrap_or_default().trim();
    if role.is_empty() {
        return Err(RefreshError::Other("the machine has no role to ask AWS with".to_owned()));
    }
    let answer: Answer = instance.object(&format!("{ROLES}{role}")).await?;
    answer.credentials("instance metadata")
}

/// The region the machine stands in.
pub(super) async fn region(account: &Account) -> Result<String, RefreshError> {
    #[derive(Deserialize)]
    struct Identity {
        region: String,
    }
    let identity: Identity = Instance::new(account).await?.object("/latest/dynamic/instance-identity/document").await?;
    Ok(identity.region)
}

/// The credentials that ECS or EKS hands to the container, if it is one.
pub(super) async fn of_container(account: &Account) -> Option<Result<Credentials, RefreshError>> {
    let environment = &account.environment;
    let relative = environment.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("{TASK}{path}"));
    let url = match relative {
        Some(url) => url,
        None => environment.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")?,
    };
    Some(ask_container(account, url).await)
}

async fn ask_container(account: &Account, url: String) -> Result<Credentials, RefreshError> {
    if !is_trusted(&url) {
        let problem = format!(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI: {url:?}: expected https, or http to this machine or one of {}",
            CONTAINER_HOSTS[..3].join(", ")
        );
        return Err(RefreshError::Other(problem));
    }
    let environment = &account.environment;
    let token = match environment.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(path) => Some(super::credentials::file(&path).await?),
        None => environment.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let mut message = Message::get(url);
    if let Some(token) = token {
        message = message.with_secret("authorization", token.trim())?;
    }
    let answer: Answer = account.web.object(message).await?;
    answer.credentials("container credentials")
}

fn is_trusted(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    url.scheme() == "https" || url.scheme() == "http" && (is_loopback || CONTAINER_HOSTS.contains(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_hosts_are_trusted_without_tls() {
        for (url, ok) in [
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://127.0.0.1:1234/", true),
            ("http://[::1]/", true),
            ("http://localhost/", true),
            ("https://anywhere.example/", true),
            ("http://anywhere.example/", false),
            ("http://169.254.169.254/", false),
            ("ftp://localhost/", false),
            ("", false),
        ] {
            assert_eq!(is_trusted(url), ok, "{url}");
        }
    }

    #[test]
    fn printed_credentials() {
        let text = r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "hidden", "SessionToken": "T", "Expiration": "2030-01-01T00:00:00Z"}"#;
        let credentials = printed(text.as_bytes()).unwrap();
        assert_eq!((credentials.access_key.as_str(), credentials.session_token.unwrap().reveal()), ("A", "T"));
        for bad in [&b"hidden"[..], br#"{"AccessKeyId": "hidden"}"#, br#"{"Code": "Nope", "SecretAccessKey": "hidden"}"#] {
            assert!(!printed(bad).unwrap_err().to_string().contains("hidden"));
        }
    }
}
