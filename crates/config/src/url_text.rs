//! URLs as Go's `net/url` sees them; the texts stay as written.

/// Why Go's URL parser would refuse `url`; `None` when it would not. Relative URLs and the empty text are fine.
pub(crate) fn fault(url: &str) -> Option<&'static str> {
    if url.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Some("a URL without control characters");
    }
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    let before_query = url.split_once('?').map_or(url, |(before, _)| before);
    if has_bad_escape(before_query) || has_bad_escape(fragment) {
        return Some("a URL in which every % is followed by two hexadecimal digits");
    }
    let (scheme, rest) = before_query.split_once(':')?;
    if scheme.contains('/') {
        return None;
    }
    let mut letters = scheme.bytes();
    let is_scheme = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
        && letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !is_scheme {
        return Some("a URL that begins with a scheme such as http://");
    }
    let authority = rest.strip_prefix("//")?.split('/').next()?;
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b)) {
        return Some("a URL in whose user and password other characters are written as % and two digits");
    }
    // Zones of IPv6 addresses apart, Go allows escapes of characters beyond ASCII only.
    let is_zone = |at: usize| host.get(at..at + 3) == Some("%25");
    let bad_escape = |(at, b): (usize, u8)| b == b'%' && !is_zone(at) && !matches!(host.as_bytes().get(at + 1), Some(b'8'..));
    let bad = |b: u8| b.is_ascii() && !b.is_ascii_alphanumeric() && !b"-_.~!$&'()*+,;=:[]<>\"%".contains(&b);
    if host.bytes().any(bad) || host.bytes().enumerate().any(bad_escape) {
        return Some("a URL with a host of letters, digits, dots and hyphens");
    }
    let port = match host.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((address, port)) => {
                let address = address.split_once('%').map_or(address, |(address, _)| address);
                if address.parse::<std::net::Ipv6Addr>().is_err() {
                    return Some("a URL with an IPv6 address in [ ]");
                }
                port
            }
            None => return Some("a URL in which [ is closed by ]"),
        },
        None => host.find(':').map_or("", |colon| &host[colon..]),
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    (!is_port).then_some("a URL whose port is a number")
}

fn has_bad_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_bad =
        |i: usize| bytes[i] == b'%' && !matches!(bytes.get(i + 1..i + 3), Some(hex) if hex.iter().all(u8::is_ascii_hexdigit));
    (0..bytes.len()).any(is_bad)
}

/// Whether this is an absolute URL of HTTP or HTTPS with a host.
pub(crate) fn is_http(url: &str) -> bool {
    scheme_and_host(url).is_some_and(|(scheme, _)| ["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme)))
}

/// Scheme and host of an absolute URL; `None` if either is missing.
pub(crate) fn scheme_and_host(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (!scheme.is_empty() && !host.is_empty()).then_some((scheme, host))
}

/// `text` as an error may show it; `None` where a password may be in it that ends nobody knows where, because it holds a
/// character that should have been written as `%` and two digits.
pub(crate) fn shown(text: &str) -> Option<String> {
    let masked = mask_password(text);
    let hides_password = |(user, _): (&str, &str)| user.contains(':');
    let rest = text.split_once("://").map(|(_, rest)| rest);
    let is_unclear = masked == text && rest.and_then(|rest| rest.rsplit_once('@')).is_some_and(hides_password);
    (!is_unclear).then_some(masked)
}

/// `text` with the passwords of all URLs in it replaced by `xxxxx`.
pub fn mask_password(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, tail) = rest.split_at(start + 3);
        out.push_str(before);
        let end = tail.find(['/', '?', '#', ' ', '\n', '"', '\'']).unwrap_or(tail.len());
        let (authority, tail) = tail.split_at(end);
        match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
            Some((user, host)) => out.push_str(&format!("{user}:xxxxx@{host}")),
            None => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        for url in [
            "",
            "http://a",
            "a/b:c",
            "/x",
            "http://u:p@h:80/%41?%zz",
            "unix:///x",
            "http://[::1]:9",
            "http://h:",
            "localhost:80",
            "http://[fe80::1%25en0]:1",
            "http://%C3%A9",
        ] {
            assert_eq!(fault(url), None, "{url}");
        }
        for url in [
            ":80",
            "http://h/%zz",
            "http://h/%4",
            "1http://h",
            "http://h:port",
            "http://[::1",
            "http://a b/",
            "a\nb",
            "10.0.0.1:80",
            "http://%41/",
            "http://u ser@h",
            "http://h\\x",
            "http://h^x",
            "http://[x]:80",
            "http://h#%zz",
        ] {
            assert!(fault(url).is_some(), "{url}");
        }
    }

    #[test]
    fn passwords() {
        for (text, expected) in [
            ("http://u:p@h/x", "http://u:xxxxx@h/x"),
            ("http://u:p@q@h", "http://u:xxxxx@h"),
            ("http://u@h/x:y@z", "http://u@h/x:y@z"),
            ("see http://a/ and https://b:c@d.", "see http://a/ and https://b:xxxxx@d."),
            ("a:b@c", "a:b@c"),
            ("", ""),
        ] {
            assert_eq!(mask_password(text), expected, "{text}");
        }
    }

    #[test]
    fn passwords_that_end_nobody_knows_where_are_not_shown() {
        for url in ["http://u:a/b@h", "http://u:a#b@h", "http://u:a?b@h", "http://u:a b@h", "http://u:a\"b@h"] {
            assert_eq!(shown(url), None, "{url}");
        }
        for (text, expected) in [
            ("http://u:a@h/b c", "http://u:xxxxx@h/b c"),
            ("http://u@h:port", "http://u@h:port"),
            ("http://h:port/", "http://h:port/"),
            ("a:b@c", "a:b@c"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(scheme_and_host("http://u:p@h:80/x"), Some(("http", "h:80")));
        for url in ["http://", "h:80", "://h", "http:///x"] {
            assert_eq!(scheme_and_host(url), None, "{url}");
        }
    }
}
