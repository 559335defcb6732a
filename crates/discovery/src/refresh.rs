//! The rhythm of mechanisms that are asked again and again.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use kvass_model::TargetGroup;
use kvass_scrape::{ClientError, ScrapeError};
use tokio::time::{Instant, sleep_until};

use crate::{
    feed::Feed,
    loss::{CONFIRM_AFTER, LONGEST_HOLD},
};

/// Why a refresh brought no groups. The texts are for operators and hold no secrets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefreshError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Transport(#[from] ScrapeError),
    #[error("server returned HTTP status {status}: expected {expected}")]
    Status { status: ::http::StatusCode, expected: &'static str },
    #[error("content type {0:?}: expected \"application/json\" with no charset but utf-8")]
    ContentType(String),
    /// A body of another form.
    #[error("{0}")]
    Body(String),
    /// A service said no, with a code of its own, which may be empty.
    #[error("{what}: {status}{}{code}", if .code.is_empty() { "" } else { ", " })]
    Refused { what: String, status: ::http::StatusCode, code: String },
    /// What went wrong in a request of several.
    #[error("{request}: {error}")]
    Request { request: String, error: Box<RefreshError> },
    #[error("{0}")]
    Other(String),
}

impl RefreshError {
    /// The status that was answered instead of the one expected.
    pub(crate) fn status(&self) -> Option<::http::StatusCode> {
        match self {
            RefreshError::Status { status, .. } | RefreshError::Refused { status, .. } => Some(*status),
            RefreshError::Request { error, .. } => error.status(),
            _ => None,
        }
    }
}

/// What one refresh found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The groups that exist; all others are gone, but for those of `failed`.
    pub(crate) groups: Vec<TargetGroup>,
    /// Sources of which nothing could be learnt this time, and why: their groups stay.
    pub(crate) failed: Vec<(String, RefreshError)>,
}

impl From<Vec<TargetGroup>> for Findings {
    fn from(groups: Vec<TargetGroup>) -> Self {
        Findings { groups, failed: Vec::new() }
    }
}

impl From<TargetGroup> for Findings {
    fn from(group: TargetGroup) -> Self {
        vec![group].into()
    }
}

/// A way to learn target groups by asking.
pub(crate) trait Mechanism: Send + Sized {
    /// Asks once. Bounded in time by the mechanism itself.
    fn refresh(&mut self) -> impl Future<Output = Result<Findings, RefreshError>> + Send;
}

/// Asks at once and then in the rhythm of `interval`, for ever. A failed refresh keeps the previous groups and is
/// shown under `name`, which must hold no secret. What cannot be set up is tried again in the same rhythm, because
/// files may turn up. Where a read is not believed, a further one comes within a minute.
pub(crate) async fn run<M: Mechanism>(
    name: String,
    interval: Duration,
    set_up: impl Fn() -> Result<M, RefreshError> + Send,
    feed: Arc<Feed>,
) {
    feed.set_name(&name);
    // Reads may take time, so two of them may follow each other a bit faster than the interval says.
    feed.set_confirm_after(interval.clamp(CONFIRM_AFTER * 2, LONGEST_HOLD) / 2);
    let mut mechanism = None;
    let mut known = BTreeSet::new();
    loop {
        let started = Instant::now();
        let found = match &mut mechanism {
            Some(mechanism) => M::refresh(mechanism).await,
            None => match set_up() {
                Ok(ready) => mechanism.insert(ready).refresh().await,
                Err(error) => Err(error),
            },
        };
        match found {
            Ok(findings) => publish(findings, &name, &mut known, &feed),
            Err(error) => {
                tracing::warn!(section = name, %error, "discovery failed, its previous targets stay");
                feed.set_errors(vec![format!("{name}: {error}")]);
            }
        }
        let pause = if feed.holds() { interval.min(LONGEST_HOLD) } else { interval };
        sleep_until(started + pause).await;
    }
}

/// `known` holds the sources that were ever learnt of.
fn publish(findings: Findings, name: &str, known: &mut BTreeSet<String>, feed: &Feed) {
    let Findings { groups, failed } = findings;
    known.extend(groups.iter().map(|group| group.source.clone()));
    let complete = failed.iter().all(|(source, _)| known.contains(source));
    for (_, error) in &failed {
        tracing::warn!(section = name, %error, "discovery failed in part, the previous targets of that part stay");
    }
    feed.set_errors(failed.iter().map(|(_, error)| format!("{name}: {error}")).collect());
    let kept = failed.iter().map(|(source, _)| source.as_str()).collect();
    feed.replace_but(&kept, groups, complete);
}

#[cfg(test)]
mod tests {
    use kvass_model::Labels;
    use tokio::{sync::Notify, time::timeout};

    use super::*;

    fn group(source: &str, addresses: &[&str]) -> TargetGroup {
        let targets = addresses.iter().map(|address| Labels::from([("__address__", *address)])).collect();
        TargetGroup { source: source.to_owned(), targets, labels: Labels::default() }
    }

    fn other(text: &str) -> RefreshError {
        RefreshError::Other(text.to_owned())
    }

    #[test]
    fn parts_that_fail_keep_their_groups_and_complete_nothing_until_known() {
        let feed = Feed::new(Arc::new(Notify::new()));
        let mut known = BTreeSet::new();
        let mut publish = |groups, failed: &[&str]| {
            let failed = failed.iter().map(|source| ((*source).to_owned(), other("no answer"))).collect();
            publish(Findings { groups, failed }, "x_sd_configs", &mut known, &feed);
            let state = feed.lock();
            (state.groups.keys().cloned().collect::<Vec<_>>().join(" "), state.delivered, state.errors.len())
        };
        assert_eq!(publish(vec![group("a", &["a:1"])], &["b"]), ("a".to_owned(), false, 1), "b was never known");
        assert_eq!(publish(vec![group("b", &["b:1"])], &["a"]), ("a b".to_owned(), true, 1));
        assert_eq!(publish(vec![group("a", &["a:1"]), group("b", &[])], &[]), ("a".to_owned(), true, 0));
        assert_eq!(publish(vec![], &["a", "b"]), ("a".to_owned(), true, 2));
    }

    /// Fails to be set up once, then once to be read.
    struct Reluctant(u32);

    impl Mechanism for Reluctant {
        async fn refresh(&mut self) -> Result<Findings, RefreshError> {
            self.0 += 1;
            match self.0 {
                2 => Err(other("second")),
                n => Ok(group("s", &[&format!("t:{n}")]).into()),
            }
        }
    }

    #[tokio::test]
    async fn the_rhythm_is_kept_whatever_fails() {
        let changed = Arc::new(Notify::new());
        let feed = Feed::new(Arc::clone(&changed));
        let attempts = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let set_up = move || match attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Err(other("first")),
            _ => Ok(Reluctant(0)),
        };
        let started = Instant::now();
        let task = tokio::spawn(run("x".to_owned(), Duration::from_millis(20), set_up, Arc::clone(&feed)));
        let mut seen = Vec::new();
        while seen.len() < 4 {
            timeout(Duration::from_secs(60), changed.notified()).await.unwrap();
            let state = feed.lock();
            let addresses: Vec<_> =
                state.groups.values().flat_map(|g| g.targets.iter().map(|t| t.address().to_owned())).collect();
            seen.push((addresses.join(" "), state.errors.join(" ")));
            // One change may be told twice.
            seen.dedup();
        }
        task.abort();
        assert!(started.elapsed() >= Duration::from_millis(60), "nothing hurries the next refresh");
        let expected = [("", "x: first"), ("t:1", ""), ("t:1", "x: second"), ("t:3", "")];
        let expected = expected.map(|(targets, errors)| (targets.to_owned(), errors.to_owned()));
        assert_eq!(seen, expected);
    }
}
