//! Everything that is not the sidecar's own goes to Prometheus, so that a Thanos sidecar or a browser can
//! take this address for Prometheus'.

use std::net::SocketAddr;

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use kvass_scrape::remove_hop_by_hop;
use kvass_service::config_file::chain;

use crate::prometheus::Prometheus;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Headers that concern one hop only.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Hands a request on and its answer back, both as they come.
pub(crate) async fn forward(prometheus: &Prometheus, request: Request) -> Response {
    let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string());
    let (mut head, body) = request.into_parts();
    let has_body = head.headers.contains_key(header::CONTENT_LENGTH) || head.headers.contains_key(header::TRANSFER_ENCODING);
    remove_hop_by_hop(&mut head.headers, &HOP_BY_HOP);
    head.headers.remove(header::HOST);
    if let Some(client) = client {
        append_forwarded_for(&mut head.headers, &client);
    }
    let url = prometheus.url(head.uri.path(), head.uri.query());
    let mut forwarded = prometheus.http().request(head.method, url).headers(head.headers);
    if has_body {
        forwarded = forwarded.body(reqwest::Body::wrap_stream(body.into_data_stream()));
    }
    match forwarded.send().await {
        Ok(answer) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            remove_hop_by_hop(response.headers_mut(), &HOP_BY_HOP);
            *response.body_mut() = Body::from_stream(answer.bytes_stream());
            response
        }
        Err(error) => {
            let reason = format!("prometheus does not answer: {}\n", chain(&error.without_url()));
            (StatusCode::BAD_GATEWAY, reason).into_response()
        }
    }
}

fn append_forwarded_for(headers: &mut HeaderMap, client: &str) {
    let mut hops: Vec<&str> = headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    hops.push(client);
    if let Ok(value) = HeaderValue::from_str(&hops.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
}
