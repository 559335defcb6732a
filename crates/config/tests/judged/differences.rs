//! Where we judge otherwise on purpose.

use kvass_model::PrometheusLine::{self, V2, V3};

/// Cases that we judge otherwise than Prometheus.
pub(crate) struct Difference {
    /// Name of the case; each `*` stands for any text.
    pub(crate) cases: &'static str,
    pub(crate) lines: &'static [PrometheusLine],
    #[allow(dead_code, reason = "for the reader")]
    pub(crate) why: &'static str,
}

const BOTH: &[PrometheusLine] = &[V2, V3];

const fn both(cases: &'static str, why: &'static str) -> Difference {
    Difference { cases, lines: BOTH, why }
}

const fn v2(cases: &'static str, why: &'static str) -> Difference {
    Difference { cases, lines: &[V2], why }
}

const ZERO_INTERVAL: &str = "Prometheus takes it and ends: its ticker does not survive a period of zero";
const STATIC_TARGET: &str =
    "promtool builds the targets of static_configs, Prometheus does not when it loads; `kvass check config` does, too";
const LATER_2: &str = "a later 2.x judges as we do; the line is one";
const NO_REGION: &str = "2.42 asks the machine it runs on for its region, later versions do so once they discover";
const NEWER_GO: &str = "the library of a newer Go, with which later 2.x are built, judges as we do";
const NO_MANAGER: &str = "Prometheus takes it and then has no secret manager to ask, so the job scrapes nothing";
const PARSER: &str = "our YAML parser is of a newer school, and nobody writes this; what shards get is written anew";
const OVERFLOW: &str = "Prometheus takes it for another number, as it is too large";

pub(crate) const DIFFERENCES: &[Difference] = &[
    both("keys: *: refresh_interval: 0", ZERO_INTERVAL),
    both("keys: *: refresh_interval: null", ZERO_INTERVAL),
    both("values: *: refresh_interval: 0", ZERO_INTERVAL),
    both("values: *: refresh_interval: null", ZERO_INTERVAL),
    both("bad/docker_interval.bad.yml", ZERO_INTERVAL),
    both("bad/file_interval_zero.bad.yml", ZERO_INTERVAL),
    both("bad/blank.bad.yml", "a file that is just being written looks like this, and would end every scrape"),
    both("keys: job: scrape_classic_histograms: *", "known to 2.45 to 2.55, neither of which judges here"),
    both("good/histograms.good.yml", "has scrape_classic_histograms"),
    both("values: job/static_configs[]: targets: ['']", STATIC_TARGET),
    both("values: job/static_configs[]: targets: [1, true, null]", STATIC_TARGET),
    both("good/static_slash_with_rules.good.yml", STATIC_TARGET),
    v2("good/scalars_keep_their_text.good.yml", STATIC_TARGET),
    both("between_keys: job: static target with a path, and a rule", STATIC_TARGET),
    both("kvass-go/01-addresses.yml", STATIC_TARGET),
    both("kvass-go/05-relabel.yml", STATIC_TARGET),
    both(
        "between_keys: alerting/alertmanagers[]: static target with a path, and a rule",
        "promtool builds the targets of Alertmanagers, Prometheus does not when it loads",
    ),
    both(
        "between_keys: job/tls_config: certificate inline, key as a file",
        "promtool forgets that a certificate may be inline; Prometheus does not",
    ),
    both("keys: *: filters: [null]", "a filter of nothing is a slip, although Docker's section takes it for one without a name"),
    both("values: job: body_size_limit: 8EB", OVERFLOW),
    both("values: job: sample_limit: 18446744073709551616", OVERFLOW),
    both("values: job: metrics_path: !!binary /w==", "not UTF-8, which nothing here can hold"),
    both("keys: global: metric_name_escaping_scheme: *", "looked at by Prometheus once there is a job"),
    both("values: global: metric_name_escaping_scheme: none", "looked at by Prometheus once there is a job"),
    both("keys: job/*_ref: *", NO_MANAGER),
    both("bad/http_secret_ref.bad.yml", NO_MANAGER),
    both("yaml: unknown directive", PARSER),
    both("yaml: tab in an empty line", PARSER),
    both("yaml: block of tabs", PARSER),
    both("yaml: exclamation mark alone", PARSER),
    both("yaml: question mark", PARSER),
    v2("keys: job/oauth2: client_secret: *", LATER_2),
    v2("between_keys: job: OAuth without a secret", LATER_2),
    v2("between_keys: job: OAuth with TLS that lacks a key", LATER_2),
    v2("between_keys: job/http_sd_configs[]: authentication twice", LATER_2),
    v2("between_keys: job/http_sd_configs[]: TLS without a key", LATER_2),
    v2("between_keys: tracing: TLS without a key", LATER_2),
    v2("values: job: metric_name_escaping_scheme: allow-utf-8", "2.x does not know the key, and its names are not UTF-8"),
    both("values: job/relabel_configs[]: source_labels: [null]", "a label without a name is a slip"),
    both("values: job/scaleway_sd_configs[]: zone: pl-waw-12", LATER_2),
    both("between_keys: job/uyuni_sd_configs[]: bearer token beside basic auth", LATER_2),
    both("keys: job/ec2_sd_configs[]: region: ''", NO_REGION),
    both("keys: job/ec2_sd_configs[]: region: null", NO_REGION),
    both("keys: job/lightsail_sd_configs[]: region: ''", NO_REGION),
    both("keys: job/lightsail_sd_configs[]: region: null", NO_REGION),
    both(
        "between_keys: job/aws_sd_configs[]: authentication twice",
        "a slip, which Prometheus takes for this section alone: it copies the settings without looking",
    ),
    v2("good/clouds_newer.good.yml", LATER_2),
    both("values: job/azure_sd_configs[]: authentication_method: SDK", LATER_2),
    both("values: job/azure_sd_configs[]: authentication_method: WorkloadIdentity", LATER_2),
    both("values: job/openstack_sd_configs[]: role: loadbalancer", LATER_2),
    both("between_keys: job/openstack_sd_configs[]: TLS without a key", LATER_2),
    v2("values: job: proxy_url: http://::1", NEWER_GO),
    v2("values: job: proxy_url: http://[x]:80", NEWER_GO),
    v2("values: job/relabel_configs[]: regex: '\\p{letter}'", NEWER_GO),
    v2("values: job/relabel_configs[]: regex: '(?<n>a)'", NEWER_GO),
];

/// The entry that allows this case to differ.
pub(crate) fn reason(case: &str, line: PrometheusLine) -> Option<usize> {
    DIFFERENCES.iter().position(|difference| matches(difference.cases, case) && difference.lines.contains(&line))
}

fn matches(pattern: &str, case: &str) -> bool {
    let Some((beginning, rest)) = pattern.split_once('*') else { return case == pattern };
    let Some(mut case) = case.strip_prefix(beginning) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, behind)) = case.split_once(part) else { return false };
        case = behind;
    }
    case.ends_with(end)
}
