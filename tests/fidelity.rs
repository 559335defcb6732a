//! What Prometheus stores behind kvass is what it would store without.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "support/raw_server.rs"]
mod raw_server;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use flate2::{Compression, write::GzEncoder};
use raw_server::{Authority, Connection, Request, serve};
use serde_json::Value;
use support::{Coordinator, Shard, eventually, free_port, get_json, prometheus_binary, start_prometheus_with, world, write};

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
