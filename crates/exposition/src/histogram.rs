//! Summaries and histograms of a protobuf body, reduced to what decides their series.

use kvass_model::PrometheusLine;

use crate::{
    Refusal,
    native::{NativeHistogram, Stored},
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
    native: NativeHistogram,
}

impl Histogram {
    /// Adds the fields of a message; a repeated message goes on where the previous one ended.
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let native = &mut self.native;
        for_each_field(message, |field| match field.number {
            1 => field.varint().map(|count| self.count = count),
            2 => field.double().map(|sum| native.sum = sum),
            3 => {
                self.buckets.push(read_bucket(field.bytes()?)?);
                Ok(())
            }
            4 => field.double().map(|count| self.count_float = count),
            5 => field.zigzag32().map(|schema| native.schema = schema),
            6 => field.double().map(|threshold| native.zero_threshold = threshold),
            7 => field.varint().map(|count| native.zero_count = count),
            8 => field.double().map(|count| native.zero_count_float = count),
            9 => native.negative.read_span(field),
            10 => native.negative.read_deltas(field),
            11 => native.negative.read_counts(field),
            12 => native.positive.read_span(field),
            13 => native.positive.read_deltas(field),
            14 => native.positive.read_counts(field),
            15 => check_timestamp(field),
            16 => check_exemplar(field),
            _ => Ok(()),
        })
    }

    /// Whether the message describes a native histogram.
    pub(crate) fn is_native(&self, line: PrometheusLine) -> bool {
        self.native.is_native(line)
    }

    /// Whether the spans announce as many native buckets as there are.
    pub(crate) fn is_consistent(&self, line: PrometheusLine) -> bool {
        self.native.is_consistent(self.count_float, line)
    }

    /// What the storage makes of the native histogram, which must be consistent.
    pub(crate) fn judge_native(&self, line: PrometheusLine, max_schema: i32) -> Result<Stored, Refusal> {
        self.native.judge(self.count, self.count_float, line, max_schema)
    }

    /// Whether classic buckets are there too.
    pub(crate) fn has_buckets(&self) -> bool {
        !self.buckets.is_empty()
    }

    /// Upper bounds of the classic buckets Prometheus stores: up to the first without bound, which is
    /// added where it is missing.
    pub(crate) fn bounds(&self) -> impl Iterator<Item = f64> {
        let listed = self.buckets.iter().position(|(bound, _)| *bound == f64::INFINITY).unwrap_or(self.buckets.len());
        self.buckets.iter().take(listed).map(|(bound, _)| *bound).chain([f64::INFINITY])
    }

    /// Buckets of the native histogram with custom bounds that can be made of the classic buckets, if one can.
    pub(crate) fn converted_buckets(&self) -> Option<u64> {
        let mut classic = ClassicHistogram::default();
        classic.set_count(float_or(self.count_float, self.count));
        for (bound, count) in &self.buckets {
            classic.add_bucket(*bound, *count);
        }
        classic.converted_buckets()
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
