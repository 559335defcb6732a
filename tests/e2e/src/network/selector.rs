//! Label selectors of Kubernetes.

use serde_json::Value;

use super::{Labels, list, text};

/// Whether a selector means something with these labels; one that is empty means everything.
pub(super) fn selects(selector: &Value, labels: &Labels) -> bool {
    let mut wanted = selector["matchLabels"].as_object().into_iter().flatten();
    wanted.all(|(name, value)| labels.get(name).map(String::as_str) == value.as_str())
        && list(&selector["matchExpressions"]).all(|expression| holds(expression, labels))
}

fn holds(expression: &Value, labels: &Labels) -> bool {
    let value = labels.get(&text(&expression["key"]));
    let listed = || value.is_some_and(|value| list(&expression["values"]).any(|one| one == value.as_str()));
    match expression["operator"].as_str() {
        Some("In") => listed(),
        Some("NotIn") => !listed(),
        Some("Exists") => value.is_some(),
        Some("DoesNotExist") => value.is_none(),
        // The API server takes no other.
        _ => false,
    }
}

/// A selector in words; none if it means everything.
pub(super) fn described(selector: &Value) -> Option<String> {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut words: Vec<String> = labels.map(|(name, value)| format!("{name}={}", text(value))).collect();
    words.extend(list(&selector["matchExpressions"]).map(|expression| {
        let values: Vec<String> = list(&expression["values"]).map(text).collect();
        format!("{} {} {}", text(&expression["key"]), text(&expression["operator"]), values.join("|")).trim_end().to_owned()
    }));
    words.sort();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors() {
        let labels = Labels::from([("app".to_owned(), "a".to_owned()), ("tier".to_owned(), "x".to_owned())]);
        let of = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, want) in [
            (json!({}), true),
            (Value::Null, true),
            (json!({"matchLabels": {"app": "a", "tier": "x"}}), true),
            (json!({"matchLabels": {"app": "a", "tier": "y"}}), false),
            (of("app", "In", json!(["b", "a"])), true),
            (of("none", "In", json!(["b", ""])), false),
            (of("app", "NotIn", json!(["b"])), true),
            (of("none", "NotIn", json!(["b"])), true),
            (of("app", "NotIn", json!(["a"])), false),
            (of("app", "Exists", Value::Null), true),
            (of("app", "DoesNotExist", Value::Null), false),
            (of("none", "DoesNotExist", Value::Null), true),
        ] {
            assert_eq!(selects(&selector, &labels), want, "{selector}");
        }
        let both =
            json!({"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["x", "y"]}]});
        assert_eq!(described(&both).as_deref(), Some("app=a tier In x|y"));
        assert_eq!(described(&json!({})), None);
    }
}
