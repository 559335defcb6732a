//! The manifests and examples of this repository start kvass with flags that exist and make sense.

use std::{fs, path::Path};

use serde_yaml::Value;

use crate::{
    flags::{Parsed, Subcommands, parse},
    options,
};

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn documents(file: &Path) -> Vec<Value> {
    use serde::Deserialize;
    let text = fs::read_to_string(file).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
    documents.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn manifests() -> Vec<(String, Vec<Value>)> {
    let mut files: Vec<_> = fs::read_dir(repository().join("deploy/demo")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files.iter().map(|file| (file.file_name().unwrap().to_string_lossy().into_owned(), documents(file))).collect()
}

/// Image and arguments of every container, by manifest.
fn containers() -> Vec<(String, String, Vec<String>)> {
    let mut out = Vec::new();
    for (file, documents) in manifests() {
        for document in documents {
            let containers = document["spec"]["template"]["spec"]["containers"].as_sequence().cloned().unwrap_or_default();
            for container in containers {
                let args = container["args"].as_sequence().cloned().unwrap_or_default();
                let args = args.iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
                out.push((file.clone(), container["image"].as_str().unwrap().to_owned(), args));
            }
        }
    }
    out
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
    let ours: Vec<_> = containers().into_iter().filter(|(_, image, _)| image.starts_with("kvass:")).collect();
    assert_eq!(ours.len(), 3);
    for (file, image, args) in ours {
        assert_eq!(image, concat!("kvass:", env!("CARGO_PKG_VERSION")), "{file}");
        check(&file, args);
    }
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
    let mut names: Vec<String> = Vec::new();
    for (_, documents) in manifests() {
        for document in documents {
            names.push(format!("{}/{}", document["kind"].as_str().unwrap(), document["metadata"]["name"].as_str().unwrap()));
        }
    }
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
