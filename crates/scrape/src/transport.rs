use std::{
    error::Error,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::capture_connection},
    rt::{TokioExecutor, TokioTimer},
};
use kvass_config::{ProxyConfig, TlsConfig};

use crate::{
    ClientError, Phase, ScrapeError,
    connector::{Connector, Used},
    deadline::Deadline,
    endpoint::host,
    error_chain::{chain, chain_text},
    proxy::ProxySettings,
    tls::{self, Tls, TlsMaterial},
};

/// Read buffer of a connection in bytes. It stays allocated while the connection is idle; hyper's default
/// grows to 220 KB with bodies of 150 KB, which thousands of targets multiply.
const READ_BUFFER: usize = 16 << 10;

/// Largest head of a response in bytes, as in Prometheus. One that does not fit into [`READ_BUFFER`] is asked for again.
const LARGEST_HEAD: usize = 10 << 20;
const MOST_HEADERS: usize = 16 << 10;

/// How long a connection is kept for the next request; above all usual scrape intervals, as in Prometheus.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Idle connections per host. One host can serve many targets of a job (a blackbox exporter).
const MAX_IDLE_PER_HOST: usize = 64;

/// HTTP/2 connections are pinged after this silence, so that a vanished peer is noticed.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(60);

type HyperClient = Client<Connector, Full<Bytes>>;

/// The clients of one set of TLS material.
#[derive(Clone)]
struct Clients {
    usual: HyperClient,
    /// For responses with a large head. Keeps no connection, and so no buffer.
    roomy: HyperClient,
}

/// Connections of one set of TLS and proxy settings, and single requests over them.
pub(crate) struct Transport {
    tls: TlsConfig,
    proxy: Arc<ProxySettings>,
    http2: bool,
    keep_alive: bool,
    /// Set while the TLS material cannot change.
    fixed: Option<Clients>,
    /// The clients of the TLS files as last read.
    current: Mutex<Option<(TlsMaterial, Clients)>>,
}

impl Transport {
    /// # Errors
    /// Unusable settings. Missing TLS files are not one: they fail requests, until they appear.
    pub(crate) fn new(
        tls: &TlsConfig,
        proxy: &ProxyConfig,
        scrape_proxy: Option<&str>,
        http2: bool,
        keep_alive: bool,
    ) -> Result<Self, ClientError> {
        let proxy = ProxySettings::new(proxy, scrape_proxy, |name| std::env::var(name).ok())?;
        let mut transport =
            Transport { tls: tls.clone(), proxy: Arc::new(proxy), http2, keep_alive, fixed: None, current: Mutex::default() };
        match TlsMaterial::inline(tls) {
            Some(material) => transport.fixed = Some(transport.build(&material).map_err(ClientError::Tls)?),
            // Everything but the files can be checked now.
            None => {
                let settings = TlsConfig { ca: None, cert: None, key: None, ..tls.clone() };
                if let Some(nothing) = TlsMaterial::inline(&settings) {
                    Tls::new(&settings, &nothing, http2).map_err(ClientError::Tls)?;
                }
            }
        }
        Ok(transport)
    }

    /// One request, without redirects. `Host` and what the proxy needs are added here.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        deadline: &Deadline,
    ) -> Result<Response<Incoming>, ScrapeError> {
        let Clients { usual, roomy } = self.clients().await?;
        let mut client = &usual;
        let uri = request.uri().clone();
        // hyper would leave out default ports; Prometheus sends the address as it is written.
        if let Some(host) = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
            request.headers_mut().insert(header::HOST, host);
        }
        self.proxy.decorate(&uri, request.headers_mut());

        let mut retried = false;
        let mut has_room = false;
        loop {
            let mut attempt = request.clone();
            let connection = capture_connection(&mut attempt);
            let phase = || if connection.connection_metadata().is_some() { Phase::Headers } else { Phase::Connect };
            let error = match deadline.limit(Phase::Headers, client.request(attempt)).await {
                Ok(Ok(response)) => {
                    Used::mark(response.extensions());
                    return Ok(response);
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(deadline.error(phase())),
            };
            if !has_room && request.method() == Method::GET && is_too_large(&error) {
                (client, has_room) = (&roomy, true);
                continue;
            }
            let was_used = connection.connection_metadata().as_ref().is_some_and(Used::is_marked);
            if retried || !was_used || !is_closed(&error) {
                return Err(request_error(&error, &uri));
            }
            retried = true;
        }
    }

    /// The clients for the TLS files as they are now.
    async fn clients(&self) -> Result<Clients, ScrapeError> {
        if let Some(clients) = &self.fixed {
            return Ok(clients.clone());
        }
        let material = TlsMaterial::read(&self.tls).await?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, clients)) = &*current
            && *known == material
        {
            return Ok(clients.clone());
        }
        let clients = self.build(&material).map_err(|problem| ScrapeError::Credentials { field: "tls_config", problem })?;
        *current = Some((material, clients.clone()));
        Ok(clients)
    }

    fn build(&self, material: &TlsMaterial) -> Result<Clients, String> {
        let connector = Connector::new(Tls::new(&self.tls, material, self.http2)?, Arc::clone(&self.proxy));
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .set_host(false)
            // Some embedded exporters compare header names by case.
            .http1_title_case_headers(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http2_keep_alive_interval(HTTP2_PING_INTERVAL);
        let usual = builder
            .clone()
            .pool_max_idle_per_host(if self.keep_alive { MAX_IDLE_PER_HOST } else { 0 })
            .http1_read_buf_exact_size(READ_BUFFER)
            .build(connector.clone());
        let roomy =
            builder.pool_max_idle_per_host(0).http1_max_buf_size(LARGEST_HEAD).http1_max_headers(MOST_HEADERS).build(connector);
        Ok(Clients { usual, roomy })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("tls", &self.tls).field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

/// Whether the connection went away before anything of the response was seen.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| {
        let reset = |io: &io::Error| matches!(io.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
        cause.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_incomplete_message() || error.is_canceled())
            || cause.downcast_ref::<io::Error>().is_some_and(reset)
    })
}

/// Whether the head of the response did not fit.
fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large))
}

fn request_error(error: &(dyn Error + 'static), uri: &Uri) -> ScrapeError {
    if let Some(own) = chain(error).find_map(|cause| cause.downcast_ref::<ScrapeError>()) {
        return own.clone();
    }
    // TLS 1.3 servers refuse a client certificate only after the handshake.
    if let Some(error) = tls::find_tls_error(error) {
        return ScrapeError::Tls { host: host(uri).to_owned(), problem: tls::problem(error) };
    }
    if is_closed(error) {
        return ScrapeError::Http { problem: "the server closed the connection before answering".to_owned() };
    }
    // The outermost text is hyper-util's and says only that sending failed.
    ScrapeError::Http { problem: chain_text(error.source().unwrap_or(error)) }
}
