//! How a body is cut into chunks, and how closely its labels are looked at, changes nothing.

mod common;

use common::{assembling, count};
use kvass_exposition::{CountError, CountOptions, Counts, Format, SeriesCounter};
use kvass_model::PrometheusLine::{V2, V3};
use proptest::prelude::*;

fn count_in_chunks(options: &CountOptions, body: &[u8], cuts: &[usize]) -> Result<Counts, CountError> {
    let mut counter = SeriesCounter::new(options.clone());
    let mut rest = body;
    for cut in cuts.iter().cycle().take(body.len()) {
        let (chunk, tail) = rest.split_at(rest.len().min(*cut));
        counter.push(chunk)?;
        rest = tail;
    }
    counter.push(rest)?;
    counter.finish()
}

/// The verdict without the excerpt, which holds no more of a line than had arrived.
fn verdict(result: Result<Counts, CountError>) -> Result<Counts, CountError> {
    result.map_err(|mut error| {
        if let CountError::Syntax { excerpt, .. } | CountError::Sample { excerpt, .. } = &mut error {
            excerpt.clear();
        }
        error
    })
}

fn options() -> impl Strategy<Value = CountOptions> {
    let format = prop_oneof![Just(Format::Text), Just(Format::OpenMetrics), Just(Format::Protobuf)];
    (format, prop_oneof![Just(V2), Just(V3)], any::<[bool; 4]>()).prop_map(|(format, line, [utf8, native, classic, convert])| {
        CountOptions {
            format,
            line,
            utf8_names: utf8,
            native_histograms: native,
            always_classic: classic,
            convert_nhcb: convert,
            per_metric: true,
            ..CountOptions::default()
        }
    })
}

/// Mostly well-formed lines of both text formats.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let name = "[a-c_:]{1,3}|h_bucket|h_sum|h_count|x_total";
    let value = r#"[a-z0-9 ,={}#éß]{0,6}|\\\\|\\"|\\n|a\nb|\+Inf|0\.5"#;
    let label = (r#"[a-d]|le|"[a-z.]{0,3}"|"a\nb""#, value).prop_map(|(name, value)| format!("{name}=\"{value}\""));
    let labels = prop::collection::vec(label, 0..4).prop_map(|labels| labels.join(","));
    let tail = prop_oneof![6 => Just(""), 1 => Just(" 123"), 1 => Just(" # {a=\"b\"} 1"), 1 => Just(" "), 1 => Just(" x")];
    let sample = (name, labels, "-?[0-9]{1,4}(\\.[0-9])?|NaN|1e5", tail).prop_map(|(n, l, v, t)| format!("{n}{{{l}}} {v}{t}\n"));
    let other = prop_oneof![
        Just("# TYPE h histogram\n".to_owned()),
        Just("# TYPE x counter\n".to_owned()),
        Just("# HELP x some \"text\n".to_owned()),
        Just("# HELP \"a\nb\" text\n".to_owned()),
        Just("# EOF\n".to_owned()),
        Just("\n".to_owned()),
        "[ -~\\n]{0,12}",
    ];
    let lines = prop::collection::vec(prop_oneof![5 => sample, 1 => other], 0..8);
    (lines, any::<bool>()).prop_map(|(lines, end)| (lines.concat() + if end { "# EOF" } else { "" }).into_bytes())
}

/// Length-delimited messages of a histogram family, some of them damaged.
fn families() -> impl Strategy<Value = Vec<u8>> {
    let field = |tag: u8, bytes: Vec<u8>| [vec![tag << 3 | 2, bytes.len() as u8], bytes].concat();
    let label = ("[a-c]|le", "[a-z]{0,3}")
        .prop_map(move |(name, value)| field(1, [field(1, name.into_bytes()), field(2, value.into_bytes())].concat()));
    let histogram = prop::collection::vec(0u8..8, 0..4).prop_map(move |buckets| {
        let buckets = buckets.iter().flat_map(|bound| {
            let mut bucket = vec![0x08, 1, 0x11];
            bucket.extend_from_slice(&f64::from(*bound).to_le_bytes());
            field(3, bucket)
        });
        field(7, [0x08, 1].into_iter().chain(buckets).collect())
    });
    let metric = (prop::collection::vec(label, 0..2), histogram)
        .prop_map(move |(labels, histogram)| field(4, [labels.concat(), histogram].concat()));
    let family = ("[a-z]{0,3}", 0u8..7, prop::collection::vec(metric, 0..2)).prop_map(move |(name, kind, metrics)| {
        let family = [field(1, name.into_bytes()), vec![0x18, kind], metrics.concat()].concat();
        // A length above 127 takes two bytes.
        [vec![family.len() as u8 | 0x80, (family.len() >> 7) as u8], family].concat()
    });
    (prop::collection::vec(family, 0..4), any::<prop::sample::Index>(), prop::option::weighted(0.3, any::<u8>())).prop_map(
        |(families, index, damage)| {
            let mut body = families.concat();
            if let (Some(damage), false) = (damage, body.is_empty()) {
                let index = index.index(body.len());
                body[index] = damage;
            }
            body
        },
    )
}

proptest! {
    #[test]
    fn chunks_of_lines(options in options(), body in lines(), cuts in prop::collection::vec(1usize..20, 1..5)) {
        let whole = verdict(count(options.clone(), &body));
        prop_assert_eq!(verdict(count_in_chunks(&options, &body, &cuts)), whole);
    }

    #[test]
    fn chunks_of_messages(options in options(), body in families(), cuts in prop::collection::vec(1usize..40, 1..5)) {
        let options = CountOptions { format: Format::Protobuf, ..options };
        let whole = verdict(count(options.clone(), &body));
        prop_assert_eq!(verdict(count_in_chunks(&options, &body, &cuts)), whole);
    }

    #[test]
    fn assembling_labels_changes_nothing(options in options(), body in lines()) {
        prop_assert_eq!(count(assembling(&options), &body), count(options, &body));
    }

    #[test]
    fn assembling_labels_of_messages_changes_nothing(options in options(), body in families()) {
        let options = CountOptions { format: Format::Protobuf, ..options };
        prop_assert_eq!(count(assembling(&options), &body), count(options, &body));
    }

    #[test]
    fn arbitrary_bytes(options in options(), body in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(1usize..20, 1..3)) {
        let whole = verdict(count(options.clone(), &body));
        prop_assert_eq!(verdict(count_in_chunks(&options, &body, &cuts)), whole);
    }

    #[test]
    fn arbitrary_text(options in options(), body in "[ab{}\"\\\\=,# \\n\\t01.éEOFHLPTY]{0,60}") {
        let whole = verdict(count(options.clone(), body.as_bytes()));
        prop_assert_eq!(verdict(count_in_chunks(&options, body.as_bytes(), &[1])), whole);
    }
}

#[test]
fn an_entry_of_many_lines_over_many_chunks() {
    let body = [&b"a{b=\""[..], &b"line\n".repeat(20_000), b"\"} 1\nb 1\n"].concat();
    let counts = count_in_chunks(&CountOptions::default(), &body, &[7]).unwrap();
    assert_eq!(counts.count.total, 2);
}

#[test]
fn the_first_error_stays() {
    let mut counter = SeriesCounter::new(CountOptions::default());
    let error = counter.push(b"a x\n").unwrap_err();
    assert_eq!(counter.push(b"a 1\n"), Err(error.clone()));
    assert_eq!(counter.finish(), Err(error));
}
