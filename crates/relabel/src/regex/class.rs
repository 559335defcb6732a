//! Character classes and the escapes that stand for single characters.

use super::{Problem, cursor::Cursor, unicode};

/// Matches no character, as a surrogate does, which Go can name and UTF-8 cannot hold.
pub(super) const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";
const ANYTHING: &str = r"[\x{0}-\x{10FFFF}]";

const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit",
];

const MAX_CODE_POINT: u32 = char::MAX as u32;
const SURROGATES: std::ops::RangeInclusive<u32> = 0xD800..=0xDFFF;

/// What the crate reads as just this character, inside a class and outside.
pub(super) fn literal(c: char) -> String {
    regex::escape(c.encode_utf8(&mut [0; 4]))
}

/// Reads a bracketed class, `[` being next.
pub(super) fn bracketed(input: &mut Cursor<'_>) -> Result<String, Problem> {
    input.eat("[");
    let negated = input.eat("^");
    let mut items = String::new();
    let mut first = true;
    // A `]` in first place is a literal.
    while first || !input.rest().starts_with(']') {
        first = false;
        match named_class(input)? {
            Some(class) => items.push_str(&class),
            None => push_range(&mut items, input)?,
        }
    }
    input.eat("]");
    Ok(match (items.is_empty(), negated) {
        (true, false) => NOTHING.to_owned(),
        (true, true) => ANYTHING.to_owned(),
        (false, false) => format!("[{items}]"),
        (false, true) => format!("[^{items}]"),
    })
}

/// Reads `[:alpha:]`, `\pL` or `\d` in the class, if one of them comes next.
fn named_class(input: &mut Cursor<'_>) -> Result<Option<String>, Problem> {
    if input.rest().starts_with("[:") {
        return posix(input);
    }
    let start = *input;
    if !input.eat("\\") {
        return Ok(None);
    }
    let letter = input.next();
    if let Some('p' | 'P') = letter {
        return unicode_class(input, start, letter == Some('P')).map(Some);
    }
    match letter.and_then(perl_class) {
        Some((ranges, false)) => Ok(Some(ranges.to_owned())),
        Some((ranges, true)) => Ok(Some(format!("[^{ranges}]"))),
        None => {
            *input = start;
            Ok(None)
        }
    }
}

/// Go looks for the closing `:]` beyond the end of the class, too.
fn posix(input: &mut Cursor<'_>) -> Result<Option<String>, Problem> {
    let start = *input;
    input.eat("[:");
    let Some(name) = input.until(":]") else {
        *input = start;
        return Ok(None);
    };
    if POSIX_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        Ok(Some(format!("[:{name}:]")))
    } else {
        Err(Problem::UnknownClass(input.since(start)))
    }
}

/// Reads a character or a range of them and appends it to the items of a class.
fn push_range(items: &mut String, input: &mut Cursor<'_>) -> Result<(), Problem> {
    let start = *input;
    let low = class_character(input)?;
    let mut high = low;
    let mut ahead = *input;
    // A `-` in last place is a literal.
    if ahead.eat("-") && ahead.peek().is_some_and(|c| c != ']') {
        *input = ahead;
        high = class_character(input)?;
    }
    if high < low {
        return Err(Problem::InvalidRange(input.since(start)));
    }
    let low = if SURROGATES.contains(&low) { SURROGATES.end() + 1 } else { low };
    let high = if SURROGATES.contains(&high) { SURROGATES.start() - 1 } else { high };
    if let (Some(low), Some(high)) = (char::from_u32(low), char::from_u32(high))
        && low <= high
    {
        items.push_str(&literal(low));
        if low < high {
            items.push('-');
            items.push_str(&literal(high));
        }
    }
    Ok(())
}

fn class_character(input: &mut Cursor<'_>) -> Result<u32, Problem> {
    if input.rest().starts_with('\\') {
        return escape(input);
    }
    input.next().map(u32::from).ok_or(Problem::MissingBracket)
}

/// The ranges of `\d`, `\s`, `\w` and whether the letter stands for what is outside of them. Always ASCII.
pub(super) fn perl_class(letter: char) -> Option<(&'static str, bool)> {
    let ranges = match letter.to_ascii_lowercase() {
        'd' => "0-9",
        's' => r"\t\n\f\r ",
        'w' => "0-9A-Za-z_",
        _ => return None,
    };
    Some((ranges, letter.is_ascii_uppercase()))
}

/// Reads the name of a Unicode class; `\p` or `\P` has been read, from `start` on.
pub(super) fn unicode_class(input: &mut Cursor<'_>, start: Cursor<'_>, negated: bool) -> Result<String, Problem> {
    let braced = input.eat("{");
    let letter = *input;
    let name = match input.next() {
        None => None,
        Some(_) if !braced => Some(input.since(letter)),
        Some(_) => {
            *input = letter;
            input.until("}").map(str::to_owned)
        }
    };
    let Some(name) = name else { return Err(Problem::UnknownClass(start.rest().to_owned())) };
    let (name, negated) = match name.strip_prefix('^') {
        Some(rest) => (rest, !negated),
        None => (name.as_str(), negated),
    };
    match unicode::class_query(name) {
        Some(unicode::Query::Surrogates) => Ok(if negated { ANYTHING } else { NOTHING }.to_owned()),
        Some(unicode::Query::Property(query)) => Ok(format!(r"\{}{{{query}}}", if negated { 'P' } else { 'p' })),
        None => Err(Problem::UnknownClass(input.since(start))),
    }
}

/// Reads an escape that stands for one code point, the backslash being next.
pub(super) fn escape(input: &mut Cursor<'_>) -> Result<u32, Problem> {
    let start = *input;
    input.eat("\\");
    let Some(c) = input.next() else { return Err(Problem::TrailingBackslash) };
    let code_point = match c {
        '0'..='7' => octal(c, input),
        'x' => hexadecimal(input),
        'a' => Some(0x07),
        'f' => Some(0x0C),
        'n' => Some(0x0A),
        'r' => Some(0x0D),
        't' => Some(0x09),
        'v' => Some(0x0B),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
        _ => None,
    };
    code_point.ok_or_else(|| Problem::InvalidEscape(input.since(start)))
}

/// Up to three digits. One digit other than 0 would be a back-reference, which there is not.
fn octal(first: char, input: &mut Cursor<'_>) -> Option<u32> {
    let mut value = first.to_digit(8)?;
    for place in 1..3 {
        match input.peek().and_then(|c| c.to_digit(8)) {
            Some(digit) => {
                input.next();
                value = value * 8 + digit;
            }
            None if place == 1 && first != '0' => return None,
            None => break,
        }
    }
    Some(value)
}

/// Two digits, or any number of them in braces.
fn hexadecimal(input: &mut Cursor<'_>) -> Option<u32> {
    if input.eat("{") {
        let digits = input.until("}")?;
        let mut value = 0;
        for c in digits.chars() {
            value = value * 16 + c.to_digit(16)?;
            if value > MAX_CODE_POINT {
                return None;
            }
        }
        return (!digits.is_empty()).then_some(value);
    }
    let high = input.next()?.to_digit(16)?;
    let low = input.next()?.to_digit(16)?;
    Some(high * 16 + low)
}
