//! How requests to a cloud provider's own endpoints are signed. Prometheus does not resolve the paths.

use super::{Kind, Schema};

pub(super) static SIGV4: Schema = Schema::of(
    &[
        ("region", Kind::Text),
        ("access_key", Kind::Text),
        ("secret_key", Kind::Secret),
        ("profile", Kind::Text),
        ("role_arn", Kind::Text),
        ("external_id", Kind::Text),
        ("session_name", Kind::Text),
        ("tags", Kind::Free(&Kind::Text)),
        ("use_fips_sts_endpoint", Kind::Bool),
        ("service_name", Kind::Text),
    ],
    &[],
);

pub(super) static AZURE_AD: Schema = Schema::of(
    &[
        ("managed_identity", Kind::Section(&MANAGED_IDENTITY)),
        ("workload_identity", Kind::Section(&WORKLOAD_IDENTITY)),
        ("oauth", Kind::Section(&OAUTH)),
        ("sdk", Kind::Section(&SDK)),
        ("certificate", Kind::Section(&CERTIFICATE)),
        ("cloud", Kind::Text),
        ("scope", Kind::Text),
    ],
    &[],
);

static MANAGED_IDENTITY: Schema = Schema::of(&[("client_id", Kind::Text)], &[]);

static WORKLOAD_IDENTITY: Schema =
    Schema::of(&[("client_id", Kind::Text), ("tenant_id", Kind::Text), ("token_file_path", Kind::Text)], &[]);

static OAUTH: Schema = Schema::of(&[("client_id", Kind::Text), ("client_secret", Kind::Secret), ("tenant_id", Kind::Text)], &[]);

static SDK: Schema = Schema::of(&[("tenant_id", Kind::Text)], &[]);

static CERTIFICATE: Schema = Schema::of(
    &[
        ("client_id", Kind::Text),
        ("tenant_id", Kind::Text),
        ("certificate_path", Kind::Text),
        ("certificate_key_path", Kind::Text),
        ("certificate_password", Kind::Secret),
        ("send_certificate_chain", Kind::Bool),
    ],
    &[],
);

pub(super) static GOOGLE_IAM: Schema = Schema::of(&[("credentials_file", Kind::Text)], &[]);
