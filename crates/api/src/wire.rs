use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use kvass_model::{Health, Labels, ScrapeStatus, SeriesCount, TargetHash, TargetState};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::time::or_never;

/// Target hash (in decimal) to what the shard knows of the target.
pub type StatusMap = BTreeMap<String, ScrapeStatusWire>;

/// Job name to its targets.
pub type TargetList = BTreeMap<String, Vec<AssignedTarget>>;

/// A target as pushed to a shard and kept in its store file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AssignedTarget {
    /// Identity.
    pub hash: u64,
    /// The labels sent to shards; `null` reads as empty.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Series after metric relabelling.
    pub series: i64,
    /// Series before it; absent before v0.3.0.
    #[serde(rename = "totalSeries")]
    pub total_series: i64,
    /// Empty or `in_transfer`.
    #[serde(rename = "TargetState")]
    pub target_state: String,
}

impl AssignedTarget {
    /// The identity as a typed value.
    pub fn target_hash(&self) -> TargetHash {
        TargetHash(self.hash)
    }

    /// The labels as a label set.
    pub fn label_set(&self) -> Labels {
        self.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
    }

    /// The state; anything but `in_transfer` is normal.
    pub fn state(&self) -> TargetState {
        state_from_wire(&self.target_state)
    }

    /// The size, negative numbers read as 0.
    pub fn count(&self) -> SeriesCount {
        count_from_wire(self.series, self.total_series)
    }

    /// Puts a target on the wire.
    pub fn new(hash: TargetHash, labels: &Labels, count: SeriesCount, state: TargetState) -> Self {
        let (series, total_series) = count_to_wire(count);
        AssignedTarget {
            hash: hash.0,
            labels: labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            series,
            total_series,
            target_state: state.as_str().to_owned(),
        }
    }
}

/// Body of `POST /api/v1/shard/targets/`: the complete new list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateTargets {
    /// Job to targets.
    #[serde(rename = "Targets", default, deserialize_with = "null_as_default")]
    pub targets: TargetList,
}

/// Content of the store file `kvass-shard.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Job to targets.
    #[serde(rename = "Targets", default, deserialize_with = "null_as_default")]
    pub targets: TargetList,
    /// Since when the shard has no targets.
    #[serde(rename = "IdleAt", default)]
    pub idle_at: Option<Timestamp>,
}

/// What a shard, or the coordinator after a cycle, reports of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrapeStatusWire {
    /// Why the last scrape failed.
    #[serde(rename = "lastError")]
    pub last_error: String,
    /// Start of the last scrape.
    #[serde(rename = "lastScrape", with = "or_never")]
    pub last_scrape: Option<Timestamp>,
    /// Seconds.
    #[serde(rename = "lastScrapeDuration")]
    pub last_scrape_duration: f64,
    /// `unknown`, `up` or `down`.
    pub health: String,
    /// Series after metric relabelling; v0.0.1 called it `samples`.
    #[serde(alias = "samples")]
    pub series: i64,
    /// Series before metric relabelling.
    #[serde(rename = "totalSeries")]
    pub total_series: i64,
    /// Empty or `in_transfer`.
    #[serde(rename = "TargetState")]
    pub target_state: String,
    /// Scrapes since the target came, or became in transfer.
    #[serde(rename = "ScrapeTimes")]
    pub scrape_times: u64,
    /// Always null from a shard.
    pub shards: Option<Vec<String>>,
}

impl Default for ScrapeStatusWire {
    fn default() -> Self {
        (&ScrapeStatus::default()).into()
    }
}

impl From<&ScrapeStatus> for ScrapeStatusWire {
    fn from(status: &ScrapeStatus) -> Self {
        let (series, total_series) = count_to_wire(status.count);
        ScrapeStatusWire {
            last_error: status.last_error.clone(),
            last_scrape: status.last_scrape,
            last_scrape_duration: status.last_scrape_duration.as_secs_f64(),
            health: status.health.as_str().to_owned(),
            series,
            total_series,
            target_state: status.state.as_str().to_owned(),
            scrape_times: status.scrape_times,
            shards: None,
        }
    }
}

impl From<&ScrapeStatusWire> for ScrapeStatus {
    fn from(wire: &ScrapeStatusWire) -> Self {
        ScrapeStatus {
            health: match wire.health.as_str() {
                "up" => Health::Up,
                "down" => Health::Down,
                _ => Health::Unknown,
            },
            last_error: wire.last_error.clone(),
            last_scrape: wire.last_scrape,
            last_scrape_duration: Duration::try_from_secs_f64(wire.last_scrape_duration).unwrap_or_default(),
            count: count_from_wire(wire.series, wire.total_series),
            state: state_from_wire(&wire.target_state),
            scrape_times: wire.scrape_times,
        }
    }
}

/// Answer of `GET /api/v1/shard/runtimeinfo/`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// The larger of Prometheus' head series and the sum of the targets' series.
    #[serde(rename = "headSeries", default)]
    pub head_series: i64,
    /// Sum of the targets' total series; absent before v0.3.0.
    #[serde(rename = "processSeries", default)]
    pub process_series: i64,
    /// Hash of the configuration in force.
    #[serde(rename = "ConfigHash", default)]
    pub config_hash: String,
    /// Since when the shard has no targets.
    #[serde(rename = "IdleStartAt", default, skip_serializing_if = "Option::is_none")]
    pub idle_start_at: Option<Timestamp>,
    /// What is left to do until every sample of the shard is in the object store, in words. Absent when
    /// nothing is, where there is no object store, and from the original.
    #[serde(rename = "samplesPending", default, skip_serializing_if = "Option::is_none")]
    pub samples_pending: Option<String>,
}

/// Settings that are no part of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraConfig {
    /// While not empty no target is scraped, and this is why.
    #[serde(rename = "stopScrapeReason", default)]
    pub stop_scrape_reason: String,
}

/// Answer of `GET /api/v1/status/extra_config`: a JSON document inside a string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraConfigAnswer {
    /// The document.
    #[serde(default)]
    pub json: String,
}

impl ExtraConfigAnswer {
    /// Wraps the settings.
    pub fn new(config: &ExtraConfig) -> Self {
        // A struct of strings always has a JSON form.
        ExtraConfigAnswer { json: serde_json::to_string(config).unwrap_or_default() }
    }

    /// The settings inside, if they are readable.
    pub fn config(&self) -> Option<ExtraConfig> {
        serde_json::from_str(&self.json).ok()
    }
}

/// Answer of `GET /api/v1/status/config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawConfig {
    /// Text of the configuration file.
    #[serde(default)]
    pub yaml: String,
}

/// Body of `POST /api/v1/status/config/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateConfig {
    /// Text of the configuration file.
    #[serde(rename = "rawContent", default)]
    pub raw_content: String,
}

/// Samples of a job (or a metric): what was scraped and what survived metric relabelling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statistics {
    /// Samples after metric relabelling.
    #[serde(rename = "scrapedTotal")]
    pub scraped_total: f64,
    /// Samples before it.
    pub total: f64,
    /// Per metric name; empty unless asked for.
    #[serde(rename = "metricsTotal", deserialize_with = "null_as_default")]
    pub metrics_total: BTreeMap<String, ValueCount>,
}

/// Samples of one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValueCount {
    /// Before metric relabelling.
    pub total: f64,
    /// After it.
    pub scraped: f64,
}

fn state_from_wire(state: &str) -> TargetState {
    if state == TargetState::InTransfer.as_str() { TargetState::InTransfer } else { TargetState::Normal }
}

fn count_from_wire(series: i64, total: i64) -> SeriesCount {
    SeriesCount { series: u64::try_from(series).unwrap_or(0), total: u64::try_from(total).unwrap_or(0) }
}

fn count_to_wire(count: SeriesCount) -> (i64, i64) {
    (i64::try_from(count.series).unwrap_or(i64::MAX), i64::try_from(count.total).unwrap_or(i64::MAX))
}

fn null_as_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Member names whose case Go ignores when it reads them. Maps keyed by labels or jobs are not among
/// their parents' keys, so only exact members of the types above are renamed.
const MEMBERS: &[&str] = &[
    "Targets",
    "IdleAt",
    "hash",
    "labels",
    "series",
    "totalSeries",
    "TargetState",
    "headSeries",
    "processSeries",
    "ConfigHash",
    "IdleStartAt",
    "stopScrapeReason",
    "rawContent",
    "yaml",
];

/// Reads JSON as Go does: member names of the outer object, and of the targets inside `Targets`,
/// in any case.
pub fn case_insensitive<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(body)?;
    rename_members(&mut value);
    if let Some(jobs) = value.get_mut("Targets").and_then(Value::as_object_mut) {
        for target in jobs.values_mut().filter_map(Value::as_array_mut).flatten() {
            rename_members(target);
        }
    }
    serde_json::from_value(value)
}

fn rename_members(value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    let odd: Vec<String> = object.keys().filter(|k| !MEMBERS.contains(&k.as_str())).cloned().collect();
    for key in odd {
        let canonical = MEMBERS.iter().find(|m| m.eq_ignore_ascii_case(&key));
        if let Some(canonical) = canonical
            && !object.contains_key(*canonical)
            && let Some(member) = object.remove(&key)
        {
            object.insert((*canonical).to_owned(), member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_survive_as_64_bit_numbers() {
        let body = br#"{"Targets":{"j":[{"hash":18446744073709551615,"labels":null,"series":-1,"totalSeries":3,"TargetState":"in_transfer"}]}}"#;
        let update: UpdateTargets = case_insensitive(body).unwrap();
        let target = &update.targets["j"][0];
        assert_eq!(target.target_hash(), TargetHash(u64::MAX));
        assert_eq!(target.count(), SeriesCount { series: 0, total: 3 });
        assert_eq!(target.state(), TargetState::InTransfer);
    }

    #[test]
    fn members_in_any_case_but_job_and_label_names_as_they_are() {
        let body = br#"{"targets":{"SERIES":[{"HASH":1,"Labels":{"HASH":"x"},"Series":5}]},"idleat":"2026-11-22T09:00:00Z"}"#;
        let stored: Stored = case_insensitive(body).unwrap();
        let target = &stored.targets["SERIES"][0];
        assert_eq!((target.hash, target.series), (1, 5));
        assert_eq!(target.labels["HASH"], "x");
        assert!(stored.idle_at.is_some());
    }

    #[test]
    fn null_lists_are_empty() {
        assert_eq!(case_insensitive::<Stored>(br#"{"Targets":null,"IdleAt":null}"#).unwrap(), Stored::default());
        assert_eq!(case_insensitive::<UpdateTargets>(b"{}").unwrap(), UpdateTargets::default());
    }

    #[test]
    fn status_round_trip() {
        let status = ScrapeStatus {
            health: Health::Up,
            last_error: String::new(),
            last_scrape: Some("2026-11-22T09:00:00.123456789Z".parse().unwrap()),
            last_scrape_duration: Duration::from_millis(13),
            count: SeriesCount { series: 5, total: 7 },
            state: TargetState::InTransfer,
            scrape_times: 12,
        };
        let wire = ScrapeStatusWire::from(&status);
        let json = serde_json::to_string(&wire).unwrap();
        assert_eq!(
            json,
            r#"{"lastError":"","lastScrape":"2026-11-22T09:00:00.123456789Z","lastScrapeDuration":0.013,"health":"up","series":5,"totalSeries":7,"TargetState":"in_transfer","ScrapeTimes":12,"shards":null}"#
        );
        assert_eq!(ScrapeStatus::from(&serde_json::from_str::<ScrapeStatusWire>(&json).unwrap()), status);
        let never = serde_json::to_string(&ScrapeStatusWire::default()).unwrap();
        assert!(never.contains(r#""lastScrape":"0001-01-01T00:00:00Z""#), "{never}");
        assert_eq!(serde_json::from_str::<ScrapeStatusWire>(&never).unwrap(), ScrapeStatusWire::default());
    }
}
