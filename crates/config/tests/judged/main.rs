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
fn expected(line: PrometheusLine, judged: &Judged) -> Option<Verdict> {
    let [v2, v3] = judged.verdicts;
    let (own, other) = match line {
        V2 => (v2?, v3),
        V3 => (v3?, v2),
    };
    if own == Verdict::UnknownKey { other } else { Some(own) }
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
}
