//! What a story is told on: manifests of this checkout, and where to look in what they make.

mod operator;

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::cluster::{Cluster, Pod, until};

/// A set of manifests.
#[derive(Debug)]
pub(crate) struct Fixture {
    /// For the log.
    pub(crate) name: &'static str,
    /// Where its objects are.
    pub(crate) namespace: &'static str,
    /// The manifests.
    pub(crate) source: Source,
    /// Scrape interval of its configuration.
    pub(crate) interval: Duration,
    /// Exporters it starts with.
    pub(crate) generators: u64,
    /// StatefulSets of shards.
    pub(crate) replicas: &'static [&'static str],
    /// What coordinators are called: [`Pod::is`].
    pub(crate) coordinator: &'static str,
    /// What the pods are called that are asked for what all shards stored.
    pub(crate) query: &'static str,
    /// Whether it grants only what is needed; the demo grants what the original's did.
    pub(crate) least_privilege: bool,
    /// What its images need and not every cluster has.
    pub(crate) extra: Option<Extra>,
}

/// A program that is built for some stories only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extra {
    /// Its file.
    pub(crate) program: &'static str,
    /// The folder of tests/e2e/modules that builds it.
    pub(crate) module: &'static str,
}

/// How manifests are applied.
#[derive(Debug)]
pub(crate) enum Source {
    /// File by file, in the order of the tutorial.
    Files(&'static str, &'static [&'static str]),
    /// A kustomization.
    Kustomization(&'static str),
    /// The chart with a file of values, and the exporters of the demo.
    Chart(&'static str),
    /// A kustomization that wants the Prometheus Operator.
    Operator(&'static str),
    /// None: a story makes what it needs, in namespaces of these names.
    Nothing(&'static [&'static str]),
}

/// The exporters' job in every fixture's configuration.
pub(crate) const UP: &str = r#"up{job="metrics-test"}"#;

/// Port of Thanos Query, coordinator and Prometheus.
pub(crate) const HTTP: u16 = 9090;

/// Port of the exporters.
pub(crate) const METRICS: u16 = 9091;

/// Port of the sidecar's API.
pub(crate) const SIDECAR: u16 = 8080;

/// The control: a plain Prometheus that scrapes the same targets at the same INTERVAL.
const CONTROL: &str = include_str!("../control.yaml");

/// deploy/demo as it is.
pub(crate) const DEMO: Fixture = Fixture {
    name: "deploy/demo",
    namespace: "default",
    source: Source::Files(
        "deploy/demo",
        &[
            "metrics.yaml",
            "kvass-rbac.yaml",
            "config.yaml",
            "coordinator.yaml",
            "prometheus-rep-0.yaml",
            "thanos-query.yaml",
            "thanos-rule.yaml",
        ],
    ),
    interval: Duration::from_secs(15),
    generators: 6,
    replicas: &["prometheus-rep-0"],
    coordinator: "kvass-coordinator",
    query: "thanos-query",
    least_privilege: false,
    extra: None,
};

/// deploy/demo with an interval of 5 s and a short idle time.
pub(crate) const DEMO_FAST: Fixture = Fixture {
    name: "tests/e2e/overlays/demo-fast",
    source: Source::Kustomization("tests/e2e/overlays/demo-fast"),
    interval: Duration::from_secs(5),
    ..DEMO
};

/// The same with shards of Prometheus 2.42.
pub(crate) const DEMO_PROMETHEUS_2: Fixture = Fixture {
    name: "tests/e2e/overlays/demo-prometheus-2",
    source: Source::Kustomization("tests/e2e/overlays/demo-prometheus-2"),
    ..DEMO_FAST
};

/// The same with Prometheus as an agent, writing to one Prometheus.
pub(crate) const DEMO_AGENT: Fixture = Fixture {
    name: "tests/e2e/overlays/demo-agent",
    source: Source::Kustomization("tests/e2e/overlays/demo-agent"),
    query: "receiver",
    ..DEMO_FAST
};

/// The same with vmagent.
pub(crate) const DEMO_VMAGENT: Fixture = Fixture {
    name: "tests/e2e/overlays/demo-vmagent",
    source: Source::Kustomization("tests/e2e/overlays/demo-vmagent"),
    query: "receiver",
    extra: Some(Extra { program: "vmagent", module: "vmagent" }),
    ..DEMO_FAST
};

/// deploy/production made small and quick, its bucket a folder: two replicas of the shards, two coordinators.
pub(crate) const PRODUCTION_REPLICAS: Fixture = Fixture {
    name: "tests/e2e/overlays/production-replicas",
    namespace: "monitoring",
    source: Source::Kustomization("tests/e2e/overlays/production-replicas"),
    interval: Duration::from_secs(5),
    generators: 6,
    replicas: &["prometheus-rep-0", "prometheus-rep-1"],
    coordinator: "kvass-coordinator",
    query: "thanos-query",
    least_privilege: true,
    extra: None,
};

/// The same with one replica of the shards.
pub(crate) const PRODUCTION: Fixture = Fixture {
    name: "tests/e2e/overlays/production",
    source: Source::Kustomization("tests/e2e/overlays/production"),
    replicas: &["prometheus-rep-0"],
    ..PRODUCTION_REPLICAS
};

/// The same with blocks of a minute, so that heads stay small although exporters come and go.
pub(crate) const PRODUCTION_CHURN: Fixture = Fixture {
    name: "tests/e2e/overlays/production-churn",
    source: Source::Kustomization("tests/e2e/overlays/production-churn"),
    ..PRODUCTION
};

/// The same with the shards' data in folders that go with their pods.
pub(crate) const PRODUCTION_EMPTYDIR: Fixture = Fixture {
    name: "tests/e2e/overlays/production-emptydir",
    source: Source::Kustomization("tests/e2e/overlays/production-emptydir"),
    ..PRODUCTION
};

/// The chart made small and quick.
pub(crate) const CHART: Fixture = Fixture {
    name: "deploy/helm/kvass",
    source: Source::Chart("tests/e2e/overlays/chart/values.yaml"),
    replicas: &["kvass-rep-0"],
    coordinator: "coordinator",
    query: "query",
    ..PRODUCTION_REPLICAS
};

/// Manifests of the original's v0.1 with our image: shards with volumes.
pub(crate) const DROPIN_V0_1: Fixture = Fixture {
    name: "tests/e2e/overlays/dropin-v0.1",
    source: Source::Kustomization("tests/e2e/overlays/dropin-v0.1"),
    extra: Some(Extra { program: "prometheus-config-reloader", module: "operator" }),
    ..DEMO_FAST
};

/// Those of v0.2, unchanged.
pub(crate) const DROPIN_V0_2: Fixture = Fixture {
    name: "tests/e2e/dropin/v0.2",
    source: Source::Kustomization("tests/e2e/dropin/v0.2"),
    extra: DROPIN_V0_1.extra,
    ..DEMO
};

/// Those of v0.3, unchanged.
pub(crate) const DROPIN_V0_3: Fixture =
    Fixture { name: "tests/e2e/dropin/v0.3", source: Source::Kustomization("tests/e2e/dropin/v0.3"), ..DROPIN_V0_2 };

/// deploy/operator made small and quick, beside the Operator.
pub(crate) const OPERATOR: Fixture = Fixture {
    name: "tests/e2e/overlays/operator",
    source: Source::Operator("tests/e2e/overlays/operator"),
    replicas: &["kvass-shard"],
    extra: Some(Extra { program: "operator", module: "operator" }),
    ..PRODUCTION_REPLICAS
};

/// An empty cluster.
pub(crate) const NOTHING: Fixture = Fixture {
    name: "no manifests",
    source: Source::Nothing(&crate::discovery::NAMESPACES),
    generators: 0,
    replicas: &[],
    ..DEMO
};

/// The exporters, where they are no part of the manifests.
const EXPORTERS: &str = "deploy/demo/metrics.yaml";

/// The namespace of everything that is not in `default`, with the pod security it enforces.
pub(crate) const NAMESPACE: &str = "deploy/production/namespace.yaml";

/// Between two objects of a file.
pub(crate) const DOCUMENT: &str = "\n---\n";

/// Whether a document is an account, or says what accounts may do.
fn is_access(document: &str) -> bool {
    let kind = document.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap_or_default();
    kind == "ServiceAccount" || kind.contains("Role")
}

async fn gone(cluster: &Cluster, namespaces: &[&str]) -> anyhow::Result<()> {
    until("namespaces deleted", Duration::from_secs(120), async || {
        let left = cluster.namespaces().await?;
        anyhow::ensure!(!left.keys().any(|name| namespaces.contains(&name.as_str())), "still there: {left:?}");
        Ok(())
    })
    .await
}

impl Fixture {
    /// Applies everything, the control last, and waits until the exporters and the control are ready.
    pub(crate) async fn up(&self, cluster: &Cluster) -> anyhow::Result<()> {
        tracing::info!("applying {}", self.name);
        if self.namespace != "default" {
            cluster.kubectl(self.namespace, &["create", "-f", &cluster.file(NAMESPACE).display().to_string()]).await?;
        }
        match &self.source {
            Source::Nothing(_) => return Ok(()),
            Source::Operator(folder) => {
                operator::up(cluster).await?;
                let rendered = self.render(cluster, folder).await?;
                cluster.kubectl_with(self.namespace, &["create", "-f", "-"], &rendered).await?;
            }
            Source::Files(folder, files) => {
                for file in *files {
                    let path = cluster.file(folder).join(file);
                    cluster.kubectl(self.namespace, &["create", "-f", &path.display().to_string()]).await?;
                }
            }
            Source::Kustomization(folder) => {
                let rendered = self.render(cluster, folder).await?;
                cluster.kubectl_with(self.namespace, &["create", "-f", "-"], &rendered).await?;
            }
            Source::Chart(values) => {
                self.helm(cluster, "install", values, &[]).await?;
                cluster.kubectl(self.namespace, &["create", "-f", &cluster.file(EXPORTERS).display().to_string()]).await?;
            }
        }
        cluster.kubectl_with(self.namespace, &["create", "-f", "-"], &self.control_manifest()).await?;
        until("exporters and control ready", Duration::from_secs(120), async || {
            let ready = self.generators(cluster).await?.iter().filter(|pod| pod.ready()).count();
            anyhow::ensure!(ready as u64 == self.generators, "{ready} of {} exporters ready", self.generators);
            anyhow::ensure!(self.control(cluster).await?.ready(), "control not ready");
            Ok(())
        })
        .await
    }

    /// Deletes everything, volume claims included, and waits until it is gone.
    pub(crate) async fn down(&self, cluster: &Cluster) -> anyhow::Result<()> {
        const DELETE: &[&str] = &["delete", "--ignore-not-found", "--wait=false"];
        let delete =
            async |more: &[&str], input: &str| cluster.kubectl_with(self.namespace, &[DELETE, more].concat(), input).await;
        match self.source {
            Source::Nothing(namespaces) => {
                delete(&[&["namespaces"], namespaces].concat(), "").await?;
                return gone(cluster, namespaces).await;
            }
            Source::Chart(_) => {
                cluster.helm(&["uninstall", "kvass", "--namespace", self.namespace, "--ignore-not-found"]).await?;
            }
            Source::Files(..) | Source::Kustomization(_) | Source::Operator(_) => {}
        }
        let manifests = self.manifests(cluster).await?;
        let manifests = [manifests, self.control_manifest()].join(DOCUMENT);
        // Whoever loses its permissions before it ends is refused a call, which looks as if they were too few.
        let (access, rest): (Vec<&str>, Vec<&str>) = manifests.split(DOCUMENT).partition(|document| is_access(document));
        delete(&["-f", "-"], &rest.join(DOCUMENT)).await?;
        if let Source::Operator(_) = self.source {
            operator::down(cluster, self.namespace).await?;
        }
        delete(&["persistentvolumeclaims", "--all"], "").await?;
        until("pods deleted", Duration::from_secs(180), async || {
            let pods = cluster.pods(self.namespace).await?;
            anyhow::ensure!(pods.is_empty(), "{} pods are still there", pods.len());
            Ok(())
        })
        .await?;
        delete(&["-f", "-"], &access.join(DOCUMENT)).await?;
        if self.namespace != "default" {
            delete(&["namespace", self.namespace], "").await?;
        }
        until("everything deleted", Duration::from_secs(60), async || {
            let claims = cluster.claims(self.namespace).await?;
            anyhow::ensure!(claims.is_empty(), "{} volume claims are still there", claims.len());
            let gone = self.namespace == "default" || !cluster.namespaces().await?.contains_key(self.namespace);
            anyhow::ensure!(gone, "namespace {} is still there", self.namespace);
            Ok(())
        })
        .await
    }

    /// All objects that are not made by helm.
    pub(crate) async fn manifests(&self, cluster: &Cluster) -> anyhow::Result<String> {
        match &self.source {
            Source::Files(folder, files) => {
                let texts: Result<Vec<String>, _> =
                    files.iter().map(|file| std::fs::read_to_string(cluster.file(folder).join(file))).collect();
                Ok(texts.with_context(|| (*folder).to_owned())?.join(DOCUMENT))
            }
            Source::Kustomization(folder) | Source::Operator(folder) => self.render(cluster, folder).await,
            Source::Chart(_) => std::fs::read_to_string(cluster.file(EXPORTERS)).context(EXPORTERS),
            Source::Nothing(_) => Ok(String::new()),
        }
    }

    /// `helm install` or `helm upgrade` of the chart with a file of values and more flags.
    pub(crate) async fn helm(&self, cluster: &Cluster, command: &str, values: &str, more: &[&str]) -> anyhow::Result<()> {
        let (chart, values) = (cluster.file("deploy/helm/kvass"), cluster.file(values));
        let (chart, values) = (chart.display().to_string(), values.display().to_string());
        let arguments = [command, "kvass", &chart, "--namespace", self.namespace, "--values", &values];
        cluster.helm(&[&arguments, more].concat()).await?;
        Ok(())
    }

    fn control_manifest(&self) -> String {
        CONTROL.replace("INTERVAL", &format!("{}s", self.interval.as_secs()))
    }

    /// What `kubectl apply -k` would send.
    pub(crate) async fn render(&self, cluster: &Cluster, folder: &str) -> anyhow::Result<String> {
        let folder = cluster.file(folder);
        // Overlays build on files of deploy/, which lie outside of theirs.
        let arguments = ["kustomize", "--load-restrictor=LoadRestrictionsNone", &folder.display().to_string()];
        cluster.kubectl(self.namespace, &arguments).await
    }

    /// The exporters.
    pub(crate) async fn generators(&self, cluster: &Cluster) -> anyhow::Result<Vec<Pod>> {
        cluster.pods_called(self.namespace, "metrics").await
    }

    /// The shards of all replicas.
    pub(crate) async fn shards(&self, cluster: &Cluster) -> anyhow::Result<Vec<Pod>> {
        let mut pods = cluster.pods(self.namespace).await?;
        pods.retain(|pod| pod.deleting.is_none() && self.replicas.contains(&pod.owner.as_str()));
        Ok(pods)
    }

    /// The coordinators.
    pub(crate) async fn coordinators(&self, cluster: &Cluster) -> anyhow::Result<Vec<Pod>> {
        cluster.pods_called(self.namespace, self.coordinator).await
    }

    /// Who is asked for what all shards stored.
    pub(crate) async fn query(&self, cluster: &Cluster) -> anyhow::Result<Pod> {
        self.one(cluster, self.query).await
    }

    /// The plain Prometheus.
    pub(crate) async fn control(&self, cluster: &Cluster) -> anyhow::Result<Pod> {
        self.one(cluster, "kvass-e2e-control").await
    }

    async fn one(&self, cluster: &Cluster, name: &str) -> anyhow::Result<Pod> {
        let pods = cluster.pods_called(self.namespace, name).await?;
        pods.into_iter().max_by_key(Pod::ready).with_context(|| format!("no pod {name}"))
    }

    /// What the coordinator that leads says of itself.
    pub(crate) async fn coordinator_status(&self, cluster: &Cluster) -> anyhow::Result<Value> {
        Ok(self.leader(cluster).await?.1)
    }

    /// The coordinator that leads, and what it says of itself.
    pub(crate) async fn leader(&self, cluster: &Cluster) -> anyhow::Result<(Pod, Value)> {
        let mut last = anyhow::anyhow!("no coordinator");
        for pod in self.coordinators(cluster).await? {
            match cluster.ask_data(&pod, HTTP, "/api/v1/coordinator/status", &[]).await {
                Ok(status) if status["leader"] == false => last = anyhow::anyhow!("no coordinator leads"),
                Ok(status) if status["replicas"].as_array().is_some_and(|replicas| !replicas.is_empty()) => {
                    return Ok((pod, status));
                }
                Ok(_) => last = anyhow::anyhow!("no coordinator knows any replica yet"),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
