//! What Prometheus stores behind kvass is what it would store without.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "support/raw_server.rs"]
mod raw_server;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use flate2::{Compression, write::GzEncoder};
use raw_server::{Authority, Connection, Request, serve};
use serde_json::Value;
use support::{
    Coordinator, Exporter, Process, Shard, eventually, free_port, get_json, metric, prometheus_args, prometheus_binary,
    start_prometheus, start_prometheus_with, write,
};

fn world() -> tempfile::TempDir {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tempfile::tempdir().unwrap()
}

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

        let everything = all_text(&shard.dir, &["data", "kvass-shard.json"]);
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

/// What the exporters of one story serve; the same at every scrape, whoever asks.
#[derive(Debug)]
struct Pages {
    /// Milliseconds; of samples that have a time of their own.
    stamp: u128,
    /// A series ends.
    gone: AtomicBool,
}

impl Pages {
    fn text(&self, request: &Request) -> String {
        let stamp = self.stamp;
        let mut body = format!(
            r#"# HELP story_temperature Help with \\ and \n in it
# TYPE story_temperature gauge
story_temperature{{room="a \"quoted\" \\ back\nslash"}} 21.5
story_temperature {{ room = "ü 漢字" , }} -0
story_special{{kind="nan"}} NaN
story_special{{kind="positive"}} +Inf
story_special{{kind="negative"}} -Inf
story_special{{kind="exponent"}} 1.7976931348623157e+308
story_special{{kind="small"}} 5e-324
# an ordinary remark

# TYPE story_stamped counter
story_stamped 42 {stamp}
story_stamped{{when="before"}} 43 {}
# TYPE story_theirs untyped
story_theirs{{job="theirs",instance="there",exported_job="x",empty="",version="2"}} 1
story_theirs{{exported_job="y",exported_exported_job="z",__reserved="r"}} 2
# TYPE story_seconds histogram
story_seconds_bucket{{le="0.1"}} 1
story_seconds_bucket{{le="1"}} 3
story_seconds_bucket{{le="+Inf"}} 4
story_seconds_sum 2.25
story_seconds_count 4
# TYPE story_sizes summary
story_sizes{{quantile="0.5"}} 10
story_sizes{{quantile="0.99"}} NaN
story_sizes_sum 60
story_sizes_count 6
story_double 1
story_double 2
go_gc_x 1
go_memstats_y{{a="1",b="2"}} 2
"#,
            stamp - 4_000
        );
        if !self.gone.load(Ordering::Relaxed) {
            body.push_str("story_ending 1\n");
        }
        // Whatever the target can see of its scrape.
        let seen =
            ["host", "accept", "accept-encoding", "user-agent", "x-prometheus-scrape-timeout-seconds", "authorization", "x-key"];
        let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut labels = format!("target=\"{}\"", quote(&request.target));
        for name in seen {
            labels.push_str(&format!(",{}=\"{}\"", name.replace('-', "_"), quote(request.header(name))));
        }
        body + &format!("story_seen{{{labels}}} 1\n")
    }

    fn open_metrics(&self) -> String {
        let (seconds, milliseconds) = (self.stamp / 1000, self.stamp % 1000);
        format!(
            r#"# TYPE om_requests counter
# HELP om_requests Requests "quoted" \"escaped\" \\
om_requests_total{{code="200"}} 17 # {{trace_id="plain"}} 1.0
om_requests_total{{code="500"}} 3.0 {seconds}.{milliseconds:03} # {{trace_id="stamped"}} 2 {seconds}.{milliseconds:03}
om_requests_created{{code="200"}} 1520430000.123
# TYPE om_seconds histogram
# UNIT om_seconds seconds
om_seconds_bucket{{le="0.1"}} 8.0
om_seconds_bucket{{le="1.0"}} 11.0 # {{trace_id="KOO5S4vxi0o"}} 0.67
om_seconds_bucket{{le="+Inf"}} 17.0 # {{trace_id="oHg5SJYRHA0",span="a\nb"}} 9.8
om_seconds_sum 324789.3
om_seconds_count 17
# TYPE om_build info
om_build_info{{version="1.10"}} 1
# TYPE om_state stateset
om_state{{om_state="on"}} 1
om_state{{om_state="off"}} 0
# EOF
"#
        )
    }

    async fn answer(&self, request: Request, connection: Connection) -> io::Result<()> {
        let plain = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
        let text = self.text(&request);
        match request.path() {
            "/openmetrics" => {
                let open = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
                connection.answer("200 OK", open, self.open_metrics().as_bytes()).await
            }
            "/gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(text.as_bytes())?;
                connection.answer("200 OK", &format!("{plain}Content-Encoding: gzip\r\n"), &encoder.finish()?).await
            }
            "/chunked" => {
                let mut connection = connection;
                connection.send(format!("HTTP/1.1 200 OK\r\n{plain}Transfer-Encoding: chunked\r\n\r\n")).await?;
                for piece in text.as_bytes().chunks(7) {
                    connection.send(format!("{:x}\r\n", piece.len())).await?;
                    connection.send(piece).await?;
                    connection.send("\r\n").await?;
                }
                connection.send("0\r\n\r\n").await?;
                connection.end().await
            }
            "/protobuf" if request.header("accept").starts_with("application/vnd.google.protobuf") => {
                let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
                connection.answer("200 OK", &format!("Content-Type: {kind}\r\n"), &protobuf::body()).await
            }
            "/redirected" => connection.answer("302 Found", "Location: /landed?where=here\r\n", b"").await,
            "/html" => connection.answer("200 OK", "Content-Type: text/html\r\n", b"<html>no metrics</html>\n").await,
            "/no-end" => connection.answer("200 OK", plain, text.trim_end().as_bytes()).await,
            "/empty" => connection.answer("200 OK", plain, b"").await,
            "/untyped" => connection.answer("200 OK", "", text.as_bytes()).await,
            "/guarded" if request.header("authorization") != "Basic dXNlcjpww6RzczpyZA==" => {
                connection.answer("401 Unauthorized", plain, b"who?\n").await
            }
            _ => connection.answer("200 OK", plain, text.as_bytes()).await,
        }
    }
}

/// Just enough of the encoding for a page.
mod protobuf {
    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn int(field: u64, value: u64) -> Vec<u8> {
        [varint(field << 3), varint(value)].concat()
    }

    fn zigzag(field: u64, value: i64) -> Vec<u8> {
        int(field, (value << 1 ^ value >> 63) as u64)
    }

    fn double(field: u64, value: f64) -> Vec<u8> {
        [varint(field << 3 | 1), value.to_le_bytes().to_vec()].concat()
    }

    fn bytes(field: u64, bytes: &[u8]) -> Vec<u8> {
        [varint(field << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
    }

    fn family(name: &str, kind: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
        let metrics: Vec<u8> = metrics.iter().flat_map(|metric| bytes(4, metric)).collect();
        let family = [bytes(1, name.as_bytes()), bytes(2, b"Help"), int(3, kind), metrics].concat();
        [varint(family.len() as u64), family].concat()
    }

    pub(super) fn body() -> Vec<u8> {
        let label = bytes(1, &[bytes(1, b"a"), bytes(2, "ü\"".as_bytes())].concat());
        let classic: Vec<u8> = [0.5, 1.0].iter().flat_map(|bound| bytes(3, &[int(1, 2), double(2, *bound)].concat())).collect();
        let sums = [int(1, 7), double(2, 12.5)].concat();
        let span = bytes(12, &[zigzag(1, 0), int(2, 2)].concat());
        let native = [zigzag(5, 3), double(6, 0.001), int(7, 1), span, zigzag(13, 2), zigzag(13, 2)].concat();
        let quantile = bytes(3, &[double(1, 0.5), double(2, f64::NAN)].concat());
        [
            family("pb_count_total", 0, &[[label.clone(), bytes(3, &double(1, 3.0))].concat()]),
            family("pb_gauge", 1, &[bytes(2, &double(1, -1.5)), [label, bytes(2, &double(1, f64::INFINITY))].concat()]),
            family("pb_summary", 2, &[bytes(4, &[sums.clone(), quantile].concat())]),
            family("pb_untyped", 3, &[bytes(5, &double(1, 9.0))]),
            family("pb_classic", 4, &[bytes(7, &[sums.clone(), classic.clone()].concat())]),
            family("pb_native", 4, &[bytes(7, &[sums.clone(), native.clone()].concat())]),
            family("pb_both", 4, &[bytes(7, &[sums, classic, native].concat())]),
        ]
        .concat()
    }
}

const PAIR: &str = r#"global:
  scrape_interval: 1s
  scrape_timeout: 900ms
  external_labels: {fleet: 1.10}
scrape_configs:
- job_name: text
  static_configs: [{targets: [PLAIN], labels: {version: 1.10, odd: 'a "b" \c'}}]
- job_name: theirs
  honor_labels: true
  metrics_path: /theirs
  static_configs: [{targets: [PLAIN], labels: {version: 1.10}}]
- job_name: unstamped
  honor_timestamps: false
  static_configs: [{targets: [PLAIN]}]
- job_name: 'open/metrics ä "x"'
  metrics_path: /openmetrics
  static_configs: [{targets: [PLAIN]}]
- {job_name: compressed, metrics_path: /gzip, static_configs: [{targets: [PLAIN]}]}
- {job_name: chunked, metrics_path: /chunked, static_configs: [{targets: [PLAIN]}]}
- {job_name: no end of line, metrics_path: /no-end, static_configs: [{targets: [PLAIN]}]}
- {job_name: protobuf, metrics_path: /protobuf, static_configs: [{targets: [PLAIN]}]}
- {job_name: untyped, metrics_path: /untyped, static_configs: [{targets: [PLAIN]}]}
- {job_name: host name, static_configs: [{targets: [NAMED]}]}
- {job_name: empty, metrics_path: /empty, static_configs: [{targets: [PLAIN]}]}
- {job_name: redirected, metrics_path: /redirected, static_configs: [{targets: [PLAIN]}]}
- {job_name: not redirected, metrics_path: /redirected, follow_redirects: false, static_configs: [{targets: [PLAIN]}]}
- job_name: parameters
  params: {"match[]": ['{a="b"}', up, 'c d&e=f'], module: [first, second], empty: [], nothing: [""]}
  relabel_configs:
  - {target_label: __param_module, replacement: "replaced ü"}
  - {target_label: __param_added, replacement: "1+1=2"}
  static_configs: [{targets: [PLAIN]}]
- job_name: blackbox
  metrics_path: /probe
  params: {module: [http_2xx]}
  static_configs: [{targets: ['https://one.example/x?y=1&z', 'tcp://two:22']}]
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__param_target], target_label: instance}
  - {target_label: __address__, replacement: PLAIN}
- {job_name: odd path, metrics_path: '/odd path/ä;b=%41?c#d', static_configs: [{targets: [PLAIN]}]}
- job_name: guarded
  metrics_path: /guarded
  basic_auth: {username: user, password: "päss:rd"}
  static_configs: [{targets: [PLAIN]}]
- job_name: locked out
  metrics_path: /guarded
  basic_auth: {username: user, password: wrong}
  static_configs: [{targets: [PLAIN]}]
- job_name: secure
  scheme: https
  tls_config: {ca_file: ca.pem}
  authorization: {credentials_file: token}
  static_configs: [{targets: [SECURE]}]
- {job_name: untrusted, scheme: https, static_configs: [{targets: [SECURE]}]}
- job_name: relabelled
  static_configs: [{targets: [PLAIN], labels: {a: 1, b: 2}}]
  metric_relabel_configs:
  - {source_labels: [__name__], regex: 'go_gc_.*|story_special', action: drop}
  - {source_labels: [__name__], regex: 'story_(.+)', target_label: __name__, replacement: 'renamed_$1'}
  - {source_labels: [a, b], separator: '-', modulus: 8, target_label: slot, action: hashmod}
  - {action: labelmap, regex: 'ro(.)m', replacement: 'copy_$1'}
  - {action: labeldrop, regex: 'le|quantile|host|target|authorization'}
- job_name: relabelled away
  metric_relabel_configs: [{source_labels: [__name__], regex: '.*', action: drop}]
  static_configs: [{targets: [PLAIN]}]
- {job_name: too many samples, sample_limit: 5, static_configs: [{targets: [PLAIN]}]}
- {job_name: enough samples, sample_limit: 100, static_configs: [{targets: [PLAIN]}]}
- {job_name: too many labels, label_limit: 4, static_configs: [{targets: [PLAIN], labels: {a: 1, b: 1}}]}
- {job_name: too long name, label_name_length_limit: 12, static_configs: [{targets: [PLAIN]}]}
- {job_name: too long value, label_value_length_limit: 25, static_configs: [{targets: [PLAIN]}]}
- {job_name: too large, body_size_limit: 100B, static_configs: [{targets: [PLAIN]}]}
- {job_name: html, metrics_path: /html, static_configs: [{targets: [PLAIN]}]}
- {job_name: down, static_configs: [{targets: ['127.0.0.1:1', '127.0.0.2', '[::1]:1', 'no-such-host.invalid:1']}]}
- job_name: own pace
  static_configs: [{targets: [PLAIN]}]
  relabel_configs:
  - {target_label: __scrape_interval__, replacement: 2s}
  - {target_label: __scrape_timeout__, replacement: 1300ms}
- job_name: files
  file_sd_configs: [{files: [sd/*.json]}]
  relabel_configs:
  - {action: labelmap, regex: '__meta_(zone|rack)'}
  - {source_labels: [keep], regex: 'no', action: drop}
  - {source_labels: [__meta_job], regex: (.+), target_label: job}
- job_name: twice
  static_configs: [{targets: [PLAIN, PLAIN]}, {targets: [PLAIN]}]
"#;

const TARGETS: &str = r#"[{"targets": ["PLAIN"], "labels": {"__meta_zone": "z", "__meta_rack": "1.10", "__meta_job": "renamed", "__metrics_path__": "/a", "keep": "yes"}},
 {"targets": ["PLAIN"], "labels": {"keep": "no"}}, {"targets": ["PLAIN"], "labels": {"instance": "mine", "__scheme__": "http", "__param_x": "y z"}}]"#;

/// What only Prometheus 3 knows.
const PAIR_OF_3: &str = r#"- {job_name: native, metrics_path: /protobuf, scrape_native_histograms: true, static_configs: [{targets: [PLAIN]}]}
- job_name: native and classic
  metrics_path: /protobuf
  scrape_native_histograms: true
  always_scrape_classic_histograms: true
  static_configs: [{targets: [PLAIN]}]
- {job_name: custom buckets, convert_classic_histograms_to_nhcb: true, static_configs: [{targets: [PLAIN]}]}
- {job_name: fallback, metrics_path: /untyped, fallback_scrape_protocol: PrometheusText0.0.4, static_configs: [{targets: [PLAIN]}]}
- {job_name: plain, enable_compression: false, http_headers: {X-Key: {secrets: [key]}}, static_configs: [{targets: [PLAIN]}]}
- job_name: 'any name'
  static_configs: [{targets: [PLAIN], labels: {'größe.x': 1, "9 lives": cat}}]
  metric_relabel_configs: [{source_labels: [__name__], regex: 'story_(.+)', target_label: __name__, replacement: 'story ${1} ü'}]
- {job_name: legacy names, metric_name_validation_scheme: legacy, metric_name_escaping_scheme: underscores, static_configs: [{targets: [PLAIN]}]}
"#;

/// Differs between two scrapes of the same target.
const UNCOMPARABLE: [&str; 2] = ["scrape_duration_seconds", "scrape_series_added"];

#[tokio::test]
async fn what_is_stored_equals_a_direct_scrape() {
    let world = world();
    let path = |name: &str| world.path().join(name);
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let pages = Arc::new(Pages { stamp, gone: AtomicBool::new(false) });
    let authority = Authority::new();
    let server = async |tls| {
        let pages = Arc::clone(&pages);
        serve(tls, move |request, connection| {
            let pages = Arc::clone(&pages);
            async move { pages.answer(request, connection).await }
        })
        .await
    };
    let (plain, secure) = (server(None).await, server(Some(authority.server("127.0.0.1"))).await);
    let named = format!("'LocalHost:{}'", plain.rsplit(':').next().unwrap());
    fs::create_dir(path("sd")).unwrap();
    write(&path("ca.pem"), &authority.pem);
    write(&path("token"), "a token\n");
    write(&path("sd/a.json"), &TARGETS.replace("PLAIN", &plain));
    let config = path("prometheus.yml");
    let version = Command::new(prometheus_binary()).arg("--version").output().unwrap();
    let is_3 = String::from_utf8_lossy(&version.stdout).contains("version 3.");
    let pair = format!("{PAIR}{}", if is_3 { PAIR_OF_3 } else { "" });
    write(
        &config,
        &pair.replace("PLAIN", &format!("'{plain}'")).replace("SECURE", &format!("'{secure}'")).replace("NAMED", &named),
    );

    let features = vec!["--enable-feature=exemplar-storage,extra-scrape-metrics,native-histograms".to_owned()];
    let port = free_port();
    let alone_url = format!("http://127.0.0.1:{port}");
    let _alone = start_prometheus_with(&path("alone"), &config, port, &features);
    let mut shard = Shard::new(world.path(), "shard-0", &config);
    shard.prometheus_args = features;
    shard.start_sidecar();
    shard.start_prometheus().await;
    let coordinator =
        Coordinator::start(world.path(), &config, &[&shard], &["--shard.max-series=100000", "--coordinator.interval=1s"]);
    let sharded_url = shard.prometheus_url();

    let targets = eventually("the same targets on both", async || {
        let [alone, sharded] = [described_targets(&alone_url).await?, described_targets(&sharded_url).await?];
        let unknown = alone.iter().chain(&sharded).filter(|t| t["health"] == "unknown").count();
        if !alone.is_empty() && alone == sharded && unknown == 0 {
            return Ok(alone.len());
        }
        let only =
            |a: &[Value], b: &[Value]| a.iter().filter(|t| !b.contains(t)).map(Value::to_string).collect::<Vec<_>>().join("\n ");
        Err(format!("only alone:\n {}\nonly sharded:\n {}", only(&alone, &sharded), only(&sharded, &alone)))
    })
    .await;
    for url in [&alone_url, &sharded_url] {
        eventually("three scrapes of each target", async || {
            let scraped = support::query(url, "count_over_time(up[5m])").await?;
            let done = scraped.len() == targets && scraped.values().all(|scrapes| *scrapes >= 3.0);
            if done { Ok(()) } else { Err(format!("{targets} targets: {scraped:?}")) }
        })
        .await;
    }

    let [alone, sharded] = [stored(&alone_url).await, stored(&sharded_url).await];
    println!("{targets} targets, {} series alone, {} sharded", alone.len(), sharded.len());
    assert_equal(&alone, &sharded);
    assert!(alone.len() > 600, "{}", alone.len());
    assert!(alone.values().flatten().any(|value| value.contains("buckets")), "native histograms are stored");
    let up = |job: &str| {
        let series: Vec<_> = alone
            .iter()
            .filter(|(name, _)| name.contains(r#""__name__":"up""#) && name.contains(&format!("\"job\":\"{job}\"")))
            .collect();
        assert!(!series.is_empty(), "{job}");
        series.iter().all(|(_, values)| values.contains("\"1\""))
    };
    // The story tells of both kinds.
    for (job, expected) in [
        ("text", true),
        ("guarded", true),
        ("secure", true),
        ("enough samples", true),
        ("parameters", true),
        ("odd path", true),
        ("blackbox", true),
        ("locked out", false),
        ("untrusted", false),
        ("too many samples", false),
        ("too many labels", false),
        ("too long name", false),
        ("too long value", false),
        ("too large", false),
        ("html", false),
        ("down", false),
        ("not redirected", false),
    ] {
        assert_eq!(up(job), expected, "{job}");
    }
    assert_eq!(stamps(&alone_url).await, stamps(&sharded_url).await);
    assert_eq!(exemplars(&alone_url).await, exemplars(&sharded_url).await);
    let metadata = async |url: &str| get_json(&format!("{url}/api/v1/metadata")).await.unwrap();
    assert_eq!(metadata(&alone_url).await, metadata(&sharded_url).await);

    // The sizes in the API are those that Prometheus notes of each scrape.
    let noted = async |metric: &str| {
        let series = support::query(&sharded_url, &format!("{metric} and on(job, instance, version) (up == 1)")).await.unwrap();
        series
            .into_iter()
            .map(|(labels, value)| (identity(&serde_json::from_str(&labels).unwrap()), value))
            .collect::<BTreeMap<_, _>>()
    };
    let (series, total) = (noted("scrape_samples_post_metric_relabeling").await, noted("scrape_samples_scraped").await);
    let ups = support::query(&sharded_url, "up").await.unwrap();
    let up: BTreeMap<_, _> = ups.iter().map(|(labels, up)| (identity(&serde_json::from_str(labels).unwrap()), *up)).collect();
    let listed = coordinator.targets().await.unwrap();
    assert_eq!((up.len(), listed.len()), (targets, targets));
    for target in &listed {
        let expected = if up[&identity(&target["labels"])] == 1.0 { "up" } else { "down" };
        assert_eq!(target["health"], expected, "{target}");
    }
    let mut compared = 0;
    for target in listed.iter().filter(|t| t["health"] == "up") {
        let name = identity(&target["labels"]);
        let api = (target["series"].as_f64(), target["totalSeries"].as_f64());
        assert_eq!(api, (series.get(&name).copied(), total.get(&name).copied()), "{name}");
        compared += 1;
    }
    println!("sizes of {compared} targets equal what Prometheus noted");
    assert_eq!(compared, series.len());
    assert!(compared >= 20, "{compared}");

    // A series that ends, ends on both.
    pages.gone.store(true, Ordering::Relaxed);
    for url in [&alone_url, &sharded_url] {
        eventually("end of a series", async || {
            let left = support::query(url, r#"{__name__=~".*_ending"}"#).await?;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
}

fn identity(labels: &Value) -> String {
    format!("{} {} {}", labels["job"], labels["instance"], labels["version"])
}

/// Labels, pool, health and pace of each target, in order.
async fn described_targets(url: &str) -> Result<Vec<Value>, String> {
    let answer = get_json(&format!("{url}/api/v1/targets?state=active")).await?;
    let list = answer["data"]["activeTargets"].as_array().ok_or("no targets")?;
    let keys = ["labels", "scrapePool", "health", "scrapeInterval", "scrapeTimeout"];
    let mut targets: Vec<Value> =
        list.iter().map(|t| keys.iter().map(|key| ((*key).to_owned(), t[key].clone())).collect()).collect();
    targets.sort_by_key(Value::to_string);
    Ok(targets)
}

async fn range(url: &str) -> Vec<Value> {
    let query = "%7B__name__%3D~%22.%2B%22%7D%5B5m%5D"; // {__name__=~".+"}[5m]
    let answer = get_json(&format!("{url}/api/v1/query?query={query}")).await.unwrap();
    answer["data"]["result"].as_array().unwrap().clone()
}

/// Every value that was ever stored, by series.
async fn stored(url: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut stored: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in range(url).await {
        let labels = &series["metric"];
        let body_too_large = labels["__name__"] == "scrape_body_size_bytes" && labels["job"] == "too large"; // ended by the proxy
        if UNCOMPARABLE.iter().any(|name| labels["__name__"] == *name) || body_too_large {
            continue;
        }
        let [values, histograms] = ["values", "histograms"].map(|kind| series[kind].as_array().into_iter().flatten());
        stored.entry(labels.to_string()).or_default().extend(values.chain(histograms).map(|value| value[1].to_string()));
    }
    stored
}

/// Times of the samples that brought one.
async fn stamps(url: &str) -> BTreeMap<String, BTreeSet<String>> {
    let own = |labels: &Value| {
        let stamped = labels["__name__"] == "story_stamped" || labels["__name__"] == "renamed_stamped" || labels["code"] == "500";
        stamped && labels["job"] != "unstamped"
    };
    let times = |series: &Value| series["values"].as_array().unwrap().iter().map(|v| v[0].to_string()).collect();
    let stamps: BTreeMap<_, _> =
        range(url).await.iter().filter(|s| own(&s["metric"])).map(|s| (s["metric"].to_string(), times(s))).collect();
    assert!(stamps.len() > 20 && stamps.values().all(|times: &BTreeSet<String>| times.len() == 1), "{stamps:?}");
    stamps
}

/// Exemplars by series; times only of those that brought one.
async fn exemplars(url: &str) -> BTreeSet<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let query = format!("{url}/api/v1/query_exemplars?query=%7B__name__%3D~%22om_.*%22%7D&start={}&end={now}", now - 600);
    let answer = get_json(&query).await.unwrap();
    let mut exemplars = BTreeSet::new();
    for series in answer["data"].as_array().unwrap() {
        for exemplar in series["exemplars"].as_array().unwrap() {
            let time =
                if exemplar["labels"]["trace_id"] == "stamped" { exemplar["timestamp"].to_string() } else { String::new() };
            exemplars.insert(format!("{} {} {} {time}", series["seriesLabels"], exemplar["labels"], exemplar["value"]));
        }
    }
    assert_eq!(exemplars.len(), 4, "{answer}");
    exemplars
}

fn assert_equal(alone: &BTreeMap<String, BTreeSet<String>>, sharded: &BTreeMap<String, BTreeSet<String>>) {
    let only = |a: &BTreeMap<String, BTreeSet<String>>, b: &BTreeMap<String, BTreeSet<String>>| {
        let differs = |(series, values): &(&String, &BTreeSet<String>)| b.get(*series) != Some(*values);
        a.iter().filter(differs).map(|(series, values)| format!("  {series} {values:?}\n")).collect::<String>()
    };
    assert!(alone == sharded, "only alone:\n{}only sharded:\n{}", only(alone, sharded), only(sharded, alone));
}

/// Bodies at the edge of the formats. Some are good, some are not: Prometheus says which.
const TEXT_BODIES: [&str; 62] = [
    "a 1\n",
    "a 1",
    "a\t1\n",
    " a 1\n",
    "\ta 1\n",
    "a 1 \n",
    "a  1\n",
    "a 1\r\n",
    "\n\n",
    "\r\n",
    "a 1\n\n\nb 2\n",
    "a\n",
    "a \n",
    "a b\n",
    "1 1\n",
    "a 1 2\n",
    "a 1 2.5\n",
    "a 1 x\n",
    "a 1 -5\n",
    "a 1 99999999999999999999\n",
    "a 1 2 3\n",
    "a 0x10\n",
    "a 1_000\n",
    "a 1e400\n",
    "a 1e5\n",
    "a .5\n",
    "a 5.\n",
    "a +5\n",
    "a ++5\n",
    "a nan\n",
    "a NAN\n",
    "a inf\n",
    "a Infinity\n",
    "a -iNf\n",
    "a 0b1\n",
    "a {} 1\n",
    "a{} 1\n",
    "a{ } 1\n",
    "{} 1\n",
    "{x=\"y\"} 1\n",
    "a{,} 1\n",
    "a{x=\"y\",} 1\n",
    "a{x=\"y\",,} 1\n",
    "a{x=\"y\" z=\"w\"} 1\n",
    "a{x='y'} 1\n",
    "a{x=y} 1\n",
    "a{x=\"y} 1\n",
    "a{x=\"\\q\"} 1\n",
    "a{x=\"line\\nend\"} 1\n",
    "a{x=\"real\nline\"} 1\n",
    "a{x=\"y\",x=\"z\"} 1\n",
    "a{x=\"y\"}1\n",
    "a{1x=\"y\"} 1\n",
    "a:b 1\n",
    ":a 1\n",
    "ä 1\n",
    "a{x=\"\u{fffd}ä\"} 1\n",
    "a{__name__=\"b\"} 1\n",
    "# TYPE a banana\na 1\n",
    "# TYPE a\na 1\n",
    "#TYPE a gauge\na 1\n",
    "# EOF\na 1\n",
];
const OPEN_METRICS_BODIES: [&str; 22] = [
    "# EOF\n",
    "# EOF",
    "",
    "a 1\n",
    "a 1\n# EOF\n",
    "a 1\n# EOF\n\n",
    "a 1\n# EOF\nb 1\n",
    "a  1\n# EOF\n",
    "a 1 2.5\n# EOF\n",
    "# a remark\na 1\n# EOF\n",
    "\na 1\n# EOF\n",
    "# TYPE a counter\na_total 1 # {} 1\n# EOF\n",
    "# TYPE a counter\na_total 1 # {x=\"y\"} 1 2\n# EOF\n",
    "a_total 1 #{x=\"y\"} 1\n# EOF\n",
    "# UNIT a seconds\na 1\n# EOF\n",
    "# UNIT a_seconds seconds\na_seconds 1\n# EOF\n",
    "# TYPE a unknown\n# EOF\n",
    "# TYPE a untyped\n# EOF\n",
    "# HELP a \\q\na 1\n# EOF\n",
    "a{x=\"y\"} NaN\n# EOF\n",
    "a{} 0x1\n# EOF\n",
    "a 1\r\n# EOF\n",
];

#[tokio::test]
async fn a_target_is_up_exactly_when_prometheus_says_so() {
    let world = world();
    let bodies: Vec<(&str, &str)> = TEXT_BODIES
        .map(|body| ("text/plain; version=0.0.4", body))
        .into_iter()
        .chain(OPEN_METRICS_BODIES.map(|body| ("application/openmetrics-text; version=1.0.0", body)))
        .collect();
    let served = bodies.clone();
    let address = serve(None, move |request, connection| {
        let number: usize = request.path().trim_start_matches('/').parse().unwrap_or_default();
        let (content_type, body) = served[number];
        async move { connection.answer("200 OK", &format!("Content-Type: {content_type}\r\n"), body.as_bytes()).await }
    })
    .await;
    let config = world.path().join("prometheus.yml");
    write(
        &config,
        "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n- job_name: edge\n  file_sd_configs: [{files: [edge.json]}]\n",
    );
    let group = |number| serde_json::json!({"targets": [address], "labels": {"__metrics_path__": format!("/{number}"), "instance": format!("{number}")}});
    let groups: Vec<Value> = (0..bodies.len()).map(group).collect();
    write(&world.path().join("edge.json"), &Value::from(groups).to_string());
    let shard = Shard::start(world.path(), "shard-0", &config).await;
    let coordinator =
        Coordinator::start(world.path(), &config, &[&shard], &["--shard.max-series=1000", "--coordinator.interval=1s"]);

    let stored = eventually("two scrapes of each", async || {
        let scrapes = support::query(&shard.prometheus_url(), "count_over_time(up[5m]) >= 2").await?;
        if scrapes.len() < bodies.len() {
            return Err(format!("{scrapes:?}"));
        }
        let mut stored: BTreeMap<usize, BTreeMap<String, f64>> = BTreeMap::new();
        for (labels, value) in support::query(&shard.prometheus_url(), "{__name__=~\"up|scrape_samples_.*\"}").await? {
            let labels: Value = serde_json::from_str(&labels).map_err(|e| e.to_string())?;
            let number = labels["instance"].as_str().unwrap_or_default().parse().map_err(|_| labels.to_string())?;
            stored.entry(number).or_default().insert(labels["__name__"].as_str().unwrap_or_default().to_owned(), value);
        }
        Ok(stored)
    })
    .await;
    let targets = eventually("all are known", async || {
        let targets = coordinator.targets().await?;
        let known = targets.iter().filter(|t| t["health"] != "unknown").count();
        if known == bodies.len() { Ok(targets) } else { Err(format!("{known}")) }
    })
    .await;
    let mut differing = String::new();
    let mut up = 0;
    for target in &targets {
        let number: usize = target["labels"]["instance"].as_str().unwrap().parse().unwrap();
        let stored = &stored[&number];
        let expected = if stored["up"] == 1.0 { "up" } else { "down" };
        up += stored["up"] as usize;
        let [series, total] = ["series", "totalSeries"].map(|size| target[size].as_f64().unwrap());
        let sizes_differ = expected == "up"
            && (series, total) != (stored["scrape_samples_post_metric_relabeling"], stored["scrape_samples_scraped"]);
        if target["health"] != expected || sizes_differ {
            let health = [&target["health"], &target["lastError"]];
            differing += &format!("{:?}: Prometheus: {stored:?}; kvass: {health:?} {series} of {total}\n", bodies[number].1);
        }
    }
    println!("{} bodies, {up} of them good", targets.len());
    assert!(differing.is_empty(), "{differing}");
}

#[tokio::test]
async fn a_new_target_needs_no_reload() {
    const TRIALS: usize = 3;
    let world = world();
    let config = world.path().join("prometheus.yml");
    let text = "global: {scrape_interval: 3s, scrape_timeout: 3s}\nscrape_configs:\n- job_name: files\n  file_sd_configs: [{files: [kvass.json]}]\n";
    write(&config, text);
    // Each side has exporters of its own, so that their records say who came first when.
    let alone_config = world.path().join("alone.yml");
    write(&alone_config, &text.replace("kvass.json", "alone.json"));
    let mut sides: [(&str, Vec<(Exporter, Instant)>); 2] = [("kvass", Vec::new()), ("alone", Vec::new())];
    let add = async |name: &str, exporters: &mut Vec<(Exporter, Instant)>| {
        exporters.push((Exporter::start(5).await, Instant::now()));
        let targets: Vec<_> = exporters.iter().map(|(exporter, _)| format!("\"{}\"", exporter.address)).collect();
        write(&world.path().join(format!("{name}.json")), &format!("[{{\"targets\": [{}]}}]", targets.join(",")));
    };
    for (name, exporters) in &mut sides {
        add(name, exporters).await;
    }
    let shard = Shard::start(world.path(), "shard-0", &config).await;
    let _coordinator = Coordinator::start(world.path(), &config, &[&shard], &["--shard.max-series=1000"]);
    let _alone = start_prometheus(&world.path().join("alone"), &alone_config, free_port());
    let first_scrape = async |exporters: &[(Exporter, Instant)]| {
        let (exporter, added) = exporters.last().unwrap();
        eventually("first scrape", async || exporter.scrapes().first().map(|s| s.at - *added).ok_or("none".to_owned()))
            .await
            .as_secs_f64()
    };
    for (_, exporters) in &sides {
        first_scrape(exporters).await;
    }

    let loaded = shard.reloads().await.unwrap();
    for trial in 1..=TRIALS {
        for (name, exporters) in &mut sides {
            add(name, exporters).await;
        }
        let (kvass, alone) = (first_scrape(&sides[0].1).await, first_scrape(&sides[1].1).await);
        println!("trial {trial}: first scrape after {kvass:.1} s behind kvass, {alone:.1} s alone");
        eventually("all targets up", async || {
            let up = support::query(&shard.prometheus_url(), "up == 1").await?;
            if up.len() == trial + 1 { Ok(()) } else { Err(format!("{up:?}")) }
        })
        .await;
    }
    assert_eq!(shard.reloads().await.unwrap(), loaded, "Prometheus was not asked to reload");
}

/// A configuration of many jobs with one target each.
fn jobs(number: usize, exporter: &Exporter) -> String {
    let mut text = "global: {scrape_interval: 3s, scrape_timeout: 3s}\nscrape_configs:\n".to_owned();
    for job in 0..number {
        text += &format!("- {{job_name: job-{job}, static_configs: [{{targets: ['{}']}}]}}\n", exporter.address);
    }
    text
}

/// Waits until `number` jobs are up on the shard.
async fn jobs_up(shard: &Shard, number: usize) {
    eventually("jobs up", async || {
        let up = support::query(&shard.prometheus_url(), "count(up == 1)").await?;
        if up.values().eq([&(number as f64)]) { Ok(()) } else { Err(format!("{up:?}")) }
    })
    .await;
}

async fn sidecar_metric(shard: &Shard, name: &str) -> f64 {
    let text = reqwest::get(format!("{}/metrics", shard.url())).await.unwrap().text().await.unwrap();
    metric(&text, name).unwrap_or_else(|| panic!("{name}: {text}"))
}

#[tokio::test]
async fn three_hundred_jobs_on_one_shard() {
    let world = world();
    let exporter = Exporter::start(3).await;
    let config = world.path().join("prometheus.yml");
    write(&config, &jobs(300, &exporter));
    let start = Instant::now();
    let shard = Shard::start(world.path(), "shard-0", &config).await;
    let _coordinator = Coordinator::start(world.path(), &config, &[&shard], &["--coordinator.interval=1s"]);
    jobs_up(&shard, 300).await;
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap_or_default();
    println!("300 jobs up after {:.1} s; fs.inotify.max_user_instances is {}", start.elapsed().as_secs_f64(), limit.trim());
    assert_eq!(sidecar_metric(&shard, "kvass_sidecar_inotify_fallbacks_total").await, 0.0);
    assert!(fs::read_to_string(shard.injected()).unwrap().contains("http_sd_configs"));
}

/// In a user namespace of its own Prometheus has a limit of its own, which disturbs nobody else.
const FEW_WATCHERS: &str = r#"echo 2 > /proc/sys/user/max_inotify_instances && exec "$@""#;

#[tokio::test]
async fn files_prometheus_cannot_watch_are_replaced_by_http() {
    let possible = Command::new("unshare").args(["-r", "sh", "-c", FEW_WATCHERS, "sh", "true"]).output();
    if !possible.as_ref().is_ok_and(|output| output.status.success()) {
        println!("not told here, as no user namespace can be had: {possible:?}");
        return;
    }
    let world = world();
    let exporter = Exporter::start(3).await;
    let config = world.path().join("prometheus.yml");
    write(&config, &jobs(6, &exporter));
    let mut shards = [Shard::new(world.path(), "auto", &config), Shard::new(world.path(), "forced", &config)];
    shards[1].sidecar_args = vec!["--inject.targets=file".to_owned()];
    let start = Instant::now();
    let mut coordinators = Vec::new();
    for shard in &mut shards {
        shard.start_sidecar();
        let injected = shard.injected();
        eventually("injected configuration", async || injected.exists().then_some(()).ok_or("no file yet".to_owned())).await;
        let port = shard.prometheus_url().rsplit(':').next().unwrap().parse().unwrap();
        let mut args: Vec<String> = ["-r", "sh", "-c", FEW_WATCHERS, "sh"].map(str::to_owned).into();
        args.push(prometheus_binary().display().to_string());
        args.extend(prometheus_args(&shard.dir, &injected, port, &[]));
        shard.prometheus = Some(Process::start(Path::new("unshare"), &args, &shard.dir, "prometheus"));
        let folder = world.path().join(format!("coordinator of {}", shard.name));
        fs::create_dir(&folder).unwrap();
        coordinators.push(Coordinator::start(&folder, &config, &[shard], &["--coordinator.interval=1s"]));
    }
    let [auto, forced] = &shards;
    jobs_up(auto, 6).await;
    println!("6 jobs, 2 watchers: all up after {:.1} s", start.elapsed().as_secs_f64());
    assert!(fs::read_to_string(auto.injected()).unwrap().contains("http_sd_configs"));
    assert_eq!(sidecar_metric(auto, "kvass_sidecar_inotify_fallbacks_total").await, 1.0);
    let said = auto.sidecar.as_ref().unwrap().log_text();
    assert!(said.contains("fs.inotify.max_user_instances"), "{said}");

    // A form that was asked for stays, and what is missing is named.
    let unseen = eventually("report of what is missing", async || {
        let said = forced.sidecar.as_ref().unwrap().log_text();
        let unseen = sidecar_metric(forced, "kvass_sidecar_targets_unseen").await as usize;
        let seen = support::query(&forced.prometheus_url(), "up == 1").await?.len();
        let told = unseen > 0 && seen + unseen == 6 && said.contains("prometheus does not list targets of these jobs");
        if told { Ok(unseen) } else { Err(format!("{seen} seen, {unseen} not: {said}")) }
    })
    .await;
    println!("with files all the same {unseen} of 6 jobs are without targets");
    assert!(fs::read_to_string(forced.injected()).unwrap().contains("file_sd_configs"));
}
