//! The stories. Each is setup, acts and promises; one that fails does not stop the others.

mod absence;
mod chart;
mod config_change;
mod discovery;
mod disruptions;
mod dropin;
mod growth;
mod leader;
mod manifests;
mod network;
mod operator;
mod permissions;
mod placement;
mod replicas;
mod reset;
mod scrapers;
mod tutorial;
mod upload;

use std::{collections::BTreeSet, fmt::Write, future::Future, path::Path, pin::Pin, time::Instant};

use anyhow::Context;

use crate::{
    cluster::{Cluster, dump},
    collect::Collector,
    fixture::{
        CHART, DEMO, DEMO_AGENT, DEMO_PROMETHEUS_2, DEMO_VMAGENT, DROPIN_V0_1, DROPIN_V0_2, DROPIN_V0_3, Extra, Fixture, NOTHING,
        OPERATOR, PRODUCTION, PRODUCTION_CHURN, PRODUCTION_EMPTYDIR, PRODUCTION_REPLICAS,
    },
    flows::Flows,
    report::{Expectations, Outcome, Report},
    stage::{Stage, now},
};

type Telling<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// One story.
pub(crate) struct Story {
    letter: &'static str,
    title: &'static str,
    on: &'static Fixture,
    /// Told by `make e2e` and not only by `make e2e-all`.
    short: bool,
    /// Kills processes, stops servers, crashes nodes, or takes what only a cluster of ours has: a volume that all nodes
    /// see, and a namespace `monitoring` that may be deleted.
    needs_machine: bool,
    tell: fn(&mut Stage) -> Telling<'_>,
}

/// In the order they are told: those on the same manifests behind one another, as these stay up between them; permissions
/// and network policies behind them, as they are judged by the calls and connections of all stories before.
const STORIES: &[Story] = &[
    Story {
        letter: "a",
        title: "the tutorial, unchanged",
        on: &DEMO,
        short: true,
        needs_machine: false,
        tell: |stage| Box::pin(tutorial::tell(stage)),
    },
    Story {
        letter: "d",
        title: "a change of the configuration, and a broken one",
        on: &DEMO,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(config_change::tell(stage)),
    },
    Story {
        letter: "m",
        title: "the API server and helm take the manifests",
        on: &DEMO,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(manifests::tell(stage)),
    },
    Story {
        letter: "f",
        title: "permissions",
        on: &DEMO,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(permissions::tell(stage)),
    },
    Story {
        letter: "i1",
        title: "shards of Prometheus 2.42",
        on: &DEMO_PROMETHEUS_2,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(scrapers::tell(stage, &scrapers::PROMETHEUS)),
    },
    Story {
        letter: "i2",
        title: "shards of Prometheus agents",
        on: &DEMO_AGENT,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(scrapers::tell(stage, &scrapers::AGENT)),
    },
    Story {
        letter: "i3",
        title: "shards of vmagent",
        on: &DEMO_VMAGENT,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(scrapers::tell(stage, &scrapers::VMAGENT)),
    },
    Story {
        letter: "b",
        title: "growth and shrinking",
        on: &PRODUCTION,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(growth::with_volumes(stage)),
    },
    Story {
        letter: "c1",
        title: "a shard pod deleted, the coordinator killed",
        on: &PRODUCTION,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(disruptions::kills(stage)),
    },
    Story {
        letter: "c2",
        title: "rolling update",
        on: &PRODUCTION,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(disruptions::rolling_update(stage)),
    },
    Story {
        letter: "h",
        title: "the number of shards reset by others",
        on: &PRODUCTION,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(reset::tell(stage)),
    },
    Story {
        letter: "g",
        title: "the last sample of a shard that is gone",
        on: &PRODUCTION,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(upload::tell(stage)),
    },
    Story {
        letter: "b2",
        title: "volumes kept",
        on: &PRODUCTION,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(growth::volumes_kept(stage)),
    },
    Story {
        letter: "c4",
        title: "a node crashed and back, a node drained",
        on: &PRODUCTION,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(disruptions::nodes(stage)),
    },
    Story {
        letter: "c3",
        title: "coordinator and API server away for a minute",
        on: &PRODUCTION_CHURN,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(disruptions::outages(stage)),
    },
    Story {
        letter: "b10",
        title: "ten times out and in",
        on: &PRODUCTION_CHURN,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(growth::ten_times(stage)),
    },
    Story {
        letter: "c1e",
        title: "a shard pod deleted, the coordinator killed, without volumes",
        on: &PRODUCTION_EMPTYDIR,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(disruptions::kills(stage)),
    },
    Story {
        letter: "c2e",
        title: "rolling update, without volumes",
        on: &PRODUCTION_EMPTYDIR,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(disruptions::rolling_update(stage)),
    },
    Story {
        letter: "c3e",
        title: "coordinator and API server away for a minute, without volumes",
        on: &PRODUCTION_EMPTYDIR,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(disruptions::outages(stage)),
    },
    Story {
        letter: "c4e",
        title: "a node crashed and back, a node drained, without volumes",
        on: &PRODUCTION_EMPTYDIR,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(disruptions::nodes(stage)),
    },
    Story {
        letter: "e",
        title: "two replicas of the shards",
        on: &PRODUCTION_REPLICAS,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(replicas::tell(stage)),
    },
    Story {
        letter: "c5",
        title: "the leader killed, coordinators replaced",
        on: &PRODUCTION_REPLICAS,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(leader::tell(stage)),
    },
    Story {
        letter: "f2",
        title: "permissions in production",
        on: &PRODUCTION_REPLICAS,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(permissions::tell(stage)),
    },
    Story {
        letter: "n",
        title: "network policies in production",
        on: &PRODUCTION_REPLICAS,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(network::tell(stage)),
    },
    Story {
        letter: "h2",
        title: "helm upgrade and rollback",
        on: &CHART,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(chart::tell(stage)),
    },
    Story {
        letter: "f3",
        title: "permissions of the chart",
        on: &CHART,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(permissions::tell(stage)),
    },
    Story {
        letter: "n2",
        title: "network policies of the chart",
        on: &CHART,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(network::tell(stage)),
    },
    Story {
        letter: "o",
        title: "monitors of the Prometheus Operator",
        on: &OPERATOR,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(operator::tell(stage)),
    },
    Story {
        letter: "k",
        title: "discovery as in Prometheus",
        on: &NOTHING,
        short: true,
        needs_machine: true,
        tell: |stage| Box::pin(discovery::tell(stage)),
    },
    // Behind all permissions: what the original grants is less than what is asked for.
    Story {
        letter: "u1",
        title: "an installation of v0.1 with our image",
        on: &DROPIN_V0_1,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(dropin::v0_1(stage)),
    },
    Story {
        letter: "u2",
        title: "an installation of v0.2 with our image",
        on: &DROPIN_V0_2,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(dropin::v0_2(stage)),
    },
    Story {
        letter: "u3",
        title: "an installation of v0.3 with our image",
        on: &DROPIN_V0_3,
        short: false,
        needs_machine: true,
        tell: |stage| Box::pin(dropin::v0_3(stage)),
    },
];

impl Story {
    fn heading(&self) -> String {
        format!("{}: {}", self.letter, self.title)
    }

    /// Why it cannot be told on that cluster.
    fn obstacle(&self, cluster: &Cluster) -> Option<String> {
        let environment = cluster.environment();
        if self.needs_machine && environment.machine.is_none() {
            return Some("needs the machines of the cluster, which are not ours".to_owned());
        }
        let Extra { program, module } = self.on.extra.as_ref()?;
        let built = environment.kubectl.with_file_name(program).exists();
        (!built).then(|| format!("needs {program}: cluster.sh build {module} && cluster.sh images"))
    }
}

/// One line for each story.
pub(crate) fn list() -> String {
    let mut out = String::new();
    for story in STORIES {
        let when = if story.short { "make e2e" } else { "make e2e-all" };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<68} {:<38} {when}", story.heading(), story.on.name);
    }
    out
}

/// The modules these stories need beside those of every cluster, one a line.
pub(crate) fn modules(stories: &[&Story]) -> String {
    let modules: BTreeSet<&str> = stories.iter().filter_map(|story| Some(story.on.extra.as_ref()?.module)).collect();
    modules.into_iter().map(|module| format!("{module}\n")).collect()
}

/// The stories with these letters; without any, all or the short ones.
pub(crate) fn choose(letters: &[String], all: bool) -> anyhow::Result<Vec<&'static Story>> {
    for letter in letters {
        let known = STORIES.iter().any(|story| story.letter == letter);
        anyhow::ensure!(known && !letter.is_empty(), "--story={letter}: expected a letter of\n{}", list());
    }
    let wanted = |story: &&Story| match letters {
        [] => all || story.short,
        letters => letters.iter().any(|letter| story.letter == letter),
    };
    Ok(STORIES.iter().filter(wanted).collect())
}

/// Tells them; what happened is in the report.
pub(crate) async fn tell(cluster: &Cluster, stories: &[&Story], out: &Path, report: &mut Report) -> anyhow::Result<()> {
    let mut left = stories.iter().peekable();
    let mut stage: Option<Stage> = None;
    while let Some(story) = left.next() {
        let start = Instant::now();
        let mut outcome = Outcome {
            title: story.heading(),
            on: story.on.name.to_owned(),
            seconds: 0.0,
            expectations: vec![],
            rows: vec![],
            error: None,
            not_run: None,
        };
        outcome.not_run = story.obstacle(cluster);
        if outcome.not_run.is_some() {
            report.stories.push(outcome);
            continue;
        }
        tracing::info!("story {}", story.heading());
        let result = match &mut stage {
            Some(stage) => (story.tell)(stage).await,
            None => match set(cluster, story.on).await {
                Ok(ready) => (story.tell)(stage.insert(ready)).await,
                Err(error) => Err(error),
            },
        };
        outcome.error = result.err().map(|error| format!("{error:#}"));
        if let Some(stage) = &mut stage {
            outcome.expectations = stage.expectations.take();
            outcome.rows = std::mem::take(&mut stage.rows);
        }
        outcome.seconds = start.elapsed().as_secs_f64();
        report.images(images(cluster, story.on).await);
        let failed = outcome.error.is_some() || outcome.expectations.iter().any(|expectation| !expectation.held);
        report.stories.push(outcome);
        if failed {
            let path = out.join(format!("failure-{}.txt", story.letter));
            std::fs::write(&path, dump(cluster, story.on).await).with_context(|| path.display().to_string())?;
            tracing::info!("what is known of the failure is in {}", path.display());
        }
        // What a failed story left behind must not make the next one fail.
        let stays = !failed && left.peek().is_some_and(|next| std::ptr::eq(next.on, story.on));
        if !stays {
            stage = None;
            story.on.down(cluster).await.with_context(|| format!("clearing away {}", story.on.name))?;
        }
    }
    Ok(())
}

async fn set(cluster: &Cluster, fixture: &'static Fixture) -> anyhow::Result<Stage> {
    let flows = match (fixture.least_privilege, &cluster.environment().machine) {
        (true, Some(_)) => Some(Flows::start(cluster.clone()).await?),
        _ => None,
    };
    let collector = Collector::start(cluster.clone(), fixture);
    let up_at = now();
    fixture.up(cluster).await?;
    Ok(Stage { cluster: cluster.clone(), fixture, collector, flows, up_at, expectations: Expectations::default(), rows: vec![] })
}

async fn images(cluster: &Cluster, fixture: &Fixture) -> Vec<String> {
    let path = format!("/api/v1/namespaces/{}/pods", fixture.namespace);
    let Ok(pods) = cluster.get(&path).await else { return vec![] };
    let containers =
        pods["items"].as_array().into_iter().flatten().flat_map(|pod| pod["spec"]["containers"].as_array().into_iter().flatten());
    let mut images: Vec<String> = containers.filter_map(|container| container["image"].as_str().map(str::to_owned)).collect();
    images.sort();
    images.dedup();
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_choose() {
        let letters = |letters: &[&str], all| {
            let letters: Vec<String> = letters.iter().map(|letter| (*letter).to_owned()).collect();
            choose(&letters, all).map(|stories| stories.iter().map(|story| story.letter).collect::<Vec<_>>())
        };
        assert_eq!(letters(&["a"], false).unwrap(), ["a"]);
        assert_eq!(letters(&["b10", "a"], false).unwrap(), ["a", "b10"], "in the order of telling");
        assert_eq!(letters(&[], true).unwrap().len(), STORIES.len());
        assert!(letters(&[], false).unwrap().len() < STORIES.len());
        assert!(letters(&["q"], false).is_err());
        let of = |letters: &[String], all| modules(&choose(letters, all).unwrap());
        assert_eq!(of(&[], false), "");
        assert_eq!(of(&["i3".to_owned(), "a".to_owned()], false), "vmagent\n");
        assert_eq!(of(&[], true), "operator\nvmagent\n");
    }
}
