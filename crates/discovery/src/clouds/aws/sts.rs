//! Roles that are taken on for a time.

use jiff::Timestamp;
use kvass_config::Secret;

use super::{
    account::{Account, Service},
    credentials::Credentials,
    xml,
};
use crate::refresh::RefreshError;

const VERSION: &str = "2011-06-15";

/// A role, and what has to be told to get it.
#[derive(Debug)]
pub(super) struct AssumedRole<'a> {
    pub(super) arn: &'a str,
    /// Empty for none.
    pub(super) external_id: &'a str,
    /// Shown in AWS' logs.
    pub(super) session: Option<&'a str>,
    pub(super) seconds: u32,
}

impl Default for AssumedRole<'_> {
    fn default() -> Self {
        AssumedRole { arn: "", external_id: "", session: None, seconds: 900 }
    }
}

/// Names are unique, as AWS' tools make them.
fn session_name(given: Option<&str>) -> String {
    given.map_or_else(|| format!("kvass-{}", Timestamp::now().as_nanosecond()), str::to_owned)
}

pub(super) async fn assume(
    account: &Account,
    credentials: &Credentials,
    role: &AssumedRole<'_>,
) -> Result<Credentials, RefreshError> {
    let (session, seconds) = (session_name(role.session), role.seconds.to_string());
    let mut parameters =
        vec![("RoleArn", role.arn), ("RoleSessionName", session.as_str()), ("DurationSeconds", seconds.as_str())];
    if !role.external_id.is_empty() {
        parameters.push(("ExternalId", role.external_id));
    }
    let body = account.query(Service::Sts, Some(credentials), "AssumeRole", VERSION, &parameters).await?;
    answer(&body, "AssumeRole")
}

/// The token stands in for a signature.
pub(super) async fn assume_with_web_identity(
    account: &Account,
    token: &str,
    arn: &str,
    session: Option<&str>,
) -> Result<Credentials, RefreshError> {
    const ACTION: &str = "AssumeRoleWithWebIdentity";
    let session = session_name(session);
    let parameters = [("RoleArn", arn), ("RoleSessionName", &session), ("WebIdentityToken", token.trim())];
    let body = account.query(Service::Sts, None, ACTION, VERSION, &parameters).await?;
    answer(&body, ACTION)
}

/// Errors do not show the body, which holds keys.
fn answer(body: &str, action: &str) -> Result<Credentials, RefreshError> {
    let document = xml::parse(body)?;
    let text = |name: &str| {
        let found = xml::anywhere(&document, name);
        found.ok_or_else(|| RefreshError::Body(format!("{action}: the answer has no {name}")))
    };
    let expires = text("Expiration")?.parse();
    Ok(Credentials {
        access_key: text("AccessKeyId")?.to_owned(),
        secret_key: Secret::new(text("SecretAccessKey")?),
        session_token: Some(Secret::new(text("SessionToken")?)),
        expires: Some(expires.map_err(|_| RefreshError::Body(format!("{action}: Expiration is no time")))?),
    })
}
