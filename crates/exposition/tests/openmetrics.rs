//! OpenMetrics, rule by rule.

mod common;

use common::{assembling, count, verdict};
use kvass_exposition::{CountError, CountOptions, Format};
use kvass_model::PrometheusLine::{self, V2, V3};

fn options(line: PrometheusLine) -> CountOptions {
    CountOptions { format: Format::OpenMetrics, line, utf8_names: true, ..CountOptions::default() }
}

#[track_caller]
fn check_body(body: &str, samples: [Option<u64>; 2]) {
    for (line, samples) in [V2, V3].into_iter().zip(samples) {
        let options = options(line);
        let expected = samples.map(|n| (n, n));
        assert_eq!(verdict(&options, body.as_bytes()), expected, "{line:?}: {body:?}");
        assert_eq!(verdict(&assembling(&options), body.as_bytes()), expected, "{line:?}, labels assembled: {body:?}");
    }
}

/// Adds the end mark.
#[track_caller]
fn check(body: &str, samples: [Option<u64>; 2]) {
    check_body(&format!("{body}# EOF\n"), samples);
}

#[test]
fn the_end_mark() {
    check_body("", [None, Some(0)]);
    for (samples, body) in [(Some(0), "# EOF"), (Some(0), "# EOF\n"), (Some(1), "a 1\n# EOF")] {
        check_body(body, [samples; 2]);
    }
    for body in
        ["a 1\n", "a 1", "# EO", "# EOF\n\n", "# EOF\na 1\n", "# EOF \n", "# EOFX\n", "# EOF\n# EOF\n", "a 1\n# EOF\r\n", "\n"]
    {
        check_body(body, [None; 2]);
    }
    assert_eq!(count(options(V3), b"a 1\n"), Err(CountError::MissingEof { line: 2 }));
}

#[test]
fn accepted_by_both() {
    for (samples, body) in [
        (0, "# HELP a \n# HELP a  x\n# TYPE a counter\n# TYPE a gauge\n# UNIT a_seconds seconds\n# UNIT a \n"),
        (
            0,
            "# TYPE a gaugehistogram\n# TYPE a info\n# TYPE a stateset\n# TYPE a unknown\n# TYPE a summary\n# TYPE a histogram\n",
        ),
        (1, "a 1\n"),
        (1, "a{} 1\n"),
        (1, "a{b=\"c\",d=\"e\"} 1\n"),
        (1, "a{b=\"x\\\"}\\n\"} 1\n"),
        (1, "a{b=\"\0\"} 1\n"),
        (4, "a 1 1.5\na 1 -1\na 1 1e3\na 1 .5\n"),
        (1, "a_total 1 # {} 1\n"),
        (1, "a_bucket{le=\"1\"} 1 2 # {b=\"c\"} 1 1.5\n"),
        (2, "a_total 1\na_created 5\n"),
        (2, "a 1\na 2\n"),
    ] {
        check(body, [Some(samples); 2]);
    }
}

#[test]
fn rejected_by_both() {
    for body in [
        "\n",
        "# foo\n",
        "#foo\n",
        " a 1\n",
        "a  1\n",
        "a\t1\n",
        "a 1 \n",
        "a 1  2\n",
        "a 1\r\n",
        "a {b=\"c\"} 1\n",
        "a{b=\"c\"}1\n",
        "a{ b=\"c\"} 1\n",
        "a{b =\"c\"} 1\n",
        "a{b=\"c\", d=\"e\"} 1\n",
        "a{b=\"c\"d=\"e\"} 1\n",
        "a{,} 1\n",
        "a{b=\"c\",,} 1\n",
        "a{b=\"x\ny\"} 1\n",
        "a{b=\"c\",b=\"d\"} 1\n",
        "a x\n",
        "a 1 x\n",
        "a 1 NaN\n",
        "a 1 +Inf\n",
        "a 1 2 3\n",
        "# HELP a\n",
        "# TYPE a untyped\n",
        "# TYPE a counter \n",
        "#  TYPE a counter\n",
        "# UNIT a_seconds second\n",
        "# UNIT aseconds seconds\n",
        "# UNIT seconds seconds\n",
        "a_total 1 # {b=\"c\"}\n",
        "a_total 1 # {b=\"c\"} x\n",
        "a_total 1 # {b=\"c\"} 1 NaN\n",
        "a_total 1 # {b=\"c\"} 1 2 \n",
        "a_total 1 # b 1\n",
        "a_total 1 #{b=\"c\"} 1\n",
        "a_total 1  # {b=\"c\"} 1\n",
        "a_total 1 # {\"b\"} 1\n",
        "a_total 1 # {b=\"\0\"} 1\n",
    ] {
        check(body, [None; 2]);
    }
}

#[test]
fn differences_between_the_lines() {
    for (body, samples) in [
        ("a{b=\"c\",} 1\n", 1),
        ("{\"a.b\",c=\"d\"} 1\n", 1),
        ("a{\"b.c\"=\"d\"} 1\n", 1),
        ("# TYPE \"a.b\" counter\n", 0),
        ("a 1 # {b=\"c\"} 1\n", 1),
        ("a_total 1 # {b=\"c\",} 1\n", 1),
        ("a_total 1 # {\"b\"=\"c\"} 1\n", 1),
    ] {
        check(body, [None, Some(samples)]);
    }
}
