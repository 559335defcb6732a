//! The configuration of the comparison.

use std::path::Path;

use super::servers::Line;

/// Jobs that keep nothing: role, name, more keys.
const JOBS: &[(&str, &str, &str)] = &[
    ("pod", "pod", ""),
    ("service", "service", ""),
    ("endpoints", "endpoints", ""),
    ("endpointslice", "endpointslice", ""),
    ("ingress", "ingress", ""),
    ("node", "node", ""),
    ("pod", "pod-nodes", "attach_metadata: {node: true}"),
    ("endpoints", "endpoints-nodes", "attach_metadata: {node: true}"),
    ("endpointslice", "endpointslice-nodes", "attach_metadata: {node: true}"),
    (
        "endpoints",
        "endpoints-selected",
        "namespaces: {names: [k-a, k-b]}, \
         selectors: [{role: endpoints, label: tier}, {role: pod, label: tier=web}, {role: service, label: 'tier!=web'}]",
    ),
    (
        "pod",
        "pod-selected",
        "namespaces: {names: [k-a, k-b]}, selectors: [{role: pod, label: tier=web, field: status.phase=Running}]",
    ),
];

/// The same with keys and values that 2.42 does not know.
const NEWER: &[(&str, &str, &str)] = &[
    ("pod", "pod-around", "attach_metadata: {node: true, namespace: true}"),
    ("service", "service-around", "attach_metadata: {namespace: true}"),
    ("endpoints", "endpoints-around", "attach_metadata: {node: true, namespace: true}"),
    ("endpointslice", "endpointslice-around", "attach_metadata: {node: true, namespace: true}"),
    ("ingress", "ingress-around", "attach_metadata: {namespace: true}"),
    ("pod", "pod-owners", "attach_metadata: {deployment: true, job: true, cronjob: true}"),
    ("endpoints", "endpoints-owners", "attach_metadata: {deployment: true, job: true, cronjob: true}"),
    ("endpointslice", "endpointslice-owners", "attach_metadata: {deployment: true, job: true, cronjob: true}"),
    (
        "pod",
        "pod-of-nodes",
        "namespaces: {names: [k-a, k-b]}, attach_metadata: {node: true}, \
         selectors: [{role: pod, label: tier=web, field: status.phase=Running}, {role: node, label: zone=a}]",
    ),
];

/// Roles with a job that keeps most of its targets: of these, labels and URLs are compared.
const KEPT: &[&str] = &["pod", "service", "endpoints", "endpointslice", "ingress", "node"];

/// Targets are at addresses where nobody is: whoever scrapes one is told so by this machine, and seldom.
const KEEPING: &str = "  scrape_interval: 1h
  proxy_url: 'http://127.0.0.1:9'
  relabel_configs:
  - {source_labels: [__meta_kubernetes_namespace], regex: k-c, action: drop}
  - {regex: '__meta_kubernetes_((?:pod|service|ingress)_.*name)', action: labelmap}
";

/// Whether a job attaches deployments, jobs and cron jobs.
pub(crate) fn has_owners(job: &str) -> bool {
    job.ends_with("-owners")
}

/// Jobs of all roles, and of all metadata that this Prometheus knows, whose names are wanted; by the user of that kubeconfig.
pub(crate) fn config(kubeconfig: &Path, line: Line, wanted: impl Fn(&str) -> bool) -> String {
    let newer = if line == Line::V3 { NEWER } else { &[] };
    let section = |role: &str, more: &str| {
        let section = format!("role: {role}, kubeconfig_file: '{}'", kubeconfig.display());
        if more.is_empty() { section } else { format!("{section}, {more}") }
    };
    let jobs = JOBS.iter().chain(newer).filter(|(_, name, _)| wanted(name));
    let mut config = dropping(jobs.map(|(role, name, more)| (*name, section(role, more))));
    for (role, name) in KEPT.iter().map(|role| (role, format!("{role}-kept"))).filter(|(_, name)| wanted(name)) {
        let section = section(role, "");
        config += &format!("- job_name: {name}\n  kubernetes_sd_configs: [{{{section}}}]\n{KEEPING}");
    }
    config
}

/// Jobs with one section each that discover and keep nothing.
pub(crate) fn dropping<'a>(jobs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let job = |(name, section): (&str, String)| {
        format!("- job_name: {name}\n  kubernetes_sd_configs: [{{{section}}}]\n  relabel_configs: [{{action: drop}}]\n")
    };
    format!("scrape_configs:\n{}", jobs.into_iter().map(job).collect::<String>())
}
