use std::time::Duration;

use kvass_model::SeriesCount;

/// What a shard may carry, how many shards there may be, and when the planner acts.
///
/// Shares of a limit are given in thousandths, so that the same figures give the same plan everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most series (after metric relabelling) of one shard, as the sum over its targets. None: any.
    pub max_series: Option<u64>,
    /// Most total series (before metric relabelling) of one shard, as the sum over its targets. None: any.
    pub max_process_series: Option<u64>,
    /// Least number of shards. Only ever raises the scale, and wins over `max_shards`.
    pub min_shards: u32,
    /// Largest number of shards. Only ever stops growth: more shards than this are left alone.
    pub max_shards: u32,
    /// How long a shard at the end must be empty before it is removed. Zero: never, and targets are
    /// spread over the shards there are; more: targets are packed on low ordinals.
    pub max_idle: Duration,
    /// How much longer it is kept while samples of it are not in the object store yet.
    pub upload_deadline: Duration,
    /// Whether targets are moved off shards above their limit.
    pub alleviate: bool,
    /// Scrapes the new shard must report before the old one lets go.
    pub hand_over_scrapes: u64,
    /// Thousandths of a limit above which a shard is relieved.
    pub relief_start: u32,
    /// Thousandths of a limit down to which a shard is relieved.
    pub relief_end: u32,
    /// Thousandths of a limit up to which shards are filled by emptying others.
    pub scale_in: u32,
    /// Thousandths of `max_series` which a shard's head must exceed to get no more targets.
    pub head_gate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_series: None,
            max_process_series: None,
            min_shards: 0,
            max_shards: 999_999,
            max_idle: Duration::ZERO,
            upload_deadline: Duration::from_secs(3600),
            alleviate: true,
            hand_over_scrapes: 1,
            relief_start: 1000,
            relief_end: 950,
            scale_in: 800,
            head_gate: 1100,
        }
    }
}

/// The whole of a limit, in thousandths.
pub(crate) const FULL: u32 = 1000;

impl Limits {
    /// Whether `load` stays within `permille` thousandths of both limits.
    pub(crate) fn within(&self, load: SeriesCount, permille: u32) -> bool {
        let holds = |load, limit: Option<u64>| limit.is_none_or(|limit| load <= share(limit, permille));
        holds(load.series, self.max_series) && holds(load.total, self.max_process_series)
    }

    /// Whether a target of this size exceeds a limit all by itself.
    pub(crate) fn too_big(&self, count: SeriesCount) -> bool {
        !self.within(count, FULL)
    }

    /// Whether a head of this size closes a shard for new targets.
    pub(crate) fn gates(&self, head_series: u64) -> bool {
        self.max_series.is_some_and(|limit| head_series > share(limit, self.head_gate))
    }

    /// How much of its limits `load` uses, in millionths of the tighter one; plain series where there is
    /// no limit. Comparable between loads under the same limits, and so the order of targets by size too.
    pub(crate) fn weight(&self, load: SeriesCount) -> u64 {
        let part = |load: u64, limit: u64| match limit {
            0 if load == 0 => 0,
            0 => u64::MAX,
            _ => narrow(u128::from(load) * 1_000_000 / u128::from(limit)),
        };
        match (self.max_series, self.max_process_series) {
            (None, None) => load.series,
            (Some(series), None) => part(load.series, series),
            (None, Some(total)) => part(load.total, total),
            (Some(series), Some(total)) => part(load.series, series).max(part(load.total, total)),
        }
    }

    /// What may still be added to `load`; `u64::MAX` where there is no limit.
    pub(crate) fn room(&self, load: SeriesCount) -> SeriesCount {
        let left = |load, limit: Option<u64>| limit.map_or(u64::MAX, |limit| limit.saturating_sub(load));
        SeriesCount { series: left(load.series, self.max_series), total: left(load.total, self.max_process_series) }
    }

    /// How far `load` is above `permille` thousandths of the limits.
    pub(crate) fn excess(&self, load: SeriesCount, permille: u32) -> SeriesCount {
        let above = |load: u64, limit: Option<u64>| limit.map_or(0, |limit| load.saturating_sub(share(limit, permille)));
        SeriesCount { series: above(load.series, self.max_series), total: above(load.total, self.max_process_series) }
    }
}

/// `permille` thousandths of `limit`, rounded down.
fn share(limit: u64, permille: u32) -> u64 {
    narrow(u128::from(limit) * u128::from(permille) / u128::from(FULL))
}

fn narrow(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(series: u64, total: u64) -> SeriesCount {
        SeriesCount { series, total }
    }

    #[test]
    fn both_limits_count_and_the_limit_itself_fits() {
        let limits = Limits { max_series: Some(100), max_process_series: Some(1000), ..Limits::default() };
        for (load, permille, fits) in [
            (count(100, 1000), FULL, true),
            (count(101, 0), FULL, false),
            (count(0, 1001), FULL, false),
            (count(95, 950), 950, true),
            (count(96, 950), 950, false),
            (count(95, 951), 950, false),
        ] {
            assert_eq!(limits.within(load, permille), fits, "{load:?} at {permille}");
        }
        assert_eq!(limits.excess(count(120, 900), 950), count(25, 0));
        assert_eq!(limits.room(count(120, 900)), count(0, 100));
        assert_eq!(limits.weight(count(50, 600)), 600_000);
    }

    #[test]
    fn without_a_limit_everything_fits() {
        let limits = Limits::default();
        assert!(limits.within(count(u64::MAX, u64::MAX), FULL));
        assert!(!limits.gates(u64::MAX));
        assert_eq!(limits.weight(count(7, 9)), 7);
    }

    #[test]
    fn extreme_limits_do_not_overflow() {
        let limits = Limits { max_series: Some(u64::MAX), max_process_series: Some(0), ..Limits::default() };
        assert!(limits.within(count(u64::MAX, 0), FULL));
        assert!(!limits.within(count(0, 1), FULL));
        assert!(!limits.gates(u64::MAX));
        assert_eq!(limits.weight(count(u64::MAX, 0)), 1_000_000);
        assert_eq!(limits.weight(count(0, 1)), u64::MAX);
    }

    #[test]
    fn the_gate_opens_at_a_tenth_above_the_limit() {
        let limits = Limits { max_series: Some(1000), ..Limits::default() };
        assert!(!limits.gates(1100));
        assert!(limits.gates(1101));
    }
}
