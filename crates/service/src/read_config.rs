//! From files, or texts that were files, to a configuration.

use std::{
    cell::RefCell,
    io,
    path::{Path, PathBuf},
};

use kvass_config::{Config, ConfigError, LoadContext, PrometheusRelease};
use kvass_model::PrometheusLine;

use crate::{
    glob::{glob, matches_path},
    operator_config::{Expanded, text_of},
};

/// Paths and texts of files.
pub(crate) type Files = Vec<(PathBuf, String)>;

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is not a valid configuration.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

/// What was read, good or bad. A file that cannot be read counts as empty.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// Patterns of included files.
    pub(crate) patterns: Vec<String>,
    /// The main file, then the included ones.
    pub(crate) files: Files,
    /// References `$(NAME)` in files of the Prometheus Operator for which the environment has no value.
    pub(crate) unresolved: Vec<String>,
}

/// Loads a configuration once, for commands that do not follow the file.
pub fn load_once(path: &Path, line: PrometheusLine) -> Result<Config, LoadError> {
    read_and_parse(path, PrometheusRelease { line, knows_more: false }).1
}

/// Loads a configuration from a text that did not come from a file of ours; relative paths in it are
/// resolved as if it stood at `path`.
pub fn parse_text(text: &str, path: &Path, release: PrometheusRelease) -> Result<Config, LoadError> {
    parse(text, path, release, &read_included)
}

/// Loads a configuration from files that were good before: the main one, then those it includes. Keys that are not known
/// here were known to the Prometheus that took them.
pub(crate) fn parse_kept(files: &Files, line: PrometheusLine) -> Result<Config, LoadError> {
    let Some((path, text)) = files.first() else {
        return Err(LoadError::Read { path: PathBuf::new(), source: io::ErrorKind::NotFound.into() });
    };
    let included = |pattern: &str| {
        let matching = files.iter().skip(1).filter(|(path, _)| path.to_str().is_some_and(|path| matches_path(pattern, path)));
        Ok(matching.cloned().collect())
    };
    parse(text, path, PrometheusRelease { line, knows_more: true }, &included)
}

/// An error and its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Some libraries repeat their cause's text in their own.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

pub(crate) fn read_and_parse(path: &Path, release: PrometheusRelease) -> (Attempt, Result<Config, LoadError>) {
    let read = read(path);
    let unresolved = read.as_ref().map(|read| read.unresolved.clone()).unwrap_or_default();
    let text = read.map(|read| read.text);
    let main = (path.to_owned(), text.as_deref().unwrap_or_default().to_owned());
    let attempt = RefCell::new(Attempt { patterns: Vec::new(), files: vec![main], unresolved });
    let included = |pattern: &str| {
        attempt.borrow_mut().patterns.push(pattern.to_owned());
        let mut files = Files::new();
        for path in glob(pattern)? {
            let text = read_text(&path);
            attempt.borrow_mut().files.push((path.clone(), text.as_deref().unwrap_or_default().to_owned()));
            files.push((path, text?));
        }
        Ok(files)
    };
    let result = text
        .map_err(|source| LoadError::Read { path: path.to_owned(), source })
        .and_then(|text| parse(&text, path, release, &included));
    (attempt.into_inner(), result)
}

fn parse(
    text: &str,
    path: &Path,
    release: PrometheusRelease,
    read_glob: &dyn Fn(&str) -> io::Result<Files>,
) -> Result<Config, LoadError> {
    let context = LoadContext {
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        line: release.line,
        env: &|name| std::env::var(name).ok(),
        read_glob,
    };
    let parse = if release.knows_more { Config::parse_with_unknown_keys } else { Config::parse };
    Ok(parse(text, &context)?)
}

fn read_included(pattern: &str) -> io::Result<Files> {
    glob(pattern)?.into_iter().map(|path| Ok((path.clone(), read_text(&path)?))).collect()
}

/// What a load would read, for comparison with what one has read.
pub(crate) fn read_again(path: &Path, patterns: &[String]) -> Files {
    let included = patterns.iter().flat_map(|pattern| glob(pattern).unwrap_or_default());
    std::iter::once(path.to_owned()).chain(included).map(|path| (path.clone(), read_text(&path).unwrap_or_default())).collect()
}

fn read_text(path: &Path) -> io::Result<String> {
    Ok(read(path)?.text)
}

fn read(path: &Path) -> io::Result<Expanded> {
    text_of(std::fs::read(path)?, &|name| std::env::var(name).ok())
}
