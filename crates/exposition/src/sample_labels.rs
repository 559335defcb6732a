use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
};

use memchr::memchr;

use crate::cursor::Span;

/// Label that carries the name of a metric.
pub(crate) const METRIC_NAME: &str = "__name__";

/// Label of a bucket's upper bound.
pub(crate) const BUCKET_LABEL: &str = "le";

/// Label of a summary's quantile.
pub(crate) const QUANTILE_LABEL: &str = "quantile";

/// The labels of one exposed series, `__name__` among them, as the parser of Prometheus hands them over:
/// sorted, with empty values and repetitions still in. One value serves all samples of a body.
#[derive(Clone, Debug, Default)]
pub(crate) struct SampleLabels {
    text: String,
    /// Names and values, as parts of the text.
    labels: Vec<(Span, Span)>,
}

impl SampleLabels {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.labels.clear();
    }

    /// Adds a label; call [`Self::sort`] after the last.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        let name = self.append(name);
        let value = self.append(value);
        self.labels.push((name, value));
    }

    /// Bytes of all names and values.
    pub(crate) fn size(&self) -> usize {
        self.text.len()
    }

    /// Takes the labels of a line, of which name and labels are parts that still have their backslashes;
    /// call [`Self::sort`] after it.
    pub(crate) fn assign(&mut self, line: &str, metric_name: Span, labels: &[(Span, Span)]) {
        self.clear();
        self.text.push_str(line);
        let name = self.append(METRIC_NAME);
        self.labels.push((name, metric_name));
        self.labels.extend_from_slice(labels);
        if memchr(b'\\', line.as_bytes()).is_some() {
            for index in 0..self.labels.len() {
                let (name, value) = self.labels[index];
                self.labels[index] = (self.unescaped(name), self.unescaped(value));
            }
        }
    }

    /// Replaces the values of a label where `rewritten` yields another one.
    pub(crate) fn rewrite(&mut self, label: &str, rewritten: impl Fn(&str) -> Option<String>) {
        for index in 0..self.labels.len() {
            let (name, value) = self.labels[index];
            if self.part(name) == label
                && let Some(value) = rewritten(self.part(value))
            {
                self.labels[index].1 = self.append(&value);
            }
        }
    }

    pub(crate) fn sort(&mut self) {
        let text = self.text.as_bytes();
        self.labels.sort_by(|(a, _), (b, _)| a.of(text).cmp(b.of(text)));
    }

    /// Names and values in name order; values may be empty, names may repeat.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.labels.iter().map(|(name, value)| (self.part(*name), self.part(*value)))
    }

    /// Every name once. The first value of a repeated name counts, but one empty value deletes the label.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = self.text.as_bytes();
        let runs = self.labels.chunk_by(|(a, _), (b, _)| a.of(text) == b.of(text));
        runs.filter_map(|run| {
            let (name, value) = run.first()?;
            let deleted = run.iter().any(|(_, value)| value.start == value.end);
            Some((self.part(*name), if deleted { "" } else { self.part(*value) }))
        })
    }

    /// The value of the first label of that name, which may be empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let text = self.text.as_bytes();
        let index = self.labels.partition_point(|(n, _)| n.of(text) < name.as_bytes());
        let (found, value) = self.labels.get(index)?;
        (self.part(*found) == name).then(|| self.part(*value))
    }

    /// The series as Prometheus writes those it made itself.
    pub(crate) fn written(&self) -> String {
        let labels: Vec<String> =
            self.iter().filter(|(name, _)| *name != METRIC_NAME).map(|(name, value)| format!("{name}={value:?}")).collect();
        let name = self.metric_name();
        if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
    }

    /// The exposed metric name, empty when there is none.
    pub(crate) fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    fn part(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    fn append(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span { start, end: self.text.len() }
    }

    fn unescaped(&mut self, part: Span) -> Span {
        match unescape(self.part(part)) {
            Cow::Borrowed(_) => part,
            Cow::Owned(text) => self.append(&text),
        }
    }
}

/// `text` without its backslashes. Known escapes are `\\`, `\"` and `\n`; any other pair stays as it is.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if memchr(b'\\', text.as_bytes()).is_none() {
        return text.into();
    }
    let mut unescaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(backslash) = memchr(b'\\', rest.as_bytes()) {
        unescaped.push_str(&rest[..backslash]);
        rest = &rest[backslash..];
        let (plain, length) = match rest.as_bytes().get(1) {
            Some(b'\\') => ("\\", 2),
            Some(b'"') => ("\"", 2),
            Some(b'n') => ("\n", 2),
            _ => ("\\", 1),
        };
        unescaped.push_str(plain);
        rest = &rest[length..];
    }
    (unescaped + rest).into()
}

impl Hash for SampleLabels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|label| label.hash(state));
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for SampleLabels {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut labels = SampleLabels::default();
        for (name, value) in pairs {
            labels.push(name, value);
        }
        labels.sort();
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_with_repetitions_and_empty_values() {
        let mut labels: SampleLabels = [("b", "1"), (METRIC_NAME, "m"), ("a", ""), ("b", "2")].into_iter().collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [(METRIC_NAME, "m"), ("a", ""), ("b", "1"), ("b", "2")]);
        assert_eq!(labels.distinct().collect::<Vec<_>>(), [(METRIC_NAME, "m"), ("a", ""), ("b", "1")]);
        assert_eq!((labels.get("b"), labels.get("a"), labels.get("c"), labels.metric_name()), (Some("1"), Some(""), None, "m"));
        labels.clear();
        assert_eq!((labels.iter().len(), labels.metric_name()), (0, ""));
    }

    #[test]
    fn escapes() {
        let mut labels = SampleLabels::default();
        for (escaped, plain) in [
            ("a", "a"),
            (r"\\", r"\"),
            (r#"\""#, "\""),
            (r"x\ny", "x\ny"),
            (r"\t\\n\", r"\t\n\"),
            (r"\\\\", r"\\"),
            ("é\\é", "é\\é"),
        ] {
            let line = format!("m{{n=\"{escaped}\"}}");
            let (name, value) = (Span { start: 2, end: 3 }, Span { start: 5, end: 5 + escaped.len() });
            labels.assign(&line, Span { start: 0, end: 1 }, &[(name, value)]);
            labels.sort();
            assert_eq!(labels.iter().collect::<Vec<_>>(), [(METRIC_NAME, "m"), ("n", plain)], "{escaped}");
        }
    }

    #[test]
    fn rewritten_values() {
        let mut labels: SampleLabels = [("a", "1"), ("b", "1"), ("a", "x")].into_iter().collect();
        labels.rewrite("a", |value| (value == "1").then(|| "one".to_owned()));
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "one"), ("a", "x"), ("b", "1")]);
    }
}
