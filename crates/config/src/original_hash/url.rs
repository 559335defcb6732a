//! A URL as Go parses it.

use super::{
    UrlLayout,
    value::{Struct, Value},
};

/// The structure of a URL; `None` for forms that no configuration needs (fragments, escapes in the host) and for what Go
/// refuses.
pub(super) fn parse(text: &str, layout: UrlLayout) -> Option<Value> {
    // `*` has a rule of its own.
    if text.bytes().any(|b| b < b' ' || b == 0x7f || b == b'#') || text == "*" {
        return None;
    }
    let (scheme, rest) = scheme(text)?;
    let (force_query, rest, query) = match rest.split_once('?') {
        Some((rest, "")) => (true, rest, ""),
        Some((rest, query)) => (false, rest, query),
        None => (false, rest, ""),
    };
    let mut parts = Parts { scheme: scheme.to_ascii_lowercase(), force_query, query, ..Parts::default() };
    let path = if let Some(tail) = rest.strip_prefix("//") {
        if scheme.is_empty() && tail.starts_with('/') {
            return None;
        }
        let (authority, path) = tail.find('/').map_or((tail, ""), |slash| tail.split_at(slash));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        if host.contains(['%', ' ', '"', '\\', '^', '`', '{', '|', '}']) || user.is_some_and(|user| !is_user(user)) {
            return None;
        }
        (parts.host, parts.has_user) = (host, user.is_some());
        path
    } else if !rest.starts_with('/') && !scheme.is_empty() {
        parts.opaque = rest;
        ""
    } else {
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return None;
        }
        parts.omit_host = !scheme.is_empty();
        rest
    };
    parts.path = unescape(path)?;
    if escape(&parts.path) != path {
        parts.raw_path = path;
    }
    Some(parts.into_value(layout))
}

#[derive(Default)]
struct Parts<'a> {
    scheme: String,
    opaque: &'a str,
    has_user: bool,
    host: &'a str,
    path: Vec<u8>,
    raw_path: &'a str,
    omit_host: bool,
    force_query: bool,
    query: &'a str,
}

impl Parts<'_> {
    fn into_value(self, layout: UrlLayout) -> Value {
        // User names and passwords are not exported.
        let user = if self.has_user { Value::Struct(Struct::new("Userinfo", [])) } else { Value::Nil };
        let head = [
            ("Scheme", Value::Text(self.scheme.into_bytes())),
            ("Opaque", Value::text(self.opaque)),
            ("User", user),
            ("Host", Value::text(self.host)),
            ("Path", Value::Text(self.path)),
        ];
        let raw_path = ("RawPath", Value::text(self.raw_path));
        let omit_host = ("OmitHost", Value::Bool(self.omit_host));
        let force_query = ("ForceQuery", Value::Bool(self.force_query));
        let query = ("RawQuery", Value::text(self.query));
        let fragment = ("Fragment", Value::text(""));
        let raw_fragment = ("RawFragment", Value::text(""));
        let tail = match layout {
            UrlLayout::Go117 => vec![raw_path, force_query, query, fragment, raw_fragment],
            UrlLayout::Go119 => vec![raw_path, omit_host, force_query, query, fragment, raw_fragment],
            UrlLayout::Go126 => vec![fragment, query, raw_path, raw_fragment, force_query, omit_host],
        };
        Value::Struct(Struct::new("URL", head.into_iter().chain(tail)))
    }
}

/// What stands before the first colon, empty if that is no scheme; `None` if Go refuses it.
fn scheme(url: &str) -> Option<(&str, &str)> {
    for (at, byte) in url.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at > 0 => return Some((&url[..at], &url[at + 1..])),
            b':' => return None,
            _ => break,
        }
    }
    Some(("", url))
}

fn is_user(user: &str) -> bool {
    unescape(user).is_some() && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b))
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let [high, low, tail @ ..] = rest else { return None };
        out.push(digit(high)? << 4 | digit(low)?);
        rest = tail;
    }
    Some(out)
}

/// The escaping Go would choose for a path.
fn escape(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parts(url: &str) -> Vec<(&'static str, String)> {
        let Some(Value::Struct(url)) = parse(url, UrlLayout::Go119) else { panic!("{url} is not taken") };
        let text = |value: Value| match value {
            Value::Text(text) => String::from_utf8_lossy(&text).into_owned(),
            Value::Bool(value) => if value { "true" } else { "" }.to_owned(),
            Value::Struct(_) => "user".to_owned(),
            _ => String::new(),
        };
        url.members.into_iter().map(|(name, value)| (name, text(value))).filter(|(_, text)| !text.is_empty()).collect()
    }

    #[test]
    fn parts_of_urls() {
        for (url, expected) in [
            ("", vec![]),
            ("HTTP://u:p@H:80/a?b=c", vec!["Scheme=http", "User=user", "Host=H:80", "Path=/a", "RawQuery=b=c"]),
            ("http://h?", vec!["Scheme=http", "Host=h", "ForceQuery=true"]),
            ("http://h/a b", vec!["Scheme=http", "Host=h", "Path=/a b", "RawPath=/a b"]),
            ("http://h/a%20b", vec!["Scheme=http", "Host=h", "Path=/a b"]),
            ("http://h/a%2fb", vec!["Scheme=http", "Host=h", "Path=/a/b", "RawPath=/a%2fb"]),
            ("http://[::1]:9", vec!["Scheme=http", "Host=[::1]:9"]),
            ("proxy:3128", vec!["Scheme=proxy", "Opaque=3128"]),
            ("unix:/x", vec!["Scheme=unix", "Path=/x", "OmitHost=true"]),
            ("/x", vec!["Path=/x"]),
        ] {
            let found: Vec<String> = parts(url).into_iter().map(|(name, text)| format!("{name}={text}")).collect();
            assert_eq!(found, expected, "{url}");
        }
        for url in ["http://h#f", "http://a%41", ":80", "http://h/%4", "10.0.0.1:80", "http://u[@h", "*"] {
            assert_eq!(parse(url, UrlLayout::Go117), None, "{url}");
        }
    }
}
