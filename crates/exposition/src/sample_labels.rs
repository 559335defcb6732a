use std::ops::Range;

use memchr::memchr;

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
    labels: Vec<(Range<usize>, Range<usize>)>,
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

    /// Adds a label whose name and value still have their backslashes.
    pub(crate) fn push_escaped(&mut self, name: &str, value: &str) {
        let name = self.append_unescaped(name);
        let value = self.append_unescaped(value);
        self.labels.push((name, value));
    }

    /// Replaces the value of the label added last.
    pub(crate) fn set_last_value(&mut self, value: &str) {
        let value = self.append(value);
        if let Some(last) = self.labels.last_mut() {
            last.1 = value;
        }
    }

    /// Name and value of the label added last.
    pub(crate) fn last(&self) -> Option<(&str, &str)> {
        self.labels.last().map(|(name, value)| (&self.text[name.clone()], &self.text[value.clone()]))
    }

    pub(crate) fn sort(&mut self) {
        let text = &self.text;
        if !self.labels.is_sorted_by(|(a, _), (b, _)| text[a.clone()] <= text[b.clone()]) {
            self.labels.sort_by(|(a, _), (b, _)| text[a.clone()].cmp(&text[b.clone()]));
        }
    }

    /// Names and values in name order; values may be empty, names may repeat.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.labels.iter().map(|(name, value)| (&self.text[name.clone()], &self.text[value.clone()]))
    }

    /// The value of the first label of that name, which may be empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let index = self.labels.partition_point(|(n, _)| self.text[n.clone()] < *name);
        let (found, value) = self.labels.get(index)?;
        (self.text[found.clone()] == *name).then(|| &self.text[value.clone()])
    }

    /// The exposed metric name, empty when there is none.
    pub(crate) fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    fn append(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// Known escapes are `\\`, `\"` and `\n`; any other pair stays as it is.
    fn append_unescaped(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        let mut rest = text;
        while let Some(backslash) = memchr(b'\\', rest.as_bytes()) {
            self.text.push_str(&rest[..backslash]);
            rest = &rest[backslash..];
            let (plain, length) = match rest.as_bytes().get(1) {
                Some(b'\\') => ("\\", 2),
                Some(b'"') => ("\"", 2),
                Some(b'n') => ("\n", 2),
                _ => ("\\", 1),
            };
            self.text.push_str(plain);
            rest = &rest[length..];
        }
        self.text.push_str(rest);
        start..self.text.len()
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
            labels.push_escaped("n", escaped);
            assert_eq!(labels.last(), Some(("n", plain)), "{escaped}");
        }
    }
}
