//! What Prometheus 3.14 and 2.42 do with a rule, by the number of the recorded case.

#![allow(clippy::panic, reason = "failing is what a test does")]

use Outcome::{Dropped, Refused, Set};
use kvass_model::{LabelsBuilder, PrometheusLine};
use kvass_relabel::{NameScheme, RelabelConfig, Rule, foresee, process, process_series};

/// Result of applying rules.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// These labels differ from the input afterwards; empty means deleted.
    Set(&'static [(&'static str, &'static str)]),
    Dropped,
    /// Does not load.
    Refused,
}

const UNCHANGED: Outcome = Set(&[]);
const ABC: &[(&str, &str)] = &[("a", "foo"), ("b", "bar"), ("c", "baz")];

/// A rule under construction.
#[derive(Clone)]
struct Build(Rule);

fn action(name: &str) -> Build {
    Build(Rule { action: Some(name.into()), ..Rule::default() })
}

/// `replace` from these labels to `d`.
fn copy(labels: &[&str]) -> Build {
    action("replace").source(labels).target("d")
}

impl Build {
    fn source(mut self, labels: &[&str]) -> Self {
        self.0.source_labels = Some(labels.iter().map(|label| (*label).to_owned()).collect());
        self
    }
    fn separator(mut self, separator: &str) -> Self {
        self.0.separator = Some(separator.into());
        self
    }
    fn regex(mut self, regex: &str) -> Self {
        self.0.regex = Some(regex.into());
        self
    }
    fn target(mut self, label: &str) -> Self {
        self.0.target_label = Some(label.into());
        self
    }
    fn with(mut self, replacement: &str) -> Self {
        self.0.replacement = Some(replacement.into());
        self
    }
    fn modulus(mut self, modulus: u64) -> Self {
        self.0.modulus = Some(modulus);
        self
    }
}

fn outcome(rules: &[Build], input: &[(&str, &str)], line: PrometheusLine, scheme: NameScheme) -> (bool, Option<LabelsBuilder>) {
    let compiled: Result<Vec<_>, _> = rules.iter().map(|build| RelabelConfig::new(build.0.clone(), line, scheme)).collect();
    let Ok(compiled) = compiled else { return (false, None) };
    let mut labels: LabelsBuilder = input.iter().copied().collect();
    let foreseen = foresee(&compiled, |name| labels.get(name).unwrap_or_default().into());
    let kept = process(&compiled, &mut labels);
    assert!(foreseen.is_none_or(|foreseen| foreseen == kept), "foreseen {foreseen:?}: {compiled:?}");
    (kept, Some(labels))
}

#[track_caller]
fn check_scheme(case: u32, rules: &[Build], input: &[(&str, &str)], line: PrometheusLine, scheme: NameScheme, expected: Outcome) {
    let (kept, labels) = outcome(rules, input, line, scheme);
    match (expected, labels) {
        (Refused, None) => {}
        (Dropped, Some(_)) => assert!(!kept, "case {case} {line:?}: expected to be dropped"),
        (Set(changes), Some(labels)) => {
            let mut wanted: LabelsBuilder = input.iter().copied().collect();
            changes.iter().for_each(|(name, value)| wanted.set(name, value));
            assert!(kept, "case {case} {line:?}: dropped");
            assert_eq!(labels.build(), wanted.build(), "case {case} {line:?}");
        }
        (expected, labels) => panic!("case {case} {line:?}: expected {expected:?}, got {labels:?}"),
    }
}

/// Prometheus 3 with UTF-8 names, and 2, which has legacy names even if asked for others.
#[track_caller]
fn check_lines(case: u32, rules: &[Build], input: &[(&str, &str)], v3: Outcome, v2: Outcome) {
    check_scheme(case, rules, input, PrometheusLine::V3, NameScheme::Utf8, v3);
    check_scheme(case, rules, input, PrometheusLine::V2, NameScheme::Utf8, v2);
    check_scheme(case, rules, input, PrometheusLine::V2, NameScheme::Legacy, v2);
}

#[track_caller]
fn check(case: u32, rule: Build, input: &[(&str, &str)], expected: Outcome) {
    check_lines(case, &[rule], input, expected, expected);
}

#[test]
fn verdicts_before_labels_change() {
    let keep = action("keep").source(&["a", "b"]).regex("foo;bar");
    let drop = action("drop").source(&["x"]).regex("()");
    let equal = action("keepequal").source(&["a"]).target("a");
    for (rules, expected) in [
        (vec![], Some(true)),
        (vec![keep.clone(), equal.clone()], Some(true)),
        (vec![keep.clone(), drop.clone(), equal.clone()], Some(false)),
        (vec![drop.clone(), copy(&["a"])], Some(false)),
        (vec![keep, copy(&["a"]), drop], None),
    ] {
        let compile = |build: Build| RelabelConfig::new(build.0, PrometheusLine::V3, NameScheme::Utf8).unwrap();
        let rules: Vec<_> = rules.into_iter().map(compile).collect();
        let value = |name: &str| ABC.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value).into();
        assert_eq!(foresee(&rules, value), expected, "{rules:?}");
    }
}

#[test]
fn replace() {
    check(1, copy(&["a"]), ABC, Set(&[("d", "foo")]));
    check(2, copy(&["a", "b", "missing"]), ABC, Set(&[("d", "foo;bar;")]));
    check(3, copy(&["a", "b"]).separator(""), ABC, Set(&[("d", "foobar")]));
    check(4, copy(&["a"]).regex("fo"), ABC, UNCHANGED);
    check(5, copy(&["a"]).regex("f|foo").with("hit"), ABC, Set(&[("d", "hit")]));
    check(6, action("replace").target("a").with(""), ABC, Set(&[("a", "")]));
    check(7, copy(&["missing"]).target("a"), ABC, Set(&[("a", "")]));
    check(8, copy(&["missing"]).with("x"), ABC, Set(&[("d", "x")]));
    check(9, copy(&["missing"]).regex("(.+)").target("a").with("x"), ABC, UNCHANGED);
    check(10, copy(&["missing"]).regex(".*").target("a").with(""), ABC, Set(&[("a", "")]));
}

#[test]
fn templates() {
    let parts = copy(&["a"]).regex("(f)(.*)");
    check(11, parts.clone().with("$1abc"), ABC, UNCHANGED);
    check(12, parts.clone().with("${1}abc"), ABC, Set(&[("d", "fabc")]));
    check(13, parts.clone().with("$2-$1"), ABC, Set(&[("d", "oo-f")]));
    check(14, parts.clone().with("$$1-$1"), ABC, Set(&[("d", "$1-f")]));
    check(15, copy(&["a"]).with("x$9y${9}z"), ABC, Set(&[("d", "xz")]));
    check(16, copy(&["a"]).with("x$"), ABC, Set(&[("d", "x$")]));
    check(16, copy(&["a"]).with("x$-y"), ABC, Set(&[("d", "x$-y")]));
    check(16, copy(&["a"]).with("x${1"), ABC, Set(&[("d", "x${1")]));
    check(16, copy(&["a"]).with("x${}y"), ABC, Set(&[("d", "x${}y")]));
    check(17, copy(&["a"]).with("${ 1 }z"), ABC, Set(&[("d", "${ 1 }z")]));
    check(17, copy(&["a"]).with("${a-b}z"), ABC, Set(&[("d", "${a-b}z")]));
    check(17, copy(&["a"]).with("${${1}}"), ABC, Set(&[("d", "${foo}")]));
    check(18, copy(&["a"]).with("$1_x"), ABC, UNCHANGED);
    check(18, copy(&["a"]).with("$10"), ABC, UNCHANGED);
    check(18, copy(&["a"]).with("${1}0"), ABC, Set(&[("d", "foo0")]));
    check(18, copy(&["a"]).with("$$$1"), ABC, Set(&[("d", "$foo")]));
    check(19, copy(&["a"]).regex("(?P<first>.)(?P<rest>.*)").with("${rest}_$first"), ABC, Set(&[("d", "oo_f")]));
    check(20, copy(&["a"]).regex("(?<first>.)(.*)").with("$first"), ABC, Set(&[("d", "f")]));
    check(21, copy(&["a"]).regex("f(o+)").with("[$0]"), ABC, Set(&[("d", "[foo]")]));
    check(22, parts.with("${01}|$01"), ABC, Set(&[("d", "|")]));
    check(23, copy(&["a"]).regex("(x)?foo(y)?").with("<$1$2>"), ABC, Set(&[("d", "<>")]));
    check(24, copy(&["a", "b"]).regex("(.*);(.*)").target("x_${1}").with("$2"), ABC, Set(&[("x_foo", "bar")]));
    check(65, copy(&["a"]).regex("(?P<n>f)(?P<n>oo)").with("${n}"), ABC, Set(&[("d", "f")]));
    check(65, copy(&["a"]).regex("(?P<n>x)|(?P<n>foo)").with("${n}"), ABC, Set(&[("d", "foo")]));
}

#[test]
fn computed_names() {
    let rule = copy(&["a"]).target("${1}").with("v");
    let input = &[("a", "1-x")];
    check_scheme(25, std::slice::from_ref(&rule), input, PrometheusLine::V3, NameScheme::Legacy, UNCHANGED);
    check_lines(26, &[rule], input, Set(&[("1-x", "v")]), UNCHANGED);
    check(27, copy(&["a"]).regex("foo(x)?").target("${1}"), ABC, UNCHANGED);
}

#[test]
fn keep_and_drop() {
    check(28, action("keep").source(&["a"]).regex("f.*"), ABC, UNCHANGED);
    check(28, action("keep").source(&["a"]).regex("f"), ABC, Dropped);
    check(29, action("keep").source(&["zz"]), ABC, UNCHANGED);
    check(29, action("keep").source(&["zz"]).regex(".+"), ABC, Dropped);
    check(30, action("drop").source(&["a", "b"]).regex("foo;bar"), ABC, Dropped);
    check(30, action("drop"), ABC, Dropped);
    check(31, action("drop").source(&["a"]).regex(""), ABC, UNCHANGED);
    check(32, action("drop").source(&["zz"]).regex(""), ABC, Dropped);
    check(33, action("keepequal").source(&["a"]).target("x"), &[("a", "1"), ("x", "1")], UNCHANGED);
    check(33, action("keepequal").source(&["a"]).target("x"), &[("a", "1"), ("x", "2")], Dropped);
    check(34, action("keepequal").source(&["p"]).target("q"), ABC, UNCHANGED);
    check(35, action("dropequal").source(&["a", "b"]).target("x"), &[("a", "1"), ("b", "2"), ("x", "1;2")], Dropped);
    check(35, action("dropequal").source(&["a", "b"]).target("x"), ABC, UNCHANGED);
    check(63, action("keep").source(&["p"]).regex("true"), &[("p", "true")], UNCHANGED);
}

#[test]
fn hashmod() {
    let hashmod = |labels: &[&str], modulus| action("hashmod").source(labels).target("d").modulus(modulus);
    check(36, hashmod(&["a"], 1000), ABC, Set(&[("d", "696")]));
    check(37, hashmod(&["a", "b"], 65536).separator("-"), ABC, Set(&[("d", "40113")]));
    check(38, hashmod(&["a", "b"], 97), ABC, Set(&[("d", "92")]));
    check(39, hashmod(&["zz"], 4), ABC, Set(&[("d", "2")]));
    check(40, hashmod(&["__address__"], 3), &[("__address__", "10.0.0.1:9100")], Set(&[("d", "2")]));
    check(41, hashmod(&["a"], u64::MAX), ABC, Set(&[("d", "17145033699835028696")]));
}

#[test]
fn names() {
    let map = |regex| action("labelmap").regex(regex);
    check(42, map("__meta_(.+)"), &[("__meta_x", "1"), ("__meta_y_z", "2")], Set(&[("x", "1"), ("y_z", "2")]));
    check(43, map("__meta_(.+)").with("m_${1}_z"), &[("__meta_x", "1")], Set(&[("m_x_z", "1")]));
    check(44, map("[ab](.*)").with("z$1"), &[("a", "1"), ("b", "2")], Set(&[("z", "2")]));
    check(45, map("a(.*)").with("aa$1"), &[("a", "1"), ("aa", "2")], Set(&[("aa", "1"), ("aaa", "2")]));
    let rule = [map("a(.+)").with("$1")];
    check_scheme(46, &rule, &[("a1", "v")], PrometheusLine::V3, NameScheme::Legacy, Set(&[("1", "v")]));
    check_lines(46, &rule, &[("a1", "v")], Set(&[("1", "v")]), Set(&[("1", "v")]));
    check(47, map("m_(.*)").with("$1"), &[("m_", "1")], Set(&[("", "1")]));
    check_lines(48, &[map("m_(.+)").with("é_$1")], &[("m_x", "1")], Set(&[("é_x", "1")]), Refused);
    let input = &[("__meta_x", "1"), ("b", "2"), ("bb", "3")];
    check(49, action("labeldrop").regex("__meta.*|b"), input, Set(&[("__meta_x", ""), ("b", "")]));
    let input = &[("__name__", "1"), ("b", "2"), ("bb", "3")];
    check(50, action("labelkeep").regex("__name__|b"), input, Set(&[("bb", "")]));
}

#[test]
fn the_last_of_equal_new_names_wins() {
    let map = action("labelmap").regex("[ab]_(.*)");
    let add = action("replace").target("a_n").with("added");
    let input = &[("b_n", "old")];
    let set = |n| Set(if n { &[("a_n", "added"), ("n", "added")] } else { &[("a_n", "added"), ("n", "old")] });
    // What a rule added is visited last in 3, by name in 2.
    check_lines(71, &[add.clone(), map.clone()], input, set(true), set(false));
    // It is not last for having another value, but for having been absent.
    let input = &[("a_n", "old"), ("b_n", "old")];
    check_lines(72, &[add.clone(), map.clone()], input, set(false), set(false));
    let without = action("labeldrop").regex("a_.*");
    check_lines(73, &[without, add, map], input, set(true), set(false));
}

#[test]
fn targets_of_series_labels_come_last() {
    let map = RelabelConfig::new(action("labelmap").regex("[ab]_(.*)").0, PrometheusLine::V3, NameScheme::Utf8).unwrap();
    let replace = action("replace").target("a_n").with("new");
    let replace = RelabelConfig::new(replace.0, PrometheusLine::V3, NameScheme::Utf8).unwrap();
    let result = |rules: &[&RelabelConfig], set: &[&str]| {
        let rules: Vec<_> = rules.iter().copied().cloned().collect();
        let mut labels: LabelsBuilder = [("a_n", "a"), ("b_n", "b")].into_iter().collect();
        assert!(process_series(&rules, &mut labels, || set.iter().copied()));
        labels.get("n").unwrap().to_owned()
    };
    assert_eq!(result(&[&map], &[]), "b");
    assert_eq!(result(&[&map], &["a_n"]), "a");
    assert_eq!(result(&[&map], &["b_n", "a_n"]), "a");
    assert_eq!(result(&[&map], &["a_n", "b_n"]), "b");
    // An exposed label that a rule overwrites comes last, one that was set on top keeps its place.
    assert_eq!(result(&[&replace, &map], &[]), "new");
    assert_eq!(result(&[&replace, &map], &["a_n", "b_n"]), "b");
}

#[test]
fn templates_of_targets_in_prometheus_2() {
    // An empty value removes the label that is called like the template, not the one it expands to.
    let remove = copy(&["a"]).target("${1}").with("");
    check_lines(74, &[remove], &[("a", "b"), ("b", "1")], Set(&[("b", "")]), UNCHANGED);
    let literal = action("lowercase").source(&["a"]).target("$1");
    check_scheme(75, std::slice::from_ref(&literal), ABC, PrometheusLine::V3, NameScheme::Legacy, Refused);
    check_lines(75, &[literal], ABC, Set(&[("$1", "foo")]), Set(&[("$1", "foo")]));
    let equal = action("keepequal").source(&["missing"]).target("x_$1");
    check_lines(76, &[equal], ABC, UNCHANGED, UNCHANGED);
    check_lines(77, &[action("hashmod").target("$1").modulus(1)], ABC, Set(&[("$1", "0")]), Refused);
}

#[test]
fn case_mapping() {
    let lower = |label| action("lowercase").source(&[label]).target("d");
    check(51, lower("a"), &[("a", "FooÉ İ ß")], Set(&[("d", "fooé i ß")]));
    check(51, lower("a"), &[("a", "ΟΔΟΣ")], Set(&[("d", "οδοσ")]));
    check(52, action("uppercase").source(&["a"]).target("d"), &[("a", "FooÉ ß ı")], Set(&[("d", "FOOÉ ß I")]));
    check(53, lower("zz").target("a"), ABC, Set(&[("a", "")]));
}

#[test]
fn newlines() {
    let input = &[("a", "x\ny")];
    let v3 = Set(&[("d", "hit:x\ny")]);
    check_lines(54, &[copy(&["a"]).regex("(.*)").with("hit:$1")], input, v3, UNCHANGED);
    let drop = |regex| action("drop").source(&["a"]).regex(regex);
    check_lines(55, &[drop("x.y")], input, Dropped, UNCHANGED);
    check(56, drop("x"), &[("a", "x\n")], UNCHANGED);
    check(57, drop("(?-s)x.y"), input, UNCHANGED);
    check(58, drop("(?m)^b$"), &[("a", "a\nb")], UNCHANGED);
    check(59, drop("(?i)FOO"), ABC, Dropped);
    check(60, drop("x)|(foo"), ABC, Dropped);
}

#[test]
fn several() {
    let port = copy(&["__address__", "p"]).regex(r"([^:]+)(?::\d+)?;(\d+)").target("__address__").with("$1:$2");
    let rewritten = Set(&[("__address__", "10.0.0.1:9102")]);
    check(61, port.clone(), &[("__address__", "10.0.0.1:80"), ("p", "9102")], rewritten);
    check(61, port, &[("__address__", "10.0.0.1:80")], UNCHANGED);
    let rules =
        [copy(&["a"]).target("__tmp_x"), copy(&["__tmp_x"]).regex("f(.*)").target("a"), action("labeldrop").regex("__tmp_.*")];
    check_lines(62, &rules, ABC, Set(&[("a", "oo")]), Set(&[("a", "oo")]));
    check(64, action("replace").target("d").with("1"), ABC, Set(&[("d", "1")]));
    check(64, action("replace").target("d").with("yes"), ABC, Set(&[("d", "yes")]));
}

#[test]
fn load_errors() {
    let dotted = [action("replace").target("my.lbl").with("v")];
    check_lines(66, &dotted, ABC, Set(&[("my.lbl", "v")]), Refused);
    check_scheme(67, &dotted, ABC, PrometheusLine::V3, NameScheme::Legacy, Refused);
    check(68, copy(&["a"]).regex("(?=x)"), ABC, Refused);
    check(68, copy(&["a"]).regex("(?P<é>.*)"), ABC, Refused);
    check(69, action("labelkeep").source(&[]).regex(".*"), ABC, Refused);
    let equal = action("keepequal").source(&["p"]).target("q");
    check(70, equal.clone().regex("(.*)"), ABC, Refused);
    check(70, equal.separator(";").with("$1"), ABC, UNCHANGED);
}
