use std::sync::Arc;

use kvass_model::{Labels, PrometheusLine};
use kvass_relabel::RelabelConfig;

use crate::Format;

/// Finest resolution of a native histogram that Prometheus stores.
pub const MAX_SCHEMA: i32 = 8;

/// How a scrape is counted: the switches of the job and of the Prometheus that will store it.
#[derive(Clone, Debug)]
pub struct CountOptions {
    /// Parser of the body, see [`Format::of_content_type`].
    pub format: Format,
    /// Whose grammar applies where 2.x and 3.x differ.
    pub line: PrometheusLine,
    /// The target's public labels (those without the `__` prefix), merged into every sample.
    pub target_labels: Labels,
    /// The job's `honor_labels`: exposed labels win over target labels.
    pub honor_labels: bool,
    /// The job's rules over samples.
    pub metric_relabel_configs: Arc<Vec<RelabelConfig>>,
    /// Whether the job accepts UTF-8 names. Prometheus 2 never does.
    pub utf8_names: bool,
    /// Labels per series after relabelling; 0 = no limit.
    pub label_limit: u64,
    /// Bytes of a label name; 0 = no limit.
    pub label_name_length_limit: u64,
    /// Bytes of a label value; 0 = no limit.
    pub label_value_length_limit: u64,
    /// Samples after relabelling above which the scrape fails; 0 = no limit.
    pub sample_limit: u64,
    /// The job's `honor_timestamps`: a repeated series with a timestamp of its own counts against the sample limit.
    pub honor_timestamps: bool,
    /// Native histograms are scraped, so they count as one series (protobuf only). Prometheus 2 fails a scrape
    /// with one where they are not switched on.
    pub native_histograms: bool,
    /// Buckets of a native histogram above which the scrape fails, unless a coarser resolution has fewer; 0 = no
    /// limit. Prometheus 2.42 has none.
    pub native_bucket_limit: u64,
    /// Finest schema in which native histograms are stored, at most 8; finer ones are made coarser.
    pub native_max_schema: i32,
    /// Classic buckets are kept beside native histograms.
    pub always_classic: bool,
    /// Classic histograms become one native series each. Prometheus 2 never does that.
    pub convert_nhcb: bool,
    /// Fill [`Counts::metrics`](crate::Counts::metrics).
    pub per_metric: bool,
}

impl Default for CountOptions {
    /// The text format of Prometheus 2, no target labels, no rules, no limits.
    fn default() -> Self {
        CountOptions {
            format: Format::Text,
            line: PrometheusLine::V2,
            target_labels: Labels::default(),
            honor_labels: false,
            metric_relabel_configs: Arc::default(),
            utf8_names: false,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            sample_limit: 0,
            honor_timestamps: true,
            native_histograms: false,
            native_bucket_limit: 0,
            native_max_schema: MAX_SCHEMA,
            always_classic: false,
            convert_nhcb: false,
            per_metric: false,
        }
    }
}
