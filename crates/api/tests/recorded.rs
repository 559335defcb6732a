//! Answers that sidecars of the original really gave, v0.1.4 to the last commit: we read them without loss.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use kvass_api::{Envelope, ExtraConfigAnswer, RuntimeInfo, Statistics, StatusMap};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Reads an answer and writes it again.
fn again<T: DeserializeOwned + Serialize>(body: &Value) -> Value {
    let read: Envelope<T> = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(read.status, "success");
    serde_json::to_value(read).unwrap()
}

/// Whether everything in `recorded` is in `ours`; numbers compare by value, times as moments.
fn contains(ours: &Value, recorded: &Value) -> bool {
    match (ours, recorded) {
        (Value::Object(ours), Value::Object(recorded)) => {
            recorded.iter().all(|(name, value)| ours.get(name).is_some_and(|ours| contains(ours, value)))
        }
        (Value::Array(ours), Value::Array(recorded)) => {
            ours.len() == recorded.len() && ours.iter().zip(recorded).all(|(a, b)| contains(a, b))
        }
        (Value::Number(ours), Value::Number(recorded)) => ours.as_f64() == recorded.as_f64(),
        (Value::String(ours), Value::String(recorded)) => {
            let moment = |text: &str| text.parse::<jiff::Timestamp>().ok();
            ours == recorded || moment(ours).is_some_and(|ours| moment(recorded) == Some(ours))
        }
        _ => ours == recorded,
    }
}

#[test]
fn answers_of_the_original_survive_reading_and_writing() {
    let mut kinds = BTreeMap::<String, usize>::new();
    for line in include_str!("data/sidecar-answers.jsonl").lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let (kind, body) = (record["kind"].as_str().unwrap(), &record["body"]);
        let ours = match kind {
            "target_status" => again::<StatusMap>(body),
            "runtime_info" => again::<RuntimeInfo>(body),
            "extra_config" => again::<ExtraConfigAnswer>(body),
            _ => again::<BTreeMap<String, Statistics>>(body),
        };
        assert!(contains(&ours, body), "{}:\n{ours:#}\nis less than\n{body:#}", record["from"]);
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}
