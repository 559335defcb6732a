//! The limits of a scrape, as the storage side of Prometheus counts against them.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use kvass_model::{PrometheusLine, SeriesCount};

use crate::{CountError, CountOptions};

/// Counts against `sample_limit` and `native_histogram_bucket_limit`. Both are told at the end of the body, as
/// Prometheus reads on.
#[derive(Debug)]
pub(crate) struct Limits {
    line: PrometheusLine,
    sample_limit: u64,
    bucket_limit: u64,
    honor_timestamps: bool,
    samples: u64,
    /// Hashes of the series that count, as many as the limit at most: Prometheus 3 does not hand a repeated series to
    /// the storage.
    seen: HashSet<u64>,
    too_many_buckets: bool,
}

impl Limits {
    pub(crate) fn new(options: &CountOptions) -> Self {
        Limits {
            line: options.line,
            sample_limit: options.sample_limit,
            bucket_limit: options.native_bucket_limit,
            honor_timestamps: options.honor_timestamps,
            samples: 0,
            seen: HashSet::new(),
            too_many_buckets: false,
        }
    }

    /// Whether samples have to be shown to [`Self::add`].
    pub(crate) fn on_samples(&self) -> bool {
        self.sample_limit > 0
    }

    /// Counts a sample that is stored. Of a series only what it is written as decides whether it is repeated.
    pub(crate) fn add(&mut self, written: impl Hash, timestamped: bool) {
        if self.sample_limit == 0 || self.samples > self.sample_limit {
            return;
        }
        if self.line == PrometheusLine::V3 {
            let mut hasher = DefaultHasher::new();
            written.hash(&mut hasher);
            let reaches_storage = self.seen.insert(hasher.finish()) || timestamped && self.honor_timestamps;
            if !reaches_storage {
                return;
            }
        }
        self.samples += 1;
    }

    /// Counts a native histogram; Prometheus 2 leaves them out.
    pub(crate) fn add_native(&mut self, written: impl Hash, timestamped: bool) {
        if self.line == PrometheusLine::V3 {
            self.add(written, timestamped);
        }
    }

    /// Whether a native histogram of so many buckets is within the limit; the scrape fails if not.
    pub(crate) fn admit_buckets(&mut self, buckets: u64) -> bool {
        let above = self.bucket_limit > 0 && buckets > self.bucket_limit;
        self.too_many_buckets |= above;
        !above
    }

    /// The verdict on a body whose every sample was added.
    pub(crate) fn check(&self, count: SeriesCount) -> Result<(), CountError> {
        if self.sample_limit > 0 && self.samples > self.sample_limit {
            Err(CountError::SampleLimit { limit: self.sample_limit, count })
        } else if self.too_many_buckets {
            Err(CountError::BucketLimit { limit: self.bucket_limit, count })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_series_count_where_they_reach_the_storage() {
        let samples = |line, honor_timestamps| {
            let options = CountOptions { line, honor_timestamps, sample_limit: 100, ..CountOptions::default() };
            let mut limits = Limits::new(&options);
            for (series, timestamped) in [("a", false), ("a", false), ("b", true), ("b", true), ("c", false)] {
                limits.add(series, timestamped);
            }
            limits.add_native("n", false);
            limits.samples
        };
        assert_eq!([samples(PrometheusLine::V2, true), samples(PrometheusLine::V2, false)], [5, 5]);
        assert_eq!([samples(PrometheusLine::V3, true), samples(PrometheusLine::V3, false)], [5, 4]);
    }
}
