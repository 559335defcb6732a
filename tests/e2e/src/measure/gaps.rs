use std::collections::BTreeSet;

/// From when to when something is measured, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// First moment.
    pub(crate) from: i64,
    /// Last moment.
    pub(crate) until: i64,
}

impl Window {
    /// What both have in common.
    pub(crate) fn meet(self, other: Window) -> Option<Window> {
        let both = Window { from: self.from.max(other.from), until: self.until.min(other.until) };
        (both.from < both.until).then_some(both)
    }

    fn length(self) -> i64 {
        self.until - self.from
    }
}

/// Intervals without a timestamp: of each gap, `round(gap ÷ interval) − 1`.
///
/// The end of the window counts as a timestamp, so that a target that is never scraped again is noticed; so does
/// its beginning, unless an earlier timestamp is known, which is then the better one. `times` is sorted, `interval` above zero.
pub(crate) fn missing(times: &[i64], window: Window, interval: i64) -> u64 {
    let before = times.iter().copied().rfind(|time| *time <= window.from).unwrap_or(window.from);
    let inside = times.iter().copied().filter(|time| window.from < *time && *time < window.until);
    let mut missing = 0;
    let mut last = before;
    for time in inside.chain([window.until]) {
        missing += intervals(time - last, interval).saturating_sub(1);
        last = time;
    }
    missing
}

/// Timestamps beyond one for each interval: what a target was scraped too often.
pub(crate) fn surplus(times: &[i64], window: Window, interval: i64) -> u64 {
    let inside: Vec<i64> = times.iter().copied().filter(|time| window.from <= *time && *time <= window.until).collect();
    let (Some(first), Some(last)) = (inside.first(), inside.last()) else { return 0 };
    let span = Window { from: *first, until: *last };
    let due = (intervals(span.length(), interval) + 1).saturating_sub(missing(&inside, span, interval));
    u64::try_from(inside.len()).unwrap_or(u64::MAX).saturating_sub(due)
}

/// Steps of range queries that have no value, from the first step inside the window on. Steps are multiples of the
/// interval, so that all queries have the same ones.
pub(crate) fn holes(steps: &BTreeSet<i64>, window: Window, interval: i64) -> Vec<i64> {
    let mut holes = vec![];
    let mut step = (window.from + interval - 1) / interval * interval;
    while step <= window.until {
        if !steps.contains(&step) {
            holes.push(step);
        }
        step += interval;
    }
    holes
}

/// `gap ÷ interval`, rounded.
fn intervals(gap: i64, interval: i64) -> u64 {
    u64::try_from((gap * 2 + interval) / (interval * 2)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const W: Window = Window { from: 0, until: 100 };

    #[test]
    fn missing_intervals() {
        let cases: &[(&[i64], u64)] = &[
            (&[0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100], 0),
            (&[0, 10, 30, 40, 50, 60, 70, 80, 90], 1),
            (&[0, 10, 24, 34, 44, 54, 64, 74, 84, 94], 0),
            (&[3, 13, 28, 38, 48, 58, 68, 78, 88, 98], 1),
            // never again
            (&[0, 10, 20], 7),
            // not before the middle
            (&[50, 60, 70, 80, 90, 100], 4),
            // an earlier timestamp beats the beginning of the window
            (&[-9, 1, 11, 21, 31, 41, 51, 61, 71, 81, 91], 0),
            (&[-19, 11, 21, 31, 41, 51, 61, 71, 81, 91], 2),
            (&[], 9),
        ];
        for (times, want) in cases {
            assert_eq!(missing(times, W, 10), *want, "{times:?}");
        }
    }

    #[test]
    fn surplus_timestamps() {
        let cases: &[(&[i64], u64)] = &[
            (&[], 0),
            (&[5], 0),
            (&[0, 10, 20, 30], 0),
            // a gap is no licence
            (&[0, 30, 40], 0),
        ];
        for (times, want) in cases {
            assert_eq!(surplus(times, W, 10), *want, "{times:?}");
        }
        // Two shards at once for one interval more than needed: A at 0, 10, 20, 30, B from 24 on.
        assert_eq!(surplus(&[0, 10, 20, 24, 30, 34, 44], W, 10), 2);
        assert_eq!(surplus(&[0, 0, 10, 10], W, 10), 2);
    }

    #[test]
    fn holes_are_steps_without_a_value() {
        let steps = BTreeSet::from([0, 10, 20, 40, 50, 60, 70, 80, 90]);
        assert_eq!(holes(&steps, W, 10), [30, 100]);
        assert_eq!(holes(&steps, Window { from: 31, until: 99 }, 10), [0i64; 0]);
        assert_eq!(holes(&BTreeSet::new(), Window { from: 31, until: 60 }, 10), [40, 50, 60]);
    }

    proptest! {
        #[test]
        fn a_regular_scrape_with_jitter_misses_nothing(phase in 0i64..100, jitter in prop::collection::vec(-20i64..20, 50)) {
            let times: Vec<i64> = jitter.iter().zip(0i64..).map(|(j, i)| 100 * i + phase + j).collect();
            let window = Window { from: 0, until: 5000 };
            prop_assert_eq!(missing(&times, window, 100), 0);
            prop_assert_eq!(surplus(&times, window, 100), 0);
        }

        #[test]
        fn taking_scrapes_away_is_counted(from in 1usize..30, count in 1usize..15) {
            let mut times: Vec<i64> = (0..50).map(|i| 100 * i).collect();
            times.drain(from..from + count);
            let window = Window { from: 0, until: 4900 };
            prop_assert_eq!(missing(&times, window, 100), u64::try_from(count).unwrap());
        }
    }
}
