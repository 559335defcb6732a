//! GET over a Unix socket.

use std::path::Path;

use ::http::{HeaderMap, HeaderValue, Request, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kvass_scrape::ClientOptions;
use tokio::{
    net::UnixStream,
    time::{Instant, timeout_at},
};

use crate::{api::Reply, manager::Task, refresh::RefreshError};

/// One request over a connection of its own.
pub(crate) async fn get(socket: &Path, path: &str, headers: HeaderMap, deadline: Instant) -> Result<Reply, RefreshError> {
    let fail = |problem: String| RefreshError::Other(format!("{}: {problem}", socket.display()));
    match timeout_at(deadline, exchange(socket, path, headers)).await {
        Ok(reply) => reply.map_err(fail),
        Err(_) => Err(fail("timed out".to_owned())),
    }
}

async fn exchange(socket: &Path, path: &str, mut headers: HeaderMap) -> Result<Reply, String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let _connection = Task::spawn(async move {
        // Its failures reach the request as well.
        let _ = connection.await;
    });
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    // Nothing here decodes.
    headers.remove(header::ACCEPT_ENCODING);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.parse().map_err(|error| format!("path {path:?}: {error}"))?;
    *request.headers_mut() = headers;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let (head, body) = response.into_parts();
    let limit = usize::try_from(ClientOptions::default().body_size_limit).unwrap_or(usize::MAX);
    let body = Limited::new(body, limit).collect().await.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => format!("body size limit of {limit} bytes exceeded"),
        None => error.to_string(),
    })?;
    Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes().to_vec() })
}
