//! (f) Nobody was refused anything, and nobody may do what nobody does.

use anyhow::Context;
use serde_json::Value;

use crate::{
    excused::excused,
    rbac::{Permission, calls, granted},
    stage::{Stage, list},
};

/// Objects of which no permission may lie idle.
const STRICT: [&str; 3] = ["persistentvolumeclaims", "statefulsets.apps", "leases.coordination.k8s.io"];

/// Permissions that are granted for what no story does, with a reason for each.
const EXCUSED: &str = include_str!("../../rbac-unused.txt");

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    let namespace = stage.fixture.namespace;
    let log = stage.cluster.environment().audit_log.clone().context("the cluster has no audit log that we can read")?;
    let log = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let mut refused = vec![];
    for namespace in ["default", namespace] {
        let denied = calls(&log, namespace, 0).denied;
        refused.extend(denied.into_iter().map(|(permission, times)| format!("{namespace}: {permission} ({times}×)")));
    }
    refused.dedup();
    let seen = if refused.is_empty() { "none".to_owned() } else { refused.join("; ") };
    stage.expect("no call of a service account was refused", seen, refused.is_empty());

    if !stage.fixture.least_privilege {
        return Ok(());
    }
    // Accounts of other manifests in this namespace have the same names.
    let used = calls(&log, namespace, stage.up_at).used;
    let granted = granted(&both(stage, "rolebindings").await?, &both(stage, "roles").await?, namespace);
    let ours: Vec<&Permission> = granted.iter().filter(|permission| permission.account != "kvass-e2e-control").collect();
    stage.expect("permissions are granted at all", ours.len(), !ours.is_empty());
    let excused = excused(EXCUSED).map_err(|error| anyhow::anyhow!("rbac-unused.txt: {error}"))?;
    let unused: Vec<String> = ours.iter().filter(|permission| !used.contains(permission)).map(ToString::to_string).collect();
    let unexcused: Vec<&String> = unused.iter().filter(|permission| !excused.contains_key(*permission)).collect();
    stage.expect("every permission is used, or rbac-unused.txt says why not", format!("{unexcused:?}"), unexcused.is_empty());
    let stale: Vec<&String> = excused.keys().filter(|permission| !unused.contains(permission)).collect();
    stage.expect("rbac-unused.txt has no line too many", format!("{stale:?}"), stale.is_empty());
    let strict: Vec<&String> = unused.iter().filter(|permission| STRICT.iter().any(|what| permission.ends_with(what))).collect();
    stage.expect("every permission on volume claims, StatefulSets and Leases is used", format!("{strict:?}"), strict.is_empty());
    Ok(())
}

/// Of the cluster and of the namespace.
async fn both(stage: &Stage, kind: &str) -> anyhow::Result<Vec<Value>> {
    const API: &str = "/apis/rbac.authorization.k8s.io/v1";
    let mut all = vec![];
    for path in [format!("{API}/cluster{kind}"), format!("{API}/namespaces/{}/{kind}", stage.fixture.namespace)] {
        all.extend(list(&stage.cluster.get(&path).await?["items"]).cloned());
    }
    Ok(all)
}
