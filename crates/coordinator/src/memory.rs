//! What the coordinator remembers of shards from one cycle to the next. Nothing of it is on disk: after a
//! restart it is read from the shards again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kvass_api::{AssignedTarget, ShardClient, UpdateTargets};
use kvass_config::PrometheusRelease;
use kvass_model::{Health, ScrapeStatus, SeriesCount, TargetHash};
use kvass_plan::{Access, Departed, ShardView, Transfer};
use tokio::task::JoinHandle;

use crate::{
    leader::Term,
    observe::{ConfigVerdict, Questions, Reading, read},
    shards::{ListedShard, Replica},
    unplaced::Unplaced,
};

/// How long a cycle waits for shards that answered the last time.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest time a shard usually takes to start; one that takes longer is looked at less often.
const USUAL_START: Duration = Duration::from_secs(300);
/// How long it waits for those that did not, once the others have answered.
const IMPATIENCE: Duration = Duration::from_millis(200);

/// Memory of one replica.
#[derive(Debug, Default)]
pub(crate) struct ReplicaMemory {
    pub(crate) shards: BTreeMap<u32, ShardMemory>,
    pub(crate) transfers: BTreeMap<TargetHash, Transfer>,
    /// What was told of targets without a shard.
    pub(crate) unplaced: Unplaced,
    /// Which object stands behind the replica; nothing here is true of another one.
    incarnation: String,
    /// When the replica was first listed.
    first_listed: Option<Timestamp>,
    /// Whether every shard was read once, or given up on, since the replica was first listed.
    pub(crate) settled: bool,
}

/// Memory of one shard.
#[derive(Debug, Default)]
pub(crate) struct ShardMemory {
    pub(crate) name: String,
    pub(crate) url: Option<String>,
    /// Why it has no address.
    absent: Option<&'static str>,
    /// Its pod does not end, so that no other comes.
    overdue: bool,
    incarnation: String,
    /// Since when the shard could not be read; from when it was first listed, if it never was.
    unread_since: Option<Timestamp>,
    /// Whether the shard was read at least once.
    was_read: bool,
    /// Whether it ever took a list: until then an empty one is still starting.
    was_changeable: bool,
    /// Whether it was there when the coordinator started, so that it may hold targets nobody knows of.
    from_the_start: bool,
    /// What it held when it was last read.
    pub(crate) targets: BTreeMap<TargetHash, ScrapeStatus>,
    /// What it was last given, or seen to hold.
    pub(crate) remembered: BTreeMap<TargetHash, SeriesCount>,
    /// The jobs it was given its targets for, as far as known: it tells the identities alone, and those may be the same in
    /// another job.
    jobs: BTreeMap<TargetHash, Arc<str>>,
    pub(crate) head_series: u64,
    pub(crate) process_series: u64,
    idle_since: Option<Timestamp>,
    /// What it says is left to do until its samples are in the object store.
    pub(crate) samples_pending: Option<String>,
    /// Why its list cannot be changed now, for the operator; empty when it can.
    pub(crate) problem: Option<String>,
    pub(crate) access: Access,
    /// Since when it has been starting, if it is.
    pending_since: Option<Timestamp>,
    /// A foreign hash found to mean the configuration with the hash of ours beside it.
    foreign: Option<(String, String)>,
    /// Since when it has run another configuration.
    pub(crate) mismatch_since: Option<Timestamp>,
    /// The shard has a configuration file of its own, or refused a push for this configuration.
    refused_push: Option<String>,
    pub(crate) release: Option<PrometheusRelease>,
    /// The list it says it was given was asked for in this incarnation.
    pub(crate) asked_assigned: bool,
    /// The job of every target it holds is known: the shard told, or all of them were active at one time.
    /// From then on a target that is not active was removed, however incomplete other jobs are.
    accounted: bool,
    /// The reason last pushed to it.
    pub(crate) pushed_stop_reason: Option<String>,
    reading: Option<JoinHandle<Reading>>,
}

/// What a round of reading found besides what went into the memory.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Lists that shards say they were given, for targets whose job and labels nobody else knows.
    pub(crate) assigned: Vec<UpdateTargets>,
    /// Stop-scraping reasons found on shards.
    pub(crate) stop_reasons: Vec<String>,
}

impl ReplicaMemory {
    /// A memory of nothing yet.
    pub(crate) fn of(replica: &Replica) -> Self {
        ReplicaMemory { incarnation: replica.incarnation.clone(), ..ReplicaMemory::default() }
    }

    /// Whether this is the memory of `replica`, and not of one that had its name before.
    pub(crate) fn is_of(&self, replica: &Replica) -> bool {
        self.incarnation == replica.incarnation
    }

    /// Reads all shards of `replica` and takes what they answer into the memory.
    pub(crate) async fn observe(
        &mut self,
        replica: &Replica,
        http: &reqwest::Client,
        context: &ObserveContext<'_>,
        is_known: impl Fn(TargetHash) -> bool,
    ) -> Findings {
        let first = self.first_listed.is_none();
        not_ahead(self.first_listed.get_or_insert(context.now), context.now);
        self.shards.retain(|ordinal, _| *ordinal < replica.scale);
        for listed in &replica.shards {
            self.shards.entry(listed.ordinal).or_default().listed(listed, first, context.now);
        }

        for shard in self.shards.values_mut() {
            shard.times().for_each(|at| not_ahead(at, context.now));
            shard.start_reading(http, context);
        }
        let readings = collect(&mut self.shards, context.now).await;

        let mut findings = Findings::default();
        for (ordinal, reading) in readings {
            if let Some(shard) = self.shards.get_mut(&ordinal) {
                shard.take(reading, context, &mut findings);
            }
        }
        for shard in self.shards.values_mut() {
            shard.judge(context, &is_known);
        }
        if !self.settled {
            let waited = self.first_listed.is_some_and(|at| elapsed(at, context.now) >= context.grace);
            self.settled = waited || self.shards.values().filter(|s| s.from_the_start).all(|s| s.was_read);
        }
        findings
    }

    /// Forgets what is true only as long as nobody else acts.
    pub(crate) fn leave_office(&mut self) {
        self.transfers.clear();
        for shard in self.shards.values_mut() {
            shard.pushed_stop_reason = None;
        }
    }

    /// The shards as the planner sees them.
    pub(crate) fn views(&self) -> BTreeMap<u32, ShardView> {
        let view = |shard: &ShardMemory| ShardView {
            name: shard.name.clone(),
            access: shard.access,
            head_series: shard.head_series,
            process_series: shard.process_series,
            idle_since: shard.idle_since,
            samples_pending: shard.samples_pending.is_some(),
            targets: shard.targets.clone(),
            remembered: shard.remembered.clone(),
        };
        self.shards.iter().map(|(ordinal, shard)| (*ordinal, view(shard))).collect()
    }
}

/// What reading and judging shards depends on.
pub(crate) struct ObserveContext<'a> {
    pub(crate) now: Timestamp,
    pub(crate) config: &'a Arc<kvass_config::Config>,
    pub(crate) grace: Duration,
    /// Ask shards which Prometheus they run.
    pub(crate) ask_release: bool,
    /// Nobody has said anything about stop-scraping since the coordinator started.
    pub(crate) ask_stop_reason: bool,
    /// Every job's discovery is complete: a target that is not active may be forgotten.
    pub(crate) all_complete: bool,
    /// The term in which this coordinator acts. Without one another acts, and shards change by themselves.
    pub(crate) term: Option<&'a Term>,
}

impl ShardMemory {
    fn listed(&mut self, listed: &ListedShard, first: bool, now: Timestamp) {
        self.name.clone_from(&listed.name);
        self.absent = listed.absent;
        self.overdue = listed.overdue;
        if self.url != listed.url || self.incarnation != listed.incarnation {
            // Another process: what it refused, pushed or never answered says nothing any more.
            if let Some(reading) = self.reading.take() {
                reading.abort();
            }
            self.url.clone_from(&listed.url);
            self.incarnation.clone_from(&listed.incarnation);
            self.refused_push = None;
            self.pushed_stop_reason = None;
            self.asked_assigned = false;
            self.accounted = false;
            self.jobs.clear();
            self.foreign = None;
            self.release = None;
        }
        self.from_the_start |= first;
        if !self.was_read {
            self.unread_since.get_or_insert(now);
        }
    }

    /// Since when anything is as it is.
    fn times(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let times = [&mut self.unread_since, &mut self.idle_since, &mut self.pending_since, &mut self.mismatch_since];
        times.into_iter().flatten()
    }

    fn start_reading(&mut self, http: &reqwest::Client, context: &ObserveContext<'_>) {
        if self.reading.is_some() {
            return;
        }
        let Some(url) = &self.url else { return };
        let ours = context.config.hash().as_str();
        let questions = Questions {
            config: Arc::clone(context.config),
            known_foreign: self.foreign.as_ref().filter(|(mine, _)| mine == ours).map(|(_, theirs)| theirs.clone()),
            release: context.ask_release && self.release.is_none(),
            assigned: !self.asked_assigned,
            stop_reason: context.ask_stop_reason,
            push_config: context.term.filter(|_| self.refused_push.as_deref() != Some(ours)).cloned(),
        };
        self.reading = Some(tokio::spawn(read(ShardClient::new(url, http.clone()), questions)));
    }

    fn take(&mut self, reading: Reading, context: &ObserveContext<'_>, findings: &mut Findings) {
        let targets = match reading.targets {
            Ok(targets) => targets,
            Err(error) => {
                self.unreadable(error, context.now);
                return;
            }
        };
        if reading.config == ConfigVerdict::Missing {
            // As one that does not answer: within the grace its targets stay its own, then they go elsewhere.
            if reading.pushed_config {
                self.refused_push = Some(context.config.hash().to_string());
            }
            self.unreadable("has no configuration yet, its own /-/ready says why".to_owned(), context.now);
            return;
        }
        if self.unread_since.take().is_some() && self.was_read {
            tracing::info!(shard = %self.name, "shard is back");
        }
        self.was_read = true;
        self.problem = None;
        // An empty list is a lost one, unless another coordinator may have sent it.
        if !targets.is_empty() || context.term.is_none() {
            self.remembered = targets.iter().map(|(hash, status)| (*hash, status.count)).collect();
        }
        self.targets = targets;
        match reading.runtime {
            Some(Ok(runtime)) => {
                self.head_series = u64::try_from(runtime.head_series).unwrap_or(0);
                self.process_series = u64::try_from(runtime.process_series).unwrap_or(0);
                self.samples_pending = runtime.samples_pending;
                // The shard's own clock may be wrong in either direction: only what was watched from here
                // counts, and only while the shard itself says that it is idle.
                self.idle_since = match (self.targets.is_empty() && runtime.idle_start_at.is_some(), self.idle_since) {
                    (false, _) => None,
                    (true, since) => since.or(Some(context.now)),
                };
            }
            Some(Err(error)) => {
                self.idle_since = None;
                self.problem = Some(error);
            }
            None => self.idle_since = None,
        }
        let ours = context.config.hash().as_str();
        match reading.config {
            ConfigVerdict::Same { foreign } => {
                self.mismatch_since = None;
                self.foreign = foreign.map(|theirs| (ours.to_owned(), theirs));
            }
            ConfigVerdict::Different(theirs) => {
                if reading.pushed_config {
                    self.refused_push = Some(ours.to_owned());
                }
                let since = *self.mismatch_since.get_or_insert(context.now);
                let age = elapsed(since, context.now).as_secs();
                self.problem.get_or_insert(format!("runs another configuration (hash {theirs:?}) for {age}s"));
            }
            ConfigVerdict::Unknown | ConfigVerdict::Missing => {}
        }
        if reading.release.is_some() {
            self.release = reading.release;
        }
        if let Some(assigned) = reading.assigned {
            self.asked_assigned = true;
            self.accounted |= assigned.is_some();
            assigned.iter().for_each(|list| self.note_jobs(list));
            findings.assigned.extend(assigned);
        }
        findings.stop_reasons.extend(reading.stop_reason);
    }

    fn unreadable(&mut self, error: String, now: Timestamp) {
        if self.unread_since.is_none() {
            self.unread_since = Some(now);
            tracing::warn!(shard = %self.name, %error, "shard cannot be read");
        }
        self.idle_since = None;
        self.release = None;
        self.problem = Some(error);
    }

    /// Decides what may be done with the shard.
    fn judge(&mut self, context: &ObserveContext<'_>, is_known: &impl Fn(TargetHash) -> bool) {
        if self.url.is_none() {
            self.unreadable(self.absent.unwrap_or("has no address").to_owned(), context.now);
        }
        let all_known = self.unread_since.is_none() && self.targets.keys().all(|hash| is_known(*hash));
        self.accounted |= all_known;
        if context.term.is_none() && !all_known {
            // The leader may have given it targets that were not discovered here.
            (self.accounted, self.asked_assigned) = (false, false);
        }
        let before = self.access;
        self.access = match self.unread_since {
            None if self.problem.is_some() && !self.was_changeable && self.targets.is_empty() => Access::Pending,
            None if self.problem.is_some() => Access::Holding,
            // Its list cannot be written again without the labels of everything on it.
            None if !context.all_complete && !self.accounted => {
                self.problem = Some("holds targets that discovery has not delivered yet".to_owned());
                Access::Holding
            }
            None => Access::Changeable,
            // It may hold targets: those it was seen with, or, if it is older than this coordinator, any.
            Some(since) if self.was_read || self.from_the_start => match elapsed(since, context.now) {
                gone if gone >= context.grace => Access::Lost,
                gone if gone >= context.grace / 4 * 3 => Access::Failing,
                _ => Access::Holding,
            },
            // It was never there, and is not coming.
            Some(_) if self.overdue => Access::Lost,
            Some(_) => Access::Pending,
        };
        if self.access == Access::Lost && before != Access::Lost {
            let problem = self.problem.as_deref().unwrap_or_default();
            tracing::warn!(shard = %self.name, problem, "shard is lost, its targets go elsewhere");
        }
        self.was_changeable |= self.access == Access::Changeable;
        self.pending_since = (self.access == Access::Pending).then(|| self.pending_since.unwrap_or(context.now));
    }

    /// Whether it is worth looking at the shard more often: it is starting, and has not been for long.
    pub(crate) fn is_starting(&self, now: Timestamp) -> bool {
        self.pending_since.is_some_and(|since| elapsed(since, now) < USUAL_START)
    }

    /// Notes which job each target of a list is of.
    pub(crate) fn note_jobs(&mut self, list: &UpdateTargets) {
        let of_job = |(job, targets): (&String, &Vec<AssignedTarget>)| {
            let job: Arc<str> = job.as_str().into();
            targets.iter().map(|target| (target.target_hash(), Arc::clone(&job))).collect::<Vec<_>>()
        };
        self.jobs = list.targets.iter().flat_map(of_job).collect();
    }

    /// Whether it holds the target for another job: one that was renamed, or another with the same target.
    pub(crate) fn has_for_another_job(&self, hash: TargetHash, job: &str) -> bool {
        self.jobs.get(&hash).is_some_and(|known| **known != *job)
    }

    /// Whether the shard answered in the last round.
    pub(crate) fn is_readable(&self) -> bool {
        self.unread_since.is_none()
    }
}

/// Waits for readings: for shards that answered the last time as long as is reasonable, for the others
/// only a moment longer than for those. What is not finished goes on in the background: such a shard has been silent
/// since it was `asked`, not since the end of the wait.
async fn collect(shards: &mut BTreeMap<u32, ShardMemory>, asked: Timestamp) -> Vec<(u32, Reading)> {
    let is_finished = |shard: &ShardMemory| shard.reading.as_ref().is_none_or(JoinHandle::is_finished);
    let start = tokio::time::Instant::now();
    let mut impatient_since = None;
    loop {
        let all = shards.values().all(is_finished);
        let responsive = shards.values().filter(|s| s.is_readable() || !s.was_read && !s.has_failed()).all(is_finished);
        let now = tokio::time::Instant::now();
        if responsive {
            impatient_since.get_or_insert(now);
        }
        if all || now - start >= PATIENCE || impatient_since.is_some_and(|at| now - at >= IMPATIENCE) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut readings = Vec::new();
    for (ordinal, shard) in shards.iter_mut() {
        match shard.reading.take_if(|reading| reading.is_finished()) {
            Some(reading) => {
                if let Ok(reading) = reading.await {
                    readings.push((*ordinal, reading));
                }
            }
            None if shard.reading.is_some() => shard.unreadable("does not answer in time".to_owned(), asked),
            None => {}
        }
    }
    readings
}

impl ShardMemory {
    fn has_failed(&self) -> bool {
        self.problem.is_some()
    }
}

impl Drop for ShardMemory {
    fn drop(&mut self) {
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
    }
}

/// Where the clock was set back since, what is waited for must not take as much longer.
fn not_ahead(at: &mut Timestamp, now: Timestamp) {
    *at = (*at).min(now);
}

/// Time from `from` to `to`, zero if the clock went back.
pub(crate) fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// The best known size of every target: as shards measured it, kept when a shard forgets.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    active: BTreeMap<TargetHash, SeriesCount>,
    departed: BTreeMap<TargetHash, Departed>,
}

impl Sizes {
    /// Takes over what a shard measured. A target that has never been up there shows the number it was
    /// sent with, which is no news.
    pub(crate) fn learn(&mut self, hash: TargetHash, status: &ScrapeStatus) {
        let measured = status.health == Health::Up || status.count != SeriesCount::default();
        if measured {
            self.active.insert(hash, status.count);
        }
    }

    pub(crate) fn get(&self, hash: TargetHash) -> Option<SeriesCount> {
        self.active.get(&hash).copied()
    }

    /// Lays aside the sizes of targets that are not active any more, and forgets them after a while.
    pub(crate) fn retain(&mut self, active: impl Fn(TargetHash) -> bool, now: Timestamp) {
        self.active.retain(|hash, count| {
            let stays = active(*hash);
            if !stays {
                self.departed.insert(*hash, Departed { count: *count, at: now });
            }
            stays
        });
        self.departed.values_mut().for_each(|gone| not_ahead(&mut gone.at, now));
        self.departed.retain(|hash, gone| !active(*hash) && elapsed(gone.at, now) < kvass_plan::ROOM_KEPT);
    }

    /// The targets that are not active any more, for a while.
    pub(crate) fn departed(&self) -> &BTreeMap<TargetHash, Departed> {
        &self.departed
    }
}

#[cfg(test)]
mod tests {
    use kvass_plan::ROOM_KEPT;

    use super::*;

    #[test]
    fn a_target_that_goes_is_remembered_for_a_while_and_one_that_returns_is_not_gone() {
        let at = |seconds| Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds);
        let kept = i64::try_from(ROOM_KEPT.as_secs()).unwrap();
        let count = SeriesCount { series: 10, total: 12 };
        let status = ScrapeStatus { health: Health::Up, count, ..ScrapeStatus::default() };
        let mut sizes = Sizes::default();
        (1..=3).for_each(|hash| sizes.learn(TargetHash(hash), &status));

        sizes.retain(|hash| hash == TargetHash(1), at(0));
        assert_eq!(sizes.get(TargetHash(1)), Some(count));
        assert_eq!(sizes.get(TargetHash(2)), None);
        let gone = |sizes: &Sizes| sizes.departed().iter().map(|(hash, gone)| (hash.0, *gone)).collect::<Vec<_>>();
        let departed = Departed { count, at: at(0) };
        assert_eq!(gone(&sizes), [(2, departed), (3, departed)]);

        sizes.retain(|hash| hash != TargetHash(3), at(kept - 1));
        assert_eq!(gone(&sizes), [(3, departed)], "2 is back");
        sizes.retain(|hash| hash != TargetHash(3), at(kept));
        assert_eq!(gone(&sizes), []);

        sizes.retain(|_| false, at(3 * kept));
        sizes.retain(|_| false, at(0));
        sizes.retain(|_| false, at(kept));
        assert_eq!(gone(&sizes), [], "forgotten although the clock was set back");
    }
}
