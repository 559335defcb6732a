use crate::{
    cursor::{Cursor, Span, Stop},
    number::{is_float, parse_float},
};

/// Above this many labels a repetition is looked for by sorting, so that no line can cost quadratic time.
const FEW_LABELS: usize = 16;

/// One sample line, as offsets into it. Reused from line to line.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// The metric name; leading blanks of the line belong to it in the text format.
    pub(crate) name: Span,
    pub(crate) labels: Vec<(Span, Span)>,
    /// Zero unless [`Grammar::values`] is set.
    pub(crate) value: f64,
    /// Where name and labels end.
    pub(crate) series_end: usize,
    /// It has a timestamp of its own.
    pub(crate) timestamped: bool,
    /// All names are bare, hence legal under every validation scheme.
    pub(crate) bare: bool,
}

/// Where the two text formats and the two lines of Prometheus differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grammar {
    /// Blanks may stand between any two tokens.
    pub(crate) blanks: bool,
    /// Quoted values may span lines.
    pub(crate) line_feeds_in_values: bool,
    /// Quoted names may span lines.
    pub(crate) line_feeds_in_names: bool,
    /// Names may be quoted.
    pub(crate) quoted_names: bool,
    /// A quoted string without a value is the metric name.
    pub(crate) quoted_metric_name: bool,
    /// Labels must be separated by a comma.
    pub(crate) comma_required: bool,
    /// The last label may be followed by a comma.
    pub(crate) trailing_comma: bool,
    /// Convert the values of samples instead of only checking them.
    pub(crate) values: bool,
    /// All bytes are known to be ASCII.
    pub(crate) ascii: bool,
}

impl Sample {
    /// Forgets the previous line.
    pub(crate) fn reset(&mut self) {
        self.name = Span::default();
        self.labels.clear();
        self.value = 0.0;
        self.series_end = 0;
        self.timestamped = false;
        self.bare = true;
    }

    /// Reads what stands between the braces, the opening one passed already, and the closing one.
    /// `named` tells whether a metric name came before; the result whether there is one now.
    pub(crate) fn read_labels(&mut self, cursor: &mut Cursor<'_>, grammar: &Grammar, mut named: bool) -> Result<bool, Stop> {
        let skip_blanks = |cursor: &mut Cursor<'_>| {
            if grammar.blanks {
                cursor.skip_blanks();
            }
        };
        loop {
            skip_blanks(cursor);
            if cursor.accept(b'}')? {
                return Ok(named);
            }
            let quoted = grammar.quoted_names && cursor.peek()? == b'"';
            let name = if quoted {
                self.bare = false;
                cursor.quoted_name(grammar.line_feeds_in_names, "a label name")?
            } else {
                cursor.label_name()?.ok_or(Stop::Bad("a label name or a closing brace"))?
            };
            skip_blanks(cursor);
            if quoted && grammar.quoted_metric_name && matches!(cursor.peek()?, b',' | b'}') {
                if named {
                    return Err(Stop::Bad("only one metric name"));
                }
                named = true;
                self.name = name;
                cursor.accept(b',')?;
                continue;
            }
            cursor.expect(b'=', "= after a label name")?;
            skip_blanks(cursor);
            let value = cursor.quoted(grammar.line_feeds_in_values, "a label value in double quotes")?;
            if !grammar.ascii && std::str::from_utf8(cursor.bytes(value)).is_err() {
                return Err(Stop::Bad("a label value in UTF-8"));
            }
            self.labels.push((name, value));
            skip_blanks(cursor);
            if cursor.accept(b',')? {
                if !grammar.trailing_comma && cursor.peek()? == b'}' {
                    return Err(Stop::Bad("a label name after the comma"));
                }
            } else if grammar.comma_required && cursor.peek()? != b'}' {
                return Err(Stop::Bad("a comma or a closing brace"));
            }
        }
    }

    /// Takes `text` as the value of the sample.
    #[inline]
    pub(crate) fn set_value(&mut self, text: &[u8], grammar: &Grammar) -> Result<(), Stop> {
        let number = if grammar.values { parse_float(text) } else { is_float(text).then_some(0.0) };
        self.value = number.ok_or(Stop::Bad("a number"))?;
        Ok(())
    }

    /// Whether the sample needs no closer look than its grammar: bare names, no label twice.
    #[inline]
    pub(crate) fn is_plain(&self, line: &[u8]) -> bool {
        let names = || self.labels.iter().map(|(name, _)| name.of(line));
        if !self.bare || names().any(|name| name == b"__name__") {
            return false;
        }
        if self.labels.len() > FEW_LABELS {
            let mut sorted: Vec<&[u8]> = names().collect();
            sorted.sort_unstable();
            return sorted.windows(2).all(|pair| pair[0] != pair[1]);
        }
        names().enumerate().all(|(i, name)| names().take(i).all(|earlier| earlier != name))
    }
}
