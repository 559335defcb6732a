use std::collections::BTreeMap;

use kvass_model::SeriesCount;
use memchr::memchr;

use crate::{
    CountError, CountOptions, Format,
    families::Families,
    judge::Judge,
    lines::{Lines, MAX_ENTRY},
};

/// What a body contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Series of the body: Prometheus' `scrape_samples_post_metric_relabeling` and
    /// `scrape_samples_scraped`, which count a repeated series every time.
    pub count: SeriesCount,
    /// The same per exposed metric name; empty unless asked for.
    pub metrics: BTreeMap<String, SeriesCount>,
}

/// Counts the series of one body while it passes by.
///
/// Memory does not grow with the body: at most one incomplete entry (16 MiB in the text formats) or
/// message (64 MiB in protobuf) is held, longer ones are refused. How the body is cut into chunks
/// changes nothing.
pub struct SeriesCounter {
    decoder: Decoder,
    /// Beginning of an entry whose end has not come yet.
    carry: Vec<u8>,
    /// Length of the carry below which reading it again is not worth it. It doubles, so that an entry of
    /// many lines costs linear time.
    retry_at: usize,
    failed: Option<CountError>,
}

enum Decoder {
    Lines(Box<Lines>),
    Families(Box<Families>),
}

impl SeriesCounter {
    /// A counter for one body.
    pub fn new(options: CountOptions) -> Self {
        let format = options.format;
        let judge = Judge::new(options);
        let decoder = match format {
            Format::Text | Format::OpenMetrics => Decoder::Lines(Box::new(Lines::new(judge))),
            Format::Protobuf => Decoder::Families(Box::new(Families::new(judge))),
        };
        SeriesCounter { decoder, carry: Vec::new(), retry_at: 0, failed: None }
    }

    /// Takes the next part of the (decompressed) body. An error is final: the body is one that
    /// Prometheus rejects.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), CountError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.take(chunk).inspect_err(|error| {
            self.failed = Some(error.clone());
            self.carry = Vec::new();
        })
    }

    /// The counts of the complete body. The limits of samples and buckets are only checked here, as Prometheus
    /// reads on after reaching them. An empty body is a scrape without samples, but for
    /// Prometheus 2 in OpenMetrics, where the end mark is missing.
    pub fn finish(self) -> Result<Counts, CountError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.decoder {
            Decoder::Lines(lines) => lines.finish(self.carry),
            Decoder::Families(families) => families.finish(&self.carry),
        }
    }

    fn take(&mut self, mut chunk: &[u8]) -> Result<(), CountError> {
        while !self.carry.is_empty() && !chunk.is_empty() {
            let (piece, rest) = chunk.split_at(self.decoder.missing(&self.carry, chunk));
            self.carry.extend_from_slice(piece);
            chunk = rest;
            let worth_reading = match self.decoder {
                Decoder::Lines(_) => piece.ends_with(b"\n") && self.carry.len() >= self.retry_at || self.carry.len() > MAX_ENTRY,
                Decoder::Families(_) => true,
            };
            if !worth_reading {
                continue;
            }
            let used = self.decoder.consume(&self.carry)?;
            self.carry.drain(..used);
            self.retry_at = self.carry.len() * 2;
        }
        if self.carry.is_empty() {
            let used = self.decoder.consume(chunk)?;
            self.carry.extend_from_slice(chunk.get(used..).unwrap_or_default());
            self.retry_at = 0;
        }
        Ok(())
    }
}

impl Decoder {
    fn consume(&mut self, bytes: &[u8]) -> Result<usize, CountError> {
        match self {
            Decoder::Lines(lines) => lines.consume(bytes),
            Decoder::Families(families) => families.consume(bytes),
        }
    }

    /// How much of `chunk` may complete what is in `carry`; never zero, never more than the chunk.
    fn missing(&self, carry: &[u8], chunk: &[u8]) -> usize {
        match self {
            Decoder::Lines(_) => memchr(b'\n', chunk).map_or(chunk.len(), |line_feed| line_feed + 1),
            Decoder::Families(_) => Families::missing(carry).clamp(1, chunk.len()),
        }
    }
}
