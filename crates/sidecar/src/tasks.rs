//! What goes on in the background: files and reloads until Prometheus has confirmed them, a look at what
//! it lists, its version.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kvass_service::config_file::chain;
use tokio::time::{Instant, sleep, timeout};

use crate::{delivery::Delivery, lock, prometheus::PrometheusError, shard::Shard, visibility::Visibility};

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How often the disk is tried again where something could not be kept.
const KEEP_AGAIN: Duration = Duration::from_secs(5);
/// How often Prometheus' list is looked at while something is awaited.
const LOOK: Duration = Duration::from_secs(2);
/// How often otherwise: a restarted Prometheus may fail to watch its files.
const LOOK_IDLE: Duration = Duration::from_secs(60);

/// Applies every new configuration of the user, for ever.
pub(crate) async fn follow_origin(shard: Arc<Shard>) {
    let mut configs = shard.origin.subscribe();
    loop {
        shard.apply_logged().await;
        if configs.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps files and Prometheus in line with what is wanted, for ever: a failed write or reload is tried
/// again, with growing pauses, until it succeeds.
pub(crate) async fn keep_applied(shard: Arc<Shard>) {
    let mut confirmed: Option<Arc<str>> = None;
    let mut pause = FIRST_RETRY;
    let mut reported = String::new();
    loop {
        if shard.write_is_due() {
            shard.apply_logged().await;
        }
        let wanted = shard.wanted.borrow().clone();
        let due = wanted.as_ref().is_some_and(|wanted| confirmed.as_ref() != Some(&wanted.yaml));
        shard.set_up_to_date(wanted.is_some() && !due);
        if let Some(wanted) = wanted.as_ref().filter(|_| !due) {
            shard.origin.keep(&wanted.config).await;
        }
        let mut failed = shard.write_is_due();
        if due {
            // A reload that fails half-way may have taken effect all the same.
            confirmed = None;
            let result = shard.prometheus.reload(shard.is_vmagent()).await;
            shard.metrics.reloads.note(result.is_ok());
            match result {
                Ok(()) => {
                    tracing::info!("prometheus has reloaded");
                    confirmed = wanted.map(|wanted| wanted.yaml);
                    reported.clear();
                    shard.injector.remove_stale_files().await;
                    // What is wanted may have changed meanwhile.
                    continue;
                }
                Err(error) => {
                    failed = true;
                    let text = chain(&error);
                    if text != reported {
                        // Not there yet, or being restarted, is no more than a reason to wait.
                        match error {
                            PrometheusError::Unreachable { .. } => tracing::warn!(error = %text, "prometheus is waited for"),
                            _ => tracing::error!(error = %text, "prometheus does not reload, trying again"),
                        }
                        reported = text;
                    }
                }
            }
        }
        if failed {
            // A change is a reason to try at once, but not more often than the first pause.
            let _ = timeout(pause, async {
                sleep(FIRST_RETRY).await;
                shard.changed.notified().await;
            })
            .await;
            pause = (pause * 2).min(LAST_RETRY);
        } else {
            pause = FIRST_RETRY;
            shard.changed.notified().await;
        }
    }
}

/// Keeps for the next start what could not be kept at once, for ever.
pub(crate) async fn keep_again(shard: Arc<Shard>) {
    loop {
        sleep(KEEP_AGAIN).await;
        shard.keep_again().await;
    }
}

/// Looks at what Prometheus lists: to let go of released targets, and to notice that it does not see its
/// target files. For ever.
pub(crate) async fn watch_prometheus(shard: Arc<Shard>) {
    let mut visibility = Visibility::default();
    let mut wanted = shard.wanted.subscribe();
    let mut reported = Vec::new();
    let mut next_idle_look = Instant::now();
    let mut expected_before = Default::default();
    let mut awaited = false;
    loop {
        let _ = timeout(LOOK, wanted.changed()).await;
        let (expected, has_released) = {
            let mut targets = lock(&shard.targets);
            targets.forget_released(None, Timestamp::now());
            (targets.expected(), targets.has_released())
        };
        let changed = expected != expected_before;
        if !(awaited || changed || has_released || Instant::now() >= next_idle_look) {
            continue;
        }
        next_idle_look = Instant::now() + LOOK_IDLE;
        expected_before = expected.clone();
        let Some(config) = shard.origin.current() else { continue };
        // Until it has the configuration there is nothing to expect.
        if !shard.is_up_to_date() {
            awaited = true;
            continue;
        }
        let Ok(listed) = shard.prometheus.listed().await else { continue };
        lock(&shard.targets).forget_released(Some(&|hash| listed.contains(&hash)), Timestamp::now());
        let expected = expected.into_iter().filter(|(job, _)| config.job(job).is_some()).collect();
        let sight = visibility.observe(&expected, &listed, Instant::now());
        shard.metrics.unseen_targets.set(sight.unseen_targets as i64);
        awaited = sight.unseen_targets > 0;
        if sight.unseen_jobs.is_empty() {
            reported.clear();
            continue;
        }
        let delivery = shard.delivery(&config);
        shard.give_up_files();
        if delivery == Delivery::File && shard.delivery(&config) == Delivery::Http {
            tracing::warn!(
                jobs = ?sight.unseen_jobs,
                "prometheus does not see its target files, probably fs.inotify.max_user_instances is exhausted: giving it targets by http"
            );
            shard.metrics.inotify_fallbacks.inc();
            visibility.reset();
            shard.apply_logged().await;
        } else if reported != sight.unseen_jobs {
            tracing::warn!(jobs = ?sight.unseen_jobs, form = delivery.as_str(), "prometheus does not list targets of these jobs");
            reported = sight.unseen_jobs;
        }
    }
}

/// Asks who scrapes beside us, often until it is known, then now and then, for ever.
pub(crate) async fn follow_scraper(shard: Arc<Shard>) {
    loop {
        sleep(if shard.ask_scraper().await { Duration::from_secs(60) } else { Duration::from_secs(1) }).await;
    }
}
