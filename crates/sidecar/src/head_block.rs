//! What becomes of the head of an emptied shard, step by step. Pure: [`upload`](crate::upload) takes the steps.

use std::time::Duration;

use jiff::Timestamp;
use kvass_config::Config;
use serde::{Deserialize, Serialize};

/// Targets leave Prometheus within this time after they left the list.
const LEAVING: Duration = Duration::from_secs(15);
/// The longest wait for the last samples.
const LONGEST_SETTLING: Duration = Duration::from_secs(900);

/// What became of the head when the shard was last emptied. Kept in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HeadBlock {
    /// Start of the idle time in which a snapshot was made.
    pub(crate) idle_since: Option<Timestamp>,
    /// The snapshot, while it may be there.
    pub(crate) snapshot: Option<String>,
    /// The block made of the head, while it may be in the data folder.
    pub(crate) block: Option<String>,
    /// Start of the Prometheus that runs since before the block came: its head holds the same samples. One
    /// that started later has read the block, and left out of its head what is there.
    pub(crate) prometheus: String,
}

/// What is next to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The shard has targets.
    Nothing,
    /// Its last samples may still come.
    Settle,
    /// The head becomes a block of a snapshot.
    Snapshot,
    /// That block goes to the data folder, and the snapshot away.
    TakeIn,
    /// What an earlier idle time left behind goes away.
    Retract,
    /// The uploads are waited for.
    Look,
}

impl HeadBlock {
    /// The step to take now, for a shard without targets since `idle_since`.
    pub(crate) fn next(&self, idle_since: Option<Timestamp>, now: Timestamp, settling: Duration) -> Step {
        if self.idle_since != idle_since && (self.snapshot.is_some() || self.block.is_some()) {
            return Step::Retract;
        }
        match idle_since {
            None => Step::Nothing,
            Some(_) if self.idle_since == idle_since => {
                if self.snapshot.is_some() {
                    Step::TakeIn
                } else {
                    Step::Look
                }
            }
            Some(since) => {
                // A time that is to come is one of a clock that was set back.
                let idle = now.duration_since(since).unsigned_abs();
                if idle >= settling { Step::Snapshot } else { Step::Settle }
            }
        }
    }
}

/// How long after the last target left its last samples, stale markers among them, may come: Prometheus
/// writes those after two intervals.
pub(crate) fn settling(config: Option<&Config>) -> Duration {
    let jobs = config.into_iter().flat_map(Config::jobs);
    let longest = jobs.map(|job| job.scrape_interval).max().unwrap_or_default();
    longest.saturating_mul(3).saturating_add(LEAVING).min(LONGEST_SETTLING)
}

#[cfg(test)]
mod tests {
    use kvass_config::LoadContext;
    use kvass_model::PrometheusLine;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn one_step_after_the_other() {
        let fresh = HeadBlock::default();
        let made =
            HeadBlock { idle_since: Some(at(100)), snapshot: Some("s".into()), block: Some("b".into()), prometheus: "p".into() };
        let empty = HeadBlock { block: None, ..made.clone() };
        let taken = HeadBlock { snapshot: None, ..made.clone() };
        let uploaded = HeadBlock { block: None, ..taken.clone() };
        let idle = Some(at(100));
        for (head, idle_since, now, step) in [
            (&fresh, None, 500, Step::Nothing),
            (&fresh, idle, 159, Step::Settle),
            (&fresh, idle, 90, Step::Settle),
            (&fresh, idle, 160, Step::Snapshot),
            // The clock was set back.
            (&fresh, idle, -10_000, Step::Snapshot),
            (&made, idle, 161, Step::TakeIn),
            (&empty, idle, 161, Step::TakeIn),
            (&taken, idle, 170, Step::Look),
            (&uploaded, idle, 180, Step::Look),
            // Targets came.
            (&made, None, 200, Step::Retract),
            (&taken, None, 200, Step::Retract),
            (&uploaded, None, 200, Step::Nothing),
            // And went, unseen or not.
            (&taken, Some(at(300)), 301, Step::Retract),
            (&uploaded, Some(at(300)), 301, Step::Settle),
            (&uploaded, Some(at(300)), 360, Step::Snapshot),
        ] {
            assert_eq!(head.next(idle_since, at(now), Duration::from_secs(60)), step, "{head:?} {idle_since:?} {now}");
        }
    }

    #[test]
    fn the_last_samples_are_waited_for() {
        let context = LoadContext {
            path: "/prometheus.yml".into(),
            line: PrometheusLine::V2,
            env: &|_| None,
            read_glob: &|_| Ok(Vec::new()),
        };
        let config = |interval: &str| {
            let text =
                format!("scrape_configs:\n- job_name: a\n  scrape_interval: {interval}\n- job_name: b\n  scrape_interval: 5s\n");
            settling(Some(&Config::parse(&text, &context).unwrap())).as_secs()
        };
        assert_eq!((config("5s"), config("15s"), config("1h")), (30, 60, 900));
        assert_eq!(settling(None), LEAVING);
    }
}
