use std::{fmt, time::Duration};

use http::StatusCode;
use kvass_exposition::CountError;

/// Settings no client can be built from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A proxy setting.
    #[error("{field}: {problem}")]
    Proxy {
        /// Key in the configuration, or name of the environment variable.
        field: &'static str,
        /// What is wrong with it; never repeats the value, which may hold a password.
        problem: String,
    },
    /// TLS settings or material.
    #[error("tls_config: {0}")]
    Tls(String),
    /// A header name or value that cannot be sent.
    #[error("{field}: {name:?} has a name or value that cannot be sent as an HTTP header")]
    Header {
        /// Key in the configuration.
        field: &'static str,
        /// Name of the header.
        name: String,
    },
    /// OAuth 2 settings.
    #[error("oauth2.{field}: {problem}")]
    OAuth2 {
        /// Key in the configuration.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// What a request was waiting for when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The OAuth 2 token endpoint.
    Token,
    /// A connection: name resolution, TCP, proxy, TLS.
    Connect,
    /// Status line and headers.
    Headers,
    /// The rest of the body.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Token => "fetching an OAuth 2 token",
            Phase::Connect => "connecting",
            Phase::Headers => "waiting for the response headers",
            Phase::Body => "reading the body",
        })
    }
}

/// Why a target could not be scraped. The texts are for operators and reach `lastError` of the targets
/// API; they hold no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeError {
    /// The URL itself is unusable.
    #[error("{url:?} cannot be requested: {problem}")]
    Url {
        /// The URL, credentials masked.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The host name has no address.
    #[error("cannot resolve {host:?}: {problem}")]
    Resolve {
        /// Name asked for.
        host: String,
        /// The resolver's answer.
        problem: String,
    },
    /// No TCP connection: refused, unreachable, reset.
    #[error("cannot connect to {address}: {problem}")]
    Connect {
        /// Host and port.
        address: String,
        /// The operating system's answer.
        problem: String,
    },
    /// TLS failed, on our side (a certificate that is not trusted) or on the server's (a client
    /// certificate that is missing), or its files could not be used.
    #[error("TLS with {host}: {problem}")]
    Tls {
        /// Host of the URL or of the proxy.
        host: String,
        /// What failed.
        problem: String,
    },
    /// The proxy refused or answered nonsense.
    #[error("proxy {proxy}: {problem}")]
    Proxy {
        /// Host and port of the proxy.
        proxy: String,
        /// What it did.
        problem: String,
    },
    /// The deadline passed.
    #[error("timed out after {after:?} while {phase}")]
    Timeout {
        /// What was going on.
        phase: Phase,
        /// Time spent since the start of the request.
        after: Duration,
    },
    /// The answer is not HTTP, or the connection broke before there was one.
    #[error("no valid HTTP response: {problem}")]
    Http {
        /// What was seen.
        problem: String,
    },
    /// Any status but 200. The text is Prometheus' own.
    #[error("server returned HTTP status {0}")]
    Status(StatusCode),
    /// Too many redirects, or one that leads nowhere.
    #[error("redirect: {problem}")]
    Redirect {
        /// What is wrong with it.
        problem: String,
    },
    /// The body, once decoded, is as large as the limit or larger (Prometheus' reading of
    /// `body_size_limit`: a limit of 11 bytes is needed for a body of 10).
    #[error("body size limit of {limit} bytes exceeded")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// A body announced as gzip is not.
    #[error("gzip: {problem}")]
    Gzip {
        /// What the decoder found.
        problem: String,
    },
    /// A body in an encoding that is asked for by nobody and that Prometheus 3 refuses.
    #[error("the body is encoded with {encoding}: expected gzip or no encoding")]
    Encoding {
        /// The value of `Content-Encoding`.
        encoding: &'static str,
    },
    /// The body ended before its announced end.
    #[error("body is incomplete: {problem}")]
    Truncated {
        /// How the end was noticed.
        problem: String,
    },
    /// Prometheus 3 refuses a body whose content type it does not know, unless the job names a fallback.
    #[error("content type {content_type:?} is not an exposition format, and the job has no fallback_scrape_protocol")]
    ContentType {
        /// As received; empty when there was none.
        content_type: String,
    },
    /// A body Prometheus rejects.
    #[error(transparent)]
    Format(#[from] CountError),
    /// A secret could not be read or cannot be sent.
    #[error("{field}: {problem}")]
    Credentials {
        /// Key in the configuration.
        field: &'static str,
        /// What is wrong; names the file, never the content.
        problem: String,
    },
    /// The OAuth 2 token endpoint gave no token.
    #[error("oauth2: no token: {problem}")]
    Token {
        /// What it answered.
        problem: String,
    },
}

impl ScrapeError {
    /// A short stable word for the cause, for metric labels.
    pub fn kind(&self) -> &'static str {
        match self {
            ScrapeError::Url { .. } => "url",
            ScrapeError::Resolve { .. } => "resolve",
            ScrapeError::Connect { .. } => "connect",
            ScrapeError::Tls { .. } => "tls",
            ScrapeError::Proxy { .. } => "proxy",
            ScrapeError::Timeout { .. } => "timeout",
            ScrapeError::Http { .. } => "http",
            ScrapeError::Status(_) => "status",
            ScrapeError::Redirect { .. } => "redirect",
            ScrapeError::BodyTooLarge { .. } => "body_too_large",
            ScrapeError::Gzip { .. } => "gzip",
            ScrapeError::Encoding { .. } => "encoding",
            ScrapeError::Truncated { .. } => "truncated",
            ScrapeError::ContentType { .. } => "content_type",
            ScrapeError::Format(_) => "format",
            ScrapeError::Credentials { .. } => "credentials",
            ScrapeError::Token { .. } => "token",
        }
    }
}
