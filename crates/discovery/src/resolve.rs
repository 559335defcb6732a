//! From target groups to targets: the label set each target starts from, relabelling, checks, identity.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kvass_config::ScrapeConfig;
use kvass_model::{
    ADDRESS_LABEL, INSTANCE_LABEL, JOB_LABEL, Labels, LabelsBuilder, META_LABEL_PREFIX, METRICS_PATH_LABEL, PARAM_LABEL_PREFIX,
    PrometheusLine, SCHEME_LABEL, SCRAPE_INTERVAL_LABEL, SCRAPE_TIMEOUT_LABEL, Target, TargetGroup, TargetHash,
    format_prometheus_duration, parse_prometheus_duration, target_url,
};

use crate::address::complete_port;

/// Labels by which Prometheus 3 lets a target override the job's handling of histograms.
const CONVERT_CLASSIC_LABEL: &str = "__convert_classic_histograms_to_nhcb__";
const ALWAYS_CLASSIC_LABEL: &str = "__always_scrape_classic_histograms__";
const NATIVE_LABEL: &str = "__scrape_native_histograms__";

/// What Go's `strconv.ParseBool` takes.
const GO_BOOLEANS: [&str; 12] = ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];

/// The targets of one job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// Unique by hash over the whole job, in the order of the groups.
    pub active: Vec<Arc<Target>>,
    /// Targets that relabelling dropped; at most `keep_dropped_targets` where that is set.
    pub dropped: DroppedTargets,
    /// How many targets relabelling dropped.
    pub dropped_total: usize,
    /// Targets that cannot be built; they never affect their siblings.
    pub failed: Vec<FailedTarget>,
    /// The number of active targets where it exceeds the job's `target_limit`: all of them then fail.
    pub over_limit: Option<u64>,
}

/// Targets that relabelling dropped, as what they were made of. Their labels are put together when somebody asks for them:
/// kept, they would be most of the memory that the discovery of many targets takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DroppedTargets {
    made_for: Option<(Arc<ScrapeConfig>, PrometheusLine)>,
    /// Groups and the index of the target in them.
    targets: Vec<(Arc<TargetGroup>, usize)>,
}

impl DroppedTargets {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The labels of each before relabelling.
    pub fn labels(&self) -> impl Iterator<Item = Labels> {
        let rules = self.made_for.as_ref().map(|(job, line)| JobRules::new(job, *line));
        self.targets.iter().filter_map(move |(group, index)| {
            let rules = rules.as_ref()?;
            Some(rules.discovered_labels(group.targets.get(*index)?, &group.labels).build())
        })
    }
}

/// A target that cannot be scraped as its labels stand after relabelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedTarget {
    /// Its labels before relabelling.
    pub discovered: Labels,
    /// What is wrong with it.
    pub error: String,
}

/// Builds the targets of a job from its groups; see [`Resolver`] for doing so repeatedly.
pub fn resolve(job: &Arc<ScrapeConfig>, groups: &[Arc<TargetGroup>], line: PrometheusLine) -> Resolved {
    let rules = JobRules::new(job, line);
    collect(job, line, groups.iter().map(|group| (group, rules.resolve_group(group))))
}

/// Builds the targets of one job again and again, and spends work only on groups that are new: a change
/// of one pod among thousands costs one group. Unchanged targets keep their [`Arc`].
#[derive(Debug, Default)]
pub struct Resolver {
    made_for: Option<(Arc<ScrapeConfig>, PrometheusLine)>,
    /// By address of the group. The value keeps the group alive, so no other can take that address.
    groups: HashMap<usize, ResolvedGroup>,
}

#[derive(Debug)]
struct ResolvedGroup {
    group: Arc<TargetGroup>,
    outcomes: Vec<Outcome>,
}

impl Resolver {
    /// Nothing is remembered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same as [`resolve`].
    pub fn resolve(&mut self, job: &Arc<ScrapeConfig>, groups: &[Arc<TargetGroup>], line: PrometheusLine) -> Resolved {
        let unchanged =
            self.made_for.as_ref().is_some_and(|(old, old_line)| *old_line == line && (Arc::ptr_eq(old, job) || old == job));
        if !unchanged {
            self.groups.clear();
            self.made_for = Some((Arc::clone(job), line));
        }
        let rules = JobRules::new(job, line);
        let mut before = std::mem::take(&mut self.groups);
        for group in groups {
            let key = Arc::as_ptr(group).addr();
            self.groups.entry(key).or_insert_with(|| {
                before
                    .remove(&key)
                    .unwrap_or_else(|| ResolvedGroup { group: Arc::clone(group), outcomes: rules.resolve_group(group) })
            });
        }
        let resolved = groups.iter().filter_map(|group| self.groups.get(&Arc::as_ptr(group).addr()));
        collect(job, line, resolved.map(|resolved| (&resolved.group, resolved.outcomes.iter().cloned())))
    }
}

#[derive(Clone, Debug)]
enum Outcome {
    Active(Arc<Target>),
    Dropped,
    Failed(Box<FailedTarget>),
}

/// `groups` with what became of each of their targets.
fn collect<'a, G: IntoIterator<Item = Outcome>>(
    job: &Arc<ScrapeConfig>,
    line: PrometheusLine,
    groups: impl Iterator<Item = (&'a Arc<TargetGroup>, G)>,
) -> Resolved {
    let keep_dropped = match usize::try_from(job.keep_dropped_targets) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    let mut resolved = Resolved::default();
    resolved.dropped.made_for = Some((Arc::clone(job), line));
    let dropped = &mut resolved.dropped.targets;
    let mut seen = HashSet::new();
    for (group, index, outcome) in
        groups.flat_map(|(group, outcomes)| outcomes.into_iter().enumerate().map(move |(index, outcome)| (group, index, outcome)))
    {
        match outcome {
            Outcome::Active(target) => {
                if seen.insert(target.hash) {
                    resolved.active.push(target);
                }
            }
            Outcome::Dropped => {
                resolved.dropped_total += 1;
                if dropped.len() < keep_dropped {
                    dropped.push((Arc::clone(group), index));
                }
            }
            Outcome::Failed(failed) => resolved.failed.push(*failed),
        }
    }
    let found = resolved.active.len() as u64;
    resolved.over_limit = (job.target_limit > 0 && found > job.target_limit).then_some(found);
    resolved
}

/// What is the same for all targets of a job.
struct JobRules<'a> {
    job: &'a ScrapeConfig,
    line: PrometheusLine,
    /// Settings of the job that a target may override by a label of this name, as Prometheus renders them.
    settings: Vec<(&'static str, String)>,
    /// First values of the job's `params`, under their label names.
    params: Vec<(String, &'a str)>,
}

impl<'a> JobRules<'a> {
    fn new(job: &'a ScrapeConfig, line: PrometheusLine) -> Self {
        let mut settings = vec![
            (SCRAPE_INTERVAL_LABEL, format_prometheus_duration(job.scrape_interval)),
            (SCRAPE_TIMEOUT_LABEL, format_prometheus_duration(job.scrape_timeout)),
        ];
        if line == PrometheusLine::V3 {
            settings.extend([
                (CONVERT_CLASSIC_LABEL, job.convert_classic_histograms_to_nhcb.to_string()),
                (ALWAYS_CLASSIC_LABEL, job.always_scrape_classic_histograms.to_string()),
                (NATIVE_LABEL, job.scrape_native_histograms.to_string()),
            ]);
        }
        let params = job.params.iter();
        let params = params.filter_map(|(name, values)| Some((format!("{PARAM_LABEL_PREFIX}{name}"), values.first()?.as_str())));
        JobRules { job, line, settings, params: params.collect() }
    }

    fn resolve_group(&self, group: &TargetGroup) -> Vec<Outcome> {
        group.targets.iter().map(|target| self.resolve_target(target, &group.labels)).collect()
    }

    fn resolve_target(&self, target: &Labels, group: &Labels) -> Outcome {
        let mut labels = self.discovered_labels(target, group);
        if !kvass_relabel::process(&self.job.relabel_configs, &mut labels) {
            return Outcome::Dropped;
        }
        let discovered = self.discovered_labels(target, group).build();
        match self.build(&discovered, labels) {
            Ok(target) => Outcome::Active(Arc::new(target)),
            Err(error) => Outcome::Failed(Box::new(FailedTarget { discovered, error })),
        }
    }

    /// The label set relabelling starts from.
    fn discovered_labels(&self, target: &Labels, group: &Labels) -> LabelsBuilder {
        let mut labels = LabelsBuilder::from(target);
        for (name, value) in group.iter() {
            labels.set_if_absent(name, value);
        }
        labels.set_if_absent(JOB_LABEL, &self.job.job_name);
        for (name, value) in &self.settings {
            labels.set_if_absent(name, value);
        }
        labels.set_if_absent(METRICS_PATH_LABEL, &self.job.metrics_path);
        labels.set_if_absent(SCHEME_LABEL, &self.job.scheme);
        for (name, value) in &self.params {
            match self.line {
                PrometheusLine::V2 => labels.set(name, value),
                PrometheusLine::V3 => labels.set_if_absent(name, value),
            }
        }
        labels
    }

    /// The target with these labels, as relabelling left them.
    fn build(&self, discovered: &Labels, mut labels: LabelsBuilder) -> Result<Target, String> {
        let address = labels.get(ADDRESS_LABEL).ok_or("no address: __address__ is missing or empty")?.to_owned();
        let completed = complete_port(&address, labels.get(SCHEME_LABEL).unwrap_or_default());
        let completed = match (self.line, completed) {
            (_, Ok(completed)) => completed,
            (PrometheusLine::V3, Err(_)) => address.as_str().into(),
            (PrometheusLine::V2, Err(scheme)) => {
                return Err(format!(
                    "__scheme__: {scheme:?} has no default port for address {address:?}: expected http or https"
                ));
            }
        };
        if address.contains('/') {
            return Err(format!("__address__: {address:?} is not a host with a port: it contains a slash"));
        }
        let interval = duration(&labels, SCRAPE_INTERVAL_LABEL, self.job.scrape_interval)?;
        let timeout = duration(&labels, SCRAPE_TIMEOUT_LABEL, self.job.scrape_timeout)?;
        if timeout > interval {
            let (timeout, interval) = (format_prometheus_duration(timeout), format_prometheus_duration(interval));
            return Err(format!("{SCRAPE_TIMEOUT_LABEL}: {timeout} is longer than the scrape interval {interval}"));
        }
        if self.line == PrometheusLine::V3 {
            for name in [CONVERT_CLASSIC_LABEL, ALWAYS_CLASSIC_LABEL, NATIVE_LABEL] {
                if let Some(value) = labels.get(name).filter(|value| !GO_BOOLEANS.contains(value)) {
                    return Err(format!("{name}: {value:?} is not a boolean: expected true or false"));
                }
            }
        }

        labels.retain(|name| !name.starts_with(META_LABEL_PREFIX));
        // A setting that repeats the job's is not part of the target: the original Kvass did not know
        // these labels, and a target's identity must be the one it computed.
        for (name, value) in &self.settings {
            if labels.get(name) == Some(value) {
                labels.remove(name);
            }
        }

        let mut identity = labels.clone();
        identity.set(ADDRESS_LABEL, &completed);
        identity.set_if_absent(INSTANCE_LABEL, &completed);
        let identity = identity.build();
        let hash = TargetHash::of(&identity, &target_url(&identity, &self.job.params));

        let labels = match self.line {
            PrometheusLine::V2 => identity,
            PrometheusLine::V3 => {
                labels.set_if_absent(INSTANCE_LABEL, &address);
                labels.build()
            }
        };
        let url = target_url(&labels, &self.job.params);
        Ok(Target { hash, job: Arc::clone(&self.job.job_name), discovered: discovered.clone(), labels, url, interval, timeout })
    }
}

/// The duration in a label. A label that is gone means the job's: Prometheus refuses the target then, but
/// `labelkeep` rules written for the original Kvass, which had no such labels, go on working.
fn duration(labels: &LabelsBuilder, name: &str, job: Duration) -> Result<Duration, String> {
    let Some(text) = labels.get(name) else { return Ok(job) };
    match parse_prometheus_duration(text) {
        Ok(Duration::ZERO) => Err(format!("{name}: {text:?} must not be zero")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use kvass_config::{Config, LoadContext, SdConfig};

    use super::*;

    fn job(scrape_config: &str, line: PrometheusLine) -> (Arc<ScrapeConfig>, Vec<Arc<TargetGroup>>) {
        let text = format!("scrape_configs:\n- job_name: j\n{scrape_config}");
        let context = LoadContext { path: "p.yml".into(), line, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
        let config = Config::parse(&text, &context).unwrap_or_else(|error| panic!("{error}"));
        let job = Arc::clone(&config.jobs()[0]);
        let groups = job.service_discovery.iter().flat_map(|section| match section {
            SdConfig::Static(groups) => groups.clone(),
            _ => Vec::new(),
        });
        let groups = groups.map(Arc::new).collect();
        (job, groups)
    }

    fn resolved(scrape_config: &str, line: PrometheusLine) -> Resolved {
        let (job, groups) = job(scrape_config, line);
        resolve(&job, &groups, line)
    }

    /// The only target's labels, or the error of the only failure.
    fn outcome(scrape_config: &str, line: PrometheusLine) -> String {
        match resolved(scrape_config, line) {
            Resolved { active, failed, .. } if failed.is_empty() && active.len() == 1 => {
                format!("{} {}", active[0].url, active[0].labels)
            }
            Resolved { active, failed, .. } if active.is_empty() && failed.len() == 1 => failed[0].error.clone(),
            other => panic!("{other:?}"),
        }
    }

    const BOTH: [PrometheusLine; 2] = [PrometheusLine::V2, PrometheusLine::V3];

    #[test]
    fn ports_are_completed_for_prometheus_2_only() {
        for (address, scheme, v2, v3) in [
            ("a", "http", "http://a:80/metrics a:80", "http://a/metrics a"),
            ("a", "https", "https://a:443/metrics a:443", "https://a/metrics a"),
            ("a:9", "http", "http://a:9/metrics a:9", "http://a:9/metrics a:9"),
            ("fd00::1", "http", "http://fd00::1/metrics fd00::1", "http://fd00::1/metrics fd00::1"),
        ] {
            let mut hashes = Vec::new();
            for (line, expected) in [(PrometheusLine::V2, v2), (PrometheusLine::V3, v3)] {
                let resolved = resolved(&format!("  scheme: {scheme}\n  static_configs: [{{targets: ['{address}']}}]"), line);
                let target = &resolved.active[0];
                assert_eq!(format!("{} {}", target.url, target.labels.get("instance").unwrap()), expected, "{line:?}");
                hashes.push(target.hash);
            }
            assert_eq!(hashes[0], hashes[1], "{address}: the line of Prometheus must not move a target");
        }
    }

    #[test]
    fn an_unknown_scheme_matters_to_prometheus_2_without_a_port_only() {
        let config = "  static_configs: [{targets: [a], labels: {__scheme__: ftp}}]";
        assert_eq!(
            outcome(config, PrometheusLine::V2),
            r#"__scheme__: "ftp" has no default port for address "a": expected http or https"#
        );
        assert!(outcome(config, PrometheusLine::V3).starts_with("ftp://a/metrics "));
        for line in BOTH {
            assert!(
                outcome("  static_configs: [{targets: ['a:1'], labels: {__scheme__: ftp}}]", line)
                    .starts_with("ftp://a:1/metrics ")
            );
        }
    }

    #[test]
    fn who_wins_between_params_and_discovered_labels() {
        let config = "  params: {m: [config, second]}\n  static_configs: [{targets: ['a:1'], labels: {__param_m: label}}]";
        assert!(outcome(config, PrometheusLine::V2).starts_with("http://a:1/metrics?m=config&m=second "));
        assert!(outcome(config, PrometheusLine::V3).starts_with("http://a:1/metrics?m=label&m=second "));
    }

    #[test]
    fn bad_targets_say_why() {
        let rule = |target, value| {
            format!(
                "  static_configs: [{{targets: ['a:1']}}]\n  relabel_configs: [{{target_label: {target}, replacement: '{value}'}}]"
            )
        };
        for (target, value, expected) in [
            ("__address__", "", "no address: __address__ is missing or empty"),
            ("__address__", "http://a/b", r#"__address__: "http://a/b" is not a host with a port: it contains a slash"#),
            ("__scrape_interval__", "0s", r#"__scrape_interval__: "0s" must not be zero"#),
            ("__scrape_interval__", "5s", "__scrape_timeout__: 10s is longer than the scrape interval 5s"),
            ("__scrape_timeout__", "2m", "__scrape_timeout__: 2m is longer than the scrape interval 1m"),
        ] {
            for line in BOTH {
                assert_eq!(outcome(&rule(target, value), line), expected);
            }
        }
        for line in BOTH {
            assert!(
                outcome(&rule("__scrape_timeout__", "soon"), line).starts_with("__scrape_timeout__: \"soon\" is not a duration")
            );
        }
        let native = rule("__scrape_native_histograms__", "maybe");
        assert!(outcome(&native, PrometheusLine::V2).contains("maybe"));
        assert_eq!(
            outcome(&native, PrometheusLine::V3),
            r#"__scrape_native_histograms__: "maybe" is not a boolean: expected true or false"#
        );
    }

    #[test]
    fn overrides_of_interval_and_timeout_stay_on_the_target() {
        let config = "  scrape_interval: 30s
  static_configs: [{targets: ['a:1']}, {targets: ['b:1'], labels: {__scrape_interval__: 15s, __scrape_timeout__: 10s}}]";
        for line in BOTH {
            let resolved = resolved(config, line);
            let [a, b] = &resolved.active[..] else { panic!("{resolved:?}") };
            assert_eq!((a.interval, a.timeout), (Duration::from_secs(30), Duration::from_secs(10)));
            assert_eq!((b.interval, b.timeout), (Duration::from_secs(15), Duration::from_secs(10)));
            assert_eq!(a.discovered.get("__scrape_interval__"), Some("30s"));
            assert_eq!(a.labels.get("__scrape_interval__"), None);
            assert_eq!(b.labels.get("__scrape_interval__"), Some("15s"));
            assert_eq!(b.labels.get("__scrape_timeout__"), None, "it is the job's");
        }
    }

    #[test]
    fn labels_of_a_target() {
        let config = "  static_configs: [{targets: ['a:1'], labels: {__meta_x: m, __tmp: t, env: e, job: own}}]
  relabel_configs: [{source_labels: [__meta_x], target_label: x}]";
        for line in BOTH {
            assert_eq!(
                outcome(config, line),
                r#"http://a:1/metrics {__address__="a:1", __metrics_path__="/metrics", __scheme__="http", __tmp="t", env="e", instance="a:1", job="own", x="m"}"#
            );
        }
    }

    #[test]
    fn one_bad_target_is_alone() {
        let config = "  static_configs: [{targets: ['a:1', 'b:1', 'c:1', 'a:1']}, {targets: ['a:1', 'd:1']}]
  relabel_configs:
  - {source_labels: [__address__], regex: 'b:1', target_label: __address__, replacement: ''}
  - {source_labels: [__address__], regex: 'd:1', action: drop}";
        for line in BOTH {
            let resolved = resolved(config, line);
            let urls: Vec<&str> = resolved.active.iter().map(|target| target.url.as_str()).collect();
            assert_eq!(urls, ["http://a:1/metrics", "http://c:1/metrics"], "equal ones are one");
            assert_eq!(resolved.failed.len(), 1);
            assert_eq!(resolved.failed[0].discovered.address(), "b:1");
            assert_eq!((resolved.dropped_total, resolved.dropped.len()), (1, 1));
            let dropped: Vec<Labels> = resolved.dropped.labels().collect();
            assert_eq!((dropped[0].address(), dropped[0].get(JOB_LABEL)), ("d:1", Some("j")));
            assert_eq!(resolved.over_limit, None);
        }
    }

    #[test]
    fn limits() {
        let config = "  target_limit: 2
  keep_dropped_targets: 1
  static_configs: [{targets: ['a:1', 'a:1', 'b:1', 'x:1', 'y:1']}]
  relabel_configs: [{source_labels: [__address__], regex: '[xy].*', action: drop}]";
        let within = resolved(config, PrometheusLine::V3);
        assert_eq!((within.over_limit, within.dropped_total, within.dropped.len()), (None, 2, 1));
        let over = resolved(&config.replace("target_limit: 2", "target_limit: 1"), PrometheusLine::V3);
        assert_eq!((over.over_limit, over.active.len()), (Some(2), 2));
    }

    #[test]
    fn a_resolver_says_the_same_and_keeps_what_is_unchanged() {
        let config = "  static_configs: [{targets: ['a:1', 'x:1']}, {targets: ['b:1']}, {targets: ['a:1']}]
  relabel_configs: [{source_labels: [__address__], regex: 'x.*', action: drop}]";
        let (job, mut groups) = job(config, PrometheusLine::V2);
        let mut resolver = Resolver::new();
        let first = resolver.resolve(&job, &groups, PrometheusLine::V2);
        assert_eq!(first, resolve(&job, &groups, PrometheusLine::V2));

        groups[1] = Arc::new(TargetGroup { targets: vec![Labels::from([(ADDRESS_LABEL, "c:1")])], ..TargetGroup::default() });
        let second = resolver.resolve(&job, &groups, PrometheusLine::V2);
        assert_eq!(second, resolve(&job, &groups, PrometheusLine::V2));
        assert!(Arc::ptr_eq(&first.active[0], &second.active[0]));
        assert_ne!(first.active[1], second.active[1]);

        let mut other = (*job).clone();
        other.metrics_path = "/other".to_owned();
        let third = resolver.resolve(&Arc::new(other), &groups, PrometheusLine::V2);
        assert_eq!(third.active[0].url, "http://a:1/other");
        assert_eq!(third.active.len(), second.active.len());
        let fourth = resolver.resolve(&job, &groups, PrometheusLine::V3);
        assert_eq!(fourth, resolve(&job, &groups, PrometheusLine::V3));
        assert!(resolver.resolve(&job, &[], PrometheusLine::V3).active.is_empty());
    }
}
