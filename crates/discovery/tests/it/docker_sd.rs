//! Docker discovery over TCP and over a Unix socket. What the answers mean is in the goldens.

use std::sync::{Arc, Mutex};

use crate::{
    common::{addresses, until},
    fake_service::{FakeService, Reply, Request, discover, router},
};

const CONTAINERS: &str = r#"[{"Id": "1", "Names": ["/a"], "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
    "NetworkSettings": {"Networks": {"n": {"NetworkID": "n1", "IPAddress": "10.0.0.1"}, "none": null}}}]"#;

fn daemon(request: &Request) -> Reply {
    match request.path.as_str() {
        "/_ping" => Reply::json("OK").with("api-version", "1.45"),
        "/v1.45/containers/json" => Reply::json(CONTAINERS),
        "/v1.45/networks" => Reply::json(r#"[{"Id": "n1", "Name": "front"}]"#),
        "/v1.45/nodes" => Reply::json(r#"[{"ID": "n", "Status": {"Addr": "10.0.0.9"}}]"#),
        _ => Reply::status(404),
    }
}

#[tokio::test]
async fn a_daemon_over_http_keeps_its_targets_while_it_fails() {
    let service = FakeService::start([
        ("/_ping", Reply::json("OK").with("api-version", "1.41")),
        ("/v1.41/containers/json", Reply::json(CONTAINERS)),
        ("/v1.41/networks", Reply::json("null")),
    ])
    .await;
    let section = format!(
        "host: '{}', refresh_interval: 500ms, filters: [{{name: label, values: [a=b]}}], basic_auth: {{username: u, password: s3cret}}",
        service.url
    );
    let (_manager, mut snapshots) = discover("docker_sd_configs", &section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:80"]);
    assert_eq!(found.groups[0].source, "Docker");
    let asked = service.last("/v1.41/containers/json");
    assert_eq!(asked.parameter("filters").as_deref(), Some(r#"{"label":{"a=b":true}}"#));
    assert_eq!(asked.header("authorization"), "Basic dTpzM2NyZXQ=");
    assert_eq!(service.last("/v1.41/networks").query, "", "filters are for what is discovered");

    service.set("/v1.41/networks", Reply::json("<html>"));
    let expected = "GET /v1.41/networks: body is not the JSON expected here";
    let failing = until(&mut snapshots, "j", |job| job.errors.iter().any(|error| error.contains(expected))).await;
    assert_eq!(failing.groups, found.groups);

    // Another daemon, which refuses the old version.
    service.set("/_ping", Reply::json("OK").with("api-version", "1.99"));
    service.set("/v1.41/containers/json", Reply::status(400));
    service.set("/v1.56/containers/json", Reply::json("[]"));
    service.set("/v1.56/networks", Reply::json("[]"));
    until(&mut snapshots, "j", |job| job.groups.is_empty() && job.errors.is_empty()).await;
}

#[tokio::test]
async fn a_daemon_behind_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
    let router = router(Arc::clone(&requests), |request| std::future::ready(daemon(&request)));
    let section = |more: &str| format!("host: 'unix://{}', refresh_interval: 500ms{more}", path.display());
    // Settings of the HTTP client are for HTTP.
    let (_manager, mut snapshots) = discover("docker_sd_configs", &section(", tls_config: {ca_file: /nonexistent}"));
    let missing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(!missing.complete && missing.errors[0].contains("docker.sock: No such file"), "{missing:?}");

    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let found = until(&mut snapshots, "j", |job| job.complete && job.errors.is_empty()).await;
    assert_eq!(addresses(&found), ["10.0.0.1:80"]);
    assert_eq!(found.groups[0].targets[0].get("__meta_docker_network_name"), Some("front"));
    assert_eq!(requests.lock().unwrap()[0].header("host"), "localhost");

    let (_manager, mut snapshots) = discover("dockerswarm_sd_configs", &section(", role: nodes, port: 9323"));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!((addresses(&found), found.groups[0].source.as_str()), (vec!["10.0.0.9:9323".to_owned()], "DockerSwarm"));
}

#[tokio::test]
async fn a_host_nobody_can_reach_is_said() {
    let (_manager, mut snapshots) = discover("docker_sd_configs", "host: 'ssh://u:s3cret@d', refresh_interval: 500ms");
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(failing.errors[0].contains("expected a URL that begins with unix://"), "{:?}", failing.errors);
    assert!(!failing.errors[0].contains("s3cret"), "{:?}", failing.errors);
}
