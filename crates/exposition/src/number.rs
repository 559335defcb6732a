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
    parse_label_float(text).map(format_float)
}

/// Reads a number in a label as Go's `ParseFloat` does, hexadecimal and digit separators included.
pub(crate) fn parse_label_float(text: &str) -> Option<f64> {
    if text.contains('_') {
        return if separators_are_legal(text) { parse_label_float(&text.replace('_', "")) } else { None };
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    match unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        Some(digits) => parse_hexadecimal(digits).map(|value| if negative { -value } else { value }),
        None => parse_float(text.as_bytes()),
    }
}

/// Whether every separator stands between two digits, or between `0x` and a digit.
fn separators_are_legal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    let hexadecimal = unsigned.strip_prefix("0x");
    let is_digit = |byte: &u8| if hexadecimal.is_some() { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let bytes = hexadecimal.unwrap_or(&unsigned).as_bytes();
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_').all(|(index, _)| {
        let before = match index {
            0 => hexadecimal.is_some(),
            _ => bytes.get(index - 1).is_some_and(is_digit),
        };
        before && bytes.get(index + 1).is_some_and(is_digit)
    })
}

/// Reads what stands behind `0x`: digits around at most one point, and a binary exponent, which must be there.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (sign, exponent_digits) = match exponent.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    if exponent_digits.is_empty() {
        return None;
    }
    let mut exponent: i64 = 0;
    for c in exponent_digits.chars() {
        exponent = (exponent * 10 + i64::from(c.to_digit(10)?)).min(1_000_000);
    }
    exponent *= sign;
    let (mut value, mut digits, mut point) = (0u64, 0, false);
    let mut sticky = false;
    for c in mantissa.chars() {
        if c == '.' {
            if std::mem::replace(&mut point, true) {
                return None;
            }
            continue;
        }
        let digit = u64::from(c.to_digit(16)?);
        digits += 1;
        if value >> 60 == 0 {
            value = value << 4 | digit;
            exponent -= if point { 4 } else { 0 };
        } else {
            // Too small to be seen, but for rounding.
            sticky |= digit != 0;
            exponent += if point { 0 } else { 4 };
        }
    }
    if digits == 0 {
        return None;
    }
    scaled(value | u64::from(sticky), exponent)
}

/// `value × 2^exponent`, rounded once, half to even; `None` when it is too large.
fn scaled(value: u64, exponent: i64) -> Option<f64> {
    if value == 0 {
        return Some(0.0);
    }
    // Of a number below 2^-1022 fewer bits remain than 53.
    let top = 63 - i64::from(value.leading_zeros()) + exponent;
    let bits = (53 - (-1022 - top).max(0)).max(0);
    let surplus = (64 - i64::from(value.leading_zeros()) - bits).max(0) as u32;
    let rounded = if surplus >= 64 {
        u64::from(surplus == 64 && value > 1 << 63)
    } else if surplus == 0 {
        value
    } else {
        let (kept, cut, half) = (value >> surplus, value & ((1 << surplus) - 1), 1u64 << (surplus - 1));
        kept + u64::from(cut > half || cut == half && kept & 1 == 1)
    };
    let mut exponent = exponent + i64::from(surplus);
    let mut number = rounded as f64;
    while exponent > 0 && number.is_finite() {
        let step = exponent.min(1000);
        number *= 2f64.powi(step as i32);
        exponent -= step;
    }
    while exponent < 0 && number != 0.0 {
        let step = exponent.max(-1000);
        number *= 2f64.powi(step as i32);
        exponent -= step;
    }
    number.is_finite().then_some(number)
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
    fn numbers_in_labels() {
        for (text, value) in [
            ("1_000", Some(1000.0)),
            ("1e5_0", Some(1e50)),
            ("1_e5", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("0x8", None),
            ("0x8p", None),
            ("0x.p0", None),
            ("0xp1", None),
            ("0x1.8.8p1", None),
            ("0b1", None),
            ("0x_8p0", Some(8.0)),
            ("-0X.8P+4", Some(-8.0)),
            ("0x8_p0", None),
            ("0x8p_0", None),
            ("0x8p+_1", None),
            ("_0x8p0", None),
            ("0_x8p0", None),
            ("0x8p1_0", Some(8192.0)),
            ("0x1p1023", Some(8.98846567431158e307)),
            ("0x1p1024", None),
            ("0x1.fffffffffffff8p1023", None),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1075", Some(0.0)),
            ("0x1.8p-1075", Some(5e-324)),
            ("0x1.8p-1074", Some(1e-323)),
            ("0x1P-1073", Some(1e-323)),
            ("0x1p-999999999999", Some(0.0)),
            ("0x1.00000000000008p0", Some(1.0)),
            ("0x1.000000000000080000001p0", Some(1.0000000000000002)),
            ("0x1.00000000000018p0", Some(1.0000000000000004)),
            ("0x123456789abcdef12345p-40", Some(7.818749353073778e10)),
            ("infinity", Some(f64::INFINITY)),
        ] {
            assert_eq!(parse_label_float(text), value, "{text}");
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
