use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri, uri::PathAndQuery};
use url::Url;

use crate::ScrapeError;

/// Where a request goes, taken apart so that credentials in the URL never reach a log or a `Host` header.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Scheme `http` or `https`, authority without user and password, path and query exactly as given.
    pub(crate) uri: Uri,
    /// `Basic` credentials, if the URL had a user or password.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Endpoint {
    pub(crate) fn parse(url: &str) -> Result<Self, ScrapeError> {
        let refuse = |problem: &str| ScrapeError::Url { url: mask_userinfo(url), problem: problem.to_owned() };
        // Path and query must stay as they are, which rules out a normalising parser, except for what only
        // that one can read: names with letters beyond ASCII.
        let uri = match url.parse::<Uri>() {
            Ok(uri) => uri,
            Err(error) => Url::parse(url)
                .ok()
                .and_then(|url| url.as_str().parse().ok())
                .ok_or_else(|| refuse(&format!("{error}, expected http://host:port/path")))?,
        };
        let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(refuse("its scheme is neither http nor https"));
        }
        if authority.host().is_empty() {
            return Err(refuse("it names no host"));
        }
        let (userinfo, host) = match authority.as_str().rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority.as_str()),
        };
        let authorization = userinfo.map(|userinfo| {
            let (user, password) = split_userinfo(userinfo);
            basic(&user, &password)
        });
        let mut parts = uri.clone().into_parts();
        parts.authority = Some(host.parse().map_err(|_| refuse("its host or port is malformed"))?);
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        let uri = Uri::from_parts(parts).map_err(|error| refuse(&error.to_string()))?;
        // An out-of-range port is no port to `http`, which would send the request to the default one. A
        // colon with nothing behind it does mean the default.
        let port = uri.authority().and_then(|authority| authority.as_str().strip_prefix(authority.host()));
        if uri.port().is_none() && port.is_some_and(|port| port.len() > 1) {
            return Err(refuse("its port is out of range"));
        }
        Ok(Endpoint { uri, authorization })
    }
}

/// The port a URI stands for.
pub(crate) fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(match uri.scheme_str() {
        Some("https") => 443,
        Some("socks5" | "socks5h") => 1080,
        _ => 80,
    })
}

/// The host of a URI without the brackets of an IPv6 address.
pub(crate) fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// `host:port` as it is written in a CONNECT request.
pub(crate) fn host_port(uri: &Uri) -> String {
    format!("{}:{}", uri.host().unwrap_or_default(), port(uri))
}

/// User and password of `user:password`, percent-decoded.
pub(crate) fn split_userinfo(userinfo: &str) -> (String, String) {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    (percent_decode(user), percent_decode(password))
}

/// `Basic` credentials.
pub(crate) fn basic(user: &str, password: &str) -> HeaderValue {
    let text = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    // Base64 is always a legal header value.
    let mut value = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

/// The URL with user and password replaced.
pub(crate) fn mask_userinfo(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    match url[start..end].rfind('@') {
        Some(at) => format!("{}***{}", &url[..start], &url[start + at..]),
        None => url.to_owned(),
    }
}

/// Decodes `%XX`; anything that is not a valid escape stays as it is.
fn percent_decode(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits fit a byte.
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (url, uri, user) in [
            ("http://h:1/a//b/../c?x=%20&y=a+b", "http://h:1/a//b/../c?x=%20&y=a+b", None),
            ("http://Example.Test:80/m", "http://Example.Test:80/m", None),
            ("http://h", "http://h/", None),
            ("http://h?x=1", "http://h/?x=1", None),
            ("https://[::1]:9/m", "https://[::1]:9/m", None),
            ("http://u:p%40ss@h:1/m", "http://h:1/m", Some(("u", "p@ss"))),
            ("http://b\u{fc}cher.example/m", "http://xn--bcher-kva.example/m", None),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(endpoint.uri.to_string(), uri);
            assert_eq!(endpoint.authorization, user.map(|(user, password)| basic(user, password)), "{url}");
        }
    }

    #[test]
    fn refusals_hide_credentials() {
        for url in
            ["", "h:1/m", "/m", "ftp://u:secret@h/", "http://", "http://u:secret@h:99999/", "http://u:secret@h:x/", "http://a b/"]
        {
            let error = Endpoint::parse(url).unwrap_err();
            assert_eq!(error.kind(), "url", "{url}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn default_ports() {
        for (uri, expected) in
            [("http://h", "h:80"), ("https://h", "h:443"), ("https://[::1]:8443/x", "[::1]:8443"), ("socks5://h", "h:1080")]
        {
            assert_eq!(host_port(&uri.parse().unwrap()), expected);
        }
    }

    #[test]
    fn percent_decoding() {
        for (text, expected) in [("a%20b", "a b"), ("%", "%"), ("%4", "%4"), ("%zz%41", "%zzA"), ("%C3%A9", "\u{e9}")] {
            assert_eq!(percent_decode(text), expected);
        }
    }
}
