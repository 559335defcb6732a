//! What this binary was built from: shown by `kvass version`, and as the metric `kvass_build_info`.

use std::{fmt, sync::OnceLock};

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

static DECLARED: OnceLock<BuildInfo> = OnceLock::new();

/// What a binary was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// Version of kvass, without a leading `v`.
    pub version: &'static str,
    /// Commit of the source, or `unknown`.
    pub commit: &'static str,
    /// Version of the compiler.
    pub rustc: &'static str,
    /// Target triple.
    pub target: &'static str,
}

impl BuildInfo {
    /// Declares what this process is, for every [`Metrics`](crate::metrics::Metrics) created from now on. The
    /// first declaration stays.
    pub fn declare(self) {
        let _ = DECLARED.set(self);
    }

    pub(crate) fn declared() -> Option<Self> {
        DECLARED.get().copied()
    }

    /// Registers `kvass_build_info`, always 1.
    pub(crate) fn register(self, registry: &mut Registry) {
        let family = Family::<Vec<(&str, &str)>, Gauge>::default();
        let labels = vec![("version", self.version), ("commit", self.commit), ("rustc", self.rustc), ("target", self.target)];
        family.get_or_create(&labels).set(1);
        registry.register("kvass_build_info", "What the process was built from", family);
    }
}

/// Version first, as `--version` shows it; then a line for each other value.
impl fmt::Display for BuildInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BuildInfo { version, commit, rustc, target } = self;
        write!(f, "kvass {version}\ncommit {commit}\nrustc {rustc}\ntarget {target}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_has_a_label_for_every_value() {
        let info = BuildInfo { version: "1.2.3", commit: "abc", rustc: "1.95.0", target: "x86_64-unknown-linux-musl" };
        let mut registry = Registry::default();
        info.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = "kvass_build_info{version=\"1.2.3\",commit=\"abc\",rustc=\"1.95.0\",target=\"x86_64-unknown-linux-musl\"} 1";
        assert!(text.lines().any(|l| l == line), "{text}");
    }
}
