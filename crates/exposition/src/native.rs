//! Native histograms of a protobuf body: which ones the storage of Prometheus takes, and how many buckets they have.

use kvass_model::PrometheusLine;

use crate::{
    MAX_SCHEMA, Refusal,
    wire::{Field, Malformed, for_each_field},
};

/// Coarsest resolution.
const MIN_SCHEMA: i32 = -4;

/// Schemas that may be made coarser.
const REDUCIBLE_SCHEMAS: std::ops::RangeInclusive<i32> = -9..=52;

/// The schema of histograms with custom bounds.
const CUSTOM_SCHEMA: i32 = -53;

/// Most buckets or spans on one side of zero. Prometheus has no such limit, but they are held in memory and take
/// little room in a body.
const MAX_BUCKETS: usize = 1 << 20;

/// What a message says about a native histogram.
#[derive(Clone, Debug, Default)]
pub(crate) struct NativeHistogram {
    pub(crate) sum: f64,
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) zero_count: u64,
    pub(crate) zero_count_float: f64,
    pub(crate) positive: Side,
    pub(crate) negative: Side,
}

/// The buckets on one side of zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// Gap before the span, and how many buckets it has.
    spans: Vec<(i32, u32)>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

/// The buckets with observations, on one side of zero.
#[derive(Debug, Default)]
struct Populated {
    indexes: Vec<i64>,
    observations: u64,
    float_observations: f64,
    below_zero: bool,
}

impl NativeHistogram {
    /// Whether the message describes a native histogram: any span, or something in or about the zero
    /// bucket. Libraries add an empty span to mark one without observations, which means nothing to Prometheus 2.42.
    pub(crate) fn is_native(&self, line: PrometheusLine) -> bool {
        let marked = |side: &Side| match line {
            PrometheusLine::V2 => !side.deltas.is_empty(),
            PrometheusLine::V3 => !side.spans.is_empty(),
        };
        marked(&self.positive) || marked(&self.negative) || self.zero_threshold > 0.0 || self.zero_count > 0
    }

    /// Whether its counts are floats. `count_float` is the count of all observations as float.
    fn is_float(&self, count_float: f64, line: PrometheusLine) -> bool {
        let listed = || !self.positive.counts.is_empty() || !self.negative.counts.is_empty();
        count_float > 0.0 || self.zero_count_float > 0.0 || (line == PrometheusLine::V3 && listed())
    }

    /// Whether the spans announce as many buckets as there are, which the parser checks.
    pub(crate) fn is_consistent(&self, count_float: f64, line: PrometheusLine) -> bool {
        let float = self.is_float(count_float, line);
        [&self.positive, &self.negative].iter().all(|side| {
            let buckets = if float { side.counts.len() } else { side.deltas.len() };
            side.spans.iter().map(|(_, length)| u64::from(*length)).sum::<u64>() == buckets as u64
        })
    }

    /// How many buckets it has in the coarsest resolution it may be stored in, if the storage takes it at all.
    /// `count` and `count_float` are the observations in all buckets. It must be consistent.
    pub(crate) fn judge(&self, count: u64, count_float: f64, line: PrometheusLine, max_schema: i32) -> Result<Stored, Refusal> {
        let float = self.is_float(count_float, line);
        let (positive, negative) = (self.positive.populated(float), self.negative.populated(float));
        match line {
            PrometheusLine::V2 => {
                self.check_v2(&positive, &negative, float, count, count_float)?;
                Ok(Stored { buckets: 0, valid: Ok(()) })
            }
            PrometheusLine::V3 => {
                let mut schema = self.schema;
                if max_schema < MAX_SCHEMA && REDUCIBLE_SCHEMAS.contains(&schema) && schema > max_schema {
                    self.check_order(&positive, &negative)?;
                    schema = max_schema;
                }
                let coarsest = if (MIN_SCHEMA..=MAX_SCHEMA).contains(&schema) { MIN_SCHEMA } else { schema };
                let reduced = |side: &Populated| side.reduced(self.schema - coarsest);
                let buckets = reduced(&positive) + reduced(&negative);
                let valid = self.check_v3(&positive, &negative, float, (count, count_float), schema);
                Ok(Stored { buckets, valid })
            }
        }
    }

    fn check_v2(
        &self,
        positive: &Populated,
        negative: &Populated,
        float: bool,
        count: u64,
        count_float: f64,
    ) -> Result<(), Refusal> {
        self.check_order(positive, negative)?;
        check_counts(positive, negative)?;
        let observations = positive.observations.wrapping_add(negative.observations);
        let float_observations = positive.float_observations + negative.float_observations;
        let too_few = if float { float_observations > count_float } else { observations > count };
        if too_few {
            return Err(Refusal::Histogram("a count that is not below the observations in its buckets"));
        }
        Ok(())
    }

    fn check_v3(
        &self,
        positive: &Populated,
        negative: &Populated,
        float: bool,
        (count, count_float): (u64, f64),
        schema: i32,
    ) -> Result<(), Refusal> {
        if schema == CUSTOM_SCHEMA {
            // Protobuf has no custom bounds, so there is one bucket at most.
            let zero_bucket =
                self.zero_threshold != 0.0 || if float { self.zero_count_float != 0.0 } else { self.zero_count > 0 };
            if zero_bucket || !negative.indexes.is_empty() || positive.indexes.iter().any(|index| *index != 0) {
                return Err(Refusal::Histogram("custom bounds for the schema of custom buckets"));
            }
        } else if !(MIN_SCHEMA..=MAX_SCHEMA).contains(&schema) {
            return Err(Refusal::Histogram("a schema from -4 to 8"));
        }
        self.check_order(positive, negative)?;
        for side in [positive, negative] {
            let (first, last) = (side.indexes.first(), side.indexes.last());
            if first.is_some_and(|index| *index <= i64::from(i32::MIN)) || last.is_some_and(|index| *index > i64::from(i32::MAX))
            {
                return Err(Refusal::Histogram("bucket indexes of 32 bits"));
            }
        }
        check_counts(positive, negative)?;
        if float {
            let zero_below = self.zero_count_float < 0.0;
            if zero_below || count_float < 0.0 {
                return Err(Refusal::Histogram("no count below zero"));
            }
            return Ok(());
        }
        let observations = positive.observations.wrapping_add(negative.observations).wrapping_add(self.zero_count);
        // Observations of NaN are in no bucket.
        let differs = if self.sum.is_nan() { observations > count } else { observations != count };
        if differs {
            return Err(Refusal::Histogram("a count that is the sum of its buckets"));
        }
        Ok(())
    }

    /// Spans may not overlap.
    fn check_order(&self, positive: &Populated, negative: &Populated) -> Result<(), Refusal> {
        let ordered = |side: &Populated| side.indexes.windows(2).all(|pair| pair[0] < pair[1]);
        if ordered(positive) && ordered(negative) { Ok(()) } else { Err(Refusal::Histogram("spans without a gap below zero")) }
    }
}

/// A native histogram on its way to the storage.
pub(crate) struct Stored {
    /// Buckets with observations, in the coarsest resolution.
    pub(crate) buckets: u64,
    /// The verdict of the storage, which only sees histograms within the limit of buckets.
    pub(crate) valid: Result<(), Refusal>,
}

fn check_counts(positive: &Populated, negative: &Populated) -> Result<(), Refusal> {
    if positive.below_zero || negative.below_zero { Err(Refusal::Histogram("no bucket below zero")) } else { Ok(()) }
}

impl Side {
    pub(crate) fn read_span(&mut self, field: Field<'_>) -> Result<(), Malformed> {
        let (mut offset, mut length) = (0, 0);
        for_each_field(field.bytes()?, |field| match field.number {
            1 => field.zigzag32().map(|value| offset = value),
            // A 32-bit field: Go drops what is above.
            2 => field.varint().map(|value| length = value as u32),
            _ => Ok(()),
        })?;
        push(&mut self.spans, (offset, length))
    }

    pub(crate) fn read_deltas(&mut self, field: Field<'_>) -> Result<(), Malformed> {
        field.zigzags(|delta| push(&mut self.deltas, delta))
    }

    pub(crate) fn read_counts(&mut self, field: Field<'_>) -> Result<(), Malformed> {
        field.doubles(|count| push(&mut self.counts, count))
    }

    /// What is left of the buckets when the parser has removed those without observations.
    fn populated(&self, float: bool) -> Populated {
        let mut populated = Populated::default();
        let mut deltas = self.deltas.iter();
        let mut counts = self.counts.iter();
        let mut last = 0i64;
        let mut next = 0i64;
        for (offset, length) in &self.spans {
            next += i64::from(*offset);
            for _ in 0..*length {
                let (empty, below_zero) = if float {
                    let Some(count) = counts.next() else { return populated };
                    populated.float_observations += count;
                    (*count == 0.0, *count < 0.0)
                } else {
                    let Some(delta) = deltas.next() else { return populated };
                    last = last.wrapping_add(*delta);
                    populated.observations = populated.observations.wrapping_add(last as u64);
                    (last == 0, last < 0)
                };
                populated.below_zero |= below_zero;
                if !empty {
                    populated.indexes.push(next);
                }
                next += 1;
            }
        }
        populated
    }
}

impl Populated {
    /// How many buckets are left when the schema falls by `steps`: each step merges two neighbours.
    fn reduced(&self, steps: i32) -> u64 {
        let steps = u32::try_from(steps).unwrap_or(0).min(63);
        let mut coarse: Vec<i64> = self.indexes.iter().map(|index| (index - 1) >> steps).collect();
        coarse.dedup();
        coarse.len() as u64
    }
}

fn push<T>(list: &mut Vec<T>, value: T) -> Result<(), Malformed> {
    if list.len() == MAX_BUCKETS {
        return Err(Malformed("a native histogram of at most 1048576 buckets"));
    }
    list.push(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_merge() {
        let buckets = |indexes: &[i64], steps| Populated { indexes: indexes.to_vec(), ..Populated::default() }.reduced(steps);
        // Bucket 1 of a schema takes 1 and 2 of the next finer one.
        assert_eq!(
            [buckets(&[0, 1, 2, 3], 0), buckets(&[0, 1, 2, 3], 1), buckets(&[1, 2], 1), buckets(&[2, 3], 1)],
            [4, 3, 1, 2]
        );
        assert_eq!([buckets(&[-1, 0, 1], 1), buckets(&[-1000, 1000], 12), buckets(&[], 3)], [2, 2, 0]);
    }

    #[test]
    fn buckets_without_observations_are_removed() {
        let side = Side { spans: vec![(-2, 2), (3, 1)], deltas: vec![0, 2, -1], counts: vec![0.5, 0.0, f64::NAN] };
        let integers = side.populated(false);
        assert_eq!((integers.indexes, integers.observations, integers.below_zero), (vec![-1, 3], 3, false));
        assert_eq!(side.populated(true).indexes, [-2, 3]);
    }
}
