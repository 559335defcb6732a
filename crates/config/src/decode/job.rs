use std::sync::Arc;

use kvass_model::Params;

use super::{
    accept,
    global::{Globals, Limits, Names, UTF8_CONFLICT, protocols},
    http, relabel, service_discovery,
};
use crate::{ConfigError, ScrapeConfig, cursor::Cursor};

/// One entry of `scrape_configs`.
pub(crate) fn job(cursor: Cursor<'_>, globals: &Globals) -> Result<ScrapeConfig, ConfigError> {
    let job_name: Arc<str> = match cursor.non_empty("job_name") {
        Some(name) => name.into(),
        None => return Err(cursor.error_at("job_name", "is required")),
    };

    let scrape_interval = cursor.duration("scrape_interval").filter(|d| !d.is_zero()).unwrap_or(globals.scrape_interval);
    let own_timeout = cursor.duration("scrape_timeout").filter(|d| !d.is_zero());
    let scrape_timeout = own_timeout.unwrap_or(globals.scrape_timeout.min(scrape_interval));
    if scrape_timeout > scrape_interval {
        return Err(cursor.error_at("scrape_timeout", "expected at most the scrape interval"));
    }

    let [validation, escaping] =
        ["metric_name_validation_scheme", "metric_name_escaping_scheme"].map(|key| cursor.text(key).unwrap_or_default());
    let names = Names::of_job(globals, validation, escaping);
    if names.utf8_conflict() {
        return Err(cursor.error_at("metric_name_escaping_scheme", UTF8_CONFLICT));
    }

    let scrape_protocols = protocols(cursor)?.or_else(|| globals.scrape_protocols.clone());
    let scrape_native_histograms = cursor.optional_boolean("scrape_native_histograms").unwrap_or(globals.native_histograms);
    let limits = Limits::read(cursor).or(globals.limits);
    let rules = |key| relabel::rules(cursor, key, globals.line, names.scheme());
    let relabel_configs = rules("relabel_configs")?;
    let service_discovery = service_discovery::sections(cursor, relabel_configs.is_empty(), globals.line)?;
    let flag = |key, default| cursor.boolean(key).unwrap_or(default);
    let text = |key, default: &str| cursor.text(key).unwrap_or(default).to_owned();

    Ok(ScrapeConfig {
        job_name,
        honor_labels: flag("honor_labels", false),
        honor_timestamps: flag("honor_timestamps", true),
        params: params(cursor),
        scrape_interval,
        scrape_timeout,
        metrics_path: text("metrics_path", "/metrics"),
        scheme: text("scheme", "http"),
        body_size_limit: u64::try_from(limits.body_size).ok().filter(|limit| *limit > 0),
        sample_limit: limits.samples,
        target_limit: limits.targets,
        label_limit: limits.labels,
        label_name_length_limit: limits.label_name_length,
        label_value_length_limit: limits.label_value_length,
        keep_dropped_targets: limits.dropped_targets,
        enable_compression: flag("enable_compression", true),
        scrape_native_histograms,
        always_scrape_classic_histograms: cursor
            .optional_boolean("always_scrape_classic_histograms")
            .or_else(|| cursor.optional_boolean("scrape_classic_histograms"))
            .unwrap_or(globals.classic_histograms),
        convert_classic_histograms_to_nhcb: cursor
            .optional_boolean("convert_classic_histograms_to_nhcb")
            .unwrap_or(globals.classic_to_native),
        native_histogram_bucket_limit: cursor.unsigned("native_histogram_bucket_limit").unwrap_or(0),
        native_histogram_min_bucket_factor: cursor.float("native_histogram_min_bucket_factor").unwrap_or(0.0),
        accept: accept::header(globals.line, scrape_protocols.as_deref(), scrape_native_histograms, &names.escaping),
        fallback_scrape_protocol: cursor.non_empty("fallback_scrape_protocol").map(str::to_owned),
        utf8_names: names.utf8,
        relabel_configs: Arc::new(relabel_configs),
        metric_relabel_configs: Arc::new(rules("metric_relabel_configs")?),
        http: http::client(cursor)?,
        service_discovery,
    })
}

fn params(cursor: Cursor<'_>) -> Params {
    let Some(section) = cursor.get("params") else { return Params::new() };
    let values = |values: Cursor<'_>| {
        values.node().items().iter().filter_map(|item| Some(item.as_scalar()?.as_text().to_owned())).collect()
    };
    section.pairs().map(|(name, list)| (name.to_owned(), values(list))).collect()
}
