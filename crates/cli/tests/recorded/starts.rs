use std::{
    io::Read,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::assert_differences;

/// Exit code (`None`: it runs) and what it wrote, until it ended or its configuration was refused.
fn start(args: &[&str], dir: &std::path::Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvass"));
    command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped());
    // Outside a cluster, whoever runs the tests, and at ports of their own.
    command.env_remove("KUBERNETES_SERVICE_HOST").env_remove("KUBECONFIG").env("HOME", dir);
    match args.first() {
        Some(&"coordinator") => drop(command.arg("--web.address=127.0.0.1:0")),
        Some(&"sidecar") => {
            command.args(["--web.api-addr=127.0.0.1:0", "--web.proxy-addr=127.0.0.1:0"]);
            command.args(["--config.output-file=out.yml", "--store.path=store"]);
        }
        _ => {}
    }
    let log = dir.join("log");
    let mut child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let started = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        let text = std::fs::read_to_string(&log).unwrap();
        if text.contains("configuration refused") && text.contains(" started\"") {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{args:?}: {text}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut text = std::fs::read_to_string(&log).unwrap();
    child.stdout.unwrap().read_to_string(&mut text).unwrap();
    (code, text)
}

/// The error, without what depends on the machine.
fn what_is_said(text: &str) -> &str {
    if let Some((_, error)) = text.split_once(" error=\"") {
        return error.split('"').next().unwrap();
    }
    let line = text.lines().find(|line| line.starts_with("Error: ")).or(text.lines().next()).unwrap();
    let line = line.split(": Failed to infer").next().unwrap();
    line.strip_suffix(env!("CARGO_PKG_VERSION")).map_or(line, str::trim_end)
}

#[test]
fn a_bad_start_ends_as_that_of_the_original() {
    let mut found = Vec::new();
    for line in include_str!("../data/bad-starts.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let args: Vec<&str> = case["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("prometheus.yml"), "global: {}\n").unwrap();
        let (code, text) = start(&args, dir.path());
        let (what, says) = (case["what"].as_str().unwrap(), case["says"].as_str().unwrap());
        let ended = code.map_or_else(|| "runs".to_owned(), |code| code.to_string());
        if case["exit_code"] != json!(code) {
            found.push(format!("{what} exit code {} -> {ended}", case["exit_code"]));
        }
        if !text.contains(says) {
            found.push(format!("{what}: {says} -> {}", what_is_said(&text)));
        }
    }
    let want = [
        // Errors end with 1, in words of ours.
        "bad type exit code 2 -> 1",
        "bad type: panic: unknown shard.type x -> Error: invalid argument \"x\" for \"--shard.type\" flag: expected k8s, static, process",
        "bad duration: invalid argument \"1d\" for \"--coordinator.interval\" flag: time: unknown unit \"d\" in duration \"1d\" -> Error: invalid argument \"1d\" for \"--coordinator.interval\" flag: \"1d\" is not a duration: expected a number with a unit of ns, us, ms, s, m or h, for example 10s or 1h30m",
        "k8s outside cluster exit code 2 -> 1",
        "k8s outside cluster: panic: unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined -> Error: the coordinator cannot start: shards cannot be managed: connect to the API server (in-cluster service account or kubeconfig)",
        "unknown command: unknown command \"foo\" for \"Kvass\" -> Error: unknown command \"foo\" for \"kvass\"",
        "no subcommand: Kvass is a Prometheus horizontal auto-scaling solution ,  -> Shards a Prometheus: discovers targets once, measures them, and spreads them over as many Prometheus",
        // A file that comes later is read then.
        "no config exit code 2 -> runs",
        "no config: panic: open none.yml: no such file or directory -> none.yml: cannot be read: No such file or directory (os error 2)",
        "sidecar no config exit code 2 -> runs",
        "sidecar no config: panic: open none.yml: no such file or directory -> none.yml: cannot be read: No such file or directory (os error 2)",
        // A slip of many manifests is understood, with a warning: this start fails for want of a cluster.
        "int with space: unknown flag: --shard.max-process-series 30000 -> Error: the coordinator cannot start: shards cannot be managed: connect to the API server (in-cluster service account or kubeconfig)",
        "version exit code 1 -> 0",
        "version: unknown command \"version\" for \"Kvass\" -> kvass",
    ];
    assert_differences(found, &want);
}
