//! A server whose every byte the test decides, and settings to reach it with.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use kvass_config::{HttpClientConfig, ScrapeConfig};
use kvass_scrape::{ClientOptions, HttpClient, Response, ScrapeError};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;

/// Long enough for anything that is supposed to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the server does with one request.
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

pub(crate) enum Then {
    /// Waits for the next request.
    Continue,
    Close,
    /// Says nothing more, and keeps the connection.
    Hang,
    /// Repeats these bytes until the client goes away.
    Repeat(Vec<u8>),
}

impl Reply {
    pub(crate) fn ok(body: &str) -> Reply {
        Reply::with(200, "", body)
    }

    /// `headers` are complete lines.
    pub(crate) fn with(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        let mut bytes =
            format!("HTTP/1.1 {status} Test\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{headers}\r\n", body.len())
                .into_bytes();
        bytes.extend_from_slice(body);
        Reply { bytes, then: Then::Continue }
    }

    pub(crate) fn raw(bytes: impl AsRef<[u8]>, then: Then) -> Reply {
        Reply { bytes: bytes.as_ref().to_vec(), then }
    }
}

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

type Handler = dyn Fn(&str) -> Reply + Send + Sync;

impl Server {
    pub(crate) async fn start(handler: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Server {
        Server::launch(None, Arc::new(handler)).await
    }

    pub(crate) async fn start_tls(
        config: rustls::ServerConfig,
        handler: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Server {
        Server::launch(Some(TlsAcceptor::from(Arc::new(config))), Arc::new(handler)).await
    }

    async fn launch(tls: Option<TlsAcceptor>, handler: Arc<Handler>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server =
            Server { addr: listener.local_addr().unwrap(), requests: Arc::default(), connections: Arc::new(AtomicUsize::new(0)) };
        let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::SeqCst);
                let (tls, handler, requests) = (tls.clone(), Arc::clone(&handler), Arc::clone(&requests));
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, &*handler, &requests).await,
                        // A failed handshake is the client's to report.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => converse(stream, &*handler, &requests).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn tls_url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn last_request(&self) -> String {
        self.requests().pop().expect("a request")
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Answers requests until the connection ends. CONNECT is forwarded to where it asks for, if the handler
/// answers 200.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    handler: &Handler,
    requests: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
        let length: usize = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
        while buffer.len() < end + length {
            stream.read_buf(&mut buffer).await.ok()?;
        }
        let request = String::from_utf8(buffer.drain(..end + length).collect()).unwrap();
        requests.lock().unwrap().push(request.clone());

        let reply = handler(&request);
        stream.write_all(&reply.bytes).await.ok()?;
        stream.flush().await.ok()?;
        if let Some(target) = request.strip_prefix("CONNECT ")
            && reply.bytes.starts_with(b"HTTP/1.1 200")
        {
            let mut upstream = TcpStream::connect(target.split(' ').next()?).await.ok()?;
            tokio::io::copy_bidirectional(&mut stream, &mut upstream).await.ok()?;
            return None;
        }
        match reply.then {
            Then::Continue => {}
            Then::Close => return stream.shutdown().await.ok(),
            Then::Hang => std::future::pending().await,
            Then::Repeat(bytes) => loop {
                stream.write_all(&bytes).await.ok()?;
            },
        }
    }
}

/// The address of a server that speaks first and then listens for ever.
pub(crate) async fn greeting(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        while stream.read(&mut [0; 1024]).await.is_ok_and(|len| len > 0) {}
    });
    addr
}

/// The value of a header in the text of a request.
pub(crate) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

pub(crate) fn client(config: &HttpClientConfig) -> HttpClient {
    HttpClient::new(config, &ClientOptions::default()).unwrap()
}

pub(crate) async fn get(client: &HttpClient, url: &str) -> Result<Response, ScrapeError> {
    client.get(url, HeaderMap::new(), Instant::now() + PATIENCE).await
}

/// Status and body.
pub(crate) async fn get_text(client: &HttpClient, url: &str) -> Result<(u16, String), ScrapeError> {
    let mut response = get(client, url).await?;
    let status = response.status().as_u16();
    Ok((status, String::from_utf8(read_all(&mut response).await?).unwrap()))
}

pub(crate) async fn read_all(response: &mut Response) -> Result<Vec<u8>, ScrapeError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        assert!(!chunk.is_empty());
        body.extend_from_slice(&chunk);
    }
    assert_eq!(response.decoded_bytes(), body.len() as u64);
    Ok(body)
}

/// A job that differs from the defaults in its HTTP settings only.
pub(crate) fn job(name: &str, http: HttpClientConfig) -> ScrapeConfig {
    ScrapeConfig {
        job_name: name.into(),
        honor_labels: false,
        honor_timestamps: true,
        params: Default::default(),
        scrape_interval: Duration::from_secs(60),
        scrape_timeout: Duration::from_secs(10),
        metrics_path: "/metrics".to_owned(),
        scheme: "http".to_owned(),
        body_size_limit: None,
        sample_limit: 0,
        target_limit: 0,
        label_limit: 0,
        label_name_length_limit: 0,
        label_value_length_limit: 0,
        keep_dropped_targets: 0,
        enable_compression: true,
        scrape_native_histograms: false,
        always_scrape_classic_histograms: false,
        convert_classic_histograms_to_nhcb: false,
        native_histogram_bucket_limit: 0,
        native_histogram_min_bucket_factor: 0.0,
        accept: "text/plain;version=0.0.4;q=0.5,*/*;q=0.1".to_owned(),
        fallback_scrape_protocol: None,
        utf8_names: true,
        relabel_configs: Arc::default(),
        metric_relabel_configs: Arc::default(),
        http,
        service_discovery: Vec::new(),
    }
}
