//! What a scalar means to the one who asks, by the rules of yaml.v2, through which Prometheus reads its configuration.
//!
//! Null reads as the zero value of every type, never as a default. `None` means the scalar is not of that type.

use std::time::Duration;

use kvass_model::parse_prometheus_duration;

use crate::yaml::Scalar;

/// The YAML 1.1 spellings; a quoted scalar is text, never a boolean.
pub(crate) fn boolean(scalar: &Scalar) -> Option<bool> {
    if !scalar.plain {
        return None;
    }
    match scalar.text.as_str() {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => scalar.is_null().then_some(false),
    }
}

/// `1_000`, `010` (octal), `0o10`, `0x1f`, `0b11`; `1e3` and `10.7` count as 1000 and 10.
pub(crate) fn integer(scalar: &Scalar) -> Option<i64> {
    whole(scalar).and_then(|number| i64::try_from(number).ok())
}

/// As [`integer`], never below zero.
pub(crate) fn unsigned(scalar: &Scalar) -> Option<u64> {
    whole(scalar).and_then(|number| u64::try_from(number).ok())
}

/// Any number, `.inf` and `.nan` included.
pub(crate) fn float(scalar: &Scalar) -> Option<f64> {
    if scalar.is_null() {
        return Some(0.0);
    }
    if !scalar.plain {
        return None;
    }
    if !looks_like_number(&scalar.text) {
        return None;
    }
    let text = scalar.text.replace('_', "");
    if let Some(number) = based_integer(&text) {
        // A float field holds the nearest number there is.
        return Some(number as f64);
    }
    match text.as_str() {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        // Rust also takes words such as `inf`, which YAML does not.
        _ if text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => {
            text.parse().ok().filter(|number: &f64| number.is_finite())
        }
        _ => None,
    }
}

/// Underscores may stand within a number, not in front of it.
fn looks_like_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
}

/// Whether a scalar that is not text by its quotes fits the tag `!!name`; other tags fit everything.
pub(crate) fn fits_tag(text: &str, name: &str) -> bool {
    let scalar = Scalar::plain(text);
    match name {
        "int" => looks_like_number(text) && based_integer(&text.replace('_', "")).is_some(),
        "float" => !scalar.is_null() && float(&scalar).is_some(),
        "bool" => !scalar.is_null() && boolean(&scalar).is_some(),
        "null" => scalar.is_null(),
        _ => true,
    }
}

fn whole(scalar: &Scalar) -> Option<i128> {
    if scalar.is_null() {
        return Some(0);
    }
    if !scalar.plain || !looks_like_number(&scalar.text) {
        return None;
    }
    let exact = based_integer(&scalar.text.replace('_', ""));
    // Go truncates; what does not fit 128 bits is caught by the caller's narrower type, to which casts saturate.
    exact.or_else(|| float(scalar).filter(|number| number.is_finite()).map(|number| number as i128))
}

fn based_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match lower.get(..2) {
        Some("0x") => (&lower[2..], 16),
        Some("0o") => (&lower[2..], 8),
        Some("0b") => (&lower[2..], 2),
        _ if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        _ => (&lower[..], 10),
    };
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok().filter(|n| *n <= i128::from(u64::MAX))?;
    Some(if negative { -number } else { number })
}

/// `30s`, `1h30m`; null is zero, the empty string is no duration.
pub(crate) fn duration(scalar: &Scalar) -> Option<Duration> {
    if scalar.is_null() {
        return Some(Duration::ZERO);
    }
    parse_prometheus_duration(&scalar.text).ok()
}

const SIZE_UNITS: [(&str, u32); 13] = [
    ("B", 0),
    ("KB", 10),
    ("KiB", 10),
    ("MB", 20),
    ("MiB", 20),
    ("GB", 30),
    ("GiB", 30),
    ("TB", 40),
    ("TiB", 40),
    ("PB", 50),
    ("PiB", 50),
    ("EB", 60),
    ("EiB", 60),
];

/// Bytes: `512KB`, `1.5GB`, `1GB512MB`, signed; every unit is binary whichever way it is spelt.
pub(crate) fn size(scalar: &Scalar) -> Option<i64> {
    if scalar.is_null() {
        return Some(0);
    }
    let text = scalar.text.as_str();
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut bytes = 0.0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, shift) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
        bytes += number.parse::<f64>().ok()? * (1_u64 << shift) as f64;
        rest = tail;
    }
    let bytes = sign * bytes;
    (bytes.abs() < i64::MAX as f64).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar::plain(text)
    }

    #[test]
    fn booleans() {
        for text in ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"] {
            assert_eq!(boolean(&plain(text)), Some(true), "{text}");
            assert_eq!(boolean(&Scalar::text(text)), None, "{text} quoted");
        }
        for text in ["n", "No", "off", "FALSE", "~", "", "null"] {
            assert_eq!(boolean(&plain(text)), Some(false), "{text}");
        }
        for text in ["1", "0", "tRUE", "t", "maybe"] {
            assert_eq!(boolean(&plain(text)), None, "{text}");
        }
        assert_eq!(boolean(&Scalar::text("")), None);
    }

    #[test]
    fn integers() {
        for (text, expected) in [
            ("1e3", Some(1000)),
            ("10.7", Some(10)),
            ("1_000", Some(1000)),
            ("010", Some(8)),
            ("0o10", Some(8)),
            ("0x10", Some(16)),
            ("0b11", Some(3)),
            ("08", Some(8)),
            ("-5", Some(-5)),
            ("+5", Some(5)),
            ("~", Some(0)),
            ("60:30", None),
            ("_1", None),
            ("1_", Some(1)),
            ("1e400", None),
            ("0x", None),
            ("- 5", None),
            ("9223372036854775808", None),
            ("inf", None),
            (".inf", None),
            ("text", None),
        ] {
            assert_eq!(integer(&plain(text)), expected, "{text}");
        }
        assert_eq!(integer(&Scalar::text("5")), None);
        assert_eq!(unsigned(&plain("-1")), None);
        assert_eq!(unsigned(&plain("18446744073709551615")), Some(u64::MAX));
    }

    #[test]
    fn floats() {
        for (text, expected) in
            [("1", Some(1.0)), ("1.5", Some(1.5)), (".5", Some(0.5)), (".inf", Some(f64::INFINITY)), ("inf", None)]
        {
            assert_eq!(float(&plain(text)), expected, "{text}");
        }
        assert_eq!(float(&Scalar::text("1")), None);
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1B", Some(1)),
            ("1KB", Some(1024)),
            ("1KiB", Some(1024)),
            ("1.5GB", Some(1_610_612_736)),
            ("1GB512MB", Some(1_610_612_736)),
            ("-1B", Some(-1)),
            ("10", None),
            ("10mb", None),
            ("10kB", None),
            ("10M", None),
            ("10 MB", None),
            ("", Some(0)),
            ("8EB", None),
        ] {
            assert_eq!(size(&plain(text)), expected, "{text}");
        }
        assert_eq!(size(&Scalar::text("")), None);
    }
}
