use super::{Kind, Schema};

/// The HTTP client block, inlined into scrape jobs, most discovery sections, Alertmanagers and remote endpoints.
pub(super) static CLIENT: Schema = Schema::of(
    &[
        ("basic_auth", Kind::Section(&BASIC_AUTH)),
        ("authorization", Kind::Section(&AUTHORIZATION)),
        ("oauth2", Kind::Section(&OAUTH2)),
        ("bearer_token", Kind::Secret),
        ("bearer_token_file", Kind::Path),
        ("tls_config", Kind::Section(&TLS)),
        ("follow_redirects", Kind::Bool),
        ("enable_http2", Kind::Bool),
        ("http_headers", Kind::Free(&Kind::Section(&HEADER))),
    ],
    &[&PROXY],
);

static PROXY: Schema = Schema::of(
    &[
        ("proxy_url", Kind::Url),
        ("no_proxy", Kind::Text),
        ("proxy_from_environment", Kind::Bool),
        ("proxy_connect_header", Kind::Free(&Kind::List(&Kind::Secret))),
    ],
    &[],
);

static BASIC_AUTH: Schema = Schema::of(
    &[
        ("username", Kind::Text),
        ("username_file", Kind::Path),
        ("username_ref", Kind::Text),
        ("password", Kind::Secret),
        ("password_file", Kind::Path),
        ("password_ref", Kind::Text),
    ],
    &[],
);

static AUTHORIZATION: Schema = Schema::of(
    &[("type", Kind::Text), ("credentials", Kind::Secret), ("credentials_file", Kind::Path), ("credentials_ref", Kind::Text)],
    &[],
);

static OAUTH2: Schema = Schema::of(
    &[
        ("client_id", Kind::Text),
        ("client_secret", Kind::Secret),
        ("client_secret_file", Kind::Path),
        ("client_secret_ref", Kind::Text),
        ("client_certificate_key_id", Kind::Text),
        ("client_certificate_key", Kind::Secret),
        // Prometheus leaves this one relative to its working directory.
        ("client_certificate_key_file", Kind::Text),
        ("client_certificate_key_ref", Kind::Text),
        ("grant_type", Kind::Text),
        ("signature_algorithm", Kind::Text),
        ("iss", Kind::Text),
        ("audience", Kind::Text),
        ("claims", Kind::Free(&Kind::Any)),
        ("scopes", Kind::List(&Kind::Text)),
        ("token_url", Kind::Text),
        ("endpoint_params", Kind::Free(&Kind::Text)),
        ("tls_config", Kind::Section(&TLS)),
    ],
    &[&PROXY],
);

pub(super) static TLS: Schema = Schema::of(
    &[
        ("ca", Kind::Text),
        ("ca_file", Kind::Path),
        ("ca_ref", Kind::Text),
        ("cert", Kind::Text),
        ("cert_file", Kind::Path),
        ("cert_ref", Kind::Text),
        ("key", Kind::Secret),
        ("key_file", Kind::Path),
        ("key_ref", Kind::Text),
        ("server_name", Kind::Text),
        ("insecure_skip_verify", Kind::Bool),
        ("min_version", TLS_VERSION),
        ("max_version", TLS_VERSION),
    ],
    &[],
);

const TLS_VERSION: Kind = Kind::Choice(&["TLS10", "TLS11", "TLS12", "TLS13"]);

static HEADER: Schema = Schema::of(
    &[("values", Kind::List(&Kind::Text)), ("secrets", Kind::List(&Kind::Secret)), ("files", Kind::List(&Kind::Path))],
    &[],
);
