//! What is done to a StatefulSet besides scaling it: the wish is noted, a number that was set back is put back,
//! claims that are due are deleted, and what an operator should know is told, once.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Resource;

use super::{
    StatefulSets, claims, id,
    wish::{Wish, Writer, replicas},
};
use crate::shards::{Announcement, Correction, Repeat};

/// What was told of a StatefulSet already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    foreign: bool,
    deletes_claims: bool,
}

impl StatefulSets {
    /// Keeps the StatefulSets of the last list in order and says which numbers were put back.
    pub(crate) async fn tend(&self) -> Vec<Correction> {
        let mut memory = self.memory.lock().await;
        let mut corrections = Vec::new();
        for found in memory.found.values_mut().filter(|found| !found.stale) {
            self.tell(found);
            let wish = found.wish();
            match wish {
                Wish::Foreign(_) => continue,
                Wish::Kept(_) => {}
                Wish::Adopt(scale) | Wish::Raised { to: scale, .. } => {
                    if let Wish::Raised { from, to } = wish {
                        let by = by_whom(&found.set);
                        tracing::info!(replica = %id(&found.set), from, to, %by, "more shards are wished");
                    }
                    // Claims of earlier removals stay due, those of shards wished now do not.
                    let outcome = self.cluster.write_scale(found, scale, scale).await;
                    report(&found.set, outcome, "the number of shards wished cannot be noted");
                }
                Wish::Lowered { wish, to } => {
                    // Before the write: what we write is ours afterwards.
                    let (by, writer) = (by_whom(&found.set), Writer::of(&found.set).unwrap_or_default());
                    let outcome = self.cluster.write_scale(found, wish, wish).await;
                    if !report(&found.set, outcome, "replicas were set back and cannot be put back") {
                        continue;
                    }
                    let correction = Correction { replica: id(&found.set), from: to, to: wish, by };
                    tracing::warn!(replica = %correction.replica, from = to, to = wish, by = %correction.by, "replicas were set back by somebody else, put back");
                    let words = format!("{to} {}", writer.manager);
                    self.events.announce(
                        found.set.object_ref(&()),
                        Announcement {
                            warning: true,
                            reason: "ReplicasReset",
                            action: "Scale",
                            text: correction.to_string(),
                            repeat: Repeat::Later(words),
                        },
                    );
                    corrections.push(correction);
                }
            }
            claims::delete_due(&self.cluster, found).await;
        }
        corrections
    }

    /// Tells of what cannot be helped from here, once per object.
    fn tell(&self, found: &mut super::Found) {
        let foreign = foreign(&found.wish()).filter(|_| !found.told.foreign);
        let deletes = deletes_claims(&found.set).filter(|_| !found.told.deletes_claims);
        found.told.foreign |= foreign.is_some();
        found.told.deletes_claims |= deletes.is_some();
        for (reason, text) in [("NotScaled", foreign), ("ClaimsDeletedWhenScaled", deletes)] {
            let Some(text) = text else { continue };
            tracing::warn!(replica = %id(&found.set), "{text}");
            let announcement = Announcement { warning: true, reason, action: "Scale", text, repeat: Repeat::Always };
            self.events.announce(found.set.object_ref(&()), announcement);
        }
    }
}

/// Whether a write succeeded. A conflict is no failure: somebody else was faster, and the next cycle reads that.
fn report(set: &StatefulSet, outcome: Result<(), kube::Error>, problem: &str) -> bool {
    match outcome {
        Ok(()) => return true,
        Err(kube::Error::Api(status)) if status.code == 409 => {
            tracing::debug!(replica = %id(set), "changed by somebody else meanwhile, read again");
        }
        Err(error) => tracing::error!(replica = %id(set), replicas = replicas(set), %error, "{problem}"),
    }
    false
}

/// What the operator should know of a StatefulSet, for the API.
pub(super) fn notes(set: &StatefulSet, wish: &Wish) -> Vec<String> {
    let lowered = match wish {
        Wish::Lowered { wish, to } => Some(format!("replicas were set from {wish} to {to} by {}", by_whom(set))),
        _ => None,
    };
    [foreign(wish), deletes_claims(set), lowered].into_iter().flatten().collect()
}

fn foreign(wish: &Wish) -> Option<String> {
    let Wish::Foreign(owner) = wish else { return None };
    Some(format!(
        "the number of shards is not changed: it belongs to {owner} of the Prometheus Operator, which would undo it; set spec.shards there"
    ))
}

/// Kubernetes itself deletes claims as soon as `spec.replicas` falls. After a drain that is what it is for, but a
/// number set back by somebody else takes the data of loaded shards with it before it can be put back.
fn deletes_claims(set: &StatefulSet) -> Option<String> {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref()?;
    (policy.when_scaled.as_deref() == Some("Delete")).then(|| {
        "persistentVolumeClaimRetentionPolicy.whenScaled is Delete: replicas set back by hand or by a tool delete the data of loaded shards; expected Retain, with --shard.delete-pvc where claims of drained shards should go".to_owned()
    })
}

fn by_whom(set: &StatefulSet) -> String {
    match Writer::of(set) {
        Some(Writer { manager, at: Some(at) }) => format!("{manager} at {at:.0}"),
        Some(Writer { manager, at: None }) => manager,
        // The scale subresource leaves out a zero, and with it who wrote it.
        None => "somebody who left no name, as kubectl scale does with 0".to_owned(),
    }
}
