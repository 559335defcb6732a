use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// Verifies servers against a set of roots.
#[derive(Debug)]
pub(crate) struct RootsVerifier {
    /// `None` when there is no root at all, which must not keep jobs without TLS from working.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    /// The configured CA file's own certificates.
    pinned: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl RootsVerifier {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        pinned: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let webpki = match roots.is_empty() {
            true => None,
            false => Some(
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
                    .build()
                    .map_err(|error| error.to_string())?,
            ),
        };
        Ok(RootsVerifier { webpki, pinned, algorithms: provider.signature_verification_algorithms })
    }
}

impl ServerCertVerifier for RootsVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(webpki) = &self.webpki else {
            return Err(Error::General(
                "this system has no trusted certificate authorities, and tls_config names none".to_owned(),
            ));
        };
        match webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The usual self-signed certificate is marked as a CA, and webpki takes none of those for a
            // server. Go does where that very certificate is trusted. The validity period comes first in
            // webpki's checks and has an error of its own; the name is still to be checked.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if self.pinned.iter().any(|cert| cert == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// `insecure_skip_verify`: any certificate will do, but the server must own its key.
#[derive(Debug)]
pub(crate) struct AnyCertificate(pub(crate) WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match ParsedCertificate::try_from(cert) {
            Ok(_) => verify_tls12_signature(message, cert, signature, &self.0),
            Err(error) => self.verify_with_bare_key(message, cert, signature).ok_or(error),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match ParsedCertificate::try_from(cert) {
            Ok(_) => verify_tls13_signature(message, cert, signature, &self.0),
            Err(error) => self.verify_with_bare_key(message, cert, signature).ok_or(error),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

impl AnyCertificate {
    /// For certificates that webpki cannot read, above all the version 1 certificates that `openssl x509`
    /// writes unless told otherwise.
    fn verify_with_bare_key(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Option<HandshakeSignatureValid> {
        let (algorithm, key) = public_key(cert)?;
        let (_, candidates) = self.0.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme)?;
        let fitting = candidates.iter().find(|candidate| candidate.public_key_alg_id().as_ref() == algorithm)?;
        fitting.verify_signature(key, message, signature.signature()).ok()?;
        Some(HandshakeSignatureValid::assertion())
    }
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const EXPLICIT_VERSION: u8 = 0xa0;

/// Algorithm identifier and key of an X.509 certificate, RFC 5280 §4.1.
fn public_key(cert: &[u8]) -> Option<(&[u8], &[u8])> {
    let (SEQUENCE, certificate, _) = der_element(cert)? else { return None };
    let (SEQUENCE, mut rest, _) = der_element(certificate)? else { return None };
    if rest.first() == Some(&EXPLICIT_VERSION) {
        rest = der_element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        rest = der_element(rest)?.2;
    }
    let (SEQUENCE, key_info, _) = der_element(rest)? else { return None };
    let (SEQUENCE, algorithm, rest) = der_element(key_info)? else { return None };
    let (BIT_STRING, bits, _) = der_element(rest)? else { return None };
    Some((algorithm, bits.strip_prefix(&[0])?))
}

/// Tag and content of the first DER element, and what follows it.
fn der_element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData};

    use super::*;

    #[test]
    fn finds_the_key() {
        let key = KeyPair::generate().unwrap();
        let cert = rcgen::CertificateParams::new(vec!["h".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (algorithm, found) = public_key(cert.der()).unwrap();
        assert_eq!(found, key.der_bytes());
        let provider = rustls::crypto::ring::default_provider();
        let known = provider.signature_verification_algorithms.all;
        assert!(known.iter().any(|candidate| candidate.public_key_alg_id().as_ref() == algorithm));
        for len in 0..200 {
            assert_eq!(public_key(&cert.der()[..len]), None, "cut at {len}");
        }
    }
}
