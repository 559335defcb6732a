//! `kvass check` as a shell sees it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests end that way")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Exit code, standard output, standard error; the folder's name is taken out.
fn kvass(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kvass")).args(args).current_dir(dir).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&format!("{}/", dir.display()), "");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    for (name, text) in files {
        fs::write(path.join(name), text).unwrap();
        fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    (dir, path)
}

#[test]
fn good_files_are_described() {
    let text = "\
global: {external_labels: {cluster: c}}
rule_files: [rules/*.yml]
scrape_configs:
- job_name: a
  target_limit: 1
  basic_auth: {username: u, password: hunter2}
  static_configs: [{targets: [x, y]}]
- job_name: b
  params: {api_key: [hunter2]}
  uyuni_sd_configs: [{server: 'http://u:hunter2@h', username: u, password: hunter2}]
";
    let (_dir, path) = folder(&[("p.yml", text)]);
    let (code, notes, errors) = kvass(&path, &["check", "config", "p.yml"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for expected in [
        "p.yml: good by the rules of Prometheus 2.x\n",
        "  each shard gets as written: global, rule_files\n",
        "  job a: every 1m; kept from shards: target_limit, basic_auth, static_configs\n",
        "  advice: p.yml:10:21: scrape_configs[1].uyuni_sd_configs: kvass has no code for this discovery: without --discovery.prometheus-url job b gets no targets of it\n",
        "  advice: job a: has 2 static targets and a target_limit of 1: none of them is scraped\n",
        "  advice: p.yml:6:39: scrape_configs[0].basic_auth.password: a secret in the file: name a file",
        "  advice: p.yml:9:22: scrape_configs[1].params.api_key[0]: looks like a secret",
        "  advice: p.yml:10:31: scrape_configs[1].uyuni_sd_configs[0].server: a password in a URL",
        "  advice: rule_files, alerting: on each shard rules see only its own targets",
    ] {
        assert!(notes.contains(expected), "{expected} is not in\n{notes}");
    }
    assert!(!notes.contains("hunter2") && !notes.contains("every user"), "{notes}");
    fs::set_permissions(path.join("p.yml"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(kvass(&path, &["check", "config", "p.yml"]).1.contains("every user of this machine may read the file"));
}

#[test]
fn what_jobs_find_where_they_are_scraped_from_is_named() {
    let text = "\
remote_write: [{url: 'http://h', authorization: {credentials_file: theirs}}]
scrape_configs:
- job_name: a
  proxy_from_environment: true
  tls_config: {ca_file: ca.pem}
  authorization: {credentials_file: token}
";
    let (_dir, path) = folder(&[("p.yml", text)]);
    let (_, notes, _) = kvass(&path, &["check", "config", "--syntax-only", "p.yml"]);
    let named: Vec<&str> =
        notes.lines().filter(|note| note.contains("coordinator and sidecar") && note.contains("advice")).collect();
    assert_eq!(
        named,
        [
            "  advice: p.yml:5:25: scrape_configs[0].tls_config.ca_file: coordinator and sidecar read the files that jobs name: both need them, under the same paths",
            "  advice: job a: proxy_from_environment: the environment of coordinator and sidecar counts",
        ]
    );
}

#[test]
fn what_is_refused_is_named_with_its_place() {
    let (_dir, path) = folder(&[
        ("typo.yml", "global:\n  scrape_intervall: 5s\nkvass: {}\n"),
        ("static.yml", "scrape_configs:\n- job_name: a\n  static_configs: [{targets: [ok, '']}]\n"),
        ("good.yml", "{}\n"),
    ]);
    let (code, notes, errors) = kvass(&path, &["check", "config", "typo.yml", "static.yml", "good.yml", "gone.yml"]);
    assert_eq!(code, Some(1));
    let errors: Vec<&str> = errors.lines().collect();
    assert_eq!(errors[0], "typo.yml:2:3: global.scrape_intervall: unknown key, did you mean scrape_interval?");
    assert_eq!(errors[1], "typo.yml:3:1: kvass: unknown key");
    assert_eq!(
        errors[2],
        "static.yml:3:35: scrape_configs[0].static_configs[0].targets[1]: \"\": no address: __address__ is missing or empty"
    );
    assert!(errors[3].starts_with("gone.yml: cannot be read: No such file") && errors.len() == 4, "{errors:?}");
    assert!(notes.contains("static.yml: refused by the rules") && notes.contains("good.yml: good by the rules"), "{notes}");
}

#[test]
fn named_files_are_looked_at() {
    let text = "\
rule_files: [gone.yml, 'none*.yml']
scrape_config_files: [more.yml]
scrape_configs:
- job_name: a
  authorization: {credentials_file: token}
  tls_config: {ca_file: here.pem, cert_file: here.pem, key_file: gone.pem}
  file_sd_configs: [{files: [later.json, bad.yml]}]
  scrape_failure_log_file: log/new.log
";
    let (_dir, path) = folder(&[("p.yml", text), ("here.pem", ""), ("bad.yml", "- target: [a]\n")]);
    let (code, notes, errors) = kvass(&path, &["check", "config", "p.yml"]);
    assert_eq!(code, Some(1));
    let expected = [
        "p.yml:1:14: rule_files[0]: \"gone.yml\": expected a file that can be read",
        "p.yml:2:23: scrape_config_files[0]: \"more.yml\": expected a file that can be read",
        "p.yml:5:37: scrape_configs[0].authorization.credentials_file: \"token\": expected a file",
        "p.yml:6:66: scrape_configs[0].tls_config.key_file: \"gone.pem\": expected a file",
        "bad.yml:1:3: [0].target: unknown key, did you mean targets?",
    ];
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{errors}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(notes.contains("\"later.json\": no such file yet"), "{notes}");
    let (code, _, errors) = kvass(&path, &["check", "config", "--syntax-only", "p.yml"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
}

#[test]
fn targets_in_files_are_judged_by_the_rules_of_their_job() {
    let text = "\
scrape_config_files: [more.yml]
alerting: {alertmanagers: [{file_sd_configs: [{files: [t.json]}]}]}
scrape_configs:
- job_name: a
  file_sd_configs: [{files: [t.json]}]
- job_name: blackbox
  file_sd_configs: [{files: [t.json]}]
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {target_label: __address__, replacement: blackbox:9115}
";
    let more = "scrape_configs: [{job_name: more, file_sd_configs: [{files: [u.yml]}]}]\n";
    let targets = r#"[{"targets": ["good:1", "http://bad/path"]}]"#;
    let (_dir, path) =
        folder(&[("p.yml", text), ("more.yml", more), ("t.json", targets), ("u.yml", "- targets: ['a b/c']\n- targets: [x]\n")]);
    let (code, notes, errors) = kvass(&path, &["check", "config", "p.yml"]);
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!((code, lines.len()), (Some(1), 2), "{errors}");
    assert!(lines[0].starts_with("t.json: job a: \"http://bad/path\": "), "{errors}");
    assert!(lines[1].starts_with("u.yml: job more: \"a b/c\": "), "{errors}");
    assert!(notes.starts_with("p.yml: refused by"), "{notes}");
}

#[test]
fn the_version_decides() {
    let (_dir, path) =
        folder(&[("p.yml", "scrape_configs: [{job_name: a, static_configs: [{targets: [h], labels: {a-b: c}}]}]\n")]);
    let (code, notes, _) = kvass(&path, &["check", "config", "p.yml"]);
    assert_eq!(code, Some(0));
    assert!(
        notes.contains("good by the rules of Prometheus 3.x") && notes.contains("Prometheus 2.x refuses it: p.yml:1:78: "),
        "{notes}"
    );
    for (version, code) in [("3", 0), ("2", 1)] {
        assert_eq!(kvass(&path, &["check", "config", "p.yml", "--prometheus.version", version]).0, Some(code), "{version}");
    }
}

/// Targets in no order, without the text that only we have.
fn comparable(json: &str) -> Vec<Value> {
    let mut targets: Vec<Value> = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    for target in &mut targets {
        if target.get("error").is_some() {
            target["error"] = Value::Bool(true);
        }
    }
    targets.sort_by_key(Value::to_string);
    targets
}

#[test]
fn targets_are_those_of_promtool() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/targets");
    let args = ["check", "targets", "--prometheus.version=3", "prometheus.yml"];
    for job in ["groups", "files", "rules"] {
        let expected = fs::read_to_string(dir.join(format!("{job}.json"))).unwrap();
        let expected = comparable(&expected.replace("$FOLDER", &dir.display().to_string()));
        let output =
            Command::new(env!("CARGO_BIN_EXE_kvass")).args(args).args(["--job", job]).current_dir(&dir).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        assert_eq!(comparable(std::str::from_utf8(&output.stdout).unwrap()), expected, "{job}");
    }
    let (code, all, _) = kvass(&dir, &args);
    let all: BTreeMap<String, Vec<Value>> = serde_json::from_str(&all).unwrap();
    assert_eq!((code, all.keys().map(String::as_str).collect::<Vec<_>>()), (Some(0), vec!["files", "groups", "rules"]));
}

#[test]
fn what_cannot_be_discovered_is_said_and_the_rest_shown() {
    let text = "\
scrape_configs:
- job_name: a
  target_limit: 1
  params: {token: [hunter2]}
  static_configs: [{targets: [x, y], labels: {__param_target: 'http://u:hunter2@h/'}}]
  http_sd_configs: [{url: 'http://127.0.0.1:1/', refresh_interval: 1s}]
  kuma_sd_configs: [{server: 'http://127.0.0.1:1'}]
- job_name: b
";
    let (_dir, path) = folder(&[("p.yml", text)]);
    let (code, json, errors) = kvass(&path, &["check", "targets", "p.yml", "--timeout=2s", "--job=a"]);
    assert_eq!((code, comparable(&json).len()), (Some(1), 2), "{errors}");
    assert!(!json.contains("hunter2") && !errors.contains("hunter2"), "{json}{errors}");
    for expected in
        ["kuma_sd_configs: kvass has no code for this discovery", "127.0.0.1:1", "job a: has 2 targets and a target_limit of 1"]
    {
        assert!(errors.contains(expected), "{expected} is not in {errors}");
    }
    let (code, json, errors) = kvass(&path, &["check", "targets", "p.yml", "--job=c"]);
    assert_eq!((code, json.as_str(), errors.as_str()), (Some(1), "", "--job=c: expected one of a, b\n"));
}
