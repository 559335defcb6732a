//! Volume claims of shards that were removed.
//!
//! They are deleted after the pods are gone, and only while the wish still stands. What is due is noted on the
//! StatefulSet: nothing else outlives the coordinator, and claims cannot be listed with the original's role.

use std::ops::RangeInclusive;

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use super::{
    Cluster, Found, id, pods,
    wish::{noted, replicas},
};

/// Shards whose claims are deleted in one cycle.
const AT_ONCE: usize = 20;

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

/// Deletes the claims that are due and whose pods are gone, those of the last shards first, and takes what is done off the
/// note: the calls of one cycle are few, however many shards were removed at once. The wish is read anew before each
/// deletion, so that growth in between keeps the claim.
pub(super) async fn delete_due(cluster: &Cluster, found: &mut Found) {
    let Some(due) = due(&found.set) else { return };
    let first = wished(&found.set).max(*due.start());
    let mut ordinals = (first..=*due.end()).rev();
    let batch: Vec<u32> = ordinals.by_ref().take(AT_ONCE).collect();
    let mut left = ordinals.next();
    for ordinal in batch {
        match delete(cluster, found, ordinal).await {
            Some(true) => {}
            Some(false) => left = left.max(Some(ordinal)),
            None => return,
        }
    }
    let note = left.map(|last| format!("{}-{last}", due.start()));
    if found.set.annotations().get(DUE) == note.as_ref() {
        return;
    }
    match cluster.patch(found, json!({ "metadata": { "annotations": { DUE: note } } })).await {
        Ok(()) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => tracing::warn!(replica = %id(&found.set), %error, "claims are deleted but the note of it stays"),
    }
}

/// Whether nothing is left to be done for this ordinal; `None` when nothing can be done for any.
async fn delete(cluster: &Cluster, found: &Found, ordinal: u32) -> Option<bool> {
    let set = &found.set;
    if pods::by_ordinal(set, &found.pods).contains_key(&ordinal) {
        return Some(false);
    }
    let (name, namespace) = (set.name_any(), set.namespace().unwrap_or_default());
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), &namespace);
    let mut done = true;
    for template in set.spec.volume_claim_templates.iter().flatten() {
        let current = match cluster.sets(&namespace).get(&name).await {
            Ok(current) if current.uid() == set.uid() => current,
            Ok(_) => return None,
            Err(error) => {
                tracing::warn!(replica = %id(set), %error, "claims of removed shards stay for now");
                return None;
            }
        };
        if wished(&current) > ordinal {
            continue;
        }
        let claim = format!("{}-{name}-{}", template.name_any(), pods::first_number(set).saturating_add(ordinal));
        match claims.delete(&claim, &DeleteParams::default()).await {
            Ok(_) => tracing::info!(replica = %id(set), claim, "claim of a removed shard deleted"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::warn!(replica = %id(set), claim, %error, "claim of a removed shard stays for now");
                done = false;
            }
        }
    }
    Some(done)
}

/// How many shards there should be, whoever says so.
fn wished(set: &StatefulSet) -> u32 {
    noted(set).unwrap_or(0).max(replicas(set))
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
