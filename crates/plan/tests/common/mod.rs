//! What tests of whole plans share.

use kvass_model::{Health, ScrapeStatus, SeriesCount, TargetState};
use kvass_plan::{Access, Plan, PlannedShard, ShardView, Snapshot};

/// The snapshot an observer would make right after the plan was applied, before anything else happens:
/// lists and scale as planned, nothing scraped yet, no new shard up yet.
pub(crate) fn apply(snapshot: &Snapshot, plan: &Plan) -> Snapshot {
    let mut next = snapshot.clone();
    for (ordinal, planned) in &plan.shards {
        let view = next.shards.get_mut(ordinal).expect("only listed shards are planned");
        take_list(view, planned, snapshot);
        view.remembered = planned.targets.iter().map(|(target, planned)| (*target, planned.count)).collect();
        for (target, planned) in &planned.targets {
            let view = next.targets.get_mut(target).expect("only active targets are planned");
            view.attempted = true;
            // An observer remembers a size it once saw, also when the shard that told it lets go.
            let told = |shard: &ShardView| {
                let scraped = |status: &&ScrapeStatus| status.health != Health::Unknown && status.count != SeriesCount::default();
                shard.access != Access::Lost && shard.targets.get(target).filter(scraped).is_some()
            };
            if view.count.is_none() && snapshot.shards.values().any(told) {
                view.count = Some(planned.count);
            }
        }
    }
    if next.scalable {
        next.shards.retain(|ordinal, _| *ordinal < plan.scale);
    }
    next.scale = plan.scale;
    next.transfers = plan.transfers.clone();
    next
}

fn take_list(view: &mut ShardView, planned: &PlannedShard, snapshot: &Snapshot) {
    let reported = std::mem::take(&mut view.targets);
    for (target, planned) in &planned.targets {
        let status = match reported.get(target) {
            Some(status) if status.state == planned.state => status.clone(),
            // A sidecar counts the scrapes of a target in transfer from its start.
            Some(status) if planned.state == TargetState::InTransfer => {
                ScrapeStatus { state: planned.state, scrape_times: 0, ..status.clone() }
            }
            Some(status) => ScrapeStatus { state: planned.state, ..status.clone() },
            None => ScrapeStatus { state: planned.state, count: planned.count, ..ScrapeStatus::default() },
        };
        view.targets.insert(*target, status);
    }
    view.idle_since = match (view.targets.is_empty(), reported.is_empty()) {
        (false, _) => None,
        (true, true) => view.idle_since.or(Some(snapshot.now)),
        (true, false) => Some(snapshot.now),
    };
}
