//! The texts that are judged, from `tests/data/judged` and the files that other tests use.

use std::collections::BTreeMap;

use crate::common::{data, names};

/// A configuration to be judged.
pub(crate) struct Case {
    /// Unique, and tells where the case stands: `values: job: scrape_interval: 1m1h`.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The text of a file that it includes as `included.yml`.
    pub(crate) included: Option<String>,
    /// The section that the case is about, as errors write it, without indexes.
    pub(crate) section: Option<String>,
}

/// Values of the kinds in `keys.txt`: at least one of its own, null, and some of other kinds.
pub(crate) const KINDS: [(&str, &[&str]); 17] = [
    ("text", &["x", "1", "''", "null", "[x]", "{x: y}"]),
    ("secret", &["x", "''", "null", "[x]"]),
    ("bool", &["true", "no", "'true'", "1", "null", "[]"]),
    ("int", &["1", "-1", "1.5", "'1'", "x", "null"]),
    ("uint", &["1", "-1", "1.5", "'1'", "x", "null"]),
    ("float", &["1", "0.5", "'1'", "x", "null"]),
    ("duration", &["1m", "0", "10", "1.5h", "''", "null", "[]"]),
    ("size", &["1MB", "1", "''", "null", "[]"]),
    ("url", &["http://h:80/p", "'%zz'", "''", "null", "[]"]),
    ("texts", &["[x]", "[1]", "x", "[]", "[[x]]", "null"]),
    ("patterns", &["[x.yml]", "['*/x.yml']", "x.yml", "null"]),
    ("list", &["[]", "x", "{}", "[x]", "[null]", "null"]),
    ("section", &["{}", "[]", "x", "null"]),
    ("map", &["{x: y}", "{x: [y]}", "{1: null}", "[x]", "x", "null"]),
    ("lists", &["{x: [y]}", "{x: y}", "{x: [[y]]}", "[x]", "x", "null"]),
    ("labels", &["{x: y}", "{x-y: z}", "{x: [y]}", "[x]", "null"]),
    ("any", &["x"]),
];

/// What every section needs, from `keys.txt`.
#[derive(Default)]
struct Needs {
    /// Pairs by section.
    always: BTreeMap<String, Vec<String>>,
    /// Pairs by section that a section within it makes needless.
    alone: BTreeMap<String, Vec<String>>,
}

/// One line of `keys.txt`.
pub(crate) struct KeyLine {
    pub(crate) section: String,
    pub(crate) key: String,
    pub(crate) kind: String,
}

/// One line of `values.txt`.
pub(crate) struct ValueLine {
    pub(crate) section: String,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// `None` for headings, comments and the like.
pub(crate) fn key_lines(text: &str) -> Vec<(&str, Option<KeyLine>)> {
    let mut section = "";
    text.lines()
        .map(|line| {
            if let Some(heading) = line.strip_prefix("==") {
                section = heading.trim();
            }
            if line.is_empty() || line.starts_with(['#', '=', '-']) {
                return (line, None);
            }
            let mut words = line.split(' ');
            let (Some(key), Some(kind)) = (words.next(), words.next()) else { panic!("keys.txt: {line}") };
            (line, Some(KeyLine { section: section.to_owned(), key: key.to_owned(), kind: kind.to_owned() }))
        })
        .collect()
}

pub(crate) fn value_lines(text: &str) -> Vec<(&str, Option<ValueLine>)> {
    let mut heading = ("", "");
    text.lines()
        .map(|line| {
            if let Some(title) = line.strip_prefix("== ") {
                heading = title.split_once(": ").unwrap_or_else(|| panic!("values.txt: {line}"));
            }
            if line.is_empty() || line.starts_with(['#', '=']) {
                return (line, None);
            }
            let value = line.get(4..).unwrap_or_else(|| panic!("values.txt: {line}"));
            (line, Some(ValueLine { section: heading.0.to_owned(), key: heading.1.to_owned(), value: value.to_owned() }))
        })
        .collect()
}

pub(crate) fn values_of(kind: &str) -> &'static [&'static str] {
    KINDS.iter().find(|(name, _)| *name == kind).unwrap_or_else(|| panic!("keys.txt: kind {kind}")).1
}

impl KeyLine {
    pub(crate) fn name(&self, value: &str) -> String {
        format!("keys: {}: {}: {value}", self.section, self.key)
    }
}

impl ValueLine {
    pub(crate) fn name(&self) -> String {
        format!("values: {}: {}: {}", self.section, self.key, self.value)
    }
}

/// All cases, in the order of the files.
pub(crate) fn cases() -> Vec<Case> {
    let keys = data("judged/keys.txt");
    let needs = Needs::read(&keys);
    let mut cases = Vec::new();
    for line in key_lines(&keys).into_iter().filter_map(|(_, line)| line) {
        for value in values_of(&line.kind) {
            cases.push(needs.case_of_key(line.name(value), &line.section, &line.key, value));
        }
    }
    for line in value_lines(&data("judged/values.txt")).into_iter().filter_map(|(_, line)| line) {
        cases.push(needs.case_of_key(line.name(), &line.section, &line.key, &line.value));
    }
    for file in names("judged", ".cases") {
        for (heading, body) in split(&data(&format!("judged/{file}.cases"))) {
            cases.push(needs.case_of_text(&file, &heading, body));
        }
    }
    for (folder, suffix) in [("good", ".good.yml"), ("bad", ".bad.yml"), ("kvass-go", ".yml")] {
        for name in names(folder, suffix) {
            let file = format!("{folder}/{name}{suffix}");
            cases.push(Case { text: data(&file), name: file, included: None, section: None });
        }
    }
    cases
}

/// Headings and texts of a file of cases.
fn split(text: &str) -> Vec<(String, String)> {
    let mut cases: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix("== "), cases.last_mut()) {
            (Some(heading), _) => cases.push((heading.trim_end().to_owned(), String::new())),
            (None, Some((_, body))) => body.push_str(line),
            (None, None) => {}
        }
    }
    // The empty line in front of the next heading is no part of the text.
    cases
        .into_iter()
        .map(|(heading, body)| (heading, body.strip_suffix("\n\n").map_or(body.clone(), |b| format!("{b}\n"))))
        .collect()
}

impl Needs {
    fn read(keys: &str) -> Needs {
        let mut needs = Needs::default();
        let mut section = "";
        for line in keys.lines() {
            if let Some(heading) = line.strip_prefix("==") {
                section = heading.trim();
                needs.always.entry(section.to_owned()).or_default();
            }
            for (mark, pairs) in [("-- ", &mut needs.always), ("-? ", &mut needs.alone)] {
                if let Some(pair) = line.strip_prefix(mark) {
                    pairs.entry(section.to_owned()).or_default().push(pair.to_owned());
                }
            }
        }
        needs
    }

    fn case_of_key(&self, name: String, section: &str, key: &str, value: &str) -> Case {
        let needed = |pairs: &BTreeMap<String, Vec<String>>| pairs.get(section).cloned().unwrap_or_default();
        let mut lines = [needed(&self.always), needed(&self.alone)].concat();
        lines.retain(|pair| !pair.starts_with(&format!("{key}:")));
        lines.push(format!("{key}: {value}"));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let path = section.replace("[]", "").replace('/', ".");
        let path = path.strip_prefix("job").map_or(path.clone(), |rest| format!("scrape_configs{rest}"));
        Case { name, text: self.document(section, &lines), included: None, section: Some(path) }
    }

    fn case_of_text(&self, file: &str, heading: &str, body: String) -> Case {
        let name = format!("{file}: {heading}");
        if file == "included" {
            let main =
                "global: {scrape_interval: 30s}\nscrape_config_files: [included.yml]\nscrape_configs: [{job_name: main}]\n";
            return Case { name, text: main.to_owned(), included: Some(body), section: None };
        }
        let section = heading.split_once(": ").map(|(section, _)| section).filter(|section| self.always.contains_key(*section));
        let text = match section {
            // A job is nothing without its name; other sections are written out, as they are about what is missing.
            Some("job") => self.document("job", &[&["job_name: a"], &body.lines().collect::<Vec<_>>()[..]].concat()),
            Some(section) => self.document(section, &body.lines().collect::<Vec<_>>()),
            None => body,
        };
        Case { name, text, included: None, section: None }
    }

    /// A document of nothing but this section, and what the sections around it need.
    fn document(&self, section: &str, lines: &[&str]) -> String {
        let mut out = String::new();
        let (mut indent, mut path, mut dash) = (0, String::new(), false);
        let steps = if section.is_empty() { Vec::new() } else { section.split('/').collect() };
        for step in steps {
            if !path.is_empty() {
                path.push('/');
            }
            // The one section whose name is long and frequent has a short one.
            let key = if step == "job" { "scrape_configs[]" } else { step };
            let is_item = key.ends_with("[]");
            push(&mut out, indent, &mut dash, &format!("{}:", key.trim_end_matches("[]")));
            path.push_str(step);
            indent += 2;
            dash = is_item;
            if path != section {
                for pair in self.always.get(&path).into_iter().flatten() {
                    push(&mut out, indent, &mut dash, pair);
                }
            }
        }
        for line in lines {
            push(&mut out, indent, &mut dash, line);
        }
        out
    }
}

/// The first line of an item has its dash; lists are indented as far as mappings.
fn push(out: &mut String, indent: usize, dash: &mut bool, line: &str) {
    let width = if *dash { indent.saturating_sub(2) } else { indent };
    out.push_str(&" ".repeat(width));
    out.push_str(if std::mem::take(dash) { "- " } else { "" });
    out.push_str(line);
    out.push('\n');
}
