use kvass_model::SeriesCount;

/// Longest part of a bad line that an error repeats, in bytes.
const EXCERPT_LEN: usize = 80;

/// Why Prometheus rejects a body. It stores nothing of such a scrape and marks the target down, so a
/// partial count has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CountError {
    /// A line that does not follow the grammar of its format.
    #[error("line {line}: {excerpt:?}: expected {expected}")]
    Syntax {
        /// First line of the entry, from 1.
        line: u64,
        /// Beginning of the entry.
        excerpt: String,
        /// What the grammar wants instead.
        expected: &'static str,
    },
    /// A sample that can be read but not stored.
    #[error("line {line}: {excerpt:?}: {refusal}")]
    Sample {
        /// First line of the sample, from 1.
        line: u64,
        /// Beginning of the sample.
        excerpt: String,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// An OpenMetrics body without its end mark.
    #[error("line {line}: end of body: expected \"# EOF\" as last line")]
    MissingEof {
        /// The line on which the mark was expected, from 1.
        line: u64,
    },
    /// A protobuf message that cannot be decoded.
    #[error("byte {offset}: metric family {family:?}: expected {expected}")]
    Message {
        /// Where the message of the family begins in the body.
        offset: u64,
        /// Name of the metric family, empty when it is not known.
        family: String,
        /// What the encoding wants instead.
        expected: &'static str,
    },
    /// A protobuf series that can be read but not stored.
    #[error("byte {offset}: metric family {family:?}: {refusal}")]
    Series {
        /// Where the message of the family begins in the body.
        offset: u64,
        /// Name of the metric family.
        family: String,
        /// What is wrong with its series.
        refusal: Refusal,
    },
    /// More series than the job's `sample_limit`.
    #[error("{} series after metric relabelling: expected at most {limit} (sample_limit)", count.series)]
    SampleLimit {
        /// The job's limit.
        limit: u64,
        /// The complete count: Prometheus reads on after the limit, and so does kvass.
        count: SeriesCount,
    },
    /// A native histogram with more buckets than the job's `native_histogram_bucket_limit`.
    #[error("a native histogram of too many buckets: expected at most {limit} (native_histogram_bucket_limit)")]
    BucketLimit {
        /// The job's limit.
        limit: u64,
        /// The complete count, as for [`CountError::SampleLimit`].
        count: SeriesCount,
    },
}

/// Why a series that was read correctly makes the scrape fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No metric name, in the body or after metric relabelling.
    #[error("no metric name: expected a label __name__ after metric relabelling")]
    MissingName,
    /// A metric name outside the job's validation scheme.
    #[error("metric name {0:?}: expected a name that is legal in this job")]
    MetricName(String),
    /// A label name outside the job's validation scheme.
    #[error("label name {0:?}: expected a name that is legal in this job")]
    LabelName(String),
    /// The same label twice.
    #[error("label name {0:?} is repeated: expected every label once")]
    DuplicateLabel(String),
    /// A native histogram that contradicts itself.
    #[error("native histogram: expected {0}")]
    Histogram(&'static str),
    /// A native histogram for a Prometheus 2 that was not told to store them.
    #[error("native histogram: expected none, as this Prometheus does not ask for them (feature native-histograms)")]
    NativeHistogram,
    /// More labels than `label_limit`.
    #[error("{labels} labels: expected at most {limit} (label_limit)")]
    LabelLimit {
        /// Labels of the series, target labels and `__name__` included.
        labels: u64,
        /// The job's limit.
        limit: u64,
    },
    /// A name longer than `label_name_length_limit`.
    #[error("label name {label:?} of {length} bytes: expected at most {limit} (label_name_length_limit)")]
    LabelNameLength {
        /// The label, shortened.
        label: String,
        /// Length of its name in bytes.
        length: u64,
        /// The job's limit.
        limit: u64,
    },
    /// A value longer than `label_value_length_limit`.
    #[error("value of label {label:?} of {length} bytes: expected at most {limit} (label_value_length_limit)")]
    LabelValueLength {
        /// The label, shortened.
        label: String,
        /// Length of its value in bytes.
        length: u64,
        /// The job's limit.
        limit: u64,
    },
}

/// The beginning of `entry`, at most one line and 80 bytes of it.
pub(crate) fn excerpt(entry: &[u8]) -> String {
    let line = entry.split(|b| *b == b'\n').next().unwrap_or_default();
    match line.get(..EXCERPT_LEN) {
        Some(head) => format!("{}…", String::from_utf8_lossy(head)),
        None => String::from_utf8_lossy(line).into_owned(),
    }
}
