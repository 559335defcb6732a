use kvass_exposition::{CountError, CountOptions, Counts, SeriesCounter};

/// Counts a body that arrives in one piece.
pub(crate) fn count(options: CountOptions, body: &[u8]) -> Result<Counts, CountError> {
    let mut counter = SeriesCounter::new(options);
    counter.push(body)?;
    counter.finish()
}

/// Series after and before metric relabelling; `None` when the body is rejected.
#[allow(dead_code)]
pub(crate) fn verdict(options: &CountOptions, body: &[u8]) -> Option<(u64, u64)> {
    count(options.clone(), body).ok().map(|counts| (counts.count.series, counts.count.total))
}

/// The same options with a limit nothing exceeds, so that every label set is assembled and judged.
#[allow(dead_code)]
pub(crate) fn assembling(options: &CountOptions) -> CountOptions {
    CountOptions { label_limit: u64::MAX, ..options.clone() }
}
