//! The hash of the original Kvass, against values its programs computed.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests end that way")]

mod common;

use common::data;
use kvass_config::{HashShape, original_hash};

#[track_caller]
fn check_recorded(values: &str, shape: HashShape) {
    let mut compared = 0;
    for line in data(values).lines() {
        let recorded: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = recorded["config_file"].as_str().unwrap();
        let Some(expected) = recorded["ConfigHash"].as_str() else { continue };
        let text = data(&format!("kvass-go/{name}"));
        assert_eq!(original_hash(&text, shape).as_deref(), Some(expected), "{name} as {shape}");
        compared += 1;
    }
    assert!(compared >= 20, "{compared}");
}

#[test]
fn recorded_values() {
    check_recorded("kvass-go/config-hashes.jsonl", HashShape::HEAD);
    check_recorded("kvass-go/config-hashes-v0.3.1.jsonl", HashShape::V0_2);
}

fn built_with_go_1_26() -> [HashShape; 2] {
    let [.., head, v0_2] = HashShape::ALL;
    [head, v0_2]
}

/// Only where a URL is configured does the Go that built the program matter.
#[test]
fn values_of_programs_built_with_go_1_26() {
    let [head, v0_2] = built_with_go_1_26();
    for (name, shape, expected) in [
        ("03-auth.yml", head, "14295190758691354007"),
        ("03-auth.yml", v0_2, "14223316869173390617"),
        ("07-remote-alerting.yml", head, "323082145166242654"),
        ("20-run-a.yml", head, "9499138358276381760"),
        ("20-run-a.yml", v0_2, "11064337960499662419"),
    ] {
        assert_eq!(original_hash(&data(&format!("kvass-go/{name}")), shape).as_deref(), Some(expected), "{name} as {shape}");
    }
    let minimal = data("kvass-go/00-spec-minimal.yml");
    assert_eq!(original_hash(&minimal, head), original_hash(&minimal, HashShape::HEAD));
}

/// Real values of the last commit and of v0.3.1, for what the recorded files do not show.
#[test]
fn defaults_nulls_and_what_decoders_change() {
    for (text, head, v0_2) in [
        ("{scrape_configs: ~, global: ~}", "14123632564901445608", "11288964147596702015"),
        (
            "{global: {scrape_interval: 5s, query_log_file: q}, rule_files: [b/*.yml]}",
            "3431955882543618379",
            "13439170281777792722",
        ),
        (
            "{scrape_configs: [{job_name: a, scheme: ~, honor_timestamps: no, params: {p: [x, ~], q: ~}, body_size_limit: 1.5GB, sample_limit: 0x10}]}",
            "7868432503468532784",
            "9487337399769585046",
        ),
        (
            "{scrape_configs: [{job_name: a, authorization: {type: ' T '}, tls_config: ~, relabel_configs: [{action: KEEP, regex: ~, separator: ~}]}]}",
            "3018069346052223983",
            "2248503057497459273",
        ),
        (
            "{scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://h/', bearer_token: t}], dns_sd_configs: [{names: [n]}]}]}",
            "9267411125455786967",
            "12891634035726426236",
        ),
        (
            "{scrape_configs: [{job_name: a, consul_sd_configs: [{username: u, password: p}], static_configs: [{labels: ~}, {targets: [b]}]}]}",
            "4221525846968423761",
            "8610926515961899675",
        ),
        (
            "{remote_write: [{url: 'http://h/%41 b', queue_config: ~, metadata_config: {send: false}}, {url: 'http://u@h/?', name: n, sigv4: {}}]}",
            "16790442036873509289",
            "10716881852728337233",
        ),
        (
            "{alerting: {alertmanagers: [{api_version: v1, timeout: 1m, dns_sd_configs: [{names: [n], type: a, port: 1}]}]}}",
            "14430320851416399216",
            "17489105130470981974",
        ),
    ] {
        let [for_head, for_v0_2] = built_with_go_1_26();
        assert_eq!(original_hash(text, for_head).as_deref(), Some(head), "{text}");
        assert_eq!(original_hash(text, for_v0_2).as_deref(), Some(v0_2), "{text}");
    }
}

#[test]
fn what_the_original_does_not_know_has_no_hash() {
    let job = |rest: &str| format!("scrape_configs: [{{job_name: a, {rest}}}]");
    for text in [
        job("enable_http2: false"),
        job("scrape_protocols: [OpenMetricsText1.0.0]"),
        job("ec2_sd_configs: [{region: x}]"),
        job("kubernetes_sd_configs: [{role: pod, attach_metadata: {namespace: true}}]"),
        job("tls_config: {min_version: TLS12}"),
        job("params: {a: b}"),
        job("proxy_url: 'http://h#f'"),
        job("tls_config: NULL"),
        "scrape_config_files: [a.yml]".to_owned(),
        "{otlp: {}}".to_owned(),
        "[]".to_owned(),
        "# nothing".to_owned(),
        ": {".to_owned(),
    ] {
        for shape in HashShape::ALL {
            assert_eq!(original_hash(&text, shape), None, "{text}");
        }
    }
    let newer_than_v0_3 = job("kubernetes_sd_configs: [{role: pod, attach_metadata: {node: true}}]");
    assert!(original_hash(&newer_than_v0_3, HashShape::HEAD).is_some());
    assert_eq!(original_hash(&newer_than_v0_3, HashShape::V0_2), None);
}
