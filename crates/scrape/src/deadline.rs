use std::future::Future;

use tokio::time::{Instant, timeout_at};

use crate::{Phase, ScrapeError};

/// The time one request may take, over all its hops and its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    start: Instant,
    end: Instant,
}

impl Deadline {
    /// A request that starts now.
    pub(crate) fn until(end: Instant) -> Self {
        Deadline { start: Instant::now(), end }
    }

    /// Runs `work`, unless the deadline passes first.
    pub(crate) async fn limit<T>(&self, phase: Phase, work: impl Future<Output = T>) -> Result<T, ScrapeError> {
        self.check(phase)?;
        timeout_at(self.end, work).await.map_err(|_| self.error(phase))
    }

    /// Fails once the deadline has passed. `timeout_at` alone never does while data is always ready.
    pub(crate) fn check(&self, phase: Phase) -> Result<(), ScrapeError> {
        if Instant::now() >= self.end { Err(self.error(phase)) } else { Ok(()) }
    }

    pub(crate) fn error(&self, phase: Phase) -> ScrapeError {
        ScrapeError::Timeout { phase, after: self.start.elapsed() }
    }
}
