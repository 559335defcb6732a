//! (k) Everything that Prometheus discovers in Kubernetes, the coordinator discovers, and nothing else: all roles, all
//! metadata, on random objects that come, change and go.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::{
    cluster::{Cluster, until},
    discovery::{Change, Discovered, Server, World, difference},
    stage::Stage,
};

/// Objects and changes follow from it.
const SEED: u64 = 20_240_229;

/// How soon after the last change all is equal to what a Prometheus discovers that has just become ready. It publishes
/// what it discovers every 5 s.
const LIMIT: Duration = Duration::from_secs(15);

/// Prometheus does not wait for replica sets and jobs with these, so that its first groups may lack them: they are
/// compared when all endpoints have been touched.
const TOUCHED: &[&str] = &["endpoints-owners", "endpointslice-owners"];

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    // It would delete what nobody owns, and write endpoints itself.
    stage.cluster.machine("stop", &["kube-controller-manager"]).await?;
    let mut world = World::new(SEED);
    let told = acts(stage, &mut world).await;
    let cleared = send_all(&stage.cluster, world.clear()).await;
    stage.cluster.machine("start", &["kube-controller-manager"]).await?;
    told.and(cleared)
}

async fn acts(stage: &mut Stage, world: &mut World) -> anyhow::Result<()> {
    let cluster = stage.cluster.clone();
    for changes in world.namespaces() {
        send_all(&cluster, changes).await?;
    }
    let changes = world.fill();
    let objects = changes.len();
    send_all(&cluster, changes).await?;

    let coordinator = Server::coordinator(&cluster, 19_191).await?;
    compare(stage, world, &coordinator, &format!("{objects} objects")).await?;

    let changes = world.churn(300);
    send_all(&cluster, changes).await?;
    compare(stage, world, &coordinator, "300 changes").await?;

    let before = coordinator.discovered().await?.len();
    cluster.machine("stop", &["kube-apiserver"]).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let meanwhile = coordinator.discovered().await?.len();
    stage.expect("without the API server all targets stay", meanwhile, meanwhile == before);
    cluster.machine("start", &["kube-apiserver"]).await?;
    until("the API server is back", Duration::from_secs(60), async || cluster.get("/api/v1/namespaces").await).await?;
    let changes = world.churn(100);
    send_all(&cluster, changes).await?;
    compare(stage, world, &coordinator, "API server restarted, 100 changes").await
}

/// Compares with a Prometheus that starts now, and so knows nothing but what is there.
async fn compare(stage: &mut Stage, world: &World, coordinator: &Server, after: &str) -> anyhow::Result<()> {
    let cluster = stage.cluster.clone();
    let judge = Server::prometheus(&cluster, 19_190).await?;
    let result = equal(coordinator, &judge, LIMIT, |job| !TOUCHED.contains(&job)).await;
    note(stage, &format!("{after}: the same as Prometheus within {} s", LIMIT.as_secs()), result);
    let paths = ["endpoints", "endpointslices"].map(|plural| world.paths(plural)).concat();
    let touch = json!({"metadata": {"annotations": {"touched": after}}});
    stream::iter(paths)
        .map(|path| cluster.patch(path, "application/merge-patch+json", touch.clone()))
        .buffer_unordered(8)
        .try_collect::<()>()
        .await?;
    let result = equal(coordinator, &judge, 2 * LIMIT, |job| TOUCHED.contains(&job)).await;
    note(stage, &format!("{after}: deployments, jobs and cron jobs of endpoints, too"), result);
    Ok(())
}

fn note(stage: &mut Stage, expected: &str, result: Result<String, String>) {
    let held = result.is_ok();
    stage.expect(expected, result.unwrap_or_else(|differences| differences), held);
}

/// Waits until both have the same, as often, and something of each job.
async fn equal(coordinator: &Server, judge: &Server, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String, String> {
    let since = Instant::now();
    loop {
        let both = async {
            let of = async |server: &Server| Ok::<Discovered, anyhow::Error>(server.discovered().await?.jobs(&wanted));
            Ok::<_, anyhow::Error>((of(coordinator).await?, of(judge).await?))
        };
        let differences = match both.await {
            Ok((ours, theirs)) if theirs.len() == 0 => vec![format!("nothing discovered yet; here {}", ours.counts())],
            Ok((ours, theirs)) => match difference(&ours, &theirs) {
                none if none.is_empty() => {
                    let seconds = since.elapsed().as_secs_f64();
                    return Ok(format!("after {seconds:.1} s, {} targets: {}", ours.len(), ours.counts()));
                }
                differences => differences,
            },
            Err(error) => vec![format!("{error:#}")],
        };
        if since.elapsed() > limit {
            return Err(differences.join("; "));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Sends changes, several at a time where they are about different objects.
async fn send_all(cluster: &Cluster, changes: Vec<Change>) -> anyhow::Result<()> {
    let mut rest = changes.as_slice();
    while !rest.is_empty() {
        let mut seen = std::collections::BTreeSet::new();
        let (Change::Apply { path: first, .. } | Change::Delete { path: first }) = &rest[0];
        seen.insert(first.clone());
        let together = 1 + rest[1..]
            .iter()
            .take_while(|change| {
                let (Change::Apply { path, .. } | Change::Delete { path }) = change;
                seen.insert(path.clone())
            })
            .count();
        let (now, later) = rest.split_at(together);
        stream::iter(now.iter().cloned()).map(|change| send(cluster, change)).buffer_unordered(8).try_collect::<()>().await?;
        rest = later;
    }
    Ok(())
}

async fn send(cluster: &Cluster, change: Change) -> anyhow::Result<()> {
    match change {
        Change::Delete { path } => cluster.delete_now(&path).await,
        Change::Apply { path, mut object } => {
            let status = object.as_object_mut().and_then(|members| members.remove("status"));
            let query = "fieldManager=kvass-e2e&force=true";
            cluster.patch(format!("{path}?{query}"), "application/apply-patch+yaml", object).await?;
            match status {
                Some(status) => {
                    cluster.patch(format!("{path}/status"), "application/merge-patch+json", json!({"status": status})).await
                }
                None => Ok(()),
            }
        }
    }
}
