use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use kvass_config::{Config, ScrapeConfig, apply_scrape_injection, apply_sd_injection};
use kvass_discovery::{DiscoveryOptions, DnsOptions, Environment, Manager};
use kvass_model::PrometheusLine;
use kvass_scrape::{ClientOptions, JobClients};
use kvass_service::{ConfigFile, FileWatcher, metrics::Metrics, tasks::panicked};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};

use crate::{
    catalog::{Catalog, Resolvers},
    cycle::{Cycles, Pace},
    explore::Explorer,
    extra::Extra,
    leader::{Candidate, Leadership},
    memory::Sizes,
    metrics::CoordinatorMetrics,
    options::Options,
    published::Published,
    shards::{ManagerContext, ShardError, ShardManager},
    web,
};

/// How long news is collected before it is acted on.
const GATHER: Duration = Duration::from_millis(50);
/// Least time from the start of one cycle to the start of the next, whatever the news. The first news after
/// a quiet while waits for nothing but [`GATHER`].
const LEAST_GAP: Duration = Duration::from_millis(100);
/// Longest that news waits for the sake of what a cycle costs.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// Rhythm while something is under way.
const SOON: Duration = Duration::from_secs(1);
/// Longest time any single call to a shard may take.
const SHARD_TIMEOUT: Duration = crate::observe::READ_TIMEOUT;

/// Why a coordinator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The listen address is taken or wrong.
    #[error("--web.address={address}: cannot listen")]
    Listen {
        /// The address as given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The source of shards cannot be used.
    #[error("shards cannot be managed: {0}")]
    Shards(String),
    /// This coordinator cannot take part in the election of a leader.
    #[error("--leader-elect: {0}")]
    LeaderElection(String),
    /// The client for shards cannot be built.
    #[error("HTTP client for shards")]
    Client(#[from] reqwest::Error),
}

/// What the API and the cycles share. Snapshots, replaced as a whole.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) registry: Metrics,
    pub(crate) metrics: CoordinatorMetrics,
    pub(crate) config_file: Arc<ConfigFile>,
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) published: ArcSwap<Published>,
    pub(crate) explorer: Arc<Explorer>,
    pub(crate) extra: Extra,
    pub(crate) leadership: Leadership,
    pub(crate) http: reqwest::Client,
    /// When discovery began: with the first configuration.
    discovering_since: OnceLock<Instant>,
    discovery_settled: AtomicBool,
}

impl Shared {
    /// Whether discovery has had its chance: every job has delivered, or failed, or time is up.
    pub(crate) fn discovery_settled(&self) -> bool {
        if !self.discovery_settled.load(Ordering::Relaxed) {
            let settled = self.catalog.load().is_settled();
            let timed_out = self.discovering_since.get().is_some_and(|at| at.elapsed() >= self.options.sd_init_timeout);
            if timed_out && !settled {
                let catalog = self.catalog.load();
                for (job, _) in catalog.jobs.iter().filter(|(_, job)| job.is_awaited()) {
                    tracing::warn!(%job, "discovery has not delivered within --sd.init-timeout, going on without");
                }
            }
            self.discovery_settled.store(settled || timed_out, Ordering::Relaxed);
        }
        self.discovery_settled.load(Ordering::Relaxed)
    }

    /// Replaces the catalog. Only the coordinator's own loop does.
    pub(crate) fn store_catalog(&self, catalog: Catalog) -> Arc<Catalog> {
        let catalog = Arc::new(catalog);
        self.metrics.catalog(&catalog);
        self.catalog.store(Arc::clone(&catalog));
        catalog
    }
}

/// A coordinator that listens but does not work yet.
pub struct Coordinator {
    listener: TcpListener,
    shared: Arc<Shared>,
    pub(crate) manager: ShardManager,
    news: Arc<Notify>,
    candidate: Option<Candidate>,
}

impl Coordinator {
    /// Binds the listener, makes a first attempt at the configuration, connects to whatever manages the shards.
    ///
    /// # Errors
    /// What is a mistake of usage. A missing or refused configuration is none: the coordinator serves its API, unready,
    /// says why, and begins its work once the file is good.
    pub async fn build(options: Options) -> Result<Self, BuildError> {
        Self::with_election_client(options, None).await
    }

    /// As [`Coordinator::build`]; leaders are elected through `client` where one is given, otherwise through the
    /// API server that the service account or the kubeconfig names.
    pub async fn with_election_client(options: Options, client: Option<kube::Client>) -> Result<Self, BuildError> {
        let listener = bind(&options.web_address).await?;
        let line = options.prometheus_line.unwrap_or_default();
        let config_file = ConfigFile::new(&options.config_file, line, options.store_path.as_deref());
        if options.prometheus_line.is_none() {
            config_file.leave_line_open();
        }
        // A failure is logged and kept in the file's state.
        let _ = config_file.reload().await;
        let program = std::env::current_exe().map_err(|error| BuildError::Shards(format!("own program file: {error}")))?;
        let config_path = std::path::absolute(&options.config_file).unwrap_or_else(|_| options.config_file.clone());
        let context = ManagerContext { config_file: config_path, program };
        let manager = ShardManager::new(&options.shards, &context)
            .await
            .map_err(|error: ShardError| BuildError::Shards(kvass_service::config_file::chain(&error)))?;
        let registry = Metrics::new();
        let metrics = CoordinatorMetrics::register(&registry);
        let news = Arc::new(Notify::new());
        let (candidate, leadership) = match &options.leader_election {
            None => (None, Leadership::alone()),
            Some(election) => {
                let (candidate, leadership) = Candidate::new(election, client, Arc::clone(&news))
                    .await
                    .map_err(|error| BuildError::LeaderElection(kvass_service::config_file::chain(&error)))?;
                (Some(candidate), leadership)
            }
        };
        let shared = Arc::new(Shared {
            registry,
            config_file,
            catalog: ArcSwap::default(),
            published: ArcSwap::default(),
            explorer: Explorer::new(options.explore_concurrency, Arc::clone(&news), metrics.clone()),
            metrics,
            extra: Extra::new(Arc::clone(&news)),
            leadership,
            http: kvass_api::http_client(SHARD_TIMEOUT)?,
            discovering_since: OnceLock::new(),
            discovery_settled: AtomicBool::new(false),
            options,
        });
        Ok(Coordinator { listener, shared, manager, news, candidate })
    }

    /// Where the API listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Works until `shutdown` completes.
    ///
    /// # Errors
    /// When a background task fails.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let Coordinator { listener, shared, manager, news, candidate } = self;
        tracing::info!(address = %listener.local_addr()?, shards = manager.kind(), "coordinator started");
        let (stop, stopped) = tokio::sync::watch::channel(());
        // A task of its own: planning must not delay it.
        let mut election = JoinSet::new();
        if let Some(candidate) = candidate {
            election.spawn(candidate.run(stopped.clone()));
        }
        let mut stopped_web = stopped.clone();
        let server = tokio::spawn(
            axum::serve(listener, web::router(Arc::clone(&shared)))
                .with_graceful_shutdown(async move {
                    let _ = stopped_web.changed().await;
                })
                .into_future(),
        );
        let mut following = JoinSet::new();
        let config_file = Arc::clone(&shared.config_file);
        let watcher = FileWatcher::new();
        let for_config = Arc::clone(&watcher);
        following.spawn(async move { config_file.follow(for_config).await });
        let config_file = Arc::clone(&shared.config_file);
        following.spawn(reload_on_hangup(config_file));

        let mut control = ControlLoop::new(Arc::clone(&shared), manager, news, watcher);
        let result = tokio::select! {
            () = shutdown => Ok(()),
            () = control.run() => Ok(()),
            error = panicked(&mut following) => Err(io::Error::other(error)),
            error = panicked(&mut election) => Err(io::Error::other(error)),
        };
        control.cycles.manager.shutdown().await;
        drop(stop);
        // The loop has ended: whoever leads next acts alone.
        while election.join_next().await.is_some() {}
        // Connections that stay open must not keep the process.
        let _ = tokio::time::timeout(Duration::from_secs(3), server).await;
        tracing::info!("coordinator stopped");
        result
    }
}

/// The loop that turns news into cycles.
struct ControlLoop {
    shared: Arc<Shared>,
    discovery: Manager,
    news: Arc<Notify>,
    cycles: Cycles,
    applied: Option<Arc<Config>>,
    resolvers: Resolvers,
}

impl ControlLoop {
    fn new(shared: Arc<Shared>, manager: ShardManager, news: Arc<Notify>, watcher: Arc<FileWatcher>) -> Self {
        let options = &shared.options;
        let discovery_options = DiscoveryOptions {
            keep_alive: options.discovery_keep_alive,
            scrape_proxy: options.scrape_proxy.clone(),
            http2: options.http2,
            dns: DnsOptions::default(),
            environment: Environment::default(),
            delegate: options.delegate.clone(),
            max_loss: options.max_loss,
        };
        let discovery = Manager::with_file_watcher(discovery_options, watcher);
        let client_options = ClientOptions {
            keep_alive: options.scrape_keep_alive,
            scrape_proxy: options.scrape_proxy.clone(),
            http2: options.http2,
            body_size_limit: options.body_size_limit,
        };
        let cycles = Cycles {
            shared: Arc::clone(&shared),
            manager,
            http: shared.http.clone(),
            clients: JobClients::new(client_options),
            replicas: BTreeMap::new(),
            scalings: BTreeMap::new(),
            sizes: Sizes::default(),
            last_term: None,
        };
        ControlLoop { shared, discovery, news, cycles, applied: None, resolvers: Resolvers::new() }
    }

    async fn run(&mut self) {
        let mut configs = self.shared.config_file.subscribe();
        let mut discovered = self.discovery.subscribe();
        loop {
            let started = tokio::time::Instant::now();
            let Some(config) = configs.borrow_and_update().clone() else {
                // Nothing was ever good: nothing is observed, moved or pushed. The file is followed.
                let _ = configs.changed().await;
                continue;
            };
            self.shared.metrics.config(&self.shared.config_file.state());
            let line = self.shared.config_file.line();
            self.discovery.set_line(line);
            self.apply_config(&config).await;
            let found = Arc::clone(&discovered.borrow_and_update());
            let resolvers = &mut self.resolvers;
            self.shared.store_catalog(Catalog::next(&self.shared.catalog.load(), &config, &found, line, resolvers));

            let pace = self.cycles.run(&config).await;
            self.adopt_line().await;
            let gap = least_gap(started.elapsed()).min(self.shared.options.interval);

            let pause = match pace {
                Pace::Soon => self.shared.options.interval.min(SOON),
                Pace::Normal => self.shared.options.interval,
            };
            tokio::select! {
                () = tokio::time::sleep_until(started + pause) => {}
                () = self.news.notified() => {}
                _ = configs.changed() => {}
                _ = discovered.changed() => {}
            }
            tokio::time::sleep(GATHER).await;
            tokio::time::sleep_until(started + gap).await;
        }
    }

    async fn apply_config(&mut self, config: &Arc<Config>) {
        if self.applied.as_ref().is_some_and(|applied| Arc::ptr_eq(applied, config)) {
            return;
        }
        self.shared.discovering_since.get_or_init(Instant::now);
        self.shared.config_file.keep(config).await;
        let options = &self.shared.options;
        let scrape_jobs: Vec<Arc<ScrapeConfig>> =
            config.jobs().iter().map(|job| Arc::new(apply_scrape_injection(job, &options.inject))).collect();
        for (job, error) in self.cycles.clients.apply(&scrape_jobs) {
            tracing::error!(%job, error = %kvass_service::config_file::chain(&error), "targets of the job cannot be scraped");
        }
        let sd_jobs: Vec<Arc<ScrapeConfig>> =
            config.jobs().iter().map(|job| Arc::new(apply_sd_injection(job, &options.inject))).collect();
        self.discovery.apply(&sd_jobs);
        let names: BTreeSet<Arc<str>> = config.jobs().iter().map(|job| Arc::clone(&job.job_name)).collect();
        self.shared.explorer.retain_jobs(&names);
        self.applied = Some(Arc::clone(config));
    }

    /// Follows the shards' Prometheus once all of them agree on a line that is not the one in use.
    async fn adopt_line(&mut self) {
        if self.shared.options.prometheus_line.is_some() {
            return;
        }
        let file = &self.shared.config_file;
        let Some(release) = self.cycles.agreed_release().filter(|release| *release != file.release()) else { return };
        let rules = if release.line == PrometheusLine::V3 { "3.x" } else { "2.x" };
        tracing::info!(
            rules,
            knows_more_keys = release.knows_more,
            "every shard runs this Prometheus, its rules are used from now on"
        );
        file.set_release(release);
        // A failure is logged and shown there; the configuration read by the old rules stays.
        let _ = file.reload().await;
        self.news.notify_one();
    }
}

/// How long after its start a cycle that took `took` may be followed by the next. A flood of news must not
/// become a flood of requests to shards and the API server, so cycles fill a third of the time at most; where
/// they are fast, a target that was just explored gets its shard at once.
fn least_gap(took: Duration) -> Duration {
    took.saturating_mul(3).clamp(LEAST_GAP, LONGEST_GAP)
}

async fn reload_on_hangup(config_file: Arc<ConfigFile>) {
    let Ok(mut hangups) = kvass_service::shutdown::hangups() else { return };
    while hangups.recv().await.is_some() {
        // A failure is logged and shown by the file's state.
        let _ = config_file.reload().await;
    }
}

async fn bind(address: &str) -> Result<TcpListener, BuildError> {
    // Go's ":9090" means every interface.
    let full = if address.starts_with(':') { format!("[::]{address}") } else { address.to_owned() };
    let error = |source| BuildError::Listen { address: address.to_owned(), source };
    match TcpListener::bind(&full).await {
        // A host without IPv6.
        Err(e) if address.starts_with(':') && e.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(format!("0.0.0.0{address}")).await.map_err(error)
        }
        result => result.map_err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_cycles_may_follow_each_other_sooner_than_slow_ones() {
        for (took, gap) in [(0, 100), (30, 100), (40, 120), (200, 600), (400, 1000), (15_000, 1000)] {
            assert_eq!(least_gap(Duration::from_millis(took)), Duration::from_millis(gap), "{took} ms");
        }
    }
}
