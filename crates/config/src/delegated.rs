use std::{fmt, time::Duration};

use crate::{
    ConfigHash, schema,
    schema::{Kind, visit_values},
    yaml::{Node, Scalar, Value, emit},
};

/// Label by which a target of a [`delegate_config`] names the section that it was discovered by: the digest.
///
/// It comes from a URL parameter, which wins over whatever was discovered in Prometheus 2 and which no mechanism sets.
pub const SECTION_LABEL: &str = "__param_kvass_section";

/// Label of the one static target in each job of a [`delegate_config`]; no other target has it.
pub const MARKER_LABEL: &str = "__kvass_marker__";

/// Longer ones do not fit a duration of Prometheus, and no mechanism sets one as long.
const SENTINEL_INTERVAL: &str = "290y";
const SENTINEL_TIMEOUT: &str = "289y";

/// One section of a mechanism that Prometheus knows and kvass has no code for.
///
/// It is kept as it is written, secrets included, but for relative paths, which are resolved; what is wrong with it only a
/// Prometheus can tell.
#[derive(Clone, PartialEq)]
pub struct OtherSdConfig {
    /// Its key in the job, for example `kuma_sd_configs`.
    pub key: String,
    /// How often the service is asked. A minute where nothing is written: no mechanism does it less often by itself but
    /// those that watch.
    pub refresh_interval: Duration,
    section: Node,
}

impl OtherSdConfig {
    pub(crate) fn new(key: &str, refresh_interval: Duration, section: &Node) -> Self {
        OtherSdConfig { key: key.to_owned(), refresh_interval, section: section.clone() }
    }

    /// How Prometheus calls the mechanism in its metrics: for a section of AWS by its role.
    pub fn mechanism(&self) -> &str {
        let role = || self.section.get("role").and_then(Node::as_scalar).map(Scalar::as_text);
        match self.key.strip_suffix("_sd_configs").unwrap_or(&self.key) {
            "aws" => role().unwrap_or("aws"),
            mechanism => mechanism,
        }
    }

    /// Stands for everything that is written in the section, and the key.
    pub fn digest(&self) -> String {
        let document = Node::map([(self.key.as_str(), self.section.clone())]);
        ConfigHash::of(&document, &[]).as_str().to_owned()
    }

    /// `text` with the secrets of this section replaced by `<secret>`.
    pub fn without_secrets(&self, text: &str) -> String {
        let mut secrets = Vec::new();
        let mut section = self.section.clone();
        if let Some(kind) = schema::discovery_section(&self.key) {
            visit_values(kind, &mut section, &mut |kind, node| {
                if matches!(kind, Kind::Secret) {
                    collect(node, &mut secrets);
                }
            });
        } else {
            collect(&section, &mut secrets);
        }
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "<secret>"))
    }
}

fn collect(node: &Node, texts: &mut Vec<String>) {
    match &node.value {
        Value::Scalar(scalar) => texts.extend(Some(scalar.as_text().to_owned()).filter(|text| !text.is_empty())),
        Value::List(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Map(entries) => entries.iter().for_each(|entry| collect(&entry.value, texts)),
    }
}

/// Leaves out the section, which holds secrets.
impl fmt::Debug for OtherSdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherSdConfig").field("key", &self.key).field("digest", &self.digest()).finish_non_exhaustive()
    }
}

/// The configuration of a Prometheus that discovers what these sections name and scrapes nothing; with their secrets.
///
/// Each section is a job of its own that drops all its targets. The defaults that a job gives to its targets are texts that
/// no mechanism sets. A static target tells that the section is loaded, and what a target has by its job alone.
pub fn delegate_config<'a>(sections: impl IntoIterator<Item = &'a OtherSdConfig>) -> String {
    let jobs: Vec<Node> = sections.into_iter().map(job).collect();
    let global =
        Node::map([("scrape_interval", Node::text(SENTINEL_INTERVAL)), ("scrape_timeout", Node::text(SENTINEL_TIMEOUT))]);
    let document = Node::map([("global", global), ("scrape_configs", Node::list(jobs))]);
    format!("# Written by the kvass coordinator; changes are lost.\n{}", emit(&document))
}

fn job(section: &OtherSdConfig) -> Node {
    let digest = section.digest();
    let marker =
        [("targets", Node::list(vec![Node::text("kvass")])), ("labels", Node::map([(MARKER_LABEL, Node::text("marker"))]))];
    let parameter = SECTION_LABEL.trim_start_matches("__param_");
    Node::map([
        ("job_name", Node::text(format!("kvass-{digest}"))),
        ("metrics_path", Node::text("/kvass-delegate")),
        ("scheme", Node::text("kvass")),
        ("params", Node::map([(parameter, Node::list(vec![Node::text(&digest)]))])),
        ("relabel_configs", Node::list(vec![Node::map([("action", Node::scalar(Scalar::text("drop")))])])),
        ("static_configs", Node::list(vec![Node::map(marker)])),
        (section.key.as_str(), Node::list(vec![section.section.clone()])),
    ])
}

#[cfg(test)]
mod tests {
    use kvass_model::PrometheusLine;

    use super::*;
    use crate::{Config, LoadContext, SdConfig};

    fn sections(text: &str) -> Vec<OtherSdConfig> {
        let context = LoadContext {
            path: "/etc/prometheus/p.yml".into(),
            line: PrometheusLine::V3,
            env: &|_| None,
            read_glob: &|_| Ok(Vec::new()),
        };
        let config = Config::parse(text, &context).unwrap_or_else(|error| panic!("{error}"));
        let sections = config.jobs().iter().flat_map(|job| job.service_discovery.clone());
        sections.map(|section| if let SdConfig::Other(other) = section { other } else { panic!("{section:?}") }).collect()
    }

    const TEXT: &str = "
scrape_configs:
- job_name: a
  scheme: https
  params: {x: [y]}
  triton_sd_configs:
  - {account: a, dns_suffix: d, endpoint: e, tls_config: {cert_file: cert.pem, key: k3y}}
  - {account: b, dns_suffix: d, endpoint: e, refresh_interval: 5s}
- job_name: b
  uyuni_sd_configs: [{server: 'http://u', username: n, password: 's3cret'}]
";

    #[test]
    fn mechanisms() {
        let text =
            "scrape_configs: [{job_name: j, rds_sd_configs: [{region: r}], aws_sd_configs: [{role: elasticache, region: r}]}]";
        let sections = sections(text);
        let mut mechanisms: Vec<&str> = sections.iter().map(OtherSdConfig::mechanism).collect();
        mechanisms.sort_unstable();
        assert_eq!(mechanisms, ["elasticache", "rds"]);
    }

    #[test]
    fn every_section_becomes_a_job_that_drops_everything() {
        let sections = sections(TEXT);
        let keys: Vec<_> = sections.iter().map(|s| (s.key.as_str(), s.refresh_interval.as_secs())).collect();
        assert_eq!(keys, [("triton_sd_configs", 60), ("triton_sd_configs", 5), ("uyuni_sd_configs", 60)]);
        let digests: std::collections::BTreeSet<String> = sections.iter().map(OtherSdConfig::digest).collect();
        assert_eq!(digests.len(), 3);

        let written = delegate_config(&sections[..1]);
        let digest = sections[0].digest();
        let expected = format!(
            "# Written by the kvass coordinator; changes are lost.
global:
  scrape_interval: \"290y\"
  scrape_timeout: \"289y\"
scrape_configs:
  - job_name: \"kvass-{digest}\"
    metrics_path: \"/kvass-delegate\"
    scheme: kvass
    params:
      kvass_section:
        - \"{digest}\"
    relabel_configs:
      - action: drop
    static_configs:
      - targets:
          - kvass
        labels:
          __kvass_marker__: marker
    triton_sd_configs:
      - account: a
        dns_suffix: d
        endpoint: e
        tls_config:
          cert_file: \"/etc/prometheus/cert.pem\"
          key: k3y
"
        );
        assert_eq!(written, expected);
        assert!(Config::parse(&delegate_config(&sections), &context()).is_ok());
        assert_eq!(delegate_config([]).lines().last(), Some("scrape_configs: []"));
    }

    fn context() -> LoadContext<'static> {
        LoadContext { path: "/d.yml".into(), line: PrometheusLine::V2, env: &|_| None, read_glob: &|_| Ok(Vec::new()) }
    }

    #[test]
    fn secrets_are_never_shown() {
        let sections = sections(TEXT);
        let shown = format!("{sections:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("k3y") && shown.contains("uyuni_sd_configs"), "{shown}");
        assert_eq!(sections[2].without_secrets("http://u refused s3cret of n"), "http://u refused <secret> of n");
        assert_eq!(sections[0].without_secrets("k3y?"), "<secret>?");
    }
}
