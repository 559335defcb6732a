//! `kvass metrics-generator`: an exporter with exactly as many series as asked for, which keeps a record
//! of who scraped it, and has paths that behave as badly as exporters sometimes do.

mod body;
mod misbehaviour;
mod record;

use std::{
    collections::HashMap,
    future::{Future, pending},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, Path, Query, Request, State, connect_info::IntoMakeServiceWithConnectInfo},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use self::{
    body::Format,
    record::{Record, Scrape},
};
use crate::flags::GeneratorFlags;

pub(crate) use self::body::{HOUSEKEEPING_SERIES, METRIC_PREFIX};

/// Most series of one answer; more is a slip, not a load test.
const MAX_SERIES: u64 = 20_000_000;

/// Different bodies kept between two ticks.
const CACHED_BODIES: usize = 16;

struct Generator {
    series: u64,
    tick: Duration,
    latency: Duration,
    started: Instant,
    bodies: Mutex<HashMap<BodyKey, CachedBody>>,
    record: Record,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct BodyKey {
    own: u64,
    housekeeping: u64,
    format: Format,
    gzip: bool,
}

struct CachedBody {
    tick: u64,
    bytes: Bytes,
}

/// Serves until `shutdown`.
pub(crate) async fn run(flags: GeneratorFlags, shutdown: impl Future) -> anyhow::Result<()> {
    let GeneratorFlags { address, series, tick, latency, log: _ } = flags;
    anyhow::ensure!(series <= MAX_SERIES, "--series={series}: expected at most {MAX_SERIES}");
    anyhow::ensure!(!tick.is_zero(), "--tick=0: expected a duration such as 5s");
    let listener = listen(&address).await.with_context(|| format!("--address={address}"))?;
    tracing::info!(address = %listener.local_addr()?, series, "metrics generator started");
    // Not axum's graceful shutdown, which would wait for /hang and /endless for ever.
    tokio::select! {
        result = axum::serve(listener, service(series, tick, latency)) => Ok(result?),
        _ = shutdown => Ok(()),
    }
}

/// Binds an address in Go's style, where `:9091` means every interface.
async fn listen(address: &str) -> std::io::Result<TcpListener> {
    match address.strip_prefix(':') {
        // A machine without IPv6 refuses the first.
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => TcpListener::bind(format!("0.0.0.0:{port}")).await,
            result => result,
        },
        None => TcpListener::bind(address).await,
    }
}

/// The router, told the address of every client.
fn service(series: u64, tick: Duration, latency: Duration) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
    router(series, tick, latency).into_make_service_with_connect_info()
}

fn router(series: u64, tick: Duration, latency: Duration) -> Router {
    let generator = Arc::new(Generator {
        series,
        tick,
        latency,
        started: Instant::now(),
        bodies: Mutex::default(),
        record: Record::default(),
    });
    let scraped = Router::new()
        .route("/metrics", get(metrics))
        .route("/series/{count}", get(series_of))
        .route("/slow", get(slow))
        .route("/endless", get(async || text(misbehaviour::endless())))
        .route("/garbage", get(async || text(misbehaviour::garbage())))
        .route("/bomb", get(async || ([(header::CONTENT_ENCODING, "gzip")], text(misbehaviour::bomb()))))
        .route("/hang", get(pending::<()>))
        .route_layer(middleware::from_fn_with_state(generator.clone(), record));
    scraped.route("/scrapes", get(scrapes)).with_state(generator)
}

async fn record(
    State(generator): State<Arc<Generator>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    generator.record.add(request.uri().path(), agent, client.ip());
    next.run(request).await
}

async fn scrapes(State(generator): State<Arc<Generator>>) -> Json<Vec<Scrape>> {
    Json(generator.record.all())
}

async fn metrics(State(generator): State<Arc<Generator>>, headers: HeaderMap) -> Response {
    tokio::time::sleep(generator.latency).await;
    let (own, housekeeping) = body::split(generator.series);
    generator.answer(own, housekeeping, &headers)
}

/// Exactly `count` series, all of them the generator's own.
async fn series_of(State(generator): State<Arc<Generator>>, Path(count): Path<u64>, headers: HeaderMap) -> Response {
    if count > MAX_SERIES {
        return (StatusCode::BAD_REQUEST, format!("{count} series: expected at most {MAX_SERIES}\n")).into_response();
    }
    generator.answer(count, 0, &headers)
}

#[derive(serde::Deserialize)]
struct Delay {
    delay: String,
}

/// As `/metrics`, after `?delay=3s`.
async fn slow(State(generator): State<Arc<Generator>>, Query(Delay { delay }): Query<Delay>, headers: HeaderMap) -> Response {
    match kvass_model::parse_go_duration(&delay) {
        Ok(delay) => tokio::time::sleep(delay).await,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("delay: {error}\n")).into_response(),
    }
    let (own, housekeeping) = body::split(generator.series);
    generator.answer(own, housekeeping, &headers)
}

fn text(body: Body) -> Response {
    ([(header::CONTENT_TYPE, Format::Text.content_type())], body).into_response()
}

impl Generator {
    fn answer(&self, own: u64, housekeeping: u64, headers: &HeaderMap) -> Response {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let format = Format::accepted_by(header(header::ACCEPT));
        let gzip = header(header::ACCEPT_ENCODING).contains("gzip");
        let body = self.body(BodyKey { own, housekeeping, format, gzip });
        let mut response = ([(header::CONTENT_TYPE, format.content_type())], body).into_response();
        if gzip {
            response.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
        }
        response
    }

    /// The body of this tick, made once however many scrapers ask for it.
    fn body(&self, key: BodyKey) -> Bytes {
        let tick = u64::try_from(self.started.elapsed().as_nanos() / self.tick.as_nanos().max(1)).unwrap_or(u64::MAX);
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = bodies.get(&key).filter(|cached| cached.tick == tick) {
            return cached.bytes.clone();
        }
        let plain = body::text(key.own, key.housekeeping, tick, key.format);
        let bytes = if key.gzip { misbehaviour::gzip(plain.as_bytes()) } else { plain.into() };
        if bodies.len() >= CACHED_BODIES {
            bodies.clear();
        }
        bodies.insert(key, CachedBody { tick, bytes: bytes.clone() });
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start() -> SocketAddr {
        // Another test of this process may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, service(10_045, Duration::from_secs(3600), Duration::ZERO)).await });
        address
    }

    fn samples(text: &str) -> usize {
        text.lines().filter(|line| !line.starts_with('#')).count()
    }

    async fn get_with(url: String, name: &str, value: &str) -> reqwest::Response {
        reqwest::Client::new().get(url).header(name, value).send().await.unwrap()
    }

    #[tokio::test]
    async fn serves_exactly_the_series_and_remembers_who_asked() {
        let address = start().await;
        let answer = get_with(format!("http://{address}/metrics"), "user-agent", "Prometheus/3").await;
        assert_eq!(answer.headers()["content-type"], Format::Text.content_type());
        assert_eq!(samples(&answer.text().await.unwrap()), 10_045);
        let exact = get_with(format!("http://{address}/series/77"), "accept", "application/openmetrics-text;version=1.0.0").await;
        assert_eq!(exact.headers()["content-type"], Format::OpenMetrics.content_type());
        assert_eq!(samples(&exact.text().await.unwrap()), 77);

        let record: Vec<Scrape> = reqwest::get(format!("http://{address}/scrapes")).await.unwrap().json().await.unwrap();
        let seen: Vec<(&str, &str)> = record.iter().map(|s| (s.path.as_str(), s.user_agent.as_str())).collect();
        assert_eq!(seen, [("/metrics", "Prometheus/3"), ("/series/77", "")]);
        assert!(record.iter().all(|scrape| scrape.scraper.is_loopback()));
    }

    #[tokio::test]
    async fn compresses_when_asked_to() {
        let address = start().await;
        let answer = get_with(format!("http://{address}/series/1000"), "accept-encoding", "gzip").await;
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let compressed = answer.bytes().await.unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*compressed), &mut text).unwrap();
        assert_eq!(samples(&text), 1000);
    }

    #[tokio::test]
    async fn misbehaves() {
        let address = start().await;
        let url = |path: &str| format!("http://{address}{path}");
        let mut endless = reqwest::get(url("/endless")).await.unwrap();
        let mut received = 0;
        while received < 64 << 20 {
            received += endless.chunk().await.unwrap().unwrap().len();
        }
        let garbage = reqwest::get(url("/garbage")).await.unwrap();
        assert_eq!(garbage.status(), 200);
        assert!(garbage.text().await.unwrap().len() > 1 << 20);
        assert_eq!(reqwest::get(url("/bomb")).await.unwrap().headers()["content-encoding"], "gzip");
        let hang = tokio::time::timeout(Duration::from_millis(200), reqwest::get(url("/hang"))).await;
        assert!(hang.is_err(), "answered");
        let slow = tokio::time::timeout(Duration::from_millis(200), reqwest::get(url("/slow?delay=1h"))).await;
        assert!(slow.is_err(), "answered");
        for (path, status) in [("/slow?delay=0", 200), ("/slow?delay=x", 400), ("/series/99999999999", 400), ("/other", 404)] {
            assert_eq!(reqwest::get(url(path)).await.unwrap().status(), status, "{path}");
        }
    }
}
