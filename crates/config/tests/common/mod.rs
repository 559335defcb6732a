//! Loads configurations the way the tests want them.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests end that way")]

use std::path::{Path, PathBuf};

use kvass_config::{Config, ConfigError, LoadContext};
use kvass_model::PrometheusLine;

/// Loads `text` as if it stood in `path`; every environment variable holds its own name in angle brackets.
pub(crate) fn load_as(path: &str, text: &str, line: PrometheusLine) -> Result<Config, ConfigError> {
    load_with(path, text, line, &[])
}

/// As [`load_as`]; `included` holds, per pattern of `scrape_config_files`, a file and its text.
pub(crate) fn load_with(
    path: &str,
    text: &str,
    line: PrometheusLine,
    included: &[(&str, &str, &str)],
) -> Result<Config, ConfigError> {
    let read_glob = |pattern: &str| {
        let matching = included.iter().filter(|(of, _, _)| *of == pattern);
        Ok(matching.map(|(_, file, text)| (PathBuf::from(file), (*text).to_owned())).collect())
    };
    let env = |name: &str| Some(format!("<{name}>"));
    Config::parse(text, &LoadContext { path: path.into(), line, env: &env, read_glob: &read_glob })
}

/// Loads `text` as `/etc/prometheus/prometheus.yml`, which must succeed.
#[track_caller]
pub(crate) fn load(text: &str, line: PrometheusLine) -> Config {
    match load_as("/etc/prometheus/prometheus.yml", text, line) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    }
}

/// The text of `tests/data/<name>`.
#[track_caller]
pub(crate) fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// The names of the files in `tests/data/<folder>` that end in `suffix`, without it.
pub(crate) fn names(folder: &str, suffix: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
    let entries = std::fs::read_dir(path).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(suffix)?.to_owned())).collect();
    names.sort();
    names
}
