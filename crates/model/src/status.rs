use std::{fmt, time::Duration};

use jiff::Timestamp;

/// What the last scrape of a target said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape succeeded.
    Up,
    /// The last scrape failed.
    Down,
}

impl Health {
    /// The word used by Prometheus' and Kvass' APIs.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a target stands on the shard that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetState {
    /// The shard is the target's home.
    #[default]
    Normal,
    /// The shard goes on scraping until another shard has taken over.
    InTransfer,
}

impl TargetState {
    /// The word used on the wire: empty for normal.
    pub fn as_str(self) -> &'static str {
        match self {
            TargetState::Normal => "",
            TargetState::InTransfer => "in_transfer",
        }
    }
}

/// The size of a target, as Prometheus pays for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesCount {
    /// Series that survive `metric_relabel_configs`.
    pub series: u64,
    /// Series the target exposes, before `metric_relabel_configs`.
    pub total: u64,
}

impl std::ops::Add for SeriesCount {
    type Output = SeriesCount;
    fn add(self, other: SeriesCount) -> SeriesCount {
        SeriesCount { series: self.series.saturating_add(other.series), total: self.total.saturating_add(other.total) }
    }
}

impl std::ops::AddAssign for SeriesCount {
    fn add_assign(&mut self, other: SeriesCount) {
        *self = *self + other;
    }
}

impl std::ops::Sub for SeriesCount {
    type Output = SeriesCount;
    /// Never below zero.
    fn sub(self, other: SeriesCount) -> SeriesCount {
        SeriesCount { series: self.series.saturating_sub(other.series), total: self.total.saturating_sub(other.total) }
    }
}

impl std::iter::Sum for SeriesCount {
    fn sum<I: Iterator<Item = SeriesCount>>(counts: I) -> SeriesCount {
        counts.fold(SeriesCount::default(), |a, b| a + b)
    }
}

/// What is known of a target from scraping it, by a shard or by exploring.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrapeStatus {
    /// Outcome of the last scrape.
    pub health: Health,
    /// Why the last scrape failed; empty when it did not.
    pub last_error: String,
    /// Start of the last scrape.
    pub last_scrape: Option<Timestamp>,
    /// How long the last scrape took.
    pub last_scrape_duration: Duration,
    /// Size: mean of the last three scrapes after metric relabelling, last scrape before it.
    pub count: SeriesCount,
    /// Normal or in transfer.
    pub state: TargetState,
    /// Scrapes by this shard since the target came to it, or since it became in transfer.
    pub scrape_times: u64,
}
