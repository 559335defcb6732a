//! The coordinator's API.

mod relabel_steps;
mod samples;
mod targets;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use kvass_api::{ApiError, ApiResult, ExtraConfigAnswer, RawConfig, RuntimeInfo, json_body, ok, ok_empty};
use kvass_service::{config_file::chain, metrics::HttpMetrics};
use serde::Serialize;

use crate::{coordinator::Shared, published::ReplicaReport};

type AppState = State<Arc<Shared>>;

/// All routes. Paths exist with and without a trailing slash.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let metrics = shared.metrics.http.clone();
    let mut router = Router::new();
    for (path, route) in routes() {
        router = router.route(path, route.clone());
        router = router.route(&format!("{path}/"), route);
    }
    router
        .layer(middleware::from_fn_with_state(metrics, HttpMetrics::observe))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .with_state(shared)
}

/// Paths of the API, for the documentation's test as well.
pub const PATHS: &[&str] = &[
    "/metrics",
    "/-/healthy",
    "/-/ready",
    "/-/reload",
    "/api/v1/targets",
    "/api/v1/targets/relabel_steps",
    "/api/v1/scrape_pools",
    "/api/v1/runtimeinfo",
    "/api/v1/shard/runtimeinfo",
    "/api/v1/samples",
    "/api/v1/status/config",
    "/api/v1/status/extra_config",
    "/api/v1/coordinator/status",
];

fn routes() -> Vec<(&'static str, MethodRouter<Arc<Shared>>)> {
    let handler = |path: &'static str| -> MethodRouter<Arc<Shared>> {
        match path {
            "/metrics" => get(metrics),
            "/-/healthy" => get(async || "kvass coordinator is healthy.\n"),
            "/-/ready" => get(ready),
            "/-/reload" => post(reload).put(reload),
            "/api/v1/targets" => get(targets::targets),
            "/api/v1/targets/relabel_steps" => get(relabel_steps::relabel_steps),
            "/api/v1/scrape_pools" => get(scrape_pools),
            "/api/v1/runtimeinfo" | "/api/v1/shard/runtimeinfo" => get(runtime_info),
            "/api/v1/samples" => get(samples::samples),
            "/api/v1/status/config" => get(config),
            "/api/v1/status/extra_config" => get(extra_config).post(set_extra_config),
            _ => get(status),
        }
    };
    PATHS.iter().map(|path| (*path, handler(path))).collect()
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found").into_response()
}

async fn metrics(State(shared): AppState, headers: HeaderMap) -> Response {
    shared.metrics.config(&shared.config_file.state());
    shared.metrics.leader(shared.leadership.leads());
    shared.registry.respond(&headers)
}

/// Ready once a cycle has ended: from then on the API says something.
async fn ready(State(shared): AppState) -> Response {
    let error = shared.config_file.state().error.clone();
    if shared.config_file.current().is_none() {
        let error = error.unwrap_or_else(|| "not loaded yet".to_owned());
        return (StatusCode::SERVICE_UNAVAILABLE, format!("no configuration: {error}\n")).into_response();
    }
    if shared.published.load().at.is_none() {
        return (StatusCode::SERVICE_UNAVAILABLE, "no cycle has ended yet\n").into_response();
    }
    let mut text = "kvass coordinator is ready.\n".to_owned();
    if let Some(error) = error {
        text.push_str(&format!("the last good configuration is in force: {error}\n"));
    }
    text.into_response()
}

async fn reload(State(shared): AppState) -> ApiResult {
    shared.config_file.reload().await.map_err(|error| ApiError::bad_data(format_args!("reload failed: {}", chain(&error))))?;
    Ok(ok_empty())
}

/// The names of all jobs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScrapePools {
    scrape_pools: Vec<String>,
}

async fn scrape_pools(State(shared): AppState) -> Response {
    ok(ScrapePools { scrape_pools: shared.catalog.load().jobs.keys().map(ToString::to_string).collect() })
}

async fn runtime_info(State(shared): AppState) -> Response {
    let published = shared.published.load();
    let total = published.targets.values().map(|target| target.status.count).sum::<kvass_model::SeriesCount>();
    ok(RuntimeInfo {
        head_series: i64::try_from(total.series).unwrap_or(i64::MAX),
        process_series: i64::try_from(total.total).unwrap_or(i64::MAX),
        config_hash: shared.config_file.current().map(|config| config.hash().to_string()).unwrap_or_default(),
        idle_start_at: None,
        samples_pending: None,
    })
}

async fn config(State(shared): AppState) -> ApiResult {
    match shared.config_file.current() {
        Some(config) => Ok(ok(RawConfig { yaml: config.masked_text() })),
        None => Err(ApiError::internal("no configuration could be loaded yet")),
    }
}

async fn extra_config(State(shared): AppState) -> Response {
    ok(ExtraConfigAnswer::new(&shared.extra.current()))
}

async fn set_extra_config(State(shared): AppState, body: Bytes) -> ApiResult {
    let config: kvass_api::ExtraConfig = json_body(&body)?;
    if !shared.leadership.leads() {
        let holder = shared.leadership.holder().unwrap_or_else(|| "nobody at the moment".to_owned());
        return Err(ApiError::internal(format_args!("this coordinator is on standby; ask the leader: {holder}")));
    }
    tracing::info!(reason = %config.stop_scrape_reason, "stop-scraping reason set");
    shared.extra.set(config);
    Ok(ok_empty())
}

/// Everything an operator asks first: configuration, discovery, replicas and shards, what lacks and why.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// Whether this coordinator acts.
    leader: bool,
    /// Who holds the Lease; null without an election.
    holder: Option<String>,
    config: ConfigStatus,
    prometheus_rules: &'static str,
    jobs: Vec<JobStatus>,
    replicas: Vec<ReplicaReport>,
    unassigned: Vec<Unassigned>,
    last_cycle: Option<jiff::Timestamp>,
    last_error: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigStatus {
    file: String,
    hash: String,
    /// Unix seconds.
    last_success: Option<f64>,
    error: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobStatus {
    job: String,
    active: usize,
    retained: usize,
    dropped: usize,
    failed: usize,
    complete: bool,
    target_limit_exceeded: Option<u64>,
    errors: Vec<String>,
    unsupported: Vec<String>,
    held: Vec<String>,
}

#[derive(Serialize)]
struct Unassigned {
    hash: u64,
    job: String,
    url: String,
    reason: String,
}

#[derive(serde::Deserialize)]
struct StatusQuery {
    /// Longest list of unassigned targets.
    limit: Option<usize>,
}

async fn status(State(shared): AppState, Query(query): Query<StatusQuery>) -> Response {
    let (catalog, published, state) = (shared.catalog.load(), shared.published.load(), shared.config_file.state());
    let jobs = catalog.jobs.iter().map(|(name, job)| JobStatus {
        job: name.to_string(),
        active: job.active.len(),
        retained: job.retained,
        dropped: job.dropped_total,
        failed: job.failed.len(),
        complete: job.complete,
        target_limit_exceeded: job.over_limit,
        errors: job.errors.clone(),
        unsupported: job.unsupported.clone(),
        held: job.held.iter().map(ToString::to_string).collect(),
    });
    let unassigned = published.targets.iter().filter_map(|(hash, known)| {
        let target = catalog.targets.get(hash)?;
        let reason = known.unassigned.clone()?;
        Some(Unassigned { hash: hash.0, job: target.job.to_string(), url: target.url.clone(), reason })
    });
    ok(Status {
        leader: shared.leadership.leads(),
        holder: shared.leadership.holder(),
        config: ConfigStatus {
            file: shared.config_file.path().display().to_string(),
            hash: shared.config_file.current().map(|config| config.hash().to_string()).unwrap_or_default(),
            last_success: state
                .last_success
                .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
                .map(|time| time.as_secs_f64()),
            error: state.error.clone(),
        },
        prometheus_rules: if catalog.line == kvass_model::PrometheusLine::V3 { "3.x" } else { "2.x" },
        jobs: jobs.collect(),
        replicas: published.replicas.clone(),
        unassigned: unassigned.take(query.limit.unwrap_or(100)).collect(),
        last_cycle: published.at,
        last_error: published.error.clone(),
    })
}
