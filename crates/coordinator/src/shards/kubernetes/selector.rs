use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// A label selector in the text form the API server takes.
pub(super) fn label_selector(selector: &LabelSelector) -> Result<String, String> {
    let mut parts: Vec<String> = selector.match_labels.iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    for expression in selector.match_expressions.iter().flatten() {
        let (key, values) = (&expression.key, expression.values.clone().unwrap_or_default().join(","));
        parts.push(match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            other => return Err(format!("operator {other:?}: expected In, NotIn, Exists or DoesNotExist")),
        });
    }
    Ok(parts.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors() {
        let selector: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"a": "b"},
            "matchExpressions": [
                {"key": "x", "operator": "In", "values": ["1", "2"]},
                {"key": "y", "operator": "DoesNotExist"},
                {"key": "z", "operator": "Exists"}
            ]
        }))
        .unwrap();
        assert_eq!(label_selector(&selector).unwrap(), "a=b,x in (1,2),!y,z");
    }
}
