//! What the flags mean: defaults that depend on other flags, old spellings, ranges, and the environment.

mod coordinator;
mod sidecar;

pub(crate) use self::{coordinator::coordinator, sidecar::sidecar};
use crate::flags::{IgnoredWords, PrometheusVersion};
use kvass_model::PrometheusLine;

/// Options, and what the user should know about the flags they came from.
#[derive(Debug)]
pub(crate) struct Meaning<T> {
    pub(crate) options: T,
    pub(crate) warnings: Vec<String>,
}

/// A flag whose value is of the right type but makes no sense.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum OptionsError {
    /// The original's words.
    #[error("{flag} can not be 0")]
    Zero { flag: &'static str },
    #[error("--{flag}={value}: expected {expected}")]
    Value { flag: &'static str, value: String, expected: &'static str },
}

/// Looks up a variable of the environment.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn variable(env: Environment<'_>, name: &str) -> Option<String> {
    env(name).and_then(non_empty)
}

/// The line asked for; `None` for either.
pub(crate) fn line(version: PrometheusVersion) -> Option<PrometheusLine> {
    match version {
        PrometheusVersion::V2 => Some(PrometheusLine::V2),
        PrometheusVersion::V3 => Some(PrometheusLine::V3),
        PrometheusVersion::Auto => None,
    }
}

/// Zero is how flags say "no limit".
fn body_size_limit(limit: u64) -> u64 {
    if limit == 0 { u64::MAX } else { limit }
}

/// A URL for an error message: what stands before an `@` may be a password.
fn without_credentials(url: &str) -> String {
    url.rsplit('@').next().unwrap_or_default().to_owned()
}

/// Manifests exist that have such words, so they are no error; but who leaves out the `=` of a boolean flag has to hear of it.
fn warn_of_ignored(words: &IgnoredWords, warnings: &mut Vec<String>) {
    for word in &words.words {
        warnings.push(format!("{word:?} is no flag and is ignored: a boolean flag takes its value after =, as in --flag=false"));
    }
}

fn required(flag: &'static str, value: String) -> Result<String, OptionsError> {
    non_empty(value).ok_or(OptionsError::Value { flag, value: String::new(), expected: "a value" })
}
