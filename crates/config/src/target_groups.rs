use std::path::Path;

use kvass_model::{PrometheusLine, TargetGroup};

use crate::{
    ConfigError,
    cursor::Cursor,
    decode::static_group,
    schema::{self, Rules, TARGET_GROUPS, UnknownKeys},
    yaml,
};

/// Reads the target groups of a file that service discovery reads, JSON (which YAML contains) or YAML.
///
/// As strict as Prometheus: unknown keys, null groups and label names that `line` does not know are errors. The groups'
/// sources are their positions in the list.
pub fn parse_target_groups(text: &str, file: &Path, line: PrometheusLine) -> Result<Vec<TargetGroup>, ConfigError> {
    let document = yaml::parse(text, file)?;
    let root = Cursor::root(file, &document.root);
    schema::check(&TARGET_GROUPS, root, Rules { line, unknown_keys: UnknownKeys::Refuse(Vec::new()) })?;
    root.items().enumerate().map(|(index, group)| static_group(group, index, false)).collect()
}

#[cfg(test)]
mod tests {
    use kvass_model::Labels;

    use super::*;

    #[test]
    fn yaml_and_json() {
        let yaml = "- targets: [\"a:1\", b:2]\n  labels: {env: 1.10, __meta_x: y}\n- targets: []\n";
        let json = r#"[{"targets": ["a:1", "b:2"], "labels": {"env": "1.10", "__meta_x": "y"}}, {"targets": []}]"#;
        for text in [yaml, json] {
            let groups = parse_target_groups(text, Path::new("sd.yml"), PrometheusLine::V3).unwrap();
            assert_eq!(groups.len(), 2);
            assert_eq!(groups[0].targets, [Labels::from([("__address__", "a:1")]), Labels::from([("__address__", "b:2")])]);
            assert_eq!(groups[0].labels, Labels::from([("__meta_x", "y"), ("env", "1.10")]));
            assert_eq!((groups[1].source.as_str(), groups[1].targets.len()), ("1", 0));
        }
        assert_eq!(parse_target_groups("", Path::new("sd.yml"), PrometheusLine::V3).unwrap(), []);
    }

    #[test]
    fn strictness() {
        for (text, expected) in [
            ("- targets: [a]\n  lables: {}\n", "sd.yml:2:3: [0].lables: unknown key"),
            ("- null\n", "is null, expected a mapping"),
            ("targets: [a]\n", "expected a list, found a mapping"),
            ("[", "not valid YAML"),
        ] {
            let error = parse_target_groups(text, Path::new("sd.yml"), PrometheusLine::V3).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn names_that_only_prometheus_3_knows() {
        let parse = |line| parse_target_groups("- targets: [a]\n  labels: {a-b: x}\n", Path::new("sd.yml"), line);
        assert_eq!(parse(PrometheusLine::V3).unwrap()[0].labels, Labels::from([("a-b", "x")]));
        assert!(parse(PrometheusLine::V2).unwrap_err().to_string().contains("a-b"));
    }
}
