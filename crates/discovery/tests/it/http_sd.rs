use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use kvass_discovery::{Discovered, Manager};
use tokio::sync::watch;

use crate::common::{addresses, jobs, manager, until};

#[derive(Clone)]
struct Answer(StatusCode, &'static str, &'static str);

#[derive(Clone)]
struct Server {
    answer: Arc<Mutex<Answer>>,
    headers: Arc<Mutex<HeaderMap>>,
    url: String,
}

impl Server {
    async fn start(body: &'static str) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            answer: Arc::new(Mutex::new(Answer(StatusCode::OK, "application/json", body))),
            headers: Arc::default(),
            url: format!("http://{}/targets", listener.local_addr().unwrap()),
        };
        let router = Router::new().route("/targets", get(answer)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn discover(&self) -> (Manager, watch::Receiver<Arc<Discovered>>) {
        let manager = manager();
        let snapshots = manager.subscribe();
        let config = format!(
            "- job_name: j\n  http_sd_configs: [{{url: '{}', refresh_interval: 100ms, basic_auth: {{username: u, password: s3cret}}}}]\n",
            self.url
        );
        manager.apply(&jobs(&config));
        (manager, snapshots)
    }
}

async fn answer(State(server): State<Server>, headers: HeaderMap) -> impl IntoResponse {
    *server.headers.lock().unwrap() = headers;
    let Answer(status, content_type, body) = server.answer.lock().unwrap().clone();
    (status, [(CONTENT_TYPE, content_type)], body)
}

#[tokio::test]
async fn lists_grow_shrink_and_survive_errors() {
    let json = "application/json; charset=utf-8";
    let server = Server::start(r#"[{"targets":["a:1"],"labels":{"env":"x"}},{"targets":["b:1","c:1"]}]"#).await;
    let (_manager, mut snapshots) = server.discover();
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["a:1", "b:1", "c:1"]);
    assert_eq!(found.groups[0].source, format!("{}:0", server.url));
    assert_eq!(found.groups[0].labels.get("__meta_url"), Some(server.url.as_str()));
    {
        let headers = server.headers.lock().unwrap();
        assert_eq!(headers["accept"], "application/json");
        assert_eq!(headers["x-prometheus-refresh-interval-seconds"], "0.1");
        assert_eq!(headers["authorization"], "Basic dTpzM2NyZXQ=");
    }

    for (answer, expected) in [
        (Answer(StatusCode::SERVICE_UNAVAILABLE, json, "[]"), "503"),
        (Answer(StatusCode::OK, "text/plain", "[]"), "text/plain"),
        (Answer(StatusCode::OK, json, r#"[{"targets":["#), "JSON"),
    ] {
        server.set(answer);
        let failing = until(&mut snapshots, "j", |job| job.errors.iter().any(|error| error.contains(expected))).await;
        assert_eq!(failing.groups, found.groups, "{expected}");
        assert!(failing.complete);
    }

    server.set(Answer(StatusCode::OK, json, r#"[{"targets":["a:1"],"labels":{"env":"x"}}]"#));
    let shrunk = until(&mut snapshots, "j", |job| job.errors.is_empty()).await;
    assert_eq!(addresses(&shrunk), ["a:1"]);
    server.set(Answer(StatusCode::OK, json, "[]"));
    until(&mut snapshots, "j", |job| job.groups.is_empty()).await;
}

#[tokio::test]
async fn an_endpoint_that_never_answered_leaves_the_job_incomplete() {
    let server = Server::start("no JSON").await;
    let (_manager, mut snapshots) = server.discover();
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(!failing.complete);
    assert!(!failing.errors[0].contains("s3cret"));
    assert!(failing.errors[0].contains(&server.url));
    server.set(Answer(StatusCode::OK, "application/json", "[]"));
    until(&mut snapshots, "j", |job| job.complete && job.errors.is_empty()).await;
}
