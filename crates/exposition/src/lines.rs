use std::borrow::Cow;

use kvass_model::{PrometheusLine, SeriesCount};
use memchr::memchr_iter;

use crate::{
    CountError, Counts, Format, Refusal,
    cursor::{Cursor, Span, Stop},
    entry::{Entry, MetricType},
    error::excerpt,
    judge::Judge,
    limits::Limits,
    nhcb::Collector,
    number::stored_number,
    openmetrics,
    sample::{Grammar, Sample},
    sample_labels::{BUCKET_LABEL, METRIC_NAME, QUANTILE_LABEL, SampleLabels, unescape},
    tally::Tally,
    text,
};

/// Longest entry in bytes. Prometheus has no such limit, but a counter that holds one entry at a time
/// needs one to keep its memory flat.
pub(crate) const MAX_ENTRY: usize = 16 << 20;

const TOO_LONG: &str = "an entry of at most 16 MiB";

/// Counts a body in one of the two text formats.
pub(crate) struct Lines {
    openmetrics: bool,
    grammar: Grammar,
    judge: Judge,
    limits: Limits,
    tally: Tally,
    sample: Sample,
    exemplar: Sample,
    labels: SampleLabels,
    /// Family and type of the last TYPE line; Prometheus does not check whether samples belong to it.
    family: Vec<u8>,
    metric_type: MetricType,
    /// Present when classic histograms are converted.
    collector: Option<Collector>,
    lines_read: u64,
    started: bool,
    ended: bool,
}

/// What is wrong with an entry; the place is added where it is known.
enum Problem {
    Syntax(&'static str),
    Refused(Refusal),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Problem::Refused(refusal)
    }
}

impl Lines {
    pub(crate) fn new(judge: Judge) -> Self {
        let options = judge.options();
        let openmetrics = options.format == Format::OpenMetrics;
        let grammar = if openmetrics { openmetrics::grammar } else { text::grammar };
        Lines {
            openmetrics,
            grammar: grammar(options.line, options.convert_nhcb),
            tally: Tally::new(options.per_metric),
            limits: Limits::new(options),
            collector: options.convert_nhcb.then(Collector::default),
            judge,
            sample: Sample::default(),
            exemplar: Sample::default(),
            labels: SampleLabels::default(),
            family: Vec::new(),
            metric_type: MetricType::default(),
            lines_read: 0,
            started: false,
            ended: false,
        }
    }

    /// Counts the complete entries of `bytes` and says how many bytes they took.
    pub(crate) fn consume(&mut self, bytes: &[u8]) -> Result<usize, CountError> {
        let grammar = Grammar { ascii: bytes.is_ascii(), ..self.grammar };
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            self.started = true;
            match self.consume_entry(rest, &grammar) {
                Ok(0) => break,
                Ok(length) => used += length,
                Err(problem) => {
                    let line = self.lines_read + count_lines(bytes.get(..used).unwrap_or_default()) + 1;
                    return Err(problem.at(line, rest));
                }
            }
        }
        self.lines_read += count_lines(bytes.get(..used).unwrap_or_default());
        Ok(used)
    }

    /// Counts what is left at the end of the body.
    pub(crate) fn finish(mut self, mut rest: Vec<u8>) -> Result<Counts, CountError> {
        let used = self.consume(&rest)?;
        rest.drain(..used);
        // Prometheus adds a line feed to a text body, and in OpenMetrics that of the end mark may be missing.
        if !self.openmetrics || rest == openmetrics::END_MARK {
            rest.push(b'\n');
            let used = self.consume(&rest)?;
            rest.drain(..used);
        }
        if !rest.is_empty() {
            // A sample without its line feed that is good otherwise is followed by nothing, not even the end mark.
            let is_sample = rest.first() != Some(&b'#') && rest.last() != Some(&b'\n');
            if is_sample && self.consume(&[&rest[..], b"\n"].concat()).is_ok_and(|used| used > rest.len()) {
                return Err(CountError::MissingEof { line: self.lines_read + 1 });
            }
            return Err(Problem::Syntax("the rest of this entry before the body ends").at(self.lines_read + 1, &rest));
        }
        // Prometheus 3 does not even look at an empty body; 2 misses the end mark.
        let looked_at = self.started || self.judge.options().line == PrometheusLine::V2;
        if self.openmetrics && looked_at && !self.ended {
            return Err(CountError::MissingEof { line: self.lines_read + 1 });
        }
        let line = self.lines_read;
        self.complete_histogram().map_err(|problem| problem.at(line, &self.family))?;
        let counts = self.tally.finish();
        self.limits.check(counts.count)?;
        Ok(counts)
    }

    /// Counts one entry and returns its length; zero when it is not complete.
    fn consume_entry(&mut self, bytes: &[u8], grammar: &Grammar) -> Result<usize, Problem> {
        if self.ended {
            return if self.openmetrics { Err(Problem::Syntax("nothing after # EOF")) } else { Ok(bytes.len()) };
        }
        let mut cursor = Cursor::new(bytes);
        let entry = if self.openmetrics {
            let line = self.judge.options().line;
            openmetrics::read_entry(&mut cursor, grammar, line, &mut self.sample, &mut self.exemplar)
        } else {
            text::read_entry(&mut cursor, grammar, &mut self.sample)
        };
        let read = if entry == Err(Stop::Incomplete) { bytes.len() } else { cursor.position() };
        if read > MAX_ENTRY {
            return Err(Problem::Syntax(TOO_LONG));
        }
        match entry {
            Ok(entry) => self.take(entry, bytes.get(..read).unwrap_or_default())?,
            Err(Stop::Incomplete) => return Ok(0),
            Err(Stop::Bad(expected)) => return Err(Problem::Syntax(expected)),
        }
        Ok(if self.ended && !self.openmetrics { bytes.len() } else { read })
    }

    fn take(&mut self, entry: Entry, bytes: &[u8]) -> Result<(), Problem> {
        match entry {
            Entry::Blank => Ok(()),
            Entry::Comment | Entry::Metadata => self.complete_histogram(),
            Entry::Type { name, metric_type } => {
                self.complete_histogram()?;
                self.family.clear();
                self.family.extend_from_slice(name.of(bytes));
                self.metric_type = metric_type;
                Ok(())
            }
            Entry::Sample => self.take_sample(bytes),
            Entry::End => {
                self.ended = true;
                Ok(())
            }
        }
    }

    fn take_sample(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if let Some(admitted) = self.foresee(bytes) {
            let name = if self.judge.options().per_metric { utf8(bytes, self.sample.name)? } else { "" };
            self.tally.add(name, SeriesCount { series: u64::from(admitted), total: 1 });
            if admitted {
                self.limit(bytes);
            }
            return Ok(());
        }
        self.assemble(bytes)?;
        let Some(collector) = &mut self.collector else {
            return self.account(bytes);
        };
        if let Some((native, buckets)) = collector.complete_before(&self.labels) {
            let classic = std::mem::replace(&mut self.labels, native);
            self.account_native(buckets)?;
            self.labels = classic;
        }
        let collected = self
            .collector
            .as_mut()
            .is_some_and(|collector| collector.collect(&self.family, self.metric_type, &self.labels, self.sample.value));
        if collected && !self.judge.options().always_classic { Ok(()) } else { self.account(bytes) }
    }

    /// Counts the native series of a histogram that ends here.
    fn complete_histogram(&mut self) -> Result<(), Problem> {
        match self.collector.as_mut().and_then(Collector::complete) {
            Some((native, buckets)) => {
                self.labels = native;
                self.account_native(buckets)
            }
            None => Ok(()),
        }
    }

    /// The verdict on the sample, if it can be told without assembling its labels.
    fn foresee(&self, bytes: &[u8]) -> Option<bool> {
        if self.collector.is_some() || !self.sample.is_plain(bytes) {
            return None;
        }
        let text = |span: Span| std::str::from_utf8(span.of(bytes)).unwrap_or_default();
        let names = self.sample.labels.iter().map(|(name, _)| text(*name));
        self.judge.foresee(names, |label| {
            if label == METRIC_NAME {
                return Some(text(self.sample.name).into());
            }
            let (_, value) = self.sample.labels.iter().find(|(name, _)| name.of(bytes) == label.as_bytes())?;
            let value = unescape(text(*value));
            let number = if self.number_label() == Some(label) { stored_number(&value) } else { None };
            Some(number.map_or(value, Cow::Owned))
        })
    }

    /// Copies the labels of the sample out of its line.
    fn assemble(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let Sample { name, labels, .. } = &self.sample;
        let end = labels.last().map_or(0, |(_, value)| value.end).max(name.end);
        match std::str::from_utf8(bytes.get(..end).unwrap_or_default()) {
            Ok(line) => self.labels.assign(line, *name, labels),
            Err(_) => copy_labels(&mut self.labels, bytes, *name, labels)?,
        }
        if let Some(label) = self.number_label() {
            self.labels.rewrite(label, stored_number);
        }
        self.labels.sort();
        Ok(())
    }

    /// The label whose values Prometheus 3 stores in one notation: bucket bounds and quantiles.
    fn number_label(&self) -> Option<&'static str> {
        match self.metric_type {
            _ if self.judge.options().line == PrometheusLine::V2 => None,
            MetricType::Histogram => Some(BUCKET_LABEL),
            MetricType::Summary => Some(QUANTILE_LABEL),
            MetricType::Other => None,
        }
    }

    /// Counts the series of the current line.
    fn account(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if self.admit()? {
            self.limit(bytes);
        }
        Ok(())
    }

    /// Counts a native series that was made of lines before the current one.
    fn account_native(&mut self, buckets: u64) -> Result<(), Problem> {
        if self.admit()? && self.limits.admit_buckets(buckets) && self.limits.on_samples() {
            self.limits.add_native(self.labels.written().as_bytes(), self.sample.timestamped);
        }
        Ok(())
    }

    /// Whether the series survives metric relabelling.
    fn admit(&mut self) -> Result<bool, Problem> {
        let admitted = self.judge.admit(&self.labels)?;
        let name = if self.judge.options().per_metric { self.labels.metric_name() } else { "" };
        self.tally.add(name, SeriesCount { series: u64::from(admitted), total: 1 });
        Ok(admitted)
    }

    #[inline]
    fn limit(&mut self, bytes: &[u8]) {
        if self.limits.on_samples() {
            self.limits.add(bytes.get(..self.sample.series_end).unwrap_or_default(), self.sample.timestamped);
        }
    }
}

impl Problem {
    fn at(self, line: u64, entry: &[u8]) -> CountError {
        let excerpt = excerpt(entry);
        match self {
            Problem::Syntax(expected) => CountError::Syntax { line, excerpt, expected },
            Problem::Refused(refusal) => CountError::Sample { line, excerpt, refusal },
        }
    }
}

/// Copies the labels of a sample with names in quotes that are not in UTF-8: a label without a value is none, whatever
/// its name is.
fn copy_labels(copied: &mut SampleLabels, bytes: &[u8], name: Span, labels: &[(Span, Span)]) -> Result<(), Refusal> {
    let text = |span: Span| std::str::from_utf8(span.of(bytes)).map(unescape).map_err(|_| excerpt(span.of(bytes)));
    copied.clear();
    copied.push(METRIC_NAME, &text(name).map_err(Refusal::MetricName)?);
    for (name, value) in labels.iter().filter(|(_, value)| value.start < value.end) {
        let name = text(*name).map_err(Refusal::LabelName)?;
        copied.push(&name, &text(*value).map_err(Refusal::LabelName)?);
    }
    Ok(())
}

fn utf8(bytes: &[u8], span: Span) -> Result<&str, Problem> {
    std::str::from_utf8(span.of(bytes)).map_err(|_| Problem::Syntax("names in UTF-8"))
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}
