use std::collections::BTreeMap;

use kvass_model::SeriesCount;

use crate::Counts;

/// Adds up series, as a whole and per metric.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    count: SeriesCount,
    per_metric: bool,
    metrics: BTreeMap<String, SeriesCount>,
    /// The metric being counted: series of one metric follow each other, so the map is rarely touched.
    current: String,
    current_count: SeriesCount,
}

impl Tally {
    pub(crate) fn new(per_metric: bool) -> Self {
        Tally { per_metric, ..Tally::default() }
    }

    /// Counts series exposed under `name`.
    #[inline]
    pub(crate) fn add(&mut self, name: &str, count: SeriesCount) {
        self.count += count;
        if !self.per_metric {
            return;
        }
        if self.current != name {
            self.flush();
            self.current.push_str(name);
        }
        self.current_count += count;
    }

    pub(crate) fn finish(mut self) -> Counts {
        self.flush();
        Counts { count: self.count, metrics: self.metrics }
    }

    fn flush(&mut self) {
        let count = std::mem::take(&mut self.current_count);
        let name = std::mem::take(&mut self.current);
        if count != SeriesCount::default() {
            *self.metrics.entry(name).or_default() += count;
        }
    }
}
