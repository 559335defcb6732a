use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header as names};
use kvass_config::{HttpClientConfig, ProxyConfig, ScrapeConfig, Secret};
use kvass_exposition::Format;
use kvass_model::{Labels, PrometheusLine};
use kvass_scrape::{ClientOptions, JobClient, JobClients, ScrapeError, measure};

use crate::support::{PATIENCE, Reply, Server, Then, header, job, read_all};

fn job_client(job: ScrapeConfig) -> JobClient {
    JobClient::new(&Arc::new(job), &ClientOptions::default()).unwrap()
}

#[tokio::test]
async fn the_request_is_prometheus_own() {
    let server = Server::start(|_| Reply::ok("up 1\n")).await;
    let client = job_client(job("a", HttpClientConfig::default()));
    let timeout = Duration::from_millis(9500);
    client.scrape(&server.url("/metrics"), client.default_headers(timeout, "Prometheus/3.4.0"), timeout).await.unwrap();
    let mut lines: Vec<String> = server.last_request().trim_end().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "Accept-Encoding: gzip",
            "Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "GET /metrics HTTP/1.1",
            &format!("Host: {}", server.addr),
            "User-Agent: Prometheus/3.4.0",
            "X-Prometheus-Scrape-Timeout-Seconds: 9.5",
        ]
    );
}

#[tokio::test]
async fn compression_is_the_jobs_choice() {
    let server = Server::start(|_| Reply::ok("up 1\n")).await;
    let client = job_client(ScrapeConfig { enable_compression: false, ..job("a", HttpClientConfig::default()) });
    let sent = HeaderMap::from_iter([(names::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
    client.scrape(&server.url("/"), sent, PATIENCE).await.unwrap();
    assert_eq!(header(&server.last_request(), "Accept-Encoding"), Some("identity"));
}

#[tokio::test]
async fn only_200_is_a_scrape() {
    for status in [201, 204, 206, 302, 404, 503] {
        let server = Server::start(move |_| Reply::with(status, "", "")).await;
        let client = job_client(job("a", HttpClientConfig::default()));
        let error = client.scrape(&server.url("/"), HeaderMap::new(), PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), "status", "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn the_jobs_body_size_limit_wins() {
    let server = Server::start(|_| Reply::ok("0123456789")).await;
    for (own, expected) in [(None, false), (Some(10), false), (Some(11), true), (Some(0), true)] {
        let options = ClientOptions { body_size_limit: 5, ..ClientOptions::default() };
        let job = ScrapeConfig { body_size_limit: own, ..job("a", HttpClientConfig::default()) };
        let client = JobClient::new(&Arc::new(job), &options).unwrap();
        let mut response = client.scrape(&server.url("/"), HeaderMap::new(), PATIENCE).await.unwrap();
        assert_eq!(read_all(&mut response).await.is_ok(), expected, "{own:?}");
    }
}

#[tokio::test]
async fn counting_follows_the_job_and_the_prometheus_line() {
    let mut config = job("a", HttpClientConfig::default());
    (config.honor_labels, config.sample_limit, config.label_limit) = (true, 7, 8);
    (config.scrape_native_histograms, config.convert_classic_histograms_to_nhcb) = (true, true);
    let client = job_client(config);
    let labels = Labels::from([("__address__", "h:1"), ("instance", "h:1"), ("job", "a")]);
    let server = Server::start(|request| {
        let content_type = request.split(['/', ' ']).nth(2).unwrap().replace('-', "/").replace("om", "openmetrics-text");
        Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: 0\r\n\r\n"), Then::Continue)
    })
    .await;
    let answer = async |client: &JobClient, content_type: &str| {
        let headers = client.default_headers(PATIENCE, "");
        client.scrape(&server.url(&format!("/{content_type}")), headers, PATIENCE).await.unwrap()
    };
    let openmetrics = answer(&client, "application-om").await;
    let options = client.count_options(&labels, &openmetrics, PrometheusLine::V3).unwrap();
    assert_eq!((options.format, options.line), (Format::OpenMetrics, PrometheusLine::V3));
    assert_eq!(options.target_labels, labels.public());
    assert_eq!((options.honor_labels, options.sample_limit, options.label_limit), (true, 7, 8));
    assert_eq!((options.native_histograms, options.always_classic, options.convert_nhcb), (true, false, true));
    assert!(options.utf8_names);
    assert!(!client.count_options(&labels, &openmetrics, PrometheusLine::V2).unwrap().utf8_names);

    // Prometheus 3 has a setting and a label for native histograms, 2 asks for them.
    let plain = job("a", HttpClientConfig::default());
    let asking = ScrapeConfig { accept: "application/vnd.google.protobuf,*/*".to_owned(), ..plain.clone() };
    let labelled = Labels::from([("job", "a"), ("__scrape_native_histograms__", "True")]);
    for (config, labels, native) in
        [(&plain, &labels, [false, false]), (&asking, &labels, [true, false]), (&plain, &labelled, [false, true])]
    {
        let client = job_client(config.clone());
        let response = answer(&client, "text-plain").await;
        let options = |line| client.count_options(labels, &response, line).unwrap().native_histograms;
        assert_eq!([PrometheusLine::V2, PrometheusLine::V3].map(options), native);
    }
    let error = client.count_options(&labels, &answer(&client, "text-html").await, PrometheusLine::V3).unwrap_err();
    assert_eq!(error, ScrapeError::ContentType { content_type: "text/html".to_owned() });
}

#[tokio::test]
async fn measuring() {
    let html = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (page, nothing) = (html("<html>"), html(""));
    let server = Server::start(move |request| match request.split(' ').nth(1) {
        Some("/page") => Reply::raw(&page, Then::Continue),
        Some("/nothing") => Reply::raw(&nothing, Then::Continue),
        Some("/broken") => Reply::ok("a 1\nb{ 2\n"),
        _ => Reply::ok("# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 1\nb 2\n"),
    })
    .await;
    let client = job_client(job("a", HttpClientConfig::default()));
    let measure = async |path: &str| {
        measure(&client, &server.url(path), &Labels::default(), PATIENCE, PrometheusLine::V3)
            .await
            .map(|counts| counts.count.total)
    };
    assert_eq!(measure("/metrics").await, Ok(3));
    assert_eq!(measure("/nothing").await, Ok(0));
    assert_eq!(measure("/page").await.unwrap_err().kind(), "content_type");
    assert_eq!(measure("/broken").await.unwrap_err().kind(), "format");
}

#[tokio::test]
async fn reloads_keep_connections_and_report_bad_jobs() {
    let server = Server::start(|_| Reply::ok("up 1\n")).await;
    let clients = JobClients::new(ClientOptions::default());
    let bad = HttpClientConfig {
        proxy: ProxyConfig { url: Some(Secret::new("nonsense")), ..ProxyConfig::default() },
        ..HttpClientConfig::default()
    };
    let scrape = async |job: &str| {
        let client = clients.get(job).unwrap();
        let mut response = client.scrape(&server.url("/"), HeaderMap::new(), PATIENCE).await.unwrap();
        read_all(&mut response).await.unwrap();
    };

    let failed = clients.apply(&[Arc::new(job("a", HttpClientConfig::default())), Arc::new(job("bad", bad))]);
    assert_eq!(failed.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["bad"]);
    assert!(clients.get("bad").is_none() && clients.get("unknown").is_none());
    scrape("a").await;

    // The job changes, its HTTP settings do not; another job has the same settings.
    let changed = ScrapeConfig { sample_limit: 9, ..job("a", HttpClientConfig::default()) };
    assert!(clients.apply(&[Arc::new(changed), Arc::new(job("b", HttpClientConfig::default()))]).is_empty());
    assert_eq!(clients.get("a").unwrap().job().sample_limit, 9);
    scrape("a").await;
    scrape("b").await;
    assert_eq!(server.connections(), 1);

    let other = HttpClientConfig { follow_redirects: false, ..HttpClientConfig::default() };
    clients.apply(&[Arc::new(job("a", other))]);
    scrape("a").await;
    assert_eq!(server.connections(), 2);
    assert!(clients.get("b").is_none());
}
