//! One question to one server after the other.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, Record, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::resolv_conf::ResolvConf;

/// Longest wait for one answer of one server.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What we say an answer over UDP may take.
const UDP_PAYLOAD: u16 = 4096;

/// The answers of the first server that has any: records, perhaps none, or `None` where the name does not exist. Another
/// response than these two, or no response, sends the question to the next server.
pub(super) async fn ask_any(name: &str, kind: RecordType, conf: &ResolvConf, port: u16) -> Result<Option<Vec<Record>>, String> {
    let question = Name::from_ascii(name).map_err(|error| format!("{name}: no name for DNS: {error}"))?;
    let question = Query::query(question, kind);
    let mut problems = Vec::new();
    // A server that cut its answer short is one of several that would, so the others are asked by TCP at once.
    let mut tcp = false;
    for server in &conf.servers {
        match ask(server, port, &question, &mut tcp).await {
            Ok(message) => match response_code(&message) {
                ResponseCode::NoError => return Ok(Some(message.answers)),
                ResponseCode::NXDomain => return Ok(None),
                code => problems.push(format!("{server} answered {code}")),
            },
            Err(error) => problems.push(format!("{server}: {error}")),
        }
    }
    if conf.servers.is_empty() {
        problems.push("resolv.conf names no server".to_owned());
    }
    Err(format!("{name}: {}", problems.join(", ")))
}

/// The whole code: its upper bits are not in the header.
fn response_code(message: &Message) -> ResponseCode {
    let high = message.edns.as_ref().map_or(0, Edns::rcode_high);
    ResponseCode::from(high, message.metadata.response_code.low())
}

async fn ask(server: &str, port: u16, question: &Query, tcp: &mut bool) -> io::Result<Message> {
    let server: IpAddr = server.parse().map_err(|_| io::Error::other("is no IP address"))?;
    let server = SocketAddr::new(server, port);
    if !*tcp {
        let answer = within(over_udp(server, &encode(question, true)?, question)).await?;
        if !is_truncated(&answer) {
            return decode(&answer);
        }
        *tcp = true;
    }
    let answer = within(over_tcp(server, &encode(question, false)?, question)).await?;
    match is_truncated(&answer) {
        true => Err(io::Error::other("cut its answer short although asked by TCP")),
        false => decode(&answer),
    }
}

async fn within<T>(exchange: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

fn encode(question: &Query, edns: bool) -> io::Result<Vec<u8>> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(question.clone());
    if edns {
        let mut extension = Edns::new();
        extension.set_max_payload(UDP_PAYLOAD);
        message.set_edns(extension);
    }
    message.to_vec().map_err(io::Error::other)
}

fn decode(answer: &[u8]) -> io::Result<Message> {
    Message::from_vec(answer).map_err(|error| io::Error::other(format!("its answer cannot be read: {error}")))
}

/// The bit of the header; the rest of a cut message need not be readable.
fn is_truncated(answer: &[u8]) -> bool {
    answer.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// Whether a datagram answers this question. Anybody can send datagrams.
fn answers(answer: &[u8], asked: &[u8], question: &Query) -> bool {
    let same_id = answer.len() >= 12 && answer[..2] == asked[..2];
    let is_response = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let same_question = || match Message::from_vec(answer) {
        Ok(message) => message.queries.is_empty() || message.queries.contains(question),
        // To be told to the caller, who cannot trust it either way.
        Err(_) => true,
    };
    same_id && is_response && same_question()
}

async fn over_udp(server: SocketAddr, asked: &[u8], question: &Query) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(asked).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(&buffer[..length], asked, question) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, asked: &[u8], question: &Query) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(asked.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), asked].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    match answers(&answer, asked, question) {
        true => Ok(answer),
        false => Err(io::Error::other("answered another question")),
    }
}
