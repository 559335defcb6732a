//! DNS discovery against a real server, NSD.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kvass_discovery::{DnsOptions, JobDiscovery};
use tempfile::TempDir;

use crate::common::{addresses, jobs, manager_with, until};

const ZONE: &str = "\
$ORIGIN kvass.test.
$TTL 60
@ SOA ns1 hostmaster 1 3600 600 86400 60
@ NS ns1
@ NS ns2.elsewhere.example.
@ MX 10 mail1
@ MX 20 mail2
ns1 A 127.0.0.1
web A 10.0.0.2
web A 10.0.0.1
web AAAA 2001:db8::1
alias CNAME web
_metrics._tcp SRV 0 5 9100 web
_metrics._tcp SRV 0 5 9101 alias
a.deep.name A 10.0.0.9
";

/// Ends with the test.
struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the script that fetches it says the server is.
fn program() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/nsd.sh");
    let output = Command::new(script).stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "NOT RUN, as there is no DNS server: {told}");
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned()
}

/// A port that is free for both.
fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            return address.port();
        }
    }
}

impl Server {
    fn start(zone: &str) -> Server {
        let (program, port, dir) = (program(), free_port(), tempfile::tempdir().unwrap());
        fs::write(dir.path().join("zone"), zone).unwrap();
        let place = dir.path().display();
        let config = format!(
            "server:\n  ip-address: 127.0.0.1\n  port: {port}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  database: \"\"\n  \
             zonesdir: \"{place}\"\n  xfrdir: \"{place}\"\n  xfrdfile: \"\"\n  zonelistfile: \"{place}/list\"\n  pidfile: \"{place}/pid\"\n\
             remote-control:\n  control-enable: no\nzone:\n  name: kvass.test\n  zonefile: zone\n"
        );
        let file = dir.path().join("nsd.conf");
        fs::write(&file, config).unwrap();
        fs::write(dir.path().join("resolv.conf"), "nameserver 127.0.0.1\nsearch kvass.test\n").unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(program).args(["-d", "-c"]).arg(file).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Server { child, port, dir }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// What a section finds.
    async fn discover(&self, section: &str) -> JobDiscovery {
        let manager = manager_with(DnsOptions { resolv_conf: self.dir.path().join("resolv.conf"), port: self.port });
        let mut snapshots = manager.subscribe();
        manager.apply(&jobs(&format!("- job_name: j\n  dns_sd_configs: [{{refresh_interval: 1s, {section}}}]\n")));
        until(&mut snapshots, "j", |job| job.complete).await
    }

    /// The server needs a moment to start.
    async fn answers(&mut self) {
        for _ in 0..300 {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{status}: {}", self.log());
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never answered: {}", self.log());
    }
}

fn labels(found: &JobDiscovery, name: &str) -> Vec<String> {
    let targets = found.groups.iter().flat_map(|group| &group.targets);
    targets.map(|target| target.get(name).unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn records_of_a_real_server() {
    let mut server = Server::start(ZONE);
    server.answers().await;
    for (section, expected) in [
        ("names: [_metrics._tcp.kvass.test]", &["alias.kvass.test:9101", "web.kvass.test:9100"][..]),
        ("names: [web.kvass.test], type: A, port: 80", &["10.0.0.1:80", "10.0.0.2:80"]),
        ("names: [web.kvass.test.], type: AAAA, port: 80", &["[2001:db8::1]:80"]),
        ("names: [alias.kvass.test], type: A, port: 80", &["10.0.0.1:80", "10.0.0.2:80"]),
        ("names: [web], type: A, port: 80", &["10.0.0.1:80", "10.0.0.2:80"]),
        ("names: [a.deep.name], type: A, port: 80", &["10.0.0.9:80"]),
        ("names: [kvass.test], type: MX, port: 25", &["mail1.kvass.test:25", "mail2.kvass.test:25"]),
        ("names: [kvass.test], type: NS, port: 53", &["ns1.kvass.test:53", "ns2.elsewhere.example:53"]),
        ("names: [absent.kvass.test, web.kvass.test], type: AAAA, port: 1", &["[2001:db8::1]:1"]),
    ] {
        let found = server.discover(section).await;
        let mut found = addresses(&found);
        found.sort();
        assert_eq!(found, expected, "{section}");
    }
    let found = server.discover("names: [_metrics._tcp.kvass.test]").await;
    assert_eq!(labels(&found, "__meta_dns_name"), ["_metrics._tcp.kvass.test"; 2]);
    let mut ports = labels(&found, "__meta_dns_srv_record_port");
    ports.sort();
    assert_eq!(ports, ["9100", "9101"]);
}

/// Far more than a datagram may hold, so that the server cuts the answer short.
#[tokio::test]
async fn many_records_come_over_tcp() {
    const MANY: u32 = 600;
    let hosts = (0..MANY).map(|n| format!("big A 10.1.{}.{}\n_big._tcp SRV 0 5 {} h{n}\n", n / 250, n % 250 + 1, 9000 + n));
    let mut server = Server::start(&format!("{ZONE}{}", hosts.collect::<String>()));
    server.answers().await;
    let query = answer_by_udp(server.port, "big.kvass.test");
    assert!(query[2] & 2 != 0, "the answer by UDP is not marked as cut short: {query:?}");
    for section in ["names: [big.kvass.test], type: A, port: 80", "names: [_big._tcp.kvass.test]"] {
        let found = server.discover(section).await;
        assert_eq!(addresses(&found).len(), MANY as usize, "{section}");
    }
}

/// The server's answer to a question for addresses, by UDP.
fn answer_by_udp(port: u16, name: &str) -> Vec<u8> {
    let mut question = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.send_to(&question, ("127.0.0.1", port)).unwrap();
    let mut answer = vec![0; 65_535];
    let length = socket.recv(&mut answer).unwrap();
    answer.truncate(length);
    answer
}
