use std::sync::Arc;

use kvass_config::{HttpClientConfig, Secret, SecretSource, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{WantsServerCert, WebPkiClientVerifier},
};

use crate::support::{Reply, Server, client, get, get_text};

/// A certificate authority of the test's own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority::named("kvass test")
    }

    fn named(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Authority { pem: cert.pem(), der: cert.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// Certificate and key for some names.
    fn issue(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    pub(crate) fn server(&self, names: &[&str]) -> ServerConfig {
        let (cert, key) = self.issue(names, ExtendedKeyUsagePurpose::ServerAuth);
        with_cert(builder(rustls::ALL_VERSIONS).with_no_client_auth(), cert.der(), &key)
    }

    /// PEM of a client certificate and its key.
    fn client(&self) -> (String, String) {
        let (cert, key) = self.issue(&["client"], ExtendedKeyUsagePurpose::ClientAuth);
        (cert.pem(), key.serialize_pem())
    }
}

fn builder(versions: &[&'static rustls::SupportedProtocolVersion]) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_protocol_versions(versions).unwrap()
}

fn with_cert(
    builder: rustls::ConfigBuilder<ServerConfig, WantsServerCert>,
    cert: &CertificateDer<'static>,
    key: &KeyPair,
) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    builder.with_single_cert(vec![cert.clone()], key).unwrap()
}

fn inline(text: &str) -> Option<SecretSource> {
    Some(SecretSource::Inline(Secret::new(text)))
}

pub(crate) fn trusting(authority: &Authority) -> TlsConfig {
    TlsConfig { ca: inline(&authority.pem), ..TlsConfig::default() }
}

/// The body, or kind and text of the error.
async fn fetch(server: &Server, tls: TlsConfig) -> Result<String, String> {
    let client = client(&HttpClientConfig { tls, ..HttpClientConfig::default() });
    match get_text(&client, &server.tls_url("/")).await {
        Ok((_, body)) => Ok(body),
        Err(error) => Err(format!("{}: {error}", error.kind())),
    }
}

#[track_caller]
fn assert_fails(result: Result<String, String>, text: &str) {
    let error = result.expect_err("an error");
    assert!(error.starts_with("tls: ") && error.contains(text), "{error}");
}

#[tokio::test]
async fn authorities_names_and_skipping() {
    let (authority, stranger, namesake) = (Authority::new(), Authority::named("stranger"), Authority::new());
    let server = Server::start_tls(authority.server(&["127.0.0.1", "real.example"]), |_| Reply::ok("ok")).await;
    assert_eq!(fetch(&server, trusting(&authority)).await.as_deref(), Ok("ok"));
    assert_fails(fetch(&server, trusting(&stranger)).await, "unknown authority");
    assert_fails(fetch(&server, trusting(&namesake)).await, "older authority of the same name");
    // With an empty system store the text is another one.
    assert_fails(fetch(&server, TlsConfig::default()).await, "authorit");

    let misnamed = Server::start_tls(authority.server(&["real.example"]), |_| Reply::ok("ok")).await;
    assert_fails(fetch(&misnamed, trusting(&authority)).await, "not valid for name");
    let named = TlsConfig { server_name: "real.example".to_owned(), ..trusting(&authority) };
    assert_eq!(fetch(&misnamed, named).await.as_deref(), Ok("ok"));
    let other = TlsConfig { server_name: "other.example".to_owned(), ..trusting(&authority) };
    assert_fails(fetch(&misnamed, other).await, "other.example");
    let skipping = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    assert_eq!(fetch(&misnamed, skipping).await.as_deref(), Ok("ok"));
}

#[tokio::test]
async fn server_name_is_sent_as_sni() {
    #[derive(Debug)]
    struct ByName(Arc<rustls::sign::CertifiedKey>);
    impl rustls::server::ResolvesServerCert for ByName {
        fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
            (hello.server_name() == Some("sni.example")).then(|| Arc::clone(&self.0))
        }
    }
    let authority = Authority::new();
    let (cert, key) = authority.issue(&["sni.example"], ExtendedKeyUsagePurpose::ServerAuth);
    let key = ring::sign::any_supported_type(&PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap();
    let resolver = ByName(Arc::new(rustls::sign::CertifiedKey::new(vec![cert.der().clone()], key)));
    let config = builder(rustls::ALL_VERSIONS).with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    let server = Server::start_tls(config, |_| Reply::ok("ok")).await;
    let named = TlsConfig { server_name: "sni.example".to_owned(), ..trusting(&authority) };
    assert_eq!(fetch(&server, named).await.as_deref(), Ok("ok"));
    assert_fails(fetch(&server, trusting(&authority)).await, "alert");
}

#[tokio::test]
async fn a_self_signed_server_can_be_trusted_by_its_own_certificate() {
    // Marked as a CA, as `openssl req -x509` does.
    for is_ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::NoCa] {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let cert = params.clone().self_signed(&key).unwrap();
        let config = with_cert(builder(rustls::ALL_VERSIONS).with_no_client_auth(), cert.der(), &key);
        let server = Server::start_tls(config, |_| Reply::ok("ok")).await;
        let trusted = TlsConfig { ca: inline(&cert.pem()), ..TlsConfig::default() };
        assert_eq!(fetch(&server, trusted.clone()).await.as_deref(), Ok("ok"));
        assert_fails(fetch(&server, TlsConfig { server_name: "other".to_owned(), ..trusted }).await, "other");

        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let expired = params.self_signed(&key).unwrap();
        let config = with_cert(builder(rustls::ALL_VERSIONS).with_no_client_auth(), expired.der(), &key);
        let server = Server::start_tls(config, |_| Reply::ok("ok")).await;
        assert_fails(fetch(&server, TlsConfig { ca: inline(&expired.pem()), ..TlsConfig::default() }).await, "expired");
    }
}

/// What `openssl x509 -req` makes by default: no extensions, version 1. webpki cannot read it.
fn as_version_1(cert: &[u8]) -> CertificateDer<'static> {
    fn element(input: &[u8]) -> (&[u8], &[u8], &[u8]) {
        let (len, head) = match input[1] {
            0x81 => (usize::from(input[2]), 3),
            0x82 => (usize::from(input[2]) << 8 | usize::from(input[3]), 4),
            short => (usize::from(short), 2),
        };
        (&input[..head + len], &input[head..head + len], &input[head + len..])
    }
    fn sequence(content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[0x30, 0x82, len[0], len[1]], content].concat()
    }
    let (_, certificate, _) = element(cert);
    let (_, to_be_signed, signature) = element(certificate);
    let (_, _, mut rest) = element(to_be_signed);
    let mut kept = Vec::new();
    while rest.first().is_some_and(|tag| *tag != 0xa3) {
        let (whole, _, tail) = element(rest);
        kept.extend_from_slice(whole);
        rest = tail;
    }
    sequence(&[&sequence(&kept), signature].concat()).into()
}

#[tokio::test]
async fn skipping_verification_takes_version_1_certificates_but_not_other_keys() {
    #[derive(Debug)]
    struct Fixed(Arc<rustls::sign::CertifiedKey>);
    impl rustls::server::ResolvesServerCert for Fixed {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }
    let (cert, key) = Authority::new().issue(&["h"], ExtendedKeyUsagePurpose::ServerAuth);
    let stolen = KeyPair::generate().unwrap();
    let skipping = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    for versions in [[&rustls::version::TLS12], [&rustls::version::TLS13]] {
        for cert in [cert.der().clone(), as_version_1(cert.der())] {
            for (key, accepted) in [(&key, true), (&stolen, false)] {
                let key = ring::sign::any_supported_type(&PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap();
                let resolver = Fixed(Arc::new(rustls::sign::CertifiedKey::new(vec![cert.clone()], key)));
                let config = builder(&versions).with_no_client_auth().with_cert_resolver(Arc::new(resolver));
                let server = Server::start_tls(config, |_| Reply::ok("ok")).await;
                let result = fetch(&server, skipping.clone()).await;
                assert_eq!(result.is_ok(), accepted, "{versions:?} {result:?}");
            }
        }
    }
}

#[tokio::test]
async fn client_certificates() {
    let authority = Authority::new();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider())).build().unwrap();
    for versions in [[&rustls::version::TLS12], [&rustls::version::TLS13]] {
        let (cert, key) = authority.issue(&["127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
        let config = with_cert(builder(&versions).with_client_cert_verifier(verifier.clone()), cert.der(), &key);
        let server = Server::start_tls(config, |_| Reply::ok("ok")).await;
        let (cert, key) = authority.client();
        let with_cert = TlsConfig { cert: inline(&cert), key: inline(&key), ..trusting(&authority) };
        assert_eq!(fetch(&server, with_cert).await.as_deref(), Ok("ok"));
        let error = fetch(&server, trusting(&authority)).await.unwrap_err();
        assert!(error.starts_with("tls: "), "{error}");
    }
}

#[tokio::test]
async fn versions() {
    let authority = Authority::new();
    let (cert, key) = authority.issue(&["127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
    let config = with_cert(builder(&[&rustls::version::TLS12]).with_no_client_auth(), cert.der(), &key);
    let server = Server::start_tls(config, |_| Reply::ok("ok")).await;
    assert_eq!(fetch(&server, trusting(&authority)).await.as_deref(), Ok("ok"));
    let newer = TlsConfig { min_version: Some("TLS13".to_owned()), ..trusting(&authority) };
    assert_fails(fetch(&server, newer).await, "no TLS version in common");
}

#[tokio::test]
async fn rotated_files_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.crt");
    let (first, second) = (Authority::new(), Authority::new());
    let servers = [&first, &second].map(|authority| authority.server(&["127.0.0.1"]));
    let [before, after] = servers;
    let (before, after) =
        (Server::start_tls(before, |_| Reply::ok("before")).await, Server::start_tls(after, |_| Reply::ok("after")).await);
    let tls = TlsConfig { ca: Some(SecretSource::File(path.clone())), ..TlsConfig::default() };
    let client = client(&HttpClientConfig { tls, ..HttpClientConfig::default() });

    let error = get(&client, &before.tls_url("/")).await.unwrap_err();
    assert!(error.kind() == "credentials" && error.to_string().contains("ca.crt"), "{error}");
    std::fs::write(&path, "not a certificate").unwrap();
    let error = get(&client, &before.tls_url("/")).await.unwrap_err();
    assert!(error.to_string().contains("ca: holds no PEM certificate"), "{error}");
    std::fs::write(&path, &first.pem).unwrap();
    assert_eq!(get_text(&client, &before.tls_url("/")).await, Ok((200, "before".to_owned())));
    assert_eq!(get_text(&client, &before.tls_url("/")).await, Ok((200, "before".to_owned())));
    assert_eq!(before.connections(), 1, "an unchanged file keeps connections");
    std::fs::write(&path, &second.pem).unwrap();
    assert_eq!(get_text(&client, &after.tls_url("/")).await, Ok((200, "after".to_owned())));
    assert_eq!(get(&client, &before.tls_url("/")).await.unwrap_err().kind(), "tls");
}

#[tokio::test]
async fn http2_by_alpn() {
    let authority = Authority::new();
    let mut config = authority.server(&["127.0.0.1"]);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/m?x=1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let echo = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    let text = format!("{:?} {} {:?}", request.version(), request.uri(), request.headers().get("host"));
                    Ok::<_, std::convert::Infallible>(http::Response::new(text))
                });
                let executor = hyper_util::rt::TokioExecutor::new();
                let _ = hyper_util::server::conn::auto::Builder::new(executor)
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), echo)
                    .await;
            });
        }
    });
    for (enable_http2, version) in [(true, "HTTP/2.0"), (false, "HTTP/1.1")] {
        let config = HttpClientConfig { tls: trusting(&authority), enable_http2, ..HttpClientConfig::default() };
        let (status, text) = get_text(&client(&config), &url).await.unwrap();
        assert!(status == 200 && text.starts_with(version) && text.contains("/m?x=1"), "{text}");
    }
}
