use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header as names};
use kvass_config::{Authorization, BasicAuth, HttpClientConfig, OAuth2, ProxyConfig, Secret, SecretSource, TlsConfig};
use kvass_scrape::{ClientOptions, HttpClient};
use tokio::time::Instant;

use crate::support::{PATIENCE, Reply, Server, client, get, get_text, header};

fn inline(text: &str) -> Option<SecretSource> {
    Some(SecretSource::Inline(Secret::new(text)))
}

async fn authorization_sent(config: &HttpClientConfig) -> Option<String> {
    let server = Server::start(|_| Reply::ok("")).await;
    get(&client(config), &server.url("/")).await.unwrap();
    header(&server.last_request(), "Authorization").map(str::to_owned)
}

#[tokio::test]
async fn kinds_of_authorization() {
    let plain = HttpClientConfig::default();
    assert_eq!(authorization_sent(&plain).await, None);
    for password in ["pass", "pass\n"] {
        let basic = BasicAuth { username: inline("user"), password: inline(password) };
        assert_eq!(
            authorization_sent(&HttpClientConfig { basic_auth: Some(basic), ..plain.clone() }).await.as_deref(),
            Some("Basic dXNlcjpwYXNz")
        );
    }
    for (kind, credentials, expected) in
        [("Bearer", inline("t"), Some("Bearer t")), ("Custom", inline(" t\n"), Some("Custom t")), ("Bearer", None, None)]
    {
        let authorization = Some(Authorization { kind: kind.to_owned(), credentials });
        assert_eq!(authorization_sent(&HttpClientConfig { authorization, ..plain.clone() }).await.as_deref(), expected);
    }
}

#[tokio::test]
async fn url_credentials_and_given_headers() {
    let server = Server::start(|_| Reply::ok("")).await;
    let client = client(&HttpClientConfig::default());
    get(&client, &format!("http://u:p@{}/x", server.addr)).await.unwrap();
    let request = server.last_request();
    assert_eq!(header(&request, "Authorization"), Some("Basic dTpw"));
    assert_eq!(header(&request, "Host"), Some(server.addr.to_string().as_str()));
    assert!(request.starts_with("GET /x HTTP/1.1\r\n"), "{request}");

    let config = HttpClientConfig {
        authorization: Some(Authorization { kind: "Bearer".to_owned(), credentials: inline("configured") }),
        ..HttpClientConfig::default()
    };
    let given = HeaderMap::from_iter([(names::AUTHORIZATION, HeaderValue::from_static("Bearer given"))]);
    let client = crate::support::client(&config);
    client.get(&server.url("/"), given, Instant::now() + PATIENCE).await.unwrap();
    assert_eq!(header(&server.last_request(), "Authorization"), Some("Bearer given"));
}

#[tokio::test]
async fn files_are_read_for_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let config = HttpClientConfig {
        authorization: Some(Authorization { kind: "Bearer".to_owned(), credentials: Some(SecretSource::File(path.clone())) }),
        http_headers: vec![("X-Key".to_owned(), vec![SecretSource::Inline(Secret::new("a")), SecretSource::File(path.clone())])],
        ..HttpClientConfig::default()
    };
    let server = Server::start(|_| Reply::ok("")).await;
    let client = client(&config);

    let error = get(&client, &server.url("/")).await.unwrap_err();
    assert_eq!(error.kind(), "credentials");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    for token in ["first", "second"] {
        std::fs::write(&path, format!(" {token}\n")).unwrap();
        get(&client, &server.url("/")).await.unwrap();
        let request = server.last_request();
        assert_eq!(header(&request, "Authorization"), Some(format!("Bearer {token}").as_str()));
        let keys: Vec<_> = request.lines().filter_map(|line| line.strip_prefix("X-Key: ")).collect();
        assert_eq!(keys, ["a", token]);
    }
    std::fs::write(&path, "two\nlines").unwrap();
    let error = get(&client, &server.url("/")).await.unwrap_err();
    assert!(error.kind() == "credentials" && !error.to_string().contains("two"), "{error}");
}

fn oauth2(token_url: String, secret: Option<SecretSource>) -> HttpClientConfig {
    let oauth2 = OAuth2 {
        client_id: "id&".to_owned(),
        client_secret: secret,
        scopes: vec!["a".to_owned(), "b".to_owned()],
        token_url,
        endpoint_params: BTreeMap::from([("audience".to_owned(), "x y".to_owned())]),
        tls: TlsConfig::default(),
        proxy: ProxyConfig::default(),
        grant_type: String::new(),
    };
    HttpClientConfig { oauth2: Some(Box::new(oauth2)), ..HttpClientConfig::default() }
}

/// A token server that numbers its tokens.
async fn token_server(expires_in: u64) -> Server {
    let issued = AtomicUsize::new(0);
    Server::start(move |_| {
        let number = issued.fetch_add(1, Ordering::SeqCst);
        let body = format!(r#"{{"access_token":"t{number}","token_type":"bearer","expires_in":{expires_in}}}"#);
        Reply::raw(
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
            crate::support::Then::Continue,
        )
    })
    .await
}

#[tokio::test]
async fn oauth2_tokens_are_kept_until_they_expire() {
    let server = Server::start(|_| Reply::ok("")).await;
    // Tokens that live for ten seconds or less are never used twice.
    for (expires_in, tokens) in [(3600, ["Bearer t0", "Bearer t0"]), (10, ["Bearer t0", "Bearer t1"])] {
        let issuer = token_server(expires_in).await;
        let client = client(&oauth2(issuer.url("/token"), inline("s/")));
        for token in tokens {
            get(&client, &server.url("/")).await.unwrap();
            assert_eq!(header(&server.last_request(), "Authorization"), Some(token));
        }
        let request = issuer.last_request();
        assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
        assert_eq!(header(&request, "Authorization"), Some("Basic aWQlMjY6cyUyRg=="));
        assert!(request.ends_with("\r\n\r\ngrant_type=client_credentials&scope=a+b&audience=x+y"), "{request}");
    }
}

#[tokio::test]
async fn oauth2_rotated_secret_ends_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let (server, issuer) = (Server::start(|_| Reply::ok("")).await, token_server(3600).await);
    let client = client(&oauth2(issuer.url("/"), Some(SecretSource::File(path.clone()))));
    for (secret, token) in [("one", "Bearer t0"), ("one", "Bearer t0"), ("two", "Bearer t1")] {
        std::fs::write(&path, secret).unwrap();
        get(&client, &server.url("/")).await.unwrap();
        assert_eq!(header(&server.last_request(), "Authorization"), Some(token));
    }
}

#[tokio::test]
async fn oauth2_credentials_in_the_form_where_the_header_is_refused() {
    let server = Server::start(|_| Reply::ok("")).await;
    let issuer = Server::start(|request| match header(request, "Authorization") {
        Some(_) => Reply::with(401, "", r#"{"error":"invalid_client"}"#),
        None => {
            let body = r#"{"access_token":"t","expires_in":1}"#;
            Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()), crate::support::Then::Continue)
        }
    })
    .await;
    let client = client(&oauth2(issuer.url("/"), inline("s")));
    for _ in 0..2 {
        get(&client, &server.url("/")).await.unwrap();
    }
    assert!(issuer.last_request().ends_with("&client_id=id%26&client_secret=s"));
    // The refused style is not tried again.
    assert_eq!(issuer.requests().len(), 3);
}

#[tokio::test]
async fn oauth2_failures() {
    let server = Server::start(|_| Reply::ok("")).await;
    let refusing = Server::start(|_| Reply::with(400, "Content-Encoding: identity\r\n", "error=invalid_scope")).await;
    let error = get(&client(&oauth2(refusing.url("/"), inline("s"))), &server.url("/")).await.unwrap_err();
    assert_eq!(error.kind(), "token");
    assert!(error.to_string().contains("invalid_scope"), "{error}");

    let silent = Server::start(|_| Reply::raw("", crate::support::Then::Hang)).await;
    let client = client(&oauth2(silent.url("/"), inline("s")));
    let deadline = Instant::now() + Duration::from_millis(200);
    let error = client.get(&server.url("/"), HeaderMap::new(), deadline).await.unwrap_err();
    assert!(error.to_string().contains("fetching an OAuth 2 token"), "{error}");
    assert!(server.requests().is_empty());

    let mut config = oauth2("http://h/".to_owned(), None);
    config.oauth2.as_mut().unwrap().grant_type = "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned();
    let error = HttpClient::new(&config, &ClientOptions::default()).unwrap_err();
    assert!(error.to_string().contains("oauth2.grant_type"), "{error}");
}

#[tokio::test]
async fn query_and_path_arrive_as_written() {
    let server = Server::start(|_| Reply::ok("x")).await;
    let client = client(&HttpClientConfig::default());
    for target in ["/a//b/../c?x=a+b&y=%2f&empty=", "/?q"] {
        assert_eq!(get_text(&client, &server.url(target)).await, Ok((200, "x".to_owned())));
        assert!(server.last_request().starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{}", server.last_request());
    }
}
