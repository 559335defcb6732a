//! Discovery by an ordinary Prometheus beside the coordinator, of mechanisms that kvass has no code for.
//!
//! The delegate gets a configuration whose jobs drop every target: it scrapes nothing, and what it dropped is what it
//! discovered. One poll serves all sections. Groups change only by what is certainly current (`currency`).

mod answer;
mod currency;
mod metrics;
mod session;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use kvass_config::{HttpClientConfig, OtherSdConfig};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use self::session::Session;
use crate::{
    api::Api,
    feed::Feed,
    loss::LONGEST_HOLD,
    manager::{DiscoveryOptions, Task},
};

/// How often the delegate is asked. It has news every five seconds.
const POLL: Duration = Duration::from_secs(5);
/// How often it is asked while it has nothing to discover.
const IDLE_POLL: Duration = Duration::from_secs(60);
/// A poll takes at most one part in so many of the time: 100,000 targets are 50 MB and seconds.
const SHARE: u32 = 10;
/// Longest time one request may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The Prometheus that discovers for the coordinator.
#[derive(Clone, Debug)]
pub struct DelegateOptions {
    /// Its base URL.
    pub url: String,
    /// The file that it reads its configuration from. Written by the coordinator, with the secrets of the sections.
    pub config_file: PathBuf,
}

/// The sections that are delegated, by digest.
type Sections = BTreeMap<String, Wanted>;

#[derive(Clone, Debug)]
struct Wanted {
    section: OtherSdConfig,
    /// Sections that differ in nothing but how they are written have feeds of their own.
    feeds: Vec<Arc<Feed>>,
}

/// Keeps the delegate busy with the sections it is given.
#[derive(Debug)]
pub(crate) struct Delegate {
    wanted: watch::Sender<Arc<Sections>>,
    task: Task,
}

impl Delegate {
    /// Has nothing to do yet. Inside a tokio runtime.
    pub(crate) fn start(options: DelegateOptions, discovery: &DiscoveryOptions) -> Self {
        let (wanted, sections) = watch::channel(Arc::default());
        Delegate { wanted, task: Task::spawn(run(options, discovery.clone(), sections)) }
    }

    /// From now on these sections are discovered, into these feeds.
    pub(crate) fn discover(&self, sections: impl Iterator<Item = (OtherSdConfig, Arc<Feed>)>) {
        let mut wanted = Sections::new();
        for (section, feed) in sections {
            feed.set_name(&section.key);
            feed.set_confirm_after(section.refresh_interval.min(LONGEST_HOLD));
            let entry = wanted.entry(section.digest()).or_insert_with(|| Wanted { section, feeds: Vec::new() });
            if !entry.feeds.iter().any(|known| Arc::ptr_eq(known, &feed)) {
                entry.feeds.push(feed);
            }
        }
        self.wanted.send_replace(Arc::new(wanted));
    }

    /// Asks no more; the delegate goes on.
    pub(crate) fn stop(&self) {
        self.task.stop();
    }
}

async fn run(options: DelegateOptions, discovery: DiscoveryOptions, mut wanted: watch::Receiver<Arc<Sections>>) {
    let mut session = None;
    loop {
        let sections = Arc::clone(&wanted.borrow_and_update());
        let started = Instant::now();
        if session.is_none() {
            match Api::new(&options.url, &HttpClientConfig::default(), TIMEOUT, &discovery) {
                Ok(api) => session = Some(Session::new(api, &options)),
                Err(error) => session::show(&sections, &|_| format!("the delegate cannot be asked: {error}")),
            }
        }
        let was_read = match &mut session {
            Some(session) => session.round(&sections).await,
            None => false,
        };
        let rhythm = if sections.is_empty() { IDLE_POLL } else { POLL };
        tokio::select! {
            () = sleep(rhythm.max(rest(started.elapsed(), was_read))) => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}

/// What a poll asks for at least before the next one. One that waited in vain has cost little.
fn rest(took: Duration, was_read: bool) -> Duration {
    let rest = took * SHARE;
    if was_read { rest } else { rest.min(IDLE_POLL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delegate_that_hangs_is_asked_again_soon() {
        assert_eq!(rest(Duration::from_secs(20), true), Duration::from_secs(200));
        assert_eq!(rest(TIMEOUT, false), IDLE_POLL);
        assert_eq!(rest(Duration::from_millis(1), false), Duration::from_millis(10));
    }
}
