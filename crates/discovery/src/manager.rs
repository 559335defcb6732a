//! Keeps one discoverer running per distinct discovery section and publishes what they find.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use kvass_config::{OtherSdConfig, ScrapeConfig, SdConfig};
use kvass_model::{PrometheusLine, TargetGroup};
use kvass_service::FileWatcher;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    clouds, consul,
    delegate::{Delegate, DelegateOptions},
    dns, docker,
    environment::Environment,
    eureka,
    feed::{Feed, lock},
    file, http,
    kubernetes::{self, WatchPool},
    loss::MaxLoss,
    marathon, nomad, puppetdb,
};

/// Changes that come together are published together; far below the time a reaction may take.
const SETTLE: Duration = Duration::from_millis(20);

/// A publication may be followed by the next after this many times what it took: all groups are gone through each time, and
/// among a hundred thousand one changes all the time.
const REST: u32 = 9;
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How discoverers reach others.
#[derive(Clone, Debug)]
pub struct DiscoveryOptions {
    /// Reuse connections.
    pub keep_alive: bool,
    /// Proxy of `http_sd_configs` sections that name none.
    pub scrape_proxy: Option<String>,
    /// HTTP/2 where configured and the server offers it.
    pub http2: bool,
    /// Who answers `dns_sd_configs`.
    pub dns: DnsOptions,
    /// Where the clients of cloud providers look for credentials.
    pub environment: Environment,
    /// The Prometheus that discovers what kvass has no code for; `None`: nobody does.
    pub delegate: Option<DelegateOptions>,
    /// Which loss of targets one read is not believed; `None`: every read is.
    pub max_loss: Option<MaxLoss>,
}

/// Where DNS servers are found.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// File that names them, and the domains to search; read for every refresh.
    pub resolv_conf: PathBuf,
    /// Port on which all of them answer.
    pub port: u16,
}

impl Default for DnsOptions {
    /// The system's.
    fn default() -> Self {
        DnsOptions { resolv_conf: "/etc/resolv.conf".into(), port: 53 }
    }
}

/// Everything discovered at one moment; immutable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Discovered {
    /// By job name; exactly the jobs last applied.
    pub jobs: BTreeMap<Arc<str>, JobDiscovery>,
}

/// What was discovered for one job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobDiscovery {
    /// Groups of all its discoverers, in the order of the sections; none is without targets.
    pub groups: Vec<Arc<TargetGroup>>,
    /// Whether every supported discoverer of the job has delivered at least once. Until then an absent
    /// target may just not have been discovered yet.
    pub complete: bool,
    /// What is failing now, for operators, without secrets. The last good groups stay in force.
    pub errors: Vec<String>,
    /// Sections that nobody discovers, for example `kuma_sd_configs`.
    pub unsupported: Vec<String>,
    /// Targets among the groups that were missing when their section was last read.
    pub held: Vec<HeldTargets>,
}

/// Targets of a section that stay until a further read, because too many were missing at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTargets {
    /// The section, without secrets.
    pub section: String,
    /// How many stay.
    pub targets: usize,
    /// How many there were before they were missing.
    pub of: usize,
}

impl fmt::Display for HeldTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HeldTargets { section, targets, of } = self;
        write!(f, "{section}: {targets} of {of} targets are missing, they stay until a further read misses them, too")
    }
}

/// Owns the running discoverers. Equal sections share one discoverer, over jobs and over reloads.
#[derive(Debug)]
pub struct Manager {
    shared: Arc<Shared>,
    publisher: Task,
}

#[derive(Debug)]
struct Shared {
    options: DiscoveryOptions,
    files: Arc<FileWatcher>,
    kubernetes: Arc<WatchPool>,
    delegate: Option<Delegate>,
    changed: Arc<Notify>,
    jobs: Mutex<Vec<Job>>,
    published: watch::Sender<Arc<Discovered>>,
}

#[derive(Debug)]
struct Job {
    name: Arc<str>,
    discoverers: Vec<Arc<Discoverer>>,
    unsupported: Vec<String>,
}

#[derive(Debug)]
struct Discoverer {
    section: SdConfig,
    feed: Arc<Feed>,
    /// Absent where everything is known at once.
    _task: Option<Task>,
}

impl Manager {
    /// No job yet. Must be called inside a tokio runtime.
    pub fn new(options: DiscoveryOptions) -> Self {
        Self::with_file_watcher(options, FileWatcher::new())
    }

    /// Like [`Manager::new`], with the watcher that the rest of the process uses: each one costs an
    /// inotify instance, of which a node has few.
    pub fn with_file_watcher(options: DiscoveryOptions, files: Arc<FileWatcher>) -> Self {
        let shared = Arc::new(Shared {
            kubernetes: Arc::new(WatchPool::new(&options)),
            delegate: options.delegate.clone().map(|delegate| Delegate::start(delegate, &options)),
            options,
            files,
            changed: Arc::default(),
            jobs: Mutex::default(),
            published: watch::Sender::default(),
        });
        let publisher = Task::spawn(publish_changes(Arc::clone(&shared)));
        Manager { shared, publisher }
    }

    /// Starts, keeps and stops discoverers so that they are those of `jobs`, and publishes at once what
    /// is known already. The jobs have passed through [`kvass_config::apply_sd_injection`].
    pub fn apply(&self, jobs: &[Arc<ScrapeConfig>]) {
        let mut current = lock(&self.shared.jobs);
        let mut running: Vec<Arc<Discoverer>> = current.iter().flat_map(|job| job.discoverers.iter().cloned()).collect();
        *current = jobs.iter().map(|job| self.shared.start_job(job, &mut running)).collect();
        if let Some(delegate) = &self.shared.delegate {
            delegate.discover(current.iter().flat_map(|job| &job.discoverers).filter_map(|discoverer| discoverer.delegated()));
        }
        self.shared.publish(&current);
    }

    /// Says which Prometheus' rules discovery follows from now on, where its versions discover differently.
    pub fn set_line(&self, line: PrometheusLine) {
        self.shared.kubernetes.set_line(line);
    }

    /// The snapshots: replaced whenever anything changed.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Discovered>> {
        self.shared.published.subscribe()
    }

    /// Stops all discoverers; the last snapshot stays readable. Dropping the manager does the same.
    pub async fn shutdown(&self) {
        self.publisher.stop();
        if let Some(delegate) = &self.shared.delegate {
            delegate.stop();
        }
        lock(&self.shared.jobs).clear();
    }
}

impl Shared {
    fn start_job(&self, job: &ScrapeConfig, running: &mut Vec<Arc<Discoverer>>) -> Job {
        let mut discoverers: Vec<Arc<Discoverer>> = Vec::new();
        let mut unsupported = Vec::new();
        for section in &job.service_discovery {
            if let SdConfig::Other(other) = section
                && self.delegate.is_none()
            {
                if !unsupported.contains(&other.key) {
                    unsupported.push(other.key.clone());
                }
                continue;
            }
            let discoverer = running.iter().find(|d| d.section == *section).cloned().unwrap_or_else(|| {
                let started = self.start(section);
                running.push(Arc::clone(&started));
                started
            });
            if !discoverers.iter().any(|d| Arc::ptr_eq(d, &discoverer)) {
                discoverers.push(discoverer);
            }
        }
        Job { name: Arc::clone(&job.job_name), discoverers, unsupported }
    }

    fn start(&self, section: &SdConfig) -> Arc<Discoverer> {
        let feed = Feed::with_max_loss(Arc::clone(&self.changed), self.options.max_loss);
        let to = Arc::clone(&feed);
        let task = match section.clone() {
            SdConfig::Static(groups) => {
                let groups = groups.into_iter().enumerate();
                feed.replace(groups.map(|(index, group)| TargetGroup { source: index.to_string(), ..group }));
                None
            }
            SdConfig::File(config) => Some(Task::spawn(file::run(config, Arc::clone(&self.files), to))),
            SdConfig::Http(config) => Some(Task::spawn(http::run(config, self.options.clone(), to))),
            SdConfig::Kubernetes(config) => Some(Task::spawn(kubernetes::run(*config, Arc::clone(&self.kubernetes), to))),
            SdConfig::Dns(config) => Some(Task::spawn(dns::run(config, self.options.dns.clone(), to))),
            SdConfig::Consul(config) => Some(Task::spawn(consul::run(config, self.options.clone(), to))),
            SdConfig::Docker(config) => Some(Task::spawn(docker::run(config, self.options.clone(), to))),
            SdConfig::DockerSwarm(config) => Some(Task::spawn(docker::run_swarm(config, self.options.clone(), to))),
            SdConfig::Nomad(config) => Some(Task::spawn(nomad::run(config, self.options.clone(), to))),
            SdConfig::Eureka(config) => Some(Task::spawn(eureka::run(config, self.options.clone(), to))),
            SdConfig::Marathon(config) => Some(Task::spawn(marathon::run(config, self.options.clone(), to))),
            SdConfig::PuppetDb(config) => Some(Task::spawn(puppetdb::run(config, self.options.clone(), to))),
            SdConfig::DigitalOcean(config) => Some(Task::spawn(clouds::run_digitalocean(config, self.options.clone(), to))),
            SdConfig::Hetzner(config) => Some(Task::spawn(clouds::run_hetzner(config, self.options.clone(), to))),
            SdConfig::Linode(config) => Some(Task::spawn(clouds::run_linode(config, self.options.clone(), to))),
            SdConfig::Vultr(config) => Some(Task::spawn(clouds::run_vultr(config, self.options.clone(), to))),
            SdConfig::Scaleway(config) => Some(Task::spawn(clouds::run_scaleway(config, self.options.clone(), to))),
            SdConfig::Aws(config) => Some(Task::spawn(clouds::run_aws(config, self.options.clone(), to))),
            SdConfig::Gce(config) => Some(Task::spawn(clouds::run_gce(config, self.options.clone(), to))),
            SdConfig::Azure(config) => Some(Task::spawn(clouds::run_azure(config, self.options.clone(), to))),
            SdConfig::OpenStack(config) => Some(Task::spawn(clouds::run_openstack(config, self.options.clone(), to))),
            SdConfig::OvhCloud(config) => Some(Task::spawn(clouds::run_ovhcloud(config, self.options.clone(), to))),
            SdConfig::Ionos(config) => Some(Task::spawn(clouds::run_ionos(config, self.options.clone(), to))),
            // The delegate serves all of them together.
            SdConfig::Other(_) => None,
        };
        Arc::new(Discoverer { section: section.clone(), feed, _task: task })
    }

    fn publish(&self, jobs: &[Job]) {
        let jobs = jobs.iter().map(|job| (Arc::clone(&job.name), job.snapshot())).collect();
        let discovered = Discovered { jobs };
        self.published.send_if_modified(|last| {
            let modified = **last != discovered;
            if modified {
                *last = Arc::new(discovered);
            }
            modified
        });
    }
}

impl Discoverer {
    /// The section and where its targets go, if it is one for the delegate.
    fn delegated(&self) -> Option<(OtherSdConfig, Arc<Feed>)> {
        match &self.section {
            SdConfig::Other(section) => Some((section.clone(), Arc::clone(&self.feed))),
            _ => None,
        }
    }
}

impl Job {
    fn snapshot(&self) -> JobDiscovery {
        let mut snapshot = JobDiscovery { complete: true, unsupported: self.unsupported.clone(), ..JobDiscovery::default() };
        for discoverer in &self.discoverers {
            let state = discoverer.feed.lock();
            snapshot.groups.extend(state.in_force().cloned());
            snapshot.complete &= state.delivered;
            snapshot.errors.extend_from_slice(&state.errors);
            snapshot.held.extend(state.held.as_ref().map(|held| HeldTargets {
                section: state.name.clone(),
                targets: held.targets(),
                of: held.of,
            }));
        }
        snapshot
    }
}

async fn publish_changes(shared: Arc<Shared>) {
    loop {
        shared.changed.notified().await;
        tokio::time::sleep(SETTLE).await;
        let started = Instant::now();
        shared.publish(&lock(&shared.jobs));
        tokio::time::sleep((started.elapsed() * REST).min(LONGEST_REST)).await;
    }
}

/// A spawned task that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Task(tokio::spawn(future))
    }

    /// Ends it before.
    pub(crate) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
