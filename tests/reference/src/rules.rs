//! Relabel rules as a configuration file has them, and label sets for them.

use crate::{characters, pattern, random::Random};

/// A rule: keys and values, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule(pub(crate) Vec<(&'static str, Value)>);

/// A value in YAML.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Written as it is: numbers, `null`.
    Bare(&'static str),
    Text(String),
    List(Vec<String>),
}

/// A label set: what it starts with, and what is set afterwards, as Prometheus assembles the labels of a series and of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LabelSet {
    pub(crate) start: Vec<(String, String)>,
    pub(crate) set: Vec<(String, String)>,
}

const ACTIONS: [&str; 11] = [
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
];

const NAMES: [&str; 26] = [
    "__address__",
    "__scheme__",
    "__metrics_path__",
    "__param_target",
    "__name__",
    "job",
    "instance",
    "a",
    "b",
    "c",
    "a1",
    "x_a",
    "foo",
    "__tmp_x",
    "__meta_kubernetes_pod_label_app",
    "__meta_kubernetes_pod_label_a",
    "__meta_kubernetes_service_label_app",
    "__meta_kubernetes_pod_annotation_prometheus_io_port",
    "__meta_kubernetes_pod_annotationpresent_x",
    "__meta_kubernetes_namespace",
    "__meta_consul_tags",
    "aa",
    "aaa",
    "b1",
    "kube_x",
    "z",
];
const ODD_NAMES: [&str; 14] =
    ["a.b", "é", "1", "a b", "$1", "${1}", "a-b", "\n", "名前", "K", "a\u{0}", "__meta_kubernetes_pod_label_é", "$", ":"];

const VALUES: [&str; 40] = [
    "",
    "foo",
    "bar",
    "baz",
    "a",
    "b",
    "a;b",
    "1",
    "true",
    "10.0.0.1:9100",
    "10.0.0.1",
    "[::1]:9100",
    "9102",
    "http",
    "https",
    "/metrics",
    "default",
    "web-1",
    "db.example.com:5432",
    "x\ny",
    "\n",
    "ΟΔΟΣ",
    "İstanbul",
    "straße",
    "ſK",
    "ǅ ǆ ᾳ ῼ",
    "FooBar",
    "a b",
    "$1",
    "${1}x",
    "kube_pod_info",
    "1-x",
    "é",
    "名前",
    ",prod,web,",
    "default;kubernetes;https",
    "false",
    "\u{212a}",
    "ﬁ ŉ ǰ ΐ",
    "Ꭰꭰ ᲀ ა Ა ẞ",
];

const TEMPLATES: [&str; 30] = [
    "$1",
    "${1}",
    "$0",
    "$2",
    "$1:$2",
    "$2-$1",
    "${1}_x",
    "$1_x",
    "x$1",
    "",
    "hit",
    "http://$1/",
    "$$",
    "$$1",
    "$",
    "x$",
    "${",
    "${1",
    "${}",
    "${n}",
    "$n",
    "$m$n",
    "${host}:${port}",
    "$é",
    "$1é",
    "${é}",
    "$10",
    "$01",
    "$1234567890",
    "${ 1 }",
];

/// Rules, and label sets on which some of them do something.
pub(crate) fn rules(random: &mut Random) -> (Vec<Rule>, Vec<LabelSet>) {
    let mut vocabulary = Vec::new();
    let count = *random.pick(&[1, 1, 1, 2, 2, 3, 4, 6]);
    let rules = (0..count).map(|_| rule(random, &mut vocabulary)).collect();
    let sets = (0..10).map(|_| label_set(random, &vocabulary)).collect();
    (rules, sets)
}

/// A rule that is valid in most cases. Texts that its pattern may match are added to the vocabulary.
fn rule(random: &mut Random, vocabulary: &mut Vec<String>) -> Rule {
    let action = *random.pick(&ACTIONS);
    let mut keys: Vec<(&'static str, Value)> = Vec::new();
    let names_only = action.starts_with("labeldrop") || action.starts_with("labelkeep");
    let equal = action.ends_with("equal");
    if !names_only && random.percent(88) {
        let count = *random.pick(&[1, 1, 1, 2, 2, 3, 0]);
        keys.push(("source_labels", Value::List((0..count).map(|_| name(random)).collect())));
    }
    if !names_only && !equal && random.percent(20) {
        keys.push(("separator", Value::Text((*random.pick(&["", ";", "-", "::", "\n", "é", "a"])).to_owned())));
    }
    if !equal && random.percent(if action == "hashmod" { 10 } else { 80 }) {
        let pattern = regex(random, vocabulary, action.starts_with("label"));
        keys.push(("regex", Value::Text(pattern)));
    }
    if action == "hashmod" || (!equal && !names_only && random.percent(2)) {
        keys.push((
            "modulus",
            Value::Bare(random.pick::<&str>(&[
                "1",
                "2",
                "3",
                "97",
                "1000",
                "65536",
                "18446744073709551615",
                "0x10",
                "010",
                "1_000",
                "1e3",
            ])),
        ));
    }
    if !matches!(action, "keep" | "drop" | "labelmap" | "labeldrop" | "labelkeep") {
        let target = if action == "replace" && random.percent(20) { template(random) } else { name(random) };
        keys.push(("target_label", Value::Text(target)));
    }
    if matches!(action, "replace" | "labelmap" | "keep" | "hashmod") && random.percent(if action == "labelmap" { 40 } else { 55 })
    {
        let template = if action == "labelmap" && random.percent(60) {
            (*random.pick(&["$1", "${1}", "x_$1", "${1}_x", "a", "m_${1}_z", "aa$1", "$0", "$2", "${n}"])).to_owned()
        } else {
            template(random)
        };
        keys.push(("replacement", Value::Text(template)));
    }
    if action != "replace" || random.percent(40) {
        let spelled = match random.below(12) {
            0 => action.to_uppercase(),
            1 => format!("{}{}", action[..1].to_uppercase(), &action[1..]),
            _ => action.to_owned(),
        };
        keys.push(("action", Value::Text(spelled)));
    }
    if random.percent(12) {
        spoil(&mut keys, random, vocabulary);
    }
    Rule(keys)
}

/// Makes a rule one that may be refused.
fn spoil(keys: &mut Vec<(&'static str, Value)>, random: &mut Random, vocabulary: &mut Vec<String>) {
    let key = *random.pick(&["source_labels", "separator", "regex", "modulus", "target_label", "replacement", "action"]);
    let value = match key {
        _ if random.percent(15) => Value::Bare(random.pick::<&str>(&["null", "~", ""])),
        "source_labels" => {
            Value::List((0..random.below(3)).map(|_| if random.percent(50) { odd_name(random) } else { name(random) }).collect())
        }
        "separator" => Value::Text((*random.pick(&["", ";", "-"])).to_owned()),
        "regex" if random.percent(40) => Value::Text((*random.pick(&["", "(.*)", ".*", "("])).to_owned()),
        "regex" => Value::Text(regex(random, vocabulary, false)),
        "modulus" => {
            Value::Bare(random.pick::<&str>(&["0", "1", "-1", "1.5", "20000000000000000000", "x", "'3'", "60:30", "[1]", "true"]))
        }
        "target_label" if random.percent(50) => Value::Text(odd_name(random)),
        "target_label" | "replacement" => Value::Text(template(random)),
        _ => Value::Text(
            (*random.pick(&[
                "",
                "repalce",
                "keep ",
                "KEEP",
                "Keep",
                "labelmap",
                "ﬁx",
                "\u{212a}eep",
                "dropequal",
                "null",
                "hashmod",
            ]))
            .to_owned(),
        ),
    };
    match keys.iter().position(|(known, _)| *known == key) {
        Some(at) if random.percent(30) => drop(keys.remove(at)),
        Some(at) => keys[at].1 = value,
        None => keys.push((key, value)),
    }
}

fn regex(random: &mut Random, vocabulary: &mut Vec<String>, of_names: bool) -> String {
    if of_names && random.percent(60) {
        return (*random.pick(&[
            "__meta_kubernetes_pod_label_(.+)",
            "__meta_kubernetes_(?:pod|service)_label_(.+)",
            "__meta_(.*)",
            "(.*)",
            "a(.*)",
            "[ab](.*)",
            "(?i)A(.*)",
            "__.*",
            "__meta_.+|job",
            "(a)(.?)",
            "a|b|c",
            "__param_(.+)",
            "a)|(b",
            "(?P<n>.)(.*)",
            ".(.+)",
            "(x_)?(.*)",
        ]))
        .to_owned();
    }
    let (pattern, mut texts) = pattern::pattern(random);
    texts.truncate(6);
    vocabulary.append(&mut texts);
    pattern
}

fn template(random: &mut Random) -> String {
    match random.below(5) {
        0 => format!("{}{}", random.pick(&TEMPLATES), random.pick(&TEMPLATES)),
        1 => {
            let mut text = String::new();
            for _ in 0..random.between(0, 5) {
                text.push_str(
                    random.pick::<&str>(&["$", "{", "}", "1", "0", "n", "_", "${1}", "$1", "a", "-", "é", "٣", "Ⅷ", ".", "$$"]),
                );
            }
            text
        }
        _ => (*random.pick(&TEMPLATES)).to_owned(),
    }
}

fn name(random: &mut Random) -> String {
    if random.percent(3) { odd_name(random) } else { (*random.pick(&NAMES)).to_owned() }
}

fn odd_name(random: &mut Random) -> String {
    match random.below(6) {
        0 => String::new(),
        1 => characters::text(random, 3),
        _ => (*random.pick(&ODD_NAMES)).to_owned(),
    }
}

fn label_set(random: &mut Random, vocabulary: &[String]) -> LabelSet {
    let mut all: Vec<(String, String)> = Vec::new();
    for _ in 0..random.between(0, 9) {
        let name = match random.below(20) {
            0 if !vocabulary.is_empty() => random.pick(vocabulary).clone(),
            1 => odd_name(random),
            _ => name(random),
        };
        if !name.is_empty() && all.iter().all(|(known, _)| *known != name) {
            let value = value(random, vocabulary);
            all.push((name, value));
        }
    }
    all.sort();
    // Series have labels of their own, then get those of the target. Targets begin without any.
    if random.percent(40) {
        let (start, set) = all.into_iter().partition(|_| random.percent(60));
        LabelSet { start, set }
    } else {
        LabelSet { start: Vec::new(), set: all }
    }
}

fn value(random: &mut Random, vocabulary: &[String]) -> String {
    match random.below(20) {
        0 => characters::text(random, 5),
        1 if random.percent(5) => (*random.pick(&["a", "é", "x\n", "10.0.0.1:9100,"])).repeat(random.between(1000, 5000)),
        2..=11 if !vocabulary.is_empty() => random.pick(vocabulary).clone(),
        _ => (*random.pick(&VALUES)).to_owned(),
    }
}

/// The list of rules in YAML, each line with this indentation.
pub(crate) fn yaml(rules: &[Rule], indentation: &str) -> String {
    let mut text = String::new();
    for Rule(keys) in rules {
        if keys.is_empty() {
            text.push_str(&format!("{indentation}- {{}}\n"));
        }
        for (index, (key, value)) in keys.iter().enumerate() {
            let lead = if index == 0 { '-' } else { ' ' };
            text.push_str(&format!("{indentation}{lead} {key}: {}\n", value.yaml()));
        }
    }
    text
}

impl Value {
    pub(crate) fn yaml(&self) -> String {
        match self {
            Value::Bare(text) => (*text).to_owned(),
            Value::Text(text) => scalar(text),
            Value::List(items) => format!("[{}]", items.iter().map(|item| scalar(item)).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// Plain where it is a word, else in double quotes with everything escaped that needs it or looks like it.
fn scalar(text: &str) -> String {
    // Prometheus takes this one for null, half-way: as a regex it becomes the default of all rules read from then on.
    if text == "~" {
        return "\"[~]\"".to_owned();
    }
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if is_word(text) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            '\n' => quoted.push_str("\\n"),
            c if c.is_alphabetic() => quoted.push(c),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted + "\""
}
