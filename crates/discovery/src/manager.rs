//! Keeps one discoverer running per distinct discovery section and publishes what they find.

use std::{
    collections::BTreeMap,
    fmt,
    future::{self, Future},
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
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
/// Pause before a discoverer that broke down begins anew.
const RESTART: Duration = Duration::from_secs(15);

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
        let task = match section.clone() {
            SdConfig::Static(groups) => {
                let groups = groups.into_iter().enumerate();
                feed.replace(groups.map(|(index, group)| TargetGroup { source: index.to_string(), ..group }));
                None
            }
            // The delegate serves all of them together.
            SdConfig::Other(_) => None,
            section => {
                let to = Arc::clone(&feed);
                let (options, files, kubernetes) = (self.options.clone(), Arc::clone(&self.files), Arc::clone(&self.kubernetes));
                let run = move || discoverer(section.clone(), options.clone(), &files, &kubernetes, Arc::clone(&to));
                Some(Task::spawn(never_ending(run, Arc::clone(&feed))))
            }
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

/// What discovers the groups of a section and puts them into `to`, for ever.
fn discoverer(
    section: SdConfig,
    options: DiscoveryOptions,
    files: &Arc<FileWatcher>,
    kubernetes: &Arc<WatchPool>,
    to: Arc<Feed>,
) -> BoxFuture<'static, ()> {
    match section {
        // Known at once, or served by the delegate.
        SdConfig::Static(_) | SdConfig::Other(_) => future::ready(()).boxed(),
        SdConfig::File(config) => file::run(config, Arc::clone(files), to).boxed(),
        SdConfig::Http(config) => http::run(config, options, to).boxed(),
        SdConfig::Kubernetes(config) => kubernetes::run(*config, Arc::clone(kubernetes), to).boxed(),
        SdConfig::Dns(config) => dns::run(config, options.dns, to).boxed(),
        SdConfig::Consul(config) => consul::run(config, options, to).boxed(),
        SdConfig::Docker(config) => docker::run(config, options, to).boxed(),
        SdConfig::DockerSwarm(config) => docker::run_swarm(config, options, to).boxed(),
        SdConfig::Nomad(config) => nomad::run(config, options, to).boxed(),
        SdConfig::Eureka(config) => eureka::run(config, options, to).boxed(),
        SdConfig::Marathon(config) => marathon::run(config, options, to).boxed(),
        SdConfig::PuppetDb(config) => puppetdb::run(config, options, to).boxed(),
        SdConfig::DigitalOcean(config) => clouds::run_digitalocean(config, options, to).boxed(),
        SdConfig::Hetzner(config) => clouds::run_hetzner(config, options, to).boxed(),
        SdConfig::Linode(config) => clouds::run_linode(config, options, to).boxed(),
        SdConfig::Vultr(config) => clouds::run_vultr(config, options, to).boxed(),
        SdConfig::Scaleway(config) => clouds::run_scaleway(config, options, to).boxed(),
        SdConfig::Aws(config) => clouds::run_aws(config, options, to).boxed(),
        SdConfig::Gce(config) => clouds::run_gce(config, options, to).boxed(),
        SdConfig::Azure(config) => clouds::run_azure(config, options, to).boxed(),
        SdConfig::OpenStack(config) => clouds::run_openstack(config, options, to).boxed(),
        SdConfig::OvhCloud(config) => clouds::run_ovhcloud(config, options, to).boxed(),
        SdConfig::Ionos(config) => clouds::run_ionos(config, options, to).boxed(),
    }
}

/// Runs what `run` makes; makes it anew should it ever fall over something that nobody thought of. The groups stay meanwhile.
pub(crate) async fn never_ending(run: impl Fn() -> BoxFuture<'static, ()>, feed: Arc<Feed>) {
    while AssertUnwindSafe(run()).catch_unwind().await.is_err() {
        let section = feed.lock().name.clone();
        tracing::error!(section, "discovery broke down, it begins anew in {} s", RESTART.as_secs());
        feed.set_errors(vec![format!("{section}: discovery broke down, which is a mistake in kvass; it begins anew")]);
        tokio::time::sleep(RESTART).await;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kvass_model::Labels;

    use super::*;

    #[tokio::test(start_paused = true)]
    #[allow(clippy::panic)]
    async fn a_discoverer_that_breaks_down_begins_anew_and_loses_nothing() {
        let feed = Feed::new(Arc::default());
        feed.set_name("x_sd_configs");
        let (to, lives) = (Arc::clone(&feed), Arc::new(AtomicUsize::new(0)));
        let group = |source: &str| TargetGroup {
            source: source.to_owned(),
            targets: vec![Labels::from([("__address__", "a:1")])],
            labels: Labels::default(),
        };
        let run = move || {
            let (to, life) = (Arc::clone(&to), lives.fetch_add(1, Ordering::SeqCst));
            async move {
                to.set_errors(Vec::new());
                to.replace([group(&life.to_string())]);
                if life == 0 {
                    panic!("nobody thought of this");
                }
                future::pending().await
            }
            .boxed()
        };
        let _task = Task::spawn(never_ending(run, Arc::clone(&feed)));
        let seen = || {
            let state = feed.lock();
            (state.groups.keys().cloned().collect::<Vec<_>>(), state.errors.clone())
        };
        tokio::time::sleep(RESTART / 2).await;
        let broken = "x_sd_configs: discovery broke down, which is a mistake in kvass; it begins anew";
        assert_eq!(seen(), (vec!["0".to_owned()], vec![broken.to_owned()]));
        tokio::time::sleep(RESTART).await;
        assert_eq!(seen(), (vec!["1".to_owned()], Vec::new()));
    }
}
