/// Replaces `$name` and `${name}` by what `env` answers, nothing if it does not, and `$$` by `$`: Go's `os.Expand`,
/// with its treatment of one-character special names and of malformed braces.
pub(crate) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let (name, length) = name(rest);
        match name {
            Some("$") => out.push('$'),
            Some(name) => out.push_str(&env(name).unwrap_or_default()),
            // A dollar that begins no reference stays; malformed braces are swallowed.
            None if length == 0 => out.push('$'),
            None => {}
        }
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// The name that follows a dollar, and how many bytes it takes with its braces.
fn name(text: &str) -> (Option<&str>, usize) {
    let bytes = text.as_bytes();
    match bytes.first() {
        None => (None, 0),
        Some(b'{') => match (bytes.get(1), bytes.get(2)) {
            (Some(&special), Some(b'}')) if is_special(special) => (Some(&text[1..2]), 3),
            _ => match text.find('}') {
                None => (None, 1),
                Some(1) => (None, 2),
                Some(end) => (Some(&text[1..end]), end + 1),
            },
        },
        Some(&special) if is_special(special) => (Some(&text[..1]), 1),
        Some(_) => match bytes.iter().position(|b| !is_word(*b)).unwrap_or(bytes.len()) {
            0 => (None, 0),
            length => (Some(&text[..length]), length),
        },
    }
}

fn is_special(b: u8) -> bool {
    b"*#$@!?-".contains(&b) || b.is_ascii_digit()
}

fn is_word(b: u8) -> bool {
    b == b'_' || b.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let env = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "A_B" => Some("2".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("$A", "1"),
            ("${A}", "1"),
            ("$A_B", "2"),
            ("${A}_B", "1_B"),
            ("x$A-$A", "x1-1"),
            ("$$A", "$A"),
            ("$$$$", "$$"),
            ("${$}", "$"),
            ("$", "$"),
            ("a$", "a$"),
            ("$-x", "x"),
            ("$ A", "$ A"),
            ("$é", "$é"),
            ("$1x", "x"),
            ("$*", ""),
            ("${*}", ""),
            ("${", ""),
            ("${}", ""),
            ("${A", "A"),
            ("${A B}", ""),
            ("${é}x", "x"),
            ("$UNSET.", "."),
            ("$EMPTY", ""),
            ("", ""),
        ] {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }
}
