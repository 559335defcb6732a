//! The API: the original's endpoints, a few of ours, and Prometheus behind all other paths.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use kvass_api::{ApiError, ApiResult, ExtraConfig, RawConfig, UpdateConfig, UpdateTargets, json_body, ok, ok_empty};
use kvass_service::{config_file::chain, metrics::HttpMetrics};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    delivery::json_groups, emulation::Caller, lock, pass_through, samples, shard::Shard, target_update::parse_target_list,
};

/// Path of the endpoint that Prometheus polls for a job's targets.
pub(crate) const HTTP_SD_PATH: &str = "/api/v1/shard/http_sd/";
/// A list of a hundred thousand targets is some tens of megabytes.
const MAX_BODY: usize = 256 << 20;

type Shared = State<Arc<Shard>>;

/// All routes.
pub(crate) fn router(shard: Arc<Shard>) -> Router {
    let http_metrics = shard.metrics.http.clone();
    let mut router = Router::new();
    for (path, methods) in routes() {
        router = both_forms(router, path, methods.fallback(to_prometheus));
    }
    router
        .fallback(to_prometheus)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(http_metrics, HttpMetrics::observe))
        .layer(middleware::from_fn(refuse_proxy_requests))
        .with_state(shard)
}

/// Paths of the sidecar's own endpoints, all other ones being Prometheus'.
pub const PATHS: &[&str] = &[
    "/metrics/",
    "/-/healthy/",
    "/-/ready/",
    "/-/reload/",
    "/api/v1/shard/runtimeinfo/",
    "/api/v1/shard/targets/",
    "/api/v1/shard/targets/status/",
    "/api/v1/shard/targets/assigned/",
    "/api/v1/shard/samples/",
    HTTP_SD_PATH,
    "/api/v1/status/config/",
    "/api/v1/status/extra_config/",
];

fn routes() -> Vec<(&'static str, MethodRouter<Arc<Shard>>)> {
    let handler = |path: &'static str| -> MethodRouter<Arc<Shard>> {
        match path {
            "/metrics/" => get(metrics),
            "/-/healthy/" => get(healthy),
            "/-/ready/" => get(ready),
            "/-/reload/" => post(reload).put(reload),
            "/api/v1/shard/runtimeinfo/" => get(runtime_info),
            "/api/v1/shard/targets/" => get(target_status).post(update_targets),
            "/api/v1/shard/targets/status/" => get(target_status),
            "/api/v1/shard/targets/assigned/" => get(assigned),
            "/api/v1/shard/samples/" => get(job_samples),
            "/api/v1/status/config/" => get(config).post(push_config),
            "/api/v1/status/extra_config/" => get(extra_config).post(set_extra_config),
            _ => get(http_sd),
        }
    };
    PATHS.iter().map(|path| (*path, handler(path))).collect()
}

/// With and without the final slash, without redirects.
fn both_forms(router: Router<Arc<Shard>>, path: &str, methods: MethodRouter<Arc<Shard>>) -> Router<Arc<Shard>> {
    router.route(path.trim_end_matches('/'), methods.clone()).route(path, methods)
}

/// A scrape sent to the wrong port must not be answered by a route of ours that happens to have the same
/// path. (HTTP/2 always names the host.)
async fn refuse_proxy_requests(request: Request, next: Next) -> Response {
    if request.uri().authority().is_some() && request.version() < axum::http::Version::HTTP_2 {
        let reason = "this is the API of the kvass sidecar, the scrape proxy is on --web.proxy-addr\n";
        return (StatusCode::BAD_REQUEST, reason).into_response();
    }
    next.run(request).await
}

async fn to_prometheus(State(shard): Shared, request: Request) -> Response {
    pass_through::forward(&shard.prometheus, request).await
}

async fn metrics(State(shard): Shared, headers: HeaderMap) -> Response {
    shard.note_config_state();
    shard.metrics.registry.respond(&headers)
}

async fn healthy() -> &'static str {
    "kvass sidecar is healthy\n"
}

async fn ready(State(shard): Shared) -> Response {
    let problems = shard.problems().await;
    let mut text = if problems.is_empty() { "kvass sidecar is ready\n".to_owned() } else { problems.join("\n") + "\n" };
    if problems.is_empty() {
        if let Some(error) = &shard.origin.state().error {
            text.push_str(&format!("the last good configuration is in force: {error}\n"));
        }
        if let Some(error) = shard.why_unkept() {
            text.push_str(&format!("the target list cannot be kept for the next start: {error}\n"));
        }
    }
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

async fn reload(State(shard): Shared) -> ApiResult {
    match shard.reload().await {
        Ok(()) => Ok(ok_empty()),
        Err(error) => Err(ApiError::bad_data(format_args!("reload failed: {}", chain(&error)))),
    }
}

fn caller(headers: &HeaderMap) -> Caller {
    Caller::of(headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()))
}

async fn runtime_info(State(shard): Shared, headers: HeaderMap) -> ApiResult {
    match shard.runtime_info(caller(&headers)).await {
        Ok(info) => Ok(ok(info)),
        Err(error) => Err(ApiError::internal(format_args!("get runtime from prometheus: {}", chain(&error)))),
    }
}

async fn target_status(State(shard): Shared) -> Response {
    let statuses = lock(&shard.targets).status_map();
    ok(statuses)
}

async fn assigned(State(shard): Shared) -> Response {
    let targets = lock(&shard.targets).list().clone();
    ok(UpdateTargets { targets })
}

async fn update_targets(State(shard): Shared, body: Bytes) -> ApiResult {
    let list = parse_target_list(&body).map_err(|error| ApiError::bad_data(format_args!("bind json: {error}")))?;
    let result = shard.update_targets(list).await;
    shard.metrics.targets_updated.note(result.is_ok());
    match result {
        Ok(()) => Ok(ok_empty()),
        Err(error) => Err(ApiError::internal(chain(&error))),
    }
}

async fn job_samples(State(shard): Shared, Query(query): Query<HashMap<String, String>>) -> Response {
    let job = query.get("job").map(String::as_str).unwrap_or_default();
    let mut jobs = samples::of_jobs(&shard, job);
    if query.get("with_metrics_detail").is_some_and(|wanted| wanted == "true") {
        samples::add_detail(&shard, &mut jobs).await;
    }
    ok(jobs)
}

async fn http_sd(State(shard): Shared, Query(query): Query<HashMap<String, String>>) -> Response {
    let Some(job) = query.get("job") else {
        return ApiError::bad_data("parameter job is missing: expected the name of a job").into_response();
    };
    let line = shard.line();
    let groups = {
        let targets = lock(&shard.targets);
        json_groups(job, targets.list().get(job).map(Vec::as_slice).unwrap_or_default(), line)
    };
    // Prometheus compares the content type exactly.
    ([(header::CONTENT_TYPE, "application/json")], groups).into_response()
}

async fn config(State(shard): Shared) -> ApiResult {
    match shard.origin.current() {
        Some(config) => Ok(ok(RawConfig { yaml: config.masked_text_of_shard(&shard.options.external_labels) })),
        None => Err(ApiError::internal("no configuration could be loaded yet")),
    }
}

async fn push_config(State(shard): Shared, headers: HeaderMap, body: Bytes) -> ApiResult {
    let update: UpdateConfig = object_body(&body)?;
    match shard.push_config(&update.raw_content, caller(&headers)).await {
        Ok(()) => Ok(ok_empty()),
        Err(error) => Err(ApiError::bad_data(format_args!("reload failed: {}", chain(&error)))),
    }
}

/// The document travels as text inside a string, as the original has it.
#[derive(Serialize)]
struct ExtraConfigText {
    json: String,
}

async fn extra_config(State(shard): Shared) -> ApiResult {
    let json = serde_json::to_string(&*shard.extra_config()).map_err(ApiError::internal)?;
    Ok(ok(ExtraConfigText { json }))
}

async fn set_extra_config(State(shard): Shared, body: Bytes) -> ApiResult {
    let extra: ExtraConfig = object_body(&body)?;
    match shard.set_extra_config(extra) {
        Ok(()) => Ok(ok_empty()),
        Err(error) => Err(ApiError::internal(chain(&error))),
    }
}

/// Decoders take a list for an object; no coordinator sends one.
fn object_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    match body.iter().find(|b| !b.is_ascii_whitespace()) {
        Some(b'[') => Err(ApiError::bad_data("bind json: expected an object")),
        _ => json_body(body),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;
    use crate::{DeliveryMode, Options, Sidecar};

    /// Nothing listens where Prometheus should be.
    async fn shard(folder: &std::path::Path) -> Arc<Shard> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        std::fs::write(folder.join("prometheus.yml"), "scrape_configs: [{job_name: j}]").unwrap();
        let options = Options {
            proxy_address: "127.0.0.1:0".to_owned(),
            api_address: "127.0.0.1:0".to_owned(),
            prometheus_url: "http://127.0.0.1:9".to_owned(),
            config_file: Some(folder.join("prometheus.yml")),
            output_file: folder.join("injected.yml"),
            store_path: folder.join("store"),
            legacy_target_file: None,
            inject_proxy: None,
            service_account_path: None,
            tsdb_path: None,
            fetch_head_series: true,
            keep_alive: true,
            self_monitor: false,
            pod_name: String::new(),
            scrape_proxy: None,
            http2: true,
            body_size_limit: 1 << 20,
            delivery: DeliveryMode::Static,
            external_labels: Default::default(),
            strip_rules: false,
            prometheus_version: None,
            compat_coordinator_url: None,
        };
        Sidecar::build(options).await.unwrap().into_shard()
    }

    #[tokio::test]
    async fn a_list_is_applied_though_the_coordinator_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let shard = shard(folder.path()).await;
        shard.apply().await.unwrap();
        let mut wanted = shard.wanted.subscribe();
        let list = r#"{"Targets":{"j":[{"hash":5,"labels":{"__address__":"h:1"}}]}}"#;
        // The server drops the handler when its connection ends.
        assert!(update_targets(State(Arc::clone(&shard)), Bytes::from(list)).now_or_never().is_none());
        let reload = tokio::time::timeout(
            Duration::from_secs(10),
            wanted.wait_for(|wanted| wanted.as_ref().is_some_and(|wanted| wanted.yaml.contains("h:1"))),
        );
        reload.await.expect("prometheus is to be reloaded with the new target").unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_reason_not_to_scrape_is_one_of_those_told_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let shard = shard(folder.path()).await;
        let told = (0..200).map(|number| {
            let shard = Arc::clone(&shard);
            let body = Bytes::from(format!("{{\"stopScrapeReason\":\"{}\"}}", "x".repeat(number)));
            tokio::spawn(async move { set_extra_config(State(shard), body).await.is_ok() })
        });
        let told = futures::future::join_all(told.collect::<Vec<_>>()).await;
        assert!(told.into_iter().all(|told| told.unwrap()));
        assert_eq!(shard.store.load_extra_config(), *shard.extra_config());
    }
}
