//! The files that a configuration names.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use kvass_config::{FilePurpose, NamedFile, Survey, parse_target_groups};
use kvass_model::PrometheusLine;
use kvass_service::glob;

/// What was seen of the files.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// What makes the configuration unusable.
    pub(super) faults: Vec<String>,
    /// What Prometheus waits for.
    pub(super) missing: Vec<String>,
}

pub(super) fn look(survey: &Survey, line: PrometheusLine) -> Looked {
    let mut looked = Looked::default();
    for file in &survey.files {
        let is_pattern = file.path.contains('*') && file.purpose != FilePurpose::Credential;
        match file.purpose {
            // Prometheus makes it.
            FilePurpose::Log => {}
            FilePurpose::Targets => target_files(file, line, &mut looked),
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

/// Files of targets may come later, but what is there has to be right.
fn target_files(file: &NamedFile, line: PrometheusLine, looked: &mut Looked) {
    let found = glob(&file.path).unwrap_or_default();
    if found.is_empty() {
        looked.missing.push(format!("{}: {:?}: no such file yet, so there are no targets of it", file.place, file.path));
    }
    for path in found {
        match fs::read_to_string(&path) {
            Ok(text) => looked.faults.extend(parse_target_groups(&text, &path, line).err().map(|error| error.to_string())),
            Err(error) => looked.faults.push(fault(&NamedFile { path: display(&path), ..file.clone() }, &error)),
        }
    }
}

fn display(path: &Path) -> String {
    PathBuf::from(path).display().to_string()
}

/// Whether users other than owner and group may read the file.
pub(super) fn others_may_read(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}
