//! Target groups written in JSON, read as Go reads them: members in any case, of repeated ones the last, null for nothing.

use kvass_model::{ADDRESS_LABEL, Labels, PrometheusLine, TargetGroup, is_legacy_label_name};
use serde_json::{Map, Value};

/// What is wrong with a document of target groups.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupsError {
    #[error("not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("{place}: {found}, expected {expected}")]
    Shape { place: String, found: String, expected: &'static str },
}

/// The groups, each with its position as the source. `line` says which label names are legal.
pub(crate) fn decode(text: &[u8], line: PrometheusLine) -> Result<Vec<TargetGroup>, GroupsError> {
    match serde_json::from_slice(text)? {
        Value::Null => Ok(Vec::new()),
        Value::Array(groups) => groups.iter().enumerate().map(|(index, value)| group(index, value, line)).collect(),
        other => Err(shape("document", &other, "a list of target groups")),
    }
}

fn group(index: usize, value: &Value, line: PrometheusLine) -> Result<TargetGroup, GroupsError> {
    let place = format!("[{index}]");
    let Value::Object(members) = value else { return Err(shape(&place, value, "an object with targets and labels")) };
    let mut group = TargetGroup { source: index.to_string(), ..TargetGroup::default() };
    for (name, value) in members {
        let place = format!("{place}.{name}");
        match value {
            _ if !["targets", "labels"].iter().any(|known| name.eq_ignore_ascii_case(known)) => {
                return Err(shape(&place, value, "no members but targets and labels"));
            }
            Value::Null => {}
            Value::Array(targets) if name.eq_ignore_ascii_case("targets") => {
                let address = |(index, target)| Ok(Labels::from([(ADDRESS_LABEL, text(&format!("{place}[{index}]"), target)?)]));
                group.targets = targets.iter().enumerate().map(address).collect::<Result<_, GroupsError>>()?;
            }
            Value::Object(labels) if name.eq_ignore_ascii_case("labels") => group.labels = label_set(&place, labels, line)?,
            other => return Err(shape(&place, other, "a list of targets, or an object of labels")),
        }
    }
    Ok(group)
}

fn label_set(place: &str, labels: &Map<String, Value>, line: PrometheusLine) -> Result<Labels, GroupsError> {
    let pair = |(name, value): (&String, &Value)| {
        match line {
            _ if name.is_empty() => return Err(shape(place, &Value::from(""), "label names that are not empty")),
            PrometheusLine::V2 if !is_legacy_label_name(name) => {
                let expected = "label names of letters, digits and underscores, no digit first, as Prometheus 2 knows no others";
                return Err(shape(place, &Value::from(name.as_str()), expected));
            }
            _ => {}
        }
        Ok((name.clone(), text(&format!("{place}.{name}"), value)?))
    };
    labels.iter().map(pair).collect()
}

fn text(place: &str, value: &Value) -> Result<String, GroupsError> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        other => Err(shape(place, other, "a text")),
    }
}

fn shape(place: &str, found: &Value, expected: &'static str) -> GroupsError {
    let mut found = found.to_string();
    if found.len() > 60 {
        let end = (0..=57).rev().find(|end| found.is_char_boundary(*end)).unwrap_or_default();
        found.truncate(end);
        found.push_str("...");
    }
    GroupsError::Shape { place: place.to_owned(), found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_takes() {
        let groups = decode(
            br#"[{"targets": ["a:1", null], "labels": {"env": "x", "none": null}}, {"Targets": null}, {"LABELS": {"a": "1", "a": "2"}}]"#,
            PrometheusLine::V2,
        );
        let groups = groups.unwrap();
        assert_eq!(groups[0].targets, [Labels::from([("__address__", "a:1")]), Labels::default()]);
        assert_eq!(groups[0].labels, Labels::from([("env", "x")]));
        assert_eq!((groups[1].source.as_str(), groups[1].targets.len()), ("1", 0));
        assert_eq!(groups[2].labels, Labels::from([("a", "2")]));
        assert_eq!(decode(b"null", PrometheusLine::V3).unwrap(), []);
        let dash = br#"[{"labels": {"a-b": "x"}}]"#;
        assert_eq!(decode(dash, PrometheusLine::V3).unwrap()[0].labels, Labels::from([("a-b", "x")]));
        assert!(
            decode(dash, PrometheusLine::V2).unwrap_err().to_string().starts_with("[0].labels: \"a-b\", expected label names")
        );
    }

    #[test]
    fn what_go_refuses() {
        for (text, expected) in [
            ("", "not JSON: EOF while parsing a value at line 1 column 0"),
            ("[] x", "not JSON: trailing characters at line 1 column 4"),
            ("{}", "document: {}, expected a list of target groups"),
            ("[null]", "[0]: null, expected an object with targets and labels"),
            (r#"[{"targets":["a"],"extra":1}]"#, "[0].extra: 1, expected no members but targets and labels"),
            (r#"[{"targets":[1]}]"#, "[0].targets[0]: 1, expected a text"),
            (r#"[{"targets":"a"}]"#, r#"[0].targets: "a", expected a list of targets, or an object of labels"#),
            (r#"[{"labels":{"a":1}}]"#, "[0].labels.a: 1, expected a text"),
            (r#"[{"labels":{"":"x"}}]"#, r#"[0].labels: "", expected label names that are not empty"#),
        ] {
            assert_eq!(decode(text.as_bytes(), PrometheusLine::V3).unwrap_err().to_string(), expected, "{text}");
        }
        let long = format!(r#"[{{"targets":["{}"]}}, 1]"#, "é".repeat(100));
        assert_eq!(
            decode(long.as_bytes(), PrometheusLine::V3).unwrap_err().to_string(),
            "[1]: 1, expected an object with targets and labels"
        );
        let long = format!(r#"["{}"]"#, "é".repeat(100));
        assert!(decode(long.as_bytes(), PrometheusLine::V3).unwrap_err().to_string().contains("é..., expected"));
    }
}
