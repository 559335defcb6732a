//! One shard as a place for targets, existing or imagined.

use kvass_model::SeriesCount;

use crate::Limits;

/// What is on a shard, as far as it decides what may be put beside it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Room {
    pub(crate) load: SeriesCount,
    /// There is a target, if only one that weighs nothing.
    pub(crate) used: bool,
}

impl Room {
    /// Whether a target of this size may be added without filling the shard above `permille` of a limit.
    /// One that exceeds that by itself needs a shard where nothing is: any other would be fuller. Its load then keeps
    /// others off.
    pub(crate) fn takes(self, count: SeriesCount, limits: &Limits, permille: u32) -> bool {
        if limits.within(count, permille) { limits.within(self.load + count, permille) } else { !self.used }
    }

    pub(crate) fn add(&mut self, count: SeriesCount) {
        self.load += count;
        self.used = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_beside_what() {
        let limits = Limits { max_series: Some(100), ..Limits::default() };
        let room = |series, used| Room { load: SeriesCount { series, total: series }, used };
        for (room, series, permille, takes) in [
            (room(0, false), 100, 1000, true),
            (room(60, true), 40, 1000, true),
            (room(60, true), 41, 1000, false),
            (room(60, true), 20, 800, true),
            (room(60, true), 21, 800, false),
            (room(0, false), 81, 800, true),
            (room(0, true), 81, 800, false),
            (room(0, false), 101, 1000, true),
            (room(0, false), 101, 800, true),
            (room(0, true), 101, 1000, false),
            (room(101, true), 0, 1000, false),
        ] {
            assert_eq!(
                room.takes(SeriesCount { series, total: 0 }, &limits, permille),
                takes,
                "{series} beside {}",
                room.load.series
            );
        }
    }
}
