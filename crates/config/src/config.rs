use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use kvass_model::{Labels, PrometheusLine};

use crate::{ConfigError, ConfigHash, Injection, ScrapeConfig, hash_of_text};

/// What [`Config::parse`] needs to know or ask besides the text.
pub struct LoadContext<'a> {
    /// The main file: names it in errors, and its folder resolves relative paths.
    pub path: PathBuf,
    /// Whose rules apply.
    pub line: PrometheusLine,
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Expands one pattern of `scrape_config_files` and reads the files.
    pub read_glob: &'a dyn Fn(&str) -> std::io::Result<Vec<(PathBuf, String)>>,
}

/// A loaded configuration; immutable.
#[derive(Debug)]
pub struct Config {
    text: String,
    path: PathBuf,
    hash: ConfigHash,
    external_labels: Labels,
    jobs: Vec<Arc<ScrapeConfig>>,
    warnings: Vec<String>,
    files: Vec<PathBuf>,
}

impl Config {
    /// Loads a configuration.
    pub fn parse(text: &str, context: &LoadContext<'_>) -> Result<Config, ConfigError> {
        Ok(Config {
            text: text.to_owned(),
            path: context.path.clone(),
            hash: hash_of_text(text)?,
            external_labels: Labels::default(),
            jobs: Vec::new(),
            warnings: Vec::new(),
            files: vec![context.path.clone()],
        })
    }
    /// The text as given.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// The document without secrets.
    pub fn masked_text(&self) -> String {
        String::new()
    }
    /// The main file.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Digest of everything but external labels.
    pub fn hash(&self) -> &ConfigHash {
        &self.hash
    }
    /// `global.external_labels`, environment references expanded.
    pub fn external_labels(&self) -> &Labels {
        &self.external_labels
    }
    /// All jobs in file order.
    pub fn jobs(&self) -> &[Arc<ScrapeConfig>] {
        &self.jobs
    }
    /// The job of that name.
    pub fn job(&self, name: &str) -> Option<&Arc<ScrapeConfig>> {
        self.jobs.iter().find(|job| &*job.job_name == name)
    }
    /// What the user should know although the configuration is usable.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
    /// Files and folders to be watched.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
    /// The document for a shard's Prometheus.
    pub fn inject(&self, _injection: &Injection) -> String {
        String::new()
    }
}
