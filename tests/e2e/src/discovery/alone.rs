//! All comparisons that need no cluster: with etcd and kube-apiserver alone, and with Consul.

use std::{path::Path, time::Instant};

use super::{Line, Programs, Switch, access, compare, consul};
use crate::{
    control_plane::{ControlPlane, obstacle, versions},
    report::{Expectations, Outcome, Report},
};

/// What has to be there beside the coordinator.
const NEEDED: [&str; 3] = ["etcd", "kube-apiserver", "prometheus"];

/// Debian's 2.42 does not know Kubernetes.
const OLDER: &str = "prometheus-2.42";

/// What can be told, by letters.
pub(crate) const STORIES: [&str; 5] = ["k", "k2", "ka", "kp", "kc"];

/// Where Kubernetes' stories are told.
const KUBERNETES: &str = "etcd and kube-apiserver alone";

/// Tells what story k tells on a whole cluster, whose credentials are used for what, and what is discovered in Consul; only
/// some of it if some are named.
pub(crate) async fn judge(bin: &Path, kvass: &Path, folder: &Path, stories: &[String]) -> Report {
    let programs = |program: &str, line| Programs {
        kvass: kvass.to_owned(),
        prometheus: bin.join(program),
        line,
        folder: folder.join("servers"),
    };
    let (programs, older) = (programs("prometheus", Line::V3), programs(OLDER, Line::V2));
    let missing =
        |needed: &[&str]| obstacle(bin, needed).or_else(|| (!kvass.is_file()).then(|| format!("{} is missing", kvass.display())));
    let wanted = |letters: &str| stories.is_empty() || stories.iter().any(|story| story == letters);
    let plane = async |name: &str| ControlPlane::start(bin, folder.join(name), &[]).await;
    let objects = async |told: &mut Expectations, name: &str, programs: &Programs| {
        let mut plane = plane(name).await?;
        let (api, kubeconfig) = (plane.api().clone(), plane.admin()?);
        compare(told, &api, programs, &kubeconfig, &mut plane).await
    };

    let mut report = Report::default();
    if wanted("k") {
        let tell = async |told: &mut Expectations| objects(told, "objects", &programs).await;
        report.stories.push(outcome("k: discovery as in Prometheus", KUBERNETES, missing(&NEEDED), tell).await);
    }
    if wanted("k2") {
        let missing = missing(&["etcd", "kube-apiserver", OLDER]);
        let tell = async |told: &mut Expectations| objects(told, "objects-2.42", &older).await;
        report.stories.push(outcome("k2: discovery as in Prometheus 2.42", KUBERNETES, missing, tell).await);
    }
    if wanted("ka") {
        let tell = async |told: &mut Expectations| access::tell(told, plane("people").await?, &programs).await;
        report.stories.push(outcome("ka: requests of each job by its own user", KUBERNETES, missing(&NEEDED), tell).await);
    }
    if wanted("kp") {
        let obstacle = match missing(&NEEDED) {
            Some(missing) => Some(missing),
            None => access::no_pods().await,
        };
        let tell = async |told: &mut Expectations| access::in_a_pod(told, &plane("pod").await?, &programs).await;
        report.stories.push(outcome("kp: discovery inside a pod", KUBERNETES, obstacle, tell).await);
    }
    if wanted("kc") {
        let missing = missing(&[consul::PROGRAM, "prometheus"]);
        let tell = async |told: &mut Expectations| consul::tell(told, bin, folder.join("consul"), &programs).await;
        report.stories.push(outcome("kc: discovery in Consul as in Prometheus", "a Consul server alone", missing, tell).await);
    }
    report.versions = versions(bin, &[&NEEDED[..], &[OLDER]].concat()).await;
    report
}

async fn outcome(
    title: &str,
    on: &str,
    not_run: Option<String>,
    tell: impl AsyncFnOnce(&mut Expectations) -> anyhow::Result<()>,
) -> Outcome {
    let start = Instant::now();
    let mut told = Expectations::default();
    let result = if not_run.is_none() { tell(&mut told).await } else { Ok(()) };
    Outcome {
        title: title.to_owned(),
        on: on.to_owned(),
        seconds: start.elapsed().as_secs_f64(),
        expectations: told.take(),
        rows: vec![],
        error: result.err().map(|error| format!("{error:#}")),
        not_run,
    }
}

impl Switch for ControlPlane {
    async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop_server().await
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        self.start_server().await
    }
}
