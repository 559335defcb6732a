//! Asks a real promtool.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    corpus::{Case, cases},
    verdicts::{self, VERSIONS, Verdict},
};

/// `PROMTOOL=… cargo test -p kvass-config --test judged -- --ignored record`, once for each version.
#[test]
#[ignore = "writes what the program $PROMTOOL says of all cases into tests/data/judged"]
fn record() {
    let promtool = PathBuf::from(std::env::var("PROMTOOL").expect("PROMTOOL names the program"));
    let version = Command::new(&promtool).arg("--version").output().unwrap();
    // The old one says it on its error output.
    let said = [version.stdout, version.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let version = VERSIONS.iter().position(|version| said.contains(&format!("version {version}.")));
    let version = version.unwrap_or_else(|| panic!("expected promtool of one of {VERSIONS:?}: {said}"));

    let cases = cases();
    let mut all = if folder().join("verdicts.json").exists() { verdicts::read() } else { Default::default() };
    let dir = std::env::temp_dir().join(format!("kvass-judged-{}", std::process::id()));
    let (alone, including): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.included.is_none());
    for (name, message) in [ask(&promtool, &["--syntax-only"], &alone, &dir), ask(&promtool, &[], &including, &dir)].concat() {
        let judged = all.entry(name).or_default();
        judged.verdicts[version] = Some(Verdict::of(version, message.as_deref()));
        judged.messages[version] = message;
    }
    fs::remove_dir_all(dir).unwrap();
    println!("{} cases judged by {}", cases.len(), VERSIONS[version]);
    verdicts::write(&all, &cases.into_iter().map(|case| case.name).collect::<Vec<_>>());
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/judged")
}

/// Names of cases, and why promtool refuses them; one process for many.
fn ask(promtool: &Path, flags: &[&str], cases: &[&Case], dir: &Path) -> Vec<(String, Option<String>)> {
    let path = |i: usize| dir.join(i.to_string()).join("p.yml");
    for (i, case) in cases.iter().enumerate() {
        fs::create_dir_all(path(i).parent().unwrap()).unwrap();
        fs::write(path(i), &case.text).unwrap();
        if let Some(included) = &case.included {
            fs::write(path(i).with_file_name("included.yml"), included).unwrap();
        }
    }
    let mut answers: Vec<(String, Option<String>)> = Vec::new();
    while answers.len() < cases.len() {
        let range = answers.len()..cases.len().min(answers.len() + 200);
        let mut command = Command::new("sh");
        // Both streams in one, in the order in which they are written.
        command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(promtool).args(["check", "config"]).args(flags);
        let output = command.args(range.clone().map(path)).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for (i, part) in range.zip(said.split("Checking ").skip(1)) {
            let name = path(i).display().to_string();
            let answer = part.strip_prefix(&name).unwrap_or_else(|| panic!("{name}: {part}")).trim();
            let message = match (answer.split_once("FAILED: "), answer.split_once("panic: ")) {
                (Some((_, message)), _) => Some(message.trim().to_owned()),
                // It ends then; the next process goes on.
                (_, Some((_, panic))) => Some(format!("panics: {}", panic.lines().next().unwrap_or_default())),
                _ if answer.contains("SUCCESS") => None,
                _ => panic!("{name}: {answer}"),
            };
            let folder = format!("{}/", path(i).parent().unwrap().display());
            answers.push((cases[i].name.clone(), message.map(|message| message.replace(&folder, ""))));
        }
        assert!(said.contains("Checking "), "promtool says nothing: {said}");
    }
    answers
}
