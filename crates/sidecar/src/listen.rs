//! Listening, and the server of the proxy. The API is served by axum.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::TcpListener;

use crate::{BuildError, proxy, shard::Shard};

/// Prometheus 3.13 and 3.14 send header sections that grow without end.
const HEADER_BYTES: usize = 4 << 20;
const HEADERS: usize = 16 << 10;
/// Longer than Prometheus keeps idle connections (five minutes): whoever closes first must not be us, or
/// a scrape that is just being sent fails.
const IDLE: Duration = Duration::from_secs(600);
const DRAIN: Duration = Duration::from_secs(4);

/// Binds `address` as Go reads it: an empty host means all interfaces of both families.
pub(crate) async fn bind(flag: &'static str, address: &str) -> Result<TcpListener, BuildError> {
    let result = match address.strip_prefix(':') {
        // One socket serves both families where the system allows it.
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(format!("0.0.0.0:{port}")).await,
            result => result,
        },
        None => TcpListener::bind(address).await,
    };
    result.map_err(|source| BuildError::Listen { flag, address: address.to_owned(), source })
}

/// Where a process on this machine reaches a listener.
pub(crate) fn local_address(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address }
}

/// Serves the scrape proxy until `shutdown`, then lets running scrapes finish for a moment.
pub(crate) async fn serve_proxy(listener: TcpListener, shard: Arc<Shard>, shutdown: impl Future<Output = ()>) {
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(HEADER_BYTES).max_headers(HEADERS);
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: waiting is all that helps.
                tracing::warn!(%error, "connection to the scrape proxy cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Without it small bodies wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        let shard = Arc::clone(&shard);
        let service = service_fn(move |request| proxy::serve(Arc::clone(&shard), request));
        let connection = graceful.watch(server.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the scrape proxy ended early");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}
