use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    ADDRESS_LABEL, INVALID_LABEL_PREFIX, Labels, LabelsBuilder, METRICS_PATH_LABEL, PARAM_LABEL_PREFIX, RESERVED_LABEL_PREFIX,
    SCHEME_LABEL, TargetHash, is_legacy_label_name,
};

/// URL parameters of a job: name to values, in order.
pub type Params = BTreeMap<String, Vec<String>>;

/// Which Prometheus' rules apply where 2.x and 3.x differ (port completion, precedence of `params`,
/// the regex dot, label names).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrometheusLine {
    /// Prometheus 2.x.
    #[default]
    V2,
    /// Prometheus 3.x and later.
    V3,
}

/// What service discovery delivers: some targets and the labels they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetGroup {
    /// Identifies the group inside its discoverer; a new group of the same source replaces the old one.
    pub source: String,
    /// One label set per target; `__address__` among them.
    pub targets: Vec<Labels>,
    /// Labels of every target that does not set them itself.
    pub labels: Labels,
}

/// A target after relabelling: what Prometheus would scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Identity; independent of the Prometheus line.
    pub hash: TargetHash,
    /// Name of the job in the configuration (the `job` label may say something else).
    pub job: Arc<str>,
    /// The label set just before relabelling.
    pub discovered: Labels,
    /// The label set after relabelling, reserved labels included, `__meta_` ones removed.
    pub labels: Labels,
    /// Where it is scraped.
    pub url: String,
    /// Its scrape interval (the job's, or its own label's).
    pub interval: Duration,
    /// Its scrape timeout.
    pub timeout: Duration,
}

impl Target {
    /// Where it is scraped, for logs: without parameters, which may be secrets.
    pub fn place(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }

    /// The labels that reach its series: those without the `__` prefix.
    pub fn public_labels(&self) -> Labels {
        public_labels(&self.labels)
    }

    /// The labels a shard is sent: parameters that merely repeat the job's
    /// configuration are left out, names Prometheus 2 refuses are prefixed.
    pub fn shipped_labels(&self, params: &Params) -> Labels {
        let mut shipped = LabelsBuilder::new();
        for (name, value) in self.labels.iter() {
            let configured = name.strip_prefix(PARAM_LABEL_PREFIX).and_then(|p| params.get(p)).and_then(|v| v.first());
            if configured.is_some_and(|c| c == value) {
                continue;
            }
            if is_legacy_label_name(name) || name.starts_with(PARAM_LABEL_PREFIX) {
                shipped.set(name, value);
            } else {
                shipped.set(&format!("{INVALID_LABEL_PREFIX}{name}"), value);
            }
        }
        shipped.build()
    }
}

/// The labels of `labels` that reach series.
pub(crate) fn public_labels(labels: &Labels) -> Labels {
    labels.filter(|name| !name.starts_with(RESERVED_LABEL_PREFIX))
}

impl Labels {
    /// The labels that reach series: those without the `__` prefix.
    pub fn public(&self) -> Labels {
        public_labels(self)
    }

    /// The label set as it was before [`Target::shipped_labels`] prefixed the names that Prometheus 2 refuses.
    pub fn unshipped(&self) -> Labels {
        self.iter().map(|(name, value)| (name.strip_prefix(INVALID_LABEL_PREFIX).unwrap_or(name), value)).collect()
    }

    /// `__scheme__`, or empty.
    pub fn scheme(&self) -> &str {
        self.get(SCHEME_LABEL).unwrap_or_default()
    }

    /// `__address__`, or empty.
    pub fn address(&self) -> &str {
        self.get(ADDRESS_LABEL).unwrap_or_default()
    }

    /// `__metrics_path__`, or empty.
    pub fn metrics_path(&self) -> &str {
        self.get(METRICS_PATH_LABEL).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_labels_drop_repeated_params_and_prefix_odd_names() {
        let target = Target {
            hash: TargetHash(1),
            job: "j".into(),
            discovered: Labels::default(),
            labels: Labels::from([
                ("__param_module", "http_2xx"),
                ("__param_target", "x"),
                ("9lives", "cat"),
                ("job", "j"),
                ("__param_match[]", "up"),
            ]),
            url: String::new(),
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
        };
        let params: Params =
            [("module".to_owned(), vec!["http_2xx".to_owned()]), ("target".to_owned(), vec!["y".to_owned()])].into();
        let shipped = target.shipped_labels(&params);
        assert_eq!(
            shipped,
            Labels::from([("__invalid_label_9lives", "cat"), ("__param_match[]", "up"), ("__param_target", "x"), ("job", "j")])
        );
        assert_eq!(shipped.unshipped().get("9lives"), Some("cat"));
        assert_eq!(target.public_labels(), Labels::from([("9lives", "cat"), ("job", "j")]));
    }
}
