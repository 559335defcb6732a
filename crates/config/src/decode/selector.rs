//! The selectors that the Kubernetes API understands, checked for form only.

/// `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a>1`, `a<1`, `a`, `!a`, joined by commas; empty selects everything.
pub(super) fn is_label_selector(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || requirements(text).is_some_and(|parts| parts.iter().all(|part| is_requirement(part.trim())))
}

/// `path=value`, `path==value`, `path!=value`, joined by commas, `\` escaping a comma, an equals sign or itself.
pub(super) fn is_field_selector(text: &str) -> bool {
    let mut terms: Vec<String> = vec![String::new()];
    let mut chars = text.chars();
    while let (Some(c), Some(term)) = (chars.next(), terms.last_mut()) {
        match c {
            '\\' => match chars.next() {
                // Stands for any character that is not an operator.
                Some('\\' | ',' | '=') => term.push('x'),
                _ => return false,
            },
            ',' => terms.push(String::new()),
            c => term.push(c),
        }
    }
    terms.iter().all(|term| term.is_empty() || is_field_term(term))
}

fn is_field_term(term: &str) -> bool {
    let Some((_, value)) = ["!=", "==", "="].iter().find_map(|operator| term.split_once(operator)) else { return false };
    !value.contains('=')
}

/// Splits at the commas outside of parentheses; `None` when the parentheses do not match.
fn requirements(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut inside) = (0, false);
    for (i, c) in text.char_indices() {
        match (c, inside) {
            ('(', false) => inside = true,
            (')', true) => inside = false,
            ('(', true) | (')', false) => return None,
            (',', false) => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!inside).then_some(parts)
}

fn is_requirement(part: &str) -> bool {
    if let Some(key) = part.strip_prefix('!') {
        return is_key(key.trim());
    }
    if let Some((head, values)) = part.split_once('(') {
        let Some(values) = values.strip_suffix(')') else { return false };
        let mut words = head.split_whitespace();
        let form = (words.next(), words.next(), words.next());
        let (Some(key), Some("in" | "notin"), None) = form else { return false };
        return is_key(key) && values.split(',').all(|value| is_value(value.trim()));
    }
    for operator in ["!=", "==", "="] {
        if let Some((key, value)) = part.split_once(operator) {
            return is_key(key.trim()) && is_value(value.trim());
        }
    }
    if let Some((key, number)) = part.split_once(['<', '>']) {
        return is_key(key.trim()) && number.trim().parse::<i64>().is_ok();
    }
    is_key(part)
}

/// A name of at most 63 characters, behind an optional DNS prefix and a slash.
fn is_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_fits = prefix.is_none_or(|prefix| {
        !prefix.is_empty()
            && prefix.len() <= 253
            && prefix.split('.').all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            })
    });
    prefix_fits && !name.is_empty() && is_value(name)
}

fn is_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors() {
        for text in ["", "a", "!a", "a=b", "a==b", "a!=b", "a=", "x.y/a in (b, c),d notin (e)", "a > 1", " a = b , c "] {
            assert!(is_label_selector(text), "{text:?}");
        }
        for text in ["=b", "a=b=c", "a in b", "a in (b", "a like (b)", "a,,b", "a=b,", "a=-b", "a b", "/a", "X.y/a", "a>b"] {
            assert!(!is_label_selector(text), "{text:?}");
        }
    }

    #[test]
    fn field_selectors() {
        for text in ["", "a=b", "spec.nodeName==x,status.phase!=Running", r"a=b\,c", "a="] {
            assert!(is_field_selector(text), "{text:?}");
        }
        for text in ["a", "a in (b)", r"a=b\x", "a=b,c", "a=b=c"] {
            assert!(!is_field_selector(text), "{text:?}");
        }
    }
}
