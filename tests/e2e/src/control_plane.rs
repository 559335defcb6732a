//! etcd and kube-apiserver on loopback and nothing else of a cluster: no machines, no controllers, no root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::{api::Api, cluster::until, discovery::free_port};

/// How long the API server may take to be ready: with a hundred thousand pods in its database, on a busy machine.
const START: Duration = Duration::from_secs(600);

/// The two programs, while they run.
pub(crate) struct ControlPlane {
    folder: PathBuf,
    authority: Authority,
    api: Api,
    etcd: String,
    server_command: Vec<String>,
    server: Option<Child>,
    /// The API server at another address.
    elsewhere: Option<(Child, Api)>,
    _etcd: Child,
}

/// Who signs the certificates of the server and of its users.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What of the programs it needs is not in that folder, as a sentence.
pub(crate) fn obstacle(bin: &Path, programs: &[&str]) -> Option<String> {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !bin.join(program).is_file()).collect();
    (!missing.is_empty()).then(|| format!("{} is not in {}", missing.join(", "), bin.display()))
}

impl ControlPlane {
    /// Starts both from the programs in `bin`, with further arguments for the API server; keys, data and logs are in
    /// `folder`.
    pub(crate) async fn start(bin: &Path, folder: PathBuf, more: &[&str]) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let authority = Authority::new()?;
        let etcd = format!("http://127.0.0.1:{}", free_port()?);
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let data = folder.join("etcd").display().to_string();
        // Its data need not survive the machine.
        let arguments = [
            bin.join("etcd").display().to_string(),
            "--name=one".to_owned(),
            format!("--data-dir={data}"),
            "--unsafe-no-fsync".to_owned(),
            "--quota-backend-bytes=8000000000".to_owned(),
            format!("--listen-client-urls={etcd}"),
            format!("--advertise-client-urls={etcd}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=one={peer}"),
        ];
        let etcd_process = spawn(&arguments, &folder.join("etcd.log"))?;
        let port = free_port()?;
        let base = format!("https://127.0.0.1:{port}");
        let server_command = server_command(bin, &folder, &authority, &etcd, port, more)?;
        let api = authority.administrator(base)?;
        let mut plane =
            ControlPlane { folder, authority, api, etcd, server_command, server: None, elsewhere: None, _etcd: etcd_process };
        plane.start_server().await?;
        Ok(plane)
    }

    /// Its API, for an administrator.
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// Where the database is.
    pub(crate) fn etcd(&self) -> &str {
        &self.etcd
    }

    /// Where everything is written.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Certificate of the authority, PEM.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Log of all requests, one JSON object a line; each is there when its answer is.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// Files with certificate and key of a user, who is in that group.
    pub(crate) fn user(&self, name: &str, group: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
        let (certificate, key) = self.authority.user(name, group)?;
        let path = |ending: &str| self.folder.join(format!("{name}.{ending}"));
        write(&path("crt"), &certificate)?;
        write(&path("key"), &key)?;
        Ok((path("crt"), path("key")))
    }

    /// A kubeconfig with these users by name; the last argument is the one it speaks for.
    pub(crate) fn kubeconfig(&self, name: &str, users: &[(&str, serde_json::Value)], current: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(format!("{name}.kubeconfig"));
        let entries = users.iter().map(|(name, user)| json!({"name": name, "user": user})).collect::<Vec<_>>();
        let contexts = users.iter().map(|(name, _)| json!({"name": name, "context": {"cluster": "one", "user": name}}));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": current, "users": entries,
            "contexts": contexts.collect::<Vec<_>>(),
            "clusters": [{"name": "one", "cluster": {"server": self.api.base(), "certificate-authority": self.authority()}}],
        });
        write(&path, &config.to_string())?;
        Ok(path)
    }

    /// A kubeconfig of an administrator.
    pub(crate) fn admin(&self) -> anyhow::Result<PathBuf> {
        let (certificate, key) = self.user("admin", "system:masters")?;
        self.kubeconfig("admin", &[("admin", json!({"client-certificate": certificate, "client-key": key}))], "admin")
    }

    /// Kills the API server.
    pub(crate) async fn stop_server(&mut self) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            server.kill().await?;
        }
        Ok(())
    }

    /// Starts the API server, at the address it had before.
    pub(crate) async fn start_server(&mut self) -> anyhow::Result<()> {
        let log = self.folder.join("kube-apiserver.log");
        let server = self.server.insert(spawn(&self.server_command, &log)?);
        ready(&self.api, server, &log).await
    }

    /// Starts an API server at an address that nobody knows: objects change while all clients are cut off.
    pub(crate) async fn start_elsewhere(&mut self) -> anyhow::Result<&Api> {
        let port = free_port()?;
        let mut command = self.server_command.clone();
        command.retain(|argument| !argument.starts_with("--secure-port=") && !argument.starts_with("--audit-log-path="));
        command.push(format!("--secure-port={port}"));
        let log = self.folder.join("kube-apiserver-elsewhere.log");
        let api = self.authority.administrator(format!("https://127.0.0.1:{port}"))?;
        let (server, api) = self.elsewhere.insert((spawn(&command, &log)?, api));
        ready(api, server, &log).await?;
        Ok(api)
    }

    /// Kills it.
    pub(crate) async fn stop_elsewhere(&mut self) -> anyhow::Result<()> {
        if let Some((mut server, _)) = self.elsewhere.take() {
            server.kill().await?;
        }
        Ok(())
    }
}

async fn ready(api: &Api, server: &mut Child, log: &Path) -> anyhow::Result<()> {
    let answer = tokio::select! {
        answer = until("the API server is ready", START, async || api.text("/readyz").await) => answer.map(drop),
        ended = server.wait() => ended.map_err(Into::into).and_then(|status| Err(anyhow::anyhow!("the API server has ended: {status}"))),
    };
    answer.with_context(|| format!("its log is {}", log.display()))
}

/// What programs say of their versions.
pub(crate) async fn versions(bin: &Path, programs: &[&str]) -> Vec<String> {
    let mut versions = vec![];
    for program in programs {
        let output = Command::new(bin.join(program)).arg("--version").output().await;
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        versions.extend(text.lines().next().map(|line| line.trim().to_owned()));
    }
    versions
}

fn server_command(
    bin: &Path,
    folder: &Path,
    authority: &Authority,
    etcd: &str,
    port: u16,
    more: &[&str],
) -> anyhow::Result<Vec<String>> {
    let (certificate, key) = authority.server()?;
    write(&folder.join("ca.crt"), &authority.pem)?;
    write(&folder.join("server.crt"), &certificate)?;
    write(&folder.join("server.key"), &key)?;
    let accounts = KeyPair::generate()?;
    write(&folder.join("accounts.key"), &accounts.serialize_pem())?;
    write(&folder.join("accounts.pub"), &accounts.public_key_pem())?;
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    });
    write(&folder.join("audit-policy.yaml"), &policy.to_string())?;
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = vec![
        bin.join("kube-apiserver").display().to_string(),
        format!("--etcd-servers={etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        // Nobody comes from outside; an address for documentation, as loopback is refused.
        "--advertise-address=192.0.2.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/108".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--audit-policy-file={}", file("audit-policy.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
        "--audit-log-mode=blocking".to_owned(),
    ];
    command.extend(more.iter().map(ToString::to_string));
    Ok(command)
}

/// Starts a program, which ends with us; what it says is added to a log.
pub(crate) fn spawn(arguments: &[String], log: &Path) -> anyhow::Result<Child> {
    let output = fs::File::options().append(true).create(true).open(log).with_context(|| log.display().to_string())?;
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
    command.spawn().with_context(|| arguments[0].clone())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

impl Authority {
    fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(vec![])?;
        params.distinguished_name.push(DnType::CommonName, "kvass-e2e");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Authority { issuer: Issuer::new(params, key), pem })
    }

    /// PEM of certificate and key.
    fn server(&self) -> anyhow::Result<(String, String)> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    fn user(&self, name: &str, group: &str) -> anyhow::Result<(String, String)> {
        let mut params = CertificateParams::new(vec![])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// The API there, for somebody who may do everything.
    fn administrator(&self, base: String) -> anyhow::Result<Api> {
        let (certificate, key) = self.user("admin", "system:masters")?;
        Api::secured(base, &self.pem, &format!("{certificate}{key}"))
    }

    fn sign(&self, params: CertificateParams) -> anyhow::Result<(String, String)> {
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }
}
