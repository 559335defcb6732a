use super::*;

const NL: &str = "x\ny";

fn compiled(pattern: &str) -> Result<GoRegex, RegexError> {
    GoRegex::anchored(pattern, PrometheusLine::V3)
}

/// The pattern matches each of `yes` as a whole and none of `no`.
#[track_caller]
fn check(pattern: &str, yes: &[&str], no: &[&str]) {
    let regex = compiled(pattern).unwrap();
    for text in yes {
        assert!(regex.is_match(text), "{pattern} does not match {text:?}");
        // The capturing path and the one without agree.
        assert!(regex.groups(text).is_some_and(|groups| groups.get(0) == Some(*text)), "{pattern} on {text:?}");
    }
    for text in no {
        assert!(!regex.is_match(text), "{pattern} matches {text:?}");
    }
}

#[track_caller]
fn refused(pattern: &str, problem: Problem) {
    assert_eq!(compiled(pattern).unwrap_err().problem, problem, "{pattern}");
}

#[test]
fn perl_classes_are_ascii() {
    check(r"\d", &["0"], &["٣", "a"]);
    check(r"\D", &["٣", "a"], &["0"]);
    check(r"\w", &["a", "_", "9"], &["é"]);
    check(r"\W", &["é", "-"], &["a"]);
    check(r"\s", &[" ", "\t", "\n", "\x0c", "\r"], &["\x0b", "\u{a0}"]);
    check(r"\S", &["\x0b", "\u{a0}"], &[" "]);
    check(r"[\d_]", &["1", "_"], &["٣"]);
    check(r"[^\d_]", &["٣"], &["1", "_"]);
    check(r"[\W5]", &["é", "5"], &["6", "a"]);
    check(r"[^\W5]", &["6", "a"], &["é", "5"]);
    check(r"(?i)\w", &["\u{212A}", "\u{17F}", "k"], &["é"]);
    check(r"(?i)\W", &["é"], &["\u{212A}", "k"]);
    check(r"é\bx", &["éx"], &[]);
    check(r"a\b.*", &["aé", "a-"], &["ab"]);
    check(r"a\B.*", &["ab"], &["aé"]);
}

#[test]
fn word_boundaries_are_between_characters() {
    for (pattern, text, expected) in
        [(r"\W|\B", "aσb", true), (r"σ|\B", "cσA", true), (r"\B", "aσb", false), (r"\B", "aσσb", true)]
    {
        assert_eq!(GoRegex::unanchored(pattern).unwrap().is_match(text), expected, "{pattern} on {text:?}");
    }
}

#[test]
fn literals_that_are_operators_in_the_crate() {
    check(r"\Qa.b\E+", &["a.b", "a.bb"], &["axb"]);
    assert!(GoRegex::unanchored(r"\Qa.b").is_ok_and(|regex| regex.is_match("xa.b") && !regex.is_match("axb")));
    check(r"a\Q\E*", &["", "aa"], &["b"]);
    check(r"\<a\>", &["<a>"], &["a"]);
    check(r".*\b{start}", &["x{start}"], &["x", "{start}"]);
    check("[a&&b]", &["a", "&", "b"], &["c"]);
    check("[a~~b]", &["a", "~", "b"], &["c"]);
    check("[+--]", &["+", ",", "-"], &["."]);
    check("[!--/]", &["!", "-", "/"], &["."]);
    check("[[a]", &["[", "a"], &["]"]);
    check("[a[b]", &["[", "a", "b"], &["]"]);
    check("[a[b]]", &["a]", "[]"], &["a"]);
    check("[a-z&&[^b]]", &["b]", "^]", "&]"], &["b", "é]"]);
    check("[[.a.]]", &["a]", ".]", "[]"], &["a"]);
    check("[[=a=]]", &["a]", "=]"], &["a"]);
    check(r"[\d-z]", &["1", "-", "z"], &["a"]);
    check("[]a]", &["]", "a"], &["b"]);
    check("[^]a]", &["b", "\n"], &["]", "a"]);
    check("[a-]", &["a", "-"], &["b"]);
    check("[a-c-e]", &["b", "-", "e"], &["d"]);
    check("[#& ]", &["#", "&", " "], &["a"]);
    check("[[:foo]", &["[", ":", "f"], &["a"]);
    for text in ["a{,2}", "a{", "a{}", "a{x}", "a{1", "{1}x{", "a{ 1}", "a{1, 2}", "a{01}", "a{1,02}", "a{-1}"] {
        let text = text.trim_start_matches("{1}");
        check(text, &[text], &["a", "aa"]);
    }
    check("x#y z", &["x#y z"], &["x"]);
}

#[test]
fn code_points() {
    check(r"\0\07\101\x41\x{1F600}\177", &["\0\x07AA😀\x7f"], &[]);
    check(r"\1234", &["S4"], &[]);
    check(r"\a\f\t\n\r\v", &["\x07\x0c\t\n\r\x0b"], &[]);
    check(r"\_\-\/\@\#\&\~\%\:\!\ \`", &["_-/@#&~%:! `"], &[]);
    check(r"[\x41-\x43\060]", &["A", "B", "C", "0"], &["D"]);
    check(r"a|\x{D800}", &["a"], &["\u{FFFD}"]);
    check(r"[\x{D7FF}-\x{E000}]", &["\u{D7FF}", "\u{E000}"], &["a"]);
    check(r"[^\x{D800}]", &["a", "\n"], &[""]);
    check(r"a|[\x{DC00}-\x{DFFF}]", &["a"], &[""]);
}

#[test]
fn unicode_classes() {
    check(r"\pL\p{Lu}\p{Greek}\PL", &["aÉα1"], &["1Éα1", "aÉαa"]);
    check(r"\p{^L}\P{^L}", &["1a"], &["a1"]);
    check(r"[\p{Greek}1]", &["α", "1"], &["a"]);
    check(r"\p{Letter}\p{greek}\p{lu}\p{ASCII}\p{LC}", &["αγABc"], &[]);
    check(r"\p{Any}|\p{Cs}|\p{Cn}|\p{Assigned}", &["a", "\n"], &["ab"]);
    check(r"\p{Old_Italic}|\p{Nko}|\p{SignWriting}", &["\u{10300}", "\u{7c0}"], &["a"]);
    check(r"\pN", &["٣"], &["a"]);
    for name in super::unicode::known_names() {
        assert!(compiled(&format!(r"\p{{{name}}}\P{{{name}}}[\p{{{name}}}]")).is_ok(), "{name}");
    }
}

#[test]
fn flags() {
    check("(?i)k", &["k", "K", "\u{212A}"], &["x"]);
    check("(?)(?ii)a(?-i)b", &["ab", "Ab"], &["aB"]);
    check("(?i-i)a", &["a"], &["A"]);
    check("(?i:a)b", &["Ab"], &["AB"]);
    check("a(?i)b|c", &["aB", "C"], &["Ab"]);
    check("(a(?i)b)c", &["aBc"], &["aBC"]);
    check("(?i)(?-i:a)b", &["aB"], &["AB"]);
    check("a(?i)*", &["", "aa"], &["A"]);
    check("a*(?i)?", &["", "aa"], &["A"]);
    check("(?-s).", &["x"], &["\n"]);
    check("(?-s:.)(?s:.)", &["a\n"], &["\na"]);
    check("(?m)x$.^y", &[NL], &["x.y"]);
    check("x$.^y", &[], &[NL]);
    check(r"(?m)\Ax\ny\z", &[NL], &[]);
    let groups = |pattern: &str| compiled(pattern).unwrap().groups("aab").unwrap().get(1).map(str::len);
    assert_eq!(groups("(a*).*"), Some(2));
    assert_eq!(groups("(?U)(a*).*"), Some(0));
    assert_eq!(groups("(?U)(a*?).*"), Some(2));
    assert_eq!(groups("(a(?U)*).*"), Some(0));
    assert_eq!(groups("(a{1,2}?).*"), Some(1));
}

#[test]
fn group_names() {
    let regex = compiled("(?P<1n>a)(b)(?<n>c)(?:d)(?P<n>e)").unwrap();
    let names: Vec<_> = regex.group_names().iter().map(Option::as_deref).collect();
    assert_eq!(names, [None, Some("1n"), None, Some("n"), Some("n")]);
    assert_eq!(regex.groups("abcde").unwrap().get(4), Some("e"));
}

#[test]
fn repetition() {
    check("a{0}b{0,}c{2}d{1,2}", &["ccd", "bbccdd"], &["accd", "cd"]);
    check("(a{500}){2}", &[&"a".repeat(1000)], &["a"]);
    check("((a{1000}){0}){5}b", &["b"], &["ab"]);
    check("(a){0}(b)", &["b"], &["ab"]);
    check("(?:a*)*", &["", "aa"], &["b"]);
    check(r"^*\b{2}a", &["a"], &[""]);
    refused("a**", Problem::NestedRepetition("*".into()));
    refused("a*+", Problem::NestedRepetition("+".into()));
    refused("a+*", Problem::NestedRepetition("*".into()));
    refused("a???", Problem::NestedRepetition("?".into()));
    refused("a{2}{3}", Problem::NestedRepetition("{3}".into()));
    refused("a{2}*", Problem::NestedRepetition("*".into()));
    refused("*", Problem::NothingToRepeat("*".into()));
    refused("a|+?", Problem::NothingToRepeat("+?".into()));
    refused("((?i)?)", Problem::NothingToRepeat("?".into()));
    refused("{1}", Problem::NothingToRepeat("{1}".into()));
    refused("a{1001}", Problem::InvalidRepeatCount("{1001}".into()));
    refused("a{2,1}", Problem::InvalidRepeatCount("{2,1}".into()));
    refused("a{99999999999}", Problem::InvalidRepeatCount("{99999999999}".into()));
    refused("(a{500}){3}", Problem::InvalidRepeatCount("{3}".into()));
}

#[test]
fn refusals() {
    let range = |text: &str| Problem::InvalidRange(text.into());
    let class = |text: &str| Problem::UnknownClass(text.into());
    let escape = |text: &str| Problem::InvalidEscape(text.into());
    let group = |text: &str| Problem::InvalidGroup(text.into());
    let name = |text: &str| Problem::InvalidGroupName(text.into());
    refused("[a--b]", range("a--"));
    refused("[z-a]", range("z-a"));
    refused("[[:foo:]]", class("[:foo:]"));
    refused(r"[a-\d]", escape(r"\d"));
    refused(r"\p{sc=Greek}", class(r"\p{sc=Greek}"));
    refused(r"\p{Script=Greek}", class(r"\p{Script=Greek}"));
    refused(r"\p{Alphabetic}", class(r"\p{Alphabetic}"));
    refused(r"\p{Emoji}", class(r"\p{Emoji}"));
    refused(r"\p{IsGreek}", class(r"\p{IsGreek}"));
    refused(r"\p{Grek}", class(r"\p{Grek}"));
    refused(r"\p{}", class(r"\p{}"));
    refused(r"[\pQ]", class(r"\pQ"));
    for letter in ["1", "8", "u", "U", "Z", "C", "G", "K", "h", "R", "X", "e", "E", "é"] {
        refused(&format!(r"\{letter}x"), escape(&format!(r"\{letter}")));
    }
    refused(r"\x{}", escape(r"\x{}"));
    refused(r"\x{110000}", escape(r"\x{110000}"));
    refused(r"\xZ1", escape(r"\xZ"));
    refused("(?x)a", group("(?x"));
    refused("(?u)a", group("(?u"));
    refused("(?-u)a", group("(?-u"));
    refused("(?R)", group("(?R"));
    refused("(?=a)", group("(?="));
    refused("(?#a)", group("(?#"));
    refused("(?-)", group("(?-)"));
    refused("(?i--s)", group("(?i--"));
    refused("(?P=n)", group("(?P"));
    refused("(?P<é>a)", name("é"));
    refused("(?P<a.b>a)", name("a.b"));
    refused("(?P<>a)", name(""));
    refused("(?<=a)b>", name("=a)b"));
    refused("(", Problem::MissingParenthesis);
    refused("a)", Problem::UnexpectedParenthesis);
    refused("[a", Problem::MissingBracket);
    assert_eq!(GoRegex::unanchored("a\\").unwrap_err().problem, Problem::TrailingBackslash);
    refused(&"(?:".repeat(1001), Problem::TooManyOpen);
}

#[test]
fn messages_show_the_pattern_and_the_reason() {
    let error = compiled("a**").unwrap_err();
    assert_eq!(error.to_string(), r#"invalid regular expression "a**": repetition operator "*" follows another one"#);
}

#[test]
fn the_wrapping_is_textual() {
    check("x)|(foo", &["x", "foo"], &["fo"]);
    let regex = compiled("x)|(foo").unwrap();
    assert!(regex.is_match("xyz") && regex.is_match("a foo") && !regex.is_match("foo x"));
    refused("a\\", Problem::MissingParenthesis);
    let v2 = GoRegex::anchored("x.y", PrometheusLine::V2).unwrap();
    assert!(v2.is_match("x.y") && !v2.is_match(NL));
    assert!(GoRegex::unanchored("b").unwrap().is_match("abc"));
}

#[test]
fn large_programs() {
    for pattern in [r"\w{500}", r"[\w.-]{1,255}", r"\pL{1,300}"] {
        assert!(compiled(pattern).is_ok(), "{pattern}");
    }
    let error = GoRegex::unanchored(r"\pL{1,1000}").unwrap_err();
    assert_eq!(error.problem, Problem::TooLarge(10));
}

/// Deep patterns must not exhaust the stack of a thread, 2 MiB here as in the services.
#[test]
fn nesting() {
    for (open, close) in [("(", ")"), ("(a|b", ")*"), ("(?i:a", "b)?")] {
        let pattern = open.repeat(999) + &close.repeat(999);
        let _ = compiled(&pattern).map(|regex| regex.is_match("aaaa"));
    }
    assert!(compiled(&("(".repeat(998) + &")".repeat(998))).is_ok());
}

/// How deeply Go nests at most, as recorded from it.
#[test]
fn heights() {
    for (open, inside, close, deepest) in [
        ("(", "", ")", 998),
        ("(", "ab", ")", 998),
        ("(", "(?:ab)c", ")", 998),
        ("(", "a|b", ")", 998),
        ("(", r"\d|x", ")", 998),
        ("(", "ab|cd", ")", 997),
        ("(", "ab|cd|(?:x|ef)", ")", 997),
        ("(", r"\d|^", ")", 997),
        ("(", "x{2}", ")", 997),
        ("(", "(?i)a(?-i)b", ")", 997),
        ("(", "ax*", ")", 996),
        ("(a|", "x", ")", 499),
        ("(ab|", "x", ")", 499),
        ("(a", "|", ")", 499),
        ("(?:a", "x", "b)?", 499),
        ("(?:a|b(?:", "x", "))", 499),
        ("(", "x", ")*", 499),
        ("(", "x", "|c)+?", 333),
    ] {
        let translated = |depth| translate(&format!("^(?s:{}{inside}{})$", open.repeat(depth), close.repeat(depth)));
        assert!(translated(deepest).is_ok(), "{open} {inside} {close}");
        assert!(matches!(translated(deepest + 1), Err(Problem::TooDeep)), "{open} {inside} {close}");
    }
    // What does not capture has no height.
    assert!(compiled(&format!("{}x{}", "(?:".repeat(1000), ")".repeat(1000))).is_ok());
}

#[test]
fn shortcuts_agree_with_the_engine() {
    let texts = ["", "a", "b", "ab", "a|b", "\n", "a\n", "é"];
    for pattern in ["", ".*", "(.*)", ".+", "(.+)", "a", "a|b", "b|ab|a", "a|", "é|-", "(a|b)", "a.b"] {
        for line in [PrometheusLine::V2, PrometheusLine::V3] {
            let regex = GoRegex::anchored(pattern, line).unwrap();
            let engine = GoRegex { shape: Shape::General, ..regex.clone() };
            for text in texts {
                assert_eq!(regex.is_match(text), engine.is_match(text), "{pattern} {line:?} on {text:?}");
                let last = regex.group_names().len() - 1;
                let group = |regex: &GoRegex| regex.groups(text).and_then(|groups| groups.get(last));
                assert_eq!(group(&regex), group(&engine), "{pattern} {line:?} on {text:?}");
            }
        }
    }
}
