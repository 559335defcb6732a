use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::support::{CONFIG, World, assert_differences, differences, eventually, proxy_request, target};

/// What an exporter does after its first bytes.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Hang,
    /// The same line in chunks, for ever.
    Endless,
}

/// An exporter that writes raw bytes, so that it can be broken in every way. Keeps the requests' heads.
struct Exporter {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
    gone: Arc<Mutex<usize>>,
}

impl Exporter {
    async fn new(reply: impl Fn(&str) -> (Vec<u8>, Then) + Send + Sync + 'static) -> Exporter {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, gone) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (all_seen, all_gone, reply) = (Arc::clone(&seen), Arc::clone(&gone), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, gone, reply) = (Arc::clone(&all_seen), Arc::clone(&all_gone), Arc::clone(&reply));
                tokio::spawn(async move {
                    let _ = Exporter::answer(stream, &seen, &*reply).await;
                    *gone.lock().unwrap() += 1;
                });
            }
        });
        Exporter { address, seen, gone }
    }

    async fn answer(
        stream: TcpStream,
        seen: &Mutex<Vec<String>>,
        reply: &(impl Fn(&str) -> (Vec<u8>, Then) + Sync),
    ) -> std::io::Result<()> {
        // Large heads, byte by byte, would outlast a scrape on a busy machine.
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        seen.lock().unwrap().push(head);
        let (bytes, then) = reply(&path);
        stream.write_all(&bytes).await?;
        match then {
            Then::Close => stream.shutdown().await,
            // Until the other side is gone.
            Then::Hang => stream.read_u8().await.map(drop),
            Then::Endless => loop {
                let line = "endless_metric{x=\"1\"} 1\n".repeat(1000);
                stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await?;
            },
        }
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn ok(content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

const TEXT: &str = "text/plain; version=0.0.4";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What the exporter sent when the original was recorded, what it saw, and what the sidecar then said of its targets.
static AFTERWARDS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/proxy-afterwards.json")).unwrap());

/// Type and body of one of the good answers.
fn sent(path: &str) -> (&'static str, &'static str) {
    let sent = &AFTERWARDS["exporter_sent"][path];
    (sent["type"].as_str().unwrap(), sent["body"].as_str().unwrap())
}

fn broken_exporter(path: &str) -> (Vec<u8>, Then) {
    let lines = "demo_requests_total{path=\"/a\"} 7\n".repeat(100);
    match path.split('?').next().unwrap() {
        path @ ("/s/3/a" | "/openmetrics" | "/mixed" | "/html") => {
            let (content_type, body) = sent(path);
            (ok(content_type, body), Then::Close)
        }
        "/s/10/redirected" => (ok(TEXT, &lines[..10 * lines.len() / 100]), Then::Close),
        "/status/500" => (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops".to_vec(), Then::Close),
        "/redirect" => (
            b"HTTP/1.1 302 Found\r\nLocation: /s/10/redirected\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
            Then::Close,
        ),
        "/badgzip" => (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\nConnection: close\r\n\r\na 1\n".to_vec(),
            Then::Close,
        ),
        "/truncate" => (
            format!("HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Length: 999999\r\n\r\n{lines}").into_bytes(),
            Then::Close,
        ),
        "/hangbody" => (format!("{CHUNKED}{:x}\r\n{lines}\r\n", lines.len()).into_bytes(), Then::Hang),
        "/hang" => (Vec::new(), Then::Hang),
        other => panic!("{other}"),
    }
}

/// What the original answered in each recorded case is beside it in the data; these are the answers of ours.
#[tokio::test]
async fn recorded_cases() {
    let exporter = Exporter::new(broken_exporter).await;
    let world = World::new().await;
    let address = exporter.address.clone();
    let at = |hash: u64, path: &str| target(hash, &address, path);
    let list = json!({"Targets": {
        "j": [
            at(21, "/s/3/a"), at(22, "/status/500"), at(23, "/redirect"), at(24, "/badgzip"), at(25, "/truncate"),
            at(26, "/hangbody"), at(27, "/openmetrics"), at(29, "/html"),
        ],
        "k": [at(28, "/mixed")],
    }});
    assert_eq!(world.post("/api/v1/shard/targets/", list).await.0, 200);

    const WHOLE: bool = true;
    let expected = |case: &str| match case {
        "01-ok" | "20-query-order" => (200, WHOLE, sent("/s/3/a").1),
        "02-unknown-job" => (404, WHOLE, "target 21 is not one of job \"zz\""),
        "03-bad-hash" => (400, WHOLE, "\"xx\" is not an unsigned 64-bit decimal number"),
        "04-unknown-hash" => (404, WHOLE, "target 999 is not assigned to this shard"),
        "05-no-scheme" => (400, WHOLE, "parameter _scheme is missing"),
        "06-no-params" => (400, WHOLE, "parameter _hash is missing"),
        "07-origin-form" => (400, WHOLE, "expected a proxy request with an absolute URL"),
        "08-post" => (405, WHOLE, "method POST is not served"),
        "09-head" => (405, WHOLE, ""),
        "10-target-500" => (500, WHOLE, "server returned HTTP status 500 Internal Server Error"),
        "12-target-badgzip" => (502, WHOLE, "gzip"),
        "11-target-redirect" => (200, WHOLE, "demo_requests_total{path=\"/a\"} 7\n"),
        "13-target-truncated" | "14-target-hang-in-body" => (200, !WHOLE, "demo_requests_total{path=\"/a\"} 7\n"),
        "15-openmetrics" => (200, WHOLE, sent("/openmetrics").1),
        "16-mixed-bad-line" => (200, WHOLE, sent("/mixed").1),
        "17-html" => (200, WHOLE, sent("/html").1),
        "18-other-host" => (403, WHOLE, "the host requested is not that of target 21 of job \"j\""),
        "19-connect" => (405, WHOLE, "CONNECT is not served"),
        other => panic!("{other}"),
    };
    for case in include_str!("../data/proxy-requests.jsonl").lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let name = case["case"].as_str().unwrap();
        let request =
            case["request"].as_str().unwrap().replace("127.0.0.1:9261", &exporter.address).replace("Seconds: 4", "Seconds: 1");
        let answer = world.raw(&request).await;
        let (status, whole, text) = expected(name);
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(answer.text().contains(text), "{name}: {}", answer.text());
        assert_eq!(whole, answer.is_whole() || !answer.is_chunked(), "{name}");
        // A length or chunks: a reply that merely ends cannot be told from one that is cut off.
        assert!(answer.is_chunked() || answer.head.contains("content-length:"), "{name}: {}", answer.head);
    }

    for (hash, error) in [
        (22, "server returned HTTP status 500 Internal Server Error"),
        (24, "gzip"),
        (25, "incomplete"),
        (26, "timed out"),
        (28, "line 8"),
        (29, "line 1"),
    ] {
        let status = world.status(hash).await;
        assert!(status["lastError"].as_str().unwrap().contains(error), "{hash}: {status}");
    }
    compare_afterwards(&world, &exporter).await;
}

/// What is left after all cases: how the targets are, their samples, and what the exporter saw.
async fn compare_afterwards(world: &World, exporter: &Exporter) {
    let (_, mut statuses) = world.get("/api/v1/shard/targets/status/").await;
    for status in statuses["data"].as_object_mut().unwrap().values_mut() {
        let counted = ["health", "series", "totalSeries", "ScrapeTimes"];
        status.as_object_mut().unwrap().retain(|name, _| counted.contains(&name.as_str()));
    }
    let mut saw: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for head in exporter.seen.lock().unwrap().iter() {
        let path = head.split(' ').nth(1).unwrap();
        let of_path = saw.entry(path.to_owned()).or_default();
        for name in ["Accept-Encoding", "Authorization", "Referer"] {
            let line =
                head.lines().find_map(|line| line.split_once(": ").filter(|(header, _)| header.eq_ignore_ascii_case(name)));
            of_path.extend(line.map(|(_, value)| (name.to_owned(), value.into())));
        }
        let count = of_path.get("count").and_then(Value::as_u64).unwrap_or(0);
        of_path.insert("count".to_owned(), (count + 1).into());
    }
    // Asks the targets: the numbers of each metric are not kept.
    let (_, samples) = world.get("/api/v1/shard/samples/?with_metrics_detail=true").await;
    let recorded =
        json!({"statuses": AFTERWARDS["statuses"], "samples": AFTERWARDS["samples"], "saw": AFTERWARDS["exporter_saw"]});
    let ours = json!({"statuses": statuses["data"], "samples": samples["data"], "saw": saw});
    let found = differences(&recorded, &ours).into_iter().map(|(path, was, is)| format!("{path}: {was} -> {is}"));
    let want = [
        // Requests by another method, for another host or for a hash that is not assigned are refused and leave no
        // trace, and parameters are those of the job and the target.
        "saw./s/3/a.count: 4 -> 2",
        r#"saw./s/3/a?a=2&a=1&b=x+y&c=%2F&e=&zz=1: {"Accept-Encoding":"gzip","Authorization":"Basic dTpw","count":1} -> null"#,
        "statuses.21.ScrapeTimes: 7 -> 2",
        "statuses.21.series: 2 -> 3",
        // Go's client names the page that redirected.
        r#"saw./s/10/redirected.Referer: "http://127.0.0.1:9261/redirect" -> null"#,
        // What Prometheus refuses for one bad line is down, and has no samples.
        r#"statuses.28.health: "up" -> "down""#,
        "statuses.28.series: 5 -> 3",
        "statuses.28.totalSeries: 7 -> 4",
        r#"statuses.29.health: "up" -> "down""#,
        "statuses.29.series: 0 -> 3",
        "statuses.29.totalSeries: 0 -> 4",
        "samples.k.scrapedTotal: 5 -> 0.0",
        r#"samples.k.metricsTotal.NaN_metric: {"scraped":1,"total":1} -> null"#,
        r#"samples.k.metricsTotal.drop_c: {"scraped":0,"total":2} -> null"#,
        r#"samples.k.metricsTotal.keep_a: {"scraped":2,"total":2} -> null"#,
        r#"samples.k.metricsTotal.keep_b: {"scraped":1,"total":1} -> null"#,
        r#"samples.k.metricsTotal.keep_d: {"scraped":1,"total":1} -> null"#,
        // The original never summed it up.
        "samples.j.total: 0 -> 18.0",
    ];
    assert_differences(found, &want);
}

#[tokio::test]
async fn prometheus_headers_and_the_jobs_credentials_reach_the_target() {
    let exporter = Exporter::new(broken_exporter).await;
    let world = World::new().await;
    world.assign(&[target(21, &exporter.address, "/s/3/a")]).await;
    assert_eq!(world.scrape(&exporter.address, "/s/3/a", 21, "j").await.status, 200);
    let head = exporter.seen.lock().unwrap()[0].to_lowercase();
    for line in [
        "get /s/3/a http/1.1",
        "accept: text/plain",
        "user-agent: prometheus/2.42.0",
        "x-prometheus-scrape-timeout-seconds: 4",
        "accept-encoding: gzip",
        "authorization: basic dtpw",
    ] {
        assert!(head.lines().any(|l| l == line), "{line} not in\n{head}");
    }
    assert!(!head.contains("_hash"), "{head}");
}

#[tokio::test]
async fn the_url_is_built_from_what_the_shard_was_told() {
    let config = "scrape_configs:\n- job_name: j\n  params: {module: [a, b], \"match[]\": [x]}\n";
    let exporter = Exporter::new(|_| (ok(TEXT, "a 1\n"), Then::Close)).await;
    let world = World::with(config, |_| {}).await;
    let mut probe = target(1, &exporter.address, "/probe");
    probe["labels"]["__param_target"] = json!("https://a.b/?c=d");
    probe["labels"]["__param_module"] = json!("c");
    world.assign(&[probe]).await;
    assert_eq!(world.scrape(&exporter.address, "/probe", 1, "j").await.status, 200);
    let head = exporter.seen.lock().unwrap()[0].clone();
    assert!(
        head.starts_with("GET /probe?match%5B%5D=x&module=c&module=b&target=https%3A%2F%2Fa.b%2F%3Fc%3Dd HTTP/1.1"),
        "{head}"
    );
}

#[tokio::test]
async fn no_other_place_can_be_reached() {
    let exporter = Exporter::new(|_| (ok(TEXT, "a 1\n"), Then::Close)).await;
    let secret = Exporter::new(|_| (ok(TEXT, "a 1\n"), Then::Close)).await;
    let world = World::new().await;
    world.assign(&[target(21, &exporter.address, "/m")]).await;
    for (address, path, hash, job, status) in [
        (&secret.address, "/m", 21, "j", 403),
        (&exporter.address, "/admin", 21, "j", 403),
        (&exporter.address, "/m/../admin", 21, "j", 403),
        (&exporter.address, "/m", 21, "k", 404),
        (&exporter.address, "/m", 22, "j", 404),
    ] {
        assert_eq!(world.scrape(address, path, hash, job).await.status, status, "{address} {path} {hash} {job}");
    }
    let https = proxy_request(&exporter.address, "/m", 21, "j").replace("_scheme=http", "_scheme=https");
    assert_eq!(world.raw(&https).await.status, 403);
    assert_eq!((exporter.requests(), secret.requests()), (0, 0));
    assert_eq!(world.status(21).await["ScrapeTimes"], 0);
}

#[tokio::test]
async fn failures_before_the_first_byte_have_a_status_and_a_reason() {
    let exporter = Exporter::new(broken_exporter).await;
    let world = World::new().await;
    world.assign(&[target(1, &exporter.address, "/hang"), target(2, "127.0.0.1:1", "/m")]).await;
    let request = proxy_request(&exporter.address, "/hang", 1, "j").replace("Seconds: 4", "Seconds: 0.2");
    let answer = world.raw(&request).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(answer.text().contains("waiting for the response headers"), "{}", answer.text());
    let answer = world.scrape("127.0.0.1:1", "/m", 2, "j").await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("cannot connect to 127.0.0.1:1"), "{}", answer.text());
}

#[tokio::test]
async fn an_endless_body_is_aborted_then_read_without_forwarding_until_it_fits() {
    let small = Arc::new(Mutex::new(false));
    let shrink = Arc::clone(&small);
    let exporter = Exporter::new(move |_| {
        if *small.lock().unwrap() { (ok(TEXT, "a 1\n"), Then::Close) } else { (CHUNKED.as_bytes().to_vec(), Then::Endless) }
    })
    .await;
    let world = World::new().await;
    world.assign(&[target(1, &exporter.address, "/m")]).await;
    let scrape = || world.scrape(&exporter.address, "/m", 1, "j");

    let first = scrape().await;
    assert_eq!((first.status, first.is_whole()), (200, false));
    assert!(first.body.len() > 500_000 && first.body.len() < 2_000_000, "{}", first.body.len());
    let second = scrape().await;
    assert_eq!(second.status, 502);
    assert!(second.text().contains("body size limit of 1048576 bytes exceeded"), "{}", second.text());
    assert_eq!(world.status(1).await["health"], "down");

    *shrink.lock().unwrap() = true;
    let third = scrape().await;
    assert_eq!(third.status, 503, "{}", third.text());
    let fourth = scrape().await;
    assert_eq!((fourth.status, fourth.is_whole(), fourth.text().as_str()), (200, true, "a 1\n"));
    assert_eq!(world.status(1).await["health"], "up");
    eventually("both endless connections are closed", async || *exporter.gone.lock().unwrap() == 4).await;
}

#[tokio::test]
async fn a_gzip_bomb_meets_the_limit_of_its_decoded_size() {
    let bomb = gzip(&b"a 1\n".repeat(1 << 20));
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bomb.len());
    let reply = [head.as_bytes(), &bomb].concat();
    let exporter = Exporter::new(move |_| (reply.clone(), Then::Close)).await;
    let world = World::new().await;
    world.assign(&[target(1, &exporter.address, "/m")]).await;
    let answer = world.scrape(&exporter.address, "/m", 1, "j").await;
    assert!(!answer.is_whole() && answer.body.len() < 2_000_000, "{}", answer.body.len());
}

#[tokio::test]
async fn prometheus_gets_identity_whatever_the_target_sends() {
    let body = gzip(b"a 1\nb 2\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let reply = [head.as_bytes(), &body].concat();
    let exporter = Exporter::new(move |_| (reply.clone(), Then::Close)).await;
    let world = World::new().await;
    world.assign(&[target(1, &exporter.address, "/m")]).await;
    let answer = world.scrape(&exporter.address, "/m", 1, "j").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "a 1\nb 2\n"));
    assert!(answer.is_chunked() && answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    assert!(!answer.head.contains("content-encoding"), "{}", answer.head);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_scrape() {
    let exporter = Exporter::new(broken_exporter).await;
    let world = World::new().await;
    world.assign(&[target(1, &exporter.address, "/hang"), target(2, &exporter.address, "/hangbody")]).await;
    for (path, hash) in [("/hang", 1), ("/hangbody", 2)] {
        let mut stream = TcpStream::connect(world.proxy).await.unwrap();
        stream.write_all(proxy_request(&exporter.address, path, hash, "j").as_bytes()).await.unwrap();
        eventually("the target is asked", async || exporter.requests() == hash as usize).await;
        drop(stream);
        // Well before the timeout of four seconds.
        let gone = tokio::time::timeout(Duration::from_secs(3), async {
            eventually("the target is left", async || *exporter.gone.lock().unwrap() == hash as usize).await;
        });
        gone.await.unwrap();
        eventually("the status is noted", async || world.status(hash).await["health"] == "down").await;
        let error = world.status(hash).await["lastError"].clone();
        assert!(error.as_str().unwrap().contains("closed the connection"), "{error}");
    }
}

#[tokio::test]
async fn a_stop_reason_answers_without_contacting_targets() {
    let exporter = Exporter::new(broken_exporter).await;
    let world = World::new().await;
    world.assign(&[target(21, &exporter.address, "/s/3/a")]).await;
    let reason = json!({"stopScrapeReason": "maintenance 100%d"});
    assert_eq!(world.post("/api/v1/status/extra_config", reason.clone()).await.0, 200);
    let (_, shown) = world.get("/api/v1/status/extra_config/").await;
    assert_eq!(shown["data"]["json"], r#"{"stopScrapeReason":"maintenance 100%d"}"#);
    let answer = world.scrape(&exporter.address, "/s/3/a", 21, "j").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "maintenance 100%d\n"));
    let status = world.status(21).await;
    assert_eq!((&status["health"], &status["lastError"]), (&json!("down"), &json!("maintenance 100%d")));
    assert_eq!(exporter.requests(), 0);

    // A restart does not forget it.
    let world = World::start(world.stop().await, |_| {}).await;
    assert_eq!(world.scrape(&exporter.address, "/s/3/a", 21, "j").await.status, 503);
    assert_eq!(world.post("/api/v1/status/extra_config/", json!({"stopScrapeReason": ""})).await.0, 200);
    assert_eq!(world.scrape(&exporter.address, "/s/3/a", 21, "j").await.status, 200);
}

#[tokio::test]
async fn a_released_target_lingers_until_prometheus_lets_go() {
    let exporter = Exporter::new(broken_exporter).await;
    let world = World::new().await;
    world.assign(&[target(21, &exporter.address, "/s/3/a")]).await;
    world.prometheus.listed.lock().unwrap().insert(21);
    world.assign(&[]).await;
    assert_eq!(world.get("/api/v1/shard/targets/status/").await.1["data"], json!({}));
    assert_eq!(world.scrape(&exporter.address, "/s/3/a", 21, "j").await.status, 200);
    assert_eq!(world.scrape(&exporter.address, "/s/3/b", 21, "j").await.status, 403);
    world.prometheus.listed.lock().unwrap().clear();
    eventually("it is let go of", async || world.scrape(&exporter.address, "/s/3/a", 21, "j").await.status == 404).await;
}

#[tokio::test]
async fn large_header_sections_and_kept_connections() {
    let exporter = Exporter::new(broken_exporter).await;
    let world = World::new().await;
    world.assign(&[target(21, &exporter.address, "/s/3/a")]).await;
    let filler: String = (0..3000).map(|i| format!("X-Filler: {i}{}\r\n", "x".repeat(340))).collect();
    let request = proxy_request(&exporter.address, "/s/3/a", 21, "j").replace("Connection: close", &format!("{filler}X-Last: 1"));
    assert!(request.len() > 1 << 20);
    let mut stream = TcpStream::connect(world.proxy).await.unwrap();
    for _ in 0..2 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"0\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn a_job_whose_client_cannot_be_built_says_why() {
    let config = format!("{CONFIG}- job_name: broken\n  tls_config: {{ca_file: /does/not/exist.pem}}\n");
    let world = World::with(&config, |_| {}).await;
    let list = json!({"Targets": {"broken": [target(1, "127.0.0.1:1", "/m")], "gone": [target(2, "127.0.0.1:1", "/m")]}});
    assert_eq!(world.post("/api/v1/shard/targets/", list).await.0, 200);
    let answer = world.scrape("127.0.0.1:1", "/m", 2, "gone").await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(world.status(2).await["lastError"], "job \"gone\" is not in the configuration");
    let answer = world.scrape("127.0.0.1:1", "/m", 1, "broken").await;
    assert_eq!(answer.status, 502, "{}", answer.text());
}

/// The original stopped at a line of about half a megabyte, after it had passed the first 466,944 bytes on.
#[tokio::test]
async fn lines_may_be_as_long_as_prometheus_takes_them() {
    let exporter = Exporter::new(|path| {
        let length: usize = path.rsplit('/').next().unwrap().parse().unwrap();
        (ok(TEXT, &format!("a 1\nlong{{l=\"{}\"}} 1\nb 1\n", "x".repeat(length))), Then::Close)
    })
    .await;
    let world = World::with(CONFIG, |options| options.body_size_limit = 4 << 20).await;
    let lengths = [200_000, 400_000, 524_000, 600_000, 1_048_000, 1_100_000];
    let targets: Vec<Value> = lengths.iter().map(|length| target(*length, &exporter.address, &format!("/{length}"))).collect();
    world.assign(&targets).await;
    for length in lengths {
        let answer = world.scrape(&exporter.address, &format!("/{length}"), length, "j").await;
        assert_eq!((answer.status, answer.is_whole()), (200, true), "{length}");
        assert!(answer.text().len() as u64 > length, "{length}");
        let status = world.status(length).await;
        assert_eq!((&status["health"], &status["totalSeries"]), (&json!("up"), &json!(3)), "{length}: {status}");
    }
}
