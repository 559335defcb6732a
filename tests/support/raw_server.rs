//! A server that answers byte for byte what a story wants, one request for each connection.

#![allow(dead_code, clippy::unwrap_used)] // every story uses its own part of this

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Path and query, as sent.
    pub(crate) target: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// The connection of one request; ends when dropped.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match self {
            Connection::Plain(stream) => stream.write_all(bytes.as_ref()).await,
            Connection::Tls(stream) => {
                stream.write_all(bytes.as_ref()).await?;
                stream.flush().await
            }
        }
    }

    /// A whole answer.
    pub(crate) async fn answer(mut self, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        self.send(head).await?;
        self.send(body).await?;
        self.end().await
    }

    pub(crate) async fn end(mut self) -> io::Result<()> {
        match &mut self {
            Connection::Plain(stream) => stream.shutdown().await,
            Connection::Tls(stream) => stream.shutdown().await,
        }
    }

    /// Ends with a reset instead of an orderly end.
    pub(crate) fn reset(self) -> io::Result<()> {
        match &self {
            Connection::Plain(stream) => stream.set_zero_linger(),
            Connection::Tls(stream) => stream.get_ref().0.set_zero_linger(),
        }
    }

    /// Stays silent for longer than any scrape waits.
    pub(crate) async fn hang(self) -> io::Result<()> {
        tokio::time::sleep(Duration::from_secs(600)).await;
        drop(self);
        Ok(())
    }

    async fn request(&mut self) -> io::Result<Request> {
        let mut head = Vec::new();
        let mut piece = [0; 4096];
        while !head.ends_with(b"\r\n\r\n") {
            let length = match self {
                Connection::Plain(stream) => stream.read(&mut piece).await?,
                Connection::Tls(stream) => stream.read(&mut piece).await?,
            };
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.extend_from_slice(&piece[..length]);
        }
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.lines();
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Ok(Request { target, headers: lines.filter_map(header).collect() })
    }
}

/// Serves until the test ends; returns the address. Errors of connections are the clients' affair.
pub(crate) async fn serve<H, F>(tls: Option<ServerConfig>, handler: H) -> String
where
    H: Fn(Request, Connection) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<()>> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let handler = Arc::new(handler);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, handler) = (tls.clone(), Arc::clone(&handler));
            tokio::spawn(async move {
                let mut connection = match tls {
                    None => Connection::Plain(stream),
                    Some(tls) => Connection::Tls(Box::new(tls.accept(stream).await?)),
                };
                let request = connection.request().await?;
                handler(request, connection).await
            });
        }
    });
    address
}

/// A certificate authority of the test's own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority of a story");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A server with a certificate for `name`.
    pub(crate) fn server(&self, name: &str) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap()
    }
}
