use std::borrow::Cow;

use kvass_model::{LabelsBuilder, PrometheusLine, is_legacy_label_name, is_legacy_metric_name};

use crate::{
    CountOptions, Refusal,
    sample_labels::{METRIC_NAME, SampleLabels},
};

/// Prefix under which an exposed label survives a target label of the same name.
const EXPORTED_PREFIX: &str = "exported_";

/// Bytes of a sample above which the memory its labels took is given back: each label keeps what its longest
/// value needed, which must not add up with the length of the body.
const LARGE_SAMPLE: usize = 4 << 10;

/// Does to a series what Prometheus does between parsing and storing it: target labels, metric
/// relabelling, validation, label limits.
pub(crate) struct Judge {
    options: CountOptions,
    utf8_names: bool,
    /// There are no label limits.
    unlimited: bool,
    takes_plain_series: bool,
    /// Kept between samples for its memory.
    builder: LabelsBuilder,
}

impl Judge {
    pub(crate) fn new(options: CountOptions) -> Self {
        let convert_nhcb = options.convert_nhcb && options.line == PrometheusLine::V3;
        let options = CountOptions { convert_nhcb, ..options };
        let unlimited = options.label_limit == 0 && options.label_name_length_limit == 0 && options.label_value_length_limit == 0;
        Judge {
            utf8_names: options.utf8_names && options.line == PrometheusLine::V3,
            unlimited,
            takes_plain_series: unlimited && options.metric_relabel_configs.is_empty(),
            options,
            builder: LabelsBuilder::new(),
        }
    }

    /// Whether every series with legal, distinct label names is stored, so that its labels need not even
    /// be assembled.
    pub(crate) fn takes_plain_series(&self) -> bool {
        self.takes_plain_series
    }

    pub(crate) fn options(&self) -> &CountOptions {
        &self.options
    }

    pub(crate) fn is_metric_name(&self, name: &str) -> bool {
        if self.utf8_names { !name.is_empty() } else { is_legacy_metric_name(name) }
    }

    pub(crate) fn is_label_name(&self, name: &str) -> bool {
        if self.utf8_names { !name.is_empty() } else { is_legacy_label_name(name) }
    }

    /// The verdict of [`Self::admit`] on a series with legal, distinct label names, if it can be told without
    /// assembling the labels. `value` has the value of an exposed label, `__name__` among them.
    pub(crate) fn foresee<'a>(
        &'a self,
        mut label_names: impl Iterator<Item = &'a str>,
        value: impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> Option<bool> {
        if self.takes_plain_series {
            return Some(true);
        }
        let CountOptions { target_labels, honor_labels, metric_relabel_configs, .. } = &self.options;
        let value = |name: &str| value(name).or_else(|| Some(target_labels.get(name)?.into())).unwrap_or_default();
        let kept = kvass_relabel::foresee(metric_relabel_configs, value)?;
        let certain = !kept || self.unlimited;
        // A target label gives an exposed one of its name another name, which rules may look at.
        let mut renames = || !honor_labels && label_names.any(|name| target_labels.get(name).is_some());
        (certain && !renames()).then_some(kept)
    }

    /// Whether the series survives metric relabelling; an error fails the whole scrape.
    pub(crate) fn admit(&mut self, exposed: &SampleLabels) -> Result<bool, Refusal> {
        let verdict = self.assemble_and_judge(exposed);
        if exposed.size() > LARGE_SAMPLE {
            self.builder = LabelsBuilder::new();
        }
        verdict
    }

    fn assemble_and_judge(&mut self, exposed: &SampleLabels) -> Result<bool, Refusal> {
        let exported = self.merge(exposed);
        let CountOptions { target_labels, honor_labels, metric_relabel_configs, .. } = &self.options;
        let set_on_top = || {
            let target = target_labels.iter().map(|(name, _)| name).filter(|name| !honor_labels || exposed.get(name).is_none());
            target.chain(exported.iter().map(String::as_str))
        };
        if !kvass_relabel::process_series(metric_relabel_configs, &mut self.builder, set_on_top) || self.builder.is_empty() {
            return Ok(false);
        }
        if self.builder.get(METRIC_NAME).is_none() {
            return Err(Refusal::MissingName);
        }
        for (name, value) in self.builder.iter() {
            if name == METRIC_NAME && !self.is_metric_name(value) {
                return Err(Refusal::MetricName(shorten(value)));
            }
            if !self.is_label_name(name) {
                return Err(Refusal::LabelName(shorten(name)));
            }
        }
        self.check_limits()?;
        self.check_repetitions(exposed)?;
        Ok(true)
    }

    /// Fills the builder with the exposed labels and those of the target, both of which come in name order. Returns the
    /// new names of exposed labels that made way for the target's.
    fn merge(&mut self, exposed: &SampleLabels) -> Vec<String> {
        let builder = &mut self.builder;
        builder.clear();
        let mut overwritten = Vec::new();
        let mut target = self.options.target_labels.iter().peekable();
        for (name, value) in exposed.distinct() {
            while let Some((name, value)) = target.next_if(|(target, _)| *target < name) {
                builder.set(name, value);
            }
            match target.next_if(|(target, _)| *target == name) {
                Some((_, target)) if !self.options.honor_labels => {
                    builder.set(name, target);
                    overwritten.extend(exposed.get(name).filter(|value| !value.is_empty()).map(|value| (name, value)));
                }
                _ => builder.set(name, value),
            }
        }
        target.for_each(|(name, value)| builder.set(name, value));
        overwritten.sort_by_key(|(name, _)| name.len());
        let mut new_names = Vec::new();
        for (name, value) in overwritten {
            let mut exported = format!("{EXPORTED_PREFIX}{name}");
            while builder.get(&exported).is_some() {
                exported.insert_str(0, EXPORTED_PREFIX);
            }
            builder.set(&exported, value);
            new_names.push(exported);
        }
        new_names
    }

    fn check_limits(&self) -> Result<(), Refusal> {
        let CountOptions { label_limit, label_name_length_limit, label_value_length_limit, .. } = self.options;
        let labels = self.builder.len() as u64;
        if label_limit > 0 && labels > label_limit {
            return Err(Refusal::LabelLimit { labels, limit: label_limit });
        }
        if label_name_length_limit == 0 && label_value_length_limit == 0 {
            return Ok(());
        }
        for (name, value) in self.builder.iter() {
            let (label, length) = (|| shorten(name), name.len() as u64);
            if label_name_length_limit > 0 && length > label_name_length_limit {
                return Err(Refusal::LabelNameLength { label: label(), length, limit: label_name_length_limit });
            }
            let length = value.len() as u64;
            if label_value_length_limit > 0 && length > label_value_length_limit {
                return Err(Refusal::LabelValueLength { label: label(), length, limit: label_value_length_limit });
            }
        }
        Ok(())
    }

    /// A repeated label reaches the storage, which refuses it, unless it was deleted. A target label or a rule that
    /// replaces it leaves one of it in Prometheus 3.
    fn check_repetitions(&self, exposed: &SampleLabels) -> Result<(), Refusal> {
        for ((name, value), (next, _)) in exposed.iter().zip(exposed.iter().skip(1)) {
            let of_target = || !self.options.honor_labels && self.options.target_labels.get(name).is_some();
            let stays = || match self.options.line {
                PrometheusLine::V2 => !of_target() && self.builder.get(name) == Some(value),
                PrometheusLine::V3 => {
                    self.builder.get(name).is_some() && exposed.distinct().any(|label| label.0 == name && !label.1.is_empty())
                }
            };
            if name == next && stays() {
                return Err(Refusal::DuplicateLabel(shorten(name)));
            }
        }
        Ok(())
    }
}

/// At most 50 characters, as much as an error message needs.
fn shorten(text: &str) -> String {
    let shortened: Cow<'_, str> = match text.char_indices().nth(50) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    };
    shortened.into_owned()
}

#[cfg(test)]
mod tests {
    use kvass_model::Labels;

    use super::*;

    fn stored(options: CountOptions, exposed: &[(&str, &str)]) -> (Result<bool, Refusal>, Labels) {
        let mut judge = Judge::new(options);
        let exposed: SampleLabels = exposed.iter().copied().collect();
        let verdict = judge.admit(&exposed);
        (verdict, judge.builder.build())
    }

    #[test]
    fn target_labels_win_unless_exposed_labels_are_honoured() {
        let exposed = [(METRIC_NAME, "m"), ("job", "a"), ("exported_job", "b"), ("zone", ""), ("x", "y")];
        let target_labels = Labels::from([("job", "t"), ("zone", "z"), ("exported_exported_job", "e"), ("instance", "i")]);
        let options =
            |honor_labels| CountOptions { target_labels: target_labels.clone(), honor_labels, ..CountOptions::default() };
        let (verdict, labels) = stored(options(false), &exposed);
        assert_eq!(verdict, Ok(true));
        assert_eq!(
            labels,
            Labels::from([
                (METRIC_NAME, "m"),
                ("exported_exported_exported_job", "a"),
                ("exported_exported_job", "e"),
                ("exported_job", "b"),
                ("instance", "i"),
                ("job", "t"),
                ("x", "y"),
                ("zone", "z"),
            ])
        );
        let (verdict, labels) = stored(options(true), &exposed);
        assert_eq!(verdict, Ok(true));
        assert_eq!(
            labels,
            Labels::from([
                (METRIC_NAME, "m"),
                ("exported_exported_job", "e"),
                ("exported_job", "b"),
                ("instance", "i"),
                ("job", "a"),
                ("x", "y"),
            ])
        );
    }

    #[test]
    fn shorter_names_are_exported_first() {
        let (_, labels) = stored(
            CountOptions { target_labels: Labels::from([("a", "t"), ("exported_a", "u")]), ..CountOptions::default() },
            &[(METRIC_NAME, "m"), ("a", "1"), ("exported_a", "2")],
        );
        assert_eq!(
            labels,
            Labels::from([
                (METRIC_NAME, "m"),
                ("a", "t"),
                ("exported_a", "u"),
                ("exported_exported_a", "1"),
                ("exported_exported_exported_a", "2"),
            ])
        );
    }

    #[test]
    fn labels_of_the_previous_sample_leave_no_trace() {
        let mut judge = Judge::new(CountOptions { target_labels: Labels::from([("a", "t")]), ..CountOptions::default() });
        for exposed in
            [vec![(METRIC_NAME, "m"), ("a", "1"), ("b", "1")], vec![(METRIC_NAME, "n"), ("c", "2"), ("exported_a", "3")]]
        {
            assert_eq!(judge.admit(&exposed.into_iter().collect()), Ok(true));
        }
        assert_eq!(judge.builder.build(), Labels::from([(METRIC_NAME, "n"), ("a", "t"), ("c", "2"), ("exported_a", "3")]));
    }

    #[test]
    fn memory_of_large_samples_is_given_back() {
        let mut judge = Judge::new(CountOptions::default());
        let long = "x".repeat(LARGE_SAMPLE);
        for (value, kept) in [("x", 2), (long.as_str(), 0), ("x", 2)] {
            assert_eq!(judge.admit(&[(METRIC_NAME, "m"), ("a", value)].into_iter().collect()), Ok(true));
            assert_eq!(judge.builder.len(), kept);
        }
    }

    #[test]
    fn refusals() {
        let base = CountOptions::default;
        let v3 = CountOptions { line: PrometheusLine::V3, utf8_names: true, ..base() };
        let long = "é".repeat(60);
        type Case<'a> = (CountOptions, &'a [(&'a str, &'a str)], Result<bool, Refusal>);
        let cases: [Case<'_>; 14] = [
            (base(), &[("a", "b")], Err(Refusal::MissingName)),
            (base(), &[(METRIC_NAME, ""), ("a", "")], Ok(false)),
            (base(), &[(METRIC_NAME, " m")], Err(Refusal::MetricName(" m".into()))),
            (v3.clone(), &[(METRIC_NAME, " m"), ("a.b", "c")], Ok(true)),
            (CountOptions { utf8_names: false, ..v3.clone() }, &[(METRIC_NAME, "a.b")], Err(Refusal::MetricName("a.b".into()))),
            (CountOptions { utf8_names: true, ..base() }, &[(METRIC_NAME, "a.b")], Err(Refusal::MetricName("a.b".into()))),
            (v3, &[(METRIC_NAME, "m"), ("", "c")], Err(Refusal::LabelName(String::new()))),
            (base(), &[(METRIC_NAME, "m"), ("a:b", "c")], Err(Refusal::LabelName("a:b".into()))),
            (base(), &[(METRIC_NAME, "m"), (long.as_str(), "c")], Err(Refusal::LabelName(format!("{}…", "é".repeat(50))))),
            (base(), &[(METRIC_NAME, "m"), ("a", "1"), ("a", "1")], Err(Refusal::DuplicateLabel("a".into()))),
            (base(), &[(METRIC_NAME, "m"), ("a", "1"), ("a", "")], Ok(true)),
            (
                CountOptions { label_limit: 2, ..base() },
                &[(METRIC_NAME, "m"), ("a", "1"), ("b", "1")],
                Err(Refusal::LabelLimit { labels: 3, limit: 2 }),
            ),
            (
                CountOptions { label_name_length_limit: 8, ..base() },
                &[(METRIC_NAME, "m"), ("ninechars", "1")],
                Err(Refusal::LabelNameLength { label: "ninechars".into(), length: 9, limit: 8 }),
            ),
            (
                CountOptions { label_value_length_limit: 1, ..base() },
                &[(METRIC_NAME, "m"), ("a", "é")],
                Err(Refusal::LabelValueLength { label: "a".into(), length: 2, limit: 1 }),
            ),
        ];
        for (options, exposed, verdict) in cases {
            assert_eq!(stored(options, exposed).0, verdict, "{exposed:?}");
        }
    }

    #[test]
    fn a_target_label_replaces_repetitions() {
        let options =
            |honor_labels| CountOptions { target_labels: Labels::from([("a", "t")]), honor_labels, ..CountOptions::default() };
        let exposed = [(METRIC_NAME, "m"), ("a", "1"), ("a", "2")];
        assert_eq!(stored(options(false), &exposed).0, Ok(true));
        assert_eq!(stored(options(true), &exposed).0, Err(Refusal::DuplicateLabel("a".into())));
        let v3 = CountOptions { line: PrometheusLine::V3, ..options(false) };
        assert_eq!(stored(v3.clone(), &exposed).0, Err(Refusal::DuplicateLabel("a".into())));
        assert_eq!(stored(v3, &[(METRIC_NAME, "m"), ("a", "1"), ("a", "")]).0, Ok(true));
    }
}
