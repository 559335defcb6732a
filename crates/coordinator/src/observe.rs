//! Reading shards: what each holds, how full it is, which configuration it runs. Every shard is read by a
//! task of its own; a cycle waits for them only so long, and a shard that did not answer the last time
//! does not make it wait at all. Nothing here decides.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kvass_api::{ClientError, RuntimeInfo, ShardClient, UpdateConfig, UpdateTargets};
use kvass_config::{Config, PrometheusRelease, hash_of_text};
use kvass_model::{ScrapeStatus, TargetHash};
use kvass_service::config_file::chain;
use serde::Deserialize;

use crate::leader::Term;

/// What one shard answered.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Its targets, or why it could not be read at all.
    pub(crate) targets: Result<BTreeMap<TargetHash, ScrapeStatus>, String>,
    /// Its load, or why that cannot be had (its Prometheus is down).
    pub(crate) runtime: Option<Result<RuntimeInfo, String>>,
    /// Which configuration it runs.
    pub(crate) config: ConfigVerdict,
    /// Which Prometheus it runs, if that was asked and answered.
    pub(crate) release: Option<PrometheusRelease>,
    /// The list last pushed to it, if that was asked and answered; `None` within where it keeps none.
    pub(crate) assigned: Option<Option<UpdateTargets>>,
    /// Its stop-scraping reason, if that was asked and answered.
    pub(crate) stop_reason: Option<String>,
    /// It was sent the configuration.
    pub(crate) pushed_config: bool,
}

impl Reading {
    fn new(targets: Result<BTreeMap<TargetHash, ScrapeStatus>, String>) -> Self {
        Reading {
            targets,
            runtime: None,
            config: ConfigVerdict::Unknown,
            release: None,
            assigned: None,
            stop_reason: None,
            pushed_config: false,
        }
    }
}

/// How a shard's configuration compares with the coordinator's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ConfigVerdict {
    /// Not read.
    #[default]
    Unknown,
    /// The same.
    Same {
        /// The hash the shard reports, where it is not of our making.
        foreign: Option<String>,
    },
    /// Another one; the shard's hash.
    Different(String),
    /// The shard has none at all: it scrapes nothing, whatever its list says.
    Missing,
}

/// What to ask a shard besides its targets and load.
#[derive(Clone, Debug)]
pub(crate) struct Questions {
    /// The configuration to compare with.
    pub(crate) config: Arc<Config>,
    /// A foreign hash already found to mean this configuration on this shard.
    pub(crate) known_foreign: Option<String>,
    /// Ask which Prometheus it runs.
    pub(crate) release: bool,
    /// Ask for the list last pushed to it.
    pub(crate) assigned: bool,
    /// Ask for its stop-scraping reason.
    pub(crate) stop_reason: bool,
    /// Push the configuration if it differs (not to shards known to have a file of their own, and not without
    /// a term of office).
    pub(crate) push_config: Option<Term>,
}

/// Longest a single read of a shard may take, in the background.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads one shard.
pub(crate) async fn read(client: ShardClient, questions: Questions) -> Reading {
    let targets = match client.target_status().await {
        Ok(targets) => targets,
        Err(error) => return Reading::new(Err(chain(&error))),
    };
    let runtime = client.runtime_info().await;
    let mut reading = Reading::new(Ok(targets));
    match runtime {
        Ok(mut runtime) => {
            reading.config = compare(&client, &runtime, &questions).await;
            if matches!(reading.config, ConfigVerdict::Different(_) | ConfigVerdict::Missing)
                && let Some(term) = &questions.push_config
                && let Some(taken) = term.carry_out(push_config(&client, &questions.config)).await
                && {
                    reading.pushed_config = true;
                    taken
                }
                && let Ok(after) = client.runtime_info().await
            {
                reading.config = compare(&client, &after, &questions).await;
                runtime = after;
            }
            reading.runtime = Some(Ok(runtime));
        }
        Err(error) => reading.runtime = Some(Err(chain(&error))),
    }
    if questions.release {
        reading.release = prometheus_release(&client).await;
    }
    if questions.assigned {
        // Only sidecars of this port know the list. Another error says nothing: the shard is asked again.
        reading.assigned = match client.assigned().await {
            Ok(list) => Some(Some(list)),
            Err(error) if error.is_not_found() => Some(None),
            Err(_) => None,
        };
    }
    if questions.stop_reason {
        let extra: Result<kvass_api::ExtraConfigAnswer, ClientError> = client.get("/api/v1/status/extra_config/").await;
        reading.stop_reason = extra.ok().and_then(|answer| answer.config()).map(|config| config.stop_scrape_reason);
    }
    reading
}

/// Hashes of our own making are compared as they are. Any other hash says nothing by itself: the shard's
/// configuration text is fetched once and compared.
async fn compare(client: &ShardClient, runtime: &RuntimeInfo, questions: &Questions) -> ConfigVerdict {
    let theirs = &runtime.config_hash;
    let ours = questions.config.hash();
    if theirs == ours.as_str() {
        return ConfigVerdict::Same { foreign: None };
    }
    if questions.known_foreign.as_ref() == Some(theirs) {
        return ConfigVerdict::Same { foreign: Some(theirs.clone()) };
    }
    if theirs.is_empty() {
        return ConfigVerdict::Missing;
    }
    if theirs.starts_with("k1-") {
        return ConfigVerdict::Different(theirs.clone());
    }
    let text = match client.config().await {
        Ok(raw) => raw.yaml,
        Err(_) => return ConfigVerdict::Different(theirs.clone()),
    };
    let same = hash_of_text(&text).is_ok_and(|theirs| theirs == *questions.config.text_hash());
    if same { ConfigVerdict::Same { foreign: Some(theirs.clone()) } } else { ConfigVerdict::Different(theirs.clone()) }
}

async fn push_config(client: &ShardClient, config: &Config) -> bool {
    match client.update_config(&UpdateConfig { raw_content: config.text().to_owned() }).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(shard = client.base(), error = %chain(&error), "configuration not taken");
            false
        }
    }
}

#[derive(Deserialize)]
struct BuildInfo {
    version: String,
}

async fn prometheus_release(client: &ShardClient) -> Option<PrometheusRelease> {
    let build: BuildInfo = match client.get("/api/v1/status/buildinfo").await {
        Ok(build) => build,
        // vmagent, which logs a warning each time.
        Err(ClientError::Refused { status, .. }) if status.is_client_error() => return Some(PrometheusRelease::default()),
        Err(_) => return None,
    };
    PrometheusRelease::of_version(&build.version)
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, routing::get};
    use kvass_model::PrometheusLine;

    use super::*;

    #[tokio::test]
    async fn rules_of_a_shard() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let release = |line, knows_more| Some(PrometheusRelease { line, knows_more });
        for (status, version, expected) in [
            (StatusCode::OK, "2.42.0", release(PrometheusLine::V2, false)),
            (StatusCode::OK, "3.16.0", release(PrometheusLine::V3, false)),
            (StatusCode::OK, "3.17.0", release(PrometheusLine::V3, true)),
            (StatusCode::BAD_REQUEST, "", release(PrometheusLine::V2, false)),
            (StatusCode::SERVICE_UNAVAILABLE, "", None),
        ] {
            let body = format!(r#"{{"status":"success","data":{{"version":"{version}"}}}}"#);
            let router = Router::new().route("/api/v1/status/buildinfo", get(async move || (status, body)));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, router).await });
            let client = ShardClient::new(&url, kvass_api::http_client(Duration::from_secs(5)).unwrap());
            assert_eq!(prometheus_release(&client).await, expected, "{status} {version}");
        }
    }
}
