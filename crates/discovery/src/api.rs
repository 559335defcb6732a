//! Requests to the service that a discovery section names.

use std::{path::PathBuf, time::Duration};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use bytes::Bytes;
use kvass_config::{HttpClientConfig, SecretSource};
use kvass_scrape::{ClientOptions, HttpClient, Response};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::{manager::DiscoveryOptions, refresh::RefreshError, unix_socket};

/// No service is asked for more pages than this: one that never names its last page would keep us busy for ever.
pub(crate) const MOST_PAGES: usize = 10_000;

/// One service: where it is, how it is reached, how long it may take.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    way: Way,
    timeout: Duration,
    headers: HeaderMap,
    token: Option<(HeaderName, &'static str, SecretSource)>,
}

#[derive(Clone, Debug)]
enum Way {
    /// In front of every path: scheme, host and perhaps a path.
    Http {
        client: HttpClient,
        base: String,
    },
    Socket(PathBuf),
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Api {
    /// `timeout` bounds each request.
    pub(crate) fn new(
        base: impl Into<String>,
        http: &HttpClientConfig,
        timeout: Duration,
        options: &DiscoveryOptions,
    ) -> Result<Self, RefreshError> {
        let mut base = base.into();
        base.truncate(base.trim_end_matches('/').len());
        Ok(Self::by(Way::Http { client: client(http, options)?, base }, timeout))
    }

    /// A service behind a Unix socket.
    pub(crate) fn at_socket(path: impl Into<PathBuf>, timeout: Duration) -> Self {
        Self::by(Way::Socket(path.into()), timeout)
    }

    fn by(way: Way, timeout: Duration) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(kvass_scrape::USER_AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        Api { way, timeout, headers, token: None }
    }

    /// Sends `header: <prefix><secret>` with every request; a file is read anew for each.
    pub(crate) fn with_token(mut self, header: HeaderName, prefix: &'static str, secret: SecretSource) -> Self {
        self.token = Some((header, prefix, secret));
        self
    }

    /// Sends a header with every request, unless the value cannot be sent in one.
    pub(crate) fn with_header(mut self, name: HeaderName, value: &str) -> Result<Self, RefreshError> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| RefreshError::Other(format!("{value:?} cannot be sent in the header {name}")))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// GET of a JSON document; any status but 2xx is an error. `path` begins with a slash and may hold a query.
    pub(crate) async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, RefreshError> {
        let reply = self.get(path).await?;
        reply.json().map_err(|error| wrap("GET", path, error))
    }

    /// As [`Api::json`], of an object.
    pub(crate) async fn object<T: DeserializeOwned>(&self, path: &str) -> Result<T, RefreshError> {
        let reply = self.get(path).await?;
        reply.object().map_err(|error| wrap("GET", path, error))
    }

    /// GET; any status but 2xx is an error.
    pub(crate) async fn get(&self, path: &str) -> Result<Reply, RefreshError> {
        let reply = self.exchange("GET", path, None).await.and_then(Reply::success);
        reply.map_err(|error| wrap("GET", path, error))
    }

    /// GET, whatever the status.
    pub(crate) async fn any(&self, path: &str) -> Result<Reply, RefreshError> {
        self.exchange("GET", path, None).await.map_err(|error| wrap("GET", path, error))
    }

    /// POST of a JSON document; any status but 2xx is an error.
    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Reply, RefreshError> {
        let body = serde_json::to_vec(body).map_err(|error| RefreshError::Other(error.to_string()))?;
        let reply = self.exchange("POST", path, Some(body.into())).await.and_then(Reply::success);
        reply.map_err(|error| wrap("POST", path, error))
    }

    /// POST without a body, whatever the status.
    pub(crate) async fn post_any(&self, path: &str) -> Result<Reply, RefreshError> {
        self.exchange("POST", path, Some(Bytes::new())).await.map_err(|error| wrap("POST", path, error))
    }

    async fn exchange(&self, method: &str, path: &str, body: Option<Bytes>) -> Result<Reply, RefreshError> {
        let deadline = Instant::now() + self.timeout;
        let mut headers = self.headers.clone();
        if let Some((name, prefix, secret)) = &self.token {
            headers.insert(name.clone(), token_value(prefix, secret).await?);
        }
        let (client, base) = match &self.way {
            Way::Http { client, base } => (client, base),
            Way::Socket(socket) => return unix_socket::get(socket, path, headers, deadline).await,
        };
        let url = format!("{base}{path}");
        let response = match (method, body) {
            ("POST", Some(body)) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                client.post(&url, headers, body, deadline).await?
            }
            _ => client.get(&url, headers, deadline).await?,
        };
        Reply::read(response).await
    }
}

impl Reply {
    /// Reads the body to its end.
    pub(crate) async fn read(mut response: Response) -> Result<Self, RefreshError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, headers, body })
    }

    /// Refuses any status but 2xx.
    pub(crate) fn success(self) -> Result<Self, RefreshError> {
        match self.status.is_success() {
            true => Ok(self),
            false => Err(RefreshError::Status { status: self.status, expected: "2xx" }),
        }
    }

    /// The body as JSON, whatever its content type. A member that is null counts as absent, as in Go, in which most of
    /// these services are written.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, RefreshError> {
        let value = serde_json::from_slice(&self.body).map(without_nulls);
        value
            .and_then(serde_json::from_value)
            .map_err(|error| RefreshError::Body(format!("body is not the JSON expected here: {error}")))
    }

    /// As [`Reply::json`], of an object. Anything else could pass for one that lacks all members, an empty list above all.
    pub(crate) fn object<T: DeserializeOwned>(&self) -> Result<T, RefreshError> {
        match self.body.trim_ascii_start().first() {
            Some(b'{') => self.json(),
            _ => Err(RefreshError::Body("body is not the JSON expected here: it is no object".to_owned())),
        }
    }

    /// The header's value, empty if there is none or it is no text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Refuses a content type that is not JSON in UTF-8, as Prometheus does for some mechanisms.
    pub(crate) fn require_json(&self) -> Result<(), RefreshError> {
        let content_type = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        match is_json(content_type) {
            true => Ok(()),
            false => Err(RefreshError::ContentType(String::from_utf8_lossy(content_type).into_owned())),
        }
    }
}

/// Tells which request an error belongs to. The query is left out: it is long, and filters may be private.
pub(crate) fn wrap(method: &str, path: &str, error: RefreshError) -> RefreshError {
    let path = path.split('?').next().unwrap_or_default();
    RefreshError::Request { request: format!("{method} {path}"), error: Box::new(error) }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(members.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        value => value,
    }
}

/// A client with the settings of a section.
pub(crate) fn client(http: &HttpClientConfig, options: &DiscoveryOptions) -> Result<HttpClient, RefreshError> {
    // Prometheus reads without a limit; the default one protects the process.
    let options = ClientOptions { keep_alive: options.keep_alive, http2: options.http2, ..ClientOptions::default() };
    Ok(HttpClient::new(http, &options)?)
}

async fn token_value(prefix: &str, secret: &SecretSource) -> Result<HeaderValue, RefreshError> {
    let text = match secret {
        SecretSource::Inline(secret) => secret.reveal().to_owned(),
        SecretSource::File(path) => match tokio::fs::read_to_string(path).await {
            Ok(text) => text.trim().to_owned(),
            Err(error) => return Err(RefreshError::Other(format!("token file {}: {error}", path.display()))),
        },
    };
    let mut value = HeaderValue::try_from(format!("{prefix}{text}"))
        .map_err(|_| RefreshError::Other("the token holds characters that cannot be sent in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether the content type is JSON in UTF-8 and says nothing else.
fn is_json(content_type: &[u8]) -> bool {
    let lower = content_type.to_ascii_lowercase();
    let Some(parameters) = lower.strip_prefix(b"application/json") else { return false };
    match parameters.split_first() {
        None => true,
        Some((b';', rest)) => {
            let start = rest.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(rest.len());
            matches!(&rest[start..], b"charset=utf-8" | b"charset=\"utf-8\"")
        }
        Some(_) => false,
    }
}

/// The URL without the password it may hold.
pub(crate) fn masked(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) if url.password().is_some() => {
            // Fails only for URLs that cannot hold a password.
            let _ = url.set_password(Some("xxxxx"));
            url.into()
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for (content_type, ok) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/json; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\"", true),
            ("application/json ; charset=utf-8", false),
            ("application/json; charset=latin1", false),
            ("application/json; charset=utf-8; q=1", false),
            ("application/json;", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json(content_type.as_bytes()), ok, "{content_type:?}");
        }
    }

    #[test]
    fn masking() {
        assert_eq!(masked("http://u:secret@h/p"), "http://u:xxxxx@h/p");
        assert_eq!(masked("http://h/p"), "http://h/p");
    }

    #[test]
    fn nulls_and_objects() {
        #[derive(Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(default)]
        struct Thing {
            name: String,
            parts: Vec<Thing>,
        }
        let reply = |body: &str| Reply { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into() };
        let thing: Thing = reply(r#" {"name": null, "parts": [{"name": "a", "parts": null, "more": [null]}]}"#).object().unwrap();
        assert_eq!((thing.name.as_str(), thing.parts.len(), thing.parts[0].name.as_str()), ("", 1, "a"));
        for bad in ["[]", "null", "", "1", "{", r#"{"name": 1}"#] {
            let error = reply(bad).object::<Thing>().unwrap_err().to_string();
            assert!(error.starts_with("body is not the JSON expected here: "), "{bad}: {error}");
        }
    }

    #[tokio::test]
    async fn tokens_are_read_and_never_shown() {
        let inline = |text: &str| SecretSource::Inline(kvass_config::Secret::new(text));
        let value = token_value("token=", &inline("t")).await.unwrap();
        assert_eq!((value.to_str().unwrap(), value.is_sensitive()), ("token=t", true));
        let error = token_value("", &inline("line\nbreak")).await.unwrap_err().to_string();
        assert!(!error.contains("line"), "{error}");
        let error = token_value("", &SecretSource::File("/nonexistent/token".into())).await.unwrap_err().to_string();
        assert!(error.starts_with("token file /nonexistent/token: "), "{error}");
    }
}
