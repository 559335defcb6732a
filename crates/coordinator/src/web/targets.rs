//! `GET /api/v1/targets`: Prometheus' endpoint, for all shards, with size and shards of each target.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use axum::extract::{RawQuery, State};
use jiff::Timestamp;
use kvass_api::{ApiError, ApiResult, ok};
use kvass_config::ScrapeConfig;
use kvass_model::{Health, Labels, SCRAPE_INTERVAL_LABEL, SCRAPE_TIMEOUT_LABEL, Target, format_prometheus_duration};
use kvass_relabel::GoRegex;
use serde::Serialize;

use crate::{
    catalog::{Catalog, JobTargets},
    coordinator::Shared,
    published::Published,
};

#[derive(Debug, Default)]
struct Filter {
    active: bool,
    dropped: bool,
    /// `scrapePool`; empty means every one.
    pool: String,
    statistics: Statistics,
    jobs: Vec<GoRegex>,
    health: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Statistics {
    #[default]
    Without,
    With,
    Only,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    active_targets: Vec<ActiveTarget>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    active_statistics: Vec<JobStatistics>,
    dropped_targets: Vec<DroppedTarget>,
    /// Of every job, whichever are shown and however many of their dropped targets are kept; null where no dropped targets
    /// are asked for.
    dropped_target_counts: Option<BTreeMap<String, usize>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActiveTarget {
    discovered_labels: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    scrape_pool: String,
    scrape_url: String,
    global_url: String,
    last_error: String,
    last_scrape: String,
    last_scrape_duration: f64,
    health: &'static str,
    scrape_interval: String,
    scrape_timeout: String,
    /// Decimal: a number of JSON would lose digits.
    hash: String,
    series: u64,
    total_series: u64,
    /// Null while no shard holds the target.
    shards: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unassigned_reason: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DroppedTarget {
    discovered_labels: BTreeMap<String, String>,
    scrape_pool: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct JobStatistics {
    job_name: String,
    total: usize,
    health: BTreeMap<&'static str, usize>,
}

pub(super) async fn targets(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> ApiResult {
    let filter = Filter::parse(query.as_deref().unwrap_or_default())?;
    Ok(ok(answer(&filter, &shared.catalog.load(), &shared.published.load())))
}

impl Filter {
    fn parse(query: &str) -> Result<Filter, ApiError> {
        let pairs = form_pairs(query);
        let state = first(&pairs, "state").to_lowercase();
        let mut filter = Filter {
            active: matches!(state.as_str(), "" | "any" | "active"),
            dropped: matches!(state.as_str(), "" | "any" | "dropped"),
            pool: first(&pairs, "scrapePool").to_owned(),
            statistics: match first(&pairs, "statistics") {
                "" => Statistics::Without,
                "with" => Statistics::With,
                "only" => Statistics::Only,
                value => return Err(ApiError::bad_data(format_args!("statistics: {value:?}: expected with or only"))),
            },
            ..Filter::default()
        };
        for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "job" => {
                    let regex = GoRegex::unanchored(value)
                        .map_err(|error| ApiError::bad_data(format_args!("job: {value:?}: {error}")))?;
                    filter.jobs.push(regex);
                }
                "health" => {
                    filter.health.insert(value.clone());
                }
                _ => {}
            }
        }
        Ok(filter)
    }

    fn shows_pool(&self, job: &str) -> bool {
        self.pool.is_empty() || self.pool == job
    }

    fn shows_job(&self, job: &str) -> bool {
        self.jobs.is_empty() || self.jobs.iter().any(|regex| regex.is_match(job))
    }
}

fn answer(filter: &Filter, catalog: &Catalog, published: &Published) -> Answer {
    let counts = || catalog.jobs.iter().map(|(name, job)| (name.to_string(), job.dropped_total)).collect();
    let mut answer = Answer {
        active_targets: Vec::new(),
        active_statistics: Vec::new(),
        dropped_targets: Vec::new(),
        dropped_target_counts: filter.dropped.then(counts),
    };
    let lists = filter.statistics != Statistics::Only;
    for (name, job) in catalog.jobs.iter().filter(|(name, _)| filter.shows_pool(name)) {
        // Statistics are of all states, as the original's.
        if filter.shows_job(name) && (filter.active || filter.statistics != Statistics::Without) {
            let mut health: BTreeMap<&'static str, usize> = BTreeMap::new();
            for target in &job.active {
                let shown = active_target(job, target, published);
                *health.entry(shown.health).or_default() += 1;
                if lists && filter.active && (filter.health.is_empty() || filter.health.contains(shown.health)) {
                    answer.active_targets.push(shown);
                }
            }
            // A job without targets is told from one whose discovery has not delivered yet.
            if filter.statistics != Statistics::Without && (job.complete || !job.active.is_empty()) {
                answer.active_statistics.push(JobStatistics { job_name: name.to_string(), total: job.active.len(), health });
            }
        }
        if filter.dropped && lists {
            let dropped = job.dropped.labels();
            answer
                .dropped_targets
                .extend(dropped.map(|labels| DroppedTarget { discovered_labels: map(&labels), scrape_pool: name.to_string() }));
        }
    }
    answer
}

fn active_target(job: &JobTargets, target: &Target, published: &Published) -> ActiveTarget {
    let known = published.targets.get(&target.hash).cloned().unwrap_or_default();
    let mut status = known.status;
    if let Some(found) = job.over_limit {
        status.health = Health::Down;
        status.last_error = format!("target_limit exceeded (number of targets: {found}, limit: {})", job.config.target_limit);
    }
    ActiveTarget {
        discovered_labels: map(&target.discovered),
        labels: map(&target.public_labels()),
        scrape_pool: target.job.to_string(),
        scrape_url: target.url.clone(),
        global_url: target.url.clone(),
        last_error: status.last_error,
        last_scrape: status.last_scrape.as_ref().map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), Timestamp::to_string),
        last_scrape_duration: status.last_scrape_duration.as_secs_f64(),
        health: status.health.as_str(),
        scrape_interval: interval_text(target, &job.config),
        scrape_timeout: timeout_text(target, &job.config),
        hash: target.hash.to_string(),
        series: status.count.series,
        total_series: status.count.total,
        shards: (!known.shards.is_empty()).then_some(known.shards),
        unassigned_reason: known.unassigned,
    }
}

/// The interval as Prometheus shows it: the text of the label, which a target has where it differs from the job's.
pub(super) fn interval_text(target: &Target, job: &ScrapeConfig) -> String {
    setting_text(target, SCRAPE_INTERVAL_LABEL, job.scrape_interval)
}

/// The timeout, in the same way.
pub(super) fn timeout_text(target: &Target, job: &ScrapeConfig) -> String {
    setting_text(target, SCRAPE_TIMEOUT_LABEL, job.scrape_timeout)
}

fn setting_text(target: &Target, label: &str, of_job: Duration) -> String {
    target.labels.get(label).map_or_else(|| format_prometheus_duration(of_job), str::to_owned)
}

pub(super) fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The pairs of a query string; malformed escapes stay as they are.
pub(super) fn form_pairs(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The first value of that name, as Go takes it; empty if there is none.
pub(super) fn first<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    pairs.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let filter = Filter::parse("state=active&job=^a&job=b%24&health=up&health=down&statistics=with").unwrap();
        assert!(filter.active && !filter.dropped);
        assert_eq!(filter.statistics, Statistics::With);
        assert_eq!(["abc", "xb", "xbx", "c"].map(|job| filter.shows_job(job)), [true, true, false, false]);
        assert!(filter.health.contains("down"));

        let first = Filter::parse("state=Dropped&state=active&scrapePool=a&scrapePool=b").unwrap();
        assert!(first.dropped && !first.active, "the first of repeated parameters counts");
        assert_eq!(["a", "ab", "b"].map(|pool| first.shows_pool(pool)), [true, false, false]);
        assert!(Filter::parse("scrapePool=").unwrap().shows_pool("any"));

        let none = Filter::parse("state=bogus").unwrap();
        assert!(!none.active && !none.dropped);
        assert!(Filter::parse("statistics=yes").is_err());
        assert!(Filter::parse("job=(").is_err());
        let all = Filter::parse("").unwrap();
        assert!(all.active && all.dropped && all.shows_job("any"));
    }
}
