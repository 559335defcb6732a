//! Nomad, Eureka, Marathon and PuppetDB: what is sent, and what becomes of bad answers. What good ones mean is in the goldens.

use std::time::Duration;

use crate::{
    common::{addresses, until},
    fake_service::{FakeService, Reply, discover},
};

#[tokio::test]
async fn nomad() {
    let service = FakeService::start([
        ("/v1/services", Reply::json(r#"[{"Namespace": "a", "Services": [{"ServiceName": "x y"}]}]"#)),
        ("/v1/service/x%20y", Reply::json(r#"[{"ServiceName": "x y", "Address": "10.0.0.1", "Port": 80}]"#)),
    ])
    .await;
    let section = format!(
        "server: '{}', namespace: '*', region: eu, refresh_interval: 50ms, authorization: {{credentials: s3cret}}",
        service.url
    );
    let (_manager, mut snapshots) = discover("nomad_sd_configs", &section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!((addresses(&found), found.groups[0].source.as_str()), (vec!["10.0.0.1:80".to_owned()], "Nomad"));
    for path in ["/v1/services", "/v1/service/x%20y"] {
        let asked = service.last(path);
        assert_eq!(asked.query, "namespace=*&region=eu&stale=");
        assert_eq!(asked.header("authorization"), "Bearer s3cret");
    }

    // One service that cannot be read, and nothing is known of any.
    service.set("/v1/service/x%20y", Reply::status(500));
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!(failing.groups, found.groups);
    assert!(failing.errors[0].contains("GET /v1/service/x%20y: server returned HTTP status 500"), "{:?}", failing.errors);
    service.set("/v1/services", Reply::json("null"));
    until(&mut snapshots, "j", |job| job.groups.is_empty() && job.errors.is_empty()).await;
}

#[tokio::test]
async fn eureka() {
    let apps =
        "<applications><application><name>A</name><instance><hostName>h</hostName></instance></application></applications>";
    let service = FakeService::start([("/eureka/apps", Reply::json(apps).with("content-type", "application/xml"))]).await;
    let section =
        format!("server: '{}/eureka', refresh_interval: 50ms, basic_auth: {{username: u, password: s3cret}}", service.url);
    let (_manager, mut snapshots) = discover("eureka_sd_configs", &section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!((addresses(&found), found.groups[0].source.as_str()), (vec!["h:80".to_owned()], "eureka"));
    let asked = service.last("/eureka/apps");
    assert_eq!((asked.header("accept"), asked.header("authorization")), ("application/xml", "Basic dTpzM2NyZXQ="));

    for (reply, expected) in [
        (Reply::json("{\"applications\": {}}"), "GET /apps: body is not the XML expected here"),
        (Reply::json("<applications><application>"), "XML"),
        (Reply::status(401), "HTTP status 401 Unauthorized"),
    ] {
        service.set("/eureka/apps", reply);
        let failing = until(&mut snapshots, "j", |job| job.errors.iter().any(|error| error.contains(expected))).await;
        assert_eq!(failing.groups, found.groups, "{expected}");
    }
    service.set("/eureka/apps", Reply::json("<applications/>"));
    until(&mut snapshots, "j", |job| job.groups.is_empty() && job.errors.is_empty()).await;
}

#[tokio::test]
async fn marathon_asks_its_servers_in_turn_with_a_token_that_may_change() {
    let app = |id: &str| format!(r#"{{"apps": [{{"id": "{id}", "tasks": [{{"id": "t", "host": "h", "ports": [1]}}]}}]}}"#);
    let first = FakeService::start([("/v2/apps/", Reply::json(app("/a")))]).await;
    let second = FakeService::start([("/v2/apps/", Reply::json(app("/a")))]).await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    let section =
        format!("servers: ['{}', '{}/'], auth_token_file: '{}', refresh_interval: 50ms", first.url, second.url, token.display());
    let (_manager, mut snapshots) = discover("marathon_sd_configs", &section);
    let missing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(!missing.complete && missing.errors[0].contains("token file"), "{missing:?}");

    std::fs::write(&token, "s3cret\n").unwrap();
    let found = until(&mut snapshots, "j", |job| job.complete && job.errors.is_empty()).await;
    assert_eq!((addresses(&found), found.groups[0].source.as_str()), (vec!["h:1".to_owned()], "/a"));

    // Both are asked, and the token is read each time.
    std::fs::write(&token, "other").unwrap();
    for service in [&first, &second] {
        service.set("/v2/apps/", Reply::json(app("/b")));
    }
    until(&mut snapshots, "j", |job| job.groups.len() == 1 && job.groups[0].source == "/b").await;
    let sent = |service: &FakeService, token: &str| {
        let requests = service.requests();
        requests.iter().any(|r| r.header("authorization") == token && r.query == "embed=apps.tasks")
    };
    let both_asked = async {
        while ![&first, &second].iter().all(|service| sent(service, "token=other")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both_asked).await.unwrap();
    assert!(sent(&first, "token=s3cret") || sent(&second, "token=s3cret"));

    first.set("/v2/apps/", Reply::status(503));
    second.set("/v2/apps/", Reply::status(503));
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!(failing.groups[0].source, "/b");
    assert!(!format!("{failing:?}").contains("s3cret"));
}

#[tokio::test]
async fn puppetdb() {
    let resources = r#"[{"certname": "a.example", "type": "Class", "title": "x", "parameters": {"password": "s3cret"}}]"#;
    let service = FakeService::start([("/pdb/query/v4", Reply::json(resources))]).await;
    let section = format!("url: '{}/', query: 'nodes {{ }}', refresh_interval: 500ms", service.url);
    let (_manager, mut snapshots) = discover("puppetdb_sd_configs", &section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["a.example:80"]);
    assert_eq!(found.groups[0].source, format!("{}/pdb/query/v4?query=nodes {{ }}", service.url));
    assert!(!format!("{found:?}").contains("s3cret"), "parameters are for those who ask for them");
    let asked = service.last("/pdb/query/v4");
    assert_eq!((asked.method.as_str(), asked.body.as_str()), ("POST", r#"{"query":"nodes { }"}"#));
    assert_eq!((asked.header("content-type"), asked.header("accept")), ("application/json", "application/json"));

    for (reply, expected) in [
        (Reply::json(resources).with("content-type", "text/html"), "content type \"text/html\""),
        (Reply::json("{}"), "POST /pdb/query/v4: body is not the JSON expected here"),
        (Reply::status(204), "HTTP status 204 No Content: expected 200 OK"),
        (Reply::status(400), "HTTP status 400 Bad Request"),
    ] {
        service.set("/pdb/query/v4", reply);
        let failing = until(&mut snapshots, "j", |job| job.errors.iter().any(|error| error.contains(expected))).await;
        assert_eq!(failing.groups, found.groups, "{expected}");
    }
}
