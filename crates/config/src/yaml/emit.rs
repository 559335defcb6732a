use std::fmt::Write;

use super::{Node, Scalar, Value};

/// Keys longer than this cannot be written as `key: value`; YAML readers look no further for the colon.
const SIMPLE_KEY_LIMIT: usize = 1000;

/// Writes a document in block style: plain scalars as they were written, all others in double quotes, no line wrapping.
pub(crate) fn emit(root: &Node) -> String {
    let mut out = String::new();
    match &root.value {
        Value::Map(entries) if !entries.is_empty() => block(&mut out, root, 0),
        Value::List(items) if !items.is_empty() => block(&mut out, root, 0),
        _ => {
            inline(&mut out, root);
            out.push('\n');
        }
    }
    out
}

/// Writes a collection that is not empty. The cursor stands where its first line begins; `indent` is that column.
fn block(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::List(items) => {
            for (i, item) in items.iter().enumerate() {
                pad(out, i, indent);
                out.push_str("- ");
                nested(out, item, indent + 2, true);
            }
        }
        Value::Map(entries) => {
            for (i, entry) in entries.iter().enumerate() {
                pad(out, i, indent);
                if entry.key.text.len() > SIMPLE_KEY_LIMIT {
                    out.push_str("? ");
                    scalar(out, &entry.key);
                    out.push('\n');
                    pad(out, 1, indent);
                } else {
                    scalar(out, &entry.key);
                }
                out.push(':');
                nested(out, &entry.value, indent + 2, false);
            }
        }
        Value::Scalar(_) => inline(out, node),
    }
}

/// Writes what follows `- ` or `key:`, up to and including the line break.
fn nested(out: &mut String, node: &Node, indent: usize, same_line: bool) {
    let empty = match &node.value {
        Value::Scalar(_) => true,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    };
    if empty {
        if !same_line {
            out.push(' ');
        }
        inline(out, node);
        out.push('\n');
    } else {
        if !same_line {
            out.push('\n');
            pad(out, 1, indent);
        }
        block(out, node, indent);
    }
}

/// Indents every line of a collection but its first, whose place is already reached.
fn pad(out: &mut String, line: usize, indent: usize) {
    if line > 0 {
        out.extend(std::iter::repeat_n(' ', indent));
    }
}

fn inline(out: &mut String, node: &Node) {
    match &node.value {
        Value::Scalar(value) => scalar(out, value),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
}

fn scalar(out: &mut String, scalar: &Scalar) {
    if scalar.is_null() && scalar.text.is_empty() {
        out.push_str("null");
    } else if scalar.plain && reads_back(&scalar.text) {
        out.push_str(&scalar.text);
    } else {
        quote(out, &scalar.text);
    }
}

/// Whether a plain scalar of this text can be written plain on one line in block style. The others (folded over several
/// lines with a blank one between, for example) are never numbers, booleans or null, so quotes do not change them.
fn reads_back(text: &str) -> bool {
    let mut chars = text.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else { return false };
    let indicator = match first {
        '-' | '?' | ':' => second.is_none_or(|c| c == ' '),
        ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' | ' ' => true,
        _ => false,
    };
    let document_marker = text.starts_with("---") || text.starts_with("...");
    !indicator
        && !document_marker
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text != "<<"
        && text.chars().all(is_printable)
}

fn is_printable(c: char) -> bool {
    !matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c => {
                // Writing to a String cannot fail; what is not printable is below U+10000.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out.push('"');
}
