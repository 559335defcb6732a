//! deploy/helm/kvass, as far as it can be read without helm: values and their schema say the same, and flags exist.

use std::fs;

use serde_yaml::Value;

use super::{repository, text};

fn read(file: &str) -> String {
    fs::read_to_string(repository().join("deploy/helm/kvass").join(file)).unwrap()
}

fn yaml(file: &str) -> Value {
    serde_yaml::from_str(&read(file)).unwrap()
}

/// Follows `$ref`.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(path) => &root["$defs"][path.rsplit('/').next().unwrap()],
        None => schema,
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_mapping(),
        "array" => value.is_sequence(),
        "string" => value.is_string(),
        "boolean" => value.is_bool(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        _ => false,
    }
}

/// Values against their schema, both ways: every value is described, and every description has a value.
fn compare(root: &Value, schema: &Value, value: &Value, path: &str) {
    let schema = resolved(root, schema);
    let types: Vec<&str> =
        schema["type"].as_sequence().map_or_else(|| vec![text(&schema["type"])], |all| all.iter().map(text).collect());
    match schema["enum"].as_sequence() {
        Some(words) => assert!(words.contains(value), "{path}: {value:?} is not one of {words:?}"),
        None => assert!(types.iter().any(|name| is_of_type(value, name)), "{path}: {value:?} is no {types:?}"),
    }
    let Some(properties) = schema["properties"].as_mapping() else { return };
    assert_eq!(schema["additionalProperties"].as_bool(), Some(false), "{path} takes any key");
    let values = value.as_mapping().unwrap();
    for key in values.keys() {
        assert!(properties.contains_key(key), "{path}.{} is not in the schema", text(key));
    }
    for (key, property) in properties {
        let path = format!("{path}.{}", text(key));
        // Resources may lack requests or limits, and helm sets `global` itself.
        if !path.contains("resources.") && path != "values.global" {
            compare(root, property, value.get(key).unwrap_or_else(|| panic!("{path} is not in values.yaml")), &path);
        }
    }
}

#[test]
fn values_and_their_schema_say_the_same() {
    let schema = yaml("values.schema.json");
    compare(&schema, &schema, &yaml("values.yaml"), "values");
}

#[test]
fn every_section_of_the_values_says_what_it_is() {
    let values = read("values.yaml");
    let lines: Vec<&str> = values.lines().collect();
    for pair in lines.windows(2) {
        if pair[1].starts_with(|first: char| first.is_ascii_lowercase()) {
            assert!(pair[0].starts_with('#'), "{}", pair[1]);
        }
    }
}

#[test]
fn the_chart_is_of_this_version() {
    let chart = yaml("Chart.yaml");
    assert_eq!((text(&chart["version"]), text(&chart["appVersion"])), (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_VERSION")));
}

#[test]
fn flags_of_its_kvass_containers_exist() {
    let reference = fs::read_to_string(repository().join("docs/flags.md")).unwrap();
    let (coordinator, rest) = reference.split_once("## kvass sidecar").unwrap();
    let sidecar = rest.split("\n## ").next().unwrap();
    let mut found = 0;
    for (file, command, flags) in
        [("templates/coordinator.yaml", "- coordinator", coordinator), ("templates/shards.yaml", "- sidecar", sidecar)]
    {
        let template = read(file);
        let args = template.lines().map(str::trim).skip_while(|line| *line != command).take_while(|line| *line != "env:");
        for flag in args.filter_map(|line| line.strip_prefix("- --")) {
            let name = flag.split('=').next().unwrap();
            assert!(flags.contains(&format!("`--{name}`")), "{file}: --{name}");
            found += 1;
        }
    }
    assert!(found > 15, "{found}");
}

#[test]
fn it_never_sets_the_number_of_shards() {
    assert!(!read("templates/shards.yaml").lines().any(|line| line.trim_start().starts_with("replicas:")));
}
