use std::{fmt, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use kvass_config::OAuth2;
use kvass_model::query_escape;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};
use url::form_urlencoded;

use crate::{
    ClientError, Phase, Response, ScrapeError, USER_AGENT, auth::authorization, deadline::Deadline, endpoint::Endpoint,
    secret_source::reveal_or_empty, transport::Transport,
};

/// A token this close to its end is not used any more.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);

/// Token answers are small; a larger one is not a token.
const ANSWER_LIMIT: u64 = 1 << 20;

/// Tokens of the OAuth 2 client credentials flow, fetched when needed and kept until they expire.
pub(crate) struct TokenSource {
    config: OAuth2,
    endpoint: Endpoint,
    transport: Transport,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The client secret the rest belongs to; a rotated file makes the token worthless.
    secret: String,
    token: Option<Token>,
    /// Where this server wants the client's credentials, once known.
    style: Option<Style>,
}

struct Token {
    header: HeaderValue,
    expires: Option<Instant>,
}

/// The two places RFC 6749 §2.3.1 allows for the client's credentials. Which one a server takes can only
/// be found out by trying.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Header,
    Form,
}

/// What a token endpoint answers, RFC 6749 §5.1 and §5.2.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    access_token: String,
    token_type: String,
    /// Some servers send a text here.
    expires_in: serde_json::Value,
    error: String,
}

impl TokenSource {
    pub(crate) fn new(config: &OAuth2, http2: bool) -> Result<Self, ClientError> {
        if !matches!(config.grant_type.as_str(), "" | "client_credentials") {
            let problem = format!("{:?} is not supported, expected client_credentials", config.grant_type);
            return Err(ClientError::OAuth2 { field: "grant_type", problem });
        }
        let endpoint = Endpoint::parse(&config.token_url)
            .map_err(|error| ClientError::OAuth2 { field: "token_url", problem: error.to_string() })?;
        let transport = Transport::new(&config.tls, &config.proxy, None, http2, true)?;
        Ok(TokenSource { config: config.clone(), endpoint, transport, state: Mutex::default() })
    }

    /// The `Authorization` header. Concurrent requests wait for one fetch.
    pub(crate) async fn header(&self, deadline: &Deadline) -> Result<HeaderValue, ScrapeError> {
        let secret = reveal_or_empty(self.config.client_secret.as_ref(), "oauth2.client_secret_file").await?;
        let mut state = deadline.limit(Phase::Token, self.state.lock()).await?;
        if state.secret != secret {
            *state = State { secret, ..State::default() };
        }
        if let Some(token) = &state.token
            && token.expires.is_none_or(|expires| Instant::now() + EXPIRY_MARGIN < expires)
        {
            return Ok(token.header.clone());
        }
        let token = self.fetch(&mut state, deadline).await.map_err(|error| match error {
            ScrapeError::Timeout { after, .. } => ScrapeError::Timeout { phase: Phase::Token, after },
            error @ (ScrapeError::Token { .. } | ScrapeError::Credentials { .. }) => error,
            error => ScrapeError::Token { problem: error.to_string() },
        })?;
        let header = token.header.clone();
        state.token = Some(token);
        Ok(header)
    }

    async fn fetch(&self, state: &mut State, deadline: &Deadline) -> Result<Token, ScrapeError> {
        if let Some(style) = state.style {
            return self.request(style, &state.secret, deadline).await;
        }
        let (style, token) = match self.request(Style::Header, &state.secret, deadline).await {
            Ok(token) => (Style::Header, token),
            Err(first @ ScrapeError::Token { .. }) => match self.request(Style::Form, &state.secret, deadline).await {
                Ok(token) => (Style::Form, token),
                Err(_) => return Err(first),
            },
            Err(error) => return Err(error),
        };
        state.style = Some(style);
        Ok(token)
    }

    async fn request(&self, style: Style, secret: &str, deadline: &Deadline) -> Result<Token, ScrapeError> {
        let config = &self.config;
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        if !config.scopes.is_empty() {
            form.push(("scope", config.scopes.join(" ")));
        }
        // A parameter given by the user replaces ours, as in Go's client.
        form.retain(|(name, _)| !config.endpoint_params.contains_key(*name));
        form.extend(config.endpoint_params.iter().map(|(name, value)| (name.as_str(), value.clone())));

        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.uri.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT);
        match style {
            Style::Header => {
                let pair = format!("{}:{}", query_escape(&config.client_id), query_escape(secret));
                let value = authorization("Basic", &BASE64_STANDARD.encode(pair), "oauth2.client_id")?;
                request = request.header(header::AUTHORIZATION, value);
            }
            Style::Form => {
                form.push(("client_id", config.client_id.clone()));
                if !secret.is_empty() {
                    form.push(("client_secret", secret.to_owned()));
                }
            }
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|error| ScrapeError::Token { problem: error.to_string() })?;
        let started = Instant::now();
        let response = self.transport.send(request, deadline).await?;
        read_token(Response::new(response, *deadline, ANSWER_LIMIT), started).await
    }
}

async fn read_token(mut response: Response, started: Instant) -> Result<Token, ScrapeError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    parse_token(response.status(), content_type, &body, started)
}

fn parse_token(status: StatusCode, content_type: &str, body: &[u8], started: Instant) -> Result<Token, ScrapeError> {
    let refuse = |problem: String| Err(ScrapeError::Token { problem });
    let form = content_type.starts_with("application/x-www-form-urlencoded") || content_type.starts_with("text/plain");
    let answer = if form { Some(parse_form(body)) } else { serde_json::from_slice(body).ok() };
    // RFC 6749 §5.2 limits `error` to printable ASCII, and everything else in a body may be secret.
    let error: String =
        answer.as_ref().map(|a: &Answer| a.error.chars().filter(char::is_ascii_graphic).take(64).collect()).unwrap_or_default();
    match answer {
        _ if !status.is_success() && error.is_empty() => refuse(format!("token_url answered {status}")),
        _ if !status.is_success() => refuse(format!("token_url answered {status}, error {error}")),
        _ if !error.is_empty() => refuse(format!("token_url answered error {error}")),
        None => refuse("token_url answered something else than JSON".to_owned()),
        Some(answer) if answer.access_token.is_empty() => refuse("the answer of token_url has no access_token".to_owned()),
        Some(answer) => {
            let kind = match answer.token_type.to_ascii_lowercase().as_str() {
                "" | "bearer" => "Bearer",
                "mac" => "MAC",
                "basic" => "Basic",
                _ => &answer.token_type,
            };
            let header = authorization(kind, &answer.access_token, "oauth2 access_token")?;
            let seconds = answer.expires_in.as_u64().or_else(|| answer.expires_in.as_str()?.parse().ok()).filter(|s| *s > 0);
            let expires = seconds.and_then(|seconds| started.checked_add(Duration::from_secs(seconds)));
            Ok(Token { header, expires })
        }
    }
}

fn parse_form(body: &[u8]) -> Answer {
    let mut answer = Answer::default();
    for (name, value) in form_urlencoded::parse(body) {
        match &*name {
            "access_token" => answer.access_token = value.into_owned(),
            "token_type" => answer.token_type = value.into_owned(),
            "expires_in" => answer.expires_in = value.into_owned().into(),
            "error" => answer.error = value.into_owned(),
            _ => {}
        }
    }
    answer
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let json = "application/json; charset=utf-8";
        let form = "application/x-www-form-urlencoded";
        for (content_type, body, header, seconds) in [
            (json, r#"{"access_token":"t","token_type":"bearer","expires_in":60}"#, "Bearer t", Some(60)),
            (json, r#"{"access_token":"t","expires_in":"90","scope":"x"}"#, "Bearer t", Some(90)),
            (json, r#"{"access_token":"t","token_type":"Custom","expires_in":null}"#, "Custom t", None),
            (form, "access_token=t%2B&token_type=mac&expires_in=5", "MAC t+", Some(5)),
            ("", r#"{"access_token":"t","expires_in":0}"#, "Bearer t", None),
        ] {
            let started = Instant::now();
            let token = parse_token(StatusCode::OK, content_type, body.as_bytes(), started).unwrap();
            assert_eq!(token.header, header, "{body}");
            assert_eq!(token.expires.map(|expires| expires - started), seconds.map(Duration::from_secs), "{body}");
        }
        for (status, body, problem) in [
            (200, "<html>secret</html>", "something else than JSON"),
            (200, r#"{"token":"secret"}"#, "no access_token"),
            (200, r#"{"error":"slow_down"}"#, "error slow_down"),
            (401, r#"{"error":"invalid_client","error_description":"secret"}"#, "401 Unauthorized, error invalid_client"),
            (500, "secret", "500 Internal Server Error"),
        ] {
            let parsed = parse_token(StatusCode::from_u16(status).unwrap(), json, body.as_bytes(), Instant::now());
            let error = parsed.map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("secret"), "{error}");
        }
    }
}
