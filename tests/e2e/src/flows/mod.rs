//! Who talks to whom, while stories are told: what the nodes' kernels know of connections, with the pods that have the addresses.

mod conntrack;
mod ledger;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;

use self::{conntrack::Connection, ledger::Ledger};
use crate::{
    cluster::{Cluster, until},
    network::Flow,
};

/// Between two looks. Kernels forget a connection that was reset after 10 s, one that was closed after 120 s, a question
/// without an answer after 30 s.
const PERIOD: Duration = Duration::from_secs(8);

/// Records in the background until it is dropped.
pub(crate) struct Flows {
    ledger: Arc<Mutex<Ledger>>,
    task: JoinHandle<()>,
}

impl Drop for Flows {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Flows {
    /// Starts to record. What is there already does not count.
    pub(crate) async fn start(cluster: Cluster) -> anyhow::Result<Self> {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        look(&cluster, &ledger).await?;
        let of_task = ledger.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(PERIOD).await;
                // While the API server is away, nobody can say whose an address is.
                if let Err(error) = look(&cluster, &of_task).await {
                    tracing::warn!("connections: {error:#}");
                }
            }
        });
        Ok(Self { ledger, task })
    }

    /// All connections since the start, those of this moment included.
    pub(crate) async fn seen(&self) -> anyhow::Result<BTreeSet<Flow>> {
        let looks = || lock(&self.ledger).looks();
        let before = looks();
        until("two more looks at connections", PERIOD * 10, async || {
            let more = looks() - before;
            anyhow::ensure!(more >= 2, "{more} since");
            Ok(())
        })
        .await?;
        Ok(lock(&self.ledger).flows().clone())
    }
}

async fn look(cluster: &Cluster, ledger: &Mutex<Ledger>) -> anyhow::Result<()> {
    // Whoever has a connection has an address; the other way round, pods would be missing.
    let connections = cluster.connections().await?;
    let pods = cluster.networked_pods().await?;
    lock(ledger).look(connections.lines().filter_map(Connection::parse), &pods);
    Ok(())
}

fn lock(ledger: &Mutex<Ledger>) -> std::sync::MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
