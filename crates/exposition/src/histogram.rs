//! Summaries and histograms of a protobuf body, reduced to what decides their series.

use crate::{
    nhcb::ClassicHistogram,
    wire::{Field, Malformed, for_each_field},
};

/// The quantiles of a summary.
pub(crate) fn read_summary(message: &[u8], quantiles: &mut Vec<f64>) -> Result<(), Malformed> {
    for_each_field(message, |field| match field.number {
        1 => field.varint().map(drop),
        2 => field.double().map(drop),
        3 => {
            let mut quantile = 0.0;
            for_each_field(field.bytes()?, |field| match field.number {
                1 => field.double().map(|value| quantile = value),
                2 => field.double().map(drop),
                _ => Ok(()),
            })?;
            quantiles.push(quantile);
            Ok(())
        }
        4 => check_timestamp(field),
        _ => Ok(()),
    })
}

/// A classic histogram, a native one, or both in one message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    count: u64,
    count_float: f64,
    /// Upper bound, cumulative count.
    buckets: Vec<(f64, f64)>,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    positive: Side,
    negative: Side,
}

/// The native buckets on one side of zero.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    spans: usize,
    /// Buckets the spans announce.
    length: u64,
    deltas: usize,
    counts: usize,
}

impl Histogram {
    /// Adds the fields of a message; a repeated message goes on where the previous one ended.
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<(), Malformed> {
        for_each_field(message, |field| match field.number {
            1 => field.varint().map(|count| self.count = count),
            2 => field.double().map(drop),
            3 => {
                self.buckets.push(read_bucket(field.bytes()?)?);
                Ok(())
            }
            4 => field.double().map(|count| self.count_float = count),
            5 => field.varint().map(drop),
            6 => field.double().map(|threshold| self.zero_threshold = threshold),
            7 => field.varint().map(|count| self.zero_count = count),
            8 => field.double().map(|count| self.zero_count_float = count),
            9 => self.negative.read_span(field),
            10 => field.varints().map(|deltas| self.negative.deltas += deltas),
            11 => field.doubles().map(|counts| self.negative.counts += counts),
            12 => self.positive.read_span(field),
            13 => field.varints().map(|deltas| self.positive.deltas += deltas),
            14 => field.doubles().map(|counts| self.positive.counts += counts),
            15 => check_timestamp(field),
            16 => check_exemplar(field),
            _ => Ok(()),
        })
    }

    /// Whether the message describes a native histogram: any span, or something in or about the zero
    /// bucket. Libraries add an empty span to mark one without observations.
    pub(crate) fn is_native(&self) -> bool {
        self.positive.spans > 0 || self.negative.spans > 0 || self.zero_threshold > 0.0 || self.zero_count > 0
    }

    /// Whether classic buckets are there too.
    pub(crate) fn has_buckets(&self) -> bool {
        !self.buckets.is_empty()
    }

    /// Whether the spans announce as many buckets as there are.
    pub(crate) fn is_consistent(&self) -> bool {
        let float = self.count_float > 0.0 || self.zero_count_float > 0.0;
        [self.positive, self.negative].iter().all(|side| {
            let buckets = if float { side.counts } else { side.deltas };
            side.length == buckets as u64
        })
    }

    /// Upper bounds of the classic buckets Prometheus stores: up to the first without bound, which is
    /// added where it is missing.
    pub(crate) fn bounds(&self) -> impl Iterator<Item = f64> {
        let listed = self.buckets.iter().position(|(bound, _)| *bound == f64::INFINITY).unwrap_or(self.buckets.len());
        self.buckets.iter().take(listed).map(|(bound, _)| *bound).chain([f64::INFINITY])
    }

    /// Whether a native histogram with custom buckets can be made of the classic buckets.
    pub(crate) fn is_convertible(&self) -> bool {
        let mut classic = ClassicHistogram::default();
        classic.set_count(float_or(self.count_float, self.count));
        for (bound, count) in &self.buckets {
            classic.add_bucket(*bound, *count);
        }
        classic.is_convertible()
    }
}

impl Side {
    fn read_span(&mut self, field: Field<'_>) -> Result<(), Malformed> {
        self.spans += 1;
        let mut length = 0;
        for_each_field(field.bytes()?, |field| match field.number {
            1 => field.varint().map(drop),
            // A 32-bit field: Go drops what is above.
            2 => field.varint().map(|value| length = value & u64::from(u32::MAX)),
            _ => Ok(()),
        })?;
        self.length += length;
        Ok(())
    }
}

/// Upper bound and cumulative count.
fn read_bucket(message: &[u8]) -> Result<(f64, f64), Malformed> {
    let (mut count, mut count_float, mut bound) = (0, 0.0, 0.0);
    for_each_field(message, |field| match field.number {
        1 => field.varint().map(|value| count = value),
        2 => field.double().map(|value| bound = value),
        3 => check_exemplar(field),
        4 => field.double().map(|value| count_float = value),
        _ => Ok(()),
    })?;
    Ok((bound, float_or(count_float, count)))
}

/// The float variant of a count overrides the integer where it is set.
fn float_or(float: f64, integer: u64) -> f64 {
    if float == 0.0 { integer as f64 } else { float }
}

/// Reads over a `google.protobuf.Timestamp`.
pub(crate) fn check_timestamp(field: Field<'_>) -> Result<(), Malformed> {
    for_each_field(field.bytes()?, |field| match field.number {
        1 | 2 => field.varint().map(drop),
        _ => Ok(()),
    })
}

/// Reads over an exemplar.
pub(crate) fn check_exemplar(field: Field<'_>) -> Result<(), Malformed> {
    for_each_field(field.bytes()?, |field| match field.number {
        1 => for_each_field(field.bytes()?, |field| match field.number {
            1 | 2 => field.bytes().map(drop),
            _ => Ok(()),
        }),
        2 => field.double().map(drop),
        3 => check_timestamp(field),
        _ => Ok(()),
    })
}
