//! The body of `POST /api/v1/shard/targets/`, in every form a coordinator of any version sends.

use kvass_api::{TargetList, UpdateTargets, case_insensitive};
use serde::de::Error;
use serde_json::{Value, json};

/// Reads a target list: `{"Targets":{job:[target]}}`, or, as v0.0.1 and v0.0.2 sent it (and kept it in
/// their store), the inner object alone. A `null` list is an empty one.
pub(crate) fn parse_target_list(body: &[u8]) -> Result<TargetList, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(body)?;
    if is_bare(&value) {
        value = json!({ "Targets": value });
    }
    // Decoders take a list for an object, member by member; no coordinator writes that.
    let object = value.as_object_mut().ok_or_else(|| serde_json::Error::custom("expected an object"))?;
    if let Some((_, Value::Object(jobs))) = object.iter_mut().find(|(key, _)| is_targets(key)) {
        jobs.values_mut().filter(|targets| targets.is_null()).for_each(|targets| *targets = json!([]));
        if jobs.values().filter_map(Value::as_array).flatten().any(|target| !target.is_object()) {
            return Err(serde_json::Error::custom("expected an object for each target"));
        }
    }
    Ok(case_insensitive::<UpdateTargets>(value.to_string().as_bytes())?.targets)
}

fn is_bare(value: &Value) -> bool {
    let Some(object) = value.as_object() else { return false };
    !object.is_empty() && !object.keys().any(|key| is_targets(key)) && object.values().all(Value::is_array)
}

fn is_targets(key: &str) -> bool {
    key.eq_ignore_ascii_case("Targets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        let target = r#"{"hash":5,"labels":{"__address__":"h:1"},"series":3,"TargetState":""}"#;
        for (body, expected) in [
            ("{}".to_owned(), Some(vec![])),
            (r#"{"Targets":{}}"#.to_owned(), Some(vec![])),
            (r#"{"Targets":null}"#.to_owned(), Some(vec![])),
            (format!(r#"{{"Targets":{{"j":[{target}]}}}}"#), Some(vec![("j", 1)])),
            (format!(r#"{{"targets":{{"j":[{target},{target}],"k":null}}}}"#), Some(vec![("j", 2), ("k", 0)])),
            (format!(r#"{{"j":[{target}],"k":[]}}"#), Some(vec![("j", 1), ("k", 0)])),
            (r#"{"other":1}"#.to_owned(), Some(vec![])),
            ("null".to_owned(), None),
            ("[]".to_owned(), None),
            ("".to_owned(), None),
            (r#"{"Targets":"#.to_owned(), None),
            (r#"{"Targets":[]}"#.to_owned(), None),
            (r#"{"Targets":{"j":[null]}}"#.to_owned(), None),
            (r#"{"Targets":{"j":[[5]]}}"#.to_owned(), None),
            (r#"{"Targets":{"j":[{"hash":"5"}]}}"#.to_owned(), None),
            (r#"{"Targets":{"j":[{"hash":-5}]}}"#.to_owned(), None),
        ] {
            let parsed = parse_target_list(body.as_bytes());
            let counts =
                parsed.ok().map(|list| list.iter().map(|(job, targets)| (job.clone(), targets.len())).collect::<Vec<_>>());
            let expected = expected.map(|jobs| jobs.into_iter().map(|(job, n)| (job.to_owned(), n)).collect::<Vec<_>>());
            assert_eq!(counts, expected, "{body}");
        }
    }
}
