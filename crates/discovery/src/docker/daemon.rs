//! The requests to a daemon.

use std::collections::BTreeMap;

use kvass_config::{DockerDaemon, HttpClientConfig};
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::{
    api::{Api, masked},
    manager::DiscoveryOptions,
    refresh::RefreshError,
};

/// The newest version of the API whose answers are known here.
const NEWEST: (u32, u32) = (1, 56);

/// A daemon and the version of its API that is spoken with it.
pub(super) struct Daemon {
    api: Api,
    /// In front of every path: `/v1.44`, or nothing for a daemon that tells no version. `None` until it was asked.
    version: Option<String>,
    /// As the daemon takes them, empty if there are none.
    filters: String,
}

impl Daemon {
    pub(super) fn new(daemon: &DockerDaemon, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let timeout = daemon.refresh_interval;
        let api = match daemon.host.split_once("://") {
            Some(("unix", path)) => Api::at_socket(path, timeout),
            // Prometheus, too, has no settings for it.
            Some(("tcp", rest)) => Api::new(format!("http://{rest}"), &HttpClientConfig::default(), timeout, options)?,
            Some(("http" | "https", _)) => Api::new(&daemon.host, &daemon.http, timeout, options)?,
            _ => {
                let host = masked(&daemon.host);
                let problem = format!("host {host:?}: expected a URL that begins with unix://, tcp://, http:// or https://");
                return Err(RefreshError::Other(problem));
            }
        };
        Ok(Daemon { api, version: None, filters: filters(&daemon.filters) })
    }

    /// What the path lists.
    pub(super) async fn list<T: DeserializeOwned>(&mut self, path: &str) -> Result<Vec<T>, RefreshError> {
        self.ask(path, "").await
    }

    /// What the path lists, as far as the section's filters let it through.
    pub(super) async fn list_filtered<T: DeserializeOwned>(&mut self, path: &str) -> Result<Vec<T>, RefreshError> {
        let query = self.filters.clone();
        self.ask(path, &query).await
    }

    async fn ask<T: DeserializeOwned>(&mut self, path: &str, query: &str) -> Result<Vec<T>, RefreshError> {
        let version = match &self.version {
            Some(version) => version.clone(),
            None => self.version.insert(spoken(self.api.any("/_ping").await?.header("api-version"))).clone(),
        };
        let answer: Result<Option<Vec<T>>, RefreshError> = self.api.json(&format!("{version}{path}{query}")).await;
        if answer.is_err() {
            // The daemon may be another one by now, which no longer speaks that version.
            self.version = None;
        }
        Ok(answer?.unwrap_or_default())
    }
}

/// The prefix for the version that both sides know.
fn spoken(version: &str) -> String {
    let numbers = version.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match numbers.map(|numbers: (u32, u32)| numbers.min(NEWEST)) {
        Some((major, minor)) => format!("/v{major}.{minor}"),
        None => String::new(),
    }
}

fn filters(filters: &[(String, Vec<String>)]) -> String {
    let mut sets: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    for (name, values) in filters {
        for value in values {
            sets.entry(name).or_default().insert(value, true);
        }
    }
    if sets.is_empty() {
        return String::new();
    }
    // Texts can always be written as JSON.
    let json = serde_json::to_string(&sets).unwrap_or_default();
    format!("?{}", form_urlencoded::Serializer::new(String::new()).append_pair("filters", &json).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (told, spoken_as) in
            [("1.44", "/v1.44"), ("1.24", "/v1.24"), ("1.99", "/v1.56"), ("2.0", "/v1.56"), ("", ""), ("x.y", ""), ("1", "")]
        {
            assert_eq!(spoken(told), spoken_as, "{told}");
        }
    }

    #[test]
    fn filters_are_sets_of_values() {
        let given = |name: &str, values: &[&str]| (name.to_owned(), values.iter().map(ToString::to_string).collect());
        assert_eq!(filters(&[]), "");
        assert_eq!(filters(&[given("status", &[])]), "");
        let filters = filters(&[given("label", &["a=b"]), given("status", &["running"]), given("label", &["c"])]);
        let json: Vec<_> = form_urlencoded::parse(&filters.as_bytes()[1..]).map(|(_, value)| value.into_owned()).collect();
        assert_eq!(json, [r#"{"label":{"a=b":true,"c":true},"status":{"running":true}}"#]);
    }
}
