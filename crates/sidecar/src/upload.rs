//! What a shard without targets does so that its samples outlive it, where there is an object store.
//!
//! A Thanos sidecar uploads blocks, and the head of a Prometheus that scrapes nothing never becomes one: its
//! last hours would go with the volume. So once the shard is empty its Prometheus makes a snapshot, head
//! included, and of that the block made of the head is moved into the data folder, where it is found and
//! uploaded. Then nothing is pending, and the coordinator may remove the shard.
//!
//! The block goes again as soon as it is uploaded, or targets return: the head still has its samples, and
//! at its next compaction Prometheus would merge the two into a block that is not uploaded.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use kvass_config::Config;
use kvass_service::config_file::chain;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::{
    lock,
    prometheus::PrometheusError,
    shard::Shard,
    store::StoreError,
    tsdb::{Tsdb, TsdbError},
};

/// How often targets and data folder are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The longest pause after a failure: a snapshot that failed half-way may have left something behind.
const LAST_RETRY: Duration = Duration::from_secs(300);
/// Targets leave Prometheus within this time after they left the list.
const LEAVING: Duration = Duration::from_secs(15);
/// The longest wait for the last samples.
const LONGEST_SETTLING: Duration = Duration::from_secs(900);

/// What became of the head when the shard was last emptied. Kept in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HeadBlock {
    /// Start of the idle time in which a snapshot was made.
    idle_since: Option<Timestamp>,
    /// The snapshot, while it may be there.
    snapshot: Option<String>,
    /// The block made of the head, while it may be in the data folder.
    block: Option<String>,
    /// Start of the Prometheus that runs since before the block came: its head holds the same samples. One
    /// that started later has read the block, and left out of its head what is there.
    prometheus: String,
}

/// What is next to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The shard has targets.
    Nothing,
    /// Its last samples may still come.
    Settle,
    /// The head becomes a block of a snapshot.
    Snapshot,
    /// That block goes to the data folder, and the snapshot away.
    TakeIn,
    /// What an earlier idle time left behind goes away.
    Retract,
    /// The uploads are waited for.
    Look,
}

impl HeadBlock {
    fn next(&self, idle_since: Option<Timestamp>, now: Timestamp, settling: Duration) -> Step {
        if self.idle_since != idle_since && (self.snapshot.is_some() || self.block.is_some()) {
            return Step::Retract;
        }
        match idle_since {
            None => Step::Nothing,
            Some(_) if self.idle_since == idle_since => {
                if self.snapshot.is_some() {
                    Step::TakeIn
                } else {
                    Step::Look
                }
            }
            Some(since) => {
                let settled = Duration::try_from(now.duration_since(since)).is_ok_and(|idle| idle >= settling);
                if settled { Step::Snapshot } else { Step::Settle }
            }
        }
    }
}

/// How long after the last target left its last samples, stale markers among them, may come: Prometheus
/// writes those after two intervals.
fn settling(config: Option<&Config>) -> Duration {
    let jobs = config.into_iter().flat_map(Config::jobs);
    let longest = jobs.map(|job| job.scrape_interval).max().unwrap_or_default();
    longest.saturating_mul(3).saturating_add(LEAVING).min(LONGEST_SETTLING)
}

/// What is known of the upload of samples.
#[derive(Debug)]
pub(crate) struct Upload {
    tsdb: Tsdb,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    idle_since: Option<Timestamp>,
    pending: Option<String>,
}

impl Upload {
    pub(crate) fn new(folder: &Path) -> Self {
        Upload { tsdb: Tsdb::new(folder), known: Mutex::default() }
    }

    /// What is left to do for a shard without targets since `idle_since`; `None` when all its samples are
    /// uploaded, and while it has targets.
    pub(crate) fn pending(&self, idle_since: Option<Timestamp>) -> Option<String> {
        idle_since?;
        let known = lock(&self.known);
        if known.idle_since == idle_since { known.pending.clone() } else { Some(FRESH.to_owned()) }
    }
}

/// What is pending before anything was done.
const FRESH: &str = "the head of prometheus is not a block yet";

#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("prometheus makes no snapshot, it needs --web.enable-admin-api")]
    AdminDisabled(#[source] PrometheusError),
    #[error(transparent)]
    Prometheus(PrometheusError),
    #[error(transparent)]
    Tsdb(#[from] TsdbError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PrometheusError> for UploadError {
    fn from(error: PrometheusError) -> Self {
        match &error {
            PrometheusError::Refused { text, .. } if text.contains("admin API") => UploadError::AdminDisabled(error),
            _ => UploadError::Prometheus(error),
        }
    }
}

/// Sees to the samples whenever the shard is without targets, for ever.
pub(crate) async fn follow(shard: Arc<Shard>) {
    let Some(upload) = &shard.upload else { return };
    let mut head = shard.store.load_head_block();
    let mut reported = None;
    let mut pause = LOOK;
    loop {
        let idle_since = lock(&shard.targets).idle_at();
        let result = step(&shard, &upload.tsdb, &mut head, idle_since).await;
        pause = if result.is_ok() { LOOK } else { (pause * 2).min(LAST_RETRY) };
        let (problem, pending) = match result {
            Ok(pending) => (None, pending),
            Err(error) => (Some(chain(&error)), Some(chain(&error))),
        };
        if problem != reported {
            if let Some(error) = &problem {
                tracing::warn!(%error, "samples of a shard without targets cannot be handed to the object store, trying again");
            }
            reported = problem;
        }
        shard.metrics.samples_pending.set(i64::from(idle_since.is_some() && pending.is_some()));
        {
            let mut known = lock(&upload.known);
            let done = idle_since.is_some() && pending.is_none();
            if done && (known.idle_since != idle_since || known.pending.is_some()) {
                tracing::info!("all samples of a shard without targets are in the object store");
            }
            *known = Known { idle_since, pending };
        }
        sleep(pause).await;
    }
}

/// Does what is next, as often as something can be done at once; what is pending then.
async fn step(
    shard: &Shard,
    tsdb: &Tsdb,
    head: &mut HeadBlock,
    idle_since: Option<Timestamp>,
) -> Result<Option<String>, UploadError> {
    loop {
        let settling = settling(shard.origin.current().as_deref());
        match head.next(idle_since, Timestamp::now(), settling) {
            Step::Nothing => {
                shard.metrics.unuploaded_blocks.set(0);
                return Ok(None);
            }
            Step::Settle => return Ok(Some(format!("{FRESH}: its last samples are waited for, {}s", settling.as_secs()))),
            Step::Snapshot => *head = snapshot(shard, tsdb, idle_since).await?,
            Step::TakeIn => take_in(shard, tsdb, head).await?,
            Step::Retract => retract(shard, tsdb, head).await?,
            Step::Look => {
                if let Some(pending) = look(shard, tsdb, head).await? {
                    return Ok(pending);
                }
            }
        }
    }
}

async fn snapshot(shard: &Shard, tsdb: &Tsdb, idle_since: Option<Timestamp>) -> Result<HeadBlock, UploadError> {
    let before = tsdb.names()?;
    let prometheus = shard.prometheus.started().await?;
    let name = shard.prometheus.snapshot().await?;
    let block = tsdb.head_block(&name, &before)?;
    let head = HeadBlock { idle_since, snapshot: Some(name), block, prometheus };
    // Before anything else, so that nothing of ours is left behind by a restart.
    shard.store.save_head_block(&head)?;
    Ok(head)
}

async fn take_in(shard: &Shard, tsdb: &Tsdb, head: &mut HeadBlock) -> Result<(), UploadError> {
    let mut next = head.clone();
    if let (Some(snapshot), Some(block)) = (&head.snapshot, &head.block) {
        // It may have been started again since the snapshot.
        let prometheus = shard.prometheus.started().await?;
        if tsdb.take_in(snapshot, block)? {
            next.prometheus = prometheus;
            tracing::info!(%block, "head of prometheus made a block, to be uploaded");
        }
    }
    if let Some(snapshot) = next.snapshot.take() {
        tsdb.remove_snapshot(&snapshot)?;
    }
    shard.store.save_head_block(&next)?;
    *head = next;
    Ok(())
}

async fn retract(shard: &Shard, tsdb: &Tsdb, head: &mut HeadBlock) -> Result<(), UploadError> {
    if let Some(block) = &head.block {
        remove_if_doubled(shard, tsdb, head, block).await?;
    }
    if let Some(snapshot) = &head.snapshot {
        tsdb.remove_snapshot(snapshot)?;
    }
    *head = HeadBlock::default();
    Ok(shard.store.save_head_block(head)?)
}

/// Removes the block whose samples are in the head too. A Prometheus that was started since has them in the
/// block alone, and nothing else will overlap it.
async fn remove_if_doubled(shard: &Shard, tsdb: &Tsdb, head: &HeadBlock, block: &str) -> Result<(), UploadError> {
    if shard.prometheus.started().await? == head.prometheus {
        tsdb.remove_block(block)?;
    }
    Ok(())
}

/// What is pending, in the inner value; none outside when the head has to be made a block again.
async fn look(shard: &Shard, tsdb: &Tsdb, head: &mut HeadBlock) -> Result<Option<Option<String>>, UploadError> {
    let blocks = tsdb.blocks()?;
    let uploaded = tsdb.uploaded()?;
    let is_uploaded = |ulid: &String| uploaded.as_ref().is_some_and(|uploaded| uploaded.contains(ulid));
    // A block without samples is never uploaded.
    let left: Vec<_> = blocks.iter().filter(|block| block.samples > 0 && !is_uploaded(&block.ulid)).collect();
    shard.metrics.unuploaded_blocks.set(i64::try_from(left.len()).unwrap_or(i64::MAX));
    if let Some(block) = head.block.clone() {
        if is_uploaded(&block) {
            remove_if_doubled(shard, tsdb, head, &block).await?;
            let next = HeadBlock { block: None, ..head.clone() };
            shard.store.save_head_block(&next)?;
            *head = next;
        } else if !blocks.iter().any(|known| known.ulid == block) {
            tracing::warn!(%block, "block made of the head of prometheus is gone before it was uploaded, making another");
            *head = HeadBlock::default();
            shard.store.save_head_block(head)?;
            return Ok(None);
        }
    }
    let oldest = left.iter().map(|block| block.min_time).min().and_then(|at| Timestamp::from_millisecond(at).ok());
    Ok(Some(oldest.map(|oldest| {
        let number = left.len();
        match &uploaded {
            Some(_) => format!("{number} blocks with samples since {oldest} are not uploaded yet"),
            None => format!(
                "{number} blocks with samples since {oldest} are not uploaded, and there is no thanos.shipper.json in {}: does a Thanos sidecar upload from there?",
                tsdb.folder().display()
            ),
        }
    })))
}

#[cfg(test)]
mod tests {
    use kvass_config::LoadContext;
    use kvass_model::PrometheusLine;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn one_step_after_the_other() {
        let fresh = HeadBlock::default();
        let made =
            HeadBlock { idle_since: Some(at(100)), snapshot: Some("s".into()), block: Some("b".into()), prometheus: "p".into() };
        let empty = HeadBlock { block: None, ..made.clone() };
        let taken = HeadBlock { snapshot: None, ..made.clone() };
        let uploaded = HeadBlock { block: None, ..taken.clone() };
        let idle = Some(at(100));
        for (head, idle_since, now, step) in [
            (&fresh, None, 500, Step::Nothing),
            (&fresh, idle, 159, Step::Settle),
            (&fresh, idle, 90, Step::Settle),
            (&fresh, idle, 160, Step::Snapshot),
            (&made, idle, 161, Step::TakeIn),
            (&empty, idle, 161, Step::TakeIn),
            (&taken, idle, 170, Step::Look),
            (&uploaded, idle, 180, Step::Look),
            // Targets came.
            (&made, None, 200, Step::Retract),
            (&taken, None, 200, Step::Retract),
            (&uploaded, None, 200, Step::Nothing),
            // And went, unseen or not.
            (&taken, Some(at(300)), 301, Step::Retract),
            (&uploaded, Some(at(300)), 301, Step::Settle),
            (&uploaded, Some(at(300)), 360, Step::Snapshot),
        ] {
            assert_eq!(head.next(idle_since, at(now), Duration::from_secs(60)), step, "{head:?} {idle_since:?} {now}");
        }
    }

    #[test]
    fn the_last_samples_are_waited_for() {
        let context = LoadContext {
            path: "/prometheus.yml".into(),
            line: PrometheusLine::V2,
            env: &|_| None,
            read_glob: &|_| Ok(Vec::new()),
        };
        let config = |interval: &str| {
            let text = format!(
                "scrape_configs:\n- job_name: a\n  scrape_interval: {interval}\n- job_name: b\n  scrape_interval: 5s\n"
            );
            settling(Some(&Config::parse(&text, &context).unwrap())).as_secs()
        };
        assert_eq!((config("5s"), config("15s"), config("1h")), (30, 60, 900));
        assert_eq!(settling(None), LEAVING);
    }

    #[test]
    fn what_was_just_emptied_is_pending() {
        let upload = Upload::new(Path::new("/data"));
        assert_eq!(upload.pending(None), None);
        assert_eq!(upload.pending(Some(at(1))).as_deref(), Some(FRESH));
        *lock(&upload.known) = Known { idle_since: Some(at(1)), pending: None };
        assert_eq!(upload.pending(Some(at(1))), None);
        assert_eq!(upload.pending(Some(at(2))).as_deref(), Some(FRESH));
    }
}
