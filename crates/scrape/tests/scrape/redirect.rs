use kvass_config::{Authorization, HttpClientConfig, Secret, SecretSource};

use crate::support::{Reply, Server, client, get, get_text, header};

fn with_credentials() -> HttpClientConfig {
    let secret = || SecretSource::Inline(Secret::new("k"));
    HttpClientConfig {
        authorization: Some(Authorization { kind: "Bearer".to_owned(), credentials: Some(secret()) }),
        http_headers: vec![("X-Key".to_owned(), vec![secret()])],
        ..HttpClientConfig::default()
    }
}

fn moved(location: &str) -> Reply {
    Reply::with(302, &format!("Location: {location}\r\n"), "moved")
}

#[tokio::test]
async fn followed_on_the_same_host_with_credentials() {
    let server = Server::start(|request| match request.starts_with("GET /old ") {
        true => moved("new?x=1"),
        false => Reply::ok("here"),
    })
    .await;
    assert_eq!(get_text(&client(&with_credentials()), &server.url("/old")).await, Ok((200, "here".to_owned())));
    let request = server.last_request();
    assert!(request.starts_with("GET /new?x=1 "), "{request}");
    assert_eq!((header(&request, "Authorization"), header(&request, "X-Key")), (Some("Bearer k"), Some("k")));
}

#[tokio::test]
async fn credentials_stay_behind_on_another_host_for_good() {
    let home = Server::start(|request| match request.starts_with("GET /start ") {
        // `localhost` is another name for the same address, hence another host.
        true => moved(&format!("http://localhost:{}/away", header(request, "Host").unwrap().rsplit(':').next().unwrap())),
        false if request.starts_with("GET /away ") => {
            moved(&format!("http://127.0.0.1:{}/back", header(request, "Host").unwrap().rsplit(':').next().unwrap()))
        }
        false => Reply::ok("here"),
    })
    .await;
    assert_eq!(get_text(&client(&with_credentials()), &home.url("/start")).await, Ok((200, "here".to_owned())));
    let sent: Vec<_> = home
        .requests()
        .iter()
        .map(|request| (header(request, "Authorization").is_some(), header(request, "X-Key").is_some()))
        .collect();
    assert_eq!(sent, [(true, true), (false, false), (false, false)]);
}

#[tokio::test]
async fn loops_end_and_following_can_be_switched_off() {
    let server = Server::start(|_| moved("/again")).await;
    let error = get(&client(&HttpClientConfig::default()), &server.url("/")).await.unwrap_err();
    assert_eq!(error.kind(), "redirect");
    assert_eq!(server.requests().len(), 10);

    let config = HttpClientConfig { follow_redirects: false, ..HttpClientConfig::default() };
    assert_eq!(get_text(&client(&config), &server.url("/")).await, Ok((302, "moved".to_owned())));
}
