//! What the last releases of 2.x discover otherwise than 2.42. The coordinator does as these do for all shards of 2.x
//! (docs/kubernetes.md), so a comparison with 2.42 sets it aside.

use super::difference::Discovered;

/// Labels that 2.42 does not give, by how their names begin, but for the role `node`, which had them all.
const LABELS: &[&str] = &[
    // Since 2.46.
    "__meta_kubernetes_endpoints_annotation",
    "__meta_kubernetes_endpointslice_annotation",
    "__meta_kubernetes_endpointslice_label",
    "__meta_kubernetes_node_annotation",
    // Since 2.52.
    "__meta_kubernetes_endpointslice_endpoint_node_name",
    "__meta_kubernetes_endpointslice_endpoint_zone",
];

/// What we discover, as 2.42 would tell it.
pub(crate) fn without_newer_labels(ours: Discovered) -> Discovered {
    let newer = |name: &str| LABELS.iter().any(|beginning| name.starts_with(beginning));
    without_referred_nodes(ours).map(|job, target| {
        if !job.starts_with("node") {
            target.retain(|name, _| !newer(name));
        }
    })
}

/// What 2.42 discovers, as later releases would: since 2.46 the ports of a pod that has no address yet are no targets.
pub(crate) fn without_empty_addresses(theirs: Discovered) -> Discovered {
    without_referred_nodes(theirs).without(|job, target| {
        let address = target.get("__address__").or(target.get("instance"));
        job.starts_with("endpoint") && address.is_some_and(|address| address.starts_with(':'))
    })
}

/// Since 2.45 the node that an endpoint refers to is attached, in slices before the one that the endpoint is on.
fn without_referred_nodes(discovered: Discovered) -> Discovered {
    const REFERENCES: [&str; 2] =
        ["__meta_kubernetes_endpoint_address_target_kind", "__meta_kubernetes_endpointslice_address_target_kind"];
    discovered.map(|_, target| {
        if REFERENCES.iter().any(|kind| target.get(*kind).is_some_and(|kind| kind == "Node")) {
            target.retain(|name, _| !name.starts_with("__meta_kubernetes_node_"));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::difference::{Target, difference};

    fn discovered(targets: &[&[(&str, &str)]]) -> Discovered {
        let mut discovered = Discovered::default();
        for target in targets {
            discovered.add(target.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Target>());
        }
        discovered
    }

    #[test]
    fn only_what_is_new_is_set_aside() {
        let (annotation, zone) = ("__meta_kubernetes_node_annotation_a", "__meta_kubernetes_endpointslice_endpoint_zone");
        let ours: &[&[_]] = &[
            &[("job", "node"), ("__address__", "a"), (annotation, "x")],
            &[("job", "pod-nodes"), ("__address__", "a"), (annotation, "x")],
            &[("job", "endpointslice"), ("__address__", "a"), (zone, "z"), ("__meta_kubernetes_service_name", "s")],
        ];
        let theirs: &[&[_]] = &[
            ours[0],
            &[("job", "pod-nodes"), ("__address__", "a")],
            &[("job", "endpointslice"), ("__address__", "a"), ("__meta_kubernetes_service_name", "s")],
            &[("job", "endpointslice"), ("__address__", ":80")],
            &[("job", "endpoints-kept"), ("instance", ":80")],
        ];
        let of = |ours, theirs| {
            difference(&without_newer_labels(discovered(ours)), &without_empty_addresses(discovered(theirs))).join("; ")
        };
        assert_eq!(of(ours, theirs), "");
        assert!(of(ours, ours).starts_with("endpointslice: 1 targets only here"), "theirs are taken as they are");
        let pod: &[&[_]] = &[&[("job", "pod"), ("__address__", ":80")]];
        assert_eq!(of(pod, &[]), "pod: 1 targets only here, 0 only there: :80 and nothing like it");
        assert_eq!(of(&[], pod), "pod: 0 targets only here, 1 only there: :80 and nothing like it");
    }

    #[test]
    fn nodes_that_endpoints_refer_to() {
        let target = |job, kind, node| {
            discovered(&[&[
                ("job", job),
                ("__meta_kubernetes_endpoint_address_target_kind", kind),
                ("__meta_kubernetes_node_name", node),
            ]])
        };
        let equal = |job, kind| {
            let (ours, theirs) = (target(job, kind, "referred"), target(job, kind, "other"));
            difference(&without_newer_labels(ours), &without_empty_addresses(theirs)).is_empty()
        };
        assert!(equal("endpoints-nodes", "Node"));
        assert!(!equal("endpoints-nodes", "Pod"));
    }
}
