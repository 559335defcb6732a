//! Where shards come from and how their number changes. Nothing here chooses: it lists and carries out.

mod kubernetes;
mod process;
mod static_file;

use std::{fmt, time::Duration};

use crate::options::ShardOptions;

/// A full set of shards: one StatefulSet, one entry of the static file, the processes of one folder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Replica {
    /// Unique and stable, for example `monitoring/prometheus-rep-0`.
    pub(crate) id: String,
    /// How many shards are wished now.
    pub(crate) scale: u32,
    /// Whether that number can be changed.
    pub(crate) scalable: bool,
    /// The shards below `scale`, in ordinal order.
    pub(crate) shards: Vec<ListedShard>,
    /// What [`ShardManager::set_scale`] needs to notice a change by somebody else.
    pub(crate) version: Option<String>,
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
    #[error("{action}: no answer from the API server within {}s", KUBERNETES_TIMEOUT.as_secs())]
    KubernetesTimeout { action: &'static str },
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

    /// The replicas as they are now, ordered by id.
    pub(crate) async fn list(&self) -> Result<Vec<Replica>, ShardError> {
        match self {
            ShardManager::Static(manager) => manager.list().await,
            ShardManager::Process(manager) => manager.list().await,
            ShardManager::Kubernetes(manager) => bounded("list StatefulSets and pods", manager.list()).await,
        }
    }

    /// Changes the number of shards of `replica` to `scale`.
    pub(crate) async fn set_scale(&self, replica: &Replica, scale: u32) -> Result<(), ShardError> {
        match self {
            // The list in the file is what there is.
            ShardManager::Static(_) => Ok(()),
            ShardManager::Process(manager) => manager.set_scale(scale).await,
            ShardManager::Kubernetes(manager) => bounded("scale", manager.set_scale(replica, scale)).await,
        }
    }

    /// Called once before the coordinator ends.
    pub(crate) async fn shutdown(&self) {
        if let ShardManager::Process(manager) = self {
            manager.shutdown().await;
        }
    }
}

/// Longest time an API server may take; its client has no limit of its own and retries for minutes.
const KUBERNETES_TIMEOUT: Duration = Duration::from_secs(15);

async fn bounded<T>(action: &'static str, call: impl Future<Output = Result<T, ShardError>>) -> Result<T, ShardError> {
    tokio::time::timeout(KUBERNETES_TIMEOUT, call).await.unwrap_or(Err(ShardError::KubernetesTimeout { action }))
}

/// What process shards need to know of the coordinator.
#[derive(Clone, Debug)]
pub(crate) struct ManagerContext {
    pub(crate) config_file: std::path::PathBuf,
    pub(crate) program: std::path::PathBuf,
}
