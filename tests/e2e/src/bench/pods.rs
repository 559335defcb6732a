//! Many pods, as those of a hundred deployments.

use std::time::Duration;

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::api::{APPLY, Api, MERGE};

const NAMESPACES: usize = 20;
const DEPLOYMENTS: usize = 100;
/// Ports of a pod, which have a target each.
const PORTS: usize = 3;
/// Pods of one transaction: etcd takes 128 operations, and 1.5 MiB.
const TOGETHER: usize = 50;

/// The pods, by number; those of the same deployment differ in name, identity and address.
pub(crate) struct Pods {
    api: Api,
    /// Of each deployment, the pod as the API server has stored it.
    models: Vec<Value>,
    count: usize,
    /// How many were replaced.
    replaced: usize,
}

impl Pods {
    /// Creates the namespaces, and a pod of each deployment to take the others from.
    pub(crate) async fn new(api: Api, count: usize) -> anyhow::Result<Self> {
        for namespace in 0..NAMESPACES {
            let path = format!("/api/v1/namespaces/space-{namespace}");
            let field = "fieldManager=kvass-e2e&force=true";
            let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("space-{namespace}")}});
            api.patch(&format!("{path}?{field}"), APPLY, &space).await?;
            let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
            api.patch(&format!("{path}/serviceaccounts/default?{field}"), APPLY, &account).await?;
        }
        let mut pods = Pods { api, models: vec![], count, replaced: 0 };
        for deployment in 0..DEPLOYMENTS {
            let path = pods.create(&asked_for(deployment), deployment).await?;
            pods.models.push(pods.api.get(&path).await?);
            pods.api.delete_now(&path).await?;
        }
        Ok(pods)
    }

    /// Targets there are.
    pub(crate) fn targets(&self) -> usize {
        self.count * PORTS
    }

    /// Size of a pod as JSON.
    pub(crate) fn bytes(&self) -> usize {
        self.models.iter().map(|model| model.to_string().len()).sum::<usize>() / self.models.len().max(1)
    }

    /// Writes all pods into the database while no API server runs, as it would have written them: two requests for each
    /// of a hundred thousand pods would take longer than everything that is measured.
    pub(crate) async fn fill(&self, etcd: &str) -> anyhow::Result<()> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(120)).no_proxy().build()?;
        let url = format!("{etcd}/v3/kv/txn");
        let start = Instant::now();
        let batches = (0..self.count).step_by(TOGETHER);
        stream::iter(batches)
            .map(async |first| {
                let numbers = first..self.count.min(first + TOGETHER);
                let puts: Vec<Value> = numbers.map(|number| put(&self.models[number % DEPLOYMENTS], number)).collect();
                let answer = http.post(&url).body(json!({"success": puts}).to_string()).send().await?;
                let status = answer.status();
                anyhow::ensure!(status.is_success(), "{url}: {status}: {}", answer.text().await.unwrap_or_default());
                Ok(())
            })
            .buffer_unordered(8)
            .try_collect::<()>()
            .await?;
        tracing::info!("{} pods written in {:.0} s", self.count, start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Replaces so many pods a minute, evenly: one is deleted, another one is created and gets its address.
    pub(crate) async fn churn(&mut self, a_minute: usize, minutes: usize) -> anyhow::Result<()> {
        let start = Instant::now();
        let number = |index: usize| u32::try_from(index).context("too many pods");
        let step = Duration::from_secs(60) / number(a_minute.max(1))?;
        let first = self.replaced;
        let pods = &*self;
        stream::iter(0..a_minute * minutes)
            .map(async |index| {
                sleep_until(start + step * number(index)?).await;
                let (old, new) = (first + index, pods.count + first + index);
                let model = &pods.models[old % DEPLOYMENTS];
                let path = format!("{}/{}", collection(model), name(model, old));
                pods.api.delete_now(&path).await?;
                let deployment = old % DEPLOYMENTS;
                let mut pod = asked_for(deployment);
                pod["metadata"]["name"] = name(model, new).into();
                pods.create(&pod, new).await.map(drop)
            })
            .buffered(16)
            .try_collect::<()>()
            .await?;
        self.replaced += a_minute * minutes;
        tracing::info!("{} pods replaced in {:.0} s", a_minute * minutes, start.elapsed().as_secs_f64());
        Ok(())
    }

    /// As a controller and a kubelet do it.
    async fn create(&self, pod: &Value, number: usize) -> anyhow::Result<String> {
        let created = self.api.post(&collection(pod), pod).await?;
        let path = format!("{}/{}", collection(pod), created["metadata"]["name"].as_str().context("a pod without name")?);
        self.api.patch(&format!("{path}/status"), MERGE, &json!({"status": status(number)})).await?;
        Ok(path)
    }
}

fn collection(pod: &Value) -> String {
    format!("/api/v1/namespaces/{}/pods", pod["metadata"]["namespace"].as_str().unwrap_or_default())
}

/// Names as those of replica sets' pods.
fn name(model: &Value, number: usize) -> String {
    format!("{}{number:06}", model["metadata"]["generateName"].as_str().unwrap_or_default())
}

/// The write of a copy of the model.
fn put(model: &Value, number: usize) -> Value {
    let mut pod = model.clone();
    let name = name(model, number);
    let metadata = &mut pod["metadata"];
    metadata["name"] = name.as_str().into();
    metadata["uid"] = format!("{number:08x}-0000-4000-8000-000000000000").into();
    if let Some(members) = metadata.as_object_mut() {
        // It is the database's.
        members.remove("resourceVersion");
    }
    if let (Some(old), Some(new)) = (pod["status"].as_object_mut(), status(number).as_object()) {
        old.extend(new.clone());
    }
    let key = format!("/registry/pods/{}/{name}", pod["metadata"]["namespace"].as_str().unwrap_or_default());
    json!({"requestPut": {"key": BASE64_STANDARD.encode(key), "value": BASE64_STANDARD.encode(pod.to_string())}})
}

/// What the controller of a deployment asks for.
fn asked_for(deployment: usize) -> Value {
    let app = format!("service-{deployment}");
    let set = format!("{app}-{:010x}", deployment * 0x1234_5678 + 0x1_0000_0000);
    let container = |name: &str, ports: Value| {
        json!({
            "name": name,
            "image": format!("registry.example.com/team-{}/{app}-{name}:v1.{deployment}.0", deployment % 7),
            "ports": ports,
            "env": [{"name": "LOG_LEVEL", "value": "info"},
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": format!("{set}-"), "namespace": format!("space-{}", deployment % NAMESPACES),
            "labels": {
                "app.kubernetes.io/name": app, "app.kubernetes.io/instance": format!("{app}-production"),
                "app.kubernetes.io/component": "backend", "app.kubernetes.io/part-of": format!("product-{}", deployment % 10),
                "app.kubernetes.io/version": format!("v1.{deployment}.0"), "pod-template-hash": &set[app.len() + 1..],
            },
            "annotations": {
                "prometheus.io/scrape": "true", "prometheus.io/port": "9090", "prometheus.io/path": "/metrics",
                "checksum/config": format!("{deployment:064x}"), "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z",
            },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": format!("{deployment:08x}-1111-4000-8000-000000000000"),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "nodeName": format!("node-{}.example.com", deployment % 50), "schedulerName": "nobody",
            "automountServiceAccountToken": false,
            "containers": [
                container("app", json!([{"name": "http", "containerPort": 8080, "protocol": "TCP"},
                                        {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}])),
                container("proxy", json!([{"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"}])),
            ],
        },
    })
}

/// What a kubelet reports of a pod.
fn status(number: usize) -> Value {
    let ip = format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
    let host = format!("192.168.{}.{}", number % 50 / 25, number % 25 + 1);
    let time = "2026-01-01T00:00:00Z";
    let condition = |kind: &&str| json!({"type": kind, "status": "True", "lastTransitionTime": time});
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let container = |name: &str| {
        json!({
            "name": name, "ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": time}},
            "image": format!("registry.example.com/{name}"), "imageID": format!("registry.example.com/{name}@sha256:{:064x}", 7),
            "containerID": format!("containerd://{number:060x}{}", if name == "app" { "aaaa" } else { "bbbb" }),
        })
    };
    json!({
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": host, "hostIPs": [{"ip": host}], "startTime": time,
        "conditions": conditions.iter().map(condition).collect::<Vec<_>>(),
        "containerStatuses": [container("app"), container("proxy")],
    })
}
