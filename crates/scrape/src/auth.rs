use http::HeaderValue;
use kvass_config::{Authorization, BasicAuth, HttpClientConfig};

use crate::{
    ClientError, ScrapeError,
    deadline::Deadline,
    endpoint::basic,
    oauth2::TokenSource,
    secret_source::{reveal, reveal_or_empty},
};

/// Where the `Authorization` header of a client comes from.
#[derive(Debug)]
pub(crate) enum Auth {
    None,
    Basic(BasicAuth),
    Header(Authorization),
    OAuth2(Box<TokenSource>),
}

impl Auth {
    /// The configuration allows one kind only.
    pub(crate) fn new(config: &HttpClientConfig, http2: bool) -> Result<Self, ClientError> {
        Ok(match config {
            HttpClientConfig { oauth2: Some(oauth2), .. } => Auth::OAuth2(Box::new(TokenSource::new(oauth2, http2)?)),
            HttpClientConfig { authorization: Some(authorization), .. } => Auth::Header(authorization.clone()),
            HttpClientConfig { basic_auth: Some(basic_auth), .. } => Auth::Basic(basic_auth.clone()),
            _ => Auth::None,
        })
    }

    /// The header of one request; files are read and tokens refreshed as needed.
    pub(crate) async fn header(&self, deadline: &Deadline) -> Result<Option<HeaderValue>, ScrapeError> {
        match self {
            Auth::None => Ok(None),
            Auth::Basic(auth) => {
                let user = reveal_or_empty(auth.username.as_ref(), "basic_auth.username_file").await?;
                let password = reveal_or_empty(auth.password.as_ref(), "basic_auth.password_file").await?;
                // That of a block scalar, which Prometheus 2 takes off as well; 3 sends it, and no server takes it.
                Ok(Some(basic(&user, password.trim_end_matches(['\r', '\n']))))
            }
            Auth::Header(Authorization { credentials: None, .. }) => Ok(None),
            Auth::Header(Authorization { kind, credentials: Some(source) }) => {
                let credentials = reveal(source, "authorization.credentials_file").await?;
                authorization(kind, credentials.trim(), "authorization.credentials").map(Some)
            }
            Auth::OAuth2(tokens) => tokens.header(deadline).await.map(Some),
        }
    }
}

/// `<kind> <credentials>`, marked as sensitive.
pub(crate) fn authorization(kind: &str, credentials: &str, field: &'static str) -> Result<HeaderValue, ScrapeError> {
    let mut value = HeaderValue::try_from(format!("{kind} {credentials}")).map_err(|_| ScrapeError::Credentials {
        field,
        problem: "holds characters that cannot be sent in a header, such as a line break".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
