//! What discovery of many pods costs, next to Prometheus: memory, time and processor.

mod pods;
mod table;
mod usage;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;

use self::{pods::Pods, table::Table, usage::Usage};
use crate::{
    cluster::until,
    control_plane::{ControlPlane, obstacle, versions},
    discovery::{Line, Programs, Server, dropping},
};

const NEEDED: [&str; 3] = ["etcd", "kube-apiserver", "prometheus"];

/// How long everything may take to be there.
const LIMIT: Duration = Duration::from_secs(900);
/// After that nothing of the beginning is going on any more; Prometheus collects its garbage meanwhile.
const SETTLE: Duration = Duration::from_secs(30);
/// Of all pods, those that are replaced in a minute.
const CHURN: usize = 100;

/// How much is measured.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Scale {
    /// Pods there are.
    #[arg(long, default_value_t = 100_000)]
    pods: usize,
    /// How often the first list is measured.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Minutes in which one pod of a hundred is replaced.
    #[arg(long, default_value_t = 3)]
    minutes: usize,
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} pods", self.pods)
    }
}

/// Who is measured.
struct Contender {
    name: &'static str,
    programs: Programs,
    /// The metric with the number of targets that it has discovered.
    metric: &'static str,
}

/// What was measured of one of them.
#[derive(Debug, Default)]
struct Figures {
    empty: Usage,
    full: Vec<Usage>,
    /// Seconds to the first complete list.
    first: Vec<f64>,
    before_churn: Usage,
    after_churn: Usage,
}

/// Why nothing can be measured.
pub(crate) fn not_run(bin: &Path, kvass: &Path) -> Option<String> {
    obstacle(bin, &NEEDED).or_else(|| (!kvass.is_file()).then(|| format!("{} is missing", kvass.display())))
}

/// Measures; the result is Markdown. `before` is another coordinator to be measured too.
pub(crate) async fn run(
    bin: &Path,
    kvass: &Path,
    before: Option<PathBuf>,
    folder: &Path,
    scale: Scale,
) -> anyhow::Result<String> {
    let programs = |kvass: &Path| Programs {
        kvass: kvass.to_owned(),
        prometheus: bin.join("prometheus"),
        line: Line::V3,
        folder: folder.join("servers"),
    };
    let dropped = "kvass_coordinator_dropped_targets";
    let mut contenders = vec![
        Contender { name: "kvass", programs: programs(kvass), metric: dropped },
        Contender { name: "Prometheus", programs: programs(kvass), metric: "prometheus_sd_discovered_targets" },
    ];
    contenders.extend(before.map(|before| Contender { name: "kvass before", programs: programs(&before), metric: dropped }));

    // Nothing is to compete with what is measured.
    let arguments = ["--audit-log-path=", "--enable-priority-and-fairness=false", "--profiling=false"];
    let mut plane = ControlPlane::start(bin, folder.join("plane"), &arguments).await?;
    let kubeconfig = plane.admin()?;
    let config = dropping([("pods", format!("role: pod, kubeconfig_file: '{}'", kubeconfig.display()))]);
    let mut figures: Vec<Figures> = contenders.iter().map(|_| Figures::default()).collect();
    for (contender, figures) in contenders.iter().zip(&mut figures) {
        let server = contender.start(&config).await?;
        tokio::time::sleep(SETTLE / 3).await;
        figures.empty = Usage::of(server.pid()?)?;
        server.stop().await?;
    }

    let mut pods = Pods::new(plane.api().clone(), scale.pods).await?;
    plane.stop_server().await?;
    pods.fill(plane.etcd()).await?;
    plane.start_server().await?;

    for round in 0..scale.rounds {
        for (contender, figures) in contenders.iter().zip(&mut figures) {
            let start = Instant::now();
            let server = contender.start(&config).await?;
            contender.complete(&server, pods.targets()).await?;
            figures.first.push(start.elapsed().as_secs_f64());
            tokio::time::sleep(SETTLE).await;
            figures.full.push(Usage::of(server.pid()?)?);
            tracing::info!("round {round}: {}: {figures:?}", contender.name);
            server.stop().await?;
        }
    }

    let mut servers = vec![];
    for contender in &contenders {
        let server = contender.start(&config).await?;
        contender.complete(&server, pods.targets()).await?;
        servers.push(server);
    }
    tokio::time::sleep(SETTLE).await;
    let usages = || servers.iter().map(|server| Usage::of(server.pid()?)).collect::<anyhow::Result<Vec<_>>>();
    let before = usages()?;
    pods.churn(scale.pods / CHURN, scale.minutes).await?;
    let after = usages()?;
    for (contender, server) in contenders.iter().zip(&servers) {
        contender.complete(server, pods.targets()).await?;
    }
    for ((figures, before), after) in figures.iter_mut().zip(before).zip(after) {
        (figures.before_churn, figures.after_churn) = (before, after);
    }
    let names = contenders.iter().map(|contender| contender.name);
    let table = Table { scale, figures: names.zip(&figures).collect(), bytes: pods.bytes() };
    Ok(table.markdown(&versions(bin, &NEEDED).await))
}

impl Contender {
    async fn start(&self, config: &str) -> anyhow::Result<Server> {
        match self.name {
            "Prometheus" => self.programs.prometheus(config).await,
            _ => self.programs.coordinator(config).await,
        }
    }

    async fn complete(&self, server: &Server, targets: usize) -> anyhow::Result<()> {
        until(&format!("{}: {targets} targets", self.name), LIMIT, async || {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let found = server.metric(self.metric).await? as usize;
            anyhow::ensure!(found == targets, "{found} are discovered");
            Ok(())
        })
        .await
        .with_context(|| server.config().display().to_string())
    }
}
