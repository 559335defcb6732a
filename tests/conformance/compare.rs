//! What is compared of two answers about one configuration, and what is not.

use kvass_config::{Config, LoadContext, ScrapeConfig};
use kvass_discovery::{End, explain};
use kvass_model::PrometheusLine;

use crate::picture::{Active, Labels, Picture, differences};

/// Reads a configuration of the tests.
pub(crate) fn parse(text: &str, line: PrometheusLine) -> Result<Config, String> {
    let context = LoadContext { path: "/prometheus.yml".into(), line, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
    Config::parse(text, &context).map_err(|error| error.to_string())
}

/// One line for each difference in what can be compared.
pub(crate) fn compare(config: &Config, line: PrometheusLine, ours: &Picture, theirs: &Picture) -> Vec<String> {
    let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
    if line == PrometheusLine::V2 {
        (ours, theirs) = (without_what_is_new(ours, config), without_what_is_new(theirs, config));
    }
    with_choice_of(&ours, config, line, &mut theirs);
    differences(&ours, &theirs)
}

/// As 2.42 tells it. It says less of dropped targets; and it writes the labels that relabelling leaves over the discovered
/// ones it shows, so that these say nothing where rules change labels.
fn without_what_is_new(mut picture: Picture, config: &Config) -> Picture {
    let changes = |job: Option<&ScrapeConfig>| {
        job.is_none_or(|job| job.relabel_configs.iter().any(|rule| !is_filter(rule.rule().action.as_deref())))
    };
    let any = config.jobs().iter().any(|job| changes(Some(job)));
    picture.dropped_target_counts = None;
    for target in &mut picture.dropped_targets {
        target.scrape_pool = None;
        // Nothing else says which job it is of.
        if any {
            target.discovered_labels.clear();
        }
    }
    for target in &mut picture.active_targets {
        if changes(config.job(&target.scrape_pool).map(|job| &**job)) {
            target.discovered_labels.clear();
        }
    }
    picture.sort();
    picture
}

/// Whether an action keeps or drops and changes nothing.
fn is_filter(action: Option<&str>) -> bool {
    let filters = ["keep", "drop", "keepequal", "dropequal"];
    action.is_some_and(|action| filters.iter().any(|filter| filter.eq_ignore_ascii_case(action)))
}

/// Which of several equal targets lends its discovered labels to the list depends, in Prometheus, on the random order of the
/// groups. Where its choice was another than that of `ours`, but of one that becomes the same target, it is replaced by that.
pub(crate) fn with_choice_of(ours: &Picture, config: &Config, line: PrometheusLine, theirs: &mut Picture) {
    let key = |t: &Active| (t.scrape_pool.clone(), t.scrape_url.clone(), t.labels.clone(), t.scrape_interval.clone());
    for target in &mut theirs.active_targets {
        let Some(job) = config.job(&target.scrape_pool) else { continue };
        if ours.active_targets.contains(target) {
            continue;
        }
        let Some(choice) = ours.active_targets.iter().find(|ours| key(ours) == key(target)) else { continue };
        let end = |labels: &Labels| match explain(job, &labels.iter().collect(), false, line).end {
            End::Target(target, _) => Some((target.labels.clone(), target.url.clone())),
            _ => None,
        };
        let theirs = end(&target.discovered_labels);
        if theirs.is_some() && theirs == end(&choice.discovered_labels) {
            target.discovered_labels = choice.discovered_labels.clone();
        }
    }
    theirs.sort();
}
