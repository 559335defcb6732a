//! A small world driven for simulated days: exporters that grow, come and go, shards that crash, get
//! lost and lose their volumes, pushes that fail, a coordinator that forgets.
//!
//! What shards really do is kept apart from what the coordinator sees of it. One tick is one scrape
//! interval and one cycle of the coordinator.

// Clippy knows `#[test]` functions, not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kvass_model::{Health, ScrapeStatus, SeriesCount, TargetHash, TargetState};
use kvass_plan::{Access, Decision, Departed, Limits, Plan, ShardView, Snapshot, TargetView, Transfer, UnassignedReason, plan};

const TICK: Duration = Duration::from_secs(15);
const LIMIT: u64 = 10_000;
/// Ticks an unreachable shard keeps its targets.
const GRACE: u64 = 4;
/// Ticks until a new or restarted pod answers.
const STARTUP: u64 = 3;
/// Ticks between truncations of a head.
const TRUNCATION: u64 = 480;

#[test]
fn spread_over_days() {
    for seed in seeds(1) {
        live(seed, Limits { max_series: Some(LIMIT), ..Limits::default() });
    }
}

#[test]
fn packed_over_days() {
    for seed in seeds(2) {
        let max_process_series = Some(LIMIT * 2);
        live(seed, Limits { max_series: Some(LIMIT), max_process_series, max_idle: TICK * 100, ..Limits::default() });
    }
}

#[test]
fn patient_hand_overs_in_a_bounded_replica() {
    for seed in seeds(3) {
        let limits = Limits { max_series: Some(LIMIT), hand_over_scrapes: 3, min_shards: 2, max_shards: 7, ..Limits::default() };
        live(seed, limits);
    }
}

/// Two worlds each, or as many as `KVASS_SIM_WORLDS` says.
fn seeds(test: u64) -> impl Iterator<Item = u64> {
    let worlds = std::env::var("KVASS_SIM_WORLDS").map_or(2, |worlds| worlds.parse().expect("KVASS_SIM_WORLDS is a number"));
    (0..worlds).map(move |world| test * 1000 + world)
}

/// Two hours of trouble, then four of peace, three times over.
fn live(seed: u64, limits: Limits) {
    let mut world = World::new(seed, limits);
    for _ in 0..3 {
        for _ in 0..480 {
            world.trouble();
            world.tick();
        }
        world.peace();
        let mut last_change = 0;
        for tick in 0..960 {
            if world.tick() {
                last_change = tick;
            }
        }
        assert!(last_change < 840, "seed {seed}: still moving after {last_change} ticks of peace");
        world.assert_at_rest();
    }
}

/// Good enough for weather.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

struct Exporter {
    size: SeriesCount,
    up: bool,
    /// Tick of discovery.
    born: u64,
    /// The shards that scraped it in the last tick.
    scrapers: BTreeSet<u32>,
}

#[derive(Default)]
struct Pod {
    list: BTreeMap<TargetHash, ScrapeStatus>,
    idle_since: Option<Timestamp>,
    head: u64,
    /// Tick from which it runs.
    runs_from: u64,
    /// Tick until which the coordinator cannot reach it.
    cut_off_until: u64,
    /// It has run before, so a silence is not the silence of a start.
    was_up: bool,
}

/// Everything the coordinator forgets when it restarts.
#[derive(Default)]
struct Memory {
    since: u64,
    seen: BTreeMap<u32, (u64, ShardView)>,
    remembered: BTreeMap<u32, BTreeMap<TargetHash, SeriesCount>>,
    sizes: BTreeMap<TargetHash, SeriesCount>,
    attempted: BTreeSet<TargetHash>,
    transfers: BTreeMap<TargetHash, Transfer>,
    departed: BTreeMap<TargetHash, Departed>,
}

struct World {
    seed: u64,
    rng: Rng,
    limits: Limits,
    tick: u64,
    exporters: BTreeMap<TargetHash, Exporter>,
    next_hash: u64,
    pods: BTreeMap<u32, Pod>,
    scale: u32,
    memory: Memory,
    failing_pushes: bool,
    /// Since when each target has been without a home for a reason that time should cure.
    homeless: BTreeMap<TargetHash, u64>,
}

impl World {
    fn new(seed: u64, limits: Limits) -> World {
        let mut world = World {
            seed,
            rng: Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            limits,
            tick: 1000,
            exporters: BTreeMap::new(),
            next_hash: 1,
            pods: BTreeMap::new(),
            scale: 0,
            memory: Memory::default(),
            failing_pushes: false,
            homeless: BTreeMap::new(),
        };
        for _ in 0..40 {
            world.birth();
        }
        world
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs((TICK.as_secs() * self.tick) as i64)
    }

    fn birth(&mut self) {
        let series = match self.rng.below(40) {
            0 => 4000 + self.rng.below(8000),
            1..=9 => 1000 + self.rng.below(2000),
            _ => self.rng.below(800),
        };
        let size = SeriesCount { series, total: series + self.rng.below(series + 1) / 2 };
        let up = !self.rng.one_in(15);
        self.exporters.insert(TargetHash(self.next_hash), Exporter { size, up, born: self.tick, scrapers: BTreeSet::new() });
        self.next_hash += 1;
    }

    fn any_exporter(&mut self) -> Option<TargetHash> {
        let index = self.rng.below(self.exporters.len().max(1) as u64) as usize;
        self.exporters.keys().nth(index).copied()
    }

    fn any_pod(&mut self) -> Option<u32> {
        let index = self.rng.below(self.pods.len().max(1) as u64) as usize;
        self.pods.keys().nth(index).copied()
    }

    /// What may go wrong, or merely happen, in one tick.
    fn trouble(&mut self) {
        self.failing_pushes = true;
        if self.rng.one_in(12) && self.exporters.len() < 80 {
            self.birth();
        }
        if self.rng.one_in(15)
            && let Some(hash) = self.any_exporter()
        {
            let size = self.exporters.remove(&hash).unwrap().size;
            let at = self.now();
            self.memory.departed.insert(hash, Departed { count: size, at });
        }
        if self.rng.one_in(6)
            && let Some(hash) = self.any_exporter()
        {
            let percent = 80 + self.rng.below(45);
            let exporter = self.exporters.get_mut(&hash).unwrap();
            exporter.size.series = exporter.size.series * percent / 100;
            exporter.size.total = exporter.size.total * percent / 100;
        }
        if self.rng.one_in(10)
            && let Some(hash) = self.any_exporter()
        {
            let exporter = self.exporters.get_mut(&hash).unwrap();
            exporter.up = !exporter.up;
        }
        if self.rng.one_in(60)
            && let Some(ordinal) = self.any_pod()
        {
            let (down_for, volume_lost) = (STARTUP + self.rng.below(12), self.rng.one_in(3));
            let (tick, now) = (self.tick, self.now());
            let pod = self.pods.get_mut(&ordinal).unwrap();
            pod.runs_from = tick + down_for;
            pod.list.values_mut().for_each(|status| (status.health, status.scrape_times) = (Health::Unknown, 0));
            if volume_lost {
                pod.list.clear();
                pod.idle_since = Some(now);
            }
        }
        if self.rng.one_in(60)
            && let Some(ordinal) = self.any_pod()
        {
            let until = self.tick + self.rng.below(3 * GRACE);
            self.pods.get_mut(&ordinal).unwrap().cut_off_until = until;
        }
        if self.rng.one_in(150) {
            self.restart_coordinator();
        }
    }

    fn restart_coordinator(&mut self) {
        self.memory = Memory { since: self.tick, ..Memory::default() };
    }

    fn peace(&mut self) {
        self.failing_pushes = false;
        self.exporters.values_mut().for_each(|exporter| exporter.up = true);
        for pod in self.pods.values_mut() {
            pod.cut_off_until = 0;
        }
    }

    /// One interval; returns whether the coordinator changed anything.
    fn tick(&mut self) -> bool {
        self.tick += 1;
        self.kubernetes();
        self.scrape();
        let snapshot = self.observe();
        let plan = plan(&snapshot, &self.limits);
        self.judge(&snapshot, &plan);
        self.carry_out(&plan);
        plan.scale != snapshot.scale || !plan.decisions.is_empty()
    }

    fn kubernetes(&mut self) {
        for ordinal in 0..self.scale {
            let (tick, now) = (self.tick, self.now());
            self.pods.entry(ordinal).or_insert_with(|| Pod {
                runs_from: tick + STARTUP,
                idle_since: Some(now),
                ..Pod::default()
            });
        }
        self.pods.retain(|ordinal, pod| {
            assert!(*ordinal < self.scale || pod.list.is_empty(), "seed {}: shard {ordinal} is removed with targets", self.seed);
            *ordinal < self.scale
        });
    }

    fn scrape(&mut self) {
        let mut scrapers: BTreeMap<TargetHash, BTreeSet<u32>> = BTreeMap::new();
        for (ordinal, pod) in self.pods.iter_mut().filter(|(_, pod)| pod.runs_from <= self.tick) {
            pod.was_up = true;
            for (hash, status) in &mut pod.list {
                let Some(exporter) = self.exporters.get(hash) else { continue };
                status.scrape_times += 1;
                status.health = if exporter.up { Health::Up } else { Health::Down };
                status.count = exporter.size;
                scrapers.entry(*hash).or_default().insert(*ordinal);
            }
            let load: u64 = pod.list.values().map(|status| status.count.series).sum();
            pod.head = if self.tick.is_multiple_of(TRUNCATION) { load } else { pod.head.max(load) };
        }
        for (hash, exporter) in &mut self.exporters {
            let before = std::mem::replace(&mut exporter.scrapers, scrapers.remove(hash).unwrap_or_default());
            // The promise of a hand-over: as long as the shards that had the target run, somebody scrapes it.
            let runs = |ordinal: &u32| self.pods.get(ordinal).is_none_or(|pod| pod.runs_from < self.tick);
            let missed = exporter.scrapers.is_empty() && !before.is_empty() && before.iter().all(runs);
            assert!(!missed, "seed {}, tick {}: {hash} missed a scrape, had {before:?}", self.seed, self.tick);
        }
    }

    fn observe(&mut self) -> Snapshot {
        let mut snapshot = Snapshot { now: self.now(), scale: self.scale, scalable: true, ..Snapshot::default() };
        for (ordinal, pod) in &self.pods {
            let readable = pod.runs_from <= self.tick && pod.cut_off_until <= self.tick;
            if readable {
                let view = ShardView {
                    name: format!("shard-{ordinal}"),
                    access: Access::Changeable,
                    head_series: pod.head,
                    idle_since: pod.idle_since,
                    targets: pod.list.clone(),
                    ..ShardView::default()
                };
                for (hash, status) in view.targets.iter().filter(|(_, status)| status.health == Health::Up) {
                    self.memory.sizes.insert(*hash, status.count);
                }
                self.memory.attempted.extend(view.targets.keys());
                self.memory.seen.insert(*ordinal, (self.tick, view));
            }
            let (last, mut view) = self.memory.seen.get(ordinal).cloned().unwrap_or((self.memory.since, ShardView::default()));
            view.access = match self.tick - last {
                0 if readable => Access::Changeable,
                _ if !pod.was_up => Access::Pending,
                silent if silent <= GRACE / 4 * 3 => Access::Holding,
                silent if silent <= GRACE => Access::Failing,
                _ => Access::Lost,
            };
            view.remembered = self.memory.remembered.get(ordinal).cloned().unwrap_or_default();
            snapshot.shards.insert(*ordinal, view);
        }
        let all_read = self.pods.keys().all(|ordinal| self.memory.seen.contains_key(ordinal));
        snapshot.settled = all_read || self.tick - self.memory.since > GRACE;
        for hash in self.exporters.keys() {
            let view = TargetView {
                job: "job".into(),
                count: self.memory.sizes.get(hash).copied(),
                attempted: self.memory.attempted.contains(hash),
                interval: TICK,
            };
            snapshot.targets.insert(*hash, view);
        }
        snapshot.transfers = self.memory.transfers.clone();
        snapshot.departed = self.memory.departed.clone();
        snapshot
    }

    fn carry_out(&mut self, plan: &Plan) {
        let now = self.now();
        for (ordinal, planned) in &plan.shards {
            if self.failing_pushes && self.rng.one_in(20) {
                continue;
            }
            let pod = self.pods.get_mut(ordinal).unwrap();
            let mut old = std::mem::take(&mut pod.list);
            for (hash, target) in &planned.targets {
                let mut status =
                    old.remove(hash).unwrap_or_else(|| ScrapeStatus { count: target.count, ..ScrapeStatus::default() });
                if target.state == TargetState::InTransfer && status.state == TargetState::Normal {
                    status.scrape_times = 0;
                }
                status.state = target.state;
                pod.list.insert(*hash, status);
            }
            pod.idle_since = if pod.list.is_empty() { pod.idle_since.or(Some(now)) } else { None };
            let remembered = planned.targets.iter().map(|(hash, target)| (*hash, target.count)).collect();
            self.memory.remembered.insert(*ordinal, remembered);
        }
        for hash in &plan.explore {
            self.memory.attempted.insert(*hash);
            if let Some(exporter) = self.exporters.get(hash).filter(|exporter| exporter.up) {
                self.memory.sizes.insert(*hash, exporter.size);
            }
        }
        self.memory.transfers = plan.transfers.clone();
        self.scale = plan.scale;
    }

    /// What must be true of a single step.
    fn judge(&mut self, snapshot: &Snapshot, plan: &Plan) {
        let waiting =
            |reason: &UnassignedReason| !matches!(reason, UnassignedReason::NoRoom { .. } | UnassignedReason::TooBig { .. });
        let unassigned: BTreeSet<TargetHash> =
            plan.unassigned.iter().filter(|(_, reason)| waiting(reason)).map(|(hash, _)| *hash).collect();
        self.homeless.retain(|hash, _| unassigned.contains(hash));
        for hash in unassigned {
            let since = *self.homeless.entry(hash).or_insert(self.tick);
            // Explore, settle after a restart, grow, start: none of them twice in a row without luck.
            let patience = 3 * (GRACE + STARTUP) + 30;
            assert!(self.tick - since < patience, "seed {}: {hash} without a home since {since}, now {}", self.seed, self.tick);
        }
        let total: SeriesCount = self.exporters.values().map(|exporter| exporter.size).sum();
        let fair = total.series.max(total.total / 2) / LIMIT + 1;
        let bound = u64::from(snapshot.scale).max(fair * 3 + 4);
        assert!(u64::from(plan.scale) <= bound, "seed {}: {} shards for {}", self.seed, plan.scale, total.series);
        for decision in &plan.decisions {
            if let Decision::MoveStarted { from, to, .. } = decision {
                assert_ne!(from, to);
            }
        }
    }

    fn can_grow(&self) -> bool {
        self.scale < self.limits.max_shards
    }

    /// What must be true once everything has calmed down.
    fn assert_at_rest(&self) {
        let mut homes: BTreeMap<TargetHash, u32> = BTreeMap::new();
        for (ordinal, pod) in &self.pods {
            let load: u64 = pod.list.values().map(|status| status.count.series).sum();
            let relieved = load <= LIMIT || pod.list.len() == 1;
            assert!(relieved || !self.can_grow(), "seed {}: shard {ordinal} carries {load}", self.seed);
            for (hash, status) in &pod.list {
                assert_eq!(status.state, TargetState::Normal, "seed {}: {hash}", self.seed);
                assert_eq!(homes.insert(*hash, *ordinal), None, "seed {}: {hash} has two homes", self.seed);
            }
        }
        if self.can_grow() {
            for (hash, exporter) in &self.exporters {
                let since = exporter.born;
                assert!(homes.contains_key(hash), "seed {}: {hash}, discovered at {since}, has no home", self.seed);
            }
        }
        if !self.limits.max_idle.is_zero() {
            assert!(
                self.pods.last_key_value().is_none_or(|(_, pod)| !pod.list.is_empty()),
                "seed {}: an idle shard stays",
                self.seed
            );
        }
    }
}
