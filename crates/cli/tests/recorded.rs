//! What the original's programs did, done again with ours: starts that fail, runs on Kubernetes, and what Prometheus
//! makes of the targets of a shard.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "recorded/kubernetes.rs"]
mod kubernetes;
#[path = "recorded/prometheus.rs"]
mod prometheus;
#[path = "recorded/starts.rs"]
mod starts;
#[path = "../../../tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;

/// Fails on a difference that is not expected, and on one that is expected but is there no longer.
#[track_caller]
fn assert_differences(found: impl IntoIterator<Item = String>, expected: &[&str]) {
    let found: BTreeSet<String> = found.into_iter().collect();
    let expected: BTreeSet<String> = expected.iter().map(|&line| line.to_owned()).collect();
    let (new, gone): (Vec<_>, Vec<_>) = (found.difference(&expected).collect(), expected.difference(&found).collect());
    assert!(new.is_empty() && gone.is_empty(), "unexpected: {new:#?}\nno longer: {gone:#?}");
}
