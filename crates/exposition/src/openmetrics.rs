//! OpenMetrics text 1.0.0, as Prometheus reads it.

use kvass_model::PrometheusLine;

use crate::{
    cursor::{Cursor, Span, Stop},
    entry::{Entry, MetricType},
    number::parse_float,
    sample::{Grammar, Sample},
};

/// The line that ends a body; its line feed may be missing.
pub(crate) const END_MARK: &[u8] = b"# EOF";

/// What stands between a sample and the labels of its exemplar.
const EXEMPLAR: &[u8] = b" # {";

/// Tokens of OpenMetrics.
pub(crate) fn grammar(line: PrometheusLine, values: bool) -> Grammar {
    let v3 = line == PrometheusLine::V3;
    Grammar {
        blanks: false,
        line_feeds_in_values: false,
        line_feeds_in_names: true,
        quoted_names: v3,
        quoted_metric_name: v3,
        comma_required: true,
        trailing_comma: v3,
        values,
        ascii: false,
    }
}

/// Reads one entry up to and including its line feed. `exemplar` is scratch space.
pub(crate) fn read_entry(
    cursor: &mut Cursor<'_>,
    grammar: &Grammar,
    line: PrometheusLine,
    sample: &mut Sample,
    exemplar: &mut Sample,
) -> Result<Entry, Stop> {
    if cursor.peek()? == b'#' { read_descriptor(cursor, grammar) } else { read_sample(cursor, grammar, line, sample, exemplar) }
}

fn read_descriptor(cursor: &mut Cursor<'_>, grammar: &Grammar) -> Result<Entry, Stop> {
    if cursor.accept_word(END_MARK)? {
        cursor.expect(b'\n', "the end of the line after # EOF")?;
        return Ok(Entry::End);
    }
    let help = cursor.accept_word(b"# HELP ")?;
    let unit = !help && cursor.accept_word(b"# UNIT ")?;
    if !help && !unit && !cursor.accept_word(b"# TYPE ")? {
        return Err(Stop::Bad("HELP, TYPE, UNIT or EOF and single spaces after #"));
    }
    let name = if grammar.quoted_names && cursor.peek()? == b'"' {
        cursor.quoted_name(grammar.line_feeds_in_names, "a metric name")?
    } else {
        cursor.metric_name()?.ok_or(Stop::Bad("a metric name"))?
    };
    cursor.expect(b' ', "a space after the metric name")?;
    let text = cursor.line_rest()?;
    let text = cursor.bytes(text);
    cursor.bump();
    if help {
        if !grammar.ascii && std::str::from_utf8(text).is_err() {
            return Err(Stop::Bad("a help text in UTF-8"));
        }
        return Ok(Entry::Metadata);
    }
    if unit {
        let suffixed = cursor.bytes(name).strip_suffix(text).is_some_and(|prefix| prefix.ends_with(b"_"));
        return if text.is_empty() || suffixed {
            Ok(Entry::Metadata)
        } else {
            Err(Stop::Bad("a unit that ends the metric name after _"))
        };
    }
    let metric_type = match text {
        b"histogram" => MetricType::Histogram,
        b"summary" => MetricType::Summary,
        b"counter" | b"gauge" | b"gaugehistogram" | b"info" | b"stateset" | b"unknown" => MetricType::Other,
        _ => return Err(Stop::Bad("counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown as type")),
    };
    Ok(Entry::Type { name, metric_type })
}

fn read_sample(
    cursor: &mut Cursor<'_>,
    grammar: &Grammar,
    line: PrometheusLine,
    sample: &mut Sample,
    exemplar: &mut Sample,
) -> Result<Entry, Stop> {
    sample.reset();
    let name = cursor.metric_name()?;
    sample.series_end = cursor.position();
    if let Some(name) = name {
        sample.name = name;
    } else if !grammar.quoted_metric_name || cursor.peek()? != b'{' {
        return Err(Stop::Bad("a metric name"));
    }
    if cursor.accept(b'{')? {
        if !sample.read_labels(cursor, grammar, name.is_some())? {
            return Err(Stop::Bad("a metric name before or inside the braces"));
        }
        sample.series_end = cursor.position();
    }
    let value = spaced_token(cursor, "a space and a value after the series")?;
    sample.set_value(cursor.bytes(value), grammar)?;
    let mut has_exemplar = false;
    if cursor.peek()? == b' ' {
        has_exemplar = cursor.accept_word(EXEMPLAR)?;
        if !has_exemplar {
            read_timestamp(cursor)?;
            sample.timestamped = true;
            has_exemplar = cursor.accept_word(EXEMPLAR)?;
        }
    }
    if !has_exemplar {
        cursor.expect(b'\n', "a timestamp, an exemplar or the end of the line")?;
        return Ok(Entry::Sample);
    }
    if line == PrometheusLine::V2
        && ![&b"_total"[..], b"_bucket"].iter().any(|suffix| cursor.bytes(sample.name).ends_with(suffix))
    {
        return Err(Stop::Bad("exemplars only on series ending in _total or _bucket"));
    }
    read_exemplar(cursor, grammar, exemplar)?;
    Ok(Entry::Sample)
}

/// Labels, value and timestamp behind ` # {`, and the end of the line. An exemplar adds no series.
fn read_exemplar(cursor: &mut Cursor<'_>, grammar: &Grammar, exemplar: &mut Sample) -> Result<(), Stop> {
    exemplar.reset();
    let grammar = Grammar { quoted_metric_name: false, line_feeds_in_names: false, ..*grammar };
    let start = cursor.position();
    exemplar.read_labels(cursor, &grammar, true)?;
    if cursor.bytes(Span { start, end: cursor.position() }).contains(&0) {
        return Err(Stop::Bad("no NUL byte in the labels of an exemplar"));
    }
    let value = spaced_token(cursor, "a space and a value after the labels of an exemplar")?;
    exemplar.set_value(cursor.bytes(value), &grammar)?;
    if cursor.peek()? == b' ' {
        read_timestamp(cursor)?;
    }
    cursor.expect(b'\n', "the end of the line after an exemplar")
}

/// A space and seconds since the epoch, with fractions.
fn read_timestamp(cursor: &mut Cursor<'_>) -> Result<(), Stop> {
    const EXPECTED: &str = "a timestamp in seconds";
    let timestamp = spaced_token(cursor, EXPECTED)?;
    match parse_float(cursor.bytes(timestamp)) {
        Some(seconds) if seconds.is_finite() => Ok(()),
        _ => Err(Stop::Bad(EXPECTED)),
    }
}

/// One space and the bytes up to the next space or line feed.
fn spaced_token(cursor: &mut Cursor<'_>, expected: &'static str) -> Result<Span, Stop> {
    cursor.expect(b' ', expected)?;
    cursor.token(|b| matches!(b, b' ' | b'\n'))
}
