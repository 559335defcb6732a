use std::net::IpAddr;

use ipnet::IpNet;

/// Which hosts are reached without the proxy, by Go's rules: a comma-separated list of host names (with
/// all their sub-domains; only those with a leading dot or `*.`), addresses, networks, `*`; names and
/// addresses may carry a port. `localhost` and loopback addresses never use a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoProxy {
    everything: bool,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Network(IpNet),
    Address {
        ip: IpAddr,
        port: Option<String>,
    },
    /// `suffix` begins with a dot.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<String>,
    },
}

impl NoProxy {
    /// Parses a list; entries that mean nothing are passed over, as in Go.
    pub(crate) fn parse(list: &str) -> Self {
        let mut rules = NoProxy::default();
        for entry in list.split(',') {
            let entry = entry.trim().to_lowercase();
            if entry == "*" {
                return NoProxy { everything: true, entries: Vec::new() };
            }
            rules.entries.extend(Entry::parse(&entry));
        }
        rules
    }

    /// Whether `host` (no brackets) is reached directly.
    pub(crate) fn matches(&self, host: &str, port: u16) -> bool {
        let host = host.trim().to_lowercase();
        let ip = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) || self.everything {
            return true;
        }
        let same_port = |wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| *wanted == port.to_string());
        self.entries.iter().any(|entry| match entry {
            Entry::Network(network) => ip.is_some_and(|ip| network.contains(&ip)),
            Entry::Address { ip: wanted, port } => ip.as_ref() == Some(wanted) && same_port(port),
            Entry::Domain { suffix, itself, port } => {
                (host.ends_with(suffix.as_str()) || (*itself && host == suffix[1..])) && same_port(port)
            }
        })
    }
}

impl Entry {
    fn parse(entry: &str) -> Option<Self> {
        if let Ok(network) = entry.parse::<IpNet>() {
            return Some(Entry::Network(network));
        }
        let (host, port) = split_host_port(entry);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(Entry::Address { ip: ip.to_canonical(), port });
        }
        let host = if host.starts_with("*.") { &host[1..] } else { host };
        match host {
            "" => None,
            host if host.starts_with('.') => Some(Entry::Domain { suffix: host.to_owned(), itself: false, port }),
            host => Some(Entry::Domain { suffix: format!(".{host}"), itself: true, port }),
        }
    }
}

/// `host:port`, `[v6]:port`, or just a host (an IPv6 address without brackets has no port).
fn split_host_port(entry: &str) -> (&str, Option<String>) {
    if let Some((host, port)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, port.strip_prefix(':').map(str::to_owned));
    }
    match entry.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port.to_owned()).filter(|port| !port.is_empty())),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_rules() {
        let list = " foo.com, .only.sub ,*.star.sub,ported.com:8080,10.0.0.0/8,192.168.1.1,192.168.1.2:81,2001:db8::/32,[fe80::1]:90,::2, ,:99,UPPER.org";
        for (host, port, direct) in [
            ("foo.com", 80, true),
            ("a.b.foo.com", 443, true),
            ("FOO.com", 80, true),
            ("xfoo.com", 80, false),
            ("foo.com.evil", 80, false),
            ("only.sub", 80, false),
            ("a.only.sub", 80, true),
            ("star.sub", 80, false),
            ("a.star.sub", 80, true),
            ("ported.com", 8080, true),
            ("x.ported.com", 8080, true),
            ("ported.com", 80, false),
            ("10.200.3.4", 1, true),
            ("::ffff:10.1.1.1", 1, true),
            ("11.0.0.1", 1, false),
            ("192.168.1.1", 7, true),
            ("192.168.1.2", 81, true),
            ("192.168.1.2", 80, false),
            ("2001:db8::5", 80, true),
            ("2001:db9::5", 80, false),
            ("fe80::1", 90, true),
            ("fe80::1", 91, false),
            ("::2", 5, true),
            ("upper.org", 80, true),
            ("other", 99, false),
            ("localhost", 80, true),
            ("127.3.2.1", 80, true),
            ("::1", 80, true),
        ] {
            assert_eq!(NoProxy::parse(list).matches(host, port), direct, "{host}:{port}");
        }
        assert!(NoProxy::parse("a, *").matches("anything", 1));
        assert!(!NoProxy::parse("").matches("anything", 1));
    }
}
