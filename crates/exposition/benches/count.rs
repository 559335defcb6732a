//! 100,000 series in 15 MB: the fast scanner, the full parser, and `prometheus-parse` as the baseline.

#![allow(clippy::unwrap_used)] // A benchmark may panic.

use std::sync::Arc;

use divan::{Bencher, counter::BytesCount};
use kvass_exposition::{CountOptions, SeriesCounter};
use kvass_model::{Labels, PrometheusLine};
use kvass_relabel::{NameScheme, RelabelConfig, Rule};

const SERIES: usize = 100_000;

fn main() {
    divan::main();
}

/// Four labels of twenty characters each, as a large exporter writes them.
fn body() -> String {
    let mut body = String::from("# HELP requests_total Requests.\n# TYPE requests_total counter\n");
    for i in 0..SERIES {
        let [a, b, c, d] = [i, i / 10, i / 100, i / 1000].map(|n| format!("value-{n:014}"));
        body += &format!("requests_total{{namespace=\"{a}\",pod=\"{b}\",container=\"{c}\",code=\"{d}\"}} {i}.5\n");
    }
    body
}

fn count(bencher: Bencher<'_, '_>, options: &CountOptions, chunk: usize) {
    let body = body();
    bencher.counter(BytesCount::of_str(&body)).bench_local(|| {
        let mut counter = SeriesCounter::new(options.clone());
        for chunk in body.as_bytes().chunks(chunk) {
            counter.push(chunk).unwrap();
        }
        let counts = counter.finish().unwrap();
        assert_eq!(counts.count.total, SERIES as u64);
        counts
    });
}

fn target_labels() -> Labels {
    Labels::from([("job", "exporter"), ("instance", "10.0.0.1:9100")])
}

fn rules(rule: Rule) -> Arc<Vec<RelabelConfig>> {
    Arc::new(vec![RelabelConfig::new(rule, PrometheusLine::V3, NameScheme::Legacy).unwrap()])
}

/// The floor: bytes scanned for line feeds, nothing understood.
#[divan::bench]
fn line_feeds(bencher: Bencher<'_, '_>) {
    let body = body();
    bencher.counter(BytesCount::of_str(&body)).bench_local(|| count_lines(body.as_bytes()));
}

fn count_lines(body: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', body).count()
}

#[divan::bench(args = [16 << 10, 1 << 30])]
fn scanner(bencher: Bencher<'_, '_>, chunk: usize) {
    count(bencher, &CountOptions { target_labels: target_labels(), ..CountOptions::default() }, chunk);
}

#[divan::bench]
fn scanner_per_metric(bencher: Bencher<'_, '_>) {
    count(bencher, &CountOptions { per_metric: true, ..CountOptions::default() }, 16 << 10);
}

#[divan::bench]
fn parser_with_label_limit(bencher: Bencher<'_, '_>) {
    count(bencher, &CountOptions { label_limit: 30, target_labels: target_labels(), ..CountOptions::default() }, 16 << 10);
}

fn count_with_rule(bencher: Bencher<'_, '_>, rule: Rule) {
    let options = CountOptions { metric_relabel_configs: rules(rule), target_labels: target_labels(), ..CountOptions::default() };
    count(bencher, &options, 16 << 10);
}

/// Decided without assembling labels.
#[divan::bench]
fn parser_with_drop_rule(bencher: Bencher<'_, '_>) {
    let source_labels = Some(vec!["__name__".into()]);
    count_with_rule(bencher, Rule { action: Some("drop".into()), source_labels, regex: Some("go_.*".into()), ..Rule::default() });
}

#[divan::bench]
fn parser_with_labeldrop_rule(bencher: Bencher<'_, '_>) {
    count_with_rule(bencher, Rule { action: Some("labeldrop".into()), regex: Some("code|uid".into()), ..Rule::default() });
}

#[divan::bench(sample_count = 10)]
fn prometheus_parse(bencher: Bencher<'_, '_>) {
    let body = body();
    bencher.counter(BytesCount::of_str(&body)).bench_local(|| {
        let scrape = prometheus_parse::Scrape::parse(body.lines().map(|line| Ok(line.to_owned()))).unwrap();
        assert_eq!(scrape.samples.len(), SERIES);
        scrape
    });
}
