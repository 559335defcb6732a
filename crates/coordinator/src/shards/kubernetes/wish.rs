//! How many shards are wished, and who says so.
//!
//! `spec.replicas` alone does not tell: a manifest applied once more, a chart, a tool that keeps a repository in
//! force, or a hand may set it back to what it was before shards were added, and pods with targets would go. So
//! every number of ours is noted on the StatefulSet, in the same patch. Below the note, it was reset and is put
//! back; above, somebody wishes more, and that is taken over. Fewer shards come of the idle procedure alone.

use jiff::Timestamp;
use k8s_openapi::{api::apps::v1::StatefulSet, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry};
use kube::ResourceExt;

/// Annotation with the number of shards wished last.
pub(super) const NOTE: &str = "kvass.io/replicas";

/// Name under which our changes stand in `metadata.managedFields`.
pub(super) const FIELD_MANAGER: &str = "kvass-coordinator";

/// API group of the Prometheus Operator, which sets `spec.replicas` of its StatefulSets itself.
const OPERATOR_GROUP: &str = "monitoring.coreos.com/";

/// What `spec.replicas` of a StatefulSet means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Another controller decides; its kind and name.
    Foreign(String),
    /// Nothing is noted yet: what is there is the wish.
    Adopt(u32),
    /// As noted.
    Kept(u32),
    /// Somebody wishes more than is noted.
    Raised {
        /// What is noted.
        from: u32,
        /// What is wished.
        to: u32,
    },
    /// Somebody set it back.
    Lowered {
        /// What is noted, and wished.
        wish: u32,
        /// What it was set to.
        to: u32,
    },
}

impl Wish {
    /// Compares `spec.replicas` with the note, or, where the note was lost (the object was replaced), with
    /// what is `remembered` of it.
    pub(super) fn of(set: &StatefulSet, remembered: Option<u32>) -> Wish {
        if let Some(owner) = operator(set) {
            return Wish::Foreign(owner);
        }
        let (present, note) = (replicas(set), noted(set));
        match note.or(remembered) {
            Some(wish) if present > wish => Wish::Raised { from: wish, to: present },
            Some(wish) if present < wish => Wish::Lowered { wish, to: present },
            Some(wish) if note.is_some() => Wish::Kept(wish),
            _ => Wish::Adopt(present),
        }
    }

    /// The number of shards wished; `present` where that is not ours to say.
    pub(super) fn scale(&self, present: u32) -> u32 {
        match self {
            Wish::Foreign(_) => present,
            Wish::Adopt(scale) | Wish::Kept(scale) | Wish::Raised { to: scale, .. } | Wish::Lowered { wish: scale, .. } => *scale,
        }
    }
}

/// `spec.replicas`, which the API server always fills in.
pub(super) fn replicas(set: &StatefulSet) -> u32 {
    set.spec.replicas.and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

/// The number noted on the object.
pub(super) fn noted(set: &StatefulSet) -> Option<u32> {
    set.annotations().get(NOTE)?.parse().ok()
}

/// The object of the Prometheus Operator that controls `set`, if one does.
fn operator(set: &StatefulSet) -> Option<String> {
    let is_operator = |owner: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
        owner.controller == Some(true) && owner.api_version.starts_with(OPERATOR_GROUP)
    };
    set.owner_references().iter().find(is_operator).map(|owner| format!("{} {}", owner.kind, owner.name))
}

/// Who set `spec.replicas` last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Writer {
    /// Its name in `metadata.managedFields`, for example `kubectl-client-side-apply` or `helm`.
    pub(super) manager: String,
    /// When it changed any of its fields last.
    pub(super) at: Option<Timestamp>,
}

impl Writer {
    /// The one that owns `spec.replicas`, us excepted. Several own a number they agree on; the last one counts.
    pub(super) fn of(set: &StatefulSet) -> Option<Writer> {
        let owns = |entry: &&ManagedFieldsEntry| {
            let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
            fields.is_some_and(|fields| !fields["f:spec"]["f:replicas"].is_null())
        };
        let owners = set.managed_fields().iter().filter(owns).map(|entry| Writer {
            manager: entry.manager.clone().unwrap_or_default(),
            at: entry.time.as_ref().map(|time| time.0),
        });
        owners.filter(|writer| writer.manager != FIELD_MANAGER).max_by_key(|writer| writer.at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(replicas: u32, metadata: &Value) -> StatefulSet {
        let spec = json!({"replicas": replicas, "selector": {}, "serviceName": "", "template": {}});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn the_note_tells_a_reset_from_a_wish() {
        let noted = json!({"annotations": {NOTE: "3"}});
        for (metadata, present, remembered, expected) in [
            (&json!({}), 2, None, Wish::Adopt(2)),
            (&json!({"annotations": {NOTE: "three"}}), 2, None, Wish::Adopt(2)),
            (&noted, 3, None, Wish::Kept(3)),
            (&noted, 5, None, Wish::Raised { from: 3, to: 5 }),
            (&noted, 0, None, Wish::Lowered { wish: 3, to: 0 }),
            (&noted, 3, Some(4), Wish::Kept(3)),
            (&json!({}), 1, Some(4), Wish::Lowered { wish: 4, to: 1 }),
            (&json!({}), 4, Some(4), Wish::Adopt(4)),
        ] {
            let wish = Wish::of(&set(present, metadata), remembered);
            assert_eq!(wish, expected, "{metadata} {present} {remembered:?}");
        }
        assert_eq!(Wish::Lowered { wish: 3, to: 0 }.scale(0), 3);
    }

    #[test]
    fn only_a_controller_of_the_operator_has_its_own_say() {
        let owner = |group: &str, controller: bool| {
            json!({"annotations": {NOTE: "3"}, "ownerReferences":
                [{"apiVersion": group, "kind": "Prometheus", "name": "k8s", "uid": "u", "controller": controller}]})
        };
        let foreign = Wish::of(&set(1, &owner("monitoring.coreos.com/v1", true)), None);
        assert_eq!(foreign, Wish::Foreign("Prometheus k8s".to_owned()));
        assert_eq!(foreign.scale(1), 1);
        for (group, controller) in [("monitoring.coreos.com/v1", false), ("apps/v1", true)] {
            assert_eq!(Wish::of(&set(3, &owner(group, controller)), None), Wish::Kept(3));
        }
    }

    #[test]
    fn the_last_owner_of_replicas_is_named() {
        let entry = |manager: &str, minute: u32, fields: Value| {
            json!({"manager": manager, "operation": "Update", "time": format!("2026-01-01T00:{minute:02}:00Z"),
                "fieldsType": "FieldsV1", "fieldsV1": fields})
        };
        let replicas = || json!({"f:spec": {"f:replicas": {}}});
        let metadata = json!({"managedFields": [
            entry("helm", 1, replicas()),
            entry("kubectl", 2, replicas()),
            entry(FIELD_MANAGER, 3, replicas()),
            entry("kube-controller-manager", 4, json!({"f:status": {"f:replicas": {}}})),
        ]});
        let writer = Writer::of(&set(0, &metadata)).unwrap();
        assert_eq!(writer.manager, "kubectl");
        assert_eq!(writer.at, Some("2026-01-01T00:02:00Z".parse().unwrap()));
        assert_eq!(Writer::of(&set(0, &json!({}))), None);
    }
}
