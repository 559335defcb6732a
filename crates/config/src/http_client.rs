use std::{collections::BTreeMap, fmt, path::PathBuf};

/// A secret text. Shown as `<secret>` wherever it might be printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself; for sending it, never for printing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A value given in the configuration or kept in a file that is read anew for every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// Written in the configuration.
    Inline(Secret),
    /// Absolute path; white space around the content is trimmed.
    File(PathBuf),
}

/// The HTTP client block shared by scrape jobs and discovery mechanisms. Paths are absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpClientConfig {
    /// `Authorization: Basic …`.
    pub basic_auth: Option<BasicAuth>,
    /// `Authorization: <type> <credentials>`; `bearer_token` and `bearer_token_file` end here too.
    pub authorization: Option<Authorization>,
    /// OAuth 2 client credentials.
    pub oauth2: Option<Box<OAuth2>>,
    /// TLS towards the server.
    pub tls: TlsConfig,
    /// Follow up to ten redirects.
    pub follow_redirects: bool,
    /// HTTP/2 by ALPN.
    pub enable_http2: bool,
    /// Proxy settings.
    pub proxy: ProxyConfig,
    /// Additional request headers, in name order.
    pub http_headers: Vec<(String, Vec<SecretSource>)>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        HttpClientConfig {
            basic_auth: None,
            authorization: None,
            oauth2: None,
            tls: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy: ProxyConfig::default(),
            http_headers: Vec::new(),
        }
    }
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BasicAuth {
    /// Absent means empty.
    pub username: Option<SecretSource>,
    /// Absent means empty.
    pub password: Option<SecretSource>,
}

/// A literal `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Scheme, `Bearer` by default.
    pub kind: String,
    /// Absent means no header is sent.
    pub credentials: Option<SecretSource>,
}

/// OAuth 2 client credentials flow.
#[derive(Clone, Debug, PartialEq)]
pub struct OAuth2 {
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: Option<SecretSource>,
    /// Requested scopes.
    pub scopes: Vec<String>,
    /// Token endpoint.
    pub token_url: String,
    /// Additional form parameters.
    pub endpoint_params: BTreeMap<String, String>,
    /// TLS towards the token endpoint.
    pub tls: TlsConfig,
    /// Proxy towards the token endpoint.
    pub proxy: ProxyConfig,
    /// Empty or `client_credentials`; any other value is refused when the client is built.
    pub grant_type: String,
}

/// TLS settings.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// PEM bundle that replaces the system's roots.
    pub ca: Option<SecretSource>,
    /// Client certificate, PEM.
    pub cert: Option<SecretSource>,
    /// Client key, PEM.
    pub key: Option<SecretSource>,
    /// Name checked in the certificate and sent as SNI.
    pub server_name: String,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// Lowest version, as written (`TLS10` … `TLS13`).
    pub min_version: Option<String>,
    /// Highest version, as written.
    pub max_version: Option<String>,
}

/// Proxy settings.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProxyConfig {
    /// Proxy of every request, unless `no_proxy` says otherwise. May hold credentials.
    pub url: Option<Secret>,
    /// Hosts reached without the proxy, Go's rules.
    pub no_proxy: String,
    /// Take the proxy from `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`.
    pub from_environment: bool,
    /// Headers sent with CONNECT.
    pub connect_headers: Vec<(String, Vec<Secret>)>,
}
