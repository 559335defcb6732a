//! What a shard's Prometheus gets of a configuration that uses everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "support/raw_server.rs"]
mod raw_server;
mod support;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use raw_server::Authority;
use support::{Coordinator, Exporter, Shard, eventually, get_json, prometheus_binary, world, write};

/// Secrets of jobs; none may reach Prometheus.
const JOB_SECRETS: [&str; 8] = [
    "job-password",
    "job-credentials",
    "job-bearer",
    "job-oauth-secret",
    "job-token-in-params",
    "job-proxy-password",
    "job-userinfo",
    "job-secret.txt",
];
/// Secrets that Prometheus itself needs.
const OTHER_SECRETS: [&str; 5] =
    ["remote-write-password", "remote-write-header", "remote-read-bearer", "alertmanager-credentials", "remote-oauth-secret"];

const RICH: &str = r#"# A configuration that uses what 2.42 knows.
global:
  scrape_interval: 2s
  scrape_timeout: 1500ms
  evaluation_interval: 1m30s
  external_labels: {release: 1.10, yes: "on", 'quoted "name': x}
  query_log_file: queries.log
rule_files: [rules/*.yml]
storage: {tsdb: {out_of_order_time_window: 10m}, exemplars: {max_exemplars: 5000}}
alerting:
  alert_relabel_configs: [{action: labeldrop, regex: replica}]
  alertmanagers:
  - scheme: http
    timeout: 5s
    api_version: v2
    authorization: {type: Bearer, credentials: alertmanager-credentials}
    static_configs: [{targets: ["127.0.0.1:1"]}]
remote_write:
- url: http://127.0.0.1:1/write?a=b
  name: long-term
  remote_timeout: 30s
  headers: {X-Scope: remote-write-header}
  basic_auth: {username: u, password: "remote-write-password"}
  write_relabel_configs: [{source_labels: [__name__], regex: 'go_.*|"x"', action: drop}]
  queue_config: {capacity: 2500, max_shards: 5, batch_send_deadline: 5s}
  metadata_config: {send: false}
- url: http://127.0.0.1:1/second
  oauth2: {client_id: c, client_secret: remote-oauth-secret, token_url: "http://127.0.0.1:1/token", scopes: [a]}
  send_exemplars: true
remote_read:
- {url: "http://127.0.0.1:1/read", bearer_token: remote-read-bearer, read_recent: true, required_matchers: {release: 1.10}}
scrape_configs:
- job_name: basic
  basic_auth: {username: user, password: job-password}
  static_configs: [{targets: [ADDRESS], labels: {version: 1.10, on: yes, octal: 010}}]
- job_name: 'basic "file" / ünï'
  metrics_path: /other
  basic_auth: {username: user, password_file: job-secret.txt}
  static_configs: [{targets: [ADDRESS]}]
- job_name: credentials
  authorization: {type: Token, credentials: job-credentials}
  static_configs: [{targets: [ADDRESS]}]
- job_name: bearer
  bearer_token: job-bearer
  honor_labels: true
  honor_timestamps: false
  static_configs: [{targets: [ADDRESS]}]
- job_name: oauth
  oauth2: {client_id: c, client_secret: job-oauth-secret, token_url: "http://127.0.0.1:1/token", endpoint_params: {a: b}}
  static_configs: [{targets: [ADDRESS]}]
- job_name: tls
  scheme: https
  tls_config: {ca_file: ca.pem, server_name: other, insecure_skip_verify: true, min_version: TLS12}
  proxy_url: http://user:job-proxy-password@127.0.0.1:1
  follow_redirects: false
  enable_http2: false
  static_configs: [{targets: [ADDRESS]}]
- job_name: limits
  scrape_interval: 5s
  scrape_timeout: 5s
  body_size_limit: 10MB
  sample_limit: 1000
  target_limit: 10
  label_limit: 30
  label_name_length_limit: 200
  label_value_length_limit: 300
  params: {token: [job-token-in-params], "match[]": ['{a="b"}', up]}
  relabel_configs:
  - {source_labels: [__address__], regex: '(.*):(\d+)', target_label: port, replacement: '${2}'}
  - {action: labelmap, regex: __meta_(.+)}
  metric_relabel_configs:
  - {source_labels: [__name__], regex: 'go_(gc|memstats)_.*', action: drop}
  - {source_labels: [path], regex: '/a"b\\c$', target_label: path, replacement: "$$1"}
  - {source_labels: [a, b], modulus: 8, target_label: slot, action: hashmod}
  file_sd_configs: [{files: [sd/*.yml], refresh_interval: 1m}]
- job_name: http_sd
  http_sd_configs: [{url: "http://user:job-userinfo@127.0.0.1:1/sd"}]
- job_name: prometheus_targets/../escape
  static_configs: [{targets: [ADDRESS]}]
"#;

#[tokio::test]
async fn prometheus_takes_the_injected_form_of_a_rich_configuration() {
    let world = world();
    let path = |name: &str| world.path().join(name);
    let exporter = Exporter::start(10).await;
    for folder in ["rules", "sd"] {
        fs::create_dir(path(folder)).unwrap();
    }
    write(&path("rules/a.yml"), "groups: [{name: g, rules: [{record: a:b, expr: sum(up)}]}]\n");
    write(&path("sd/a.yml"), &format!("- targets: ['{}']\n  labels: {{__meta_zone: z, release: 1.10}}\n", exporter.address));
    write(&path("job-secret.txt"), "job-password\n");
    write(&path("ca.pem"), &Authority::new().pem);
    let config = path("prometheus.yml");
    // 2.42 knows no such label name; what is refused there is refused here.
    let text = RICH.replace("ADDRESS", &format!("'{}'", exporter.address)).replace(", 'quoted \"name': x", "");
    write(&config, &text);

    for form in ["file", "http", "static"] {
        let mut shard = Shard::new(world.path(), form, &config);
        shard.sidecar_args = vec![format!("--inject.targets={form}")];
        shard.start_sidecar();
        shard.start_prometheus().await;
        let coordinator = Coordinator::start(world.path(), &config, &[&shard], &["--coordinator.interval=1s"]);
        eventually("targets on the shard", async || {
            let answer = get_json(&format!("{}/api/v1/targets?state=active", shard.prometheus_url())).await?;
            let targets = answer["data"]["activeTargets"].as_array().ok_or("none")?.len();
            if targets == 8 { Ok(()) } else { Err(format!("{targets} targets: {:?}", coordinator.placement().await)) }
        })
        .await;

        let promtool = prometheus_binary().with_file_name("promtool");
        let check = Command::new(promtool).args(["check", "config"]).arg(shard.injected()).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
        assert!(check.status.success(), "{form}: {said}");
        assert!(said.contains("SUCCESS: 1 rules found"), "the rule file is still found: {said}");

        // The store is the sidecar's own, and nobody else's: it keeps the user's file as it is.
        let kept = shard.dir.join("kvass-last-good-config.json");
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        let everything = all_text(&shard.dir, &["data", "kvass-shard.json", "kvass-last-good-config.json"]);
        for secret in JOB_SECRETS {
            assert!(!everything.contains(secret), "{form}: {secret} is of no use to Prometheus");
        }
        let injected = fs::read_to_string(shard.injected()).unwrap();
        for secret in OTHER_SECRETS {
            assert!(injected.contains(secret), "{form}: {secret} is needed by Prometheus");
        }
        let loaded = get_json(&format!("{}/api/v1/status/config", shard.prometheus_url())).await.unwrap();
        let loaded = loaded["data"]["yaml"].as_str().unwrap();
        for kept in [
            "release: \"1.10\"",
            "\"yes\": \"on\"",
            "capacity: 2500",
            "sample_limit: 1000",
            "honor_labels: true",
            "http://127.0.0.1:1/second",
        ] {
            assert!(loaded.contains(kept), "{form}: {kept}: {loaded}");
        }
        assert!(!loaded.contains("target_limit") && loaded.contains(&format!("shard: {form}")), "{loaded}");
        let log = shard.prometheus.as_ref().unwrap().log_text();
        for bad in ["Error reading file", "Error loading config", "opening storage failed"] {
            assert!(!log.contains(bad), "{form}: {log}");
        }
        // What labels look like: text as written, as Prometheus reads YAML itself.
        let listed = get_json(&format!("{}/api/v1/targets?state=active", shard.prometheus_url())).await.unwrap();
        let basic = listed["data"]["activeTargets"].as_array().unwrap().iter().find(|t| t["labels"]["job"] == "basic").unwrap();
        assert_eq!(
            (&basic["labels"]["version"], &basic["labels"]["on"], &basic["labels"]["octal"]),
            (&"1.10".into(), &"yes".into(), &"010".into())
        );
    }
}

/// Text of all files below `dir`, but those named in `except`.
fn all_text(dir: &Path, except: &[&str]) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if except.contains(&name.as_str()) {
        } else if entry.file_type().unwrap().is_dir() {
            text += &all_text(&entry.path(), except);
        } else {
            text += &String::from_utf8_lossy(&fs::read(entry.path()).unwrap());
        }
    }
    text
}
