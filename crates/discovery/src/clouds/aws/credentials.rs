//! Who asks AWS: the chain of places where its own tools look for credentials.

use std::{future::Future, pin::Pin, process::Stdio};

use jiff::{SignedDuration, Timestamp};
use kvass_config::Secret;

use super::{
    account::Account,
    metadata,
    profile::{self, Profile},
    sts::{self, AssumedRole},
};
use crate::refresh::RefreshError;

/// A key, for a time.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: Secret,
    pub(super) session_token: Option<Secret>,
    /// When they end; `None` is never.
    pub(super) expires: Option<Timestamp>,
}

/// Credentials this close to their end are not used any more.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// Longest chain of profiles that name each other.
const DEEPEST: usize = 10;

impl Credentials {
    fn long_lived(access_key: String, secret_key: &str, session_token: Option<String>) -> Self {
        let session_token = session_token.map(Secret::new);
        Credentials { access_key, secret_key: Secret::new(secret_key), session_token, expires: None }
    }

    /// Whether they need not be looked for again. Those without an end stand in files and variables, which are cheap to
    /// read and may have changed.
    pub(super) fn last(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| now.duration_until(end) > MARGIN)
    }
}

/// Looks for credentials in the order of AWS' own tools.
pub(super) async fn find(account: &Account) -> Result<Credentials, RefreshError> {
    let access = &account.access;
    let found = match &access.secret_key {
        Some(secret) if !access.access_key.is_empty() => {
            Credentials::long_lived(access.access_key.clone(), secret.reveal(), None)
        }
        _ => usual(account).await?,
    };
    if access.role_arn.is_empty() {
        return Ok(found);
    }
    let role = AssumedRole { arn: &access.role_arn, external_id: &access.external_id, ..AssumedRole::default() };
    sts::assume(account, &found, &role).await
}

async fn usual(account: &Account) -> Result<Credentials, RefreshError> {
    let environment = &account.environment;
    if !account.access.profile.is_empty() {
        let name = account.access.profile.clone();
        return of_profile(account, name, true, 0).await;
    }
    if let Some(credentials) = of_environment(account) {
        return Ok(credentials);
    }
    if let Some(file) = environment.variable("AWS_WEB_IDENTITY_TOKEN_FILE") {
        let Some(arn) = environment.variable("AWS_ROLE_ARN") else {
            return Err(RefreshError::Other("AWS_WEB_IDENTITY_TOKEN_FILE needs AWS_ROLE_ARN".to_owned()));
        };
        let session = environment.variable("AWS_ROLE_SESSION_NAME");
        return web_identity(account, &file, &arn, session.as_deref()).await;
    }
    let is_named = environment.first_of(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]).is_some();
    of_profile(account, profile::usual_name(environment), is_named, 0).await
}

fn of_environment(account: &Account) -> Option<Credentials> {
    let environment = &account.environment;
    let access_key = environment.first_of(&["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"])?;
    let secret_key = environment.first_of(&["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"])?;
    Some(Credentials::long_lived(access_key, &secret_key, environment.variable("AWS_SESSION_TOKEN")))
}

fn of_keys(profile: &Profile) -> Option<Credentials> {
    let (access_key, secret_key) = (profile.get("aws_access_key_id")?, profile.get("aws_secret_access_key")?);
    Some(Credentials::long_lived(access_key.to_owned(), secret_key, profile.get("aws_session_token").map(str::to_owned)))
}

type Found<'a> = Pin<Box<dyn Future<Output = Result<Credentials, RefreshError>> + Send + 'a>>;

/// Boxed, because profiles name each other. A profile that nobody named need not exist.
fn of_profile(account: &Account, name: String, is_named: bool, depth: usize) -> Found<'_> {
    Box::pin(async move {
        let profile = match profile::read(&account.environment, &name).await? {
            Some(profile) => profile,
            None if is_named => return Err(RefreshError::Other(format!("profile {name:?} is in none of AWS' shared files"))),
            None => Profile::default(),
        };
        if depth == DEEPEST {
            return Err(RefreshError::Other(format!("profile {name:?}: too many profiles that name each other")));
        }
        let role = profile.get("role_arn");
        if let (Some(file), Some(arn), None) = (profile.get("web_identity_token_file"), role, profile.get("source_profile")) {
            return web_identity(account, file, arn, profile.get("role_session_name")).await;
        }
        let base = base(account, &profile, &name, depth).await?;
        let Some(arn) = role else { return Ok(base) };
        if profile.get("mfa_serial").is_some() {
            return Err(RefreshError::Other(format!("profile {name:?}: mfa_serial asks for a code that nobody can type here")));
        }
        let seconds = profile.get("duration_seconds").map(str::parse).transpose();
        let seconds = seconds.map_err(|_| RefreshError::Other(format!("profile {name:?}: duration_seconds is no number")))?;
        let role = AssumedRole {
            arn,
            external_id: profile.get("external_id").unwrap_or_default(),
            session: profile.get("role_session_name"),
            seconds: seconds.unwrap_or(AssumedRole::default().seconds),
        };
        sts::assume(account, &base, &role).await
    })
}

/// What a profile's role, if it has one, is assumed with.
async fn base(account: &Account, profile: &Profile, name: &str, depth: usize) -> Result<Credentials, RefreshError> {
    let other = |problem: String| Err(RefreshError::Other(format!("profile {name:?}: {problem}")));
    match profile.get("source_profile").filter(|_| profile.get("role_arn").is_some()) {
        // One that names itself means its own keys.
        Some(source) if source != name => return of_profile(account, source.to_owned(), true, depth + 1).await,
        _ => {}
    }
    if let Some(keys) = of_keys(profile) {
        return Ok(keys);
    }
    match profile.get("credential_source") {
        Some("Environment") => {
            return of_environment(account)
                .ok_or_else(|| RefreshError::Other(format!("profile {name:?}: the environment holds no keys")));
        }
        Some("Ec2InstanceMetadata") => return metadata::of_instance(account).await,
        Some("EcsContainer") => {
            return match metadata::of_container(account).await {
                Some(found) => found,
                None => other("credential_source EcsContainer, but this is no container of ECS".to_owned()),
            };
        }
        Some(source) => {
            return other(format!("credential_source {source:?}: expected Environment, Ec2InstanceMetadata or EcsContainer"));
        }
        None => {}
    }
    if let Some(key) = ["sso_session", "sso_start_url", "login_session"].into_iter().find(|key| profile.get(key).is_some()) {
        return other(format!("{key} needs a person to sign in, which kvass cannot wait for"));
    }
    if let Some(command) = profile.get("credential_process") {
        return of_process(command).await;
    }
    match metadata::of_container(account).await {
        Some(found) => found,
        None => metadata::of_instance(account).await,
    }
}

async fn web_identity(account: &Account, path: &str, arn: &str, session: Option<&str>) -> Result<Credentials, RefreshError> {
    let token = file(path).await?;
    sts::assume_with_web_identity(account, &token, arn, session).await
}

/// The text of a file with a secret.
pub(super) async fn file(path: &str) -> Result<String, RefreshError> {
    tokio::fs::read_to_string(path).await.map_err(|error| RefreshError::Other(format!("{path}: {error}")))
}

async fn of_process(command: &str) -> Result<Credentials, RefreshError> {
    let failed = |problem: String| RefreshError::Other(format!("credential_process: {problem}"));
    let run = tokio::process::Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let limit = std::time::Duration::from_secs(60);
    let output = tokio::time::timeout(limit, run).await.map_err(|_| failed("did not end in a minute".to_owned()))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => metadata::printed(&output.stdout),
        false => Err(failed(output.status.to_string())),
    }
}
