//! One cycle: list the shards, read them, plan, carry the plan out, publish. What is done is decided in
//! `kvass-plan`; here it is only prepared and carried out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use futures::future::join_all;
use jiff::Timestamp;
use kvass_api::{AssignedTarget, ExtraConfig, ShardClient, UpdateTargets};
use kvass_config::{Config, PrometheusRelease};
use kvass_model::{Health, Target, TargetHash, target_url};
use kvass_plan::{Access, Decision, Plan, PlannedShard, Snapshot, TargetView, UnassignedReason, plan};
use kvass_scrape::JobClients;
use kvass_service::config_file::chain;

use crate::{
    catalog::Catalog,
    coordinator::Shared,
    leader::Term,
    memory::{ObserveContext, ReplicaMemory, Sizes},
    published::{Published, Scaling, keep, merge, report},
    shards::{Announcement, Correction, Repeat, Replica, ShardError, ShardManager},
};

/// What cycles carry from one to the next.
pub(crate) struct Cycles {
    pub(crate) shared: Arc<Shared>,
    pub(crate) manager: ShardManager,
    pub(crate) http: reqwest::Client,
    pub(crate) clients: JobClients,
    pub(crate) replicas: BTreeMap<String, ReplicaMemory>,
    pub(crate) scalings: BTreeMap<String, Vec<Scaling>>,
    pub(crate) sizes: Sizes,
    /// Number of the term in which the last cycle acted; `None` if it only observed.
    pub(crate) last_term: Option<u64>,
}

/// How soon the next cycle should come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Something is under way: shards are starting or about to be given up, targets are being handed over.
    Soon,
    /// Nothing is.
    Normal,
}

impl Cycles {
    /// Runs one cycle.
    pub(crate) async fn run(&mut self, config: &Arc<Config>) -> Pace {
        let started = Instant::now();
        let result = self.all_replicas(config, started).await;
        self.shared.metrics.cycle(started.elapsed(), result.is_ok());
        result.unwrap_or_else(|error| {
            let error = chain(&error);
            tracing::error!(%error, "cycle failed");
            let mut published = Published::clone(&self.shared.published.load());
            published.error = Some(error);
            self.shared.published.store(Arc::new(published));
            Pace::Normal
        })
    }

    async fn all_replicas(&mut self, config: &Arc<Config>, started: Instant) -> Result<Pace, ShardError> {
        let term = self.shared.leadership.term();
        self.notice_term(term.as_ref());
        let term = term.as_ref();
        let listing = self.manager.list().await?;
        let replicas = listing.replicas;
        self.forget_absent(&replicas);
        self.shared.metrics.listed(listing.stale.as_ref().map(|stale| stale.age(Timestamp::now())));
        let mut published = Published { at: Some(Timestamp::now()), ..Published::default() };
        published.error = listing.stale.as_ref().map(ToString::to_string);
        let mut pace = if listing.stale.is_some() { Pace::Soon } else { Pace::Normal };
        if let Some(term) = term {
            for correction in term.carry_out(self.manager.tend()).await.unwrap_or_default() {
                self.corrected(correction);
            }
        }
        if replicas.is_empty() {
            tracing::warn!(shards = self.manager.kind(), "no replica found");
            published.error = Some("no replica found".to_owned());
        }
        let mut stop_reasons = Vec::new();
        for replica in &replicas {
            let soon = self.one_replica(replica, config, &mut published, &mut stop_reasons, started, term).await;
            pace = if soon == Pace::Soon { soon } else { pace };
        }
        self.take_stop_reasons(stop_reasons, term);
        self.finish(&mut published);
        self.shared.published.store(Arc::new(published));
        Ok(pace)
    }

    /// What was begun in another term may be finished by others.
    fn notice_term(&mut self, term: Option<&Term>) {
        let now = term.map(Term::number);
        if self.last_term.is_some() && self.last_term != now {
            self.replicas.values_mut().for_each(ReplicaMemory::leave_office);
            self.shared.extra.undecide();
        }
        self.last_term = now;
    }

    async fn one_replica(
        &mut self,
        replica: &Replica,
        config: &Arc<Config>,
        published: &mut Published,
        stop_reasons: &mut Vec<String>,
        started: Instant,
        term: Option<&Term>,
    ) -> Pace {
        let mut memory = self.replicas.remove(&replica.id).unwrap_or_else(|| ReplicaMemory::of(replica));
        let shared = Arc::clone(&self.shared);
        let catalog = shared.catalog.load_full();
        let context = ObserveContext {
            now: Timestamp::now(),
            config,
            grace: shared.options.unavailable_grace,
            ask_release: shared.options.prometheus_line.is_none(),
            ask_stop_reason: !shared.extra.is_decided(),
            all_complete: catalog.jobs.values().all(|job| job.complete),
            term,
        };
        let findings = memory.observe(replica, &self.http, &context, |hash| catalog.targets.contains_key(&hash)).await;
        stop_reasons.extend(findings.stop_reasons);
        let held = findings.assigned.iter().flat_map(|list| held_targets(list, config));
        let catalog = match catalog.retaining(held) {
            Some(more) => shared.store_catalog(more),
            None => catalog,
        };
        let is_active = |hash: TargetHash| catalog.targets.contains_key(&hash);
        for (hash, status) in memory.shards.values().flat_map(|shard| &shard.targets).filter(|(hash, _)| is_active(**hash)) {
            self.sizes.learn(*hash, status);
        }
        self.sizes.retain(is_active, context.now);

        let settled = memory.settled && shared.discovery_settled();
        let snapshot = self.snapshot(replica, &memory, &catalog, settled);
        let mut plan = plan(&snapshot, &shared.options.limits);
        if term.is_none() {
            plan = only_observed(plan, replica.scale);
        }
        memory.transfers.clone_from(&plan.transfers);
        if let Some(term) = term {
            self.explore(&plan, &snapshot, &catalog);
            self.apply(&plan, &mut memory, &catalog, term).await;
            self.scale(replica, &plan, &memory, term).await;
            if let Some(text) = memory.unplaced.news(&plan.unassigned, &catalog, context.now) {
                let announcement =
                    Announcement { warning: true, reason: "TargetsNotPlaced", action: "Assign", text, repeat: Repeat::Always };
                self.manager.announce(&replica.id, announcement).await;
            }
            if let Some(text) = missing_targets(&catalog) {
                let (reason, action, repeat) = ("TargetsHeld", "Discover", Repeat::Later(text.clone()));
                self.manager.announce(&replica.id, Announcement { warning: true, reason, action, text, repeat }).await;
            }
        }

        for decision in &plan.decisions {
            tracing::debug!(replica = %replica.id, kind = decision.kind(), %decision, "decided");
        }
        shared.metrics.planned(replica, &memory, &plan);
        merge(&mut published.targets, &memory, &plan);
        let scalings = self.scalings.get(&replica.id).map(Vec::as_slice).unwrap_or_default();
        let report = report(replica, &memory, &plan, &shared.options.limits, scalings, snapshot.targets.len());
        tracing::info!(
            replica = %replica.id,
            leader = term.is_some(),
            targets = report.targets,
            unassigned = report.unassigned,
            transfers = report.transfers,
            decisions = plan.decisions.len(),
            shards = memory.shards.len(),
            changeable = memory.shards.values().filter(|s| s.access == Access::Changeable).count(),
            scale = plan.scale,
            need_series = plan.need.series,
            duration_ms = started.elapsed().as_millis() as u64,
            "cycle"
        );
        published.replicas.push(report);
        let starting = memory.shards.values().any(|shard| shard.is_starting(context.now));
        let failing = memory.shards.values().any(|shard| shard.access == Access::Failing);
        let waiting = plan.unassigned.values().any(UnassignedReason::is_passing);
        let moving = plan.transfers.values().any(|transfer| transfer.ended.is_none());
        self.replicas.insert(replica.id.clone(), memory);
        let soon = starting || failing || waiting || moving || !settled || plan.scale != replica.scale;
        if soon { Pace::Soon } else { Pace::Normal }
    }

    /// What the shards of all replicas said: one of them alone may be new, and know of nothing.
    fn take_stop_reasons(&self, found: Vec<String>, term: Option<&Term>) {
        let extra = &self.shared.extra;
        let reason = found.iter().find(|reason| !reason.is_empty()).cloned();
        match (term, reason) {
            (Some(_), Some(reason)) => extra.adopt(reason),
            (None, reason) if !found.is_empty() => extra.observe(reason.unwrap_or_default()),
            _ => {}
        }
        if term.is_some() && !self.replicas.is_empty() && self.replicas.values().all(|memory| memory.settled) {
            extra.settle();
        }
    }

    fn snapshot(&self, replica: &Replica, memory: &ReplicaMemory, catalog: &Catalog, settled: bool) -> Snapshot {
        let on_shards: BTreeSet<TargetHash> = self
            .replicas
            .values()
            .chain([memory])
            .flat_map(|replica| replica.shards.values())
            .flat_map(|shard| shard.targets.iter())
            .filter(|(_, status)| status.health != Health::Unknown)
            .map(|(hash, _)| *hash)
            .collect();
        let explored = self.shared.explorer.statuses();
        let view = |target: &Arc<Target>| {
            let explored = explored.get(&target.hash);
            let measured = explored.filter(|status| status.health == Health::Up).map(|status| status.count);
            // A sidecar that was started again has not scraped yet, but its list holds the size.
            let on_a_shard = self.sizes.get(target.hash);
            TargetView {
                job: Arc::clone(&target.job),
                count: on_a_shard.or(measured),
                attempted: explored.is_some() || on_a_shard.is_some() || on_shards.contains(&target.hash),
                interval: target.interval,
            }
        };
        Snapshot {
            now: Timestamp::now(),
            targets: catalog.targets.iter().map(|(hash, target)| (*hash, view(target))).collect(),
            shards: memory.views(),
            scale: replica.scale,
            scalable: replica.scalable,
            settled,
            transfers: memory.transfers.clone(),
            departed: self.sizes.departed().clone(),
        }
    }

    /// Explores what the plan wants to know, and again what has no home because it could not be measured.
    fn explore(&self, plan: &Plan, snapshot: &Snapshot, catalog: &Catalog) {
        let unmeasured = plan.unassigned.keys().filter(|hash| snapshot.targets.get(hash).is_some_and(|t| t.count.is_none()));
        // Right after the start a target may be held by a shard that was not read yet.
        let wanted = plan.explore.iter().chain(unmeasured).filter(|_| snapshot.settled);
        for target in wanted.filter_map(|hash| catalog.targets.get(hash)) {
            match self.clients.get(&target.job) {
                Some(client) => self.shared.explorer.explore(target, &client, catalog.line),
                None => self.shared.explorer.fail(target.hash, "no client for its job, see the log".to_owned()),
            }
        }
    }

    /// Pushes every changed list and the stop-scraping reason, all shards at the same time. A shard that
    /// does not take its list is read again in the next cycle. What is under way when the term ends is dropped.
    async fn apply(&self, plan: &Plan, memory: &mut ReplicaMemory, catalog: &Catalog, term: &Term) {
        let (extra, decided) = (self.shared.extra.current(), self.shared.extra.is_decided());
        let pushes = memory.shards.iter_mut().filter_map(|(ordinal, shard)| {
            let client = ShardClient::new(shard.url.as_ref()?, self.http.clone());
            let planned = plan.shards.get(ordinal);
            let has_moved =
                |hash: &TargetHash| catalog.targets.get(hash).is_some_and(|target| shard.has_for_another_job(*hash, &target.job));
            let is_due = |planned: &&PlannedShard| planned.changed || planned.targets.keys().any(has_moved);
            let list = planned.filter(is_due).map(|planned| target_list(planned, catalog));
            let push_reason =
                decided && shard.is_readable() && shard.pushed_stop_reason.as_ref() != Some(&extra.stop_scrape_reason);
            let extra = push_reason.then(|| extra.clone());
            Some(async move {
                if let Some(list) = list {
                    match term.carry_out(client.update_targets(&list)).await {
                        Some(Ok(())) => {
                            shard.note_jobs(&list);
                            shard.remembered = planned
                                .into_iter()
                                .flat_map(|p| &p.targets)
                                .map(|(hash, target)| (*hash, target.count))
                                .collect();
                        }
                        Some(Err(error)) => {
                            tracing::warn!(shard = %shard.name, error = %chain(&error), "target list not taken");
                        }
                        None => {}
                    }
                }
                if let Some(extra) = extra {
                    term.carry_out(push_extra_config(&client, shard, extra)).await;
                }
            })
        });
        join_all(pushes.collect::<Vec<_>>()).await;
    }

    async fn scale(&mut self, replica: &Replica, plan: &Plan, memory: &ReplicaMemory, term: &Term) {
        if plan.scale == replica.scale {
            return;
        }
        if replica.stale {
            tracing::debug!(replica = %replica.id, from = replica.scale, to = plan.scale, "not scaled: the list of shards is old");
            return;
        }
        let kind = plan.scale_reason.map_or("unknown", |reason| reason.kind());
        let reason = plan.scale_reason.map(|reason| reason.to_string()).unwrap_or_default();
        match term.carry_out(self.manager.set_scale(replica, plan.scale)).await {
            Some(Ok(())) => {
                tracing::info!(replica = %replica.id, from = replica.scale, to = plan.scale, %reason, "scaled");
                self.shared.metrics.scaled(&replica.id, kind);
                let announcement = Announcement {
                    warning: false,
                    reason: "Scaled",
                    action: "Scale",
                    text: format!("from {} to {}: {reason}", replica.scale, plan.scale),
                    repeat: Repeat::Always,
                };
                self.manager.announce(&replica.id, announcement).await;
                let scaling = Scaling { at: Timestamp::now(), from: replica.scale, to: plan.scale, reason };
                keep(self.scalings.entry(replica.id.clone()).or_default(), scaling);
                for ordinal in plan.scale..replica.scale {
                    let shard = memory.shards.get(&ordinal);
                    if let Some((shard, lost)) = shard.and_then(|shard| Some((&shard.name, shard.samples_pending.as_ref()?))) {
                        tracing::warn!(
                            replica = %replica.id, %shard, %lost,
                            "shard removed after --shard.upload-deadline with samples that are not in the object store"
                        );
                    }
                }
            }
            None => {}
            Some(Err(error)) => {
                tracing::error!(replica = %replica.id, from = replica.scale, to = plan.scale, error = %chain(&error), "scaling failed");
            }
        }
    }

    /// Shows that a number of shards was put back.
    fn corrected(&mut self, correction: Correction) {
        self.shared.metrics.scaled(&correction.replica, "reset");
        let Correction { from, to, .. } = correction;
        let scaling = Scaling { at: Timestamp::now(), from, to, reason: correction.to_string() };
        keep(self.scalings.entry(correction.replica).or_default(), scaling);
    }

    /// Fills in what no shard reports, from exploring, and forgets what is not active any more.
    fn finish(&mut self, published: &mut Published) {
        let catalog = self.shared.catalog.load();
        let explored = self.shared.explorer.statuses();
        published.targets.retain(|hash, _| catalog.targets.contains_key(hash));
        for hash in catalog.targets.keys() {
            let known = published.targets.entry(*hash).or_default();
            if known.status.health == Health::Unknown
                && let Some(status) = explored.get(hash)
            {
                known.status = status.clone();
            }
        }
        self.shared.explorer.retain(|hash| catalog.targets.contains_key(&hash));
    }

    fn forget_absent(&mut self, replicas: &[Replica]) {
        let present: BTreeMap<&str, &Replica> = replicas.iter().map(|replica| (&*replica.id, replica)).collect();
        self.replicas.retain(|id, memory| present.get(&**id).is_some_and(|replica| memory.is_of(replica)));
        self.shared.metrics.retain_replicas(|id| present.contains_key(id));
        self.scalings.retain(|id, _| present.contains_key(&**id));
    }

    /// The Prometheus all shards agree on; `None` while they are not all known or their lines are mixed. Keys that are not
    /// known here must be left to all of them.
    pub(crate) fn agreed_release(&self) -> Option<PrometheusRelease> {
        let mut releases = self.replicas.values().flat_map(|r| r.shards.values()).map(|shard| shard.release);
        let first = releases.next()??;
        releases.try_fold(first, |agreed, release| {
            let release = release.filter(|release| release.line == agreed.line)?;
            Some(PrometheusRelease { knows_more: agreed.knows_more && release.knows_more, ..agreed })
        })
    }
}

/// What remains of a plan that is not carried out: what was seen. Hand-overs that the leader began are
/// remembered, so that their deadlines are known to whoever leads next; those that were only thought of are not.
fn only_observed(plan: Plan, scale: u32) -> Plan {
    let mut transfers = plan.transfers;
    for decision in &plan.decisions {
        if let Decision::MoveStarted { target, .. } = decision {
            transfers.remove(target);
        }
    }
    Plan { scale, transfers, unassigned: plan.unassigned, need: plan.need, room: plan.room, ..Plan::default() }
}

async fn push_extra_config(client: &ShardClient, shard: &mut crate::memory::ShardMemory, extra: ExtraConfig) {
    match client.update_extra_config(&extra).await {
        Ok(()) => shard.pushed_stop_reason = Some(extra.stop_scrape_reason),
        // Sidecars before v0.3.0 have no such setting.
        Err(error) if error.is_not_found() => shard.pushed_stop_reason = Some(extra.stop_scrape_reason),
        Err(error) => tracing::warn!(shard = %shard.name, error = %chain(&error), "stop-scraping reason not taken"),
    }
}

fn target_list(planned: &PlannedShard, catalog: &Catalog) -> UpdateTargets {
    let mut list = UpdateTargets::default();
    for (hash, planned) in &planned.targets {
        // The plan holds active targets only.
        let Some(target) = catalog.targets.get(hash) else { continue };
        let Some(job) = catalog.jobs.get(&target.job) else { continue };
        let labels = target.shipped_labels(&job.config.params);
        let target_on_wire = AssignedTarget::new(*hash, &labels, planned.count, planned.state);
        list.targets.entry(target.job.to_string()).or_default().push(target_on_wire);
    }
    list
}

/// The targets that stay although discovery misses them, for people.
fn missing_targets(catalog: &Catalog) -> Option<String> {
    let held = catalog.jobs.iter().flat_map(|(job, targets)| targets.held.iter().map(move |held| format!("job {job}: {held}")));
    let held: Vec<String> = held.collect();
    (!held.is_empty()).then(|| held.join("; "))
}

/// The targets of a list that a shard says it was given, as far as their jobs are still configured.
fn held_targets<'a>(list: &'a UpdateTargets, config: &'a Config) -> impl Iterator<Item = Target> + 'a {
    list.targets.iter().filter_map(|(job, targets)| Some((config.job(job)?, targets))).flat_map(|(job, targets)| {
        targets.iter().map(move |target| {
            let mut labels = kvass_model::LabelsBuilder::from(&target.label_set().unshipped());
            for (name, values) in &job.params {
                if let Some(first) = values.first() {
                    labels.set_if_absent(&format!("{}{name}", kvass_model::PARAM_LABEL_PREFIX), first);
                }
            }
            let labels = labels.build();
            Target {
                hash: target.target_hash(),
                job: Arc::clone(&job.job_name),
                discovered: labels.clone(),
                url: target_url(&labels, &job.params),
                labels,
                interval: job.scrape_interval,
                timeout: job.scrape_timeout,
            }
        })
    })
}
