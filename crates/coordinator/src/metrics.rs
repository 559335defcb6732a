//! The coordinator's metrics: the names of the original and what an operator needs besides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use kvass_plan::{Access, Decision, Plan};
use kvass_service::metrics::{HttpMetrics, Metrics};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

use crate::{memory::ReplicaMemory, shards::Replica};

/// [Kinds](kvass_plan::UnassignedReason::kind) of reasons not to be assigned.
const UNASSIGNED: [&str; 5] = ["unsettled", "not_explored", "awaiting_shard", "no_room", "too_big"];
const ACCESSES: [Access; 5] = [Access::Changeable, Access::Holding, Access::Failing, Access::Pending, Access::Lost];

type FloatGauge = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabel {
    job: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExploredLabels {
    job: String,
    success: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplicaLabel {
    replica: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardLabels {
    replica: String,
    shard: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    replica: String,
    reason: String,
}

/// Handles of all metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CoordinatorMetrics {
    pub(crate) http: HttpMetrics,
    failed: Counter,
    assigned: Counter,
    alleviated: Counter,
    explored: Family<ExploredLabels, Counter>,
    exploring: Family<JobLabel, Gauge>,
    jobs: Arc<Mutex<BTreeSet<Arc<str>>>>,
    cycle_duration: Histogram,
    decisions: Family<ReasonLabels, Counter>,
    scalings: Family<ReasonLabels, Counter>,
    unassigned: Family<ReasonLabels, Gauge>,
    need_series: Family<ReplicaLabel, Gauge>,
    need_total_series: Family<ReplicaLabel, Gauge>,
    room_series: Family<ReplicaLabel, Gauge>,
    room_total_series: Family<ReplicaLabel, Gauge>,
    scale: Family<ReplicaLabel, Gauge>,
    not_scalable: Family<ReplicaLabel, Gauge>,
    list_age: FloatGauge,
    shards: Family<ReasonLabels, Gauge>,
    shard_series: Family<ShardLabels, Gauge>,
    shard_total_series: Family<ShardLabels, Gauge>,
    shard_head_series: Family<ShardLabels, Gauge>,
    shard_config_mismatch: Family<ShardLabels, FloatGauge>,
    shard_samples_pending: Family<ShardLabels, Gauge>,
    /// The shards whose series are shown, by replica.
    shown: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
    active_targets: Family<JobLabel, Gauge>,
    dropped_targets: Family<JobLabel, Gauge>,
    failed_targets: Family<JobLabel, Gauge>,
    discovery_failing: Family<JobLabel, Gauge>,
    unsupported: Family<JobLabel, Gauge>,
    held_targets: Family<JobLabel, Gauge>,
    over_target_limit: Family<JobLabel, Gauge>,
    leader: Gauge,
    config_success: Gauge,
    config_success_time: FloatGauge,
}

impl CoordinatorMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        metrics.register(|r| CoordinatorMetrics {
            http: HttpMetrics::register(r, "kvass_coordinator_http_request_duration_seconds"),
            failed: add(r, "kvass_coordinator_failed", "Cycles that ended in an error"),
            assigned: add(r, "kvass_coordinator_assign_targets", "First assignments of targets"),
            alleviated: add(r, "kvass_coordinator_alleviate_shards", "Times a shard was relieved of targets"),
            explored: add(r, "kvass_explore_explored", "Targets explored"),
            exploring: add(r, "kvass_explore_exploring_total", "Explores in progress"),
            jobs: Arc::default(),
            cycle_duration: {
                let histogram = Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]);
                r.register("kvass_coordinator_cycle_duration_seconds", "Duration of a cycle", histogram.clone());
                histogram
            },
            decisions: add(r, "kvass_coordinator_decisions", "Decisions of plans by kind"),
            scalings: add(r, "kvass_coordinator_scalings", "Changes of the number of shards by reason"),
            unassigned: add(r, "kvass_coordinator_unassigned_targets", "Targets without a shard by reason"),
            need_series: add(r, "kvass_coordinator_need_series", "Series for which no shard has room"),
            need_total_series: add(
                r,
                "kvass_coordinator_need_total_series",
                "Series before metric relabelling for which no shard has room",
            ),
            room_series: add(r, "kvass_coordinator_room_series", "Series the shards could still take; absent without a limit"),
            room_total_series: add(
                r,
                "kvass_coordinator_room_total_series",
                "Series before metric relabelling the shards could still take; absent without a limit",
            ),
            scale: add(r, "kvass_coordinator_scale", "Shards wished"),
            not_scalable: add(
                r,
                "kvass_coordinator_not_scalable",
                "Whether the number of a replica's shards is not the coordinator's to change",
            ),
            list_age: add(
                r,
                "kvass_coordinator_shard_list_stale_seconds",
                "How long shards could not be listed; the last list is in force meanwhile",
            ),
            shards: add(r, "kvass_coordinator_shards", "Shards by what may be done with them"),
            shard_series: add(r, "kvass_coordinator_shard_series", "Series of a shard's targets"),
            shard_total_series: add(
                r,
                "kvass_coordinator_shard_total_series",
                "Series of a shard's targets before metric relabelling",
            ),
            shard_head_series: add(r, "kvass_coordinator_shard_head_series", "Series in the head of a shard's Prometheus"),
            shard_config_mismatch: add(
                r,
                "kvass_coordinator_shard_config_mismatch_seconds",
                "How long a shard has run another configuration",
            ),
            shard_samples_pending: add(
                r,
                "kvass_coordinator_shard_samples_pending",
                "1 while a shard without targets has samples that are not in the object store yet",
            ),
            shown: Arc::default(),
            active_targets: add(r, "kvass_coordinator_active_targets", "Active targets"),
            dropped_targets: add(r, "kvass_coordinator_dropped_targets", "Targets dropped by relabelling"),
            failed_targets: add(r, "kvass_coordinator_failed_targets", "Targets that cannot be built from what was discovered"),
            discovery_failing: add(
                r,
                "kvass_coordinator_discovery_failing",
                "Whether a job's discovery fails; its last targets stay in force",
            ),
            unsupported: add(
                r,
                "kvass_coordinator_discovery_unsupported",
                "Number of a job's discovery mechanisms that are not supported",
            ),
            held_targets: add(
                r,
                "kvass_coordinator_discovery_held_targets",
                "Targets that stay although they were missing when last read",
            ),
            over_target_limit: add(
                r,
                "kvass_coordinator_target_limit_exceeded_targets",
                "Targets of a job that has more than its target_limit and is not scraped, 0 within it",
            ),
            leader: add(r, "kvass_coordinator_leader", "Whether this coordinator acts; one that does not only observes"),
            config_success: add(
                r,
                "kvass_coordinator_config_last_reload_successful",
                "Whether the last load of the configuration succeeded",
            ),
            config_success_time: add(
                r,
                "kvass_coordinator_config_last_reload_success_timestamp_seconds",
                "When a configuration was last taken into force, Unix time",
            ),
        })
    }

    pub(crate) fn exploring(&self, job: &Arc<str>) -> Gauge {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(job));
        self.exploring.get_or_create(&JobLabel { job: job.to_string() }).clone()
    }

    pub(crate) fn explored(&self, job: &Arc<str>, success: bool) {
        self.explored.get_or_create(&ExploredLabels { job: job.to_string(), success: success.to_string() }).inc();
    }

    /// Removes the series of jobs that are not configured any more.
    pub(crate) fn retain_explored_jobs(&self, configured: &BTreeSet<Arc<str>>) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        for job in jobs.difference(configured) {
            let job = job.to_string();
            self.exploring.remove(&JobLabel { job: job.clone() });
            for success in ["true", "false"] {
                self.explored.remove(&ExploredLabels { job: job.clone(), success: success.to_owned() });
            }
            for family in [
                &self.active_targets,
                &self.dropped_targets,
                &self.failed_targets,
                &self.discovery_failing,
                &self.unsupported,
                &self.held_targets,
                &self.over_target_limit,
            ] {
                family.remove(&JobLabel { job: job.clone() });
            }
        }
        jobs.retain(|job| configured.contains(job));
    }

    pub(crate) fn catalog(&self, catalog: &crate::catalog::Catalog) {
        for (name, job) in &catalog.jobs {
            self.jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(name));
            let label = JobLabel { job: name.to_string() };
            self.active_targets.get_or_create(&label).set(gauge(job.active.len()));
            self.dropped_targets.get_or_create(&label).set(gauge(job.dropped_total));
            self.failed_targets.get_or_create(&label).set(gauge(job.failed.len()));
            self.discovery_failing.get_or_create(&label).set(i64::from(!job.errors.is_empty()));
            self.unsupported.get_or_create(&label).set(gauge(job.unsupported.len()));
            self.over_target_limit.get_or_create(&label).set(i64::try_from(job.over_limit.unwrap_or(0)).unwrap_or(i64::MAX));
            self.held_targets.get_or_create(&label).set(gauge(job.held.iter().map(|held| held.targets).sum()));
        }
    }

    pub(crate) fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    pub(crate) fn config(&self, state: &kvass_service::ReloadState) {
        self.config_success.set(i64::from(state.error.is_none() && state.last_success.is_some()));
        let time = state.last_success.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        self.config_success_time.set(time.map_or(0.0, |time| time.as_secs_f64()));
    }

    pub(crate) fn cycle(&self, duration: std::time::Duration, ok: bool) {
        self.cycle_duration.observe(duration.as_secs_f64());
        if !ok {
            self.failed.inc();
        }
    }

    /// Shows how old the list of shards is.
    pub(crate) fn listed(&self, age: Option<std::time::Duration>) {
        self.list_age.set(age.map_or(0.0, |age| age.as_secs_f64()));
    }

    pub(crate) fn scaled(&self, replica: &str, reason: &str) {
        self.scalings.get_or_create(&ReasonLabels { replica: replica.to_owned(), reason: reason.to_owned() }).inc();
    }

    /// Shows one replica after it was planned.
    pub(crate) fn planned(&self, replica: &Replica, memory: &ReplicaMemory, plan: &Plan) {
        let label = ReplicaLabel { replica: replica.id.clone() };
        for decision in &plan.decisions {
            self.decisions.get_or_create(&ReasonLabels { replica: replica.id.clone(), reason: decision.kind().to_owned() }).inc();
            if let Decision::Assigned { .. } = decision {
                self.assigned.inc();
            }
        }
        let relieved: BTreeSet<u32> = plan
            .decisions
            .iter()
            .filter_map(|d| match d {
                Decision::MoveStarted { from, why: kvass_plan::MoveReason::Relief { .. }, .. } => Some(*from),
                _ => None,
            })
            .collect();
        self.alleviated.inc_by(relieved.len() as u64);
        self.need_series.get_or_create(&label).set(signed(plan.need.series));
        self.need_total_series.get_or_create(&label).set(signed(plan.need.total));
        for (family, room) in [(&self.room_series, plan.room.series), (&self.room_total_series, plan.room.total)] {
            if room == u64::MAX {
                family.remove(&label);
            } else {
                family.get_or_create(&label).set(signed(room));
            }
        }
        self.scale.get_or_create(&label).set(i64::from(plan.scale));
        self.not_scalable.get_or_create(&label).set(i64::from(!replica.scalable));
        for reason in UNASSIGNED {
            let number = plan.unassigned.values().filter(|r| r.kind() == reason).count();
            self.unassigned
                .get_or_create(&ReasonLabels { replica: replica.id.clone(), reason: reason.to_owned() })
                .set(gauge(number));
        }
        for access in ACCESSES {
            let number = memory.shards.values().filter(|s| s.access == access).count();
            self.shards
                .get_or_create(&ReasonLabels { replica: replica.id.clone(), reason: access_word(access).to_owned() })
                .set(gauge(number));
        }
        let names = memory.shards.values().map(|shard| shard.name.clone()).collect();
        let before = self.shown().insert(replica.id.clone(), names).unwrap_or_default();
        for gone in before.iter().filter(|name| memory.shards.values().all(|shard| shard.name != **name)) {
            self.forget_shard(&replica.id, gone);
        }
        for shard in memory.shards.values() {
            let label = ShardLabels { replica: replica.id.clone(), shard: shard.name.clone() };
            let load: kvass_model::SeriesCount = shard.targets.values().map(|status| status.count).sum();
            self.shard_series.get_or_create(&label).set(signed(load.series));
            self.shard_total_series.get_or_create(&label).set(signed(load.total));
            self.shard_head_series.get_or_create(&label).set(signed(shard.head_series));
            let mismatch = shard.mismatch_since.map(|since| crate::memory::elapsed(since, jiff::Timestamp::now()));
            self.shard_samples_pending.get_or_create(&label).set(i64::from(shard.samples_pending.is_some()));
            self.shard_config_mismatch.get_or_create(&label).set(mismatch.map_or(0.0, |age| age.as_secs_f64()));
        }
    }

    /// Removes the series of replicas that are gone, and of their shards: nobody would ever set them again. What was counted
    /// stays.
    pub(crate) fn retain_replicas(&self, is_present: impl Fn(&str) -> bool) {
        let shown = std::mem::take(&mut *self.shown());
        let (present, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = shown.into_iter().partition(|(replica, _)| is_present(replica));
        *self.shown() = present;
        for (replica, shards) in gone {
            let gauges = [&self.need_series, &self.need_total_series, &self.room_series, &self.room_total_series];
            for family in gauges.into_iter().chain([&self.scale, &self.not_scalable]) {
                family.remove(&ReplicaLabel { replica: replica.clone() });
            }
            for reason in UNASSIGNED {
                self.unassigned.remove(&ReasonLabels { replica: replica.clone(), reason: reason.to_owned() });
            }
            for access in ACCESSES {
                self.shards.remove(&ReasonLabels { replica: replica.clone(), reason: access_word(access).to_owned() });
            }
            shards.iter().for_each(|shard| self.forget_shard(&replica, shard));
        }
    }

    fn forget_shard(&self, replica: &str, shard: &str) {
        let label = ShardLabels { replica: replica.to_owned(), shard: shard.to_owned() };
        let gauges = [&self.shard_series, &self.shard_total_series, &self.shard_head_series, &self.shard_samples_pending];
        for family in gauges {
            family.remove(&label);
        }
        self.shard_config_mismatch.remove(&label);
    }

    fn shown(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registers a metric that starts at nothing.
fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// The word for what may be done with a shard.
pub(crate) fn access_word(access: Access) -> &'static str {
    match access {
        Access::Changeable => "changeable",
        Access::Holding => "holding",
        Access::Failing => "failing",
        Access::Pending => "pending",
        Access::Lost => "lost",
    }
}

fn gauge(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
