//! AWS Signature Version 4 of requests whose path is `/`-separated plain text and whose body is known.

use jiff::Timestamp;
use ring::{digest, hmac};
use url::Url;

use super::credentials::Credentials;
use crate::text::path_segment;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// To whom a signature speaks.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    /// The service's name in signatures, such as `ec2`.
    pub(super) service: &'a str,
}

/// What is signed.
#[derive(Debug)]
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a Url,
    /// Names in lower case; `host` and those that [`headers`] adds are left out.
    pub(super) headers: Vec<(&'static str, &'a str)>,
    pub(super) body: &'a [u8],
}

/// The headers that make a request a signed one.
pub(super) fn headers(
    request: &Unsigned<'_>,
    credentials: &Credentials,
    scope: &Scope<'_>,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = time[..8].to_owned();
    let mut added = vec![("x-amz-date", time.clone())];
    if let Some(token) = &credentials.session_token {
        added.push(("x-amz-security-token", token.reveal().to_owned()));
    }
    let host = host(request.url);
    let mut signed: Vec<(&str, &str)> = request.headers.clone();
    signed.push(("host", &host));
    signed.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
    signed.sort_unstable();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");

    let mut canonical = format!("{}\n{}\n{}\n", request.method, path(request.url), query(request.url));
    for (name, value) in &signed {
        canonical.push_str(&format!("{name}:{}\n", value.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    canonical.push_str(&format!("\n{names}\n{}", hex(digest::digest(&digest::SHA256, request.body).as_ref())));

    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("{ALGORITHM}\n{time}\n{place}\n{digest}");
    let secret = format!("AWS4{}", credentials.secret_key.reveal());
    let key =
        [day.as_str(), scope.region, scope.service, "aws4_request"].iter().fold(secret.into_bytes(), |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &text));
    let credential = format!("{}/{place}", credentials.access_key);
    added.push(("authorization", format!("{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}")));
    added
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// As clients send it: without the scheme's own port.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Every segment is encoded once more than it is sent.
fn path(url: &Url) -> String {
    url.path().split('/').map(path_segment).collect::<Vec<_>>().join("/")
}

fn query(url: &Url) -> String {
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (path_segment(&name), path_segment(&value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use kvass_config::Secret;

    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            expires: None,
        }
    }

    fn signature(method: &str, url: &str, headers: Vec<(&'static str, &str)>, body: &str, service: &str) -> String {
        let request = Unsigned { method, url: &Url::parse(url).unwrap(), headers, body: body.as_bytes() };
        let now = "2015-08-30T12:36:00Z".parse().unwrap();
        let added = super::headers(&request, &credentials(), &Scope { region: "us-east-1", service }, now);
        assert_eq!(added[0], ("x-amz-date", "20150830T123600Z".to_owned()));
        added.last().unwrap().1.clone()
    }

    /// The example of AWS' documentation and vectors of its test suite.
    #[test]
    fn known_signatures() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let list = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08";
        let scope = "Credential=AKIDEXAMPLE/20150830/us-east-1";
        assert_eq!(
            signature("GET", list, vec![("content-type", form)], "", "iam"),
            format!(
                "{ALGORITHM} {scope}/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, \
                 Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
            )
        );
        let form = "application/x-www-form-urlencoded";
        for (method, url, headers, body, expected) in [
            ("GET", "/", vec![], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "/", vec![], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                vec![],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "POST",
                "/",
                vec![("content-type", form)],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let signed = signature(method, &format!("https://example.amazonaws.com{url}"), headers, body, "service");
            assert!(signed.ends_with(&format!("Signature={expected}")), "{method} {url}: {signed}");
        }
    }

    #[test]
    fn a_session_is_signed_and_ports_and_spaces_count() {
        let url = Url::parse("http://127.0.0.1:8080/a%20b/").unwrap();
        let request = Unsigned { method: "POST", url: &url, headers: vec![("x-amz-target", "A.B")], body: b"{}" };
        let credentials = Credentials { session_token: Some(Secret::new("s3ssion")), ..credentials() };
        let scope = Scope { region: "eu-west-1", service: "lightsail" };
        let added = super::headers(&request, &credentials, &scope, Timestamp::UNIX_EPOCH);
        assert_eq!(added[1], ("x-amz-security-token", "s3ssion".to_owned()));
        assert!(added[2].1.contains("SignedHeaders=host;x-amz-date;x-amz-security-token;x-amz-target, "), "{added:?}");
        assert_eq!((host(&url).as_str(), path(&url).as_str()), ("127.0.0.1:8080", "/a%2520b/"));
        assert!(!format!("{credentials:?}").contains("s3ssion") && !format!("{credentials:?}").contains("wJalr"));
    }
}
