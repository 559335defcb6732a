use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use kvass_config::SelfMonitor;
use kvass_scrape::{ClientOptions, JobClients};
use kvass_service::{FileWatcher, shutdown::hangups, tasks::panicked};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinError, JoinSet},
};

use crate::{
    Options, adoption,
    inject::{Injector, Settings},
    listen::{bind, local_address, serve_proxy},
    origin::Origin,
    placeholder,
    prometheus::Prometheus,
    shard::{Parts, Shard},
    store::Store,
    targets::Targets,
    tasks, upload,
    web::{self, HTTP_SD_PATH},
};

const SHUTDOWN: Duration = Duration::from_secs(5);
/// How long a scraper that hangs delays the start.
const FIRST_ASK: Duration = Duration::from_secs(1);

/// Why a sidecar cannot start. Everything else it waits for while it serves.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An address cannot be listened on.
    #[error("{flag}={address:?}: cannot listen")]
    Listen {
        /// The flag that names it.
        flag: &'static str,
        /// The address as given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// `--prometheus.url` is not usable.
    #[error("{0}")]
    PrometheusUrl(String),
}

/// Why a sidecar ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The API server failed.
    #[error("the API on --web.api-addr ended")]
    Api(#[source] io::Error),
    /// The scrape proxy failed.
    #[error("the scrape proxy on --web.proxy-addr ended")]
    Proxy,
    /// A task that has to run all the time panicked.
    #[error("a background task ended")]
    Background(#[source] JoinError),
}

/// One sidecar, listening but not yet serving.
#[derive(Debug)]
pub struct Sidecar {
    api: TcpListener,
    proxy: TcpListener,
    api_address: SocketAddr,
    proxy_address: SocketAddr,
    shard: Arc<Shard>,
}

impl Sidecar {
    /// Writes a file for Prometheus to start with if there is none, binds both addresses, then reads the store and makes a first attempt at the configuration: from the
    /// first answer on, the shard shows what it holds.
    ///
    /// # Errors
    /// An address that is taken or malformed, and an unusable `--prometheus.url`. An unusable store or
    /// configuration is none: the sidecar stays unready and tries again.
    pub async fn build(options: Options) -> Result<Self, BuildError> {
        // Before anything else: Prometheus is starting, too, and ends if it finds no file.
        placeholder::write_if_missing(
            &options.output_file,
            &options.external_labels,
            options.prometheus_version.unwrap_or_default(),
        );
        let (proxy, proxy_address) = listen("--web.proxy-addr", &options.proxy_address).await?;
        let (api, api_address) = listen("--web.api-addr", &options.api_address).await?;
        let prometheus =
            Prometheus::new(&options.prometheus_url).map_err(|error| BuildError::PrometheusUrl(error.to_string()))?;
        let store = Store::new(&options.store_path, options.legacy_target_file.as_deref());
        let origin = Origin::new(options.config_file.as_deref(), &options.output_file, &store, options.prometheus_version);
        let clients = JobClients::new(ClientOptions {
            keep_alive: options.keep_alive,
            scrape_proxy: options.scrape_proxy.clone(),
            http2: options.http2,
            body_size_limit: options.body_size_limit,
        });
        let injector = Injector::new(Settings {
            output_file: options.output_file.clone(),
            proxy_url: options.inject_proxy.clone(),
            external_labels: options.external_labels.clone(),
            self_monitor: options.self_monitor.then(|| self_monitor(&options.pod_name, &prometheus)),
            strip_rules: options.strip_rules,
            http_sd_url: format!("http://{}{HTTP_SD_PATH}", local_address(api_address)),
        });
        let targets = Targets::restore(store.load(), Timestamp::now());
        let extra = store.load_extra_config();
        origin.load().await;
        let shard = Arc::new(Shard::new(Parts { options, origin, prometheus, targets, extra, clients, injector, store }));
        // One that runs already must not get its targets in another form first. One that does not answer is asked again.
        let _ = tokio::time::timeout(FIRST_ASK, shard.ask_scraper()).await;
        Ok(Sidecar { api, proxy, api_address, proxy_address, shard })
    }

    /// Where the API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Where the scrape proxy listens.
    pub fn proxy_address(&self) -> SocketAddr {
        self.proxy_address
    }

    #[cfg(test)]
    pub(crate) fn into_shard(self) -> Arc<Shard> {
        self.shard
    }

    /// Serves until `shutdown` completes; running requests then have a few seconds to finish.
    ///
    /// # Errors
    /// When a server or a background task fails.
    pub async fn run(self, shutdown: impl Future) -> Result<(), RunError> {
        let Sidecar { api, proxy, api_address, proxy_address, shard } = self;
        tracing::info!(api = %api_address, proxy = %proxy_address, targets = crate::lock(&shard.targets).len(), "sidecar started");
        let (stop, stopping) = watch::channel(false);
        let stopped = |mut stopping: watch::Receiver<bool>| async move {
            // An error means that the sender is gone, which is a stop too.
            let _ = stopping.wait_for(|stop| *stop).await;
        };

        let mut background = background(&shard);
        let mut proxy = tokio::spawn(serve_proxy(proxy, Arc::clone(&shard), stopped(stopping.clone())));
        let routes = web::router(Arc::clone(&shard)).into_make_service_with_connect_info::<SocketAddr>();
        let api = axum::serve(api, routes).with_graceful_shutdown(stopped(stopping));
        let mut api = tokio::spawn(async move { api.await });

        let early = tokio::select! {
            _ = shutdown => None,
            ended = &mut api => Some(ended.map_err(io::Error::other).and_then(|result| result).map_err(RunError::Api)),
            _ = &mut proxy => Some(Err(RunError::Proxy)),
            error = panicked(&mut background) => Some(Err(RunError::Background(error))),
        };
        tracing::info!("sidecar stops");
        background.abort_all();
        let _ = stop.send(true);
        if let Some(result) = early {
            return result;
        }
        // Whoever has not finished by then is cut off.
        let _ = tokio::time::timeout(SHUTDOWN, async { tokio::join!(proxy, api) }).await;
        Ok(())
    }
}

async fn listen(flag: &'static str, address: &str) -> Result<(TcpListener, SocketAddr), BuildError> {
    let listener = bind(flag, address).await?;
    let bound = listener.local_addr().map_err(|source| BuildError::Listen { flag, address: address.to_owned(), source })?;
    Ok((listener, bound))
}

fn background(shard: &Arc<Shard>) -> JoinSet<()> {
    let mut set = JoinSet::new();
    set.spawn(tasks::follow_origin(Arc::clone(shard)));
    set.spawn(tasks::keep_applied(Arc::clone(shard)));
    set.spawn(tasks::keep_again(Arc::clone(shard)));
    set.spawn(tasks::watch_prometheus(Arc::clone(shard)));
    if let Origin::File(file) = &shard.origin {
        let file = Arc::clone(file);
        set.spawn(async move { file.follow(FileWatcher::new()).await });
        set.spawn(reload_on_hangup(Arc::clone(shard)));
    }
    set.spawn(tasks::follow_scraper(Arc::clone(shard)));
    if shard.upload.is_some() {
        set.spawn(upload::follow(Arc::clone(shard)));
    }
    if let Some(url) = shard.options.compat_coordinator_url.clone() {
        set.spawn(adoption::follow(Arc::clone(shard), url));
    }
    set
}

async fn reload_on_hangup(shard: Arc<Shard>) {
    match hangups() {
        Ok(mut hangups) => {
            while hangups.recv().await.is_some() {
                // The outcome is in the log and in the state.
                let _ = shard.reload().await;
            }
        }
        Err(error) => tracing::warn!(%error, "SIGHUP does not reload the configuration"),
    }
}

/// Labels of the original: `replicate` is the pod, `shard` what follows its last hyphen.
fn self_monitor(pod_name: &str, prometheus: &Prometheus) -> SelfMonitor {
    let shard = pod_name.rsplit('-').next().unwrap_or_default();
    SelfMonitor { address: prometheus.host_and_port(), replicate: pod_name.to_owned(), shard: shard.to_owned() }
}
