use std::fmt::Write;

use super::Cluster;
use crate::fixture::Fixture;

/// Everything one looks at first when a story fails.
pub(crate) async fn dump(cluster: &Cluster, fixture: &Fixture) -> String {
    let mut out = String::new();
    for arguments in [
        &["get", "pods,statefulsets,persistentvolumeclaims", "-o", "wide"][..],
        &["get", "events", "--sort-by=.lastTimestamp"],
        &["describe", "pods", "--selector", "kvass/rep"],
        &["logs", "deployment/kvass-coordinator", "--all-pods", "--tail=200"],
        &["logs", "--selector", "kvass/rep", "--all-containers", "--tail=25", "--prefix", "--max-log-requests=100"],
    ] {
        let text = cluster.kubectl(fixture.namespace, arguments).await.unwrap_or_else(|error| format!("{error:#}"));
        // Writing to a String cannot fail.
        let _ = writeln!(out, "$ kubectl {}\n{text}\n", arguments.join(" "));
    }
    let status = fixture.coordinator_status(cluster).await;
    let status = status.map_or_else(|error| format!("{error:#}"), |status| format!("{status:#}"));
    let _ = writeln!(out, "coordinator status\n{status}");
    out
}
