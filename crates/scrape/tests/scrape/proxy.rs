use kvass_config::{HttpClientConfig, ProxyConfig, Secret};
use kvass_scrape::{ClientOptions, HttpClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    support::{Reply, Server, Then, client, get, get_text, header},
    tls::{Authority, trusting},
};

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

fn proxied(url: String) -> HttpClientConfig {
    HttpClientConfig {
        proxy: ProxyConfig { url: Some(Secret::new(url)), ..ProxyConfig::default() },
        ..HttpClientConfig::default()
    }
}

#[tokio::test]
async fn clear_text_targets_in_absolute_form() {
    let proxy = Server::start(|_| Reply::ok("from the proxy")).await;
    let client = client(&proxied(format!("http://u:p%40@{}", proxy.addr)));
    let url = "http://Example.test:80/metrics?a=1&b=x+y";
    assert_eq!(get_text(&client, url).await, Ok((200, "from the proxy".to_owned())));
    let request = proxy.last_request();
    assert!(request.starts_with(&format!("GET {url} HTTP/1.1\r\n")), "{request}");
    assert_eq!(header(&request, "Host"), Some("Example.test:80"));
    assert_eq!(header(&request, "Proxy-Authorization"), Some("Basic dTpwQA=="));
}

#[tokio::test]
async fn encrypted_targets_through_a_tunnel() {
    let authority = Authority::new();
    let target = Server::start_tls(authority.server(&["127.0.0.1"]), |_| Reply::ok("from the target")).await;
    let proxy = Server::start(|_| Reply::raw(ESTABLISHED, Then::Continue)).await;
    let mut config = proxied(format!("http://u:p@{}", proxy.addr));
    config.tls = trusting(&authority);
    config.proxy.connect_headers = vec![("X-Tenant".to_owned(), vec![Secret::new("one"), Secret::new("two")])];

    assert_eq!(get_text(&client(&config), &target.tls_url("/m")).await, Ok((200, "from the target".to_owned())));
    let request = proxy.last_request();
    assert!(request.starts_with(&format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n", target.addr)), "{request}");
    assert_eq!(header(&request, "Proxy-Authorization"), Some("Basic dTpw"));
    assert!(request.contains("x-tenant: one\r\nx-tenant: two\r\n"), "{request}");
    let request = target.last_request();
    assert!(request.starts_with("GET /m HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(&request, "Proxy-Authorization"), None);
}

#[tokio::test]
async fn refusing_and_broken_proxies() {
    for (answer, text) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407"),
        ("HTTP/1.1 403\r\n\r\n", "answered 403"),
        ("nonsense\r\n\r\n", "not HTTP"),
        ("", "closed the connection"),
        ("HTTP/1.1 200 OK\r\n\r\nearly", "sent data before"),
    ] {
        let proxy = Server::start(move |_| Reply::raw(answer, Then::Close)).await;
        let error = get(&client(&proxied(format!("http://u:secret@{}", proxy.addr))), "https://h/").await.unwrap_err();
        assert_eq!(error.kind(), "proxy", "{error}");
        assert!(error.to_string().contains(text) && !error.to_string().contains("secret"), "{error}");
    }
    let error = get(&client(&proxied("http://127.0.0.1:1".to_owned())), "http://h/").await.unwrap_err();
    assert_eq!(error.kind(), "proxy", "{error}");
}

#[tokio::test]
async fn no_proxy_goes_direct() {
    let (proxy, target) = (Server::start(|_| Reply::ok("proxy")).await, Server::start(|_| Reply::ok("target")).await);
    let mut config = proxied(proxy.url(""));
    assert_eq!(get_text(&client(&config), &target.url("/")).await, Ok((200, "proxy".to_owned())));
    config.proxy.no_proxy = "example.org".to_owned();
    // Loopback never uses a proxy once there is a no_proxy.
    assert_eq!(get_text(&client(&config), &target.url("/")).await, Ok((200, "target".to_owned())));
    assert!(target.last_request().starts_with("GET / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn encrypted_proxy() {
    let authority = Authority::new();
    let proxy = Server::start_tls(authority.server(&["127.0.0.1"]), |_| Reply::ok("proxy")).await;
    let config = HttpClientConfig { tls: trusting(&authority), ..proxied(proxy.tls_url("")) };
    assert_eq!(get_text(&client(&config), "http://target/").await, Ok((200, "proxy".to_owned())));
    assert!(proxy.last_request().starts_with("GET http://target/ HTTP/1.1\r\n"));
}

#[tokio::test]
async fn scrape_proxy_is_told_of_the_proxy_it_replaces() {
    let gateway = Server::start(|request| match request.starts_with("CONNECT ") {
        true => Reply::raw(ESTABLISHED, Then::Continue),
        false => Reply::ok("gateway"),
    })
    .await;
    let authority = Authority::new();
    let target = Server::start_tls(authority.server(&["127.0.0.1"]), |_| Reply::ok("target")).await;
    let options = ClientOptions { scrape_proxy: Some(gateway.url("")), ..ClientOptions::default() };
    let own = HttpClientConfig { tls: trusting(&authority), ..proxied("http://u:p@own:3128".to_owned()) };

    let client = HttpClient::new(&own, &options).unwrap();
    assert_eq!(get_text(&client, "http://h/").await, Ok((200, "gateway".to_owned())));
    assert_eq!(header(&gateway.last_request(), "Origin-Proxy"), Some("http://u:p@own:3128"));
    assert_eq!(get_text(&client, &target.tls_url("/")).await, Ok((200, "target".to_owned())));
    assert_eq!(header(&gateway.last_request(), "Origin-Proxy"), Some("http://u:p@own:3128"));
    // The target has no business with that proxy's password.
    assert_eq!(header(&target.last_request(), "Origin-Proxy"), None);

    let without = HttpClient::new(&HttpClientConfig::default(), &options).unwrap();
    get(&without, "http://h/").await.unwrap();
    assert_eq!(header(&gateway.last_request(), "Origin-Proxy"), None);
}

#[tokio::test]
async fn socks5_with_password() {
    let target = Server::start(|_| Reply::ok("target")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let upstream = target.addr;
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(&[5, 2]).await.unwrap();
        let mut login = [0; 5];
        stream.read_exact(&mut login).await.unwrap();
        stream.write_all(&[1, 0]).await.unwrap();
        let mut request = [0; 16];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let mut upstream = tokio::net::TcpStream::connect(upstream).await.unwrap();
        let copy = tokio::io::copy_bidirectional(&mut stream, &mut upstream);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), copy).await;
        (greeting, login, request)
    });
    let client = client(&proxied(format!("socks5://u:p@{addr}")));
    assert_eq!(get_text(&client, "http://some.test/m").await, Ok((200, "target".to_owned())));
    assert!(target.last_request().starts_with("GET /m HTTP/1.1\r\n"));
    drop(client);
    let (greeting, login, request) = proxy.await.unwrap();
    assert_eq!((greeting, login), ([5, 1, 2], [1, 1, b'u', 1, b'p']));
    // The proxy resolves the name; port 80 is the scheme's.
    assert_eq!(request, *b"\x05\x01\x00\x03\x09some.test\x00\x50");
}
