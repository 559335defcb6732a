use http::{HeaderMap, StatusCode, header};
use url::Url;

use crate::ScrapeError;

/// Requests of one chain, the first included, as in Go's client.
pub(crate) const MAX_REQUESTS: usize = 10;

/// Where a response redirects to, resolved against the URL that gave it; `None` if it does not redirect
/// (300 and 304 never do, nor does a response without `Location`).
pub(crate) fn location(status: StatusCode, headers: &HeaderMap, current: &str) -> Result<Option<String>, ScrapeError> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = headers.get(header::LOCATION) else { return Ok(None) };
    let unusable = || ScrapeError::Redirect { problem: "the Location header is not a URL".to_owned() };
    let location = location.to_str().map_err(|_| unusable())?;
    if location.is_empty() {
        return Ok(None);
    }
    let next = Url::parse(current).and_then(|current| current.join(location)).map_err(|_| unusable())?;
    Ok(Some(next.into()))
}

/// Whether the credentials meant for `first` may be sent to `next`: to the same host or a sub-domain of it
/// (the rule of Go and of Prometheus 3.13 and later), and never in clear text after an encrypted start.
pub(crate) fn keeps_credentials(first: &str, next: &str) -> bool {
    let (Ok(first), Ok(next)) = (Url::parse(first), Url::parse(next)) else { return false };
    let (Some(first_host), Some(next_host)) = (first.host(), next.host()) else { return false };
    let same_host = match (&first_host, &next_host) {
        (url::Host::Domain(first), url::Host::Domain(next)) => {
            first == next || next.strip_suffix(first).is_some_and(|rest| rest.ends_with('.'))
        }
        _ => first_host == next_host,
    };
    same_host && !(first.scheme() == "https" && next.scheme() != "https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        for (status, location_header, expected) in [
            (302, Some("/x?a=1"), Some("http://h:1/x?a=1")),
            (301, Some("y"), Some("http://h:1/a/y")),
            (308, Some("//other/z"), Some("http://other/z")),
            (307, Some("https://other/z"), Some("https://other/z")),
            (303, None, None),
            (304, Some("/x"), None),
            (300, Some("/x"), None),
            (200, Some("/x"), None),
        ] {
            let headers = location_header.map(|value| (header::LOCATION, value.parse().unwrap())).into_iter().collect();
            let found = location(StatusCode::from_u16(status).unwrap(), &headers, "http://h:1/a/b?q=1").unwrap();
            assert_eq!(found.as_deref(), expected, "{status} {location_header:?}");
        }
        let headers = [(header::LOCATION, "http://[".parse().unwrap())].into_iter().collect();
        assert_eq!(location(StatusCode::FOUND, &headers, "http://h").unwrap_err().kind(), "redirect");
    }

    #[test]
    fn credentials_follow_the_host() {
        for (first, next, keeps) in [
            ("http://h:1/a", "http://h:2/b", true),
            ("http://h/a", "https://h/b", true),
            ("https://h/a", "http://h/b", false),
            ("http://example.org", "http://a.example.org", true),
            ("http://a.example.org", "http://example.org", false),
            ("http://example.org", "http://notexample.org", false),
            ("http://127.0.0.1", "http://127.0.0.1:9", true),
            ("http://127.0.0.1", "http://localhost", false),
            ("http://0.0.1", "http://1.0.0.1", false),
        ] {
            assert_eq!(keeps_credentials(first, next), keeps, "{first} -> {next}");
        }
    }
}
