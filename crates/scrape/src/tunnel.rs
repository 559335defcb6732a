use http::{HeaderMap, Uri, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{
    USER_AGENT,
    endpoint::host_port,
    proxy::{ORIGIN_PROXY, Proxy, ProxySettings},
};

/// Largest answer to CONNECT, in bytes.
const ANSWER_LIMIT: usize = 16 << 10;

/// Asks the proxy at the other end of `io` for a tunnel to the host of `target`.
///
/// # Errors
/// A sentence about what the proxy did.
pub(crate) async fn open(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &Uri,
    proxy: &Proxy,
    settings: &ProxySettings,
) -> Result<(), String> {
    let broken = |error: std::io::Error| format!("connection lost during CONNECT: {error}");
    io.write_all(&request(target, proxy, settings)).await.map_err(broken)?;
    io.flush().await.map_err(broken)?;

    let mut answer = Vec::with_capacity(512);
    let end = loop {
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if answer.len() >= ANSWER_LIMIT {
            return Err("its answer to CONNECT is too long".to_owned());
        }
        if io.read_buf(&mut answer).await.map_err(broken)? == 0 {
            return Err("closed the connection instead of answering CONNECT".to_owned());
        }
    };
    match status(&answer) {
        Some(("200", _)) if answer.len() == end => Ok(()),
        // TLS begins with the client, so nothing may follow yet.
        Some(("200", _)) => Err("sent data before the tunnel was used".to_owned()),
        Some((code, reason)) => Err(format!("answered {code} {reason} to CONNECT")),
        None => Err("its answer to CONNECT is not HTTP".to_owned()),
    }
}

fn request(target: &Uri, proxy: &Proxy, settings: &ProxySettings) -> Vec<u8> {
    let mut headers = HeaderMap::new();
    if let Some(authorization) = proxy.authorization() {
        headers.insert(header::PROXY_AUTHORIZATION, authorization);
    }
    if let Some(origin) = &settings.origin_proxy {
        headers.insert(ORIGIN_PROXY, origin.clone());
    }
    for name in settings.connect_headers.keys() {
        headers.remove(name);
    }
    let host = host_port(target);
    let mut request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\n").into_bytes();
    for (name, value) in headers.iter().chain(&settings.connect_headers) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            request.extend_from_slice(part);
        }
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// Code and reason of the status line.
fn status(answer: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(answer.split(|byte| *byte == b'\r').next()?).ok()?;
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    (code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit())).then_some((code, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        for (answer, expected) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Some(("200", "Connection established"))),
            ("HTTP/1.0 403\r\n", Some(("403", ""))),
            ("HTTP/2 200 OK\r\n", None),
            ("HTTP/1.1 2x0 OK\r\n", None),
            ("", None),
        ] {
            assert_eq!(status(answer.as_bytes()), expected, "{answer:?}");
        }
    }
}
