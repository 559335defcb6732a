//! The sidecar's metrics. Names and labels of the original are kept, a misspelt one included.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use kvass_service::metrics::{HttpMetrics, Metrics};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    delivery::Delivery,
    lock,
    targets::{Holding, LastSuccess, Targets},
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

/// Attempts by outcome.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Family<Success, Counter>);

impl Attempts {
    pub(crate) fn note(&self, success: bool) {
        let success = if success { "true" } else { "false" };
        self.0.get_or_create(&Success { success }).inc();
    }
}

/// Handles of everything that is counted as it happens.
#[derive(Clone, Debug)]
pub(crate) struct SidecarMetrics {
    pub(crate) registry: Metrics,
    pub(crate) http: HttpMetrics,
    pub(crate) config_inject: Attempts,
    pub(crate) targets_updated: Attempts,
    pub(crate) reloads: Attempts,
    pub(crate) proxied: Counter,
    proxy_failures: Family<Reason, Counter>,
    delivery: Family<Form, Gauge>,
    pub(crate) config_reload_ok: Gauge,
    pub(crate) prometheus_up_to_date: Gauge,
    pub(crate) inotify_fallbacks: Counter,
    pub(crate) unseen_targets: Gauge,
    pub(crate) unusable_jobs: Gauge,
    pub(crate) samples_pending: Gauge,
    pub(crate) unuploaded_blocks: Gauge,
}

impl SidecarMetrics {
    /// What is known of single targets is read from `targets` whenever metrics are asked for, so that a
    /// target's series go with it.
    pub(crate) fn new(targets: Arc<Mutex<Targets>>) -> Self {
        let registry = Metrics::new();
        let metrics = SidecarMetrics {
            http: registry.register(|r| HttpMetrics::register(r, "kvass_sidecar_http_request_duration_seconds")),
            registry,
            config_inject: Attempts::default(),
            targets_updated: Attempts::default(),
            reloads: Attempts::default(),
            proxied: Counter::default(),
            proxy_failures: Family::default(),
            delivery: Family::default(),
            config_reload_ok: Gauge::default(),
            prometheus_up_to_date: Gauge::default(),
            inotify_fallbacks: Counter::default(),
            unseen_targets: Gauge::default(),
            unusable_jobs: Gauge::default(),
            samples_pending: Gauge::default(),
            unuploaded_blocks: Gauge::default(),
        };
        metrics.registry.register(|r| {
            metrics.add_to(r);
            r.register_collector(Box::new(TargetCollector(targets)));
        });
        metrics
    }

    fn add_to(&self, r: &mut Registry) {
        // The text form appends `_total` to counters.
        r.register("kvass_sidecar_config_inject", "Attempts to write the injected configuration", self.config_inject.0.clone());
        r.register("kvass_sidecar_targets_updated", "Target lists received", self.targets_updated.0.clone());
        r.register("kvass_sidecar_prometheus_reload", "Reloads asked of Prometheus", self.reloads.0.clone());
        r.register("kvass_sidecar_proxy", "Requests to the scrape proxy", self.proxied.clone());
        r.register("kvass_sidecar_proxy_failures", "Scrapes that failed, by cause", self.proxy_failures.clone());
        let help = "1 for the form in which Prometheus gets its targets";
        r.register("kvass_sidecar_target_delivery", help, self.delivery.clone());
        let help = "Whether the last load of the user's configuration succeeded";
        r.register("kvass_sidecar_config_last_reload_successful", help, self.config_reload_ok.clone());
        let help = "Whether Prometheus has confirmed the injected configuration";
        r.register("kvass_sidecar_prometheus_up_to_date", help, self.prometheus_up_to_date.clone());
        let help = "Times target files were given up for HTTP discovery because Prometheus did not see them, which fs.inotify.max_user_instances usually is the cause of";
        r.register("kvass_sidecar_inotify_fallbacks", help, self.inotify_fallbacks.clone());
        let help = "Assigned targets that Prometheus does not list";
        r.register("kvass_sidecar_targets_unseen", help, self.unseen_targets.clone());
        let help = "Jobs whose HTTP settings no client can be built from";
        r.register("kvass_sidecar_jobs_unusable", help, self.unusable_jobs.clone());
        let help = "1 while the shard has no targets and samples that are not in the object store yet";
        r.register("kvass_sidecar_samples_pending", help, self.samples_pending.clone());
        let help = "Blocks of a shard without targets that are not in the object store yet";
        r.register("kvass_sidecar_unuploaded_blocks", help, self.unuploaded_blocks.clone());
    }

    /// A scrape failed; `reason` is one of a few words.
    pub(crate) fn proxy_failed(&self, reason: &'static str) {
        self.proxy_failures.get_or_create(&Reason { reason }).inc();
    }

    /// Shows the form of delivery.
    pub(crate) fn delivered_as(&self, delivery: Delivery) {
        for form in [Delivery::File, Delivery::Http, Delivery::Static] {
            self.delivery.get_or_create(&Form { form: form.as_str() }).set(i64::from(form == delivery));
        }
    }
}

#[derive(Debug)]
struct TargetCollector(Arc<Mutex<Targets>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct TargetLabels {
    target_job: String,
    url: String,
}

impl Collector for TargetCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (held, successes) = {
            let targets = lock(&self.0);
            (targets.len() as i64, merge(targets.successes()))
        };
        encoder
            .encode_descriptor("kvass_sidecar_targets_total", "Assigned targets", None, MetricType::Gauge)?
            .encode_gauge(&held)?;
        let help = "Series after metric relabelling at the last successful scrape";
        gauges(&mut encoder, "kvass_sidecar_proxy_target_series", help, &successes, |last| {
            i64::try_from(last.count.series).unwrap_or(i64::MAX)
        })?;
        let help = "Duration of the last successful scrape in nanoseconds, under the name of the original";
        gauges(&mut encoder, "kvass_sidecar_proxy_target_scrape_durtion", help, &successes, |last| {
            last.duration.as_nanos() as f64
        })?;
        let help = "Duration of the last successful scrape, seconds";
        gauges(&mut encoder, "kvass_sidecar_proxy_target_scrape_duration_seconds", help, &successes, |last| {
            last.duration.as_secs_f64()
        })
    }
}

fn gauges<V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    successes: &BTreeMap<TargetLabels, LastSuccess>,
    value: impl Fn(&LastSuccess) -> V,
) -> Result<(), std::fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, last) in successes {
        metric.encode_family(labels)?.encode_gauge(&value(last))?;
    }
    Ok(())
}

/// Parameters may hold secrets and are left out of the URL; targets that differ in nothing else (probes)
/// are shown as one, with the sum of their series and the longest duration.
fn merge<'a>(successes: impl Iterator<Item = (&'a Holding, LastSuccess)>) -> BTreeMap<TargetLabels, LastSuccess> {
    let mut merged: BTreeMap<TargetLabels, LastSuccess> = BTreeMap::new();
    for (holding, last) in successes {
        let labels = &holding.labels;
        let address = labels.address();
        let host = address.rsplit_once('@').map_or(address, |(_, host)| host);
        let scheme = if labels.scheme().is_empty() { "http" } else { labels.scheme() };
        let url = format!("{scheme}://{host}{}", labels.metrics_path());
        let target = TargetLabels { target_job: holding.job.to_string(), url };
        merged
            .entry(target)
            .and_modify(|sum| {
                sum.count += last.count;
                sum.duration = sum.duration.max(last.duration);
            })
            .or_insert(last);
    }
    merged
}
