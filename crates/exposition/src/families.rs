use std::borrow::Cow;

use kvass_model::{PrometheusLine, SeriesCount, is_legacy_label_name, is_legacy_metric_name};

use crate::{
    CountError, Counts, Refusal,
    histogram::{Histogram, check_exemplar, check_timestamp, read_summary},
    judge::Judge,
    limits::Limits,
    number::format_float,
    sample_labels::{BUCKET_LABEL, METRIC_NAME, QUANTILE_LABEL, SampleLabels},
    tally::Tally,
    wire::{Malformed, for_each_field, length_prefix},
};

/// Longest message of one metric family in bytes. Prometheus has no such limit, but a counter that holds
/// one message at a time needs one to keep its memory flat.
const MAX_FAMILY: u64 = 64 << 20;

/// Counts a body of length-delimited metric families.
pub(crate) struct Families {
    judge: Judge,
    limits: Limits,
    tally: Tally,
    labels: SampleLabels,
    /// Bytes of complete messages so far.
    offset: u64,
}

/// `io.prometheus.client.MetricFamily` without its metrics.
#[derive(Default)]
struct Family<'a> {
    name: &'a [u8],
    help: &'a [u8],
    kind: i32,
}

/// `io.prometheus.client.Metric`; which of the values counts is up to the type of the family.
#[derive(Default)]
struct Metric<'a> {
    labels: Vec<(&'a str, &'a str)>,
    quantiles: Vec<f64>,
    histogram: Histogram,
    /// It has a timestamp of its own; zero is none.
    timestamped: bool,
    /// Its series are stored whatever their labels are, so they need not be assembled.
    plain: bool,
}

const SUMMARY: i32 = 2;
const HISTOGRAM: i32 = 4;
const GAUGE_HISTOGRAM: i32 = 5;

enum Problem {
    Malformed(&'static str),
    Refused(Refusal),
}

impl From<Malformed> for Problem {
    fn from(Malformed(expected): Malformed) -> Self {
        Problem::Malformed(expected)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Problem::Refused(refusal)
    }
}

impl Families {
    pub(crate) fn new(judge: Judge) -> Self {
        let tally = Tally::new(judge.options().per_metric);
        let limits = Limits::new(judge.options());
        Families { judge, limits, tally, labels: SampleLabels::default(), offset: 0 }
    }

    /// How many bytes `carry` lacks to hold a complete message, as far as can be told.
    pub(crate) fn missing(carry: &[u8]) -> usize {
        match length_prefix(carry) {
            Ok(Some((length, prefix))) => {
                usize::try_from(length).unwrap_or(usize::MAX).saturating_add(prefix).saturating_sub(carry.len())
            }
            Ok(None) | Err(_) => 1,
        }
    }

    /// Counts the complete messages of `bytes` and says how many bytes they took.
    pub(crate) fn consume(&mut self, bytes: &[u8]) -> Result<usize, CountError> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let prefix = length_prefix(rest).map_err(|Malformed(expected)| self.error(&[], expected))?;
            let Some((length, prefix)) = prefix else { break };
            if length > MAX_FAMILY {
                return Err(self.error(&[], "a message of at most 64 MiB"));
            }
            let end = prefix + length as usize;
            let Some(message) = rest.get(prefix..end) else { break };
            self.count_family(message)?;
            used += end;
            self.offset += end as u64;
        }
        Ok(used)
    }

    /// The counts, if nothing of a message is left.
    pub(crate) fn finish(self, rest: &[u8]) -> Result<Counts, CountError> {
        if !rest.is_empty() {
            return Err(self.error(&[], "a message that is not cut off"));
        }
        let counts = self.tally.finish();
        self.limits.check(counts.count)?;
        Ok(counts)
    }

    fn count_family(&mut self, message: &[u8]) -> Result<(), CountError> {
        let mut family = Family::default();
        let counted = family.read(message).map_err(Problem::from).and_then(|metrics| {
            if metrics.is_empty() {
                return Ok(());
            }
            let name = self.check_family(&family)?;
            let mut first_is_native = None;
            metrics.into_iter().try_for_each(|metric| self.count_metric(name, family.kind, metric, &mut first_is_native))
        });
        counted.map_err(|problem| match problem {
            Problem::Malformed(expected) => self.error(family.name, expected),
            Problem::Refused(refusal) => {
                CountError::Series { offset: self.offset, family: crate::error::excerpt(family.name), refusal }
            }
        })
    }

    /// What Prometheus checks of a family that has metrics.
    fn check_family<'a>(&self, family: &Family<'a>) -> Result<&'a str, Problem> {
        let name = std::str::from_utf8(family.name).map_err(|_| Problem::Malformed("a metric name in UTF-8"))?;
        let legal = match self.judge.options().line {
            PrometheusLine::V2 => is_legacy_metric_name(name),
            PrometheusLine::V3 => !name.is_empty(),
        };
        if !legal {
            return Err(Problem::Malformed("a legal metric name"));
        }
        if std::str::from_utf8(family.help).is_err() {
            return Err(Problem::Malformed("a help text in UTF-8"));
        }
        if !(0..=GAUGE_HISTOGRAM).contains(&family.kind) {
            return Err(Problem::Malformed("a metric type from 0 to 5"));
        }
        Ok(name)
    }

    fn count_metric(&mut self, name: &str, kind: i32, message: &[u8], first_is_native: &mut Option<bool>) -> Result<(), Problem> {
        let mut metric = Metric::read(message)?;
        let line = self.judge.options().line;
        if line == PrometheusLine::V2 && metric.labels.iter().any(|(name, _)| !is_legacy_label_name(name)) {
            return Err(Problem::Malformed("a legal label name"));
        }
        metric.plain = self.judge.takes_plain_series()
            && !self.limits.on_samples()
            && is_legacy_metric_name(name)
            && metric.has_plain_labels();
        match kind {
            SUMMARY => {
                self.add(name, "_count", &metric, None)?;
                self.add(name, "_sum", &metric, None)?;
                for quantile in &metric.quantiles {
                    self.add(name, "", &metric, Some((QUANTILE_LABEL, *quantile)))?;
                }
                Ok(())
            }
            HISTOGRAM | GAUGE_HISTOGRAM => {
                let mut native = metric.histogram.is_native(line);
                // Prometheus 2 takes all histograms of a family for what the first one is.
                if line == PrometheusLine::V2 {
                    native = *first_is_native.get_or_insert(native);
                }
                self.count_histogram(name, kind, &metric, native)
            }
            _ => self.add(name, "", &metric, None),
        }
    }

    fn count_histogram(&mut self, name: &str, kind: i32, metric: &Metric<'_>, native: bool) -> Result<(), Problem> {
        let options = self.judge.options();
        let (line, convert, keep_classic) = (options.line, options.convert_nhcb, options.always_classic);
        // Prometheus 2 parses native histograms whether they are wanted or not.
        let native = native && (options.native_histograms || line == PrometheusLine::V2);
        let histogram = &metric.histogram;
        let classic = if native { keep_classic && histogram.has_buckets() } else { keep_classic || !convert };
        if native {
            // The parser of Prometheus 3 checks that, the storage of Prometheus 2.
            if line == PrometheusLine::V3 {
                check_spans(histogram, line)?;
            }
            self.add_native(name, metric)?;
        }
        if classic {
            let suffixed = kind == HISTOGRAM || line == PrometheusLine::V3;
            let suffix = |suffix| if suffixed { suffix } else { "" };
            self.add(name, suffix("_count"), metric, None)?;
            self.add(name, suffix("_sum"), metric, None)?;
            for bound in histogram.bounds() {
                self.add(name, suffix("_bucket"), metric, Some((BUCKET_LABEL, bound)))?;
            }
        }
        if !native && convert {
            let Some(buckets) = histogram.converted_buckets() else {
                return Err(Refusal::Histogram("a classic histogram that is consistent enough to be converted").into());
            };
            if self.admit(name, metric, None)? && self.limits.admit_buckets(buckets) {
                self.limits.add_native(&self.labels, metric.timestamped);
            }
        }
        Ok(())
    }

    /// Counts a native histogram.
    fn add_native(&mut self, name: &str, metric: &Metric<'_>) -> Result<(), Problem> {
        if !self.admit(name, metric, None)? {
            return Ok(());
        }
        let options = self.judge.options();
        if !options.native_histograms {
            return Err(Refusal::NativeHistogram.into());
        }
        check_spans(&metric.histogram, options.line)?;
        let stored = metric.histogram.judge_native(options.line, options.native_max_schema)?;
        if self.limits.admit_buckets(stored.buckets) {
            stored.valid?;
            self.limits.add_native(&self.labels, metric.timestamped);
        }
        Ok(())
    }

    /// Counts one series of a metric.
    fn add(&mut self, name: &str, suffix: &str, metric: &Metric<'_>, number: Option<(&str, f64)>) -> Result<(), Problem> {
        let full_name: Cow<'_, str> = if suffix.is_empty() { name.into() } else { format!("{name}{suffix}").into() };
        if self.admit(&full_name, metric, number)? {
            self.limits.add(&self.labels, metric.timestamped);
        }
        Ok(())
    }

    /// Counts one series and says whether it survives metric relabelling.
    fn admit(&mut self, full_name: &str, metric: &Metric<'_>, number: Option<(&str, f64)>) -> Result<bool, Problem> {
        if metric.plain {
            self.tally.add(full_name, SeriesCount { series: 1, total: 1 });
            return Ok(true);
        }
        self.labels.clear();
        self.labels.push(METRIC_NAME, full_name);
        for (name, value) in &metric.labels {
            self.labels.push(name, value);
        }
        if let Some((name, value)) = number {
            self.labels.push(name, &format_float(value));
        }
        self.labels.sort();
        let admitted = self.judge.admit(&self.labels)?;
        self.tally.add(full_name, SeriesCount { series: u64::from(admitted), total: 1 });
        Ok(admitted)
    }

    fn error(&self, family: &[u8], expected: &'static str) -> CountError {
        CountError::Message { offset: self.offset, family: crate::error::excerpt(family), expected }
    }
}

fn check_spans(histogram: &Histogram, line: PrometheusLine) -> Result<(), Refusal> {
    if histogram.is_consistent(line) { Ok(()) } else { Err(Refusal::Histogram("as many native buckets as the spans announce")) }
}

impl<'a> Family<'a> {
    /// Reads the family and returns its metrics, undecoded.
    fn read(&mut self, message: &'a [u8]) -> Result<Vec<&'a [u8]>, Malformed> {
        let mut metrics = Vec::new();
        for_each_field(message, |field| match field.number {
            1 => field.bytes().map(|name| self.name = name),
            2 => field.bytes().map(|help| self.help = help),
            3 => field.varint().map(|kind| self.kind = kind as i32),
            4 => field.bytes().map(|metric| metrics.push(metric)),
            5 => field.bytes().map(drop),
            _ => Ok(()),
        })?;
        Ok(metrics)
    }
}

impl<'a> Metric<'a> {
    /// Few labels with plainly legal names, none twice.
    fn has_plain_labels(&self) -> bool {
        let mut names = self.labels.iter().map(|(name, _)| *name).enumerate();
        self.labels.len() <= 16
            && names.all(|(i, name)| {
                is_legacy_label_name(name)
                    && ![METRIC_NAME, BUCKET_LABEL, QUANTILE_LABEL].contains(&name)
                    && self.labels.iter().take(i).all(|(earlier, _)| *earlier != name)
            })
    }

    fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut metric = Metric::default();
        for_each_field(message, |field| match field.number {
            1 => {
                metric.labels.push(read_label(field.bytes()?)?);
                Ok(())
            }
            // Gauge and untyped.
            2 | 5 => for_each_field(field.bytes()?, |field| match field.number {
                1 => field.double().map(drop),
                _ => Ok(()),
            }),
            // Counter.
            3 => for_each_field(field.bytes()?, |field| match field.number {
                1 => field.double().map(drop),
                2 => check_exemplar(field),
                3 => check_timestamp(field),
                _ => Ok(()),
            }),
            4 => read_summary(field.bytes()?, &mut metric.quantiles),
            6 => field.varint().map(|timestamp| metric.timestamped = timestamp != 0),
            7 => metric.histogram.read(field.bytes()?),
            _ => Ok(()),
        })?;
        Ok(metric)
    }
}

fn read_label(message: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut name, mut value) = ("", "");
    for_each_field(message, |field| {
        let text = || std::str::from_utf8(field.bytes()?).map_err(|_| Malformed("a label in UTF-8"));
        match field.number {
            1 => {
                name = text()?;
                if name.is_empty() { Err(Malformed("a label name that is not empty")) } else { Ok(()) }
            }
            2 => text().map(|text| value = text),
            _ => Ok(()),
        }
    })?;
    Ok((name, value))
}
