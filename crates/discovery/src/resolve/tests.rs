use std::time::Duration;

use kvass_config::{Config, LoadContext, SdConfig};
use kvass_model::ADDRESS_LABEL;

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
            outcome("  static_configs: [{targets: ['a:1'], labels: {__scheme__: ftp}}]", line).starts_with("ftp://a:1/metrics ")
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
        assert!(outcome(&rule("__scrape_timeout__", "soon"), line).starts_with("__scrape_timeout__: \"soon\" is not a duration"));
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
        assert_eq!((dropped[0].address(), dropped[0].get("job")), ("d:1", Some("j")));
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
fn addresses_that_only_prometheus_2_takes_for_one_are_two_targets_to_prometheus_3() {
    // The last has an instance that makes it one with the first once ports are completed.
    let config = "  static_configs: [{targets: ['a', 'b:80', 'a:80', 'b']}, {targets: ['a'], labels: {instance: 'a:80'}}]";
    let v2 = resolved(config, PrometheusLine::V2).active;
    let v3 = resolved(config, PrometheusLine::V3).active;
    assert_eq!((v2.len(), v3.len()), (2, 5));
    let hashes: std::collections::BTreeSet<TargetHash> = v3.iter().map(|target| target.hash).collect();
    assert_eq!(hashes.len(), 5, "each has an identity of its own");
    for target in v2 {
        let same = v3.iter().find(|other| other.hash == target.hash).unwrap();
        assert_eq!(same.labels, target.labels, "what Prometheus 2 knows keeps its identity");
    }
    let turned = "  static_configs: [{targets: ['a'], labels: {instance: 'a:80'}}, {targets: ['b', 'a:80', 'b:80', 'a']}]";
    let turned: std::collections::BTreeSet<TargetHash> =
        resolved(turned, PrometheusLine::V3).active.iter().map(|target| target.hash).collect();
    assert_eq!(turned, hashes, "the order of discovery does not matter");
}

#[test]
fn of_equal_targets_the_last_shows_what_it_was_discovered_as() {
    let config = "  static_configs: [{targets: ['a:1', 'b:1', 'c:1']}]
  relabel_configs: [{target_label: __address__, replacement: 'same:1'}]";
    for line in BOTH {
        let resolved = resolved(config, line);
        assert_eq!(resolved.active.len(), 1);
        assert_eq!(resolved.active[0].discovered.address(), "c:1");
    }
}

#[test]
fn an_explanation_ends_as_resolving_does() {
    let config = "  params: {m: [x]}
  static_configs: [{targets: [a, 'drop:1', ''], labels: {__meta_x: y, __scrape_interval__: 5m}}]
  relabel_configs: [{source_labels: [__address__], regex: 'drop.*', action: drop}, {source_labels: [__meta_x], target_label: x}]";
    for line in BOTH {
        let (job, groups) = job(config, line);
        let resolved = resolve(&job, &groups, line);
        let end = |labels: &Labels, add| explain(&job, labels, add, line);
        let active = &resolved.active[0];
        let End::Target(target, finished) = end(&active.discovered, false).end else { panic!("{line:?}") };
        assert_eq!(target, *active);
        let finished: Vec<&str> = finished.iter().map(|change| change.label.as_str()).collect();
        match line {
            PrometheusLine::V2 => assert_eq!(finished, ["__address__", "__meta_x", "instance"]),
            PrometheusLine::V3 => assert_eq!(finished, ["__meta_x", "instance"]),
        }
        assert_eq!(end(&resolved.dropped.labels().next().unwrap(), false).end, End::Dropped(0));
        assert_eq!(end(&resolved.failed[0].discovered, false).end, End::Failed(resolved.failed[0].error.clone()));

        let found = Labels::from([("__address__", "a"), ("__meta_x", "y"), ("__scrape_interval__", "5m")]);
        let explained = end(&found, true);
        assert_eq!(explained.end, end(&active.discovered, false).end, "the job adds what the discovered labels have");
        let added: Vec<(&str, &str)> = explained.added.iter().map(|c| (c.label.as_str(), c.reason.as_str())).collect();
        assert!(
            added.contains(&("__param_m", "params of the job")) && added.contains(&("job", "job_name of the job")),
            "{added:?}"
        );
        assert!(!added.iter().any(|(label, _)| *label == "__scrape_interval__"), "it was there: {added:?}");
    }
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
