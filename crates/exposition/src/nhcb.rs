//! Classic histograms converted to native ones with custom buckets (`convert_classic_histograms_to_nhcb`).

use crate::{
    entry::MetricType,
    number::parse_label_float,
    sample_labels::{BUCKET_LABEL, METRIC_NAME, SampleLabels},
};

/// The numbers of one classic histogram, checked while they come in.
#[derive(Debug, Default)]
pub(crate) struct ClassicHistogram {
    /// Upper bound and cumulative count, sorted by bound.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    inconsistent: bool,
}

impl ClassicHistogram {
    /// Adds a bucket; of repeated bounds the first stays.
    pub(crate) fn add_bucket(&mut self, bound: f64, count: f64) {
        if bound.is_nan() || count < 0.0 {
            self.inconsistent = true;
            return;
        }
        let index = self.buckets.partition_point(|(b, _)| *b < bound);
        if self.buckets.get(index).is_some_and(|(b, _)| *b == bound) {
            return;
        }
        let below = index.checked_sub(1).and_then(|i| self.buckets.get(i)).is_some_and(|(_, c)| count < *c);
        let above = self.buckets.get(index).is_some_and(|(_, c)| count > *c);
        if below || above {
            self.inconsistent = true;
        } else {
            self.buckets.insert(index, (bound, count));
        }
    }

    /// Sets the number of observations.
    pub(crate) fn set_count(&mut self, count: f64) {
        self.inconsistent |= count < 0.0;
        self.count = Some(count);
    }

    /// Buckets of the native histogram that can be made of it, if one can: the bucket without bound, listed or not,
    /// holds all observations. A count that is not a number fits nothing.
    pub(crate) fn converted_buckets(mut self) -> Option<u64> {
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).filter(|count| !count.is_nan())?;
        if self.inconsistent || last.is_some_and(|(bound, all)| if bound == f64::INFINITY { count != all } else { count < all }) {
            return None;
        }
        if last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        Some(self.stored_buckets(count))
    }

    /// How many buckets are stored: all between the first and the last with observations, except gaps, which are
    /// longer than two empty ones if all counts are whole.
    fn stored_buckets(&self, count: f64) -> u64 {
        let whole = |count: f64| count.fract() == 0.0 && count < i64::MAX as f64;
        let gap = if whole(count) && self.buckets.iter().all(|(_, count)| whole(*count)) { 2 } else { 0 };
        let (mut below, mut stored, mut empty) = (0.0, 0, 0);
        for (_, cumulative) in &self.buckets {
            if *cumulative == below {
                empty += 1;
                continue;
            }
            if stored > 0 && empty <= gap {
                stored += empty;
            }
            (below, stored, empty) = (*cumulative, stored + 1, 0);
        }
        stored
    }
}

/// Collects the lines of a classic histogram in a text body until they are complete.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    /// The series to be, while lines are collected: base name, labels without `le`.
    series: Option<SampleLabels>,
    histogram: ClassicHistogram,
}

impl Collector {
    /// Ends the histogram being collected if `labels` is not part of it; yields its native series and how many
    /// buckets that has.
    ///
    /// A histogram that cannot be converted yields nothing: its classic series are gone already.
    pub(crate) fn complete_before(&mut self, labels: &SampleLabels) -> Option<(SampleLabels, u64)> {
        let same = self.series.as_ref().is_none_or(|series| {
            let others = |labels: &SampleLabels| -> Vec<(String, String)> {
                let identifying = labels.iter().filter(|(name, _)| *name != METRIC_NAME && *name != BUCKET_LABEL);
                identifying.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            };
            split_suffix(labels.metric_name()).0 == series.metric_name() && others(labels) == others(series)
        });
        if same { None } else { self.complete() }
    }

    /// Ends the histogram being collected, if any; yields its native series and how many buckets that has.
    pub(crate) fn complete(&mut self) -> Option<(SampleLabels, u64)> {
        let histogram = std::mem::take(&mut self.histogram);
        let series = self.series.take()?;
        Some((series, histogram.converted_buckets()?))
    }

    /// Whether the series is part of a classic histogram under conversion. `family` and `metric_type`
    /// are of the TYPE line in force.
    pub(crate) fn collect(&mut self, family: &[u8], metric_type: MetricType, labels: &SampleLabels, value: f64) -> bool {
        let (base, suffix) = split_suffix(labels.metric_name());
        if metric_type != MetricType::Histogram || base.as_bytes() != family {
            return false;
        }
        match suffix {
            "_bucket" => {
                let bound = labels.get(BUCKET_LABEL).and_then(parse_label_float);
                let Some(bound) = bound.filter(|bound| !bound.is_nan()) else {
                    return false;
                };
                self.histogram.add_bucket(bound, value);
            }
            "_count" => self.histogram.set_count(value),
            "_sum" => {}
            _ => return false,
        }
        self.series.get_or_insert_with(|| {
            // A repeated name stays, for the storage to refuse.
            let mut base = Some(base);
            let renamed = |(name, value)| if name == METRIC_NAME { (name, base.take().unwrap_or(value)) } else { (name, value) };
            labels.iter().filter(|(name, _)| *name != BUCKET_LABEL).map(renamed).collect()
        });
        true
    }
}

/// The name of the histogram a series belongs to, and the suffix of the series.
fn split_suffix(name: &str) -> (&str, &str) {
    for suffix in ["_bucket", "_sum", "_count"] {
        if let Some(base) = name.strip_suffix(suffix) {
            return (base, suffix);
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consistency() {
        let inf = f64::INFINITY;
        for (buckets, count, converted) in [
            (&[][..], None, None),
            (&[], Some(3.0), Some(1)),
            (&[], Some(0.0), Some(0)),
            (&[], Some(-1.0), None),
            (&[(1.0, 1.0), (inf, 2.0)], Some(2.0), Some(2)),
            (&[(1.0, 1.0), (inf, 2.0)], None, Some(2)),
            (&[(1.0, 1.0), (inf, 2.0)], Some(3.0), None),
            (&[(1.0, 1.0)], Some(1.5), Some(2)),
            (&[(1.0, 1.0)], Some(0.5), None),
            (&[(1.0, 2.0), (2.0, 1.0)], None, None),
            (&[(2.0, 2.0), (1.0, 1.0)], None, Some(2)),
            (&[(2.0, 2.0), (1.0, 3.0)], None, None),
            (&[(1.0, 1.0), (1.0, 9.0), (2.0, 2.0)], None, Some(2)),
            (&[(1.0, 0.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0), (5.0, 2.0)], None, Some(4)),
            (&[(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0), (5.0, 2.0)], None, Some(2)),
            (&[(1.0, 1.0), (2.0, 1.0), (3.0, 1.5)], None, Some(2)),
            (&[(f64::NAN, 1.0)], None, None),
            (&[(1.0, -1.0)], None, None),
            (&[(1.0, 1.0), (1.0, -1.0)], None, None),
            (&[(inf, f64::NAN)], Some(f64::NAN), None),
            (&[(inf, f64::NAN)], None, None),
            (&[(1.0, f64::NAN)], Some(3.0), Some(2)),
            (&[], Some(f64::NAN), None),
        ] {
            let mut histogram = ClassicHistogram::default();
            buckets.iter().for_each(|(bound, n)| histogram.add_bucket(*bound, *n));
            if let Some(count) = count {
                histogram.set_count(count);
            }
            assert_eq!(histogram.converted_buckets(), converted, "{buckets:?} {count:?}");
        }
    }
}
