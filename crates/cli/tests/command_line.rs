//! The program as a shell sees it: exit codes, what goes to which stream, signals.

#![allow(clippy::unwrap_used)] // helpers of tests too

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

fn kvass(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kvass")).args(args).output().unwrap()
}

/// Exit code, standard output, standard error.
fn texts(output: Output) -> (Option<i32>, String, String) {
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn help_and_version_succeed() {
    for args in [&["version"][..], &["--version"]] {
        let (code, version, errors) = texts(kvass(args));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{args:?}");
        let lines: Vec<_> = version.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert_eq!(lines.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["kvass", "commit", "rustc", "target"], "{args:?}");
        assert_eq!(lines[0].1, env!("CARGO_PKG_VERSION"));
        let is_commit = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_commit(lines[1].1) || lines[1].1 == "unknown" || std::env::var_os("KVASS_COMMIT").is_some(), "{version}");
        assert!(lines[3].1.contains("linux"), "{version}");
    }
    for args in [&[][..], &["help"], &["--help"], &["sidecar", "--help"]] {
        let (code, stdout, stderr) = texts(kvass(args));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(stdout.contains("Usage: kvass"), "{args:?}: {stdout}");
    }
}

#[test]
fn a_wrong_command_line_is_one_line_and_exit_code_1() {
    for (args, message) in [
        (&["coordinator", "--nope"][..], "unknown flag: --nope"),
        (&["foo"], "unknown command \"foo\" for \"kvass\""),
        (&["coordinator", "--shard.max-process-series=0"], "shard.max-process-series can not be 0"),
        (&["coordinator", "--shard.port=0"], "--shard.port=0: expected a port from 1 to 65535"),
        (&["sidecar", "--prometheus.url=x"], "--prometheus.url=x: expected a URL such as http://127.0.0.1:9090"),
        (&["demo", "--series=45"], "--series=45: expected more than the 45 about each process"),
        (&["coordinator", "--log.format=xml"], "invalid argument \"xml\" for \"--log.format\" flag: expected logfmt or json"),
    ] {
        assert_eq!(texts(kvass(args)), (Some(1), String::new(), format!("Error: {message}\n")), "{args:?}");
    }
}

#[test]
fn a_start_that_fails_names_the_cause() {
    let (code, stdout, stderr) = texts(kvass(&["coordinator", "--shard.type=static", "--web.address=127.0.0.1:99999"]));
    let error: Vec<&str> = stderr.lines().filter(|line| line.starts_with("Error: ")).collect();
    assert_eq!((code, stdout.as_str(), error.len()), (Some(1), "", 1), "{stderr}");
    assert!(error[0].contains("--web.address=127.0.0.1:99999: cannot listen"), "{stderr}");
}

#[test]
fn warnings_about_flags_are_logged() {
    let (code, _, stderr) =
        texts(kvass(&["coordinator", "--shard.max-series 30000", "--shard.delete-vpc", "--web.address=127.0.0.1:99999"]));
    assert_eq!(code, Some(1));
    assert_eq!(stderr.lines().filter(|line| line.contains("level=warn") && line.contains("command line")).count(), 2, "{stderr}");
}

#[test]
fn a_busy_port_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = texts(kvass(&["metrics-generator", &format!("--address={address}")]));
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&format!("--address={address}: Address already in use")), "{stderr}");
}

#[test]
fn a_signal_ends_a_service_orderly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kvass"))
        .args(["metrics-generator", "--address=127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.next().unwrap().unwrap().contains("metrics generator started"));
    let pid = rustix::process::Pid::from_child(&child);
    // The signal handler is installed when the server first runs, right after that line.
    std::thread::sleep(std::time::Duration::from_millis(100));
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(log.next().unwrap().unwrap().contains("shutdown requested"));
}
