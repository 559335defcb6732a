use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
};

/// Why a configuration is refused: where, what was found there, and what was expected.
///
/// Shown as `prometheus.yml:17:9: scrape_configs[2].relabel_configs[0].action: "repalce": expected …`.
/// Values of secrets are never part of it.
#[derive(Debug)]
pub struct ConfigError {
    place: Box<Place>,
    value: Option<String>,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    further: Vec<ConfigError>,
}

#[derive(Debug)]
struct Place {
    file: PathBuf,
    line: usize,
    column: usize,
    key: String,
}

impl ConfigError {
    pub(crate) fn new(file: &Path, line: usize, column: usize, message: impl Into<String>) -> Self {
        let place = Place { file: file.to_owned(), line, column, key: String::new() };
        ConfigError { place: Box::new(place), value: None, message: message.into(), source: None, further: Vec::new() }
    }

    /// The first of several, which knows the others; none if there is none.
    pub(crate) fn first_of(mut errors: impl Iterator<Item = ConfigError>) -> Option<ConfigError> {
        let mut first = errors.next()?;
        first.further.extend(errors);
        Some(first)
    }

    pub(crate) fn with_key(mut self, key: impl Into<String>) -> Self {
        self.place.key = key.into();
        self
    }

    pub(crate) fn moved_to(mut self, line: usize, column: usize) -> Self {
        (self.place.line, self.place.column) = (line, column);
        self
    }

    pub(crate) fn with_value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    pub(crate) fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The file at fault: the main one or one named by `scrape_config_files`.
    pub fn file(&self) -> &Path {
        &self.place.file
    }

    /// Line, counted from 1; 0 when the fault is not in one place.
    pub fn line(&self) -> usize {
        self.place.line
    }

    /// Column in characters, counted from 1; 0 when the fault is not in one place.
    pub fn column(&self) -> usize {
        self.place.column
    }

    /// Path of the key at fault, for example `scrape_configs[2].job_name`; empty for faults of the YAML itself.
    pub fn key(&self) -> &str {
        &self.place.key
    }

    /// The offending value, if the fault is a value and the value may be shown.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// What else is wrong with the same document, in its order, as far as it was read: unknown keys do not end that.
    pub fn further(&self) -> &[ConfigError] {
        &self.further
    }

    /// What was expected.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, column, key } = &*self.place;
        write!(f, "{}:", file.display())?;
        if *line > 0 {
            write!(f, "{line}:{column}:")?;
        }
        if !key.is_empty() {
            write!(f, " {key}:")?;
        }
        if let Some(value) = &self.value {
            write!(f, " {value:?}:")?;
        }
        write!(f, " {}", self.message)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
