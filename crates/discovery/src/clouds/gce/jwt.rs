//! The statement with which a service account asks for a token, RFC 7523.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::json;

use crate::refresh::RefreshError;

/// What is stated.
#[derive(Debug)]
pub(super) struct Claims<'a> {
    pub(super) issuer: &'a str,
    pub(super) audience: &'a str,
    pub(super) scope: &'a str,
}

/// Clocks differ: Google refuses what comes from the future.
const EARLIER: i64 = 10;

/// The signed statement, good for an hour. `key` is PEM; no error shows any of it.
pub(super) fn signed(claims: &Claims<'_>, key_id: &str, key: &str, now: Timestamp) -> Result<String, RefreshError> {
    let pair = key_pair(key).ok_or_else(|| RefreshError::Other("private_key: expected an RSA key in PEM".to_owned()))?;
    let issued = now.as_second() - EARLIER;
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key_id});
    let Claims { issuer, audience, scope } = claims;
    let claims = json!({"iss": issuer, "scope": scope, "aud": audience, "iat": issued, "exp": issued + 3600});
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let text = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .map_err(|_| RefreshError::Other("private_key: cannot sign".to_owned()))?;
    Ok(format!("{text}.{}", encode(&signature)))
}

fn key_pair(pem: &str) -> Option<RsaKeyPair> {
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok(),
        _ => None,
    }
}
