//! The document a shard gets.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests end that way")]

mod common;

use std::{collections::BTreeMap, sync::Arc};

use common::{data, load, load_as, load_with, names};
use kvass_config::{Config, Injection, SelfMonitor, TargetDelivery};
use kvass_model::{
    Labels,
    PrometheusLine::{V2, V3},
    TargetGroup,
};

fn plain_injection() -> Injection {
    Injection {
        proxy_url: Some("http://127.0.0.1:8008".to_owned()),
        targets: TargetDelivery::File(BTreeMap::new()),
        extra_external_labels: Labels::default(),
        self_monitor: None,
        strip_rules: false,
    }
}

fn files(config: &Config) -> TargetDelivery {
    TargetDelivery::File(
        config.jobs().iter().map(|job| (job.job_name.clone(), format!("targets/{}.json", job.job_name))).collect(),
    )
}

#[test]
fn a_job_keeps_what_concerns_its_samples_and_loses_how_it_is_reached() {
    let config = load(&data("inject/job.yml"), V3);
    let injection = Injection { targets: files(&config), ..plain_injection() };
    assert_eq!(config.inject(&injection), data("inject/job.injected.yml"));
}

#[test]
fn other_sections_stay_letter_by_letter() {
    let config = load(&data("inject/sections.yml"), V2);
    let injection = Injection {
        extra_external_labels: Labels::from([("shard", "prometheus-0"), ("replica", "$a")]),
        self_monitor: Some(SelfMonitor { address: "127.0.0.1:9090".into(), replicate: "prometheus".into(), shard: "0".into() }),
        ..plain_injection()
    };
    assert_eq!(config.inject(&injection), data("inject/sections.injected.yml"));

    let stripped = config.inject(&Injection { strip_rules: true, ..injection });
    assert!(!stripped.contains("rule_files") && !stripped.contains("alerting") && stripped.contains("remote_write"));
}

#[test]
fn extra_labels_are_meant_literally_where_prometheus_expands() {
    let config = load("{}", V3);
    let injection = Injection { extra_external_labels: Labels::from([("a", "$b")]), ..plain_injection() };
    let injected = config.inject(&injection);
    assert_eq!(injected, "scrape_configs: []\nglobal:\n  external_labels:\n    a: \"$$b\"\n");
}

#[test]
fn included_jobs_move_in() {
    let main = "scrape_config_files: [conf.d/*.yml]\nscrape_configs: [{job_name: a, metrics_path: /a}]\n";
    let other = "scrape_configs: [{job_name: b, scrape_failure_log_file: fail.log, target_limit: 5}]\n";
    let config = load_with("/etc/p/prometheus.yml", main, V3, &[("/etc/p/conf.d/*.yml", "/etc/p/conf.d/b.yml", other)]).unwrap();
    let injected = load(&config.inject(&Injection { targets: files(&config), ..plain_injection() }), V3);
    assert!(!injected.text().contains("scrape_config_files") && !injected.text().contains("target_limit"));
    assert!(injected.text().contains("scrape_failure_log_file: \"/etc/p/conf.d/fail.log\""));
    let jobs: Vec<&str> = injected.jobs().iter().map(|job| &*job.job_name).collect();
    assert_eq!(jobs, ["a", "b"]);
}

#[test]
fn delivery() {
    let config = load("scrape_configs: [{job_name: a}, {job_name: b}]", V2);
    let sections = |targets| {
        let injected = config.inject(&Injection { targets, proxy_url: None, ..plain_injection() });
        let (_, jobs) = injected.split_once("$1").unwrap();
        jobs.split_once("  - job_name: b\n").unwrap().0.replacen("\"\n", "", 1)
    };
    let name: Arc<str> = "a".into();
    assert_eq!(
        sections(TargetDelivery::File([(name.clone(), "a.json".into())].into())),
        "    file_sd_configs:\n      - files:\n          - \"a.json\"\n"
    );
    assert_eq!(
        sections(TargetDelivery::Http([(name.clone(), "http://127.0.0.1:8008/sd?job=a".into())].into())),
        "    http_sd_configs:\n      - url: \"http://127.0.0.1:8008/sd?job=a\"\n        refresh_interval: \"5s\"\n"
    );
    let group = TargetGroup {
        source: "x".into(),
        targets: vec![
            Labels::from([("__address__", "h:1")]),
            Labels::from([("__address__", "h:2"), ("on", "1.10")]),
            Labels::from([("__address__", "h:3")]),
        ],
        labels: Labels::from([("env", "prod"), ("on", "x")]),
    };
    assert_eq!(
        sections(TargetDelivery::Static([(name, vec![group])].into())),
        concat!(
            "    static_configs:\n",
            "      - targets:\n          - \"h:1\"\n          - \"h:3\"\n        labels:\n          env: prod\n          \"on\": x\n",
            "      - targets:\n          - \"h:2\"\n        labels:\n          env: prod\n          \"on\": \"1.10\"\n",
        )
    );
    assert_eq!(sections(TargetDelivery::Static(BTreeMap::new())), "    static_configs: []\n");
}

#[test]
fn a_users_self_monitor_job_stays_the_only_one() {
    let config = load("scrape_configs: [{job_name: prometheus_shards}]", V2);
    let monitor = SelfMonitor { address: "h:1".into(), replicate: "r".into(), shard: "s".into() };
    let injected = config.inject(&Injection { self_monitor: Some(monitor), ..plain_injection() });
    assert_eq!(load(&injected, V2).jobs().len(), 1);
}

#[test]
fn every_injected_document_loads() {
    let good = names("good", ".good.yml").into_iter().map(|name| format!("good/{name}.good.yml"));
    let original = names("kvass-go", ".yml").into_iter().map(|name| format!("kvass-go/{name}.yml"));
    let mut loaded = 0;
    for name in good.chain(original) {
        let Ok(config) = load_as("/etc/p/p.yml", &data(&name), V3) else { continue };
        loaded += 1;
        let monitor = SelfMonitor { address: "h:1".into(), replicate: "r".into(), shard: "s".into() };
        let injection = Injection {
            targets: files(&config),
            extra_external_labels: Labels::from([("shard", "0")]),
            self_monitor: Some(monitor),
            ..plain_injection()
        };
        let injected = load_as(&name, &config.inject(&injection), V3).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(injected.jobs().len(), config.jobs().len() + 1, "{name}");
        for (before, after) in config.jobs().iter().zip(injected.jobs()) {
            assert_eq!(after.metric_relabel_configs, before.metric_relabel_configs, "{name}");
            assert_eq!((after.scrape_interval, after.sample_limit), (before.scrape_interval, before.sample_limit), "{name}");
            assert_eq!((&*after.scheme, after.params.len(), after.http.authorization.is_some()), ("http", 0, false), "{name}");
        }
    }
    assert!(loaded > 45, "{loaded}");
}
