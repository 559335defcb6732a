use crate::cursor::Span;

/// What one entry of a text body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// An empty line.
    Blank,
    /// A comment without meaning.
    Comment,
    /// HELP or UNIT.
    Metadata,
    /// TYPE of a metric family.
    Type {
        /// Name of the family.
        name: Span,
        /// Its type, in force until the next TYPE.
        metric_type: MetricType,
    },
    /// A sample; its parts are in [`Sample`](crate::sample::Sample).
    Sample,
    /// The end of the body; what follows does not count.
    End,
}

/// The types that matter for counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MetricType {
    /// Its `le` labels are numbers.
    Histogram,
    /// Its `quantile` labels are numbers.
    Summary,
    /// Everything else.
    #[default]
    Other,
}
