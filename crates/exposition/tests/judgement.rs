//! What happens to samples after parsing: relabelling, limits, counts per metric, histogram conversion.

mod common;

use std::{collections::BTreeMap, sync::Arc};

use common::{count, verdict};
use kvass_exposition::{CountError, CountOptions, Format, Refusal};
use kvass_model::{Labels, PrometheusLine, SeriesCount};
use kvass_relabel::{NameScheme, RelabelConfig, Rule};

fn rules(rules: &[(&str, &str, &str, &str)]) -> Arc<Vec<RelabelConfig>> {
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let rule = |(action, source, regex, target): &(&str, &str, &str, &str)| {
        let rule = Rule {
            action: text(action),
            source_labels: text(source).map(|source| vec![source]),
            regex: text(regex),
            target_label: text(target),
            ..Rule::default()
        };
        RelabelConfig::new(rule, PrometheusLine::V3, NameScheme::Utf8)
    };
    Arc::new(rules.iter().flat_map(rule).collect())
}

const BODY: &[u8] = b"# TYPE a counter\na{code=\"200\"} 1\na{code=\"500\"} 1\nb 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\n";

#[test]
fn relabelling_decides_what_is_stored() {
    let v3 = CountOptions { line: PrometheusLine::V3, ..CountOptions::default() };
    for (rule, expected) in [
        (("drop", "__name__", "a", ""), Some((2, 4))),
        (("keep", "code", "200", ""), Some((1, 4))),
        (("drop", "job", "j", ""), Some((0, 4))),
        (("drop", "le", "1", ""), Some((4, 4))),
        (("drop", "le", "1\\.0", ""), Some((3, 4))),
        (("labeldrop", "", "__name__", ""), None),
        (("labeldrop", "", ".*", ""), Some((0, 4))),
        (("labeldrop", "", "code", ""), Some((4, 4))),
    ] {
        let options =
            CountOptions { metric_relabel_configs: rules(&[rule]), target_labels: Labels::from([("job", "j")]), ..v3.clone() };
        assert_eq!(verdict(&options, BODY), expected, "{rule:?}");
    }
    let options = CountOptions { metric_relabel_configs: rules(&[("drop", "le", "1", "")]), ..CountOptions::default() };
    assert_eq!(verdict(&options, BODY), Some((3, 4)), "2.x keeps bucket bounds as they are written");
}

/// What rules that only keep or drop decide without assembled labels is what they decide with them, which a
/// rule in front that could change labels enforces.
#[test]
fn verdicts_without_assembled_labels() {
    let body = "# TYPE h histogram\nh_bucket{job=\"e\",le=\"1\"} 1\nh_bucket{le=\"+Inf\",empty=\"\"} 1\n\
                # TYPE c counter\nc{text=\"a\\\\b\\n\",job=\"\"} 1\nc{text=\"é\",zone=\"z\"} 1\n";
    for (honor_labels, rule, series) in [
        (false, ("drop", "__name__", "c", ""), 2),
        (false, ("keep", "__name__", "c", ""), 2),
        (false, ("drop", "le", "1\\.0", ""), 3),
        (false, ("drop", "text", "a\\\\b\n", ""), 3),
        (false, ("keep", "text", "é", ""), 1),
        (false, ("keep", "empty", "()", ""), 4),
        (false, ("keep", "job", "t", ""), 4),
        (true, ("keep", "job", "t", ""), 2),
        (true, ("drop", "job", "()", ""), 3),
        (true, ("drop", "job", "e", ""), 3),
        (false, ("keep", "exported_job", "e", ""), 1),
        (true, ("keep", "exported_job", "e", ""), 0),
        (false, ("dropequal", "zone", "", "instance"), 3),
        (false, ("keepequal", "zone", "", "instance"), 1),
        (false, ("drop", "none", "()", ""), 0),
    ] {
        let verdict = |list: &[(&str, &str, &str, &str)]| {
            let options = CountOptions {
                line: PrometheusLine::V3,
                target_labels: Labels::from([("job", "t"), ("instance", "z")]),
                honor_labels,
                metric_relabel_configs: rules(list),
                ..CountOptions::default()
            };
            verdict(&options, body.as_bytes())
        };
        assert_eq!(verdict(&[rule]), Some((series, 4)), "honor_labels {honor_labels}: {rule:?}");
        assert_eq!(
            verdict(&[("labeldrop", "", "nothing", ""), rule]),
            Some((series, 4)),
            "honor_labels {honor_labels}: {rule:?}"
        );
    }
}

#[test]
fn a_dropped_sample_need_not_be_legal_but_must_be_readable() {
    let options = CountOptions { metric_relabel_configs: rules(&[("drop", "__name__", "a", "")]), ..CountOptions::default() };
    assert_eq!(verdict(&options, b"a{b=\"1\",b=\"2\"} 1\nc 1\n"), Some((1, 2)));
    assert_eq!(verdict(&options, b"c{b=\"1\",b=\"2\"} 1\n"), None);
    assert_eq!(verdict(&options, b"a x\n"), None);
}

#[test]
fn counts_per_metric() {
    let counts = |metric_relabel_configs| {
        let options = CountOptions { per_metric: true, metric_relabel_configs, ..CountOptions::default() };
        count(options, b"a{code=\"ok\"} 1\nb 1\na{code=\"failed\"} 1\nb 1\n").unwrap().metrics
    };
    let expected = |a, b| {
        BTreeMap::from([
            ("a".to_owned(), SeriesCount { series: a, total: 2 }),
            ("b".to_owned(), SeriesCount { series: b, total: 2 }),
        ])
    };
    assert_eq!(counts(Arc::default()), expected(2, 2));
    assert_eq!(counts(rules(&[("drop", "code", "ok", "")])), expected(1, 2));
    // Renamed series count under the name they were exposed with.
    assert_eq!(counts(rules(&[("replace", "code", "(.+)", "__name__"), ("drop", "__name__", "b", "")])), expected(2, 0));
}

#[test]
fn the_sample_limit_is_checked_at_the_end() {
    let limited = |sample_limit| count(CountOptions { sample_limit, ..CountOptions::default() }, b"a 1\na 2\nb 1\n");
    assert!(limited(3).is_ok());
    let error = limited(2).unwrap_err();
    assert_eq!(error, CountError::SampleLimit { limit: 2, count: SeriesCount { series: 3, total: 3 } });
    assert_eq!(error.to_string(), "3 series after metric relabelling: expected at most 2 (sample_limit)");
}

#[test]
fn label_limits_see_stored_labels() {
    let options = |metric_relabel_configs| CountOptions {
        label_limit: 3,
        target_labels: Labels::from([("job", "j")]),
        metric_relabel_configs,
        ..CountOptions::default()
    };
    let body = b"a{b=\"1\",c=\"1\"} 1\n";
    let error = count(options(Arc::default()), body).unwrap_err();
    let CountError::Sample { line: 1, refusal, .. } = error else { panic!("{error}") };
    assert_eq!(refusal, Refusal::LabelLimit { labels: 4, limit: 3 });
    assert_eq!(verdict(&options(rules(&[("labeldrop", "", "c", "")])), body), Some((1, 1)));
}

#[test]
fn converted_histograms() {
    let histogram = |labels: &str, last: u8| {
        format!(
            "h_bucket{{{labels}le=\"1\"}} 1\nh_bucket{{{labels}le=\"+Inf\"}} 2\nh_sum{{{labels}}} 1\nh_count{{{labels}}} {last}\n"
        )
    };
    let plain = histogram("", 2);
    for (body, converted, kept) in [
        (format!("# TYPE h histogram\n{plain}"), 1, 5),
        (plain.clone(), 4, 4),
        (format!("# TYPE g histogram\n{plain}"), 4, 4),
        (format!("# TYPE h counter\n{plain}"), 4, 4),
        (format!("# TYPE h histogram\n{}{}", histogram("a=\"1\",", 2), histogram("a=\"2\",", 2)), 2, 10),
        (format!("# TYPE h histogram\n{plain}h 1\n# TYPE c counter\nc 1\n"), 3, 7),
        (format!("# TYPE h histogram\n{}h_bucket 1\n", plain), 2, 6),
        // An inconsistent histogram is lost: its series are swallowed before that is known.
        (format!("# TYPE h histogram\n{}c 1\n", histogram("", 3)), 1, 5),
    ] {
        for (format, end) in [(Format::Text, ""), (Format::OpenMetrics, "# EOF\n")] {
            let options = CountOptions { format, line: PrometheusLine::V3, convert_nhcb: true, ..CountOptions::default() };
            let body = format!("{body}{end}");
            assert_eq!(verdict(&options, body.as_bytes()), Some((converted, converted)), "{body}");
            let options = CountOptions { always_classic: true, ..options };
            assert_eq!(verdict(&options, body.as_bytes()), Some((kept, kept)), "classic kept: {body}");
        }
    }
    let v2 = CountOptions { convert_nhcb: true, ..CountOptions::default() };
    assert_eq!(verdict(&v2, format!("# TYPE h histogram\n{plain}").as_bytes()), Some((4, 4)));
}

#[test]
fn converted_histograms_are_relabelled_under_their_base_name() {
    let options = CountOptions {
        line: PrometheusLine::V3,
        convert_nhcb: true,
        metric_relabel_configs: rules(&[("keep", "__name__", "h", "")]),
        ..CountOptions::default()
    };
    assert_eq!(verdict(&options, b"# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nc 1\n"), Some((1, 2)));
}
