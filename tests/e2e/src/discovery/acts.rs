//! The comparison with Prometheus, wherever the API server is.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::{Change, Discovered, Line, Programs, Server, World, config, difference, has_owners, newer};
use crate::{
    api::{APPLY, Api, MERGE},
    cluster::until,
    report::Expectations,
};

/// Objects and changes follow from it.
const SEED: u64 = 20_240_229;

/// Changes after the first objects, and after the API server was away. With the objects and their ends these are more
/// than a thousand.
const CHANGES: [usize; 2] = [600, 200];

/// How soon after the last change all is equal. Prometheus publishes what it discovers every 5 s.
const LIMIT: Duration = Duration::from_secs(15);

/// The same where Prometheus has lost the API server: it pauses for up to half a minute between attempts.
const RECOVERY: Duration = Duration::from_secs(60);

/// An API server that can be switched off and on.
pub(crate) trait Switch {
    /// Kills it.
    async fn stop(&mut self) -> anyhow::Result<()>;

    /// Starts it again; it may take a moment until it answers.
    async fn start(&mut self) -> anyhow::Result<()>;
}

/// Makes random objects, changes them, and compares: with a Prometheus that is there from the beginning, and each time with
/// one that has just been started, and so knows nothing but what is there.
pub(crate) async fn compare(
    told: &mut Expectations,
    api: &Api,
    programs: &Programs,
    kubeconfig: &std::path::Path,
    switch: &mut impl Switch,
) -> anyhow::Result<()> {
    let mut world = World::new(SEED);
    // Prometheus 3.16 ends itself at a replica set or job whose end it did not hear, which the outage makes likely.
    let lasting = config(kubeconfig, programs.line, |job| !has_owners(job));
    let config = config(kubeconfig, programs.line, |_| true);
    for changes in world.namespaces() {
        send_all(api, changes).await?;
    }
    let mut judge = Judge {
        coordinator: programs.coordinator(&config).await?,
        beside: programs.prometheus(&lasting).await?,
        api: api.clone(),
        programs,
        config,
    };
    let told = acts(told, &mut judge, &mut world, switch).await;
    let cleared = send_all(api, world.clear()).await;
    told.and(cleared)
}

async fn acts(told: &mut Expectations, judge: &mut Judge<'_>, world: &mut World, switch: &mut impl Switch) -> anyhow::Result<()> {
    let changes = world.fill();
    let objects = changes.len();
    send_all(&judge.api, changes).await?;
    judge.compare(told, world, &format!("{objects} objects"), LIMIT).await?;

    send_all(&judge.api, world.churn(CHANGES[0])).await?;
    judge.compare(told, world, &format!("{} changes", CHANGES[0]), LIMIT).await?;

    let before = judge.coordinator.discovered().await?.len();
    switch.stop().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let meanwhile = judge.coordinator.discovered().await?.len();
    told.expect("without the API server all targets stay", meanwhile, meanwhile == before);
    switch.start().await?;
    until("the API server is back", Duration::from_secs(60), async || judge.api.get("/api/v1/namespaces").await).await?;
    send_all(&judge.api, world.churn(CHANGES[1])).await?;
    judge.compare(told, world, &format!("API server restarted, {} changes", CHANGES[1]), RECOVERY).await
}

/// Who is compared.
struct Judge<'a> {
    coordinator: Server,
    /// A Prometheus that has seen everything.
    beside: Server,
    api: Api,
    programs: &'a Programs,
    config: String,
}

/// Targets that are compared, by job.
type Wanted<'a> = &'a (dyn Fn(&str) -> bool + Sync);

impl Judge<'_> {
    /// `limit`: how soon the Prometheus that was there before has to agree.
    async fn compare(&self, told: &mut Expectations, world: &World, after: &str, limit: Duration) -> anyhow::Result<()> {
        let fresh = self.programs.prometheus(&self.config).await?;
        // It does not wait for replica sets and jobs with endpoints, so that its first groups may lack them.
        let known = |job: &str| !job.starts_with("endpoint") || !has_owners(job);
        let result = self.equal(&fresh, LIMIT, &known, &|theirs| theirs).await;
        told.note(&format!("{after}: within {} s the same as a Prometheus that was just started", LIMIT.as_secs()), result);

        // Prometheus makes the groups of endpoints anew when endpoints, services, nodes or namespaces change, not when pods and
        // their owners do: theirs are compared when all have been touched.
        let followed = |job: &str| !job.starts_with("endpoint") && !has_owners(job);
        let beside = |theirs: Discovered| without_lost_nodes(theirs, world);
        let result = self.equal(&self.beside, limit, &followed, &beside).await;
        told.note(&format!("{after}: the same as the Prometheus beside it"), result);

        let paths = ["endpoints", "endpointslices"].map(|plural| world.paths(plural)).concat();
        let touch = json!({"metadata": {"annotations": {"touched": after}}});
        stream::iter(paths)
            .map(async |path| self.api.patch(&path, MERGE, &touch).await)
            .buffer_unordered(8)
            .try_collect::<()>()
            .await?;
        let result = self.equal(&fresh, LIMIT, &|_| true, &|theirs| theirs).await;
        told.note(&format!("{after}, all endpoints touched: the same as the one just started"), result);
        let result = self.equal(&self.beside, limit, &|job| !has_owners(job), &beside).await;
        told.note(&format!("{after}, all endpoints touched: the same as the one beside it"), result);
        fresh.stop().await
    }

    /// Waits until both have the same, as often, and something of each job.
    async fn equal(
        &self,
        judge: &Server,
        limit: Duration,
        wanted: Wanted<'_>,
        of_theirs: &(dyn Fn(Discovered) -> Discovered + Sync),
    ) -> Result<String, String> {
        let since = Instant::now();
        loop {
            let both = async {
                let of = async |server: &Server| Ok::<Discovered, anyhow::Error>(server.discovered().await?.jobs(wanted));
                let (ours, theirs) = (of(&self.coordinator).await?, of(judge).await?);
                Ok::<_, anyhow::Error>(match self.programs.line {
                    Line::V3 => (ours, theirs),
                    Line::V2 => (newer::without_newer_labels(ours), newer::without_empty_addresses(theirs)),
                })
            };
            let differences = match both.await {
                Ok((ours, theirs)) if theirs.len() == 0 => vec![format!("nothing discovered yet; here {}", ours.counts())],
                Ok((ours, theirs)) => {
                    let all = theirs.len();
                    let theirs = of_theirs(theirs);
                    match difference(&ours, &theirs) {
                        none if none.is_empty() => {
                            let seconds = since.elapsed().as_secs_f64();
                            let kept = match all - theirs.len() {
                                0 => String::new(),
                                kept => format!(", and {kept} there of nodes that have lost their addresses"),
                            };
                            return Ok(format!("after {seconds:.1} s, {} targets: {}{kept}", ours.len(), ours.counts()));
                        }
                        differences => differences,
                    }
                }
                Err(error) => vec![format!("{error:#}")],
            };
            if since.elapsed() > limit {
                return Err(differences.join("; "));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Prometheus makes no group of a node without addresses, and so keeps the one it had.
fn without_lost_nodes(theirs: Discovered, world: &World) -> Discovered {
    let lost = world.nodes_without_address();
    // Before and after relabelling it is the instance.
    theirs.without(|job, target| job.starts_with("node") && target.get("instance").is_some_and(|name| lost.contains(name)))
}

/// Sends changes, several at a time where they are about different objects.
pub(super) async fn send_all(api: &Api, changes: Vec<Change>) -> anyhow::Result<()> {
    let mut rest = changes.as_slice();
    while !rest.is_empty() {
        let mut seen = std::collections::BTreeSet::new();
        let together = rest.iter().take_while(|change| seen.insert(change.path().to_owned())).count();
        let (now, later) = rest.split_at(together);
        stream::iter(now.iter().cloned()).map(|change| send(api, change)).buffer_unordered(8).try_collect::<()>().await?;
        rest = later;
    }
    Ok(())
}

async fn send(api: &Api, change: Change) -> anyhow::Result<()> {
    match change {
        Change::Delete { path } => api.delete_now(&path).await,
        Change::Apply { path, mut object } => {
            let status = object.as_object_mut().and_then(|members| members.remove("status"));
            api.patch(&format!("{path}?fieldManager=kvass-e2e&force=true"), APPLY, &object).await?;
            match status {
                Some(status) => api.patch(&format!("{path}/status"), MERGE, &json!({"status": status})).await,
                None => Ok(()),
            }
        }
    }
}
