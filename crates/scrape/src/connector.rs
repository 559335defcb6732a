use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Extensions, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector, dns::Name, proxy::SocksV5},
    rt::TokioIo,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::{Service, ServiceExt};

use crate::{
    Phase, ScrapeError,
    endpoint::{host, host_port},
    error_chain::chain,
    proxy::{Proxy, ProxyKind, ProxySettings},
    tls::{Peer, Tls},
    tunnel,
};

/// Limit on one connection attempt. Requests have deadlines of their own; this one ends attempts that a
/// faster connection of the pool has made superfluous.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

type BoxedFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// A byte stream: TCP, TLS, or TLS in a tunnel.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

pub(crate) type BoxedIo = Box<dyn Io>;

/// Opens connections to targets, directly or through a proxy, with TLS where the scheme asks for it.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: Tls,
    proxy: Arc<ProxySettings>,
}

impl Connector {
    pub(crate) fn new(tls: Tls, proxy: Arc<ProxySettings>) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Connector { tcp, tls, proxy }
    }

    async fn connect(self, target: Uri) -> Result<Stream, ScrapeError> {
        let https = target.scheme_str() == Some("https");
        let proxy = self.proxy.of(&target);
        let io = match proxy {
            None => self.tcp(&target).await?,
            Some(proxy) => self.through(proxy, &target, https).await?,
        };
        let absolute_form = !https && proxy.is_some_and(|proxy| proxy.kind != ProxyKind::Socks5);
        if !https {
            return Ok(Stream { io: TokioIo::new(io), absolute_form, http2: false, used: Used::default() });
        }
        let io = self.tls.handshake(io, &target, Peer::Target).await?;
        let http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Stream { io: TokioIo::new(Box::new(io)), absolute_form, http2, used: Used::default() })
    }

    /// A stream that leads to `target` or, for clear text HTTP, to the proxy that will forward to it.
    async fn through(&self, proxy: &Proxy, target: &Uri, https: bool) -> Result<BoxedIo, ScrapeError> {
        let fail = |problem: String| ScrapeError::Proxy { proxy: proxy.to_string(), problem };
        let mut io = match proxy.kind {
            ProxyKind::Socks5 => return self.socks(proxy, target).await.map_err(fail),
            ProxyKind::Http => self.tcp(&proxy.uri).await.map_err(|error| fail(error.to_string()))?,
            ProxyKind::Https => {
                let io = self.tcp(&proxy.uri).await.map_err(|error| fail(error.to_string()))?;
                Box::new(self.tls.handshake(io, &proxy.uri, Peer::Proxy).await?)
            }
        };
        if https {
            tunnel::open(&mut io, target, proxy, &self.proxy).await.map_err(fail)?;
        }
        Ok(io)
    }

    async fn socks(&self, proxy: &Proxy, target: &Uri) -> Result<BoxedIo, String> {
        let unusable = |error: http::Error| error.to_string();
        // The library knows no default ports: it takes 443 for the target's and 80 for the proxy's.
        let target = Uri::builder().scheme("https").authority(host_port(target)).path_and_query("/").build().map_err(unusable)?;
        let proxy_uri =
            Uri::builder().scheme("http").authority(host_port(&proxy.uri)).path_and_query("/").build().map_err(unusable)?;
        let mut connector = SocksV5::new(proxy_uri, self.tcp.clone());
        if let Some((user, password)) = &proxy.credentials {
            connector = connector.with_auth(user.clone(), password.clone());
        }
        let io = connector.oneshot(target).await.map_err(|error| error.to_string())?;
        Ok(Box::new(io.into_inner()))
    }

    async fn tcp(&self, uri: &Uri) -> Result<BoxedIo, ScrapeError> {
        let uri = match uri.port() {
            Some(_) => uri.clone(),
            None => Uri::builder()
                .scheme("http")
                .authority(host_port(uri))
                .path_and_query("/")
                .build()
                .map_err(|error| ScrapeError::Url { url: host_port(uri), problem: error.to_string() })?,
        };
        match self.tcp.clone().oneshot(uri.clone()).await {
            Ok(io) => Ok(Box::new(io.into_inner())),
            Err(error) => Err(tcp_error(&error, &uri)),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ScrapeError;
    type Future = BoxedFuture<Stream, ScrapeError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ScrapeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(target))
                .await
                .unwrap_or(Err(ScrapeError::Timeout { phase: Phase::Connect, after: CONNECT_TIMEOUT }))
        })
    }
}

fn tcp_error(error: &(dyn std::error::Error + 'static), uri: &Uri) -> ScrapeError {
    if let Some(ResolveError(problem)) = chain(error).find_map(|cause| cause.downcast_ref()) {
        return ScrapeError::Resolve { host: host(uri).to_owned(), problem: problem.clone() };
    }
    // The outer texts say only that connecting failed.
    let root = chain(error).last().unwrap_or(error);
    ScrapeError::Connect { address: host_port(uri), problem: root.to_string() }
}

/// The system's resolver, with an error that can be told from a refused connection.
#[derive(Clone)]
struct Resolver;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ResolveError(String);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = BoxedFuture<Self::Response, ResolveError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|error| ResolveError(error.to_string()))?;
            Ok(found.collect::<Vec<_>>().into_iter())
        })
    }
}

/// Whether a connection has carried a response. Only then can a failure mean that the server closed it
/// for idleness at the very moment it was used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used(Arc<AtomicBool>);

impl Used {
    /// Marks the connection of a response.
    pub(crate) fn mark(extensions: &Extensions) {
        if let Some(used) = extensions.get::<Used>() {
            used.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a connection was used before.
    pub(crate) fn is_marked(connected: &Connected) -> bool {
        let mut extensions = Extensions::new();
        connected.get_extras(&mut extensions);
        extensions.get::<Used>().is_some_and(|used| used.0.load(Ordering::Relaxed))
    }
}

/// A connection as hyper wants it.
pub(crate) struct Stream {
    io: TokioIo<BoxedIo>,
    /// Requests name the whole URL, for a proxy.
    absolute_form: bool,
    http2: bool,
    used: Used,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.used.clone()).proxy(self.absolute_form);
        if self.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
