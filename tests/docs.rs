//! What the documents say and what the code has are the same.

#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

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

/// Discovery sections: the table has those with code, the text below it those that need a delegate.
#[test]
fn every_discovery_section_is_documented_once() {
    let text = read("docs/discovery.md");
    let (table, rest) = text.split_once("All others").unwrap();
    let list = rest.split("\n\n").next().unwrap();
    let sections = |text: &str, quote| -> BTreeSet<String> {
        quoted(text, quote, "").into_iter().filter(|word| word.ends_with("_sd_configs")).collect()
    };
    let known = sections(&read("crates/config/src/schema/service_discovery.rs"), '"');
    let without_code = sections(&read("crates/config/src/decode/without_code.rs"), '"');
    assert!(known.len() > 30, "{known:?}");
    assert_eq!(sections(list, '`'), without_code);
    assert_eq!(sections(table, '`'), known.difference(&without_code).cloned().collect());
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

/// What a link has after `#`, for every heading of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |heading: &str| heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    headings.map(|heading| kept(heading).to_lowercase().replace(' ', "-")).collect()
}

/// Links between documents lead somewhere.
#[test]
fn links_of_documents_lead_somewhere() {
    let mut checked = 0;
    for file in documents("") {
        let text = read(&file);
        let dir = repository().join(&file).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { repository().join(&file) } else { dir.join(path) };
            assert!(target.exists(), "{file}: {link}");
            if !anchor.is_empty() {
                let headings = anchors(&fs::read_to_string(&target).unwrap());
                assert!(headings.contains(anchor), "{file}: {link} is none of {headings:?}");
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

/// Rust sources below a folder, as one text.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: std::path::PathBuf| match path.extension() {
        Some(extension) if extension == "rs" => fs::read_to_string(path).unwrap(),
        None if path.is_dir() => sources(&path),
        _ => String::new(),
    };
    entries.map(text).collect()
}

/// Lines of the log that are explained are those that are written.
#[test]
fn explained_log_lines_are_in_the_code() {
    let text = read("docs/operations.md");
    let section = text.split("## What the log says").nth(1).unwrap().split("\n## ").next().unwrap();
    let first_columns = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let lines: Vec<&str> = first_columns.flat_map(|column| column.trim_end_matches('`').split("`, `")).collect();
    assert!(lines.len() > 10, "{lines:?}");
    for (half, crates) in [("Of the coordinator", ["coordinator", "service"]), ("Of the sidecar", ["sidecar", "service"])] {
        let code: String = crates.map(|name| sources(&repository().join("crates").join(name).join("src"))).concat();
        let half = section.split(half).nth(1).unwrap().split("Of the").next().unwrap();
        for line in lines.iter().filter(|line| half.contains(&format!("`{line}`"))) {
            assert!(code.contains(&format!("\"{line}\"")), "{line}");
        }
    }
}

const ALERTS: &str = "deploy/production/components/alerts/kvass.yaml";

/// Alerts ask for metrics that there are, and whoever is woken by one finds it in the documents.
#[test]
fn alerts_are_of_known_metrics_and_documented() {
    let rules = read(ALERTS);
    let documented = quoted(&read("docs/metrics.md"), '`', "kvass_");
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let asked: BTreeSet<&str> = rules.split(|c| !is_of_names(c)).filter(|word| word.starts_with("kvass_")).collect();
    assert!(asked.len() >= 10, "{asked:?}");
    for metric in asked {
        assert!(documented.contains(metric), "{metric} is not in docs/metrics.md");
    }
    let named = |line: &str| line.trim().strip_prefix("- alert: ").map(str::to_owned);
    let alerts: BTreeSet<String> = rules.lines().filter_map(named).collect();
    assert_eq!(quoted(&read("docs/operations.md"), '`', "Kvass"), alerts);
}

/// Every alert fires when it should; tests/alerts.yaml says when that is.
#[test]
fn alerts_fire() {
    let cases = read("tests/alerts.yaml");
    for alert in read(ALERTS).lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(cases.contains(&format!("alertname: {alert}\n")), "{alert} is not in tests/alerts.yaml");
    }
    let promtool = support::prometheus_binary().with_file_name("promtool");
    let output = Command::new(promtool).args(["test", "rules", "tests/alerts.yaml"]).current_dir(repository()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
