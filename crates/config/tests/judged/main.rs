//! Each text in `tests/data/judged` is accepted or refused as Prometheus 2.42 and 3.16 do, and our reason names the place.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "tests end that way")]

#[path = "../common/mod.rs"]
mod common;
mod corpus;
mod differences;
mod record;
mod verdicts;

use common::load_with;
use corpus::{Case, cases};
use kvass_config::ConfigError;
use kvass_model::PrometheusLine::{self, V2, V3};
use verdicts::{Judged, Verdict};

/// What we should say of a text: what the version of that line says, but for keys. A key is known if any version knows it.
/// What the program of that version cannot tell, the other may.
fn expected(line: PrometheusLine, judged: &Judged) -> Option<Verdict> {
    let [v2, v3] = judged.verdicts;
    let (own, other) = match line {
        V2 => (v2?, v3),
        V3 => (v3?, v2),
    };
    match (own, other?) {
        (Verdict::UnknownKey | Verdict::NotBuilt, Verdict::UnknownKey | Verdict::NotBuilt) if own != other? => {
            Some(Verdict::NotBuilt)
        }
        (Verdict::UnknownKey | Verdict::NotBuilt, other) => Some(other),
        (own, _) => Some(own),
    }
}

fn ours(case: &Case, line: PrometheusLine) -> Result<(), ConfigError> {
    let included: Vec<(&str, &str, &str)> =
        case.included.iter().map(|text| ("/d/included.yml", "/d/included.yml", text.as_str())).collect();
    load_with("/d/p.yml", &case.text, line, &included).map(drop)
}

#[test]
fn every_case_is_judged_as_prometheus_judges_it() {
    let all = verdicts::read();
    let cases = cases();
    assert!(cases.len() > 3000, "{} cases", cases.len());
    let mut problems = Vec::new();
    let mut found = Vec::new();
    let mut unjudged = 0;
    for case in &cases {
        let Some(judged) = all.get(&case.name) else {
            problems.push(format!("{}: no verdict is recorded", case.name));
            continue;
        };
        for line in [V2, V3] {
            let Some(expected) = expected(line, judged) else {
                problems.push(format!("{}: a verdict is missing", case.name));
                continue;
            };
            if expected == Verdict::NotBuilt {
                unjudged += 1;
                continue;
            }
            let ours = ours(case, line);
            if ours.is_ok() == (expected == Verdict::Accepted) {
                continue;
            }
            match differences::reason(&case.name, line) {
                Some(entry) => found.push(entry),
                None => problems.push(match ours {
                    Ok(()) => format!("{line:?} {}: accepted, but Prometheus refuses it: {:?}", case.name, judged.messages),
                    Err(error) => format!("{line:?} {}: refused, but Prometheus accepts it: {error}", case.name),
                }),
            }
        }
    }
    for (i, difference) in differences::DIFFERENCES.iter().enumerate() {
        if !found.contains(&i) {
            problems.push(format!("{:?}: no longer differs, remove it from the table", difference.cases));
        }
    }
    assert!(problems.is_empty(), "{}:\n{}", problems.len(), problems.join("\n"));
    println!("{} cases, {unjudged} verdicts cannot be had", cases.len());
}

/// The lines that promtool names beside values of a wrong type and unknown keys. Of faults between keys it knows less.
fn lines_in(message: &str) -> Vec<usize> {
    let precise = |fault: &&str| fault.contains("cannot unmarshal") || fault.contains("not found in type");
    let line = |fault: &str| fault.split_once("line ")?.1.split(':').next()?.parse().ok();
    message.lines().filter(precise).filter_map(line).collect()
}

#[test]
fn our_reasons_are_at_least_as_precise() {
    let all = verdicts::read();
    let mut problems = Vec::new();
    let mut compared = 0;
    for case in &cases() {
        for (i, line) in [V2, V3].into_iter().enumerate() {
            let Err(error) = ours(case, line) else { continue };
            let said = format!("{line:?} {}: {error}", case.name);
            if error.line() == 0 && case.name != "bad/blank.bad.yml" {
                problems.push(format!("{said}: names no line"));
            }
            let key = error.key().replace("[0]", "").replace("[1]", "");
            if case.section.as_ref().is_some_and(|section| !key.starts_with(section)) {
                problems.push(format!("{said}: names another section"));
            }
            let judged = all.get(&case.name);
            // Another key may be unknown to that version alone.
            let comparable = judged.and_then(|judged| judged.verdicts[i]) == Some(Verdict::Refused) && case.included.is_none();
            let theirs = judged.and_then(|judged| judged.messages[i].as_deref()).map(lines_in).unwrap_or_default();
            if comparable && !theirs.is_empty() {
                compared += 1;
                if !theirs.contains(&error.line()) {
                    problems.push(format!("{said}: promtool says line {theirs:?}"));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}:\n{}", problems.len(), problems.join("\n"));
    assert!(compared > 20, "{compared}");
}
