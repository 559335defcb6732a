//! What a scrape came to, in words both sides can be put in.

use kvass_exposition::{CountError, Counts, Refusal};
use kvass_model::SeriesCount;
use kvass_scrape::ScrapeError;

/// What Prometheus stored about a scrape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Golden {
    pub(crate) up: bool,
    /// `scrape_samples_scraped` and `scrape_samples_post_metric_relabeling`.
    pub(crate) count: SeriesCount,
    /// `scrape_series_added` of the first scrape; none for bodies that may repeat series or bring old ones, as it depends on
    /// which body the storage saw first.
    pub(crate) added: Option<u64>,
    /// `lastError` of the target; empty when there is none.
    pub(crate) error: String,
}

impl Golden {
    pub(crate) fn line(&self, case: &str) -> String {
        let Golden { up, count, added, error } = self;
        let added = added.map_or_else(|| "-".to_owned(), |added| added.to_string());
        format!("{case}\t{}\t{}\t{}\t{added}\t{error}\n", if *up { "up" } else { "down" }, count.total, count.series)
    }

    /// Name of the case, and what Prometheus did.
    pub(crate) fn of_line(line: &str) -> (&str, Golden) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [case, up, total, series, added, error] = fields[..] else { panic!("{line}") };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{line}"));
        let count = SeriesCount { series: number(series), total: number(total) };
        let added = (added != "-").then(|| number(added));
        (case, Golden { up: up == "up", count, added, error: error.to_owned() })
    }
}

/// What can be compared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Up(SeriesCount),
    Down(&'static str),
    /// Down for a limit, up to which everything was counted.
    Above(&'static str, SeriesCount),
}

impl Golden {
    /// `gzip` tells whether the body was announced as such.
    pub(crate) fn verdict(&self, gzip: bool) -> Verdict {
        match (class(&self.error), self.error.as_str()) {
            _ if self.up => Verdict::Up(self.count),
            (limit @ ("sample limit" | "bucket limit"), _) => Verdict::Above(limit, self.count),
            (_, "EOF" | "unexpected EOF") if gzip => Verdict::Down("gzip"),
            (class, _) => Verdict::Down(class),
        }
    }
}

/// The kind of failure behind an error of Prometheus.
fn class(error: &str) -> &'static str {
    let classes: [(&[&str], &str); 16] = [
        (&["server returned HTTP status"], "status"),
        (&["body size limit exceeded"], "body size limit"),
        (&["gzip: "], "gzip"),
        (&["received a zstd-compressed response"], "encoding"),
        (
            &["fallback_scrape_protocol specified", "fallback_scrape_protocol for target", "OpenMetrics 2.0 Content-Type"],
            "content type",
        ),
        (&["histogram bucket limit"], "bucket limit"),
        (&["sample limit exceeded"], "sample limit"),
        (&["label_limit exceeded"], "label limit"),
        (&["label_name_length_limit exceeded"], "label name limit"),
        (&["label_value_length_limit exceeded"], "label value limit"),
        (&["is not unique"], "repeated label"),
        (&["missing metric name"], "no metric name"),
        (&["invalid metric name or label names"], "name"),
        (&["data does not end with # EOF"], "end mark"),
        (&["native histograms are disabled"], "native histograms"),
        (
            &[
                "observations found in buckets",
                "has observation count of",
                "observation count is",
                "histogram has an invalid schema",
                "custom buckets:",
                "span number",
                "spans require",
                "spans need",
                "count is not cumulative",
                "count mismatch",
                "boundary must not be NaN",
                "must be non-negative",
                "histograms must not have",
                "zero threshold",
            ],
            "histogram",
        ),
    ];
    let found = classes.iter().find(|(texts, _)| texts.iter().any(|text| error.contains(text)));
    found.map_or("syntax", |(_, class)| class)
}

impl From<Result<Counts, ScrapeError>> for Verdict {
    fn from(result: Result<Counts, ScrapeError>) -> Self {
        match result {
            Ok(counts) => Verdict::Up(counts.count),
            Err(ScrapeError::Status(_)) => Verdict::Down("status"),
            Err(ScrapeError::BodyTooLarge { .. }) => Verdict::Down("body size limit"),
            Err(ScrapeError::Gzip { .. } | ScrapeError::Truncated { .. }) => Verdict::Down("gzip"),
            Err(ScrapeError::ContentType { .. }) => Verdict::Down("content type"),
            Err(ScrapeError::Encoding { .. }) => Verdict::Down("encoding"),
            Err(ScrapeError::Format(error)) => error.into(),
            Err(other) => panic!("{other}"),
        }
    }
}

impl From<CountError> for Verdict {
    fn from(error: CountError) -> Self {
        let refusal = match error {
            CountError::SampleLimit { count, .. } => return Verdict::Above("sample limit", count),
            CountError::BucketLimit { count, .. } => return Verdict::Above("bucket limit", count),
            CountError::MissingEof { .. } => return Verdict::Down("end mark"),
            CountError::Syntax { .. } | CountError::Message { .. } => return Verdict::Down("syntax"),
            CountError::Sample { refusal, .. } | CountError::Series { refusal, .. } => refusal,
        };
        Verdict::Down(match refusal {
            Refusal::MissingName => "no metric name",
            Refusal::MetricName(_) | Refusal::LabelName(_) => "name",
            Refusal::DuplicateLabel(_) => "repeated label",
            Refusal::LabelLimit { .. } => "label limit",
            Refusal::LabelNameLength { .. } => "label name limit",
            Refusal::LabelValueLength { .. } => "label value limit",
            Refusal::Histogram(_) => "histogram",
            Refusal::NativeHistogram => "native histograms",
        })
    }
}
