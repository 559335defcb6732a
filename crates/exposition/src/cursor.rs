use memchr::{memchr, memchr2, memchr3};

/// Why reading an entry stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes at hand end before the entry does.
    Incomplete,
    /// The entry breaks the grammar; says what was expected.
    Bad(&'static str),
}

/// A part of an entry, as offsets from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn of<'a>(&self, entry: &'a [u8]) -> &'a [u8] {
        entry.get(self.start..self.end).unwrap_or_default()
    }
}

/// Reads one entry. Running off the end is [`Stop::Incomplete`], never a verdict.
pub(crate) struct Cursor<'a> {
    entry: &'a [u8],
    position: usize,
}

const METRIC: u8 = 1;
const METRIC_START: u8 = 2;
const LABEL: u8 = 4;
const LABEL_START: u8 = 8;

/// Which names a byte may occur in.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 128 {
        let b = i as u8;
        if b.is_ascii_alphabetic() || b == b'_' {
            table[i] = METRIC | METRIC_START | LABEL | LABEL_START;
        } else if b.is_ascii_digit() {
            table[i] = METRIC | LABEL;
        } else if b == b':' {
            table[i] = METRIC | METRIC_START;
        }
        i += 1;
    }
    table
};

impl<'a> Cursor<'a> {
    pub(crate) fn new(entry: &'a [u8]) -> Self {
        Cursor { entry, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn peek(&self) -> Result<u8, Stop> {
        self.entry.get(self.position).copied().ok_or(Stop::Incomplete)
    }

    /// Passes the byte that was just looked at.
    pub(crate) fn bump(&mut self) {
        self.position += 1;
    }

    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Stop> {
        if self.peek()? != byte {
            return Err(Stop::Bad(expected));
        }
        self.bump();
        Ok(())
    }

    /// Passes `byte` if it comes next.
    pub(crate) fn accept(&mut self, byte: u8) -> Result<bool, Stop> {
        let found = self.peek()? == byte;
        self.position += usize::from(found);
        Ok(found)
    }

    /// Passes `word` if it comes next.
    pub(crate) fn accept_word(&mut self, word: &[u8]) -> Result<bool, Stop> {
        let rest = self.rest();
        if rest.starts_with(word) {
            self.position += word.len();
            return Ok(true);
        }
        if word.starts_with(rest) { Err(Stop::Incomplete) } else { Ok(false) }
    }

    pub(crate) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.entry.get(self.position) {
            self.position += 1;
        }
    }

    /// A bare metric name; `None` if none begins here.
    pub(crate) fn metric_name(&mut self) -> Result<Option<Span>, Stop> {
        self.name(METRIC_START, METRIC)
    }

    /// A bare label name; `None` if none begins here.
    pub(crate) fn label_name(&mut self) -> Result<Option<Span>, Stop> {
        self.name(LABEL_START, LABEL)
    }

    #[inline]
    fn name(&mut self, first: u8, other: u8) -> Result<Option<Span>, Stop> {
        if CLASS[usize::from(self.peek()?)] & first == 0 {
            return Ok(None);
        }
        let start = self.position;
        let length = self.rest().iter().position(|b| CLASS[usize::from(*b)] & other == 0).ok_or(Stop::Incomplete)?;
        self.position = start + length;
        Ok(Some(Span { start, end: self.position }))
    }

    /// The bytes up to one that `ends`.
    #[inline]
    pub(crate) fn token(&mut self, ends: impl Fn(u8) -> bool) -> Result<Span, Stop> {
        let start = self.position;
        let length = self.rest().iter().position(|b| ends(*b)).ok_or(Stop::Incomplete)?;
        self.position = start + length;
        Ok(Span { start, end: self.position })
    }

    /// The rest of the line; the cursor stays before the line feed.
    pub(crate) fn line_rest(&mut self) -> Result<Span, Stop> {
        let start = self.position;
        self.position += memchr(b'\n', self.rest()).ok_or(Stop::Incomplete)?;
        Ok(Span { start, end: self.position })
    }

    /// A name in double quotes, of which the span holds the inside. Prometheus' lexer takes no NUL byte in one.
    pub(crate) fn quoted_name(&mut self, line_feeds: bool, expected: &'static str) -> Result<Span, Stop> {
        let name = self.quoted(line_feeds, expected)?;
        if memchr(0, self.bytes(name)).is_some() {
            return Err(Stop::Bad("no NUL byte in a name"));
        }
        Ok(name)
    }

    /// A string in double quotes, of which the span holds the inside. A backslash takes the next byte
    /// with it, but not a line feed.
    #[inline]
    pub(crate) fn quoted(&mut self, line_feeds: bool, expected: &'static str) -> Result<Span, Stop> {
        self.expect(b'"', expected)?;
        let start = self.position;
        loop {
            let rest = self.rest();
            let stop = if line_feeds { memchr2(b'"', b'\\', rest) } else { memchr3(b'"', b'\\', b'\n', rest) };
            self.position += stop.ok_or(Stop::Incomplete)?;
            match self.peek()? {
                b'"' => break,
                b'\n' => return Err(Stop::Bad("a closing quote on the same line")),
                _ => {
                    self.bump();
                    // Prometheus' lexer does not see NUL bytes here, so the byte behind them is escaped.
                    while self.peek()? == 0 {
                        self.bump();
                    }
                    if self.peek()? == b'\n' {
                        return Err(Stop::Bad("a character after the backslash"));
                    }
                    self.bump();
                }
            }
        }
        let span = Span { start, end: self.position };
        self.bump();
        Ok(span)
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.entry.get(self.position..).unwrap_or_default()
    }

    /// A part of the entry.
    pub(crate) fn bytes(&self, span: Span) -> &'a [u8] {
        span.of(self.entry)
    }
}
