//! The stop-scraping reason: set through the API, pushed to every shard, and, because the coordinator
//! keeps nothing on disk, taken over from the shards after a restart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvass_api::ExtraConfig;
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Extra {
    state: Mutex<(ExtraConfig, bool)>,
    news: Arc<Notify>,
}

impl Extra {
    pub(crate) fn new(news: Arc<Notify>) -> Self {
        Extra { state: Mutex::default(), news }
    }

    pub(crate) fn current(&self) -> ExtraConfig {
        self.lock().0.clone()
    }

    /// Whether anybody has said anything since the start.
    pub(crate) fn is_decided(&self) -> bool {
        self.lock().1
    }

    /// The operator's word.
    pub(crate) fn set(&self, config: ExtraConfig) {
        *self.lock() = (config, true);
        self.news.notify_one();
    }

    /// A shard's word, from before the restart.
    pub(crate) fn adopt(&self, stop_scrape_reason: String) {
        let mut state = self.lock();
        if !state.1 {
            tracing::warn!(reason = %stop_scrape_reason, "scraping is stopped, as shards were told before the coordinator started");
            *state = (ExtraConfig { stop_scrape_reason }, true);
        }
    }

    /// What shards say while this coordinator only observes. The leader may be told something else at any
    /// time, so nothing is decided by it.
    pub(crate) fn observe(&self, stop_scrape_reason: String) {
        *self.lock() = (ExtraConfig { stop_scrape_reason }, false);
    }

    /// Another coordinator may have been told something since: the shards are asked again.
    pub(crate) fn undecide(&self) {
        self.lock().1 = false;
    }

    /// No shard knew of a reason: there is none.
    pub(crate) fn settle(&self) {
        self.lock().1 = true;
    }

    fn lock(&self) -> MutexGuard<'_, (ExtraConfig, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
