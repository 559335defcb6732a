//! Asks both sides, and tells what differs.

use std::{collections::BTreeMap, fmt, path::Path};

use kvass_model::PrometheusLine;

use crate::{
    case::{Answer, Case},
    shrink,
    wire::{Program, Writer, reader},
};

/// How often a failing case is tried in smaller forms.
const SHRINKING: usize = 4000;

/// What we refuse in words although Prometheus takes it: a part of our message, and the reason. README.md explains each.
const OUR_LIMITS: [(&str, &str); 2] = [
    ("the compiled expression exceeds", "refused by us: the compiled expression is too large"),
    ("which is more than kvass compiles", "refused by us: too many groups in each other"),
];

/// One version of Prometheus.
pub(crate) struct Side {
    line: PrometheusLine,
    program: Program,
}

impl Side {
    pub(crate) fn start(line: PrometheusLine, program: &Path) -> anyhow::Result<Side> {
        Ok(Side { line, program: Program::start(program)? })
    }

    /// Patterns without anchors do not depend on Prometheus, so one version answers for both.
    fn is_asked(&self, case: &Case) -> bool {
        self.line == PrometheusLine::V3 || !matches!(case, Case::Pattern { anchored: false, .. })
    }

    fn ask<'a>(&mut self, cases: impl Iterator<Item = &'a Case>) -> anyhow::Result<()> {
        let mut batch = Writer::default();
        cases.filter(|case| self.is_asked(case)).for_each(|case| case.write(&mut batch));
        self.program.ask(&batch)
    }
}

/// A case about which we and Prometheus disagree.
pub(crate) struct Difference {
    pub(crate) number: u64,
    side: usize,
    line: PrometheusLine,
    case: Case,
    ours: Answer,
    theirs: Answer,
}

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    fn count(&mut self, what: &'static str, count: usize) {
        *self.0.entry(what).or_default() += count;
    }
}

/// Compares these cases with each side.
pub(crate) fn compare(sides: &mut [Side], cases: &[(u64, Case)]) -> anyhow::Result<(Tally, Vec<Difference>)> {
    for side in &mut *sides {
        side.ask(cases.iter().map(|(_, case)| case))?;
    }
    // Our own answers first, while the others work.
    let mut ours: Vec<Vec<Option<Answer>>> = Vec::new();
    for side in &*sides {
        ours.push(cases.iter().map(|(_, case)| side.is_asked(case).then(|| case.ours(side.line))).collect());
    }
    let mut tally = Tally::default();
    let mut differences = Vec::new();
    for (index, (side, ours)) in sides.iter_mut().zip(ours).enumerate() {
        let answer = side.program.answer()?;
        let mut answers = reader(&answer);
        for ((number, case), ours) in cases.iter().zip(ours) {
            let Some(ours) = ours else { continue };
            let theirs = case.read(&mut answers)?;
            if count(&mut tally, case, &ours, &theirs) {
                differences.push(Difference { number: *number, side: index, line: side.line, case: case.clone(), ours, theirs });
            }
        }
        answers.end()?;
    }
    Ok((tally, differences))
}

/// Counts a comparison; says whether there is a difference.
fn count(tally: &mut Tally, case: &Case, ours: &Answer, theirs: &Answer) -> bool {
    let is_pattern = matches!(case, Case::Pattern { .. });
    tally.count(if is_pattern { "patterns" } else { "rule lists" }, 1);
    match (ours, theirs) {
        (Answer::Refused(_), Answer::Refused(_)) => {
            tally.count(if is_pattern { "patterns, refused by both" } else { "rule lists, refused by both" }, 1);
            false
        }
        (Answer::Refused(message), _) => match OUR_LIMITS.iter().find(|(part, _)| message.contains(part)) {
            Some((_, reason)) => {
                tally.count(reason, 1);
                false
            }
            None => true,
        },
        (_, Answer::Refused(_)) => true,
        (ours, theirs) => {
            tally.count(if is_pattern { "texts" } else { "relabellings" }, case.size());
            match theirs {
                Answer::Matches { bounds, .. } => tally.count("texts, matched", bounds.iter().flatten().count()),
                Answer::Labels(labels) => {
                    tally.count("relabellings, dropped", labels.iter().filter(|labels| labels.is_none()).count());
                    tally.count("relabellings, labels changed", changed(case, labels));
                }
                Answer::Refused(_) => {}
            }
            ours != theirs
        }
    }
}

/// How many label sets are not as they were.
fn changed(case: &Case, results: &[Option<Vec<(String, String)>>]) -> usize {
    let Case::Rules { sets, .. } = case else { return 0 };
    let is_changed = |(set, result): &(&crate::rules::LabelSet, &Option<Vec<_>>)| {
        let mut before: Vec<_> = set.start.iter().chain(&set.set).filter(|(_, value)| !value.is_empty()).cloned().collect();
        before.sort();
        result.as_ref().is_some_and(|after| *after != before)
    };
    sets.iter().zip(results).filter(is_changed).count()
}

/// The same difference with the smallest case that has one.
pub(crate) fn shrunk(sides: &mut [Side], difference: Difference) -> anyhow::Result<Difference> {
    let Difference { number, side, line, case, ours, theirs } = difference;
    let side_only = &mut sides[side..=side];
    // A case that is no longer a case of the same kind is not the same difference.
    let kind = |ours: &Answer, theirs: &Answer| (matches!(ours, Answer::Refused(_)), matches!(theirs, Answer::Refused(_)));
    let wanted = kind(&ours, &theirs);
    let mut last = (ours, theirs);
    let smallest = shrink::smallest(case, SHRINKING, |candidate| {
        let (_, found) = compare(side_only, &[(number, candidate.clone())])?;
        let Some(found) = found.into_iter().next() else { return Ok(false) };
        let same = kind(&found.ours, &found.theirs) == wanted;
        if same {
            last = (found.ours, found.theirs);
        }
        Ok(same)
    })?;
    let (ours, theirs) = last;
    Ok(Difference { number, side, line, case: smallest, ours, theirs })
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "case {} differs for {:?}:\n{}", self.number, self.line, self.case)?;
        writeln!(f, "  ours:   {:?}\n  theirs: {:?}", self.ours, self.theirs)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, count)| writeln!(f, "{what}: {count}"))
    }
}
