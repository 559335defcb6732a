use std::net::IpAddr;

/// A connection as a kernel keeps track of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Connection {
    /// `TCP` or `UDP`.
    pub(super) protocol: String,
    /// Who opened it.
    pub(super) client: (IpAddr, u16),
    /// Who answers: behind a service, a pod of it.
    pub(super) server: (IpAddr, u16),
}

/// Ports from here on are those that kernels choose for clients.
const EPHEMERAL: u16 = 32768;

impl Connection {
    /// Of a line of `/proc/net/nf_conntrack` or `conntrack -L`; none if it is no TCP or UDP.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let protocol = line.split_whitespace().take(3).find(|word| ["tcp", "udp"].contains(word))?;
        let values = |name: &'static str| line.split_whitespace().filter_map(move |word| word.strip_prefix(name));
        // First as it was sent, then as answers are expected, which have the real server for their source.
        let (address, mut server) = (values("src=").next()?, (values("src=").nth(1)?, values("sport=").nth(1)?));
        let mut client = (address, values("sport=").next()?);
        // A kernel that has forgotten a connection takes an answer for its beginning.
        let port = |of: (&str, &str)| of.1.parse::<u16>().ok();
        if port(client)? < EPHEMERAL && port(server)? >= EPHEMERAL {
            std::mem::swap(&mut client, &mut server);
        }
        let end = |of: (&str, &str)| Some((of.0.parse().ok()?, port(of)?));
        Some(Self { protocol: protocol.to_ascii_uppercase(), client: end(client)?, server: end(server)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<(String, String, String)> {
        let Connection { protocol, client, server } = Connection::parse(line)?;
        let end = |(address, port): (IpAddr, u16)| format!("{address}:{port}");
        Some((protocol, end(client), end(server)))
    }

    #[test]
    fn both_forms() {
        let line = "tcp      6 86390 ESTABLISHED src=10.244.1.7 dst=10.96.0.1 sport=43210 dport=443 src=10.77.0.1 dst=10.244.1.7 sport=6443 dport=43210 [ASSURED] mark=0 use=1";
        let want = Some(("TCP".to_owned(), "10.244.1.7:43210".to_owned(), "10.77.0.1:6443".to_owned()));
        assert_eq!(parse(line), want, "the service is resolved");
        assert_eq!(parse(&format!("ipv4     2 {line}")), want);
    }

    #[test]
    fn without_an_answer() {
        let line = "ipv4     2 udp      17 12 src=10.244.1.7 dst=10.96.0.10 sport=40001 dport=53 [UNREPLIED] src=10.244.0.2 dst=10.244.1.7 sport=53 dport=40001 mark=0 zone=0 use=2";
        assert_eq!(parse(line), Some(("UDP".to_owned(), "10.244.1.7:40001".to_owned(), "10.244.0.2:53".to_owned())));
    }

    #[test]
    fn taken_up_in_the_wrong_direction() {
        let line = "ipv4     2 tcp      6 9 CLOSE src=10.244.1.7 dst=10.244.0.3 sport=10901 dport=51000 [UNREPLIED] src=10.244.0.3 dst=10.244.1.7 sport=51000 dport=10901 mark=0 use=1";
        assert_eq!(parse(line), Some(("TCP".to_owned(), "10.244.0.3:51000".to_owned(), "10.244.1.7:10901".to_owned())));
    }

    #[test]
    fn what_is_neither() {
        let line = "ipv4     2 icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=1 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=1 mark=0 use=1";
        assert_eq!(parse(line), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("tcp 6 src=1.2.3.4 sport=1"), None);
    }
}
