use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use http::HeaderMap;
use kvass_config::HttpClientConfig;
use kvass_scrape::{ClientOptions, HttpClient, Phase, ScrapeError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use crate::support::{Reply, Server, Then, client, get, get_text, greeting, read_all};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Body of a reply read with a limit.
async fn read(reply: impl Fn() -> Reply + Send + Sync + 'static, limit: u64) -> Result<Vec<u8>, ScrapeError> {
    let server = Server::start(move |_| reply()).await;
    let options = ClientOptions { body_size_limit: limit, ..ClientOptions::default() };
    let client = HttpClient::new(&HttpClientConfig::default(), &options).unwrap();
    read_all(&mut get(&client, &server.url("/")).await?).await
}

#[tokio::test]
async fn plain_chunked_and_gzip_bodies() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nup 1\n\r\n0\r\n\r\n";
    let until_close = "HTTP/1.0 200 OK\r\n\r\nup 1\n";
    assert_eq!(read(|| Reply::ok("up 1\n"), 0).await.unwrap(), b"up 1\n");
    assert_eq!(read(move || Reply::raw(chunked, Then::Continue), 0).await.unwrap(), b"up 1\n");
    assert_eq!(read(move || Reply::raw(until_close, Then::Close), 0).await.unwrap(), b"up 1\n");
    assert_eq!(read(|| Reply::with(200, "Content-Encoding: gzip\r\n", gzip(b"up 1\n")), 0).await.unwrap(), b"up 1\n");
    // Any other name means nothing to Prometheus.
    assert_eq!(read(|| Reply::with(200, "Content-Encoding: x-gzip\r\n", "up 1\n"), 0).await.unwrap(), b"up 1\n");
    assert_eq!(read(|| Reply::ok(""), 0).await.unwrap(), b"");
}

#[tokio::test]
async fn heads_that_prometheus_reads() {
    let large = format!("X-Large: {}\r\n", "a".repeat(900 << 10));
    let many: String = (0..500).map(|number| format!("X-{number}: 1\r\n")).collect();
    for headers in [large, many, "X-Space : 1\r\n".to_owned(), "X-Folded: 1\r\n  2\r\n".to_owned()] {
        let body = read(move || Reply::with(200, &headers, "up 1\n"), 0).await;
        assert_eq!(body.as_deref(), Ok(b"up 1\n".as_slice()));
    }
    let endless = || Reply::raw("HTTP/1.1 200 OK\r\n", Then::Repeat(b"X: 1\r\n".repeat(1000)));
    let error = read(endless, 0).await.unwrap_err();
    assert_eq!(error.to_string(), "no valid HTTP response: message head is too large");
}

#[tokio::test]
async fn cut_bodies_are_errors() {
    let whole = gzip("m 1\n".repeat(5000).as_bytes());
    let half = whole[..whole.len() / 2].to_vec();
    let by_length = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nup 1\n";
    let by_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n99\r\nup 1\n";
    let before_last_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nup 1\n\r\n";
    for cut in [by_length, by_chunk, before_last_chunk] {
        let error = read(move || Reply::raw(cut, Then::Close), 0).await.unwrap_err();
        assert_eq!(error.kind(), "truncated", "{cut:?}: {error}");
    }
    for body in [half, Vec::new()] {
        let error = read(move || Reply::with(200, "Content-Encoding: gzip\r\n", &body), 0).await.unwrap_err();
        // Go refuses an empty gzip body, too.
        assert_eq!(error.kind(), "truncated", "{error}");
    }
    let error = read(|| Reply::with(200, "Content-Encoding: gzip\r\n", "not_gzip_at_all 1\n"), 0).await.unwrap_err();
    assert_eq!(error.kind(), "gzip", "{error}");
}

#[tokio::test]
async fn size_limit_counts_decoded_bytes_and_includes_itself() {
    assert_eq!(read(|| Reply::ok("0123456789"), 11).await.unwrap().len(), 10);
    assert_eq!(read(|| Reply::ok("0123456789"), 10).await, Err(ScrapeError::BodyTooLarge { limit: 10 }));
    let packed = || Reply::with(200, "Content-Encoding: gzip\r\n", gzip(&[b'x'; 10_000]));
    assert_eq!(read(packed, 10_001).await.unwrap().len(), 10_000);
    assert_eq!(read(packed, 10_000).await, Err(ScrapeError::BodyTooLarge { limit: 10_000 }));
}

#[tokio::test]
async fn endless_and_exploding_bodies_stop_at_the_limit() {
    let limit = 8 << 20;
    let endless = || Reply::raw("HTTP/1.1 200 OK\r\n\r\n", Then::Repeat(b"up 1\n".repeat(1000)));
    assert_eq!(read(endless, limit).await, Err(ScrapeError::BodyTooLarge { limit }));

    // 2 GiB in 2 MiB; every piece stays small however far one piece of input expands.
    let bomb = gzip(&vec![0; 1 << 20]).repeat(2 << 10);
    assert!(bomb.len() < 3 << 20);
    let server = Server::start(move |_| Reply::with(200, "Content-Encoding: gzip\r\n", &bomb)).await;
    let options = ClientOptions { body_size_limit: limit, ..ClientOptions::default() };
    let client = HttpClient::new(&HttpClientConfig::default(), &options).unwrap();
    let mut response = get(&client, &server.url("/")).await.unwrap();
    let error = loop {
        match response.chunk().await {
            Ok(chunk) => assert!(chunk.unwrap().len() <= 64 << 10),
            Err(error) => break error,
        }
    };
    assert_eq!(error, ScrapeError::BodyTooLarge { limit });
}

#[tokio::test]
async fn the_deadline_covers_connect_headers_and_body() {
    let phase_of = async |url: &str| {
        let client = client(&HttpClientConfig::default());
        let deadline = Instant::now() + Duration::from_millis(300);
        let result = async { read_all(&mut client.get(url, HeaderMap::new(), deadline).await?).await }.await;
        match result {
            Err(ScrapeError::Timeout { phase, .. }) => phase,
            other => panic!("{other:?}"),
        }
    };
    let silent = Server::start(|_| Reply::raw("", Then::Hang)).await;
    assert_eq!(phase_of(&silent.url("/")).await, Phase::Headers);

    let stalling = Server::start(|_| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nup 1\n", Then::Hang)).await;
    assert_eq!(phase_of(&stalling.url("/")).await, Phase::Body);

    // Data that is always ready must not outrun the clock.
    let flooding = Server::start(|_| Reply::raw("HTTP/1.1 200 OK\r\n\r\n", Then::Repeat(vec![b'\n'; 1000]))).await;
    let options = ClientOptions { body_size_limit: 0, ..ClientOptions::default() };
    let client = HttpClient::new(&HttpClientConfig::default(), &options).unwrap();
    let mut response =
        client.get(&flooding.url("/"), HeaderMap::new(), Instant::now() + Duration::from_millis(300)).await.unwrap();
    let error = loop {
        if let Err(error) = response.chunk().await {
            break error;
        }
    };
    assert!(matches!(error, ScrapeError::Timeout { phase: Phase::Body, .. }), "{error}");

    // A listener whose accept queue is never served: the connection stands, TLS does not.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(phase_of(&format!("https://{}/", listener.local_addr().unwrap())).await, Phase::Connect);
}

#[tokio::test]
async fn causes_are_told_apart() {
    let client = client(&HttpClientConfig::default());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unused = closed.local_addr().unwrap();
    drop(closed);
    let not_http = Server::start(|_| Reply::raw("SSH-2.0-OpenSSH_9.6\r\n\r\n", Then::Close)).await;
    let hanging_up = Server::start(|_| Reply::raw("", Then::Close)).await;
    for (url, kind, text) in [
        (format!("http://{unused}/"), "connect", "refused"),
        ("http://does-not-exist.invalid/".to_owned(), "resolve", "does-not-exist.invalid"),
        (not_http.url("/"), "http", "no valid HTTP response"),
        (hanging_up.url("/"), "http", "closed the connection before answering"),
        (format!("https://{}/", greeting("220 smtp.example ESMTP\r\n").await), "tls", "does not speak TLS"),
        ("gopher://h/".to_owned(), "url", "neither http nor https"),
    ] {
        let error = get(&client, &url).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{url}: {error}");
        assert!(error.to_string().contains(text), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    // The second request on a connection is answered by closing it, as a server does whose idle timeout
    // is the scrape interval.
    let served = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |_| match served.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        1 => Reply::raw("", Then::Close),
        _ => Reply::ok("up 1\n"),
    })
    .await;
    let client = client(&HttpClientConfig::default());
    for _ in 0..2 {
        assert_eq!(get_text(&client, &server.url("/")).await, Ok((200, "up 1\n".to_owned())));
    }
    assert_eq!((server.requests().len(), server.connections()), (3, 2));
}

#[tokio::test]
async fn keep_alive_is_an_option() {
    for (keep_alive, connections) in [(true, 1), (false, 3)] {
        let server = Server::start(|_| Reply::ok("up 1\n")).await;
        let options = ClientOptions { keep_alive, ..ClientOptions::default() };
        let client = HttpClient::new(&HttpClientConfig::default(), &options).unwrap();
        for _ in 0..3 {
            get_text(&client, &server.url("/")).await.unwrap();
        }
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn dropping_a_response_ends_the_exchange() {
    let (closed, mut seen) = tokio::sync::mpsc::channel::<()>(1);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'\n'; 1000]).await.is_ok() {}
        closed.send(()).await.unwrap();
    });
    let response = get(&client(&HttpClientConfig::default()), &url).await.unwrap();
    drop(response);
    tokio::time::timeout(crate::support::PATIENCE, seen.recv()).await.unwrap().unwrap();
}
