//! One case: what is asked, what the reference answers and what we answer.

use std::fmt;

use anyhow::bail;
use kvass_config::{Config, LoadContext};
use kvass_model::{LabelsBuilder, PrometheusLine};
use kvass_relabel::{GoRegex, NameScheme, RelabelConfig, foresee, process, process_series};

use crate::{
    pattern,
    random::Random,
    rules::{self, LabelSet, Rule},
    wire::{Reader, Writer},
};

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Case {
    /// A pattern and the groups of its first match in texts.
    Pattern { anchored: bool, pattern: String, texts: Vec<String> },
    /// Rules and what becomes of label sets.
    Rules { scheme: NameScheme, rules: Vec<Rule>, sets: Vec<LabelSet> },
}

/// What one side says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Does not compile or load, and why.
    Refused(String),
    /// The groups' names, and the bounds of each group for each text that matches.
    Matches { names: Vec<String>, bounds: Vec<Option<Vec<Bounds>>> },
    /// The labels of each set that is not dropped.
    Labels(Vec<Option<Vec<(String, String)>>>),
}

/// Where a group begins and ends, if it took part in the match.
pub(crate) type Bounds = Option<(usize, usize)>;

impl Case {
    /// Cases of even numbers are patterns, the others rules.
    pub(crate) fn new(seed: u64, number: u64) -> Case {
        let mut random = Random::of_case(seed, number);
        if number.is_multiple_of(2) {
            let anchored = random.percent(75);
            let (pattern, texts) = pattern::pattern(&mut random);
            Case::Pattern { anchored, pattern, texts }
        } else {
            let scheme = if random.percent(50) { NameScheme::Utf8 } else { NameScheme::Legacy };
            let (rules, sets) = rules::rules(&mut random);
            Case::Rules { scheme, rules, sets }
        }
    }

    /// Number of texts or label sets.
    pub(crate) fn size(&self) -> usize {
        match self {
            Case::Pattern { texts, .. } => texts.len(),
            Case::Rules { sets, .. } => sets.len(),
        }
    }

    /// Adds the question to a batch.
    pub(crate) fn write(&self, batch: &mut Writer) {
        match self {
            Case::Pattern { anchored, pattern, texts } => {
                batch.byte(b'r');
                batch.byte(if *anchored { b'a' } else { b'p' });
                batch.text(pattern);
                batch.number(texts.len());
                texts.iter().for_each(|text| batch.text(text));
            }
            Case::Rules { scheme, rules, sets } => {
                batch.byte(b'l');
                batch.byte(if *scheme == NameScheme::Legacy { b'l' } else { b'u' });
                batch.text(rules::yaml(rules, ""));
                batch.number(sets.len());
                for labels in sets.iter().flat_map(|set| [&set.start, &set.set]) {
                    batch.number(labels.len());
                    labels.iter().flat_map(|(name, value)| [name, value]).for_each(|text| batch.text(text));
                }
            }
        }
    }

    /// Reads the answer of a reference program.
    pub(crate) fn read(&self, answers: &mut Reader<'_>) -> anyhow::Result<Answer> {
        let refusal = answers.text()?;
        if !refusal.is_empty() {
            return Ok(Answer::Refused(refusal));
        }
        match self {
            Case::Pattern { texts, .. } => {
                let names: Vec<String> = (0..answers.number()?).map(|_| answers.text()).collect::<anyhow::Result<_>>()?;
                let mut bounds = Vec::new();
                for _ in texts {
                    bounds.push(if answers.bool()? {
                        let mut bound = || Ok(answers.optional_number()?.zip(answers.optional_number()?));
                        Some(names.iter().map(|_| bound()).collect::<anyhow::Result<_>>()?)
                    } else {
                        None
                    });
                }
                Ok(Answer::Matches { names, bounds })
            }
            Case::Rules { sets, .. } => {
                let mut results = Vec::new();
                for _ in sets {
                    results.push(if answers.bool()? {
                        let count = answers.number()?;
                        let mut label = || Ok((answers.text()?, answers.text()?));
                        Some((0..count).map(|_| label()).collect::<anyhow::Result<_>>()?)
                    } else {
                        None
                    });
                }
                Ok(Answer::Labels(results))
            }
        }
    }
}

impl Case {
    /// What kvass says.
    pub(crate) fn ours(&self, line: PrometheusLine) -> Answer {
        let answer = match self {
            Case::Pattern { anchored, pattern, texts } => matches(*anchored, pattern, texts, line),
            Case::Rules { scheme, rules, sets } => labels(*scheme, rules, sets, line),
        };
        answer.unwrap_or_else(|error| Answer::Refused(error.to_string()))
    }
}

fn matches(anchored: bool, pattern: &str, texts: &[String], line: PrometheusLine) -> anyhow::Result<Answer> {
    let regex = if anchored { GoRegex::anchored(pattern, line)? } else { GoRegex::unanchored(pattern)? };
    let names: Vec<String> = regex.group_names().iter().map(|name| name.clone().unwrap_or_default()).collect();
    let mut bounds = Vec::new();
    for text in texts {
        let groups = regex.groups(text);
        if groups.is_some() != regex.is_match(text) {
            bail!("groups and is_match disagree on {text:?}");
        }
        bounds.push(groups.map(|groups| (0..names.len()).map(|index| groups.bounds(index)).collect()));
    }
    Ok(Answer::Matches { names, bounds })
}

/// Reads the rules as part of a whole configuration, as kvass does.
fn labels(scheme: NameScheme, rules: &[Rule], sets: &[LabelSet], line: PrometheusLine) -> anyhow::Result<Answer> {
    let scheme = match (scheme, line) {
        (NameScheme::Legacy, PrometheusLine::V3) => "  metric_name_validation_scheme: legacy\n",
        _ => "",
    };
    let text = format!("scrape_configs:\n- job_name: fuzz\n{scheme}  relabel_configs:\n{}", rules::yaml(rules, "  "));
    let context = LoadContext { path: "/prometheus.yml".into(), line, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
    let config = Config::parse(&text, &context)?;
    let rules = config.jobs().first().map(|job| job.relabel_configs.as_slice()).unwrap_or_default();
    sets.iter().map(|set| applied(rules, set)).collect::<anyhow::Result<_>>().map(Answer::Labels)
}

fn applied(rules: &[RelabelConfig], set: &LabelSet) -> anyhow::Result<Option<Vec<(String, String)>>> {
    let mut labels: LabelsBuilder = set.start.iter().chain(&set.set).cloned().collect();
    let foreseen = foresee(rules, |name| labels.get(name).unwrap_or_default().to_owned().into());
    let kept = if set.start.is_empty() {
        process(rules, &mut labels)
    } else {
        process_series(rules, &mut labels, || {
            set.set.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
        })
    };
    if foreseen.is_some_and(|foreseen| foreseen != kept) {
        bail!("foresee and process disagree on {labels:?}");
    }
    Ok(kept.then(|| labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

/// As for a report: the case, then what each text or label set was answered.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Case::Pattern { anchored, pattern, texts } => {
                let kind = if *anchored { "regex" } else { "unanchored regex" };
                writeln!(f, "  {kind}: {pattern:?}")?;
                texts.iter().try_for_each(|text| writeln!(f, "  text: {text:?}"))
            }
            Case::Rules { scheme, rules, sets } => {
                write!(f, "  names: {scheme:?}\n{}", rules::yaml(rules, "  "))?;
                sets.iter().try_for_each(|set| writeln!(f, "  labels: {:?} and then {:?}", set.start, set.set))
            }
        }
    }
}
