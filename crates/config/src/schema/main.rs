use super::{
    Kind, Schema, cloud_auth, http,
    job::{INHERITED, JOB, RELABEL_CONFIGS},
    service_discovery::SERVICE_DISCOVERY,
};

/// The main file.
pub(crate) static MAIN: Kind = Kind::Section(&MAIN_FILE);

static MAIN_FILE: Schema = Schema::of(
    &[
        ("global", Kind::Section(&GLOBAL)),
        ("runtime", Kind::Section(&RUNTIME)),
        ("rule_files", Kind::List(&Kind::Pattern)),
        ("scrape_config_files", Kind::List(&Kind::Pattern)),
        ("alerting", Kind::Section(&ALERTING)),
        ("remote_write", Kind::List(&Kind::Section(&REMOTE_WRITE))),
        ("remote_read", Kind::List(&Kind::Section(&REMOTE_READ))),
        ("storage", Kind::Section(&STORAGE)),
        ("tracing", Kind::Section(&TRACING)),
        ("otlp", Kind::Section(&OTLP)),
    ],
    &[&SCRAPE_CONFIGS],
);

/// A file named by `scrape_config_files`.
pub(crate) static INCLUDED: Kind = Kind::Section(&SCRAPE_CONFIGS);

static SCRAPE_CONFIGS: Schema = Schema::of(&[("scrape_configs", Kind::List(&Kind::Section(&JOB)))], &[]);

static GLOBAL: Schema = Schema::of(
    &[
        ("evaluation_interval", Kind::Duration),
        ("rule_query_offset", Kind::Duration),
        ("external_labels", Kind::Labels),
        ("query_log_file", Kind::Path),
        ("query_max_series", Kind::Uint),
        ("query_max_samples_read", Kind::Uint),
        ("query_max_duration", Kind::Duration),
    ],
    &[&INHERITED],
);

static RUNTIME: Schema = Schema::of(&[("gogc", Kind::Int), ("log_level", Kind::Text)], &[]);

static ALERTING: Schema =
    Schema::of(&[("alert_relabel_configs", RELABEL_CONFIGS), ("alertmanagers", Kind::List(&Kind::Section(&ALERTMANAGER)))], &[]);

static ALERTMANAGER: Schema = Schema::of(
    &[
        ("sigv4", Kind::Section(&cloud_auth::SIGV4)),
        ("scheme", Kind::Text),
        ("path_prefix", Kind::Text),
        ("timeout", Kind::Duration),
        ("api_version", Kind::Text),
        ("relabel_configs", RELABEL_CONFIGS),
        ("alert_relabel_configs", RELABEL_CONFIGS),
    ],
    &[&http::CLIENT, &SERVICE_DISCOVERY],
);

static REMOTE_WRITE: Schema = Schema::of(
    &[
        ("url", Kind::Url),
        ("remote_timeout", Kind::Duration),
        ("headers", Kind::Free(&Kind::Text)),
        ("write_relabel_configs", RELABEL_CONFIGS),
        ("name", Kind::Text),
        ("send_exemplars", Kind::Bool),
        ("send_native_histograms", Kind::Bool),
        ("round_robin_dns", Kind::Bool),
        ("protobuf_message", Kind::Text),
        ("failed_request_logging", Kind::Bool),
        ("convert_nhcb_to_classic", Kind::Bool),
        ("queue_config", Kind::Section(&QUEUE)),
        ("metadata_config", Kind::Section(&METADATA)),
        ("sigv4", Kind::Section(&cloud_auth::SIGV4)),
        ("azuread", Kind::Section(&cloud_auth::AZURE_AD)),
        ("google_iam", Kind::Section(&cloud_auth::GOOGLE_IAM)),
    ],
    &[&http::CLIENT],
);

static QUEUE: Schema = Schema::of(
    &[
        ("capacity", Kind::Int),
        ("max_shards", Kind::Int),
        ("min_shards", Kind::Int),
        ("max_samples_per_send", Kind::Int),
        ("batch_send_deadline", Kind::Duration),
        ("min_backoff", Kind::Duration),
        ("max_backoff", Kind::Duration),
        ("retry_on_http_429", Kind::Bool),
        ("sample_age_limit", Kind::Duration),
    ],
    &[],
);

static METADATA: Schema =
    Schema::of(&[("send", Kind::Bool), ("send_interval", Kind::Duration), ("max_samples_per_send", Kind::Int)], &[]);

static REMOTE_READ: Schema = Schema::of(
    &[
        ("url", Kind::Url),
        ("remote_timeout", Kind::Duration),
        ("chunked_read_limit", Kind::Uint),
        ("headers", Kind::Free(&Kind::Text)),
        ("read_recent", Kind::Bool),
        ("name", Kind::Text),
        ("required_matchers", Kind::Labels),
        ("filter_external_labels", Kind::Bool),
    ],
    &[&http::CLIENT],
);

static STORAGE: Schema = Schema::of(&[("tsdb", Kind::Section(&TSDB)), ("exemplars", Kind::Section(&EXEMPLARS))], &[]);
static EXEMPLARS: Schema = Schema::of(&[("max_exemplars", Kind::Int)], &[]);
static TSDB: Schema = Schema::of(
    &[
        ("out_of_order_time_window", Kind::Duration),
        ("retention", Kind::Section(&RETENTION)),
        ("stale_series_compaction_threshold", Kind::Float),
        ("chunk_encoding", Kind::Section(&CHUNK_ENCODING)),
    ],
    &[],
);
static RETENTION: Schema = Schema::of(&[("time", Kind::Duration), ("size", Kind::Size), ("percentage", Kind::Float)], &[]);
static CHUNK_ENCODING: Schema = Schema::of(&[("floats", Kind::Choice(&["", "xor", "xor2"]))], &[]);

static TRACING: Schema = Schema::of(
    &[
        ("client_type", Kind::Choice(&["grpc", "http"])),
        ("endpoint", Kind::Text),
        ("sampling_fraction", Kind::Float),
        ("insecure", Kind::Bool),
        ("tls_config", Kind::Section(&http::TLS)),
        ("headers", Kind::Free(&Kind::Text)),
        ("compression", Kind::Choice(&["", "gzip"])),
        ("timeout", Kind::Duration),
    ],
    &[],
);

static OTLP: Schema = Schema::of(
    &[
        ("promote_all_resource_attributes", Kind::Bool),
        ("promote_resource_attributes", Kind::List(&Kind::Text)),
        ("ignore_resource_attributes", Kind::List(&Kind::Text)),
        (
            "translation_strategy",
            Kind::Choice(&[
                "",
                "UnderscoreEscapingWithSuffixes",
                "UnderscoreEscapingWithoutSuffixes",
                "NoUTF8EscapingWithSuffixes",
                "NoTranslation",
            ]),
        ),
        ("keep_identifying_resource_attributes", Kind::Bool),
        ("convert_histograms_to_nhcb", Kind::Bool),
        ("promote_scope_metadata", Kind::Bool),
        ("label_name_underscore_sanitization", Kind::Bool),
        ("label_name_preserve_multiple_underscores", Kind::Bool),
    ],
    &[],
);
