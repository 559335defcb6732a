//! Discovery sections of clouds that let one in by their own ways.

use super::{Kind, Schema, http};

pub(super) static GCE: Schema = Schema::of(
    &[
        ("project", Kind::Text),
        ("zone", Kind::Text),
        ("filter", Kind::Text),
        ("refresh_interval", Kind::Duration),
        ("port", Kind::Int),
        ("tag_separator", Kind::Text),
    ],
    &[],
);

pub(super) static AZURE: Schema = Schema::of(
    &[
        ("environment", Kind::Text),
        ("port", Kind::Int),
        ("subscription_id", Kind::Text),
        ("tenant_id", Kind::Text),
        ("client_id", Kind::Text),
        ("client_secret", Kind::Secret),
        ("refresh_interval", Kind::Duration),
        ("authentication_method", Kind::Text),
        ("resource_group", Kind::Text),
    ],
    &[&http::CLIENT],
);

pub(super) static OVHCLOUD: Schema = Schema::of(
    &[
        ("endpoint", Kind::Text),
        ("application_key", Kind::Text),
        ("application_secret", Kind::Secret),
        ("consumer_key", Kind::Secret),
        ("refresh_interval", Kind::Duration),
        ("service", Kind::Text),
    ],
    &[],
);

pub(super) static OPENSTACK: Schema = Schema::of(
    &[
        ("identity_endpoint", Kind::Text),
        ("username", Kind::Text),
        ("userid", Kind::Text),
        ("password", Kind::Secret),
        ("project_name", Kind::Text),
        ("project_id", Kind::Text),
        ("domain_name", Kind::Text),
        ("domain_id", Kind::Text),
        ("application_credential_name", Kind::Text),
        ("application_credential_id", Kind::Text),
        ("application_credential_secret", Kind::Secret),
        ("role", Kind::Text),
        ("region", Kind::Text),
        ("refresh_interval", Kind::Duration),
        ("port", Kind::Int),
        ("all_tenants", Kind::Bool),
        ("tls_config", Kind::Section(&http::TLS)),
        ("availability", Kind::Text),
    ],
    &[],
);
