use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::World;

#[tokio::test]
async fn other_paths_are_prometheus_own() {
    let world = World::new().await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/targets"),
        ("GET", "/api/v1"),
        ("GET", "/api/v1/shard/nope"),
        ("DELETE", "/api/v1/shard/targets/"),
        ("POST", "/api/v1/shard/runtimeinfo/"),
        ("GET", "/api/v1/query?query=up%7Ba%3D%22b+c%22%7D&x=%2F"),
    ] {
        let (status, seen) = world.send(method, path, "").await;
        assert_eq!((status, seen["method"].as_str(), seen["uri"].as_str()), (418, Some(method), Some(path)));
    }
}

#[tokio::test]
async fn bodies_and_headers_go_both_ways_without_those_of_the_hop() {
    let world = World::new().await;
    let response = world
        .http
        .post(format!("{}/api/v1/read", world.api))
        .header("x-mine", "1")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-forwarded-for", "10.0.0.1")
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-from"], "prometheus");
    assert!(!response.headers().contains_key("x-private"));
    let seen: serde_json::Value = response.json().await.unwrap();
    assert_eq!((&seen["body"], &seen["headers"]["x-mine"]), (&"hello".into(), &"1".into()));
    assert_eq!(seen["headers"]["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
    assert_eq!(seen["headers"]["host"], format!("127.0.0.1:{}", world.prometheus_port));
    assert!(seen["headers"].get("x-hop").is_none());
}

#[tokio::test]
async fn a_prometheus_that_is_down_is_a_bad_gateway_with_a_reason() {
    let world = World::with(super::support::CONFIG, |o| o.prometheus_url = "http://127.0.0.1:1".to_owned()).await;
    let (status, text) = world.get("/api/v1/status/flags").await;
    assert_eq!(status, 502);
    assert!(text.as_str().unwrap().contains("onnection refused"), "{text}");
}

#[tokio::test]
async fn proxy_requests_are_not_answered_by_the_api() {
    let world = World::new().await;
    let address = world.api.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET http://target/-/healthy HTTP/1.1\r\nHost: target\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("--web.proxy-addr"), "{answer}");
}
