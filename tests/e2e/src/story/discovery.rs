//! (k) Everything that Prometheus discovers in Kubernetes, the coordinator discovers, and nothing else: all roles, all
//! metadata, on random objects that come, change and go.

use anyhow::Context;

use crate::{
    cluster::Cluster,
    discovery::{Line, Programs, Switch, compare},
    stage::Stage,
};

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let cluster = stage.cluster.clone();
    let environment = cluster.environment();
    let run = environment.kubeconfig.parent().context("KUBECONFIG without a folder")?;
    let programs = Programs {
        kvass: Programs::kvass(&environment.checkout),
        prometheus: environment.kubectl.with_file_name("prometheus"),
        line: Line::V3,
        folder: run.join("discovery"),
    };
    // The one would delete what nobody owns, and write endpoints itself; the other ends itself when pods change as no pod does.
    const DISTURBED: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];
    for program in DISTURBED {
        cluster.machine("stop", &[program]).await?;
    }
    let mut switch = OfCluster(cluster.clone());
    let told = compare(&mut stage.expectations, cluster.api(), &programs, &environment.kubeconfig, &mut switch).await;
    for program in DISTURBED {
        cluster.machine("start", &[program]).await?;
    }
    told
}

struct OfCluster(Cluster);

impl Switch for OfCluster {
    async fn stop(&mut self) -> anyhow::Result<()> {
        self.0.machine("stop", &["kube-apiserver"]).await.map(drop)
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        self.0.machine("start", &["kube-apiserver"]).await.map(drop)
    }
}
