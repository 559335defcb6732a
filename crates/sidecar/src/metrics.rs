//! The sidecar's metrics. Names and labels of the original are kept, a misspelt one included.

use std::sync::{Arc, Mutex, PoisonError};

use kvass_model::Labels;
use kvass_service::metrics::{HttpMetrics, Metrics};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge},
};

use crate::{
    delivery::Delivery,
    targets::{LastSuccess, Targets},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Success {
    success: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Form {
    form: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct TargetLabels {
    target_job: String,
    url: String,
}

/// Handles of everything counted.
#[derive(Clone, Debug)]
pub(crate) struct SidecarMetrics {
    pub(crate) registry: Metrics,
    pub(crate) http: HttpMetrics,
    config_inject: Family<Success, Counter>,
    targets_updated: Family<Success, Counter>,
    reloads: Family<Success, Counter>,
    proxy_failures: Family<Reason, Counter>,
    delivery: Family<Form, Gauge>,
    pub(crate) proxied: Counter,
    pub(crate) config_reload_ok: Gauge,
    pub(crate) prometheus_up_to_date: Gauge,
    pub(crate) inotify_fallbacks: Counter,
    pub(crate) unseen_targets: Gauge,
    pub(crate) unusable_jobs: Gauge,
}

impl SidecarMetrics {
    pub(crate) fn new(targets: Arc<Mutex<Targets>>) -> Self {
        let registry = Metrics::new();
        let mut http = None;
        let mut metrics = None;
        registry.register(|r| {
            let handles = SidecarMetrics {
                registry: registry.clone(),
                http: HttpMetrics::register(r, "kvass_sidecar_http_request_duration_seconds"),
                config_inject: Family::default(),
                targets_updated: Family::default(),
                reloads: Family::default(),
                proxy_failures: Family::default(),
                delivery: Family::default(),
                proxied: Counter::default(),
                config_reload_ok: Gauge::default(),
                prometheus_up_to_date: Gauge::default(),
                inotify_fallbacks: Counter::default(),
                unseen_targets: Gauge::default(),
                unusable_jobs: Gauge::default(),
            };
            r.register("kvass_sidecar_config_inject", "Attempts to write the injected configuration", handles.config_inject.clone());
            r.register("kvass_sidecar_targets_updated", "Target lists received", handles.targets_updated.clone());
            r.register("kvass_sidecar_prometheus_reload", "Reloads asked of Prometheus", handles.reloads.clone());
            r.register("kvass_sidecar_proxy", "Requests to the scrape proxy", handles.proxied.clone());
            r.register("kvass_sidecar_proxy_failures", "Scrapes that failed, by cause", handles.proxy_failures.clone());
            r.register(
                "kvass_sidecar_target_delivery",
                "1 for the form in which Prometheus gets its targets",
                handles.delivery.clone(),
            );
            r.register(
                "kvass_sidecar_config_last_reload_successful",
                "Whether the last load of the user's configuration succeeded",
                handles.config_reload_ok.clone(),
            );
            r.register(
                "kvass_sidecar_prometheus_up_to_date",
                "Whether Prometheus has confirmed the injected configuration",
                handles.prometheus_up_to_date.clone(),
            );
            r.register(
                "kvass_sidecar_inotify_fallbacks",
                "Times target files were given up for HTTP discovery because Prometheus did not see them (usually fs.inotify.max_user_instances)",
                handles.inotify_fallbacks.clone(),
            );
            r.register(
                "kvass_sidecar_targets_unseen",
                "Assigned targets that Prometheus does not list",
                handles.unseen_targets.clone(),
            );
            r.register(
                "kvass_sidecar_jobs_unusable",
                "Jobs whose HTTP settings no client can be built from",
                handles.unusable_jobs.clone(),
            );
            r.register_collector(Box::new(TargetCollector(targets)));
            http = Some(handles.http.clone());
            metrics = Some(handles);
        });
        todo!()
    }
}
