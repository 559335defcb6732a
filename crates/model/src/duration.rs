use std::{fmt::Write, time::Duration};

/// A duration text that does not follow the expected grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: {expected}")]
pub struct DurationError {
    text: String,
    expected: &'static str,
}

/// Parses a Go duration, as used by flags: `0`, `1h30m`, `1.5h`, `300ms`; units ns, us, µs, ms, s, m, h.
/// Negative durations are refused: no flag of ours has a meaning for them.
pub fn parse_go_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError {
        text: text.to_owned(),
        expected: "expected a number with a unit of ns, us, ms, s, m or h, for example 10s or 1h30m",
    };
    let rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut rest = rest;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(error()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(error());
        }
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| error())? };
        nanos = whole.checked_mul(scale).and_then(|n| n.checked_add(nanos)).ok_or_else(error)?;
        let mut place = scale;
        for digit in fraction.bytes() {
            // Go truncates below one nanosecond as well.
            place /= 10;
            nanos = nanos.saturating_add(u128::from(digit - b'0') * place);
        }
        rest = tail;
    }
    // Go's durations are signed 64-bit nanoseconds.
    let nanos = u64::try_from(nanos).ok().filter(|n| i64::try_from(*n).is_ok()).ok_or_else(error)?;
    Ok(Duration::from_nanos(nanos))
}

const PROMETHEUS_UNITS: [(&str, u64); 7] =
    [("y", 365 * 86_400_000), ("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a Prometheus duration, as used by its configuration: `0`, or integers with the units y, w, d,
/// h, m, s, ms, each at most once and in that order.
pub fn parse_prometheus_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError {
        text: text.to_owned(),
        expected: "expected a whole number with a unit of y, w, d, h, m, s or ms, for example 15s or 1h30m",
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut millis: u64 = 0;
    let mut units = PROMETHEUS_UNITS.iter();
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0).ok_or_else(error)?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        // The iterator only moves forward, which enforces order and uniqueness.
        let (_, scale) = units.find(|(name, _)| *name == unit).ok_or_else(error)?;
        let number: u64 = number.parse().map_err(|_| error())?;
        millis = number.checked_mul(*scale).and_then(|n| n.checked_add(millis)).ok_or_else(error)?;
        rest = tail;
    }
    // Above this, Prometheus' nanoseconds overflow (about 292 years).
    if text.is_empty() || millis > i64::MAX as u64 / 1_000_000 {
        return Err(error());
    }
    Ok(Duration::from_millis(millis))
}

/// Renders a duration as Prometheus does in `__scrape_interval__` and its APIs: `0s`, `1m30s`, `1d12h`;
/// years and weeks only where they divide the value.
pub fn format_prometheus_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, scale) in PROMETHEUS_UNITS {
        let exact_only = matches!(unit, "y" | "w");
        if millis < scale || (exact_only && !millis.is_multiple_of(scale)) {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{}{unit}", millis / scale);
        millis %= scale;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        for (text, nanos) in [
            ("0", 0),
            ("+5s", 5_000_000_000),
            ("10s", 10_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("300ms", 300_000_000),
            ("1m1m", 120_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("2us", 2_000),
            ("2µs", 2_000),
            ("0.1ns", 0),
            ("9223372036s", 9_223_372_036_000_000_000),
        ] {
            assert_eq!(parse_go_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for bad in [
            "",
            "5",
            "1d",
            "1w",
            "-5s",
            "s",
            ".s",
            "1..5s",
            "1h 30m",
            "9223372037s",
            "+",
            "1h30",
            "340282366920938463463374607431768211.9us",
        ] {
            assert!(parse_go_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn prometheus_durations() {
        for (text, millis, shown) in [
            ("0", 0, "0s"),
            ("61s", 61_000, "1m1s"),
            ("36h", 129_600_000, "1d12h"),
            ("1w2d", 777_600_000, "9d"),
            ("14d", 1_209_600_000, "2w"),
            ("365d", 31_536_000_000, "1y"),
            ("90d", 7_776_000_000, "90d"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1500ms", 1_500, "1s500ms"),
            ("0s", 0, "0s"),
        ] {
            let parsed = parse_prometheus_duration(text);
            assert_eq!(parsed, Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(format_prometheus_duration(Duration::from_millis(millis)), shown, "{text}");
        }
        for bad in ["", "30", "1m1h", "5m5m", "1.5h", "1M", "10us", "-5s", "300y", "1 h", "s", "1ms1s"] {
            assert!(parse_prometheus_duration(bad).is_err(), "{bad:?}");
        }
    }
}
