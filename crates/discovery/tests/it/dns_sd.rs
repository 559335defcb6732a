//! DNS discovery against servers that answer by UDP and TCP.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME, SRV},
    },
};
use kvass_discovery::{Discovered, DnsOptions, Manager};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    sync::watch,
};

use crate::common::{addresses, jobs, manager_with, until};

/// What a server says to a question.
#[derive(Clone)]
enum Says {
    Records(Vec<RData>),
    Code(ResponseCode),
    /// Cut short over UDP, complete over TCP.
    TooMuch(Vec<RData>),
    /// Rubbish with another id first, then the answer.
    Noise(Vec<RData>),
    Silence,
}

/// A server on a loopback address of its own, as all servers of a `resolv.conf` share one port.
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<BTreeMap<(String, RecordType), Says>>>,
    /// `udp` or `tcp`, the size an answer may have, the name.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(address: Ipv4Addr, port: u16) -> Server {
        // A port that is free for UDP need not be so for TCP.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((address, port)).await.unwrap();
            match TcpListener::bind(udp.local_addr().unwrap()).await {
                Ok(tcp) => break (udp, tcp),
                Err(error) => assert_eq!(port, 0, "{error}"),
            }
        };
        let server = Server { address: udp.local_addr().unwrap(), zone: Arc::default(), asked: Arc::default() };
        let answer = server.answerer();
        tokio::spawn(async move {
            let mut buffer = [0; 65_535];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                for datagram in answer(&buffer[..length], false) {
                    udp.send_to(&datagram, from).await.unwrap();
                }
            }
        });
        let answer = server.answerer();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                for message in answer(&question, true) {
                    stream.write_u16(u16::try_from(message.len()).unwrap()).await.unwrap();
                    stream.write_all(&message).await.unwrap();
                }
            }
        });
        server
    }

    fn answerer(&self) -> impl Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + 'static {
        let (zone, asked) = (Arc::clone(&self.zone), Arc::clone(&self.asked));
        move |question, tcp| {
            let question = Message::from_vec(question).unwrap();
            let query = question.queries[0].clone();
            let size = question.edns.as_ref().map_or(0, |edns| edns.max_payload());
            let name = query.name.to_ascii();
            asked.lock().unwrap().push(format!("{} {size} {name}", if tcp { "tcp" } else { "udp" }));
            let says = zone.lock().unwrap().get(&(name, query.query_type)).cloned();
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.add_query(query.clone());
            let mut before = Vec::new();
            let records = match says.unwrap_or(Says::Code(ResponseCode::NXDomain)) {
                Says::Silence => return Vec::new(),
                Says::Code(code) => {
                    answer.metadata.response_code = code;
                    Vec::new()
                }
                Says::TooMuch(records) if tcp => records,
                Says::TooMuch(_) => {
                    answer.metadata.truncation = true;
                    Vec::new()
                }
                Says::Noise(records) => {
                    let mut other = answer.clone();
                    other.metadata.id = other.metadata.id.wrapping_add(1);
                    before = vec![b"rubbish".to_vec(), other.to_vec().unwrap()];
                    records
                }
                Says::Records(records) => records,
            };
            answer.add_answers(records.into_iter().map(|data| Record::from_rdata(query.name.clone(), 0, data)));
            before.push(answer.to_vec().unwrap());
            before
        }
    }

    fn says(&self, name: &str, kind: RecordType, says: Says) {
        self.zone.lock().unwrap().insert((name.to_owned(), kind), says);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// Discovers with these servers and this search list.
fn discover(servers: &[&Server], search: &str, sections: &str) -> (TempDir, Manager, watch::Receiver<Arc<Discovered>>) {
    let dir = tempfile::tempdir().unwrap();
    let resolv_conf = dir.path().join("resolv.conf");
    let names: String = servers.iter().map(|server| format!("nameserver {}\n", server.address.ip())).collect();
    std::fs::write(&resolv_conf, format!("{names}{search}\n")).unwrap();
    let port = servers.first().map_or(53, |server| server.address.port());
    let manager = manager_with(DnsOptions { resolv_conf, port });
    let snapshots = manager.subscribe();
    manager.apply(&jobs(&format!("- job_name: j\n  dns_sd_configs:\n{sections}")));
    (dir, manager, snapshots)
}

fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(10, 0, 0, last)))
}

fn srv(port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(0, 0, port, Name::from_ascii(target).unwrap()))
}

#[tokio::test]
async fn names_are_searched_for_and_come_and_go() {
    let server = Server::start(Ipv4Addr::LOCALHOST, 0).await;
    server.says("_m._tcp.b.example.", RecordType::SRV, Says::Records(vec![srv(9100, "y.example."), srv(9101, "x.example.")]));
    let alias = RData::CNAME(CNAME(Name::from_ascii("other.example.").unwrap()));
    server.says("web.a.example.", RecordType::A, Says::Noise(vec![alias, a(2), a(1)]));
    let (_dir, _manager, mut snapshots) = discover(
        &[&server],
        "search a.example b.example\noptions ndots:3",
        "  - {names: [_m._tcp], refresh_interval: 100ms}\n  - {names: [web, absent.], type: a, port: 80, refresh_interval: 100ms}\n",
    );
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["x.example:9101", "y.example:9100", "10.0.0.1:80", "10.0.0.2:80"]);
    assert!(found.errors.is_empty(), "a name that does not exist is an answer: {:?}", found.errors);
    assert_eq!(found.groups[1].source, "web");
    let asked = server.asked();
    assert!(asked.contains(&"udp 4096 web.a.example.".to_owned()), "{asked:?}");

    // No such record is an answer as well, and ends the search.
    server.says("_m._tcp.a.example.", RecordType::SRV, Says::Records(vec![]));
    server.says("absent.", RecordType::A, Says::Records(vec![a(9)]));
    let found =
        until(&mut snapshots, "j", |job| addresses(job).contains(&"10.0.0.9:80".to_owned()) && job.groups.len() == 2).await;
    assert_eq!(addresses(&found), ["10.0.0.9:80", "10.0.0.1:80", "10.0.0.2:80"]);
}

#[tokio::test]
async fn errors_keep_what_was_known_of_that_name_only() {
    let server = Server::start(Ipv4Addr::LOCALHOST, 0).await;
    server.says("a.", RecordType::A, Says::Records(vec![a(1)]));
    server.says("b.", RecordType::A, Says::Code(ResponseCode::ServFail));
    let section = "  - {names: [a., b.], type: A, port: 80, refresh_interval: 100ms}\n";
    let (dir, _manager, mut snapshots) = discover(&[&server], "", section);
    let found = until(&mut snapshots, "j", |job| !job.groups.is_empty()).await;
    assert_eq!((addresses(&found), found.complete), (vec!["10.0.0.1:80".to_owned()], false), "of b nothing is known yet");
    assert!(found.errors[0].contains("\"b.\"") && found.errors[0].contains("127.0.0.1 answered"), "{:?}", found.errors);

    server.says("b.", RecordType::A, Says::Records(vec![a(2)]));
    until(&mut snapshots, "j", |job| job.complete && job.errors.is_empty() && job.groups.len() == 2).await;

    server.says("a.", RecordType::A, Says::Code(ResponseCode::Refused));
    server.says("b.", RecordType::A, Says::Code(ResponseCode::NXDomain));
    let found = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!((addresses(&found), found.complete), (vec!["10.0.0.1:80".to_owned()], true));

    // A file that goes away is like servers that go away.
    std::fs::remove_file(dir.path().join("resolv.conf")).unwrap();
    let found = until(&mut snapshots, "j", |job| job.errors.iter().any(|error| error.contains("resolv.conf"))).await;
    assert_eq!(addresses(&found), ["10.0.0.1:80"]);
}

#[tokio::test]
async fn long_answers_come_by_tcp() {
    let server = Server::start(Ipv4Addr::LOCALHOST, 0).await;
    let many: Vec<RData> = (0..500).map(|n| srv(9100, &format!("host-{n:03}.rather.long.domain.example."))).collect();
    server.says("_m.", RecordType::SRV, Says::TooMuch(many));
    let (_dir, _manager, mut snapshots) = discover(&[&server], "", "  - {names: [_m.], refresh_interval: 1h}\n");
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found).len(), 500);
    assert_eq!(addresses(&found)[499], "host-499.rather.long.domain.example:9100");
    assert_eq!(server.asked(), ["udp 4096 _m.", "tcp 0 _m."]);
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_has_no_answer() {
    // All of 127.0.0.0/8 is loopback.
    let first = Server::start(Ipv4Addr::new(127, 0, 0, 2), 0).await;
    let port = first.address.port();
    let second = Server::start(Ipv4Addr::new(127, 0, 0, 3), port).await;
    let third = Server::start(Ipv4Addr::new(127, 0, 0, 4), port).await;
    first.says("silent.", RecordType::A, Says::Silence);
    second.says("silent.", RecordType::A, Says::Code(ResponseCode::ServFail));
    third.says("silent.", RecordType::A, Says::Records(vec![a(3)]));
    second.says("absent.", RecordType::A, Says::Records(vec![a(2)]));
    let section = "  - {names: [silent., absent.], type: A, port: 80, refresh_interval: 1h}\n";
    let (_dir, _manager, mut snapshots) = discover(&[&first, &second, &third], "", section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.3:80"], "that a name does not exist is final");
    assert_eq!(second.asked(), ["udp 4096 silent."]);
}
