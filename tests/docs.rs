//! What the documents say and what the code has are the same.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

fn repository() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Words between `quote`s that begin with `prefix`.
fn quoted(text: &str, quote: char, prefix: &str) -> BTreeSet<String> {
    let words = text.split(quote).skip(1).step_by(2);
    words.filter(|w| w.starts_with(prefix) && !w.contains(char::is_whitespace)).map(str::to_owned).collect()
}

#[test]
fn every_metric_is_documented() {
    let documented = quoted(&read("docs/metrics.md"), '`', "kvass_");
    let mut sources = String::new();
    for file in ["crates/coordinator/src/metrics.rs", "crates/service/src/build_info.rs", "crates/sidecar/src/metrics.rs"] {
        sources.push_str(&read(file));
    }
    let registered = quoted(&sources.replace("\\\"", ""), '"', "kvass_");
    assert!(registered.len() > 30, "{registered:?}");
    // Counters are registered without the suffix that their text form has.
    let name = |documented: &String| {
        let bare = documented.trim_end_matches("_total").to_owned();
        if registered.contains(documented) { documented.clone() } else { bare }
    };
    let documented: BTreeSet<String> = documented.iter().map(name).collect();
    assert_eq!(documented, registered);
}

#[test]
fn every_endpoint_is_documented() {
    let text = read("docs/api.md");
    let (coordinator, sidecar) = text.split_once("## Sidecar").unwrap();
    for (section, paths) in [(coordinator, kvass_coordinator::PATHS), (sidecar, kvass_sidecar::PATHS)] {
        let documented: BTreeSet<String> = quoted(section, '`', "/").into_iter().collect();
        let served: BTreeSet<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(documented, served);
    }
}

/// The documents below `folder`, as paths from the repository's root.
fn documents(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && name != "target" && name != "data" {
                found.extend(documents(&path));
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

/// Links between documents lead somewhere.
#[test]
fn links_of_documents_lead_somewhere() {
    let mut checked = 0;
    for file in documents("") {
        let text = read(&file);
        let dir = repository().join(&file).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if !link.starts_with("http") && !path.is_empty() {
                assert!(dir.join(path).exists(), "{file}: {link}");
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked}");
}
