//! Both comparisons with etcd and kube-apiserver alone.

use std::{path::Path, time::Instant};

use super::{Programs, Switch, access, compare};
use crate::{
    control_plane::{ControlPlane, obstacle, versions},
    report::{Expectations, Outcome, Report},
};

/// What has to be there beside the coordinator.
const NEEDED: [&str; 3] = ["etcd", "kube-apiserver", "prometheus"];

/// Tells what story k tells on a whole cluster, and whose credentials are used for what.
pub(crate) async fn judge(bin: &Path, kvass: &Path, folder: &Path) -> Report {
    let programs = Programs { kvass: kvass.to_owned(), prometheus: bin.join("prometheus"), folder: folder.join("servers") };
    let missing = obstacle(bin, &NEEDED).or_else(|| (!kvass.is_file()).then(|| format!("{} is missing", kvass.display())));
    let mut report = Report::default();
    let plane = async |name: &str| ControlPlane::start(bin, folder.join(name), &[]).await;

    let objects = async |told: &mut Expectations| {
        let mut plane = plane("objects").await?;
        let (api, kubeconfig) = (plane.api().clone(), plane.admin()?);
        compare(told, &api, &programs, &kubeconfig, &mut plane).await
    };
    report.stories.push(outcome("k: discovery as in Prometheus", missing.clone(), objects).await);
    let people = async |told: &mut Expectations| access::tell(told, plane("people").await?, &programs).await;
    report.stories.push(outcome("ka: requests of each job by its own user", missing.clone(), people).await);
    let inside = async |told: &mut Expectations| access::in_a_pod(told, &plane("pod").await?, &programs).await;
    let obstacle = match missing {
        Some(missing) => Some(missing),
        None => access::no_pods().await,
    };
    report.stories.push(outcome("kp: discovery inside a pod", obstacle, inside).await);
    report.versions = versions(bin, &NEEDED).await;
    report
}

async fn outcome(
    title: &str,
    not_run: Option<String>,
    tell: impl AsyncFnOnce(&mut Expectations) -> anyhow::Result<()>,
) -> Outcome {
    let start = Instant::now();
    let mut told = Expectations::default();
    let result = if not_run.is_none() { tell(&mut told).await } else { Ok(()) };
    Outcome {
        title: title.to_owned(),
        on: "etcd and kube-apiserver alone".to_owned(),
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
