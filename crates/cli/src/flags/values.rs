//! Values of flags, written the way Go's pflag reads them.

use std::{str::FromStr, time::Duration};

use kvass_model::{is_legacy_label_name, parse_go_duration};

/// A boolean flag: `--x`, `--x=true`, `--x=0` …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switch(pub(crate) bool);

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Switch(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Switch(false)),
            _ => Err("expected true or false (or 1, 0, t, f)".to_owned()),
        }
    }
}

/// A Go duration: `10s`, `1h30m`, `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_go_duration(text).map_err(|error| error.to_string())
}

/// A Go integer literal of 64 bits: `30000`, `30_000`, `0x7530`, `0o72460`, `0b101`.
pub(crate) fn int64(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let error = || "expected an integer, for example 30000, 30_000 or 0x7530".to_owned();
    let prefixed = |radix: u32, prefix: usize| (radix, &digits[prefix..], true);
    let (radix, digits, prefix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => prefixed(16, 2),
        [b'0', b'o' | b'O', ..] => prefixed(8, 2),
        [b'0', b'b' | b'B', ..] => prefixed(2, 2),
        // A leading zero alone means octal too, and counts as the digit before an underscore.
        [b'0', _, ..] => prefixed(8, 1),
        _ => (10, digits, false),
    };
    // An underscore stands between two digits, or between the prefix and a digit.
    let leading = digits.starts_with('_') && !prefix;
    if leading || digits.ends_with('_') || digits.contains("__") || digits.starts_with(['+', '-']) {
        return Err(error());
    }
    let magnitude = i128::from_str_radix(&digits.replace('_', ""), radix).map_err(|_| error())?;
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).map_err(|_| format!("expected an integer from {} to {}", i64::MIN, i64::MAX))
}

/// A Go integer literal of 32 bits.
pub(crate) fn int32(text: &str) -> Result<i32, String> {
    i32::try_from(int64(text)?).map_err(|_| format!("expected an integer from {} to {}", i32::MIN, i32::MAX))
}

/// A number that counts something: a Go integer literal that is not negative.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    u64::try_from(int64(text)?).map_err(|_| "must not be negative".to_owned())
}

/// A size in bytes as Prometheus writes it: `256MiB`, `1.5GB`, `1GB512MB`, `0`. Units are binary
/// whichever way they are spelt.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let error = || "expected a size with a unit of B, KiB, MiB, GiB, TiB, PiB or EiB, for example 256MiB".to_owned();
    if text == "0" {
        return Ok(0);
    }
    let mut total = 0.0;
    let mut rest = text;
    loop {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let exponent = match unit {
            "B" => 0,
            "KB" | "KiB" => 1,
            "MB" | "MiB" => 2,
            "GB" | "GiB" => 3,
            "TB" | "TiB" => 4,
            "PB" | "PiB" => 5,
            "EB" | "EiB" => 6,
            _ => return Err(error()),
        };
        let number: f64 = number.parse().map_err(|_| error())?;
        total += number * 1024_f64.powi(exponent);
        rest = tail;
        if rest.is_empty() {
            break;
        }
    }
    if total >= i64::MAX as f64 {
        return Err("expected a size below 8EiB".to_owned());
    }
    Ok(total as u64)
}

/// `name=value` of an external label.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    if !is_legacy_label_name(name) {
        return Err(format!("{name:?} is not a label name: expected letters, digits and underscores, not starting with a digit"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(text.parse(), Ok(Switch(true)), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(text.parse(), Ok(Switch(false)), "{text}");
        }
        for bad in ["", "yes", "no", "on", "tRUE", "2", " true"] {
            assert!(bad.parse::<Switch>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn integers_are_go_literals() {
        for (text, value) in [
            ("0", 0),
            ("30000", 30_000),
            ("+7", 7),
            ("-7", -7),
            ("1_000_000", 1_000_000),
            ("0x7530", 30_000),
            ("0X_7530", 30_000),
            ("0o17", 15),
            ("017", 15),
            ("0_17", 15),
            ("0b1010", 10),
            ("-0x10", -16),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(int64(text), Ok(value), "{text}");
        }
        for bad in [
            "",
            "-",
            "+",
            "abc",
            "1.5",
            "1e6",
            "_1",
            "1_",
            "1__0",
            "08",
            "0x",
            "0b2",
            "0x_",
            "--1",
            "+-1",
            "0x-1",
            " 1",
            "9223372036854775808",
        ] {
            assert!(int64(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn integers_have_ranges() {
        assert_eq!(int32("2147483647"), Ok(i32::MAX));
        assert!(int32("2147483648").unwrap_err().contains("2147483647"));
        assert!(int64("9223372036854775808").unwrap_err().contains("9223372036854775807"));
        assert!(count("-1").is_err());
        assert_eq!(count("0x10"), Ok(16));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("256MiB", 256 << 20),
            ("10MB", 10 << 20),
            ("1KB", 1024),
            ("7B", 7),
            ("1.5GB", 3 << 29),
            ("1GB512MB", 3 << 29),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "5", "5mb", "5kB", "5M", "5 MB", "MB", ".MB", "1..5MB", "-1MB", "8EiB", "1MB2"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels() {
        assert_eq!(label("shard=a=b"), Ok(("shard".to_owned(), "a=b".to_owned())));
        assert_eq!(label("shard="), Ok(("shard".to_owned(), String::new())));
        for bad in ["shard", "=x", "1a=x", "a-b=x"] {
            assert!(label(bad).is_err(), "{bad:?}");
        }
    }
}
