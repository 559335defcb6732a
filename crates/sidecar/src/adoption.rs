//! Reporting the configuration hash of a coordinator of the original Kvass, which cannot know ours: once
//! its configuration turns out to be the one in force here, its own hash is reported back to it.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use kvass_api::{RawConfig, RuntimeInfo, ShardClient, http_client};
use kvass_config::hash_of_text;
use kvass_service::config_file::chain;

use crate::shard::Shard;

const PERIOD: Duration = Duration::from_secs(5);

/// The hash to report instead of ours.
#[derive(Debug, Default)]
pub(crate) struct Adoption(ArcSwapOption<Adopted>);

#[derive(Debug, PartialEq)]
struct Adopted {
    own: String,
    theirs: String,
}

impl Adoption {
    /// The adopted hash, if it was adopted for the configuration with hash `own`.
    pub(crate) fn hash_for(&self, own: &str) -> Option<String> {
        self.0.load().as_ref().filter(|adopted| adopted.own == own).map(|adopted| adopted.theirs.clone())
    }
}

/// Asks the coordinator for ever. It may change configuration and hash at any time.
pub(crate) async fn follow(shard: Arc<Shard>, url: String) {
    let client = match http_client(Duration::from_secs(5)) {
        Ok(http) => ShardClient::new(&url, http),
        Err(error) => {
            tracing::error!(%error, "coordinator cannot be asked for its configuration hash");
            return;
        }
    };
    let mut failing = false;
    loop {
        match ask(&shard, &client).await {
            Ok(adopted) => {
                failing = false;
                let adopted = adopted.map(Arc::new);
                if shard.adoption.0.load().as_deref() != adopted.as_deref() {
                    tracing::info!(
                        hash = adopted.as_ref().map_or("", |a| &a.theirs),
                        "configuration hash of the coordinator adopted"
                    );
                    shard.adoption.0.store(adopted);
                }
            }
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(error = %chain(&error), "coordinator does not tell its configuration hash");
            }
            Err(_) => {}
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Equality is judged by the main documents: included files travel with neither of them.
async fn ask(shard: &Shard, client: &ShardClient) -> Result<Option<Adopted>, kvass_api::ClientError> {
    let info: RuntimeInfo = match client.get("/api/v1/runtimeinfo").await {
        // Before v0.3.0.
        Err(error) if error.is_not_found() => client.get("/api/v1/shard/runtimeinfo").await?,
        answer => answer?,
    };
    let theirs: RawConfig = client.get("/api/v1/status/config").await?;
    let own = shard.origin.hash();
    let Some(config) = shard.origin.current().filter(|_| !own.is_empty()) else { return Ok(None) };
    let equal = matches!((hash_of_text(&theirs.yaml), hash_of_text(config.text())), (Ok(a), Ok(b)) if a == b);
    Ok(equal.then_some(Adopted { own, theirs: info.config_hash }))
}
