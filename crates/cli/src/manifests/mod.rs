//! The manifests and examples of this repository start kvass with flags that exist and make sense.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_yaml::Value;

use crate::{
    flags::{Parsed, Subcommands, parse},
    options,
};

mod chart;
mod production;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn documents(file: &Path) -> Vec<Value> {
    use serde::Deserialize;
    let text = fs::read_to_string(file).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
    documents.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// YAML files of a folder of deploy/ and those below it, without the chart, whose files are templates.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && !entry.ends_with("deploy/helm") {
            files.extend(self::files(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "yaml") {
            files.push(entry);
        }
    }
    files.sort();
    files
}

/// Objects of a folder below deploy/, each with its file: `deploy/demo`.
fn objects(folder: &str) -> Vec<(String, Value)> {
    let mut objects = Vec::new();
    for file in files(&repository().join(folder)) {
        let name = file.strip_prefix(repository()).unwrap().display().to_string();
        objects.extend(documents(&file).into_iter().map(|object| (name.clone(), object)));
    }
    // Without kustomizations, which are no objects of Kubernetes.
    objects.retain(|(_, object)| object["metadata"]["name"].is_string());
    objects
}

fn list(value: &Value) -> &[Value] {
    value.as_sequence().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Containers of a workload, those that start first included.
fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    let pod = &object["spec"]["template"]["spec"];
    list(&pod["initContainers"]).iter().chain(list(&pod["containers"]))
}

fn args(container: &Value) -> Vec<String> {
    list(&container["args"]).iter().map(|arg| arg.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn check(place: &str, args: Vec<String>) {
    let (command, mut warnings) = match parse(args) {
        Ok(Parsed::Run(command, warnings)) => (command, warnings),
        other => panic!("{place}: {other:?}"),
    };
    match command {
        Subcommands::Coordinator(flags) => {
            assert!(flags.ignored.words.is_empty(), "{place}: {:?}", flags.ignored.words);
            warnings.extend(options::coordinator(*flags, &|_| None).unwrap().warnings);
        }
        Subcommands::Sidecar(flags) => {
            assert!(flags.ignored.words.is_empty(), "{place}: {:?}", flags.ignored.words);
            warnings.extend(options::sidecar(*flags, &|_| None).unwrap().warnings);
        }
        _ => {}
    }
    assert_eq!(warnings, Vec::<String>::new(), "{place}");
}

#[test]
fn manifests_start_this_version_with_flags_that_exist() {
    let mut ours = 0;
    for (file, object) in objects("deploy") {
        for container in containers(&object).filter(|container| text(&container["image"]).starts_with("kvass:")) {
            assert_eq!(text(&container["image"]), concat!("kvass:", env!("CARGO_PKG_VERSION")), "{file}");
            check(&file, args(container));
            ours += 1;
        }
    }
    assert!(ours >= 5, "{ours}");
}

#[test]
fn all_manifests_take_the_same_images_of_others() {
    let mut images: Vec<String> = Vec::new();
    for (_, object) in objects("deploy") {
        images.extend(containers(&object).map(|container| text(&container["image"]).to_owned()));
    }
    images.sort();
    images.dedup();
    let of = |name: &str| images.iter().filter(|image| image.contains(name)).count();
    assert_eq!((of("quay.io/prometheus/prometheus:"), of("quay.io/thanos/thanos:")), (1, 1), "{images:?}");
}

#[test]
fn the_example_starts_with_flags_that_exist() {
    let script = fs::read_to_string(repository().join("examples/static/run.sh")).unwrap();
    let joined = script.replace("\\\n", " ");
    let lines: Vec<&str> = joined
        .lines()
        .filter_map(|line| line.split_once("\"$kvass\" "))
        .map(|(_, args)| args)
        .filter(|args| args.contains("--"))
        .collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        // What the shell would make of its variables does not matter, only numbers have to be numbers.
        let args = line.replace("$((shard + 1))", "1").replace("$shard", "0").replace("$port", "1").replace('"', "");
        check(line, args.split_whitespace().map(str::to_owned).collect());
    }
}

#[test]
fn objects_have_the_names_that_others_refer_to() {
    let names: Vec<String> = objects("deploy/demo")
        .iter()
        .map(|(_, object)| format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"])))
        .collect();
    for name in [
        "ServiceAccount/prometheus",
        "ConfigMap/prometheus-config",
        "ConfigMap/prometheus-rules",
        "Deployment/metrics",
        "Service/kvass-coordinator",
        "Deployment/kvass-coordinator",
        "Service/prometheus",
        "StatefulSet/prometheus-rep-0",
        "Service/thanos-query",
        "Service/thanos-rule",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} is not in {names:?}");
    }
}
