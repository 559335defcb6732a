//! Metrics: a registry with the process' own figures, and their text form.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};

use crate::{build_info::BuildInfo, process_metrics::ProcessCollector};

/// Metrics of one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<RwLock<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry that holds the `process_*` figures, and what the process was built from if that was
    /// [declared](BuildInfo::declare).
    pub fn new() -> Self {
        let mut registry = Registry::default();
        if let Some(info) = BuildInfo::declared() {
            info.register(&mut registry);
        }
        registry.register_collector(Box::new(ProcessCollector));
        Metrics(Arc::new(RwLock::new(registry)))
    }

    /// Adds metrics. Counters are registered without `_total`, which their text form adds.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The text form: OpenMetrics where asked for, else Prometheus' own.
    pub fn respond(&self, request_headers: &HeaderMap) -> Response {
        let mut text = String::new();
        let encoded =
            prometheus_client::encoding::text::encode(&mut text, &self.0.read().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = encoded {
            return (axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("encode metrics: {error}\n")).into_response();
        }
        let open_metrics = request_headers
            .get_all(header::ACCEPT)
            .iter()
            .any(|accept| accept.to_str().is_ok_and(|a| a.contains("application/openmetrics-text")));
        let content_type = if open_metrics {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            text = to_prometheus_text(&text);
            "text/plain; version=0.0.4; charset=utf-8"
        };
        ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], text).into_response()
    }
}

/// OpenMetrics names a counter's family without `_total`, the older format with it, and knows neither
/// `# UNIT` nor `# EOF`.
fn to_prometheus_text(open_metrics: &str) -> String {
    let mut counters: Vec<&str> = Vec::new();
    for line in open_metrics.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")) {
            counters.push(name);
        }
    }
    let mut out = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let metadata = line.strip_prefix("# TYPE ").map(|rest| ("# TYPE ", rest));
        let metadata = metadata.or_else(|| line.strip_prefix("# HELP ").map(|rest| ("# HELP ", rest)));
        match metadata.and_then(|(keyword, rest)| rest.split_once(' ').map(|(name, rest)| (keyword, name, rest))) {
            Some((keyword, name, rest)) => {
                let suffix = if counters.contains(&name) { "_total" } else { "" };
                let rest = if keyword == "# TYPE " && rest == "unknown" { "untyped" } else { rest };
                out.push_str(&format!("{keyword}{name}{suffix} {rest}\n"));
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// Duration of API requests by route and status code.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    durations: Family<RequestLabels, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    path: String,
    code: String,
}

fn request_buckets() -> Histogram {
    Histogram::new([0.01, 0.1, 0.3, 0.5, 1.0, 3.0, 5.0, 10.0])
}

impl HttpMetrics {
    /// Registers `<name>` (for example `kvass_sidecar_http_request_duration_seconds`).
    pub fn register(registry: &mut Registry, name: &str) -> Self {
        let durations = Family::new_with_constructor(request_buckets as fn() -> Histogram);
        registry.register(name, "Duration of API requests", durations.clone());
        HttpMetrics { durations }
    }

    /// Axum middleware (`middleware::from_fn_with_state`) that measures every request of a known route.
    pub async fn observe(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
        let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
        let start = Instant::now();
        let response = next.run(request).await;
        // Paths of unknown routes are a stranger's choice: no label for them.
        if let Some(path) = route {
            let labels = RequestLabels { path, code: response.status().as_u16().to_string() };
            metrics.durations.get_or_create(&labels).observe(start.elapsed().as_secs_f64());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

    use super::*;

    #[tokio::test]
    async fn both_text_forms() {
        let metrics = Metrics::new();
        metrics.register(|registry| {
            registry.register("kvass_things", "Things seen", Counter::<u64>::default());
            registry.register("kvass_targets_total", "Targets", Gauge::<i64>::default());
        });
        let body = async |accept: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            let bytes = axum::body::to_bytes(metrics.respond(&headers).into_body(), 1 << 20).await.unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        let plain = body(None).await;
        for line in [
            "# TYPE kvass_things_total counter",
            "kvass_things_total 0",
            "# TYPE kvass_targets_total gauge",
            "kvass_targets_total 0",
        ] {
            assert!(plain.lines().any(|l| l == line), "{line}\nnot in\n{plain}");
        }
        assert!(!plain.contains("# EOF"));
        assert!(plain.contains("\nprocess_resident_memory_bytes "), "{plain}");
        assert!(body(Some("application/openmetrics-text;version=1.0.0")).await.ends_with("# EOF\n"));
    }
}
