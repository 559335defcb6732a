//! The configuration of the comparison.

use std::path::Path;

/// Jobs: role, name, more keys.
const JOBS: &[(&str, &str, &str)] = &[
    ("pod", "pod", ""),
    ("service", "service", ""),
    ("endpoints", "endpoints", ""),
    ("endpointslice", "endpointslice", ""),
    ("ingress", "ingress", ""),
    ("node", "node", ""),
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
        "pod-selected",
        "namespaces: {names: [k-a, k-b]}, attach_metadata: {node: true}, \
         selectors: [{role: pod, label: tier=web, field: status.phase=Running}, {role: node, label: zone=a}]",
    ),
    (
        "endpoints",
        "endpoints-selected",
        "namespaces: {names: [k-a, k-b]}, \
         selectors: [{role: endpoints, label: tier}, {role: pod, label: tier=web}, {role: service, label: 'tier!=web'}]",
    ),
];

/// Whether a job attaches deployments, jobs and cron jobs.
pub(crate) fn has_owners(job: &str) -> bool {
    job.ends_with("-owners")
}

/// Jobs of all roles and all metadata whose names are wanted, by the user of that kubeconfig.
pub(crate) fn config(kubeconfig: &Path, wanted: impl Fn(&str) -> bool) -> String {
    let sections = JOBS.iter().filter(|(_, name, _)| wanted(name)).map(|(role, name, more)| {
        let section = format!("role: {role}, kubeconfig_file: '{}'", kubeconfig.display());
        (*name, if more.is_empty() { section } else { format!("{section}, {more}") })
    });
    dropping(sections)
}

/// Jobs with one section each that discover and keep nothing.
pub(crate) fn dropping<'a>(jobs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let job = |(name, section): (&str, String)| {
        format!("- job_name: {name}\n  kubernetes_sd_configs: [{{{section}}}]\n  relabel_configs: [{{action: drop}}]\n")
    };
    format!("scrape_configs:\n{}", jobs.into_iter().map(job).collect::<String>())
}
