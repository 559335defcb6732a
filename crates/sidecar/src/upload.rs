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
use kvass_service::config_file::chain;
use tokio::time::sleep;

use crate::{
    head_block::{HeadBlock, Step, settling},
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
                tracing::warn!(%error, "samples cannot be handed to the object store, trying again");
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
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
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
