//! Makes a failing case smaller for as long as it fails.

use crate::{
    case::Case,
    rules::{LabelSet, Rule, Value},
};

/// The smallest case found for which `fails` holds, beginning with one for which it does. Looks at so many at most.
pub(crate) fn smallest(
    case: Case,
    attempts: usize,
    mut fails: impl FnMut(&Case) -> anyhow::Result<bool>,
) -> anyhow::Result<Case> {
    let mut smallest = case;
    let mut left = attempts;
    'again: loop {
        for candidate in candidates(&smallest) {
            if left == 0 {
                return Ok(smallest);
            }
            left -= 1;
            if fails(&candidate)? {
                smallest = candidate;
                continue 'again;
            }
        }
        return Ok(smallest);
    }
}

/// Cases with a little less in them, those with much less first.
fn candidates(case: &Case) -> Vec<Case> {
    match case {
        Case::Pattern { anchored, pattern, texts } => {
            let texts_less = shorter(texts, |text| shorter_text(text));
            let pattern_less = shorter_text(pattern);
            let with_texts = texts_less.into_iter().map(|texts| (pattern.clone(), texts));
            let with_pattern = pattern_less.into_iter().map(|pattern| (pattern, texts.clone()));
            let all = with_texts.chain(with_pattern);
            all.map(|(pattern, texts)| Case::Pattern { anchored: *anchored, pattern, texts }).collect()
        }
        Case::Rules { scheme, rules, sets } => {
            let with_sets = shorter(sets, smaller_set).into_iter().map(|sets| (rules.clone(), sets));
            let with_rules = shorter(rules, smaller_rule).into_iter().map(|rules| (rules, sets.clone()));
            with_sets.chain(with_rules).map(|(rules, sets)| Case::Rules { scheme: *scheme, rules, sets }).collect()
        }
    }
}

/// Lists with a part missing, then lists with an item that is less.
fn shorter<T: Clone>(items: &[T], less: impl Fn(&T) -> Vec<T>) -> Vec<Vec<T>> {
    let mut lists = Vec::new();
    let mut part = items.len();
    while part > 0 {
        for start in (0..items.len()).step_by(part) {
            let end = (start + part).min(items.len());
            lists.push([&items[..start], &items[end..]].concat());
        }
        part /= 2;
    }
    for (index, item) in items.iter().enumerate() {
        for smaller in less(item) {
            let mut list = items.to_vec();
            list[index] = smaller;
            lists.push(list);
        }
    }
    lists
}

fn shorter_text(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let simpler = |c: &char| if *c == 'a' || c.is_ascii_punctuation() { Vec::new() } else { vec!['a'] };
    shorter(&chars, simpler).into_iter().map(String::from_iter).collect()
}

fn smaller_set(set: &LabelSet) -> Vec<LabelSet> {
    let pair = |(name, value): &(String, String)| shorter_text(value).into_iter().map(|value| (name.clone(), value)).collect();
    let starts = shorter(&set.start, pair).into_iter().map(|start| LabelSet { start, set: set.set.clone() });
    let sets = shorter(&set.set, pair).into_iter().map(|labels| LabelSet { start: set.start.clone(), set: labels });
    starts.chain(sets).collect()
}

fn smaller_rule(rule: &Rule) -> Vec<Rule> {
    let value = |(key, value): &(&'static str, Value)| match value {
        Value::Bare(_) => Vec::new(),
        Value::Text(text) => shorter_text(text).into_iter().map(|text| (*key, Value::Text(text))).collect(),
        Value::List(items) => {
            shorter(items, |item| shorter_text(item)).into_iter().map(|items| (*key, Value::List(items))).collect()
        }
    };
    shorter(&rule.0, value).into_iter().map(Rule).collect()
}
