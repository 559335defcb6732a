use kvass_model::PrometheusLine;

/// The newest release whose keys are all in the table of this crate.
const NEWEST_KNOWN: (u32, u32) = (3, 16);

/// What matters of the version of a Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrometheusRelease {
    /// Whose rules apply.
    pub line: PrometheusLine,
    /// It may know keys that this crate does not: see
    /// [`Config::parse_with_unknown_keys`](crate::Config::parse_with_unknown_keys).
    pub knows_more: bool,
}

impl PrometheusRelease {
    /// Reads what a Prometheus says of itself, for example `3.16.0` or `2.42.0+ds`; `None` for what is no version.
    pub fn of_version(version: &str) -> Option<Self> {
        let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']).map(|number| number.parse::<u32>().ok());
        let major = numbers.next()??;
        let minor = numbers.next().flatten().unwrap_or(0);
        let line = if major >= 3 { PrometheusLine::V3 } else { PrometheusLine::V2 };
        Some(PrometheusRelease { line, knows_more: (major, minor) > NEWEST_KNOWN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        use PrometheusLine::{V2, V3};
        for (version, expected) in [
            ("2.42.0+ds", Some((V2, false))),
            ("2.99.0", Some((V2, false))),
            ("3.0.0-rc.1", Some((V3, false))),
            ("3.16.7", Some((V3, false))),
            ("3.17.0-rc.0", Some((V3, true))),
            ("v10.1", Some((V3, true))),
            ("4", Some((V3, true))),
            ("", None),
            ("x", None),
        ] {
            let found = PrometheusRelease::of_version(version);
            assert_eq!(found.map(|release| (release.line, release.knows_more)), expected, "{version}");
        }
    }
}
