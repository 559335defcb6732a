//! Port completion of target addresses, as Prometheus 2 does it after relabelling.

use std::borrow::Cow;

/// The address with the scheme's default port, if it has none and one can be appended. `Err` is the
/// scheme that has no default port.
///
/// What does not even become a host and port by appending one (a bare IPv6 address) stays as it is.
pub(crate) fn complete_port<'a, 's>(address: &'a str, scheme: &'s str) -> Result<Cow<'a, str>, &'s str> {
    if splits(address) || !splits(&format!("{address}:1234")) {
        return Ok(address.into());
    }
    match scheme {
        "http" | "" => Ok(format!("{address}:80").into()),
        "https" => Ok(format!("{address}:443").into()),
        _ => Err(scheme),
    }
}

/// Whether Go's `net.SplitHostPort` takes the text: one colon outside of brackets, brackets only around
/// the host. Neither host nor port need be there.
fn splits(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let inner = match host.strip_prefix('[') {
        Some(rest) => match rest.strip_suffix(']') {
            Some(inner) => inner,
            None => return false,
        },
        None if host.contains(':') => return false,
        None => host,
    };
    !inner.contains(['[', ']']) && !port.contains(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion() {
        for (address, scheme, expected) in [
            ("10.0.0.1", "http", Ok("10.0.0.1:80")),
            ("10.0.0.1", "", Ok("10.0.0.1:80")),
            ("10.0.0.1", "https", Ok("10.0.0.1:443")),
            ("10.0.0.1:9091", "ftp", Ok("10.0.0.1:9091")),
            ("host.example", "ftp", Err("ftp")),
            ("[::1]", "http", Ok("[::1]:80")),
            ("[::1]:9", "http", Ok("[::1]:9")),
            ("::1", "http", Ok("::1")),
            ("fd00::1", "ftp", Ok("fd00::1")),
            ("host:", "http", Ok("host:")),
            (":80", "http", Ok(":80")),
            ("a]b", "http", Ok("a]b")),
            ("[a", "http", Ok("[a")),
            ("[a]b", "http", Ok("[a]b")),
            ("[[a]]", "http", Ok("[[a]]")),
        ] {
            assert_eq!(complete_port(address, scheme), expected.map(Cow::from), "{address} {scheme}");
        }
    }
}
