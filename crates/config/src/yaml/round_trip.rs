//! Reading and writing: what is written reads back the same.

use std::path::Path;

use proptest::prelude::*;

use super::{Entry, Node, Position, Scalar, Value, emit, parse};
use crate::ConfigHash;

fn read(text: &str) -> Node {
    match parse(text, Path::new("test.yml")) {
        Ok(document) => document.root,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// Texts in which YAML hides its traps.
const PLAIN: &[&str] = &[
    "1.10",
    "1e3",
    "0x1F",
    "+12",
    "010",
    "1_000",
    "2001-01-01",
    "60:30",
    "~",
    "null",
    "yes",
    "n",
    "True",
    ".inf",
    "a b",
    "a:b",
    "http://a:b@c/d?e=f#g",
    "a#b",
    "-a",
    "-1",
    "?x",
    ":x",
    "a,b",
    "a]b",
    "${1}x",
    "$1",
    "__invalid_label_(.+)",
    "(.*);.+",
    "a'b",
    "a\"b",
    "a\\b",
    "=",
    "é🚀",
];

#[test]
fn plain_scalars_stay_as_written() {
    for text in PLAIN {
        let written = format!("a: {text}\nb:\n  - {text}\n");
        assert_eq!(emit(&read(&written)), written);
    }
}

#[test]
fn quotes_decide_only_what_is_not_text() {
    let written = emit(&read("a: 'true'\nb: \"5\"\nc: ''\nd:\ne: |\n  x: #\n  y\nf: 'it''s'\n"));
    assert_eq!(written, "a: \"true\"\nb: \"5\"\nc: \"\"\nd: ~\ne: \"x: #\\ny\\n\"\nf: \"it's\"\n");
}

#[test]
fn shapes() {
    for (text, expected) in [
        ("{a: [], b: {}, c: [[1, [2]], {d: e}]}", "a: []\nb: {}\nc:\n  - - 1\n    - - 2\n  - d: e\n"),
        ("[]", "[]\n"),
        ("", "null\n"),
        ("# only\n", "null\n"),
        ("- a\n- b: 1\n  c: 2\n", "- a\n- b: 1\n  c: 2\n"),
        ("a: &x {b: 1}\nc: *x\n", "a:\n  b: 1\nc:\n  b: 1\n"),
        ("a: {<<: {b: 1, c: 1}, b: 2}\n", "a:\n  b: 2\n  c: 1\n"),
        ("a: {<<: [{b: 1}, {b: 2, c: 3}]}\n", "a:\n  b: 1\n  c: 3\n"),
        ("'<<': 1\n", "\"<<\": 1\n"),
        ("a: one\n  two\n\n  three\n", "a: \"one two\\nthree\"\n"),
        ("a: !!str 5\nb: !!int '5'\nc: !!binary aGk=\nd: !foo x\ne: ! 5\n", "a: \"5\"\nb: 5\nc: hi\nd: x\ne: \"5\"\n"),
        ("a: !!str\nb: &x\nc: *x\n", "a: \"\"\nb: ~\nc: ~\n"),
        ("a: [\n1\n]\n", "a:\n  - 1\n"),
        ("a:\tb\n", "a: b\n"),
        ("a: b\n---\nc: [\n", "a: b\n"),
        ("a: b\n...\n@\n", "a: b\n"),
        ("\u{feff}a: b\n", "a: b\n"),
    ] {
        assert_eq!(emit(&read(text)), expected, "{text}");
    }
}

#[test]
fn unprintable_text_is_escaped() {
    let node = Node::list(vec![Node::text("\u{0}\u{1b}\u{7f}\u{85}\u{a0}\u{2028}\u{feff}\u{fffe}\t\r\n\"\\")]);
    let written = emit(&node);
    assert_eq!(written, "- \"\\u0000\\u001b\\u007f\\u0085\u{a0}\\u2028\\ufeff\\ufffe\\t\\r\\n\\\"\\\\\"\n");
    assert_eq!(read(&written), node);
}

#[test]
fn long_keys() {
    let key = "k".repeat(5000);
    let node = Node::map([(key.as_str(), Node::text("v"))]);
    assert_eq!(read(&emit(&node)), node);
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        3 => proptest::sample::select(PLAIN).prop_map(Scalar::plain),
        2 => proptest::sample::select(PLAIN).prop_map(|text| Scalar { text: text.to_owned(), plain: false }),
        2 => any::<String>().prop_map(|text| Scalar { text, plain: false }),
        1 => "[-?:,#&*!|>'\"%@` \n\t\\[\\]{}a]{0,6}".prop_map(|text| Scalar { text, plain: false }),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = scalar().prop_map(Node::scalar);
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Node::list),
            proptest::collection::vec((scalar(), inner), 0..5).prop_map(|pairs| {
                let mut entries: Vec<Entry> = Vec::new();
                for (key, value) in pairs {
                    if entries.iter().all(|entry| entry.key.text != key.text) {
                        entries.push(Entry { key, at: Position::default(), overrides: false, value });
                    }
                }
                Node { value: Value::Map(entries), at: Position::default() }
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(node in node()) {
        let written = emit(&node);
        let again = read(&written);
        prop_assert_eq!(&again, &node, "{}", written);
        prop_assert_eq!(emit(&again), written);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = parse(&text, Path::new("test.yml"));
    }

    #[test]
    fn no_yaml_like_text_makes_the_reader_panic(text in "[-?:,#&*!|>'\"%@` \n\t\\[\\]{}a<~0.]{0,40}") {
        if let Ok(document) = parse(&text, Path::new("test.yml")) {
            // What can be read can be written, and means the same, although odd plain texts get quotes.
            let written = emit(&document.root);
            let again = read(&written);
            prop_assert_eq!(ConfigHash::of(&again, &[]), ConfigHash::of(&document.root, &[]), "{}", written);
            prop_assert_eq!(emit(&again), written);
        }
    }
}
