//! The cluster as a user has it: `kubectl` for what people type, the API for what is read all the time.

mod dump;
mod objects;
mod process;
mod wait;

use std::{path::PathBuf, process::Stdio, sync::Arc};

use anyhow::Context;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

pub(crate) use self::{dump::dump, objects::Pod, wait::until};
use crate::{
    api::{ANSWER, Api},
    environment::Environment,
};

/// Access to one cluster.
#[derive(Clone)]
pub(crate) struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    environment: Environment,
    http: reqwest::Client,
    /// `kubectl proxy`: the API without credentials, on loopback.
    api: Api,
    _proxy: Child,
}

impl Cluster {
    /// Connects; fails with what `kubectl` says.
    pub(crate) async fn connect(environment: Environment) -> anyhow::Result<Self> {
        let mut proxy = Command::new(&environment.kubectl)
            .args(["proxy", "--port=0"])
            .env("KUBECONFIG", &environment.kubeconfig)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} proxy", environment.kubectl.display()))?;
        let stdout = proxy.stdout.take().context("kubectl proxy has no output")?;
        let line = BufReader::new(stdout).lines().next_line().await?.unwrap_or_default();
        let address = line.rsplit(' ').next().filter(|word| word.contains(':'));
        let address = address.with_context(|| format!("kubectl proxy said {line:?}, expected an address"))?;
        let api = Api::open(format!("http://{address}"))?;
        let http = reqwest::Client::builder().timeout(ANSWER).no_proxy().build()?;
        Ok(Self { inner: Arc::new(Inner { environment, http, api, _proxy: proxy }) })
    }

    /// What the cluster was described with.
    pub(crate) fn environment(&self) -> &Environment {
        &self.inner.environment
    }

    /// A file of this checkout.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.inner.environment.checkout.join(path)
    }

    /// What a user types; the output, or an error with what `kubectl` complained about.
    pub(crate) async fn kubectl(&self, namespace: &str, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl_with(namespace, arguments, "").await
    }

    /// The same with an input (`-f -`).
    pub(crate) async fn kubectl_with(&self, namespace: &str, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let program = self.inner.environment.kubectl.clone();
        let mut all = vec!["--namespace", namespace];
        all.extend(arguments);
        tracing::info!("$ kubectl {}", all.join(" "));
        run(Command::new(&program).args(&all).env("KUBECONFIG", &self.inner.environment.kubeconfig), input)
            .await
            .with_context(|| format!("kubectl {}", all.join(" ")))
    }

    /// Runs `helm`, which is beside `kubectl`.
    pub(crate) async fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let environment = &self.inner.environment;
        tracing::info!("$ helm {}", arguments.join(" "));
        run(
            Command::new(environment.kubectl.with_file_name("helm")).args(arguments).env("KUBECONFIG", &environment.kubeconfig),
            "",
        )
        .await
        .with_context(|| format!("helm {}", arguments.join(" ")))
    }

    /// Runs the cluster's script: `stop`, `start`, `node-crash` and the like.
    pub(crate) async fn machine(&self, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
        tracing::info!("$ cluster.sh {command} {}", arguments.join(" "));
        self.script(command, arguments).await
    }

    /// Connections that the nodes know of, in the kernel's words.
    pub(crate) async fn connections(&self) -> anyhow::Result<String> {
        self.script("connections", &[]).await
    }

    async fn script(&self, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let machine = self.inner.environment.machine.as_ref().context("the machine is not ours")?;
        run(Command::new(&machine.script).arg(command).arg(&machine.run).args(arguments), "")
            .await
            .with_context(|| format!("cluster.sh {command}"))
    }

    /// Its API.
    pub(crate) fn api(&self) -> &Api {
        &self.inner.api
    }

    /// An object or a list of the API.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.inner.api.get(path).await
    }

    /// Asks a pod: directly where pods can be reached, else through the API server.
    pub(crate) async fn ask(&self, pod: &Pod, port: u16, path: &str) -> anyhow::Result<String> {
        self.ask_with(pod, port, path, &[]).await
    }

    /// The same with a query.
    pub(crate) async fn ask_with(&self, pod: &Pod, port: u16, path: &str, query: &[(&str, &str)]) -> anyhow::Result<String> {
        let base = match (&self.inner.environment.machine, pod.ip) {
            (None, _) => format!("{}/api/v1/namespaces/{}/pods/{}:{port}/proxy", self.inner.api.base(), pod.namespace, pod.name),
            (Some(_), Some(ip)) => format!("http://{}", std::net::SocketAddr::from((ip, port))),
            (Some(_), None) => anyhow::bail!("{} has no address yet", pod.name),
        };
        let mut url = reqwest::Url::parse(&format!("{base}{path}"))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let answer = self.inner.http.get(url).send().await.with_context(|| format!("{}:{port}{path}", pod.name))?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| format!("{}:{port}{path}", pod.name))?;
        anyhow::ensure!(status.is_success(), "{}:{port}{path}: {status}: {}", pod.name, text.trim());
        Ok(text)
    }

    /// The `data` of a Prometheus-like answer.
    pub(crate) async fn ask_data(&self, pod: &Pod, port: u16, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let text = self.ask_with(pod, port, path, query).await?;
        let mut answer: Value = serde_json::from_str(&text).with_context(|| format!("{}:{port}{path}: not JSON", pod.name))?;
        Ok(answer["data"].take())
    }
}

async fn run(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input closes it: no news.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    anyhow::ensure!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
    Ok(text(&output.stdout))
}
