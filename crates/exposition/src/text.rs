//! The Prometheus text format, as Prometheus reads it rather than as it is specified.

use kvass_model::PrometheusLine;
use memchr::memchr2;

use crate::{
    cursor::{Cursor, Stop},
    entry::{Entry, MetricType},
    sample::{Grammar, Sample},
};

/// Tokens of the text format.
pub(crate) fn grammar(line: PrometheusLine, values: bool) -> Grammar {
    let quoted = line == PrometheusLine::V3;
    Grammar {
        blanks: true,
        line_feeds_in_values: true,
        line_feeds_in_names: true,
        quoted_names: quoted,
        quoted_metric_name: quoted,
        comma_required: false,
        trailing_comma: true,
        values,
        ascii: false,
    }
}

/// Reads one entry up to and including its line feed.
pub(crate) fn read_entry(cursor: &mut Cursor<'_>, grammar: &Grammar, sample: &mut Sample) -> Result<Entry, Stop> {
    cursor.skip_blanks();
    match cursor.peek()? {
        b'\n' => {
            cursor.bump();
            Ok(Entry::Blank)
        }
        b'#' => read_comment(cursor, grammar),
        // Prometheus takes a NUL byte at the start of a line for the end of the body.
        0 => Ok(Entry::End),
        _ => read_sample(cursor, grammar, sample),
    }
}

fn read_comment(cursor: &mut Cursor<'_>, grammar: &Grammar) -> Result<Entry, Stop> {
    cursor.bump();
    if !matches!(cursor.peek()?, b' ' | b'\t') {
        return skip_comment(cursor);
    }
    cursor.skip_blanks();
    if cursor.peek()? == 0 {
        return Ok(Entry::End);
    }
    let help = cursor.accept_word(b"HELP")?;
    if (help || cursor.accept_word(b"TYPE")?) && matches!(cursor.peek()?, b' ' | b'\t') {
        return read_metadata(cursor, grammar, help);
    }
    cursor.line_rest()?;
    cursor.bump();
    Ok(Entry::Comment)
}

/// A comment without a blank after the `#`, in which a NUL byte ends the body too.
fn skip_comment(cursor: &mut Cursor<'_>) -> Result<Entry, Stop> {
    let rest = cursor.rest();
    let end = memchr2(b'\n', 0, rest).ok_or(Stop::Incomplete)?;
    if rest.get(end) == Some(&0) {
        return Ok(Entry::End);
    }
    cursor.line_rest()?;
    cursor.bump();
    Ok(Entry::Comment)
}

fn read_metadata(cursor: &mut Cursor<'_>, grammar: &Grammar, help: bool) -> Result<Entry, Stop> {
    cursor.skip_blanks();
    let name = if grammar.quoted_names && cursor.peek()? == b'"' {
        cursor.quoted_name(grammar.line_feeds_in_names, "a metric name")?
    } else {
        cursor.metric_name()?.ok_or(Stop::Bad("a metric name after HELP or TYPE"))?
    };
    let rest = cursor.line_rest()?;
    let rest = cursor.bytes(rest);
    cursor.bump();
    if rest.first() == Some(&0) {
        return Err(Stop::Bad("a blank after the metric name"));
    }
    // One separator, whatever it is, does not belong to the text.
    let text = rest.get(1..).unwrap_or_default();
    if help {
        if !grammar.ascii && std::str::from_utf8(text).is_err() {
            return Err(Stop::Bad("a help text in UTF-8"));
        }
        return Ok(Entry::Metadata);
    }
    let metric_type = match text {
        b"counter" | b"gauge" | b"untyped" => MetricType::Other,
        b"histogram" => MetricType::Histogram,
        b"summary" => MetricType::Summary,
        _ => return Err(Stop::Bad("counter, gauge, histogram, summary or untyped as type")),
    };
    Ok(Entry::Type { name, metric_type })
}

fn read_sample(cursor: &mut Cursor<'_>, grammar: &Grammar, sample: &mut Sample) -> Result<Entry, Stop> {
    sample.reset();
    let blanks = cursor.position() > 0;
    let name = cursor.metric_name()?;
    sample.series_end = cursor.position();
    if let Some(mut name) = name {
        // The name begins where the line does, blanks included.
        name.start = 0;
        sample.name = name;
        sample.bare = !blanks;
        cursor.skip_blanks();
    } else if !grammar.quoted_metric_name || cursor.peek()? != b'{' {
        return Err(Stop::Bad("a metric name"));
    }
    if cursor.accept(b'{')? {
        if !sample.read_labels(cursor, grammar, name.is_some())? {
            return Err(Stop::Bad("a metric name before or inside the braces"));
        }
        sample.series_end = cursor.position();
    }
    cursor.skip_blanks();
    let value = cursor.token(|b| matches!(b, b' ' | b'\t' | b'\n' | b'{'))?;
    sample.set_value(cursor.bytes(value), grammar)?;
    cursor.skip_blanks();
    if cursor.peek()? != b'\n' {
        let timestamp = cursor.token(|b| !b.is_ascii_digit())?;
        if !is_timestamp(cursor.bytes(timestamp)) {
            return Err(Stop::Bad("a timestamp in whole milliseconds or the end of the line after the value"));
        }
        sample.timestamped = true;
        cursor.skip_blanks();
    }
    cursor.expect(b'\n', "the end of the line after the timestamp")?;
    Ok(Entry::Sample)
}

/// Digits that fit a signed 64-bit integer.
fn is_timestamp(digits: &[u8]) -> bool {
    !digits.is_empty() && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<i64>().is_ok())
}
