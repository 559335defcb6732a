use std::{fmt, hash::Hasher, str::FromStr};

use xxhash_rust::xxh64::Xxh64;

use crate::Labels;

/// Identity of a target, bit for bit the one the original Kvass computes (and Prometheus inside one
/// scrape pool): sidecars keep these numbers over a coordinator swap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetHash(pub u64);

impl TargetHash {
    /// FNV-1a over the label hash, in decimal and padded to 16 digits, followed by the URL.
    ///
    /// `labels` is the complete label set after relabelling (reserved labels included, `__meta_` ones
    /// not) and `url` the full URL built from it.
    pub fn of(labels: &Labels, url: &str) -> Self {
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(format!("{:016}", label_hash(labels)).as_bytes());
        hasher.write(url.as_bytes());
        TargetHash(hasher.finish())
    }
}

/// XXH64 of a label set: every name and value followed by the byte 0xFF, in name order.
pub fn label_hash(labels: &Labels) -> u64 {
    let mut hasher = Xxh64::new(0);
    for (name, value) in labels.iter() {
        hasher.update(name.as_bytes());
        hasher.update(&[0xff]);
        hasher.update(value.as_bytes());
        hasher.update(&[0xff]);
    }
    hasher.digest()
}

impl fmt::Display for TargetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TargetHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetHash({})", self.0)
    }
}

/// A target hash that is not an unsigned 64-bit decimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target hash {0:?} is not an unsigned 64-bit decimal number")]
pub struct HashError(String);

impl FromStr for TargetHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        // `u64::from_str` takes a leading '+', which no peer writes.
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HashError(text.to_owned()));
        }
        text.parse().map(TargetHash).map_err(|_| HashError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Params, target_url};

    /// Label hash, URL and target hash computed independently of this code and of the original.
    #[test]
    fn vectors() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a [&'a str])], u64, &'a str, u64);
        let cases: &[Case<'_>] = &[
            (
                &[
                    ("__address__", "10.0.0.1:9091"),
                    ("__metrics_path__", "/metrics"),
                    ("__scheme__", "http"),
                    ("instance", "10.0.0.1:9091"),
                    ("job", "metrics-test"),
                    ("pod", "metrics-0"),
                ],
                &[],
                13350566387340757971,
                "http://10.0.0.1:9091/metrics",
                1707220896493147320,
            ),
            (
                &[
                    ("__address__", "example.org:443"),
                    ("__metrics_path__", "/probe"),
                    ("__param_module", "http_2xx"),
                    ("__param_target", "https://a.b/c?d=e"),
                    ("__scheme__", "https"),
                    ("instance", "example.org:443"),
                    ("job", "bb"),
                ],
                &[("module", &["http_2xx"])],
                3127830304724248408,
                "https://example.org:443/probe?module=http_2xx&target=https%3A%2F%2Fa.b%2Fc%3Fd%3De",
                15754848138785068885,
            ),
            (
                &[
                    ("__address__", "[::1]:80"),
                    ("__metrics_path__", "metrics path"),
                    ("__param_match[]", "up"),
                    ("__scheme__", "http"),
                    ("instance", "[::1]:80"),
                    ("job", "j"),
                ],
                &[("match[]", &["up", "down"])],
                14605733490684763623,
                "http://[::1]:80/metrics%20path?match%5B%5D=up&match%5B%5D=down",
                3117558696740308353,
            ),
            (&[], &[], 17241709254077376921, "", 12052433483164338897),
            (&[], &[("module", &["x"])], 17241709254077376921, "?module=x", 18080143992463961035),
        ];
        for (labels, params, expected_labels, expected_url, expected) in cases {
            let labels: Labels = labels.iter().copied().collect();
            let params: Params = params
                .iter()
                .map(|(k, v)| (k.to_string(), v.iter().map(ToString::to_string).collect()))
                .collect::<BTreeMap<_, _>>();
            let url = target_url(&labels, &params);
            assert_eq!(label_hash(&labels), *expected_labels, "{labels}");
            assert_eq!(url, *expected_url);
            assert_eq!(TargetHash::of(&labels, &url), TargetHash(*expected));
        }
    }

    #[test]
    fn text_form() {
        assert_eq!("18446744073709551615".parse(), Ok(TargetHash(u64::MAX)));
        assert_eq!(TargetHash(7).to_string(), "7");
        for bad in ["", "+1", "-1", "18446744073709551616", "1 ", "0x1"] {
            assert!(bad.parse::<TargetHash>().is_err(), "{bad:?}");
        }
    }
}
