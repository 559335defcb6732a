//! Random numbers from a seed: equal seeds, equal cases.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of one case of a run, so that each case can be repeated alone.
    pub(crate) fn of_case(seed: u64, case: u64) -> Self {
        let mut random = Random(seed);
        Random(random.next() ^ case.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or(0)
    }

    /// A number between these, both included.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in so many cases of a hundred.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of them.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// One of the first `usual` of them, or of all in so many cases of a hundred.
    pub(crate) fn pick_usual<'a, T>(&mut self, from: &'a [T], usual: usize, chance_of_all: usize) -> &'a T {
        let count = if self.percent(chance_of_all) { from.len() } else { usual };
        &from[self.below(count)]
    }

    /// One of the characters of a text that is not empty.
    pub(crate) fn char_of(&mut self, text: &str) -> char {
        let index = self.below(text.chars().count());
        text.chars().nth(index).unwrap_or('a')
    }
}
