//! The requests to an agent.

use std::{collections::BTreeMap, time::Duration};

use ::http::HeaderName;
use kvass_config::{ConsulSdConfig, Secret, SecretSource};
use serde::{Deserialize, de::DeserializeOwned};
use url::form_urlencoded;

use super::service::Instance;
use crate::{
    api::{Api, masked, wrap},
    manager::DiscoveryOptions,
    refresh::RefreshError,
    text::path_segment,
};

/// How long a query without news may wait for some.
const WAIT: Duration = Duration::from_secs(120);
/// The longest time a query takes; an agent adds up to a sixteenth to the wait.
const TIMEOUT: Duration = Duration::from_secs(135);
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-consul-token");

/// An agent and what every request to it says.
#[derive(Debug)]
pub(super) struct Agent {
    api: Api,
    /// `dc`, `ns`, `partition`, as far as they are configured.
    everywhere: Vec<(&'static str, String)>,
    /// What watches add: `stale`, `node-meta`.
    watching: Vec<(&'static str, String)>,
}

/// What a blocking query brought.
#[derive(Debug)]
pub(super) struct Answer<T> {
    /// To be given to the next query; 0 when the agent told none.
    pub(super) index: u64,
    pub(super) content: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Oneself {
    config: OneselfConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OneselfConfig {
    datacenter: String,
}

impl Agent {
    /// `env` looks up environment variables: those of Consul's own tools stand in for what the section leaves out, as in
    /// Prometheus.
    pub(super) fn new(
        config: &ConsulSdConfig,
        options: &DiscoveryOptions,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, RefreshError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let mut api = match Place::of(config) {
            Place::Url(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                let problem = format!("{}: expected http, https or unix as the scheme of the server", masked(&url));
                return Err(RefreshError::Other(problem));
            }
            Place::Socket(path) => Api::at_socket(path, TIMEOUT),
            Place::Url(url) => Api::new(url, &config.http, TIMEOUT, options)?,
        };
        let token = config.token.clone().map(SecretSource::Inline);
        let token = token
            .or_else(|| env("CONSUL_HTTP_TOKEN_FILE").map(|path| SecretSource::File(path.into())))
            .or_else(|| env("CONSUL_HTTP_TOKEN").map(|token| SecretSource::Inline(Secret::new(token))));
        if let Some(token) = token {
            api = api.with_token(TOKEN_HEADER, "", token);
        }
        let or_env = |text: &String, name| Some(text.clone()).filter(|text| !text.is_empty()).or_else(|| env(name));
        let everywhere = [
            ("dc", Some(config.datacenter.clone()).filter(|dc| !dc.is_empty())),
            ("ns", or_env(&config.namespace, "CONSUL_NAMESPACE")),
            ("partition", or_env(&config.partition, "CONSUL_PARTITION")),
        ];
        let everywhere = everywhere.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let mut watching: Vec<(&'static str, String)> = Vec::new();
        if config.allow_stale {
            watching.push(("stale", String::new()));
        }
        watching.extend(config.node_meta.iter().map(|(key, value)| ("node-meta", format!("{key}:{value}"))));
        Ok(Agent { api, everywhere, watching })
    }

    /// The data centre that the agent belongs to.
    pub(super) async fn datacenter(&self) -> Result<String, RefreshError> {
        let oneself: Oneself = self.api.json(&self.path("/v1/agent/self", &[])).await?;
        Ok(oneself.config.datacenter)
    }

    /// The services and their tags, as soon as the index differs.
    pub(super) async fn services(&self, index: u64, filter: &str) -> Result<Answer<BTreeMap<String, Vec<String>>>, RefreshError> {
        let answer: Answer<Option<BTreeMap<String, Option<Vec<String>>>>> =
            self.watch("/v1/catalog/services", index, filter, &[]).await?;
        let services = answer.content.into_iter().flatten().map(|(name, tags)| (name, tags.unwrap_or_default())).collect();
        Ok(Answer { index: answer.index, content: services })
    }

    /// The instances of a service that have all the tags, as soon as the index differs.
    pub(super) async fn instances(
        &self,
        service: &str,
        tags: &[String],
        index: u64,
        filter: &str,
    ) -> Result<Answer<Vec<Instance>>, RefreshError> {
        let path = format!("/v1/health/service/{}", path_segment(service));
        let answer: Answer<Option<Vec<Instance>>> = self.watch(&path, index, filter, tags).await?;
        Ok(Answer { index: answer.index, content: answer.content.unwrap_or_default() })
    }

    async fn watch<T: DeserializeOwned>(
        &self,
        path: &str,
        index: u64,
        filter: &str,
        tags: &[String],
    ) -> Result<Answer<T>, RefreshError> {
        let mut more = self.watching.clone();
        if index > 0 {
            more.push(("index", index.to_string()));
        }
        more.push(("wait", format!("{}ms", WAIT.as_millis())));
        if !filter.is_empty() {
            more.push(("filter", filter.to_owned()));
        }
        more.extend(tags.iter().map(|tag| ("tag", tag.clone())));
        let reply = self.api.get(&self.path(path, &more)).await?;
        let content = reply.json().map_err(|error| wrap("GET", path, error))?;
        Ok(Answer { index: reply.header("x-consul-index").parse().unwrap_or(0), content })
    }

    fn path(&self, path: &str, more: &[(&'static str, String)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.everywhere.iter().chain(more));
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }
}

/// The index of the next query. One that went backwards means that the agent lost its state, and has to be forgotten.
pub(super) fn next_index(last: u64, answered: u64) -> u64 {
    if answered < last { 0 } else { answered }
}

/// Where an agent listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Url(String),
    Socket(String),
}

impl Place {
    pub(super) fn of(config: &ConsulSdConfig) -> Place {
        let prefixed = |scheme: &str, server: &str| {
            let prefix = config.path_prefix.trim_matches('/');
            let slash = if prefix.is_empty() { "" } else { "/" };
            Place::Url(format!("{scheme}://{server}{slash}{prefix}"))
        };
        match config.server.split_once("://") {
            Some(("unix", path)) => Place::Socket(path.to_owned()),
            Some((scheme, rest)) => {
                let scheme = if scheme == "http" { &config.scheme } else { scheme };
                match rest.split_once('/') {
                    // A path in the server's URL stands for the prefix.
                    Some((server, path)) => Place::Url(format!("{scheme}://{server}/{path}")),
                    None => prefixed(scheme, rest),
                }
            }
            None => prefixed(if config.scheme.is_empty() { "http" } else { &config.scheme }, &config.server),
        }
    }

    /// The place, without the password it may hold.
    pub(super) fn shown(&self) -> String {
        match self {
            Place::Url(url) => masked(url),
            Place::Socket(path) => format!("unix://{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use kvass_config::SdConfig;

    use super::*;

    fn config(section: &str) -> ConsulSdConfig {
        let text = format!("scrape_configs: [{{job_name: j, consul_sd_configs: [{{{section}}}]}}]");
        let context = kvass_config::LoadContext {
            path: "p.yml".into(),
            line: kvass_model::PrometheusLine::V3,
            env: &|_| None,
            read_glob: &|_| Ok(Vec::new()),
        };
        match &kvass_config::Config::parse(&text, &context).unwrap().jobs()[0].service_discovery[..] {
            [SdConfig::Consul(config)] => config.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn places() {
        for (section, expected) in [
            ("", "http://localhost:8500"),
            ("server: 'c:1', scheme: https", "https://c:1"),
            ("server: 'c:1', path_prefix: /a/b/", "http://c:1/a/b"),
            ("server: 'https://c'", "https://c"),
            ("server: 'http://c', scheme: https", "https://c"),
            ("server: 'https://u:p@c/x', path_prefix: y", "https://u:xxxxx@c/x"),
            ("server: 'unix:///run/consul.sock'", "unix:///run/consul.sock"),
            ("server: 'ftp://c'", "ftp://c"),
        ] {
            assert_eq!(Place::of(&config(section)).shown(), expected, "{section}");
        }
    }

    #[test]
    fn the_environment_stands_in() {
        let options = DiscoveryOptions {
            keep_alive: true,
            scrape_proxy: None,
            http2: true,
            dns: Default::default(),
            environment: Default::default(),
            delegate: None,
            max_loss: None,
        };
        let env = |name: &str| Some(format!("<{name}>"));
        let agent = |section: &str| Agent::new(&config(section), &options, &env).unwrap();
        assert_eq!(agent("").path("/x", &[]), "/x?ns=%3CCONSUL_NAMESPACE%3E&partition=%3CCONSUL_PARTITION%3E");
        assert_eq!(agent("namespace: n, partition: p, datacenter: d").path("/x", &[]), "/x?dc=d&ns=n&partition=p");
        let shown = format!("{:?} {:?}", agent(""), agent("token: t0ken"));
        assert!(shown.contains("CONSUL_HTTP_TOKEN_FILE") && !shown.contains("t0ken"), "{shown}");
        let refused = Agent::new(&config("server: 'ftp://u:s3cret@c'"), &options, &env).unwrap_err().to_string();
        assert!(refused.contains("ftp://u:xxxxx@c/: expected http"), "{refused}");
    }
}
