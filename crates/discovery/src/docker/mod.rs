//! Targets from a Docker daemon: its own containers, or the swarm it manages.

mod containers;
mod daemon;
mod network;
mod nodes;
mod services;
mod tasks;

use std::sync::Arc;

use kvass_config::{DockerSdConfig, DockerSwarmRole, DockerSwarmSdConfig};
use kvass_model::{Labels, TargetGroup};

use self::daemon::Daemon;
use crate::{
    api::masked,
    feed::Feed,
    manager::DiscoveryOptions,
    refresh::{self, Findings, Mechanism, RefreshError},
};

/// Lists the containers of a `docker_sd_configs` entry in its rhythm, for ever.
pub(crate) async fn run(config: DockerSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let name = format!("docker_sd_configs: {}", masked(&config.daemon.host));
    let interval = config.daemon.refresh_interval;
    let set_up = move || Ok(Docker { daemon: Daemon::new(&config.daemon, &options)?, config: config.clone() });
    refresh::run(name, interval, set_up, feed).await;
}

/// Lists what a `dockerswarm_sd_configs` entry asks for in its rhythm, for ever.
pub(crate) async fn run_swarm(config: DockerSwarmSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let name = format!("dockerswarm_sd_configs: {}", masked(&config.daemon.host));
    let interval = config.daemon.refresh_interval;
    let set_up = move || Ok(Swarm { daemon: Daemon::new(&config.daemon, &options)?, config: config.clone() });
    refresh::run(name, interval, set_up, feed).await;
}

struct Docker {
    daemon: Daemon,
    config: DockerSdConfig,
}

impl Mechanism for Docker {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let containers = self.daemon.list_filtered("/containers/json").await?;
        let networks = self.daemon.list("/networks").await?;
        Ok(group("Docker", containers::targets(containers, &networks, &self.config)).into())
    }
}

struct Swarm {
    daemon: Daemon,
    config: DockerSwarmSdConfig,
}

impl Mechanism for Swarm {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let (daemon, port) = (&mut self.daemon, self.config.port);
        let targets = match self.config.role {
            DockerSwarmRole::Nodes => nodes::targets(&daemon.list_filtered::<nodes::Node>("/nodes").await?, port),
            DockerSwarmRole::Services => {
                let services = daemon.list_filtered::<services::Service>("/services").await?;
                services::targets(&services, &daemon.list("/networks").await?, port)?
            }
            DockerSwarmRole::Tasks => {
                let tasks = daemon.list_filtered("/tasks").await?;
                let services = daemon.list("/services").await?;
                let nodes = daemon.list("/nodes").await?;
                let networks = daemon.list("/networks").await?;
                tasks::targets(tasks, &tasks::Around::new(&services, &nodes, &networks), port)?
            }
        };
        Ok(group("DockerSwarm", targets).into())
    }
}

fn group(source: &str, targets: Vec<Labels>) -> TargetGroup {
    TargetGroup { source: source.to_owned(), targets, labels: Labels::default() }
}
