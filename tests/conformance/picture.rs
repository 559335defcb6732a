//! What `/api/v1/targets` shows, in a form that can be compared: without what differs from scrape to scrape, sorted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) type Labels = BTreeMap<String, String>;

/// A targets API's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Picture {
    pub(crate) active_targets: Vec<Active>,
    pub(crate) dropped_targets: Vec<Dropped>,
    /// Absent from the answers of Prometheus before 2.47.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dropped_target_counts: Option<BTreeMap<String, usize>>,
    /// Identities, which Prometheus does not show.
    #[serde(skip)]
    pub(crate) hashes: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Active {
    pub(crate) scrape_pool: String,
    pub(crate) scrape_url: String,
    pub(crate) discovered_labels: Labels,
    pub(crate) labels: Labels,
    pub(crate) scrape_interval: String,
    pub(crate) scrape_timeout: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dropped {
    /// Absent from the answers of Prometheus before 3.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scrape_pool: Option<String>,
    pub(crate) discovered_labels: Labels,
}

impl Picture {
    /// Reads the answer of a server, ours or Prometheus'.
    pub(crate) fn of(answer: &Value) -> Result<Picture, String> {
        let data = &answer["data"];
        let mut picture: Picture = serde_json::from_value(data.clone()).map_err(|error| format!("{error}: {answer}"))?;
        let hash = |target: &Value| target["hash"].as_str().map(str::to_owned);
        picture.hashes = data["activeTargets"].as_array().into_iter().flatten().filter_map(hash).collect();
        picture.sort();
        Ok(picture)
    }

    /// Puts the lists in order.
    pub(crate) fn sort(&mut self) {
        self.active_targets.sort();
        self.dropped_targets.sort();
    }

    /// With `change` made to every text: addresses and folders of a run are replaced by words.
    pub(crate) fn map_text(mut self, change: impl Fn(&str) -> String) -> Picture {
        let labels = |labels: &mut Labels| labels.values_mut().for_each(|value| *value = change(value));
        for target in &mut self.active_targets {
            target.scrape_url = change(&target.scrape_url);
            labels(&mut target.discovered_labels);
            labels(&mut target.labels);
        }
        self.dropped_targets.iter_mut().for_each(|target| labels(&mut target.discovered_labels));
        self.sort();
        self
    }

    /// How many targets there are, dropped ones included.
    pub(crate) fn len(&self) -> usize {
        self.active_targets.len() + self.dropped_targets.len()
    }
}

/// One line for everything that only one of two pictures has, as often as it has it.
pub(crate) fn differences(ours: &Picture, theirs: &Picture) -> Vec<String> {
    let mut lines = Vec::new();
    let (ours_only, theirs_only) = beyond(&ours.active_targets, &theirs.active_targets);
    lines.extend(ours_only.iter().map(|target| format!("only kvass: active {}", line(target))));
    lines.extend(theirs_only.iter().map(|target| format!("only Prometheus: active {}", line(target))));
    let (ours_only, theirs_only) = beyond(&ours.dropped_targets, &theirs.dropped_targets);
    lines.extend(ours_only.iter().map(|target| format!("only kvass: dropped {}", line(target))));
    lines.extend(theirs_only.iter().map(|target| format!("only Prometheus: dropped {}", line(target))));
    if ours.dropped_target_counts != theirs.dropped_target_counts {
        let counts = |picture: &Picture| line(&picture.dropped_target_counts);
        lines.push(format!("dropped: kvass counts {}, Prometheus {}", counts(ours), counts(theirs)));
    }
    lines
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// What two sorted lists have beyond each other.
fn beyond<'a, T: Ord>(a: &'a [T], b: &'a [T]) -> (Vec<&'a T>, Vec<&'a T>) {
    let (mut only_a, mut only_b) = (Vec::new(), Vec::new());
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x == y => {
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if x < y => only_a.extend(a.next()),
            (Some(_), None) => only_a.extend(a.next()),
            (_, Some(_)) => only_b.extend(b.next()),
            (None, None) => return (only_a, only_b),
        }
    }
}

#[test]
fn what_differs_is_told_once_for_each() {
    let answer = |addresses: &[&str]| {
        let target = |a: &&str| {
            serde_json::json!({"scrapePool": "j", "scrapeUrl": a, "discoveredLabels": {"a": a}, "labels": {}, "scrapeInterval": "1m",
                "scrapeTimeout": "10s", "hash": a})
        };
        let targets: Vec<Value> = addresses.iter().map(target).collect();
        Picture::of(&serde_json::json!({"data": {"activeTargets": targets, "droppedTargets": []}})).unwrap()
    };
    assert_eq!(differences(&answer(&["a", "b"]), &answer(&["b", "a"])), Vec::<String>::new());
    let lines = differences(&answer(&["a", "b", "b"]), &answer(&["b", "c"]));
    let starts: Vec<&str> = lines.iter().map(|line| line.split(" active").next().unwrap()).collect();
    assert_eq!(starts, ["only kvass:", "only kvass:", "only Prometheus:"], "{lines:#?}");
    assert_eq!(answer(&["a", "b"]).hashes.len(), 2);
}
