//! Protobuf: how many series each kind of metric yields, and which messages are refused.

mod common;

use std::sync::Arc;

use common::{assembling, count, verdict};
use kvass_exposition::{CountError, CountOptions, Format};
use kvass_model::PrometheusLine;
use kvass_relabel::{NameScheme, RelabelConfig, Rule};

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn int(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn double(field: u64, value: f64) -> Vec<u8> {
    [varint(field << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

fn bytes(field: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn label(name: &str, value: &str) -> Vec<u8> {
    bytes(1, &[bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat())
}

fn family(name: &str, kind: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
    let metrics: Vec<u8> = metrics.iter().flat_map(|metric| bytes(4, metric)).collect();
    let family = [bytes(1, name.as_bytes()), bytes(2, b"help"), int(3, kind), metrics].concat();
    [varint(family.len() as u64), family].concat()
}

fn histogram(bounds: &[f64], rest: &[u8]) -> Vec<u8> {
    let buckets: Vec<u8> = bounds.iter().flat_map(|bound| bytes(3, &[int(1, 1), double(2, *bound)].concat())).collect();
    bytes(7, &[int(1, 1), double(2, 1.0), buckets, rest.to_vec()].concat())
}

/// An empty span: native. All observations are NaN, as there are no buckets.
fn native() -> Vec<u8> {
    [bytes(12, &int(1, 0)), double(2, f64::NAN)].concat()
}

fn options() -> CountOptions {
    CountOptions { format: Format::Protobuf, line: PrometheusLine::V3, ..CountOptions::default() }
}

#[track_caller]
fn check(body: &[u8], options: &CountOptions, series: Option<u64>) {
    let expected = series.map(|n| (n, n));
    assert_eq!(verdict(options, body), expected);
    assert_eq!(verdict(&assembling(options), body), expected, "labels assembled");
}

#[test]
fn plain_metrics() {
    for (kind, value_field) in [(0, 3), (1, 2), (3, 5)] {
        let metric = [label("a", "b"), bytes(value_field, &double(1, 1.0)), int(6, 123)].concat();
        check(&family("m", kind, &[metric.clone(), metric]), &options(), Some(2));
        check(&family("m", kind, &[vec![]]), &options(), Some(1));
    }
    check(&family("m", 0, &[]), &options(), Some(0));
    check(&[family("m", 0, &[vec![]]), family("n", 1, &[vec![]])].concat(), &options(), Some(2));
    check(&[], &options(), Some(0));
    check(&[0], &options(), Some(0));
}

#[test]
fn summaries() {
    for quantiles in 0..3 {
        let quantile = bytes(3, &[double(1, 0.5), double(2, 1.0)].concat());
        let summary = bytes(4, &[int(1, 1), double(2, 1.0), quantile.repeat(quantiles)].concat());
        check(&family("m", 2, &[summary]), &options(), Some(2 + quantiles as u64));
    }
}

/// Series with native scraping off; on; on with classic kept; converted; converted with classic kept.
#[test]
fn histograms() {
    let inf = f64::INFINITY;
    let zero = [double(6, 0.001), double(2, f64::NAN)].concat();
    for (histogram, series) in [
        (histogram(&[1.0, inf], &[]), [4, 4, 4, 1, 5]),
        (histogram(&[1.0], &[]), [4, 4, 4, 1, 5]),
        (histogram(&[1.0, inf, 7.0], &[]), [4, 4, 4, 1, 5]),
        (histogram(&[], &[]), [3, 3, 3, 1, 4]),
        (vec![], [3, 3, 3, 1, 4]),
        (histogram(&[], &native()), [3, 1, 1, 1, 4]),
        (histogram(&[], &zero), [3, 1, 1, 1, 4]),
        (histogram(&[], &int(7, 1)), [3, 1, 1, 1, 4]),
        (histogram(&[1.0, 2.0], &native()), [5, 1, 6, 1, 6]),
        (histogram(&[1.0, inf], &native()), [4, 1, 5, 1, 5]),
    ] {
        for kind in [4, 5] {
            let body = family("m", kind, std::slice::from_ref(&histogram));
            let switches =
                [[false, false, false], [true, false, false], [true, true, false], [false, false, true], [false, true, true]];
            for ([native_histograms, always_classic, convert_nhcb], series) in switches.into_iter().zip(series) {
                let options = CountOptions { native_histograms, always_classic, convert_nhcb, ..options() };
                check(&body, &options, Some(series));
            }
        }
    }
}

#[test]
fn names_and_bounds_are_those_of_the_text_format() {
    let body = family("m", 4, &[histogram(&[1e6], &[])]);
    let metrics =
        |options| count(options, &body).unwrap().metrics.into_iter().map(|(name, count)| (name, count.total)).collect::<Vec<_>>();
    let expected = [("m_bucket".to_owned(), 2), ("m_count".to_owned(), 1), ("m_sum".to_owned(), 1)];
    let options = CountOptions { per_metric: true, ..options() };
    assert_eq!(metrics(options.clone()), expected);
    assert_eq!(metrics(assembling(&options)), expected);
    // "1e+06" is the longest value.
    check_length(&body, 5, true);
    check_length(&body, 4, false);
}

#[track_caller]
fn check_length(body: &[u8], label_value_length_limit: u64, fits: bool) {
    let options = CountOptions { label_value_length_limit, ..options() };
    // The values of `__name__` count too, hence a family with a name no suffix is added to.
    let body = [body, &family("m", 0, &[vec![]])].concat();
    let result = count(CountOptions { metric_relabel_configs: rename_to_m(), ..options }, &body);
    assert_eq!(result.is_ok(), fits, "{result:?}");
}

fn rename_to_m() -> Arc<Vec<RelabelConfig>> {
    let rule = Rule { target_label: Some("__name__".into()), replacement: Some("m".into()), ..Default::default() };
    let rule = RelabelConfig::new(rule, PrometheusLine::V3, NameScheme::Utf8);
    Arc::new(rule.into_iter().collect())
}

#[test]
fn refused_messages() {
    let counter = |labels: Vec<u8>| family("m", 0, &[labels]);
    let good = counter(label("a", "b"));
    for (what, body) in [
        ("cut off", good[..good.len() - 1].to_vec()),
        ("cut off prefix", vec![0x80]),
        ("long prefix", vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ("huge", [varint(65 << 20), vec![0]].concat()),
        ("garbage", vec![3, 0xff, 0xff, 0xff]),
        ("empty name", family("", 0, &[vec![]])),
        ("unknown type", family("m", 6, &[vec![]])),
        ("empty label name", counter(label("", "b"))),
        ("repeated label", counter([label("a", "b"), label("a", "c")].concat())),
        ("name as label", counter(label("__name__", "b"))),
        ("illegal label name", counter(label("a.b", "c"))),
        ("illegal metric name", family("a.b", 0, &[vec![]])),
        ("label not in UTF-8", counter(bytes(1, &[bytes(1, b"a"), bytes(2, b"\xff")].concat()))),
        ("wrong wire type", family("m", 0, &[int(1, 5)])),
        ("wrong wire type of a value", family("m", 0, &[bytes(3, &int(1, 5))])),
        ("quantile label twice", family("m", 4, &[[label("le", "1"), histogram(&[], &[])].concat()])),
    ] {
        assert_eq!(verdict(&options(), &body), None, "{what}");
        assert_eq!(verdict(&assembling(&options()), &body), None, "{what}, labels assembled");
    }
    let utf8 = CountOptions { utf8_names: true, ..options() };
    check(&counter(label("a.b", "c")), &utf8, Some(1));
    check(&family("a.b", 0, &[vec![]]), &utf8, Some(1));
}

#[test]
fn native_buckets_must_fit_their_spans() {
    let span = |length| bytes(12, &[int(1, 0), int(2, length)].concat());
    for (rest, fits) in [
        ([span(2), bytes(13, &[2, 1])].concat(), true),
        ([span(2), int(13, 2), int(13, 1)].concat(), true),
        ([span(1), span(1), bytes(13, &[2, 1])].concat(), true),
        ([span(2), bytes(13, &[2])].concat(), false),
        (bytes(9, &int(2, 1)), false),
        ([double(4, 1.0), span(1), bytes(14, &[0; 8])].concat(), true),
        ([double(4, 1.0), span(1), bytes(13, &[2])].concat(), false),
    ] {
        let options = CountOptions { native_histograms: true, ..options() };
        check(&family("m", 4, &[histogram(&[], &rest)]), &options, fits.then_some(1));
    }
}

#[test]
fn classic_histograms_that_cannot_be_converted_are_refused() {
    let converting = CountOptions { convert_nhcb: true, ..options() };
    let body = family("m", 4, &[histogram(&[f64::NAN], &[])]);
    check(&body, &converting, None);
    check(&body, &options(), Some(4));
}

#[test]
fn errors_name_place_and_family() {
    let first = family("first", 0, &[vec![]]);
    let body = [first.clone(), family("second", 9, &[vec![]])].concat();
    let error = count(options(), &body).unwrap_err();
    assert_eq!(
        error,
        CountError::Message { offset: first.len() as u64, family: "second".to_owned(), expected: "a metric type from 0 to 5" }
    );
    assert_eq!(error.to_string(), format!("byte {}: metric family \"second\": expected a metric type from 0 to 5", first.len()));
}
