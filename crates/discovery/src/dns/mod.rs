//! Targets from DNS records.

mod query;
mod resolv_conf;

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use futures::future::join_all;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use kvass_config::{DnsRecord, DnsSdConfig};
use kvass_model::{ADDRESS_LABEL, Labels, TargetGroup};

use self::resolv_conf::ResolvConf;
use crate::{
    feed::Feed,
    manager::DnsOptions,
    refresh::{self, Findings, Mechanism, RefreshError},
    text::host_port,
};

/// Asks for the names of a `dns_sd_configs` entry in its rhythm, for ever. A name that cannot be looked up keeps its
/// targets.
pub(crate) async fn run(config: DnsSdConfig, options: DnsOptions, feed: Arc<Feed>) {
    let name = format!("dns_sd_configs: {}", config.names.join(", "));
    let interval = config.refresh_interval;
    let set_up = move || Ok(Dns { config: config.clone(), options: options.clone() });
    refresh::run(name, interval, set_up, feed).await;
}

struct Dns {
    config: DnsSdConfig,
    options: DnsOptions,
}

impl Mechanism for Dns {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        // Read every time: in a container it may come late, and a laptop changes its network.
        let resolv_conf = read(&self.options.resolv_conf).await?;
        let lookups = self.config.names.iter().map(|name| self.look_up(name, &resolv_conf));
        let mut findings = Findings::default();
        for (name, found) in self.config.names.iter().zip(join_all(lookups).await) {
            match found {
                Ok(answers) => findings.groups.push(group(name, self.config.port, &answers)),
                Err(problem) => findings.failed.push((name.clone(), RefreshError::Other(problem))),
            }
        }
        Ok(findings)
    }
}

impl Dns {
    /// The answers to the first of the names that `name` may stand for, or the reason why nobody knows them.
    ///
    /// A name that exists without such records ends the search as well. That none of the names exists is an answer,
    /// too, but only if a server said so of every one of them.
    async fn look_up(&self, name: &str, resolv_conf: &ResolvConf) -> Result<Vec<Record>, String> {
        let mut problems = Vec::new();
        for candidate in resolv_conf.candidates(name) {
            match query::ask_any(&candidate, record_type(self.config.record), resolv_conf, self.options.port).await {
                Ok(Some(answers)) => return Ok(answers),
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        match problems.is_empty() {
            true => Ok(Vec::new()),
            false => Err(format!("cannot look up {name:?}: {}", problems.join("; "))),
        }
    }
}

async fn read(path: &PathBuf) -> Result<ResolvConf, RefreshError> {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(ResolvConf::parse(&text)),
        Err(error) => Err(RefreshError::Other(format!("{}: {error}", path.display()))),
    }
}

fn record_type(record: DnsRecord) -> RecordType {
    match record {
        DnsRecord::Srv => RecordType::SRV,
        DnsRecord::A => RecordType::A,
        DnsRecord::Aaaa => RecordType::AAAA,
        DnsRecord::Mx => RecordType::MX,
        DnsRecord::Ns => RecordType::NS,
    }
}

/// The targets of one name. `port` is that of records which have none.
fn group(name: &str, port: i64, answers: &[Record]) -> TargetGroup {
    let mut targets: Vec<Labels> = answers.iter().filter_map(|record| target(name, port, record)).collect();
    // Servers turn the order round, which must not look like a change.
    targets.sort();
    TargetGroup { source: name.to_owned(), targets, labels: Labels::default() }
}

fn target(name: &str, port: i64, record: &Record) -> Option<Labels> {
    let (address, special) = match &record.data {
        RData::SRV(srv) => {
            let (host, rooted) = host(&srv.target);
            let special = vec![("__meta_dns_srv_record_target", rooted), ("__meta_dns_srv_record_port", srv.port.to_string())];
            (host_port(&host, srv.port), special)
        }
        RData::MX(mx) => {
            let (host, rooted) = host(&mx.exchange);
            (host_port(&host, port), vec![("__meta_dns_mx_record_target", rooted)])
        }
        RData::NS(ns) => {
            let (host, rooted) = host(&ns.0);
            (host_port(&host, port), vec![("__meta_dns_ns_record_target", rooted)])
        }
        RData::A(a) => (host_port(&a.0.to_string(), port), Vec::new()),
        RData::AAAA(aaaa) => (host_port(&IpAddr::V6(aaaa.0).to_canonical().to_string(), port), Vec::new()),
        // The way to an address may lead over aliases.
        RData::CNAME(_) => return None,
        _ => {
            tracing::warn!(name, record = %record.record_type(), "a DNS answer holds a record that was not asked for");
            return None;
        }
    };
    let common = [(ADDRESS_LABEL, address), ("__meta_dns_name", name.to_owned())];
    Some(common.into_iter().chain(special).collect())
}

/// The name without and with its final dot.
fn host(name: &Name) -> (String, String) {
    let rooted = name.to_ascii();
    (rooted.trim_end_matches('.').to_owned(), rooted)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SRV, TXT};

    use super::*;

    fn answers(data: impl IntoIterator<Item = RData>) -> Vec<Record> {
        let name: Name = "asked.example.".parse().unwrap();
        data.into_iter().map(|data| Record::from_rdata(name.clone(), 60, data)).collect()
    }

    fn shown(port: i64, data: impl IntoIterator<Item = RData>) -> Vec<String> {
        let group = group("asked", port, &answers(data));
        assert_eq!(group.source, "asked");
        let show = |labels: &Labels| {
            let rest: Vec<String> =
                labels.iter().skip(1).map(|(n, v)| format!("{}={v}", n.trim_start_matches("__meta_dns_"))).collect();
            format!("{} {}", labels.address(), rest.join(" "))
        };
        group.targets.iter().map(show).collect()
    }

    #[test]
    fn records_become_targets() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let srv = |port, target| RData::SRV(SRV::new(10, 5, port, name(target)));
        assert_eq!(
            shown(0, [srv(9100, "b.example."), srv(0, "A.example."), srv(1, ".")]),
            [
                ":1 name=asked srv_record_port=1 srv_record_target=.",
                "A.example:0 name=asked srv_record_port=0 srv_record_target=A.example.",
                "b.example:9100 name=asked srv_record_port=9100 srv_record_target=b.example.",
            ]
        );
        assert_eq!(
            shown(25, [RData::MX(MX::new(1, name("mx.example.")))]),
            ["mx.example:25 mx_record_target=mx.example. name=asked"]
        );
        assert_eq!(shown(53, [RData::NS(NS(name("ns.example.")))]), ["ns.example:53 name=asked ns_record_target=ns.example."]);
        assert_eq!(
            shown(
                80,
                [RData::CNAME(CNAME(name("other."))), RData::A(A([10, 0, 0, 2].into())), RData::A(A([10, 0, 0, 1].into()))]
            ),
            ["10.0.0.1:80 name=asked", "10.0.0.2:80 name=asked"],
            "sorted, for servers turn the order round"
        );
        let v6 = |text: &str| RData::AAAA(AAAA(text.parse().unwrap()));
        assert_eq!(
            shown(80, [v6("fd00::1"), v6("::ffff:10.0.0.1"), RData::TXT(TXT::new(vec!["x".to_owned()]))]),
            ["10.0.0.1:80 name=asked", "[fd00::1]:80 name=asked"]
        );
        assert!(shown(80, []).is_empty());
    }
}
