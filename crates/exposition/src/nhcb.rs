//! Classic histograms converted to native ones with custom buckets (`convert_classic_histograms_to_nhcb`).

use crate::{
    entry::MetricType,
    number::parse_float,
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

    /// Whether a native histogram can be made of it: the bucket without bound, listed or not, holds all
    /// observations. A count that is not a number fits nothing.
    pub(crate) fn is_convertible(&self) -> bool {
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).unwrap_or(0.0);
        let consistent = match last {
            Some((f64::INFINITY, all)) => count == all,
            Some((_, below)) => count >= below,
            None => !count.is_nan(),
        };
        consistent && !self.inconsistent
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
    /// Ends the histogram being collected if `labels` is not part of it; yields its native series.
    ///
    /// A histogram that cannot be converted yields nothing: its classic series are gone already.
    pub(crate) fn complete_before(&mut self, labels: &SampleLabels) -> Option<SampleLabels> {
        let same = self.series.as_ref().is_none_or(|series| {
            let others = |labels: &SampleLabels| -> Vec<(String, String)> {
                let identifying = labels.iter().filter(|(name, _)| *name != METRIC_NAME && *name != BUCKET_LABEL);
                identifying.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            };
            split_suffix(labels.metric_name()).0 == series.metric_name() && others(labels) == others(series)
        });
        if same { None } else { self.complete() }
    }

    /// Ends the histogram being collected, if any; yields its native series.
    pub(crate) fn complete(&mut self) -> Option<SampleLabels> {
        let histogram = std::mem::take(&mut self.histogram);
        self.series.take().filter(|_| histogram.is_convertible())
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
                let bound = labels.get(BUCKET_LABEL).and_then(|bound| parse_float(bound.as_bytes()));
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
        for (buckets, count, convertible) in [
            (&[][..], None, true),
            (&[], Some(3.0), true),
            (&[], Some(-1.0), false),
            (&[(1.0, 1.0), (inf, 2.0)], Some(2.0), true),
            (&[(1.0, 1.0), (inf, 2.0)], None, true),
            (&[(1.0, 1.0), (inf, 2.0)], Some(3.0), false),
            (&[(1.0, 1.0)], Some(1.5), true),
            (&[(1.0, 1.0)], Some(0.5), false),
            (&[(1.0, 2.0), (2.0, 1.0)], None, false),
            (&[(2.0, 2.0), (1.0, 1.0)], None, true),
            (&[(2.0, 2.0), (1.0, 3.0)], None, false),
            (&[(1.0, 1.0), (1.0, 9.0), (2.0, 2.0)], None, true),
            (&[(f64::NAN, 1.0)], None, false),
            (&[(1.0, -1.0)], None, false),
            (&[(1.0, 1.0), (1.0, -1.0)], None, false),
            (&[(inf, f64::NAN)], Some(f64::NAN), false),
            (&[(inf, f64::NAN)], None, false),
            (&[], Some(f64::NAN), false),
        ] {
            let mut histogram = ClassicHistogram::default();
            buckets.iter().for_each(|(bound, n)| histogram.add_bucket(*bound, *n));
            if let Some(count) = count {
                histogram.set_count(count);
            }
            assert_eq!(histogram.is_convertible(), convertible, "{buckets:?} {count:?}");
        }
    }
}
