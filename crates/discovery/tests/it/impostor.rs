//! A service in the place of a cloud provider: a proxy that ends the tunnels of all hosts in itself, with a certificate of
//! its own authority.

use std::{path::PathBuf, sync::Arc};

use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use kvass_config::{HttpClientConfig, ProxyConfig, Secret, SecretSource, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::fake_service::FakeService;

const HOSTS: [&str; 10] = [
    "api.ionos.com",
    "api.digitalocean.com",
    "api.hetzner.cloud",
    "robot-ws.your-server.de",
    "api.linode.com",
    "api.vultr.com",
    "compute.googleapis.com",
    "oauth2.googleapis.com",
    "login.microsoftonline.com",
    "management.azure.com",
];

pub(crate) struct Impostor {
    proxy: String,
    /// Holds the certificate of the authority.
    dir: TempDir,
}

impl Impostor {
    pub(crate) async fn of(service: &FakeService) -> Impostor {
        let (acceptor, authority) = credentials();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let router = service.router.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, router) = (acceptor.clone(), router.clone());
                tokio::spawn(async move {
                    let Some(stream) = tunnel(stream).await else { return };
                    // A client that does not trust us goes away.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let serving = hyper::server::conn::http1::Builder::new();
                    let _ = serving.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
                });
            }
        });
        Impostor { proxy, dir }
    }

    /// URL of the proxy.
    pub(crate) fn proxy(&self) -> &str {
        &self.proxy
    }

    /// File with the certificate of the authority.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The same for services whose section has no settings for it.
    pub(crate) fn http(&self) -> HttpClientConfig {
        HttpClientConfig {
            proxy: ProxyConfig {
                url: Some(Secret::new(&self.proxy)),
                no_proxy: "127.0.0.1".to_owned(),
                ..ProxyConfig::default()
            },
            tls: TlsConfig { ca: Some(SecretSource::File(self.authority())), ..TlsConfig::default() },
            ..HttpClientConfig::default()
        }
    }

    /// What a section has to say.
    pub(crate) fn settings(&self) -> String {
        format!("proxy_url: '{}', tls_config: {{ca_file: '{}/ca.pem'}}", self.proxy, self.dir.path().display())
    }
}

/// Opens the tunnel that a client asks for, whereever it leads.
async fn tunnel(mut stream: TcpStream) -> Option<TcpStream> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let host = head.strip_prefix("CONNECT ").unwrap().split(':').next().unwrap();
    assert!(HOSTS.contains(&host), "{head}");
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    Some(stream)
}

fn credentials() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(HOSTS.map(str::to_owned).to_vec()).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority)
}
