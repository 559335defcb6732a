//! What both versions of promtool said of the cases, as recorded in `tests/data/judged`.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{
    common::data,
    corpus::{key_lines, value_lines, values_of},
};

/// What one version says of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Refused,
    /// Refused for nothing but keys that it does not know.
    UnknownKey,
    /// The program was built without a discovery mechanism that its version has, so it cannot tell.
    NotBuilt,
}

/// The versions that judge, in the order of the columns.
pub(crate) const VERSIONS: [&str; 2] = ["2.42", "3.16"];

/// What was said of one case, by version; `None` where that version was not asked yet.
#[derive(Clone, Default)]
pub(crate) struct Judged {
    pub(crate) verdicts: [Option<Verdict>; 2],
    /// The reasons of a refusal; not kept for cases of keys and values, where the place is plain.
    pub(crate) messages: [Option<String>; 2],
}

const LETTERS: [(char, Verdict); 4] =
    [('a', Verdict::Accepted), ('r', Verdict::Refused), ('u', Verdict::UnknownKey), ('-', Verdict::NotBuilt)];

/// Discovery that 2.42 does not have.
const LATER_MECHANISMS: [&str; 8] = ["aws", "ecs", "elasticache", "msk", "oci", "outscale", "rds", "stackit"];

impl Verdict {
    /// The verdict behind the message of promtool of [`VERSIONS`]`[version]`, which is `None` for a text that it accepts.
    pub(crate) fn of(version: usize, message: Option<&str>) -> Verdict {
        let Some(message) = message else { return Verdict::Accepted };
        let faults = message.split_once("unmarshal errors:\n").map(|(_, faults)| faults.lines()).into_iter().flatten();
        let unknown: Vec<Option<&str>> =
            faults.map(|fault| fault.split_once(": field ")?.1.split_once(" not found in type ").map(|(key, _)| key)).collect();
        let is_left_out = |key: &str| {
            let mechanism = key.strip_suffix("_sd_configs").filter(|name| *name != "foo");
            mechanism.is_some_and(|name| VERSIONS[version] != "2.42" || !LATER_MECHANISMS.contains(&name))
        };
        if unknown.iter().flatten().any(|key| is_left_out(key)) {
            Verdict::NotBuilt
        } else if !unknown.is_empty() && unknown.iter().all(Option::is_some) {
            Verdict::UnknownKey
        } else {
            Verdict::Refused
        }
    }

    fn of_letter(letter: char) -> Option<Verdict> {
        LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, verdict)| *verdict)
    }

    fn letter(verdict: Option<Verdict>) -> char {
        LETTERS.iter().find(|(_, known)| Some(*known) == verdict).map_or('?', |(letter, _)| *letter)
    }
}

/// All recorded verdicts, by the name of the case.
pub(crate) fn read() -> BTreeMap<String, Judged> {
    let mut all = BTreeMap::new();
    let keys = data("judged/keys.txt");
    for (text, line) in key_lines(&keys) {
        let Some(line) = line else { continue };
        let columns: Vec<&str> = text.split(' ').skip(2).collect();
        for (i, value) in values_of(&line.kind).iter().enumerate() {
            let letter = |column: usize| columns.get(column)?.chars().nth(i).and_then(Verdict::of_letter);
            let judged = Judged { verdicts: [letter(0), letter(1)], messages: [None, None] };
            assert!(all.insert(line.name(value), judged).is_none(), "keys.txt: {text} stands there twice");
        }
    }
    for (text, line) in value_lines(&data("judged/values.txt")) {
        let Some(line) = line else { continue };
        let letter = |at: usize| text.chars().nth(at).and_then(Verdict::of_letter);
        let judged = Judged { verdicts: [letter(0), letter(2)], messages: [None, None] };
        assert!(all.insert(line.name(), judged).is_none(), "values.txt: {} stands there twice", line.name());
    }
    let messages: BTreeMap<String, BTreeMap<String, Option<String>>> =
        serde_json::from_str(&data("judged/verdicts.json")).unwrap_or_else(|error| panic!("verdicts.json: {error}"));
    for (name, by_version) in messages {
        let mut judged = Judged::default();
        for (i, version) in VERSIONS.iter().enumerate() {
            if let Some(message) = by_version.get(*version) {
                judged.verdicts[i] = Some(Verdict::of(i, message.as_deref()));
                judged.messages[i].clone_from(message);
            }
        }
        all.insert(name, judged);
    }
    all
}

/// Writes the verdicts of `cases` to where [`read`] finds them; what is no case any more is left out.
pub(crate) fn write(all: &BTreeMap<String, Judged>, cases: &[String]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/judged");
    let verdict = |name: &str, version: usize| all.get(name).and_then(|judged| judged.verdicts[version]);

    let mut keys = String::new();
    for (text, line) in key_lines(&data("judged/keys.txt")) {
        keys += &match line {
            None => text.to_owned(),
            Some(line) => {
                let column = |version| -> String {
                    let values = values_of(&line.kind).iter();
                    values.map(|value| Verdict::letter(verdict(&line.name(value), version))).collect()
                };
                format!("{} {} {} {}", line.key, line.kind, column(0), column(1))
            }
        };
        keys.push('\n');
    }
    let mut values = String::new();
    for (text, line) in value_lines(&data("judged/values.txt")) {
        values += &match line {
            None => text.to_owned(),
            Some(line) => {
                let letter = |version| Verdict::letter(verdict(&line.name(), version));
                format!("{} {} {}", letter(0), letter(1), line.value)
            }
        };
        values.push('\n');
    }
    let mut messages = serde_json::Map::new();
    for name in cases.iter().filter(|name| !name.starts_with("keys: ") && !name.starts_with("values: ")) {
        let mut by_version = serde_json::Map::new();
        for (i, version) in VERSIONS.iter().enumerate() {
            if let Some(judged) = all.get(name).filter(|judged| judged.verdicts[i].is_some()) {
                by_version.insert((*version).to_owned(), judged.messages[i].clone().map_or(Value::Null, Value::String));
            }
        }
        messages.insert(name.clone(), Value::Object(by_version));
    }
    let messages = serde_json::to_string_pretty(&messages).unwrap() + "\n";
    for (file, text) in [("keys.txt", keys), ("values.txt", values), ("verdicts.json", messages)] {
        fs::write(folder.join(file), text).unwrap();
    }
}
