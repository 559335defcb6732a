//! The text of a scrape: always the same series, with values that change from tick to tick.

use std::fmt::Write;

/// Series about the process that come with every scrape of `/metrics`.
pub(crate) const HOUSEKEEPING_SERIES: u64 = 45;

/// Series of one metric; more series make more metrics.
const SERIES_PER_METRIC: u64 = 100;

/// Prefix of the generator's own metrics.
pub(crate) const METRIC_PREFIX: &str = "kvass_demo_metric_";

/// Text formats that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// Prometheus text.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What a scraper that sent this `Accept` gets.
    pub(crate) fn accepted_by(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// How many series are the generator's own and how many are about its process, of `total`.
pub(crate) fn split(total: u64) -> (u64, u64) {
    let housekeeping = total.min(HOUSEKEEPING_SERIES);
    (total - housekeeping, housekeeping)
}

/// `own` series of the generator and the first `housekeeping` ones about its process.
pub(crate) fn text(own: u64, housekeeping: u64, tick: u64, format: Format) -> String {
    let mut out = String::with_capacity(usize::try_from(own).unwrap_or(0).saturating_mul(48) + 4096);
    own_series(&mut out, own, tick);
    housekeeping_series(&mut out, housekeeping, tick, format);
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

// Writing to a String cannot fail, hence the ignored results in this file.

fn own_series(out: &mut String, count: u64, tick: u64) {
    for index in 0..count {
        let (metric, series) = (index / SERIES_PER_METRIC, index % SERIES_PER_METRIC);
        if series == 0 {
            let _ = writeln!(
                out,
                "# HELP {METRIC_PREFIX}{metric:04} A gauge of the generator.\n# TYPE {METRIC_PREFIX}{metric:04} gauge"
            );
        }
        let value = (index * 7 + tick * 13) % 1000;
        let _ = writeln!(out, "{METRIC_PREFIX}{metric:04}{{series=\"{series:02}\"}} {value}");
    }
}

fn housekeeping_series(out: &mut String, count: u64, tick: u64, format: Format) {
    let mut left = count;
    for (name, kind, variants) in HOUSEKEEPING {
        if left == 0 {
            return;
        }
        let family = match format {
            Format::OpenMetrics if *kind == "counter" => name.trim_end_matches("_total"),
            _ => name,
        };
        let _ = writeln!(out, "# TYPE {family} {kind}");
        for variant in variants.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            let value = match *kind {
                "gauge" => 1 + (left * 31 + tick) % 97,
                _ => tick * left,
            };
            let _ = writeln!(out, "{name}{variant} {value}");
            left -= 1;
        }
    }
}

/// Metric, type, and what follows the metric's name in each of its series: what a usual exporter tells
/// of its own process.
const HOUSEKEEPING: &[(&str, &str, &[&str])] = &[
    (
        "go_gc_duration_seconds",
        "summary",
        &[
            "{quantile=\"0\"}",
            "{quantile=\"0.25\"}",
            "{quantile=\"0.5\"}",
            "{quantile=\"0.75\"}",
            "{quantile=\"1\"}",
            "_sum",
            "_count",
        ],
    ),
    ("go_goroutines", "gauge", PLAIN),
    ("go_info", "gauge", &["{version=\"none\"}"]),
    ("go_threads", "gauge", PLAIN),
    ("go_memstats_allocated_bytes_total", "counter", PLAIN),
    ("go_memstats_frees_total", "counter", PLAIN),
    ("go_memstats_lookups_total", "counter", PLAIN),
    ("go_memstats_mallocs_total", "counter", PLAIN),
    ("go_memstats_alloc_bytes", "gauge", PLAIN),
    ("go_memstats_buck_hash_sys_bytes", "gauge", PLAIN),
    ("go_memstats_gc_cpu_fraction", "gauge", PLAIN),
    ("go_memstats_gc_sys_bytes", "gauge", PLAIN),
    ("go_memstats_heap_alloc_bytes", "gauge", PLAIN),
    ("go_memstats_heap_idle_bytes", "gauge", PLAIN),
    ("go_memstats_heap_inuse_bytes", "gauge", PLAIN),
    ("go_memstats_heap_objects", "gauge", PLAIN),
    ("go_memstats_heap_released_bytes", "gauge", PLAIN),
    ("go_memstats_heap_sys_bytes", "gauge", PLAIN),
    ("go_memstats_last_gc_time_seconds", "gauge", PLAIN),
    ("go_memstats_mcache_inuse_bytes", "gauge", PLAIN),
    ("go_memstats_mcache_sys_bytes", "gauge", PLAIN),
    ("go_memstats_mspan_inuse_bytes", "gauge", PLAIN),
    ("go_memstats_mspan_sys_bytes", "gauge", PLAIN),
    ("go_memstats_next_gc_bytes", "gauge", PLAIN),
    ("go_memstats_other_sys_bytes", "gauge", PLAIN),
    ("go_memstats_stack_inuse_bytes", "gauge", PLAIN),
    ("go_memstats_stack_sys_bytes", "gauge", PLAIN),
    ("go_memstats_sys_bytes", "gauge", PLAIN),
    ("process_cpu_seconds_total", "counter", PLAIN),
    ("process_max_fds", "gauge", PLAIN),
    ("process_open_fds", "gauge", PLAIN),
    ("process_resident_memory_bytes", "gauge", PLAIN),
    ("process_start_time_seconds", "gauge", PLAIN),
    ("process_virtual_memory_bytes", "gauge", PLAIN),
    ("process_virtual_memory_max_bytes", "gauge", PLAIN),
    ("promhttp_metric_handler_requests_in_flight", "gauge", PLAIN),
    ("promhttp_metric_handler_requests_total", "counter", &["{code=\"200\"}", "{code=\"500\"}", "{code=\"503\"}"]),
];

const PLAIN: &[&str] = &[""];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn series(text: &str) -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    }

    #[test]
    fn exactly_as_many_series_as_asked_for() {
        for total in [0, 1, 7, 44, 45, 46, 145, 146, 10_045] {
            let (own, housekeeping) = split(total);
            for format in [Format::Text, Format::OpenMetrics] {
                let text = text(own, housekeeping, 3, format);
                assert_eq!(series(&text).len() as u64, total, "{total} {format:?}");
                let own_found = series(&text).iter().filter(|name| name.starts_with(METRIC_PREFIX)).count();
                assert_eq!(own_found as u64, own, "{total} {format:?}");
            }
        }
    }

    #[test]
    fn series_stay_while_values_change() {
        let (first, second) = (text(500, 45, 1, Format::Text), text(500, 45, 2, Format::Text));
        assert_eq!(series(&first), series(&second));
        assert_ne!(first, second);
    }

    #[test]
    fn another_parser_finds_the_same_samples() {
        let text = text(10_000, 45, 9, Format::Text);
        let scrape = prometheus_parse::Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
        let gauges = scrape.samples.iter().filter(|sample| matches!(sample.value, prometheus_parse::Value::Gauge(_)));
        assert_eq!(gauges.filter(|sample| sample.metric.starts_with(METRIC_PREFIX)).count(), 10_000);
    }

    #[test]
    fn openmetrics_ends_and_names_counters_without_total() {
        let text = text(1, 45, 1, Format::OpenMetrics);
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total "));
        let families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert_eq!(families.len(), families.iter().collect::<BTreeSet<_>>().len(), "a family twice");
    }
}
