//! Stamps the binary with what it is built from. The commit is `KVASS_COMMIT` where that is set (an image is built
//! without the repository's history), else that of the checkout, else `unknown`. No date: equal sources give equal binaries.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=KVASS_COMMIT");
    let given = env::var("KVASS_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(commit_of_checkout).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=KVASS_COMMIT={commit}");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    // `rustc 1.95.0 (59807616e 2026-04-14)`
    let version = output(&rustc, &["--version"]);
    let version = version.as_deref().and_then(|text| text.split(' ').nth(1)).unwrap_or("unknown");
    println!("cargo:rustc-env=KVASS_RUSTC={version}");
    println!("cargo:rustc-env=KVASS_TARGET={}", env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned()));
}

fn commit_of_checkout() -> Option<String> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").ok()?).join("../..").canonicalize().ok()?;
    // A source archive unpacked inside another repository has not that one's commit.
    if !root.join(".git").exists() {
        return None;
    }
    let root = root.to_str()?;
    // Written with every commit and every switch of branches.
    if let Some(log) = output("git", &["-C", root, "rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
    output("git", &["-C", root, "rev-parse", "HEAD"])
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|text| !text.is_empty())
}
