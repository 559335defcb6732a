//! What holds of every plan, whatever the snapshot.

// Clippy knows `#[test]` functions, not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kvass_model::{Health, ScrapeStatus, SeriesCount, TargetHash, TargetState};
use kvass_plan::{
    Access, Barrier, Decision, Departed, Limits, MoveReason, Plan, ROOM_KEPT, ShardView, Snapshot, TargetView, Transfer,
    UnassignedReason, plan, violations,
};
use proptest::{collection::btree_map, option, prelude::*, sample::select};

const NOW: i64 = 10_000;

fn count() -> impl Strategy<Value = SeriesCount> {
    let size = prop_oneof![8 => 0..40u64, 2 => 40..100u64, 1 => 100..250u64];
    (size, 0..60u64).prop_map(|(series, dropped)| SeriesCount { series, total: series + dropped })
}

fn time() -> impl Strategy<Value = Timestamp> {
    (NOW - 2000..NOW + 100).prop_map(|seconds| Timestamp::from_second(seconds).unwrap())
}

fn hash() -> impl Strategy<Value = TargetHash> {
    (0..16u64).prop_map(TargetHash)
}

fn target() -> impl Strategy<Value = TargetView> {
    let job = select(vec!["node", "pod"]).prop_map(Arc::from);
    let count = option::weighted(0.8, count());
    (job, count, prop::bool::weighted(0.9)).prop_map(|(job, count, attempted)| TargetView {
        job,
        count,
        attempted,
        interval: Duration::from_secs(15),
    })
}

fn status() -> impl Strategy<Value = ScrapeStatus> {
    let health = prop_oneof![5 => Just(Health::Up), 2 => Just(Health::Down), 2 => Just(Health::Unknown)];
    let state = prop_oneof![4 => Just(TargetState::Normal), 1 => Just(TargetState::InTransfer)];
    (health, state, count(), 0..4u64).prop_map(|(health, state, count, scrape_times)| ScrapeStatus {
        health,
        state,
        count,
        scrape_times,
        ..ScrapeStatus::default()
    })
}

fn shard() -> impl Strategy<Value = ShardView> {
    let access = prop_oneof![
        8 => Just(Access::Changeable),
        1 => Just(Access::Holding),
        1 => Just(Access::Failing),
        1 => Just(Access::Pending),
        1 => Just(Access::Lost),
    ];
    let head = prop_oneof![5 => 0..100u64, 1 => 100..150u64];
    let pending = prop::bool::weighted(0.3);
    // Empty shards are what scale-in is about.
    let targets = prop_oneof![2 => btree_map(hash(), status(), 0..8), 1 => Just(BTreeMap::new())];
    (access, head, option::of(time()), pending, targets, btree_map(hash(), count(), 0..8)).prop_map(
        |(access, head_series, idle_since, samples_pending, targets, remembered)| ShardView {
            name: String::new(),
            access,
            head_series,
            process_series: 0,
            idle_since: idle_since.filter(|_| targets.is_empty()),
            samples_pending,
            // A shard that was never read reports nothing.
            targets: if access == Access::Pending { BTreeMap::new() } else { targets },
            remembered: if access == Access::Pending { BTreeMap::new() } else { remembered },
        },
    )
}

fn departed() -> impl Strategy<Value = Departed> {
    let at = (NOW - 400..NOW).prop_map(|seconds| Timestamp::from_second(seconds).unwrap());
    (count(), at).prop_map(|(count, at)| Departed { count, at })
}

/// A replica with some room, where every target is scraped and nothing is under way. No target is larger than what a
/// drain may fill.
fn at_rest() -> impl Strategy<Value = Snapshot> {
    let lists = prop::collection::vec(prop::collection::vec(0..40u64, 0..4), 2..5);
    let gone = btree_map((100..120u64).prop_map(TargetHash), departed(), 0..4);
    (lists, gone).prop_map(|(lists, departed)| {
        let mut snapshot =
            Snapshot { now: Timestamp::from_second(NOW).unwrap(), scalable: true, settled: true, ..Snapshot::default() };
        snapshot.departed = departed.into_iter().filter(|(_, gone)| gone.count.series <= 80).collect();
        snapshot.scale = lists.len() as u32;
        let mut hashes = (0..).map(TargetHash);
        for (ordinal, list) in (0..).zip(lists) {
            let mut shard = ShardView { access: Access::Changeable, ..ShardView::default() };
            for (hash, series) in hashes.by_ref().zip(list) {
                let count = SeriesCount { series, total: series };
                let interval = Duration::from_secs(15);
                snapshot.targets.insert(hash, TargetView { job: "j".into(), count: Some(count), attempted: true, interval });
                let status = ScrapeStatus { health: Health::Up, count, scrape_times: 9, ..ScrapeStatus::default() };
                shard.targets.insert(hash, status);
            }
            snapshot.shards.insert(ordinal, shard);
        }
        snapshot
    })
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let transfer = (0..5u32, 0..5u32, time(), option::weighted(0.3, time())).prop_map(|(from, to, since, ended)| Transfer {
        from,
        to,
        since,
        ended,
    });
    let flags = (prop::bool::weighted(0.8), prop::bool::weighted(0.9));
    let departed = departed();
    let memory = (btree_map(hash(), transfer, 0..4), btree_map(hash(), departed, 0..3));
    (btree_map(hash(), target(), 0..16), btree_map(0..5u32, shard(), 0..5), 0..7u32, flags, memory).prop_map(
        |(targets, shards, scale, (scalable, settled), (transfers, departed))| Snapshot {
            now: Timestamp::from_second(NOW).unwrap(),
            targets,
            shards,
            scale,
            scalable,
            settled,
            transfers,
            departed,
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    let idle = prop_oneof![Just(Duration::ZERO), Just(Duration::from_secs(600))];
    (
        option::weighted(0.8, Just(100u64)),
        option::weighted(0.5, 80..200u64),
        0..4u32,
        0..9u32,
        idle,
        prop::bool::weighted(0.9),
        0..3u64,
        (0..1000u64).prop_map(Duration::from_secs),
    )
        .prop_map(
            |(max_series, max_process_series, min_shards, max_shards, max_idle, alleviate, hand_over_scrapes, deadline)| Limits {
                max_series,
                max_process_series,
                min_shards,
                max_shards,
                max_idle,
                upload_deadline: deadline,
                alleviate,
                hand_over_scrapes,
                ..Limits::default()
            },
        )
}

/// The shards with room: read, in use, their heads not full.
fn open<'a>(snapshot: &'a Snapshot, limits: &'a Limits, plan: &'a Plan) -> impl Iterator<Item = &'a kvass_plan::PlannedShard> {
    plan.shards.iter().filter(|(ordinal, _)| !full_head(&snapshot.shards[*ordinal], limits)).map(|(_, shard)| shard)
}

fn full_head(view: &ShardView, limits: &Limits) -> bool {
    limits.max_series.is_some_and(|max| view.head_series * 10 > max * 11)
}

/// Shards with full heads that take targets all the same, as they have none.
fn empty<'a>(snapshot: &'a Snapshot, limits: &'a Limits, plan: &'a Plan) -> impl Iterator<Item = &'a kvass_plan::PlannedShard> {
    let empty = |view: &ShardView| full_head(view, limits) && view.targets.is_empty() && view.remembered.is_empty();
    plan.shards.iter().filter(move |(ordinal, _)| empty(&snapshot.shards[*ordinal])).map(|(_, shard)| shard)
}

fn fits(load: SeriesCount, count: SeriesCount, limits: &Limits) -> bool {
    limits.max_series.is_none_or(|max| load.series + count.series <= max)
        && limits.max_process_series.is_none_or(|max| load.total + count.total <= max)
}

/// Eight times the usual number of cases (256, or `PROPTEST_CASES`): planning is cheap.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.saturating_mul(8), failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn promises_are_kept(snapshot in snapshot(), limits in limits()) {
        let plan = plan(&snapshot, &limits);
        prop_assert_eq!(violations(&snapshot, &limits, &plan), Vec::<String>::new());
    }

    #[test]
    fn planning_again_without_news_changes_nothing(mut snapshot in snapshot(), limits in limits()) {
        // A shard beyond the scale is about to vanish, which is news.
        let scale = if snapshot.scalable { snapshot.scale } else { u32::MAX };
        snapshot.shards.retain(|ordinal, _| *ordinal < scale);
        let first = plan(&snapshot, &limits);
        let applied = common::apply(&snapshot, &first);
        let second = plan(&applied, &limits);
        prop_assert_eq!(&second.decisions, &vec![], "after {:?}", first.decisions);
        prop_assert!(second.shards.values().all(|shard| !shard.changed));
        prop_assert_eq!(second.scale, first.scale, "{:?} after {:?}", second.scale_reason, first.scale_reason);
        prop_assert_eq!(second.transfers, first.transfers);
        prop_assert_eq!(second.unassigned.keys().collect::<Vec<_>>(), first.unassigned.keys().collect::<Vec<_>>());
    }

    /// The oracle: whoever is told that there is no room was told the truth, and room is made if it may be.
    #[test]
    fn no_room_means_no_room(snapshot in snapshot(), limits in limits()) {
        let plan = plan(&snapshot, &limits);
        for (target, reason) in &plan.unassigned {
            let (UnassignedReason::AwaitingShard { count }
            | UnassignedReason::NoRoom { count, .. }
            | UnassignedReason::TooBig { count, .. }) = *reason else { continue };
            let oversized = !fits(SeriesCount::default(), count, &limits);
            // The last shard for all others is not given to one target alone.
            let ordinary = plan.shards.values().filter(|shard| fits(shard.load, SeriesCount::default(), &limits)).count();
            let is_last = ordinary <= 1 && !matches!(reason, UnassignedReason::AwaitingShard { .. });
            if oversized && is_last {
                continue;
            }
            for shard in open(&snapshot, &limits, &plan).chain(empty(&snapshot, &limits, &plan)) {
                let room = if oversized { shard.targets.is_empty() } else { fits(shard.load, count, &limits) };
                prop_assert!(!room, "{} ({:?}) would fit on {:?}", target, count, shard);
            }
            let in_use = if snapshot.scalable { snapshot.scale } else { u32::MAX };
            let (pending, up): (Vec<_>, Vec<_>) = snapshot.shards.range(..in_use).partition(|(_, s)| s.access == Access::Pending);
            let coming = !pending.is_empty() || (snapshot.scalable && plan.scale as usize > up.len());
            match reason {
                UnassignedReason::AwaitingShard { .. } => prop_assert!(coming, "{} waits for no shard", target),
                UnassignedReason::NoRoom { barrier: Barrier::MaxShards(max), .. }
                | UnassignedReason::TooBig { barrier: Barrier::MaxShards(max), .. } => prop_assert!(plan.scale >= *max),
                UnassignedReason::NoRoom { barrier: Barrier::Static, .. }
                | UnassignedReason::TooBig { barrier: Barrier::Static, .. } => prop_assert!(!snapshot.scalable),
                _ => {}
            }
        }
    }

    /// A target that was scraped with success somewhere is so after the plan, unless it is gone.
    #[test]
    fn nobody_loses_the_only_successful_scraper(snapshot in snapshot(), limits in limits()) {
        let plan = plan(&snapshot, &limits);
        let up = |ordinal: &u32, target: &TargetHash| {
            snapshot.shards[ordinal].targets.get(target).is_some_and(|status| status.health == Health::Up)
        };
        for (ordinal, planned) in &plan.shards {
            for target in snapshot.shards[ordinal].targets.keys() {
                let dropped = !planned.targets.contains_key(target) && snapshot.targets.contains_key(target);
                if dropped && up(ordinal, target) {
                    let kept = plan.shards.iter().any(|(other, list)| list.targets.contains_key(target) && up(other, target));
                    prop_assert!(kept, "shard {} drops {}", ordinal, target);
                }
            }
        }
    }

    /// Samples that nobody else has go with a shard only when they were waited for long enough, and are
    /// waited for no longer than that. Everything else about the plan is as if there were none.
    #[test]
    fn samples_are_waited_for_and_not_for_ever(snapshot in snapshot(), limits in limits()) {
        let mut uploaded = snapshot.clone();
        uploaded.shards.values_mut().for_each(|shard| shard.samples_pending = false);
        let (waits, free) = (plan(&snapshot, &limits), plan(&uploaded, &limits));
        prop_assert_eq!((&waits.shards, &waits.decisions, &waits.unassigned), (&free.shards, &free.decisions, &free.unassigned));
        prop_assert!(waits.scale >= free.scale);
        let idle = |ordinal: u32| {
            let since = snapshot.shards[&ordinal].idle_since.unwrap();
            Duration::try_from(snapshot.now.duration_since(since)).unwrap()
        };
        let due = |ordinal: u32| !snapshot.shards[&ordinal].samples_pending || idle(ordinal) > limits.max_idle + limits.upload_deadline;
        let expected = (free.scale..snapshot.scale).rev().take_while(|ordinal| due(*ordinal)).count();
        prop_assert_eq!(snapshot.scale.saturating_sub(waits.scale) as usize, expected);
    }

    /// A drain leaves room for what has just gone.
    #[test]
    fn what_comes_back_finds_its_room(snapshot in at_rest()) {
        let limits = Limits { max_series: Some(100), max_idle: Duration::from_secs(600), ..Limits::default() };
        let plan = plan(&snapshot, &limits);
        let emptied = plan.decisions.iter().filter_map(|decision| match decision {
            Decision::MoveStarted { from, why: MoveReason::Drain, .. } => Some(*from),
            _ => None,
        });
        if let Some(first) = emptied.min() {
            let room: u64 = plan.shards.range(..first).map(|(_, shard)| 80u64.saturating_sub(shard.load.series)).sum();
            let kept = snapshot.now - jiff::SignedDuration::try_from(ROOM_KEPT).unwrap();
            let gone: u64 = snapshot.departed.values().filter(|gone| gone.at > kept).map(|gone| gone.count.series).sum();
            prop_assert!(gone <= room, "{} series have gone, {} are free after {:?}", gone, room, plan.decisions);
        }
    }

    /// Loads of changeable shards never exceed what was there or the limit, and reports are consistent.
    #[test]
    fn sums_agree(snapshot in snapshot(), limits in limits()) {
        let plan = plan(&snapshot, &limits);
        let room = open(&snapshot, &limits, &plan).fold(0u64, |sum, shard| {
            sum.saturating_add(limits.max_series.map_or(u64::MAX, |max| max.saturating_sub(shard.load.series)))
        });
        prop_assert_eq!(plan.room.series, room);
        let started = plan.decisions.iter().filter(|d| matches!(d, Decision::MoveStarted { .. })).count();
        let since_now = plan.transfers.values().filter(|t| t.since == snapshot.now && t.ended.is_none()).count();
        prop_assert!(started <= since_now, "a move that nobody remembers");
    }
}
