//! An HTTP service that answers as it is told and remembers what it was asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request as AxumRequest,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use kvass_discovery::{Discovered, Environment, Manager};
use tokio::sync::watch;

use crate::common::{jobs, manager_in};

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// As sent, without the question mark.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The values of a parameter, in order.
    pub(crate) fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }

    /// What a call to AWS asks for.
    pub(crate) fn action(&self) -> String {
        match self.header("x-amz-target").rsplit_once('.') {
            Some((_, action)) => action.to_owned(),
            None => self.form("Action"),
        }
    }

    /// A parameter of a posted form, empty if there is none.
    pub(crate) fn form(&self, name: &str) -> String {
        let mut pairs = url::form_urlencoded::parse(self.body.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    /// The first value of a parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).into_iter().next()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub(crate) fn json(body: impl Into<String>) -> Reply {
        Reply { status: 200, headers: vec![("content-type", "application/json".to_owned())], body: body.into() }
    }

    pub(crate) fn xml(body: impl Into<String>) -> Reply {
        Reply::json(body).with("content-type", "text/xml")
    }

    pub(crate) fn status(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: "no".to_owned() }
    }

    pub(crate) fn with_status(self, status: u16) -> Reply {
        Reply { status, ..self }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.retain(|(n, _)| *n != name);
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    }
}

/// A running service.
#[derive(Clone)]
pub(crate) struct FakeService {
    /// `http://127.0.0.1:port`.
    pub(crate) url: String,
    pub(crate) router: Router,
    requests: Arc<Mutex<Vec<Request>>>,
    /// By path, by path and query, or by path and action, as in `/#GetInstances`.
    routes: Arc<Mutex<BTreeMap<String, Reply>>>,
}

impl FakeService {
    /// Answers by routes, 404 elsewhere.
    pub(crate) async fn start<const N: usize>(routes: [(&str, Reply); N]) -> FakeService {
        let table: Arc<Mutex<BTreeMap<String, Reply>>> = Arc::default();
        let for_handler = Arc::clone(&table);
        let service = FakeService::answering(table, move |request| {
            let routes = for_handler.lock().unwrap();
            let exact = routes.get(&format!("{}?{}", request.path, request.query));
            // Docker's clients choose a version.
            let versioned = request.path.strip_prefix("/v1.").and_then(|rest| rest.find('/').map(|slash| &rest[slash..]));
            let reply = exact.or_else(|| routes.get(&format!("{}#{}", request.path, request.action())));
            let reply = reply.or_else(|| routes.get(&request.path)).or_else(|| routes.get(versioned?));
            let reply = reply.cloned().unwrap_or_else(|| Reply::status(404));
            std::future::ready(reply)
        })
        .await;
        routes.into_iter().for_each(|(path, reply)| service.set(path, reply));
        service
    }

    /// Answers what `handler` says.
    pub(crate) async fn by<F, R>(handler: F) -> FakeService
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        FakeService::answering(Arc::default(), handler).await
    }

    async fn answering<F, R>(routes: Arc<Mutex<BTreeMap<String, Reply>>>, handler: F) -> FakeService
    where
        F: Fn(Request) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let router = router(Arc::clone(&requests), handler);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = router.clone();
        tokio::spawn(async move { axum::serve(listener, serving).await });
        FakeService { url, router, requests, routes }
    }

    /// Answers this from now on.
    pub(crate) fn set(&self, path: &str, reply: Reply) {
        self.routes.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// `host:port`.
    pub(crate) fn host(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The last request for a path.
    #[track_caller]
    pub(crate) fn last(&self, path: &str) -> Request {
        let requests = self.requests();
        let last = requests.iter().rev().find(|request| request.path == path);
        last.unwrap_or_else(|| panic!("{path} was never asked for: {requests:#?}")).clone()
    }
}

/// Remembers every request and answers what `handler` says.
pub(crate) fn router<F, R>(requests: Arc<Mutex<Vec<Request>>>, handler: F) -> Router
where
    F: Fn(Request) -> R + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    let handler = Arc::new(handler);
    Router::new().fallback(move |request: AxumRequest| {
        let (requests, handler) = (Arc::clone(&requests), Arc::clone(&handler));
        async move {
            let (head, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            let request = Request {
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                headers: head.headers,
                body: String::from_utf8(body.to_vec()).unwrap(),
            };
            requests.lock().unwrap().push(request.clone());
            handler(request).await
        }
    })
}

/// Discovers what one section says, under the job name `j`. `section` is the content of a flow mapping.
pub(crate) fn discover(key: &str, section: &str) -> (Manager, watch::Receiver<Arc<Discovered>>) {
    discover_in(Environment::default(), key, section)
}

/// As [`discover`], in other surroundings.
pub(crate) fn discover_in(environment: Environment, key: &str, section: &str) -> (Manager, watch::Receiver<Arc<Discovered>>) {
    let manager = manager_in(environment);
    let snapshots = manager.subscribe();
    manager.apply(&jobs(&format!("- job_name: j\n  {key}: [{{{section}}}]\n")));
    (manager, snapshots)
}
