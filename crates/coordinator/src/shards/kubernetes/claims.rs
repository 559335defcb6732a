//! Volume claims of shards that were removed.
//!
//! They are deleted after the pods are gone, and only while the wish still stands. What is due is noted on the
//! StatefulSet: nothing else outlives the coordinator, and claims cannot be listed with the original's role.

use std::ops::RangeInclusive;

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    Cluster, Found, id, pods,
    wish::{FIELD_MANAGER, noted, replicas},
};

/// Annotation with the ordinals whose claims are to be deleted, `from-to`.
pub(super) const DUE: &str = "kvass.io/delete-claims";

fn due(set: &StatefulSet) -> Option<RangeInclusive<u32>> {
    let (from, to) = set.annotations().get(DUE)?.split_once('-')?;
    Some(from.parse().ok()?..=to.parse().ok()?)
}

/// What is to be noted as due when the wish becomes `scale`: never a claim of a shard below it. `None` where the
/// note stays as it is.
pub(super) fn note_at_scale(set: &StatefulSet, scale: u32, before: u32, delete: bool) -> Option<Value> {
    let noted = due(set);
    let last_noted = noted.as_ref().map(|due| *due.end());
    let last_removed = (delete && scale < before).then(|| before - 1);
    match last_noted.max(last_removed) {
        Some(last) if last >= scale => {
            // A claim between the old note and the new scale was deleted already; deleting it again is nothing.
            let from = if last_removed.is_some() { scale } else { noted.map_or(scale, |due| scale.max(*due.start())) };
            Some(Value::from(format!("{from}-{last}")))
        }
        Some(_) => Some(Value::Null),
        None => None,
    }
}

/// Deletes the claims that are due and whose pods are gone. The wish is read anew before each deletion, so that
/// growth in between keeps the claim.
pub(super) async fn delete_due(cluster: &Cluster, found: &Found) {
    let set = &found.set;
    let Some(due) = due(set) else { return };
    let (name, namespace) = (set.name_any(), set.namespace().unwrap_or_default());
    let present = pods::by_ordinal(set, &found.pods);
    let sets: Api<StatefulSet> = Api::namespaced(cluster.client.clone(), &namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), &namespace);
    let templates = set.spec.volume_claim_templates.clone().unwrap_or_default();
    let wished = |set: &StatefulSet| noted(set).unwrap_or(0).max(replicas(set));
    let (mut waiting, mut version) = (false, set.resource_version());
    for ordinal in due.filter(|ordinal| *ordinal >= wished(set)) {
        if present.contains_key(&ordinal) {
            waiting = true;
            continue;
        }
        for template in &templates {
            let current = match sets.get(&name).await {
                Ok(current) if current.uid() == set.uid() => current,
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(replica = %id(set), %error, "claims of removed shards stay for now");
                    return;
                }
            };
            version = current.resource_version();
            if wished(&current) > ordinal {
                continue;
            }
            let claim = format!("{}-{name}-{}", template.name_any(), pods::first_number(set).saturating_add(ordinal));
            match claims.delete(&claim, &DeleteParams::default()).await {
                Ok(_) => tracing::info!(replica = %id(set), claim, "claim of a removed shard deleted"),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::warn!(replica = %id(set), claim, %error, "claim of a removed shard stays for now");
                    waiting = true;
                }
            }
        }
    }
    if !waiting {
        // With the version that was read: what somebody noted in between must not be lost.
        let patch = json!({ "metadata": { "resourceVersion": version, "annotations": { DUE: null } } });
        match sets
            .patch(
                &name,
                &PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() },
                &Patch::Merge(patch),
            )
            .await
        {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => tracing::warn!(replica = %id(set), %error, "claims are deleted but the note of it stays"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(note: Option<&str>) -> StatefulSet {
        let annotations = note.map(|note| json!({ DUE: note })).unwrap_or_default();
        serde_json::from_value(
            json!({"metadata": {"annotations": annotations}, "spec": {"selector": {}, "serviceName": "", "template": {}}}),
        )
        .unwrap()
    }

    #[test]
    fn what_is_due_never_reaches_below_the_scale() {
        for (note, before, scale, delete, expected) in [
            (None, 4, 2, true, Some(json!("2-3"))),
            (None, 4, 2, false, None),
            (None, 2, 4, true, None),
            (Some("3-3"), 3, 2, true, Some(json!("2-3"))),
            (Some("2-5"), 2, 4, true, Some(json!("4-5"))),
            (Some("2-5"), 2, 9, true, Some(Value::Null)),
            (Some("4-5"), 2, 3, false, Some(json!("4-5"))),
            (Some("nonsense"), 2, 3, true, None),
        ] {
            let noted = note_at_scale(&set(note), scale, before, delete);
            assert_eq!(noted, expected, "{note:?} {before} -> {scale}, delete {delete}");
        }
    }
}
