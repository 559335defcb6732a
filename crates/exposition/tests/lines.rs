//! Both text formats. Which bodies are good is recorded in `crates/scrape/tests/data/bodies`; this is the rest.

mod common;

use common::{assembling, count, verdict};
use kvass_exposition::{CountError, CountOptions, Format};
use kvass_model::PrometheusLine::{self, V2, V3};

fn options(line: PrometheusLine) -> CountOptions {
    CountOptions { line, ..CountOptions::default() }
}

#[test]
fn many_labels() {
    let labels: String = (0..40).map(|i| format!("l{i}=\"v\",")).collect();
    for (body, expected) in [(format!("a{{{labels}}} 1"), Some((1, 1))), (format!("a{{{labels}l7=\"w\"}} 1"), None)] {
        for options in [V2, V3].map(options) {
            assert_eq!(verdict(&options, body.as_bytes()), expected, "{body}");
            assert_eq!(verdict(&assembling(&options), body.as_bytes()), expected, "labels assembled: {body}");
        }
    }
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
    let openmetrics = CountOptions { format: Format::OpenMetrics, ..options(V3) };
    assert_eq!(count(openmetrics, b"a 1\n"), Err(CountError::MissingEof { line: 2 }));
}

#[test]
fn endless_entries_are_refused() {
    let error = count(options(V3), &[b"a{b=\"", &b"x".repeat(17 << 20)[..]].concat()).unwrap_err();
    let CountError::Syntax { line: 1, expected, .. } = error else { panic!("{error}") };
    assert_eq!(expected, "an entry of at most 16 MiB");
}
