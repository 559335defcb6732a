//! One shard: what it is told, what it knows, and the steps from one to the other.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use kvass_api::{ExtraConfig, RuntimeInfo, Stored, TargetList};
use kvass_config::{Config, InjectOptions, PrometheusRelease, apply_scrape_injection, hash_of_text};
use kvass_model::PrometheusLine;
use kvass_scrape::JobClients;
use kvass_service::config_file::chain;
use tokio::sync::{Notify, watch};

use crate::{
    Options,
    adoption::Adoption,
    delivery::Delivery,
    emulation::{Caller, Emulation},
    inject::{Desired, InjectError, Injector},
    lock,
    metrics::SidecarMetrics,
    origin::{Origin, PushError, ReloadError},
    prometheus::{Prometheus, PrometheusError},
    scraper::Scraper,
    store::{Store, StoreError},
    targets::Targets,
    upload::Upload,
};

/// The state shared by the API, the proxy and the background tasks.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) options: Options,
    pub(crate) origin: Origin,
    pub(crate) prometheus: Prometheus,
    pub(crate) targets: Arc<Mutex<Targets>>,
    pub(crate) clients: JobClients,
    pub(crate) metrics: SidecarMetrics,
    pub(crate) adoption: Adoption,
    emulation: Emulation,
    pub(crate) injector: Injector,
    pub(crate) store: Store,
    /// What is known of the upload of samples, where there is an object store.
    pub(crate) upload: Option<Upload>,
    /// Jobs without a client, and why.
    unusable_jobs: ArcSwap<HashMap<Arc<str>, String>>,
    extra: ArcSwap<ExtraConfig>,
    /// What is kept and what is in force must come from the same request.
    extra_changes: Mutex<()>,
    line: ArcSwap<PrometheusLine>,
    /// Beside us is no Prometheus but vmagent.
    vmagent: AtomicBool,
    /// Prometheus did not see files, see [`Delivery::choose`].
    files_unseen: AtomicBool,
    /// Changes of what is wanted happen one after the other.
    changing: Arc<tokio::sync::Mutex<AppliedConfig>>,
    /// The injected configuration Prometheus should run with.
    pub(crate) wanted: watch::Sender<Option<Wanted>>,
    /// Why the target list in force could not be kept.
    unkept: ArcSwapOption<String>,
    /// Files are not what they should be.
    write_due: AtomicBool,
    /// Prometheus has confirmed what is wanted.
    up_to_date: AtomicBool,
    /// Wakes the task that applies changes.
    pub(crate) changed: Notify,
}

/// An injected configuration, and the user's that it was made from.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) yaml: Arc<str>,
    pub(crate) config: Arc<Config>,
}

/// The configuration the clients and files are made from.
type AppliedConfig = Option<Arc<Config>>;

/// A target list was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    #[error("the targets cannot be given to prometheus, it is tried again")]
    Inject(#[from] InjectError),
}

/// What a [`Shard`] is made of.
pub(crate) struct Parts {
    pub(crate) options: Options,
    pub(crate) origin: Origin,
    pub(crate) prometheus: Prometheus,
    pub(crate) targets: Targets,
    pub(crate) extra: ExtraConfig,
    pub(crate) clients: JobClients,
    pub(crate) injector: Injector,
    pub(crate) store: Store,
}

/// Does `work` even if whoever waits for it goes away: a change that is cut short would be in force here and, without
/// anybody who tries again, not where Prometheus reads it.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process ends.
            Err(_) => std::future::pending().await,
        },
    }
}

impl Shard {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { options, origin, prometheus, targets, extra, clients, injector, store } = parts;
        let targets = Arc::new(Mutex::new(targets));
        Shard {
            metrics: SidecarMetrics::new(Arc::clone(&targets)),
            line: ArcSwap::from_pointee(options.prometheus_version.unwrap_or_default()),
            upload: options.tsdb_path.as_deref().map(Upload::new),
            options,
            origin,
            prometheus,
            targets,
            clients,
            adoption: Adoption::default(),
            emulation: Emulation::default(),
            injector,
            store,
            unusable_jobs: ArcSwap::default(),
            extra: ArcSwap::from_pointee(extra),
            extra_changes: Mutex::default(),
            vmagent: AtomicBool::new(false),
            files_unseen: AtomicBool::new(false),
            changing: Arc::default(),
            wanted: watch::Sender::new(None),
            unkept: ArcSwapOption::empty(),
            write_due: AtomicBool::new(false),
            up_to_date: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Whose rules apply.
    pub(crate) fn line(&self) -> PrometheusLine {
        **self.line.load()
    }

    /// Whether vmagent scrapes beside us.
    pub(crate) fn is_vmagent(&self) -> bool {
        self.vmagent.load(Ordering::Relaxed)
    }

    /// Asks who scrapes beside us, and notes it. Returns whether it answers.
    pub(crate) async fn ask_scraper(self: &Arc<Self>) -> bool {
        match self.prometheus.scraper(self.is_vmagent()).await {
            Ok(scraper) => {
                self.set_scraper(scraper).await;
                true
            }
            Err(_) => false,
        }
    }

    /// A change has everything written anew.
    async fn set_scraper(self: &Arc<Self>, scraper: Scraper) {
        let (vmagent, seen) = match scraper {
            Scraper::Prometheus(release) => (false, release),
            // It takes labels as they are written, and every body for text.
            Scraper::Vmagent(_) => (true, PrometheusRelease { line: PrometheusLine::V2, knows_more: false }),
        };
        let line = self.options.prometheus_version.unwrap_or(seen.line);
        let release = PrometheusRelease { line, ..seen };
        let changed = self.vmagent.swap(vmagent, Ordering::Relaxed) != vmagent;
        if changed {
            tracing::info!(vmagent, "scraper seen");
        }
        if self.line() != line || self.origin.release().knows_more != release.knows_more {
            tracing::info!(?line, knows_more_keys = release.knows_more, "prometheus version seen");
            self.line.store(Arc::new(line));
            self.origin.set_release(release).await;
        } else if !changed {
            return;
        }
        self.apply_logged().await;
    }

    /// Why no target is scraped; empty when targets are.
    pub(crate) fn stop_reason(&self) -> Option<String> {
        Some(self.extra.load().stop_scrape_reason.clone()).filter(|reason| !reason.is_empty())
    }

    pub(crate) fn extra_config(&self) -> Arc<ExtraConfig> {
        self.extra.load_full()
    }

    /// Takes the extra configuration into force. It concerns the proxy alone: no file changes.
    pub(crate) fn set_extra_config(&self, extra: ExtraConfig) -> Result<(), StoreError> {
        let _changing = lock(&self.extra_changes);
        if *self.extra.load_full() != extra {
            self.store.save_extra_config(&extra)?;
            tracing::info!(stop_scrape_reason = %extra.stop_scrape_reason, "extra configuration in force");
            self.extra.store(Arc::new(extra));
        }
        Ok(())
    }

    /// Why a job of the configuration has no client.
    pub(crate) fn why_unusable(&self, job: &str) -> Option<String> {
        self.unusable_jobs.load().get(job).cloned()
    }

    /// Takes a target list: kept first, then in force, then written for Prometheus. Reloads that are
    /// needed happen later. A list equal to the present one changes nothing at all. One that cannot be kept is in force all the
    /// same: nobody else scrapes these targets, and a full disk is no reason not to.
    pub(crate) async fn update_targets(self: &Arc<Self>, list: TargetList) -> Result<(), UpdateError> {
        let (shard, mut applied) = (Arc::clone(self), Arc::clone(&self.changing).lock_owned().await);
        to_the_end(async move { shard.update_locked(list, &mut applied).await }).await
    }

    async fn update_locked(&self, list: TargetList, applied: &mut AppliedConfig) -> Result<(), UpdateError> {
        let now = Timestamp::now();
        let stored = {
            let targets = lock(&self.targets);
            if targets.equals(&list) {
                return Ok(());
            }
            targets.stored_with(&list, now)
        };
        self.keep_list(&stored);
        let count = {
            let mut targets = lock(&self.targets);
            targets.replace(list, now);
            targets.len()
        };
        tracing::info!(targets = count, "target list in force");
        Ok(self.apply_locked(applied).await?)
    }

    fn keep_list(&self, stored: &Stored) {
        let unkept = self.store.save(stored).err().map(|error| chain(&error));
        if let Some(error) = &unkept
            && self.why_unkept().is_none_or(|known| *known != *error)
        {
            tracing::error!(%error, "target list cannot be kept for the next start, trying again");
        }
        self.unkept.store(unkept.map(Arc::new));
    }

    /// Keeps what could not be kept when it came.
    pub(crate) async fn keep_again(&self) {
        if self.why_unkept().is_some() {
            let _changing = self.changing.lock().await;
            let stored = lock(&self.targets).stored();
            self.keep_list(&stored);
        }
        self.origin.keep_again();
    }

    /// Why the target list in force would be forgotten at a restart.
    pub(crate) fn why_unkept(&self) -> Option<Arc<String>> {
        self.unkept.load_full()
    }

    /// Reads the user's file again and applies it.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<(), ReloadError> {
        let result = self.origin.reload().await;
        self.apply_logged().await;
        result
    }

    /// Takes a pushed configuration and applies it. One that is in force already is no news, and fine even where there is a
    /// file.
    pub(crate) async fn push_config(self: &Arc<Self>, text: &str, caller: Caller) -> Result<(), PushError> {
        if let Some(config) = self.users_config()
            && hash_of_text(text).is_ok_and(|pushed| pushed == *config.text_hash())
        {
            if caller == Caller::Other && self.emulates() {
                self.emulation.pushed(&config);
            }
            if matches!(self.origin, Origin::File(_)) {
                return Ok(());
            }
        }
        let result = self.origin.push(text);
        self.apply_logged().await;
        result
    }

    /// Brings clients and files in line with what is wanted.
    pub(crate) async fn apply(self: &Arc<Self>) -> Result<(), InjectError> {
        let (shard, mut applied) = (Arc::clone(self), Arc::clone(&self.changing).lock_owned().await);
        to_the_end(async move { shard.apply_locked(&mut applied).await }).await
    }

    /// As [`Shard::apply`]; a failure is tried again in the background.
    pub(crate) async fn apply_logged(self: &Arc<Self>) {
        if let Err(error) = self.apply().await {
            tracing::error!(error = %chain(&error), "files for prometheus cannot be written, trying again");
        }
    }

    /// Whether files still have to be written.
    pub(crate) fn write_is_due(&self) -> bool {
        self.write_due.load(Ordering::Acquire)
    }

    /// Whether Prometheus has confirmed the injected configuration.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.up_to_date.load(Ordering::Acquire)
    }

    pub(crate) fn set_up_to_date(&self, up_to_date: bool) {
        self.up_to_date.store(up_to_date, Ordering::Release);
        self.metrics.prometheus_up_to_date.set(i64::from(up_to_date));
    }

    /// Shows how the last load of the user's configuration went. A watched file fails without anything to apply.
    pub(crate) fn note_config_state(&self) {
        self.metrics.config_reload_ok.set(i64::from(self.origin.state().error.is_none()));
    }

    async fn apply_locked(&self, applied: &mut AppliedConfig) -> Result<(), InjectError> {
        // Without a configuration of the user, Prometheus keeps what it has.
        let Some(config) = self.origin.current() else { return Ok(()) };
        if !applied.as_ref().is_some_and(|applied| Arc::ptr_eq(applied, &config)) {
            self.rebuild_clients(&config);
            *applied = Some(Arc::clone(&config));
        }
        let delivery = self.delivery(&config);
        self.metrics.delivered_as(delivery);
        let desired = Desired {
            config: Arc::clone(&config),
            targets: lock(&self.targets).list().clone(),
            delivery,
            line: self.line(),
            mode: self.origin.output_mode(),
        };
        let written = self.injector.write(desired).await;
        self.metrics.config_inject.note(written.is_ok());
        self.write_due.store(written.is_err(), Ordering::Release);
        if let Ok(yaml) = &written {
            self.wanted.send_if_modified(|wanted| {
                let differs = wanted.as_ref().is_none_or(|wanted| wanted.yaml != *yaml);
                *wanted = Some(Wanted { yaml: Arc::clone(yaml), config });
                differs
            });
        }
        self.changed.notify_one();
        written.map(drop)
    }

    fn rebuild_clients(&self, config: &Config) {
        let options = InjectOptions { kubernetes_sa_path: self.options.service_account_path.clone(), ..InjectOptions::default() };
        let jobs: Vec<_> = config.jobs().iter().map(|job| Arc::new(apply_scrape_injection(job, &options))).collect();
        let failed: HashMap<Arc<str>, String> =
            self.clients.apply(&jobs).into_iter().map(|(job, error)| (job, chain(&error))).collect();
        for (job, error) in &failed {
            tracing::error!(%job, %error, "job cannot be scraped");
        }
        self.metrics.unusable_jobs.set(failed.len() as i64);
        self.unusable_jobs.store(Arc::new(failed));
    }

    /// The form in which Prometheus gets its targets.
    pub(crate) fn delivery(&self, config: &Config) -> Delivery {
        let unseen = self.files_unseen.load(Ordering::Relaxed);
        Delivery::choose(self.options.delivery, self.is_vmagent(), config.jobs().len(), unseen)
    }

    /// From now on HTTP instead of files, where the choice is ours.
    pub(crate) fn give_up_files(&self) {
        self.files_unseen.store(true, Ordering::Relaxed);
    }

    /// Load, configuration hash and idleness, as a coordinator asks for them.
    pub(crate) async fn runtime_info(&self, caller: Caller) -> Result<RuntimeInfo, PrometheusError> {
        let has_head = self.options.fetch_head_series && !self.is_vmagent();
        let head = if has_head { self.prometheus.head_series().await?.unwrap_or(0) } else { 0 };
        let config_hash = self.reported_hash(caller);
        let targets = lock(&self.targets);
        let total = targets.total();
        Ok(RuntimeInfo {
            // The head lags behind what was just assigned.
            head_series: i64::try_from(head.max(total.series)).unwrap_or(i64::MAX),
            process_series: i64::try_from(total.total).unwrap_or(i64::MAX),
            config_hash,
            idle_start_at: targets.idle_at(),
            samples_pending: self.upload.as_ref().and_then(|upload| upload.pending(targets.idle_at())),
        })
    }

    /// Our own hash, unless it is a coordinator of the original that asks.
    fn reported_hash(&self, caller: Caller) -> String {
        let own = self.origin.hash();
        let theirs = match caller {
            _ if !self.emulates() => self.adoption.hash_for(&own),
            Caller::Ours => None,
            Caller::Other => self.users_config().and_then(|config| self.emulation.hash_of(&config)),
        };
        theirs.unwrap_or(own)
    }

    /// Whether the hash of a coordinator of the original is computed; otherwise that coordinator is asked for it.
    fn emulates(&self) -> bool {
        self.options.compat_coordinator_url.is_none()
    }

    /// The configuration in force, if it is the user's.
    fn users_config(&self) -> Option<Arc<Config>> {
        self.origin.current().filter(|_| !self.origin.hash().is_empty())
    }

    /// What stands between this shard and its work; empty when nothing does.
    pub(crate) async fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.origin.current().is_none() {
            let error = self.origin.state().error.clone().unwrap_or_else(|| "not loaded yet".to_owned());
            problems.push(format!("no configuration: {error}"));
        } else if self.write_is_due() {
            problems.push("the files for prometheus are not written yet".to_owned());
        } else if !self.is_up_to_date() {
            problems.push("prometheus has not confirmed the injected configuration".to_owned());
        }
        if let Err(error) = self.prometheus.ready().await {
            problems.push(chain(&error));
        }
        problems
    }
}
