//! What a Prometheus counts of its own discovery. Pure.

use std::collections::BTreeMap;

/// The counters of discovery in a `/metrics` answer.
#[derive(Debug, Default)]
pub(super) struct DiscoveryMetrics(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl DiscoveryMetrics {
    /// Reads the lines that matter here; what cannot be read is left out.
    pub(super) fn read(text: &str) -> Self {
        let ours = |line: &&str| line.starts_with("prometheus_sd_") || line.starts_with("prometheus_treecache_");
        DiscoveryMetrics(text.lines().filter(ours).filter_map(sample).collect())
    }

    /// How many sections could not even be set up.
    pub(super) fn not_set_up(&self) -> f64 {
        self.sum(|sample| sample.name == "prometheus_sd_failed_configs" && sample.is("name", "scrape")).unwrap_or_default()
    }

    /// Failed attempts to read the service of a section. Of the section alone where Prometheus tells them apart, as
    /// Prometheus 3 does, else of all sections of its mechanism; where even that is not known, of all.
    pub(super) fn failures(&self, mechanism: &str, job: &str) -> f64 {
        let is_failure = |sample: &Sample| sample.name.ends_with("failures_total");
        if matches!(mechanism, "serverset" | "nerve") {
            return self.sum(|sample| sample.name.starts_with("prometheus_treecache_") && is_failure(sample)).unwrap_or_default();
        }
        let own = format!("prometheus_sd_{mechanism}_");
        let refreshes = self.of_refreshes("prometheus_sd_refresh_failures_total", mechanism, job);
        let own = self.sum(|sample| sample.name.starts_with(&own) && is_failure(sample));
        match (refreshes, own) {
            (None, None) => self.sum(is_failure).unwrap_or_default(),
            (refreshes, own) => refreshes.unwrap_or_default() + own.unwrap_or_default(),
        }
    }

    /// Attempts to read the service, successful or not, of the same sections; `None` where they are not counted.
    pub(super) fn attempts(&self, mechanism: &str, job: &str) -> Option<f64> {
        let refreshes = self.of_refreshes("prometheus_sd_refresh_duration_seconds_count", mechanism, job);
        let own = format!("prometheus_sd_{mechanism}_fetch_duration_seconds_count");
        refreshes.or_else(|| self.sum(|sample| sample.name == own))
    }

    fn of_refreshes(&self, name: &str, mechanism: &str, job: &str) -> Option<f64> {
        let of_job = self.sum(|sample| sample.name == name && sample.is("config", job));
        of_job.or_else(|| self.sum(|sample| sample.name == name && sample.is("mechanism", mechanism)))
    }

    fn sum(&self, mut wanted: impl FnMut(&Sample) -> bool) -> Option<f64> {
        let values = self.0.iter().filter(|sample| wanted(sample)).map(|sample| sample.value);
        values.reduce(|sum, value| sum + value)
    }
}

impl Sample {
    fn is(&self, label: &str, value: &str) -> bool {
        self.labels.get(label).is_some_and(|known| known == value)
    }
}

/// The labels that matter here have no value that needs an escape.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    let labels = labels.split("\",").filter_map(|pair| pair.split_once("=\""));
    let labels = labels.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned()));
    Some(Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"# HELP prometheus_sd_refresh_failures_total Number of refresh failures for the given SD mechanism.
prometheus_sd_azure_failures_total 1
prometheus_sd_failed_configs{name="notify"} 7
prometheus_sd_failed_configs{name="scrape"} 2
prometheus_sd_refresh_duration_seconds{mechanism="triton",quantile="0.5"} NaN
prometheus_sd_refresh_duration_seconds_count{mechanism="triton"} 3
prometheus_sd_refresh_failures_total{mechanism="triton"} 2
prometheus_sd_refresh_failures_total{mechanism="uyuni"} 1.5e+01
prometheus_treecache_zookeeper_failures_total 4
go_goroutines 33
"#;

    #[test]
    fn counters_by_section_or_mechanism() {
        let metrics = DiscoveryMetrics::read(OLD);
        assert_eq!(metrics.not_set_up(), 2.0);
        for (mechanism, failures, attempts) in [
            ("triton", 2.0, Some(3.0)),
            ("uyuni", 15.0, None),
            ("azure", 1.0, None),
            ("nerve", 4.0, None),
            ("stackit", 22.0, None),
        ] {
            assert_eq!((metrics.failures(mechanism, "j"), metrics.attempts(mechanism, "j")), (failures, attempts), "{mechanism}");
        }
        let by_job = DiscoveryMetrics::read(
            "prometheus_sd_refresh_failures_total{config=\"a\",mechanism=\"triton\"} 1\n\
             prometheus_sd_refresh_failures_total{config=\"b\",mechanism=\"triton\"} 5\n\
             prometheus_sd_kuma_fetch_failures_total 2\n\
             prometheus_sd_kuma_fetch_duration_seconds_count 8\n\
             prometheus_sd_refresh_failures_total{config=\"\",mechanism=\"rds\"} 4\n\
             prometheus_sd_refresh_duration_seconds_count{config=\"\",mechanism=\"rds\"} 9\n\
             prometheus_sd_broken{x 1\n",
        );
        assert_eq!(by_job.failures("triton", "b"), 5.0);
        assert_eq!(by_job.failures("triton", "c"), 6.0);
        assert_eq!((by_job.failures("rds", "c"), by_job.attempts("rds", "c")), (4.0, Some(9.0)), "which has no job there");
        assert_eq!((by_job.failures("kuma", "c"), by_job.attempts("kuma", "c")), (2.0, Some(8.0)));
    }
}
