//! How the parts of an answer become addresses, label names and label values.

use std::fmt::Display;

use kvass_model::LabelsBuilder;

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn host_port(host: &str, port: impl Display) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// The shortest text of a number as Go's format `g` writes it: with an exponent from a million on and below 0.0001.
pub(crate) fn go_float(number: f64) -> String {
    let scientific = format!("{number:e}");
    match scientific.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?))) {
        Some((digits, exponent)) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}

/// The text as one segment of a URL's path.
pub(crate) fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => segment.push(byte.into()),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

/// The text with every character that a label name cannot hold replaced by an underscore.
pub(crate) fn sanitised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The items with the separator between and around them, so that an expression finds each as `,item,`. No items leave
/// two separators.
pub(crate) fn wrapped(items: &[String], separator: &str) -> String {
    format!("{separator}{}{separator}", items.join(separator))
}

/// As [`wrapped`]; empty, which is no label, when there are no items.
pub(crate) fn wrapped_if_any(items: &[String], separator: &str) -> String {
    if items.is_empty() { String::new() } else { wrapped(items, separator) }
}

/// Sets `<prefix><name>` for each pair, the name made fit for a label.
pub(crate) fn set_all<'a>(labels: &mut LabelsBuilder, prefix: &str, pairs: impl IntoIterator<Item = (&'a String, &'a String)>) {
    for (name, value) in pairs {
        labels.set(&format!("{prefix}{}", sanitised(name)), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(host_port("h", 80), "h:80");
        assert_eq!(host_port("fd00::1", 80), "[fd00::1]:80");
        assert_eq!(host_port("", 80), ":80");
        assert_eq!(sanitised("a.b-c/é_9"), "a_b_c___9");
        assert_eq!(path_segment("a b/c?é-_.~"), "a%20b%2Fc%3F%C3%A9-_.~");
        for (number, text) in [
            (0.0, "0"),
            (8080.0, "8080"),
            (-1.5, "-1.5"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (0.000_1, "0.0001"),
            (0.000_012, "1.2e-05"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(go_float(number), text);
        }
        let items = ["a".to_owned(), "b".to_owned()];
        assert_eq!(wrapped(&items, ","), ",a,b,");
        assert_eq!(wrapped(&[], ","), ",,");
        assert_eq!(wrapped_if_any(&[], ","), "");
        assert_eq!(wrapped_if_any(&items, "||"), "||a||b||");
    }
}
