//! Where we judge otherwise on purpose.

use kvass_model::PrometheusLine::{self, V2, V3};

/// Cases that we judge otherwise than Prometheus.
pub(crate) struct Difference {
    /// Name of the case, or its beginning if it ends in `*`.
    pub(crate) cases: &'static str,
    pub(crate) lines: &'static [PrometheusLine],
    #[allow(dead_code, reason = "for the reader")]
    pub(crate) why: &'static str,
}

const BOTH: &[PrometheusLine] = &[V2, V3];

pub(crate) const DIFFERENCES: &[Difference] = &[];

/// The entry that allows this case to differ.
pub(crate) fn reason(case: &str, line: PrometheusLine) -> Option<usize> {
    DIFFERENCES.iter().position(|difference| {
        let named = match difference.cases.strip_suffix('*') {
            Some(beginning) => case.starts_with(beginning),
            None => case == difference.cases,
        };
        named && difference.lines.contains(&line)
    })
}
