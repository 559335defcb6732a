//! Discovery sections of mechanisms that kvass has no code for: shards never run them, but what Prometheus would refuse
//! is refused, and their secrets and paths are known.

use super::{Kind, Schema, http};

pub(super) static KUMA: Schema = Schema::of(
    &[("server", Kind::Text), ("client_id", Kind::Text), ("refresh_interval", Kind::Duration), ("fetch_timeout", Kind::Duration)],
    &[&http::CLIENT],
);

/// Serversets and Nerve.
pub(super) static ZOOKEEPER: Schema =
    Schema::of(&[("servers", Kind::List(&Kind::Text)), ("paths", Kind::List(&Kind::Text)), ("timeout", Kind::Duration)], &[]);

pub(super) static OCI: Schema = Schema::of(
    &[
        ("auth", Kind::Text),
        ("tenancy", Kind::Text),
        ("user", Kind::Text),
        ("fingerprint", Kind::Text),
        ("key_file", Kind::Path),
        ("key_passphrase", Kind::Secret),
        ("key_passphrase_file", Kind::Path),
        ("region", Kind::Text),
        ("compartments", Kind::List(&Kind::Text)),
        ("port", Kind::Int),
        ("refresh_interval", Kind::Duration),
    ],
    &[&http::CLIENT],
);

pub(super) static OUTSCALE: Schema = Schema::of(
    &[
        ("endpoint", Kind::Text),
        ("region", Kind::Text),
        ("access_key", Kind::Text),
        ("secret_key", Kind::Secret),
        ("secret_key_file", Kind::Path),
        ("port", Kind::Int),
        ("refresh_interval", Kind::Duration),
    ],
    &[&http::CLIENT],
);

/// Prometheus leaves the paths relative to its working directory.
pub(super) static STACKIT: Schema = Schema::of(
    &[
        ("project", Kind::Text),
        ("region", Kind::Text),
        ("endpoint", Kind::Text),
        ("service_account_key", Kind::Secret),
        ("private_key", Kind::Secret),
        ("service_account_key_path", Kind::Text),
        ("private_key_path", Kind::Text),
        ("credentials_file_path", Kind::Text),
        ("port", Kind::Int),
        ("refresh_interval", Kind::Duration),
    ],
    &[&http::CLIENT],
);

pub(super) static TRITON: Schema = Schema::of(
    &[
        ("account", Kind::Text),
        ("role", Kind::Text),
        ("dns_suffix", Kind::Text),
        ("endpoint", Kind::Text),
        ("groups", Kind::List(&Kind::Text)),
        ("port", Kind::Int),
        ("refresh_interval", Kind::Duration),
        ("tls_config", Kind::Section(&http::TLS)),
        ("version", Kind::Int),
    ],
    &[],
);

pub(super) static UYUNI: Schema = Schema::of(
    &[
        ("server", Kind::Text),
        ("username", Kind::Text),
        ("password", Kind::Secret),
        ("entitlement", Kind::Text),
        ("separator", Kind::Text),
        ("refresh_interval", Kind::Duration),
    ],
    &[&http::CLIENT],
);
