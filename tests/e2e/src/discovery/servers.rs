//! A coordinator and Prometheus servers that discover the same and keep nothing.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use serde::Deserialize;
use tokio::process::{Child, Command};

use super::difference::{Discovered, Target};
use crate::cluster::{Cluster, until};

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

/// A server on this machine that has these jobs.
pub(crate) struct Server {
    url: String,
    http: reqwest::Client,
    _process: Child,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    dropped_targets: Vec<Dropped>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dropped {
    discovered_labels: Target,
}

impl Server {
    /// A coordinator that follows the rules of 3.x. Its fleet is one shard that is not there.
    pub(crate) async fn coordinator(cluster: &Cluster, port: u16) -> anyhow::Result<Self> {
        let folder = folder(cluster, port)?;
        let shards = folder.join("shards.yaml");
        let fleet = "replicas: [{shards: [{id: none, url: 'http://127.0.0.1:9'}]}]\n";
        std::fs::write(&shards, fleet).with_context(|| shards.display().to_string())?;
        // The same binary as in the images.
        let binary = std::env::var_os("KVASS_BINARY").map_or_else(|| cluster.file("target/release/kvass"), PathBuf::from);
        let mut command = Command::new(binary);
        command.args(["coordinator", "--shard.type=static", "--prometheus.version=3"]);
        command.arg(format!("--shard.static-file={}", shards.display())).arg(format!("--web.address=127.0.0.1:{port}"));
        Self::start(command, &folder, port, "/-/healthy").await
    }

    /// The Prometheus beside `kubectl`.
    pub(crate) async fn prometheus(cluster: &Cluster, port: u16) -> anyhow::Result<Self> {
        let folder = folder(cluster, port)?;
        let mut command = Command::new(cluster.environment().kubectl.with_file_name("prometheus"));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Self::start(command, &folder, port, "/-/ready").await
    }

    async fn start(mut command: Command, folder: &Path, port: u16, ready: &str) -> anyhow::Result<Self> {
        let log = folder.join("log");
        let output = std::fs::File::create(&log).with_context(|| log.display().to_string())?;
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let process = command.spawn().with_context(|| format!("{command:?}"))?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build()?;
        let server = Server { url: format!("http://127.0.0.1:{port}"), http, _process: process };
        let url = format!("{}{ready}", server.url);
        until(&url, Duration::from_secs(30), async || Ok(server.http.get(&url).send().await?.error_for_status()?))
            .await
            .with_context(|| format!("its log is {}", log.display()))?;
        Ok(server)
    }

    /// What it discovers now.
    pub(crate) async fn discovered(&self) -> anyhow::Result<Discovered> {
        let url = format!("{}/api/v1/targets?state=dropped", self.url);
        let answer = self.http.get(&url).send().await?.error_for_status()?;
        let answer: Answer = answer.json().await.with_context(|| url.clone())?;
        let mut discovered = Discovered::default();
        for Dropped { discovered_labels } in answer.data.dropped_targets {
            discovered.add(discovered_labels);
        }
        Ok(discovered)
    }
}

/// A folder with a configuration, in that of the run: it goes with the cluster.
fn folder(cluster: &Cluster, port: u16) -> anyhow::Result<PathBuf> {
    let kubeconfig = &cluster.environment().kubeconfig;
    let run = kubeconfig.parent().context("KUBECONFIG without a folder")?;
    let folder = run.join(format!("discovery-{port}"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let path = folder.join("prometheus.yml");
    std::fs::write(&path, config(kubeconfig)).with_context(|| path.display().to_string())?;
    Ok(folder)
}

/// Jobs that discover and keep nothing.
fn config(kubeconfig: &Path) -> String {
    let job = |(role, name, more): &(&str, &str, &str)| {
        let section = format!("{{role: {role}, kubeconfig_file: '{}', {more}}}", kubeconfig.display());
        format!("- job_name: {name}\n  kubernetes_sd_configs: [{section}]\n  relabel_configs: [{{action: drop}}]\n")
    };
    format!("scrape_configs:\n{}", JOBS.iter().map(job).collect::<String>())
}
