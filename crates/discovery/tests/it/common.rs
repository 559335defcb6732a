use std::{path::PathBuf, sync::Arc, time::Duration};

use kvass_config::{Config, LoadContext, ScrapeConfig};
use kvass_discovery::{Discovered, DiscoveryOptions, DnsOptions, Environment, JobDiscovery, Manager};
use kvass_model::PrometheusLine;
use tokio::sync::watch;

/// The jobs of a configuration file.
pub(crate) fn parse(text: &str, line: PrometheusLine) -> Vec<Arc<ScrapeConfig>> {
    let context =
        LoadContext { path: PathBuf::from("/etc/prometheus.yml"), line, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
    Config::parse(text, &context).unwrap_or_else(|error| panic!("{error}")).jobs().to_vec()
}

/// The jobs of a list of scrape configurations.
pub(crate) fn jobs(scrape_configs: &str) -> Vec<Arc<ScrapeConfig>> {
    parse(&format!("scrape_configs:\n{scrape_configs}"), PrometheusLine::V2)
}

pub(crate) fn options() -> DiscoveryOptions {
    DiscoveryOptions {
        keep_alive: true,
        scrape_proxy: None,
        http2: true,
        dns: DnsOptions::default(),
        environment: Environment::default(),
        delegate: None,
        max_loss: None,
    }
}

pub(crate) fn manager() -> Manager {
    manager_with(DnsOptions::default())
}

pub(crate) fn manager_with(dns: DnsOptions) -> Manager {
    Manager::new(DiscoveryOptions { dns, ..options() })
}

pub(crate) fn manager_in(environment: Environment) -> Manager {
    Manager::new(DiscoveryOptions { environment, ..options() })
}

/// Waits until the job looks as it should; shows how it looks instead when it never does.
#[track_caller]
pub(crate) fn until(
    snapshots: &mut watch::Receiver<Arc<Discovered>>,
    job: &str,
    mut holds: impl FnMut(&JobDiscovery) -> bool,
) -> impl Future<Output = JobDiscovery> {
    let caller = std::panic::Location::caller();
    async move {
        let found = snapshots.wait_for(|d| d.jobs.get(job).is_some_and(&mut holds));
        let found = tokio::time::timeout(Duration::from_secs(60), found).await.map(|d| d.unwrap().jobs[job].clone());
        found.unwrap_or_else(|_| panic!("{caller}: never came about, last seen: {:#?}", snapshots.borrow().jobs.get(job)))
    }
}

/// The addresses of all targets, in order.
pub(crate) fn addresses(job: &JobDiscovery) -> Vec<String> {
    job.groups.iter().flat_map(|group| group.targets.iter().map(|target| target.address().to_owned())).collect()
}
