use super::{Kind, Schema, http, service_discovery::SERVICE_DISCOVERY};

pub(super) const PROTOCOLS: Kind = Kind::List(&PROTOCOL);
/// The empty word is "unset" where there is one; in a list it is refused by its own rule.
const PROTOCOL: Kind = Kind::Choice(&[
    "",
    "PrometheusProto",
    "PrometheusText0.0.4",
    "PrometheusText1.0.0",
    "OpenMetricsText0.0.1",
    "OpenMetricsText1.0.0",
    "OpenMetricsText2.0.0",
]);
pub(super) const VALIDATION_SCHEME: Kind = Kind::Choice(&["", "utf8", "legacy"]);
pub(super) const ESCAPING_SCHEME: Kind = Kind::Choice(&["", "allow-utf-8", "underscores", "dots", "values"]);

/// Limits and options that a job inherits from `global`.
pub(super) static INHERITED: Schema = Schema::of(
    &[
        ("scrape_interval", Kind::Duration),
        ("scrape_timeout", Kind::Duration),
        ("scrape_protocols", PROTOCOLS),
        ("scrape_failure_log_file", Kind::Path),
        ("body_size_limit", Kind::Size),
        ("sample_limit", Kind::Uint),
        ("target_limit", Kind::Uint),
        ("label_limit", Kind::Uint),
        ("label_name_length_limit", Kind::Uint),
        ("label_value_length_limit", Kind::Uint),
        ("keep_dropped_targets", Kind::Uint),
        ("metric_name_validation_scheme", VALIDATION_SCHEME),
        ("metric_name_escaping_scheme", ESCAPING_SCHEME),
        ("scrape_native_histograms", Kind::Bool),
        ("convert_classic_histograms_to_nhcb", Kind::Bool),
        ("always_scrape_classic_histograms", Kind::Bool),
        ("extra_scrape_metrics", Kind::Bool),
    ],
    &[],
);

/// One of `scrape_configs`.
pub(super) static JOB: Schema = Schema::of(
    &[
        ("job_name", Kind::Text),
        ("honor_labels", Kind::Bool),
        ("honor_timestamps", Kind::Bool),
        ("track_timestamps_staleness", Kind::Bool),
        ("params", Kind::Free(&Kind::List(&Kind::Text))),
        ("fallback_scrape_protocol", PROTOCOL),
        // The name of `always_scrape_classic_histograms` before 3.0.
        ("scrape_classic_histograms", Kind::Bool),
        ("metrics_path", Kind::Text),
        ("scheme", Kind::Text),
        ("enable_compression", Kind::Bool),
        ("native_histogram_bucket_limit", Kind::Uint),
        ("native_histogram_min_bucket_factor", Kind::Float),
        ("relabel_configs", RELABEL_CONFIGS),
        ("metric_relabel_configs", RELABEL_CONFIGS),
    ],
    &[&INHERITED, &http::CLIENT, &SERVICE_DISCOVERY],
);

pub(super) const RELABEL_CONFIGS: Kind = Kind::List(&Kind::Section(&RELABEL));

static RELABEL: Schema = Schema::of(
    &[
        ("source_labels", Kind::List(&Kind::LabelName)),
        ("separator", Kind::Text),
        ("regex", Kind::Text),
        ("modulus", Kind::Uint),
        ("target_label", Kind::Text),
        ("replacement", Kind::Text),
        ("action", Kind::Text),
    ],
    &[],
);
