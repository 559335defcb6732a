//! Requests to addresses that are known only while one asks.

use std::{future::Future, time::Duration};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use bytes::Bytes;
use kvass_config::{HttpClientConfig, Secret};
use kvass_scrape::HttpClient;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::form_urlencoded;

use crate::{
    api::{Reply, client, masked, wrap},
    manager::DiscoveryOptions,
    refresh::RefreshError,
};

/// A client that sends whatever it is given to any URL.
#[derive(Clone, Debug)]
pub(super) struct Web {
    client: HttpClient,
    timeout: Duration,
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Web {
    /// `timeout` bounds each request.
    pub(super) fn new(http: &HttpClientConfig, timeout: Duration, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        Ok(Web { client: client(http, options)?, timeout })
    }

    /// The answer, whatever its status.
    pub(super) async fn send(&self, message: Message) -> Result<Reply, RefreshError> {
        let Message { method, url, headers, body } = message;
        let (name, place) = (method.to_string(), masked(&url));
        let exchange = async {
            let response = self.client.send(method, &url, headers, body, Instant::now() + self.timeout).await?;
            Reply::read(response).await
        };
        exchange.await.map_err(|error| wrap(&name, &place, error))
    }

    /// The JSON object that is answered with a status of 2xx.
    pub(super) async fn object<T: DeserializeOwned>(&self, message: Message) -> Result<T, RefreshError> {
        let (name, place) = (message.method.to_string(), masked(&message.url));
        let reply = self.send(message).await?;
        reply.success().and_then(|reply| reply.object()).map_err(|error| wrap(&name, &place, error))
    }
}

impl Message {
    pub(super) fn get(url: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(kvass_scrape::USER_AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        Message { method: Method::GET, url: url.into(), headers, body: Bytes::new() }
    }

    pub(super) fn post(url: impl Into<String>, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut message = Message { method: Method::POST, body: body.into(), ..Message::get(url) };
        message.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        message
    }

    /// Posts parameters as an HTML form does.
    pub(super) fn form(url: impl Into<String>, parameters: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        Message::post(url, "application/x-www-form-urlencoded", body)
    }

    pub(super) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// As [`Message::with`], of a text that is known only now.
    pub(super) fn with_text(mut self, name: &'static str, value: &str) -> Result<Self, RefreshError> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| RefreshError::Other(format!("{value:?} cannot be sent in the header {name}")))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// A header that is not to be shown, and that follows no redirect to another host.
    pub(super) fn with_secret(mut self, name: &'static str, value: &str) -> Result<Self, RefreshError> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| RefreshError::Other(format!("what belongs in the header {name} cannot be sent in one")))?;
        value.set_sensitive(true);
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }
}

/// A token that lets one in until it expires.
#[derive(Debug, Default)]
pub(super) struct Pass(Option<(Secret, Instant)>);

/// What a token service answers.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: String,
    /// How long it is good for.
    pub(super) lifetime: Duration,
}

/// A token this close to its end is not used any more.
const MARGIN: Duration = Duration::from_secs(60);

impl Pass {
    /// The token of last time, or the one that `fetch` gets.
    pub(super) async fn token(
        &mut self,
        fetch: impl Future<Output = Result<Token, RefreshError>>,
    ) -> Result<Secret, RefreshError> {
        if let Some((token, end)) = &self.0
            && Instant::now() + MARGIN < *end
        {
            return Ok(token.clone());
        }
        let asked = Instant::now();
        let Token { text, lifetime } = fetch.await?;
        let token = Secret::new(text);
        self.0 = asked.checked_add(lifetime).map(|end| (token.clone(), end));
        Ok(token)
    }

    /// Forgets a token that was refused.
    pub(super) fn judge<T>(&mut self, outcome: Result<T, RefreshError>) -> Result<T, RefreshError> {
        if outcome.as_ref().is_err_and(|error| error.status() == Some(StatusCode::UNAUTHORIZED)) {
            self.0 = None;
        }
        outcome
    }
}
