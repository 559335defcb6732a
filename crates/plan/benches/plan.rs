//! What a plan costs for 20,000 targets on 200 shards: `cargo bench -p kvass-plan`.

use std::{collections::BTreeMap, time::Duration};

use divan::{Bencher, black_box};
use jiff::Timestamp;
use kvass_model::{Health, ScrapeStatus, SeriesCount, TargetHash};
use kvass_plan::{Access, Limits, ShardView, Snapshot, TargetView, plan};

const TARGETS: u64 = 20_000;
const SHARDS: u32 = 200;
const LIMIT: u64 = 100_000;

fn main() {
    divan::main();
}

fn size(target: u64) -> SeriesCount {
    let series = 200 + target.wrapping_mul(2_654_435_761) % 1200;
    SeriesCount { series, total: series * 3 / 2 }
}

/// Every target at home where `home` says, if it says anything.
fn replica(home: impl Fn(u64) -> Option<u32>) -> Snapshot {
    let view = |target| TargetView {
        job: format!("job-{}", target % 50).into(),
        count: Some(size(target)),
        attempted: true,
        interval: Duration::from_secs(15),
    };
    let mut shards: BTreeMap<u32, ShardView> =
        (0..SHARDS).map(|ordinal| (ordinal, ShardView { access: Access::Changeable, ..ShardView::default() })).collect();
    for target in 0..TARGETS {
        let status = ScrapeStatus { health: Health::Up, scrape_times: 9, count: size(target), ..ScrapeStatus::default() };
        if let Some(shard) = home(target).and_then(|ordinal| shards.get_mut(&ordinal)) {
            shard.targets.insert(TargetHash(target), status);
        }
    }
    Snapshot {
        now: Timestamp::UNIX_EPOCH,
        targets: (0..TARGETS).map(|target| (TargetHash(target), view(target))).collect(),
        shards,
        scale: SHARDS,
        scalable: true,
        settled: true,
        transfers: BTreeMap::new(),
        departed: BTreeMap::new(),
    }
}

fn spread() -> Limits {
    Limits { max_series: Some(LIMIT), max_process_series: Some(2 * LIMIT), ..Limits::default() }
}

fn packed() -> Limits {
    Limits { max_idle: Duration::from_secs(3600), ..spread() }
}

fn even(target: u64) -> Option<u32> {
    u32::try_from(target % u64::from(SHARDS)).ok()
}

/// The usual cycle.
#[divan::bench]
fn nothing_to_do(bencher: Bencher<'_, '_>) {
    let (snapshot, limits) = (replica(even), spread());
    bencher.bench_local(|| plan(black_box(&snapshot), black_box(&limits)));
}

/// A fleet that starts from nothing.
#[divan::bench]
fn assign_all(bencher: Bencher<'_, '_>) {
    let (snapshot, limits) = (replica(|_| None), spread());
    bencher.bench_local(|| plan(black_box(&snapshot), black_box(&limits)));
}

/// Everything on a quarter of the shards, which is twice what they may carry.
#[divan::bench]
fn alleviate(bencher: Bencher<'_, '_>) {
    let (snapshot, limits) = (replica(|target| even(target).map(|shard| shard / 4)), spread());
    bencher.bench_local(|| plan(black_box(&snapshot), black_box(&limits)));
}

/// All shards two thirds full: the last ones can be emptied.
#[divan::bench]
fn drain(bencher: Bencher<'_, '_>) {
    let (snapshot, limits) = (replica(even), packed());
    bencher.bench_local(|| plan(black_box(&snapshot), black_box(&limits)));
}

/// No shard at all: packing all targets into new ones.
#[divan::bench]
fn grow(bencher: Bencher<'_, '_>) {
    let (snapshot, limits) = (Snapshot { shards: BTreeMap::new(), scale: 0, ..replica(|_| None) }, packed());
    bencher.bench_local(|| plan(black_box(&snapshot), black_box(&limits)));
}
