//! Where shards come from and how their number changes. Nothing here chooses: it lists and carries out.

mod kubernetes;
mod process;
mod static_file;

use std::{fmt, time::Duration};

use jiff::Timestamp;

use crate::options::ShardOptions;

/// A full set of shards: one StatefulSet, one entry of the static file, the processes of one folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Replica {
    /// Unique and stable, for example `monitoring/prometheus-rep-0`.
    pub(crate) id: String,
    /// How many shards are wished now.
    pub(crate) scale: u32,
    /// Whether that number can be changed.
    pub(crate) scalable: bool,
    /// The shards below `scale`, in ordinal order.
    pub(crate) shards: Vec<ListedShard>,
    /// Changes when another object stands behind the same id: what is remembered of the old one does not count.
    pub(crate) incarnation: String,
    /// Not read just now but at an earlier time. Its shards can be served; their number must not be changed.
    pub(crate) stale: bool,
    /// What an operator should know of it.
    pub(crate) notes: Vec<String>,
}

/// The replicas, ordered by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Listing {
    pub(crate) replicas: Vec<Replica>,
    /// Set while whatever manages the shards does not answer; the replicas are then those it listed last.
    pub(crate) stale: Option<Stale>,
}

/// Since when shards cannot be listed, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stale {
    pub(crate) since: Timestamp,
    pub(crate) error: String,
}

impl Stale {
    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        crate::memory::elapsed(self.since, now)
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "shards cannot be listed since {:.0}, the last list is in force and nothing is scaled: {}",
            self.since, self.error
        )
    }
}

/// A number of shards that somebody else had set back, and that was put back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Correction {
    pub(crate) replica: String,
    /// What it had been set to.
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Who had set it, and when.
    pub(crate) by: String,
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "put back from {} to {}: set by {}; shards become fewer only after they are drained",
            self.from, self.to, self.by
        )
    }
}

/// Something to tell people who look at a replica with other tools than ours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Announcement {
    pub(crate) warning: bool,
    /// Word for why, in the style of Kubernetes, for example `Scaled`.
    pub(crate) reason: &'static str,
    /// Word for what was done or tried.
    pub(crate) action: &'static str,
    pub(crate) text: String,
    pub(crate) repeat: Repeat,
}

/// When an announcement may be made again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Repeat {
    /// Always.
    Always,
    /// With the same words here (times left out), not before ten minutes have passed.
    Later(String),
}

/// A shard as its manager lists it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListedShard {
    /// Position in its replica; identity of the shard.
    pub(crate) ordinal: u32,
    /// Name shown to people, for example the pod's.
    pub(crate) name: String,
    /// Base URL of its sidecar; `None` while it has no address or is not ready.
    pub(crate) url: Option<String>,
    /// Why it has none.
    pub(crate) absent: Option<&'static str>,
    /// Its process should have ended by now and has not, and no other comes in its place before that.
    pub(crate) overdue: bool,
    /// Changes when another process stands behind the shard.
    pub(crate) incarnation: String,
}

/// Why shards could not be listed or scaled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShardError {
    #[error("{file}: {problem}")]
    StaticFile { file: String, problem: String },
    #[error("{action}")]
    Kubernetes { action: String, source: Box<kube::Error> },
    #[error("{action}: no answer from the API server within {}s", waited.as_secs_f32())]
    KubernetesTimeout { action: &'static str, waited: Duration },
    #[error("listing was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
    #[error("label selector of StatefulSet {statefulset}: {problem}")]
    Selector { statefulset: String, problem: String },
    #[error("{action}")]
    Process { action: String, source: std::io::Error },
}

/// The one source of shards of this coordinator.
pub(crate) enum ShardManager {
    Static(static_file::StaticFile),
    Process(process::Processes),
    Kubernetes(kubernetes::StatefulSets),
}

impl fmt::Debug for ShardManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl ShardManager {
    pub(crate) async fn new(options: &ShardOptions, context: &ManagerContext) -> Result<Self, ShardError> {
        Ok(match options {
            ShardOptions::Static(file) => ShardManager::Static(static_file::StaticFile::new(file.clone())),
            ShardOptions::Process(options) => ShardManager::Process(process::Processes::new(options.clone(), context.clone())?),
            ShardOptions::Kubernetes(options) => {
                ShardManager::Kubernetes(kubernetes::StatefulSets::connect(options.clone()).await?)
            }
        })
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            ShardManager::Static(_) => "static",
            ShardManager::Process(_) => "process",
            ShardManager::Kubernetes(_) => "k8s",
        }
    }

    /// The replicas as they are now. Reads only.
    pub(crate) async fn list(&self) -> Result<Listing, ShardError> {
        let replicas = match self {
            ShardManager::Static(manager) => manager.list().await?,
            ShardManager::Process(manager) => manager.list().await?,
            ShardManager::Kubernetes(manager) => return manager.list().await,
        };
        Ok(Listing { replicas, stale: None })
    }

    /// Keeps in order what was listed: puts back what somebody else set back, deletes what is due. Whatever does
    /// not succeed is tried again after the next listing.
    pub(crate) async fn tend(&self) -> Vec<Correction> {
        match self {
            ShardManager::Static(_) | ShardManager::Process(_) => Vec::new(),
            ShardManager::Kubernetes(manager) => tokio::time::timeout(WRITE_TIMEOUT, manager.tend()).await.unwrap_or_else(|_| {
                tracing::warn!(seconds = WRITE_TIMEOUT.as_secs(), "StatefulSets were not put in order in time");
                Vec::new()
            }),
        }
    }

    /// Tells people who look at the replica with the tools of its kind.
    pub(crate) async fn announce(&self, replica: &str, announcement: Announcement) {
        if let ShardManager::Kubernetes(manager) = self {
            manager.announce(replica, announcement).await;
        }
    }

    /// Changes the number of shards of `replica` to `scale`.
    pub(crate) async fn set_scale(&self, replica: &Replica, scale: u32) -> Result<(), ShardError> {
        match self {
            // The list in the file is what there is.
            ShardManager::Static(_) => Ok(()),
            ShardManager::Process(manager) => manager.set_scale(scale).await,
            ShardManager::Kubernetes(manager) => bounded("scale", WRITE_TIMEOUT, manager.set_scale(replica, scale)).await,
        }
    }

    /// Called once before the coordinator ends.
    pub(crate) async fn shutdown(&self) {
        if let ShardManager::Process(manager) = self {
            manager.shutdown().await;
        }
    }
}

/// Longest time an API server may take to list; its client has no limit of its own and retries for minutes.
const KUBERNETES_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time the writes of one cycle may take. What does not succeed is tried again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

async fn bounded<T>(
    action: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, ShardError>>,
) -> Result<T, ShardError> {
    tokio::time::timeout(limit, call).await.unwrap_or(Err(ShardError::KubernetesTimeout { action, waited: limit }))
}

/// What process shards need to know of the coordinator.
#[derive(Clone, Debug)]
pub(crate) struct ManagerContext {
    pub(crate) config_file: std::path::PathBuf,
    pub(crate) program: std::path::PathBuf,
}
