//! `kvass check config`: each file is judged as promtool judges it, and described.

use std::{path::Path, sync::Arc};

use kvass_config::{Config, StaticTarget, Survey};
use kvass_discovery::resolve;
use kvass_model::{PrometheusLine, TargetGroup};
use kvass_service::{LoadError, config_file::chain};

use super::{Accepted, advice, files, load, text};
use crate::flags::CheckConfigFlags;

/// What to say of all files.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// For people, in lines.
    pub(super) notes: Vec<String>,
    /// One a line, each with file, line, key, value and what was expected.
    pub(super) errors: Vec<String>,
}

pub(super) fn check(flags: &CheckConfigFlags) -> Report {
    let mut report = Report::default();
    for file in &flags.files {
        let path = Path::new(file);
        let Accepted { config, line, only } = match load(path, flags.prometheus_version) {
            Ok(accepted) => accepted,
            Err(error) => {
                report.errors.push(text(&error));
                if let LoadError::Invalid(error) = &error {
                    report.errors.extend(error.further().iter().map(|further| chain(further)));
                }
                continue;
            }
        };
        let survey = config.survey();
        let mut faults = static_targets(&config, &survey, line);
        let mut missing = Vec::new();
        if !flags.syntax_only.0 {
            let looked = files::look(&config, &survey, line);
            faults.extend(looked.faults);
            missing = looked.missing;
        }
        let verdict = if faults.is_empty() { "good" } else { "refused" };
        report.notes.push(format!("{file}: {verdict} by the rules of Prometheus {}", rules(line)));
        report.errors.append(&mut faults);
        let only = only.map(|error| format!("Prometheus {} refuses it: {}", rules(other(line)), text(&error)));
        let advice = only.into_iter().chain(missing).chain(advice::advice(&config, &survey, files::others_may_read(path)));
        report.notes.extend(advice::shards_get(&config, &survey).into_iter().map(|note| format!("  {note}")));
        report.notes.extend(advice.map(|note| format!("  advice: {note}")));
    }
    report
}

fn rules(line: PrometheusLine) -> &'static str {
    if line == PrometheusLine::V3 { "3.x" } else { "2.x" }
}

fn other(line: PrometheusLine) -> PrometheusLine {
    if line == PrometheusLine::V3 { PrometheusLine::V2 } else { PrometheusLine::V3 }
}

/// Static targets that cannot be scraped, whatever they are called in the end. Prometheus itself takes them, promtool not.
fn static_targets(config: &Config, survey: &Survey, line: PrometheusLine) -> Vec<String> {
    let fault = |place: &StaticTarget| {
        let job = config.job(&place.job)?;
        let groups = job.service_discovery.iter().find_map(|section| match section {
            kvass_config::SdConfig::Static(groups) => Some(groups),
            _ => None,
        })?;
        let group = groups.get(place.group)?;
        let target = group.targets.get(place.target)?;
        // Not a copy of the group, which may have very many targets.
        let alone = TargetGroup { source: group.source.clone(), targets: vec![target.clone()], labels: group.labels.clone() };
        let resolved = resolve(job, &[Arc::new(alone)], line);
        let failed = resolved.failed.first()?;
        Some(format!("{}: {:?}: {}", place.place, target.address(), failed.error))
    };
    survey.static_targets.iter().filter_map(fault).collect()
}
