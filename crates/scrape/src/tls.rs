use std::{
    error::Error,
    fmt, io,
    sync::{Arc, OnceLock},
};

use http::Uri;
use kvass_config::{SecretSource, TlsConfig};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, InvalidMessage, RootCertStore, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    ScrapeError,
    connector::BoxedIo,
    endpoint::host,
    error_chain::chain,
    verifier::{AnyCertificate, RootsVerifier},
};

/// What the files and inline texts of a `tls_config` hold. Compared to notice rotated files.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TlsMaterial {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsMaterial")
    }
}

impl TlsMaterial {
    /// The material, if none of it is in a file.
    pub(crate) fn inline(config: &TlsConfig) -> Option<Self> {
        let text = |source: &Option<SecretSource>| match source {
            None => Some(None),
            Some(SecretSource::Inline(secret)) => Some(Some(secret.reveal().as_bytes().to_vec())),
            Some(SecretSource::File(_)) => None,
        };
        Some(TlsMaterial { ca: text(&config.ca)?, cert: text(&config.cert)?, key: text(&config.key)? })
    }

    /// The material, files as they are now.
    pub(crate) async fn read(config: &TlsConfig) -> Result<Self, ScrapeError> {
        Ok(TlsMaterial {
            ca: read(config.ca.as_ref(), "tls_config.ca_file").await?,
            cert: read(config.cert.as_ref(), "tls_config.cert_file").await?,
            key: read(config.key.as_ref(), "tls_config.key_file").await?,
        })
    }
}

async fn read(source: Option<&SecretSource>, field: &'static str) -> Result<Option<Vec<u8>>, ScrapeError> {
    match source {
        None => Ok(None),
        Some(SecretSource::Inline(secret)) => Ok(Some(secret.reveal().as_bytes().to_vec())),
        Some(SecretSource::File(path)) => {
            let problem = |error: io::Error| ScrapeError::Credentials {
                field,
                problem: format!("cannot read {}: {error}", path.display()),
            };
            tokio::fs::read(path).await.map(Some).map_err(problem)
        }
    }
}

/// TLS as one client speaks it.
#[derive(Clone)]
pub(crate) struct Tls {
    /// Offers HTTP/2, if that is wanted.
    target: Arc<ClientConfig>,
    /// Never offers HTTP/2: we speak HTTP/1.1 to proxies.
    proxy: Arc<ClientConfig>,
    /// Checked and sent as SNI in place of the host of the URL.
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// # Errors
    /// A sentence naming the setting.
    pub(crate) fn new(config: &TlsConfig, material: &TlsMaterial, http2: bool) -> Result<Self, String> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&versions(config)?)
            .map_err(|error| error.to_string())?
            .dangerous();
        let builder = if config.insecure_skip_verify {
            builder.with_custom_certificate_verifier(Arc::new(AnyCertificate(provider.signature_verification_algorithms)))
        } else {
            builder.with_custom_certificate_verifier(match &material.ca {
                Some(pem) => Arc::new(configured_verifier(pem)?),
                None => system_verifier()?,
            })
        };
        let proxy = match (&material.cert, &material.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let chain = certificates(cert).map_err(|problem| format!("cert: {problem}"))?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("key: no usable private key ({error})"))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| format!("cert and key: {error}"))?
            }
            (Some(_), None) => return Err("cert is given without key".to_owned()),
            (None, Some(_)) => return Err("key is given without cert".to_owned()),
        };
        let mut target = proxy.clone();
        if http2 {
            target.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        let server_name = match config.server_name.as_str() {
            "" => None,
            name => Some(ServerName::try_from(name.to_owned()).map_err(|_| format!("server_name: {name:?} is not a host name"))?),
        };
        Ok(Tls { target: Arc::new(target), proxy: Arc::new(proxy), server_name })
    }

    /// Handshake with the host of `uri`. As in Go, `server_name` stands for proxies' names, too.
    pub(crate) async fn handshake(&self, io: BoxedIo, uri: &Uri, peer: Peer) -> Result<TlsStream<BoxedIo>, ScrapeError> {
        let host = host(uri);
        let fail = |problem: String| ScrapeError::Tls { host: host.to_owned(), problem };
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| fail("not a host name that TLS can check".to_owned()))?,
        };
        let config = match peer {
            Peer::Target => &self.target,
            Peer::Proxy => &self.proxy,
        };
        TlsConnector::from(Arc::clone(config))
            .connect(name, io)
            .await
            .map_err(|error| fail(find_tls_error(&error).map_or_else(|| error.to_string(), problem)))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Target,
    Proxy,
}

/// The TLS error behind an error, if there is one. (The `source` of an I/O error skips what it wraps.)
pub(crate) fn find_tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let wrapped = |cause: &'a (dyn Error + 'static)| cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
    chain(error).find_map(|cause| cause.downcast_ref().or_else(|| wrapped(cause)))
}

/// A TLS error in words that say where to look.
pub(crate) fn problem(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "certificate signed by an unknown authority; tls_config.ca_file names the trusted ones".to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            "certificate signature does not verify; tls_config.ca_file may hold an older authority of the same name".to_owned()
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS on this port".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => "the server wants a client certificate".to_owned(),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "no TLS version in common with the server; kvass speaks 1.2 and 1.3".to_owned()
        }
        other => other.to_string(),
    }
}

fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider()))
}

/// The system's roots, read once per process and shared by all clients.
fn system_verifier() -> Result<Arc<RootsVerifier>, String> {
    static VERIFIER: OnceLock<Result<Arc<RootsVerifier>, String>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "cannot read a system certificate authority");
        }
        roots.add_parsable_certificates(found.certs);
        RootsVerifier::new(Arc::new(roots), Vec::new(), provider()).map(Arc::new)
    };
    VERIFIER.get_or_init(load).clone()
}

fn configured_verifier(pem: &[u8]) -> Result<RootsVerifier, String> {
    let certs = certificates(pem).map_err(|problem| format!("ca: {problem}"))?;
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certs.iter().cloned());
    if usable == 0 {
        return Err("ca: holds no usable certificate".to_owned());
    }
    RootsVerifier::new(Arc::new(roots), certs, provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certs =
        CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|error| format!("malformed PEM ({error})"))?;
    if certs.is_empty() { Err("holds no PEM certificate".to_owned()) } else { Ok(certs) }
}

/// TLS 1.0 and 1.1 are legal settings but not spoken here: a lower bound means 1.2, an upper bound leaves
/// nothing.
fn versions(config: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let bound = |field: &str, value: &Option<String>, default: u8| match value.as_deref() {
        None | Some("") => Ok(default),
        Some("TLS10") => Ok(10),
        Some("TLS11") => Ok(11),
        Some("TLS12") => Ok(12),
        Some("TLS13") => Ok(13),
        Some(other) => Err(format!("{field}: {other:?} is not a TLS version, expected TLS10, TLS11, TLS12 or TLS13")),
    };
    let min = bound("min_version", &config.min_version, 12)?;
    let max = bound("max_version", &config.max_version, 13)?;
    if max < min {
        return Err("max_version is below min_version".to_owned());
    }
    if max < 12 {
        return Err("max_version: TLS 1.0 and 1.1 are not supported, expected TLS12 or TLS13".to_owned());
    }
    let within = |version: &u8| (min..=max).contains(version);
    Ok([(12, &TLS12), (13, &TLS13)].into_iter().filter(|(number, _)| within(number)).map(|(_, version)| version).collect())
}

#[cfg(test)]
mod tests {
    use kvass_config::Secret;

    use super::*;

    #[test]
    fn version_bounds() {
        for (min, max, expected) in [
            (None, None, Ok(2)),
            (Some("TLS10"), None, Ok(2)),
            (Some("TLS13"), None, Ok(1)),
            (None, Some("TLS12"), Ok(1)),
            (Some("TLS12"), Some("TLS13"), Ok(2)),
            (Some("TLS13"), Some("TLS12"), Err("below")),
            (Some("TLS10"), Some("TLS11"), Err("not supported")),
            (Some("tls12"), None, Err("not a TLS version")),
        ] {
            let config =
                TlsConfig { min_version: min.map(str::to_owned), max_version: max.map(str::to_owned), ..TlsConfig::default() };
            match (versions(&config), expected) {
                (Ok(found), Ok(count)) => assert_eq!(found.len(), count, "{min:?} {max:?}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (found, _) => panic!("{min:?} {max:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn bad_material_is_named() {
        let inline = |text: &str| Some(SecretSource::Inline(Secret::new(text)));
        let cert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (config, part) in [
            (TlsConfig { ca: inline("nonsense"), ..TlsConfig::default() }, "ca: holds no PEM certificate"),
            (TlsConfig { ca: inline(cert), ..TlsConfig::default() }, "ca: holds no usable certificate"),
            (TlsConfig { cert: inline(cert), ..TlsConfig::default() }, "cert is given without key"),
            (TlsConfig { cert: inline(cert), key: inline("secret"), ..TlsConfig::default() }, "key: no usable private key"),
            (TlsConfig { server_name: "a b".to_owned(), ..TlsConfig::default() }, "server_name"),
        ] {
            let error = Tls::new(&config, &TlsMaterial::inline(&config).unwrap(), true).map(|_| ()).unwrap_err();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
    }
}
