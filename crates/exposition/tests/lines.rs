//! The text format, rule by rule: which bodies Prometheus stores, and how many samples it sees.

mod common;

use common::{assembling, count, verdict};
use kvass_exposition::{CountError, CountOptions};
use kvass_model::PrometheusLine::{self, V2, V3};

fn options(line: PrometheusLine) -> CountOptions {
    CountOptions { line, utf8_names: true, ..CountOptions::default() }
}

/// `samples`: what 2.x and 3.x count, `None` where they reject the body.
#[track_caller]
fn check(body: &str, samples: [Option<u64>; 2]) {
    for (line, samples) in [V2, V3].into_iter().zip(samples) {
        let options = options(line);
        let expected = samples.map(|n| (n, n));
        assert_eq!(verdict(&options, body.as_bytes()), expected, "{line:?}: {body:?}");
        assert_eq!(verdict(&assembling(&options), body.as_bytes()), expected, "{line:?}, labels assembled: {body:?}");
    }
}

#[test]
fn accepted_by_both() {
    for (samples, body) in [
        (0, ""),
        (0, "\n\n \t\n"),
        (1, "a 1"),
        (1, "a 1\n"),
        (2, "a 1\na 2\n"),
        (1, "a{} 1"),
        (1, "a {b=\"c\"} 1"),
        (1, "a\t{ b = \"c\" , d=\"e\" , } \t 1 \t 2 \t"),
        (1, "a{b=\"c\"d=\"e\"}1"),
        (1, "a{b=\"c\" d=\"e\"} 1"),
        (1, "a+1"),
        (1, "a:b{_c=\"\"} 1"),
        (1, "a{b=\"x\\\\\"} 1"),
        (1, "a{b=\"x\\\"}\"} 1"),
        (1, "a{b=\"x\ny\"} 1"),
        (1, "a{b=\"\0\"} 1"),
        (1, "a{b=\"é,=}{#\"} 1"),
        (2, "a{b=\"line one\nb 2\n\"} 1\nb 1\n"),
        (1, "a{b=\"\",b=\"\"} 1"),
        (5, "a NaN\na nan\na +Inf\na -infinity\na .5e-3"),
        (1, "a 1 9223372036854775807"),
        (0, "#foo\n#HELP a\n#TYPE a bad\n# foo\n#\n# \n# UNIT a b\n# EOF\n# HELPX\n# HELP\n# TYPE\n"),
        (1, "# EOF\na 1\n"),
        (0, "# HELP a\n# HELP a \n# HELP a b \\ \"c\n#\tHELP\ta\tb\r\n"),
        (1, "# TYPE a counter\n# TYPE a gauge\n  #  TYPE   b:c\tuntyped\na 1\n# TYPE a summary\n# TYPE a histogram"),
        (1, "# a comment\r\na 1\n"),
        (1, "a 1\n\0 anything goes {{{"),
        (1, "a 1\n#x\0 anything goes {{{"),
    ] {
        check(body, [Some(samples); 2]);
    }
}

#[test]
fn rejected_by_both() {
    for body in [
        "a",
        "a\n",
        "a{b=\"c\"}",
        "1a 1",
        "a-b 1",
        "é 1",
        "{} 1",
        "a{b=\"c\" 1",
        "a{,} 1",
        "a{b=\"c\",,} 1",
        "a{,b=\"c\"} 1",
        "a{b='c'} 1",
        "a{b=c} 1",
        "a{b} 1",
        "a{b:c=\"d\"} 1",
        "a{1b=\"d\"} 1",
        "a{b=\"c} 1\n",
        "a{b=\"\\\n\"} 1",
        "a{}{} 1",
        "a{b=\"c\",b=\"d\"} 1",
        "a{b=\"c\",b=\"c\"} 1",
        "a{__name__=\"b\"} 1",
        "a one",
        "a 0x1",
        "a 1_0",
        "a 1e400",
        "a 1{",
        "a 1 -1",
        "a 1 1.5",
        "a 1 1e3",
        "a 1 9223372036854775808",
        "a 1 2 3",
        "a 1 # {b=\"c\"} 1",
        "a 1\r\n",
        "\u{feff}a 1",
        "<html>",
        "# HELP \n",
        "# HELP 1a b\n",
        "# TYPE a\n",
        "# TYPE a counter \n",
        "# TYPE a counter\r\n",
        "# TYPE a Counter\n",
        "# TYPE a unknown\n",
        "# TYPE a  counter\n",
        "# TYPE 1a counter\n",
        "a\0 1",
        "a 1\n1",
    ] {
        check(body, [None, None]);
    }
    for body in [&b"a{b=\"\xff\"} 1"[..], b"# HELP a \xff\n"] {
        for line in [V2, V3] {
            assert_eq!(verdict(&options(line), body), None);
        }
    }
}

#[test]
fn quoted_names_are_of_prometheus_3() {
    for body in [
        "{\"a\"} 1",
        "{\"a.b\",c=\"d\"} 1",
        "{c=\"d\",\"a.b\",} 1",
        "{ \"é\" , \"l.m\" = \"n\" } 1",
        "a{\"l\nm\"=\"n\"} 1",
        "# TYPE \"a b\" counter\n# HELP \"x\" y\na 1",
        "  a 1",
        "  {\"a\"} 1",
    ] {
        check(body, [None, Some(1)]);
    }
    for body in [
        "{\"a\",\"b\"} 1",
        "a{\"b\"} 1",
        "{c=\"d\"} 1",
        "{\"\",c=\"d\"} 1",
        "a{\"\"=\"c\"} 1",
        "{\"a\"=\"b\"} 1",
        "{\"a\\\n\"} 1",
    ] {
        check(body, [None, None]);
    }
    let legacy = CountOptions { utf8_names: false, ..options(V3) };
    assert_eq!(verdict(&legacy, b"{\"a\",\"b\"=\"c\"} 1"), Some((1, 1)));
    for body in ["{\"a.b\"} 1", "a{\"b.c\"=\"d\"} 1", "  a 1"] {
        assert_eq!(verdict(&legacy, body.as_bytes()), None, "{body:?}");
    }
}

#[test]
fn many_labels() {
    let labels = |n: usize| (0..n).map(|i| format!("l{i}=\"v\",")).collect::<String>();
    check(&format!("a{{{}}} 1", labels(40)), [Some(1); 2]);
    check(&format!("a{{{}l7=\"w\"}} 1", labels(40)), [None; 2]);
}

#[test]
fn errors_name_the_line() {
    let message = |body: &str| count(options(V2), body.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        message("# HELP a b\na{b=\"x\ny\"} 1\na{b=c} 1\n"),
        "line 4: \"a{b=c} 1\": expected a label value in double quotes"
    );
    assert_eq!(
        message("a 1\na{b=\"c\",b=\"d\"} 1"),
        "line 2: \"a{b=\\\"c\\\",b=\\\"d\\\"} 1\": label name \"b\" is repeated: expected every label once"
    );
    assert_eq!(message("a{b=\"c"), "line 1: \"a{b=\\\"c\": expected the rest of this entry before the body ends");
    let long = message(&format!("{} x", "a".repeat(200)));
    assert_eq!(long, format!("line 1: \"{}…\": expected a number", "a".repeat(80)));
}

#[test]
fn endless_entries_are_refused() {
    let error = count(options(V3), &[b"a{b=\"", &b"x".repeat(17 << 20)[..]].concat()).unwrap_err();
    let CountError::Syntax { line: 1, expected, .. } = error else { panic!("{error}") };
    assert_eq!(expected, "an entry of at most 16 MiB");
}
