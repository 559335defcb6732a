//! The files that a configuration names.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use kvass_config::{Config, FilePurpose, NamedFile, Place, ScrapeConfig, Survey, parse_target_groups};
use kvass_discovery::resolve;
use kvass_model::{ADDRESS_LABEL, PrometheusLine, TargetGroup};
use kvass_service::glob;

/// What was seen of the files.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// What makes the configuration unusable.
    pub(super) faults: Vec<String>,
    /// What Prometheus waits for.
    pub(super) missing: Vec<String>,
}

pub(super) fn look(config: &Config, survey: &Survey, line: PrometheusLine) -> Looked {
    let mut looked = Looked::default();
    for file in &survey.files {
        let is_pattern = file.path.contains('*') && file.purpose != FilePurpose::Credential;
        match file.purpose {
            // Prometheus makes it.
            FilePurpose::Log => {}
            FilePurpose::Targets => target_files(file, job_of(config, survey, &file.place), line, &mut looked),
            FilePurpose::Rules | FilePurpose::Jobs if is_pattern => {}
            FilePurpose::Rules | FilePurpose::Jobs | FilePurpose::Credential => {
                if let Err(error) = fs::File::open(&file.path).and_then(is_file) {
                    looked.faults.push(fault(file, &error));
                }
            }
        }
    }
    looked
}

fn is_file(file: fs::File) -> io::Result<()> {
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
}

fn fault(file: &NamedFile, error: &io::Error) -> String {
    format!("{}: {:?}: expected a file that can be read: {error}", file.place, file.path)
}

/// The job that names something at this place.
fn job_of<'a>(config: &'a Config, survey: &Survey, place: &Place) -> Option<&'a Arc<ScrapeConfig>> {
    let is_part_of = |section: &Place| {
        section.file == place.file && place.key.strip_prefix(&section.key).is_some_and(|rest| rest.starts_with('['))
    };
    let keys = survey.jobs.iter().find(|keys| keys.keys.iter().any(|(_, section)| is_part_of(section)))?;
    config.job(&keys.job)
}

/// Files of targets may come later, but what is there has to be right. Without a job they are those of an Alertmanager.
fn target_files(file: &NamedFile, job: Option<&Arc<ScrapeConfig>>, line: PrometheusLine, looked: &mut Looked) {
    let found = glob(&file.path).unwrap_or_default();
    if found.is_empty() {
        looked.missing.push(format!("{}: {:?}: no such file yet, so there are no targets of it", file.place, file.path));
    }
    for path in found {
        match fs::read_to_string(&path) {
            Ok(text) => match parse_target_groups(&text, &path, line) {
                Ok(groups) => looked.faults.extend(job.map(|job| bad_targets(&path, groups, job, line)).unwrap_or_default()),
                Err(error) => looked.faults.push(error.to_string()),
            },
            Err(error) => looked.faults.push(fault(&NamedFile { path: display(&path), ..file.clone() }, &error)),
        }
    }
}

/// Targets of a file that cannot be scraped, whatever they are called in the end. Prometheus leaves them out, promtool
/// refuses them.
fn bad_targets(path: &Path, groups: Vec<TargetGroup>, job: &Arc<ScrapeConfig>, line: PrometheusLine) -> Vec<String> {
    let groups: Vec<_> = groups.into_iter().map(Arc::new).collect();
    let failed = resolve(job, &groups, line).failed;
    let fault = |address: Option<&str>, error| {
        format!("{}: job {}: {:?}: {error}", path.display(), job.job_name, address.unwrap_or_default())
    };
    failed.iter().map(|target| fault(target.discovered.get(ADDRESS_LABEL), &target.error)).collect()
}

fn display(path: &Path) -> String {
    PathBuf::from(path).display().to_string()
}

/// Whether users other than owner and group may read the file.
pub(super) fn others_may_read(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}
