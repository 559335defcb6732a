/// Reads a number as Go's `ParseFloat` does, minus hexadecimal and digit separators: `None` also for a
/// number too large for 64 bits.
pub(crate) fn parse_float(text: &[u8]) -> Option<f64> {
    let value: f64 = fast_float2::parse(text).ok()?;
    if value.is_nan() {
        // Only infinity may carry a sign.
        return text.first().is_some_and(u8::is_ascii_alphabetic).then_some(value);
    }
    let spelled_out = text.iter().any(|b| matches!(b, b'i' | b'I'));
    (value.is_finite() || spelled_out).then_some(value)
}

/// Whether `text` is a number, decided without converting it in the usual case: digits around at most
/// one point, few enough of them to be finite.
pub(crate) fn is_float(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let mut points = 0;
    let plain = digits.iter().all(|b| {
        points += usize::from(*b == b'.');
        b.is_ascii_digit() || *b == b'.'
    });
    if plain && points <= 1 && digits.len() > points && digits.len() <= 300 {
        return true;
    }
    parse_float(text).is_some()
}

/// The value of a bucket bound or quantile as Prometheus 3 stores it, if it is a number.
pub(crate) fn stored_number(text: &str) -> Option<String> {
    parse_float(text.as_bytes()).map(format_float)
}

/// Renders a bucket bound or quantile as Prometheus 3 stores it: shortest digits, exponent form below
/// 1e-4 and from 1e6 (C's `%g`), and always recognisable as a float.
pub(crate) fn format_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return "0.0".to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        let plain = format!("{value}");
        if plain.contains('.') { plain } else { plain + ".0" }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_numbers() {
        let digits = "9".repeat(308);
        for (text, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("1", 1.0),
            ("+1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-1.5", -1.5),
            ("1e5", 1e5),
            ("1E+05", 1e5),
            ("1e-400", 0.0),
            ("1.7976931348623157e308", f64::MAX),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-iNfInItY", f64::NEG_INFINITY),
            (digits.as_str(), 1e308),
        ] {
            assert_eq!(parse_float(text.as_bytes()), Some(value), "{text}");
            assert!(is_float(text.as_bytes()), "{text}");
        }
        assert!(parse_float(b"NaN").is_some_and(f64::is_nan));
        assert!(is_float(b"nan"));
    }

    #[test]
    fn refused_numbers() {
        let digits = "9".repeat(310);
        for text in [
            "",
            "-",
            "+",
            ".",
            "-.",
            "1.2.3",
            "1..",
            "1e",
            "e5",
            "0x1",
            "0x1p2",
            "1_000",
            "1e400",
            "-1e400",
            "+nan",
            "-NaN",
            "infi",
            "1,5",
            " 1",
            "1 ",
            "--1",
            "1-",
            "one",
            "1\0",
            "٣",
            digits.as_str(),
        ] {
            assert_eq!(parse_float(text.as_bytes()), None, "{text}");
            assert!(!is_float(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn stored_form_of_bounds() {
        for (value, text) in [
            (1.0, "1.0"),
            (-1.0, "-1.0"),
            (0.0, "0.0"),
            (-0.0, "0.0"),
            (0.5, "0.5"),
            (1000.0, "1000.0"),
            (1e6, "1e+06"),
            (999999.0, "999999.0"),
            (100000.5, "100000.5"),
            (123456789.0, "1.23456789e+08"),
            (12345678901234567890.0, "1.2345678901234567e+19"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-100, "1.5e-100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(format_float(value), text, "{value:?}");
        }
    }
}
