//! Whose credentials a request carries: jobs of several users side by side, judged by the API server's audit log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Change, Programs, Server, acts::send_all, difference, dropping};
use crate::{api::MERGE, cluster::until, control_plane::ControlPlane, report::Expectations};

const LIMIT: Duration = Duration::from_secs(60);

/// Two namespaces; of each there are users who may list its pods and nothing else.
const NAMESPACES: [&str; 2] = ["one", "two"];
/// Pods of each namespace, which have a target each.
const PODS: usize = 3;

/// A job that its requests can be told by: each asks for the pods without a label of its own.
struct Case {
    job: &'static str,
    /// The label: its own name, unless several jobs are to ask for the same.
    asks: &'static str,
    section: String,
    /// As the audit log calls them.
    user: String,
    /// Whether the user may list what the job asks for.
    allowed: bool,
}

/// What `unshare` is to do so that a program sees files of its own.
const IN_A_POD: [&str; 3] = ["--mount", "--map-root-user", "sh"];
/// An empty folder in the place of `/var/run`.
const OWN_RUN: &str = "mount -t tmpfs none \"$(readlink -f /var/run)\"";

/// What the acts are told with.
struct Scene {
    plane: ControlPlane,
    coordinator: Server,
    beside: Server,
    cases: Vec<Case>,
    /// Files with tokens of the service accounts of both namespaces.
    tokens: [PathBuf; 2],
}

/// Makes users and jobs, and follows their requests while tokens change and end and the server forgets its history.
pub(super) async fn tell(told: &mut Expectations, plane: ControlPlane, programs: &Programs) -> anyhow::Result<()> {
    for namespace in NAMESPACES {
        people(&plane, namespace).await?;
    }
    let tokens = ["token-one", "token-two"].map(|name| plane.folder().join(name));
    for (namespace, file) in NAMESPACES.iter().zip(&tokens) {
        write(file, &token(&plane, namespace, "reader").await?)?;
    }
    let cases = cases(&plane, &tokens)?;
    let config = dropping(cases.iter().map(|case| (case.job, case.section.clone())));
    let (coordinator, beside) = (programs.coordinator(&config).await?, programs.prometheus(&config).await?);
    let mut scene = Scene { plane, coordinator, beside, cases, tokens };
    scene.everybody_sees_their_own(told).await?;
    scene.shared(told)?;
    scene.tokens_change_and_end(told).await?;
    scene.history_is_lost(told).await
}

/// A coordinator that runs as in a pod: the service account's files are where they are in pods.
pub(super) async fn in_a_pod(told: &mut Expectations, plane: &ControlPlane, programs: &Programs) -> anyhow::Result<()> {
    people(plane, "pod").await?;
    let account = plane.folder().join("serviceaccount");
    fs::create_dir_all(&account).with_context(|| account.display().to_string())?;
    fs::copy(plane.authority(), account.join("ca.crt"))?;
    write(&account.join("namespace"), "pod")?;
    write(&account.join("token"), &token(plane, "pod", "reader").await?)?;
    let selector = "selectors: [{role: pod, label: 'job!=in-a-pod'}]";
    let config = dropping([("in-a-pod", format!("role: pod, namespaces: {{own_namespace: true}}, {selector}"))]);
    let server = programs.coordinator_by(pod_command(plane, &account, programs)?, &config).await?;
    until("its own namespace is discovered", LIMIT, async || {
        let found = server.discovered().await?.of("in-a-pod");
        anyhow::ensure!(found == PODS, "{found} targets, {}", server.errors("in-a-pod").await?);
        Ok(())
    })
    .await?;
    let users: Vec<String> = requests(plane)?.into_iter().filter(|request| request.asks == "in-a-pod").map(|r| r.user).collect();
    let own = users.iter().all(|user| user == "system:serviceaccount:pod:reader");
    told.expect("own_namespace: requests by the pod's service account", format!("{users:?}"), own && !users.is_empty());
    Ok(())
}

/// Why nothing can be run as in a pod here.
pub(super) async fn no_pods() -> Option<String> {
    let outcome = Command::new("unshare").args(IN_A_POD).args(["-c", OWN_RUN]).output().await;
    match outcome {
        Ok(outcome) if outcome.status.success() => None,
        Ok(outcome) => Some(format!("unshare: {}", String::from_utf8_lossy(&outcome.stderr).trim())),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

fn pod_command(plane: &ControlPlane, account: &std::path::Path, programs: &Programs) -> anyhow::Result<Command> {
    let url = reqwest::Url::parse(plane.api().base())?;
    let secrets = "/var/run/secrets/kubernetes.io";
    let script = format!("{OWN_RUN} && mkdir -p {secrets} && cp -r \"$1\" {secrets}/serviceaccount && shift && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(IN_A_POD).args(["-c", &script, "sh"]).arg(account).arg(&programs.kvass);
    command.env("KUBERNETES_SERVICE_HOST", url.host_str().unwrap_or_default());
    command.env("KUBERNETES_SERVICE_PORT", url.port().unwrap_or_default().to_string());
    Ok(command)
}

fn cases(plane: &ControlPlane, tokens: &[PathBuf; 2]) -> anyhow::Result<Vec<Case>> {
    let server = format!("api_server: '{}', tls_config: {{ca_file: '{}'", plane.api().base(), plane.authority().display());
    let pods = |namespace: &str, asks: &str| {
        format!("role: pod, namespaces: {{names: [{namespace}]}}, selectors: [{{role: pod, label: 'job!={asks}'}}]")
    };
    let account = |namespace: &str| format!("system:serviceaccount:{namespace}:reader");
    let by_file = |file: &PathBuf| format!("{server}}}, authorization: {{credentials_file: '{}'}}", file.display());
    let inline = |file: &PathBuf| {
        let token = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        anyhow::Ok(format!("{server}}}, authorization: {{credentials: '{token}'}}"))
    };
    let mut certificates = vec![];
    let mut users = vec![];
    for namespace in NAMESPACES {
        let (certificate, key) = plane.user(&format!("person-{namespace}"), "people")?;
        certificates.push(format!("{server}, cert_file: '{}', key_file: '{}'}}", certificate.display(), key.display()));
        users.push(json!({"client-certificate": certificate, "client-key": key}));
    }
    let contexts = [("person-one", users[0].clone()), ("person-two", users[1].clone())];
    let kubeconfig = |name: &str, current: &str| {
        anyhow::Ok(format!("kubeconfig_file: '{}'", plane.kubeconfig(name, &contexts, current)?.display()))
    };
    let nobody = "system:anonymous".to_owned();
    let case = |job: &'static str, namespace: &str, access: String, user: String, allowed: bool| Case {
        job,
        asks: job,
        section: format!("{}, {access}", pods(namespace, job)),
        user,
        allowed,
    };
    let shared = |job: &'static str, access: String, user: String| Case {
        job,
        asks: "shared",
        section: format!("{}, {access}", pods("one", "shared")),
        user,
        allowed: true,
    };
    Ok(vec![
        case("token-one", "one", by_file(&tokens[0]), account("one"), true),
        case("token-two", "two", inline(&tokens[1])?, account("two"), true),
        case("token-one-in-two", "two", by_file(&tokens[0]), account("one"), false),
        case("token-two-in-one", "one", inline(&tokens[1])?, account("two"), false),
        case("certificate-one", "one", certificates[0].clone(), "person-one".to_owned(), true),
        case("certificate-two", "two", certificates[1].clone(), "person-two".to_owned(), true),
        case("certificate-one-in-two", "two", certificates[0].clone(), "person-one".to_owned(), false),
        case("context-one", "one", kubeconfig("first", "person-one")?, "person-one".to_owned(), true),
        case("context-two", "two", kubeconfig("second", "person-two")?, "person-two".to_owned(), true),
        case("context-two-in-one", "one", kubeconfig("third", "person-two")?, "person-two".to_owned(), false),
        // The API server knows no passwords, so this is nobody, whatever name is given.
        case(
            "password",
            "one",
            format!("{server}}}, basic_auth: {{username: person-one, password: person-one}}"),
            nobody.clone(),
            false,
        ),
        case("nobody", "one", format!("{server}}}"), nobody, false),
        shared("shared-first", by_file(&tokens[0]), account("one")),
        shared("shared-second", by_file(&tokens[0]), account("one")),
        shared("shared-person", certificates[0].clone(), "person-one".to_owned()),
    ])
}

impl Scene {
    async fn everybody_sees_their_own(&self, told: &mut Expectations) -> anyhow::Result<()> {
        let result = self.until_seen(&[]).await;
        told.note("targets of what each job's user may list, as in Prometheus", result);
        self.judge_users(told, "requests")?;
        for case in self.cases.iter().filter(|case| !case.allowed) {
            let errors = self.coordinator.errors(case.job).await?;
            told.expect(format!("{}: the refusal is told", case.job), &errors, errors.contains("forbidden"));
        }
        Ok(())
    }

    /// Waits until each job has the targets that its user may see, those in `extra` with one more, and Prometheus the same.
    async fn until_seen(&self, extra: &[&str]) -> Result<String, String> {
        let look = async || {
            let (ours, theirs) = (self.coordinator.discovered().await?, self.beside.discovered().await?);
            for case in &self.cases {
                let more = usize::from(extra.contains(&case.job));
                let (found, expected) = (ours.of(case.job), if case.allowed { PODS + more } else { 0 });
                anyhow::ensure!(found == expected, "{}: {found} targets, expected {expected}", case.job);
            }
            let differences = difference(&ours, &theirs);
            anyhow::ensure!(differences.is_empty(), "{}", differences.join("; "));
            Ok(ours.counts())
        };
        until("each job sees its own", LIMIT, look).await.map_err(|error| format!("{error:#}"))
    }

    /// Every request is by the user of the job that asks.
    fn judge_users(&self, told: &mut Expectations, what: &str) -> anyhow::Result<()> {
        let requests = requests(&self.plane)?;
        let mut wrong = vec![];
        for request in &requests {
            let of_job = |case: &&Case| case.asks == request.asks && case.user == request.user;
            if !self.cases.iter().any(|case| of_job(&case)) {
                wrong.push(format!("{} for {}", request.user, request.asks));
            }
        }
        let silent = self.cases.iter().filter(|case| !requests.iter().any(|request| request.asks == case.asks));
        let silent: Vec<&str> = silent.map(|case| case.job).collect();
        let seen = format!("{} requests, by others: {wrong:?}, none by {silent:?}", requests.len());
        told.expect(format!("{what}: each by the user of its job"), seen, wrong.is_empty() && silent.is_empty());
        Ok(())
    }

    /// One watch for two jobs of one user, another one for the third job.
    fn shared(&self, told: &mut Expectations) -> anyhow::Result<()> {
        let mut watches: BTreeMap<String, usize> = BTreeMap::new();
        for request in requests(&self.plane)? {
            if request.asks == "shared" && !request.by_prometheus && request.starts {
                *watches.entry(request.user).or_default() += 1;
            }
        }
        let expected = [("person-one", 1), ("system:serviceaccount:one:reader", 1)].map(|(user, count)| (user.to_owned(), count));
        told.expect("jobs share watches where they share users", format!("{watches:?}"), watches == expected.into());
        Ok(())
    }

    /// One token is replaced in its file, one ends; the connections are lost.
    async fn tokens_change_and_end(&mut self, told: &mut Expectations) -> anyhow::Result<()> {
        account(&self.plane, "one", "successor").await?;
        write(&self.tokens[0], &token(&self.plane, "one", "successor").await?)?;
        self.plane.stop_server().await?;
        // What was asked before is not to be judged again.
        fs::remove_file(self.plane.audit_log()).with_context(|| self.plane.audit_log().display().to_string())?;
        self.plane.start_server().await?;
        self.plane.api().delete_now("/api/v1/namespaces/two/serviceaccounts/reader").await?;
        self.plane.stop_server().await?;
        fs::remove_file(self.plane.audit_log()).with_context(|| self.plane.audit_log().display().to_string())?;
        self.plane.start_server().await?;
        pod(&self.plane, "one", PODS).await?;
        for case in &mut self.cases {
            if case.user == "system:serviceaccount:one:reader" {
                case.user = "system:serviceaccount:one:successor".to_owned();
            }
            if case.user == "system:serviceaccount:two:reader" {
                // The server does not say whose token it was.
                case.user = String::new();
            }
        }
        let more = ["token-one", "certificate-one", "context-one", "shared-first", "shared-second", "shared-person"];
        let result = self.until_seen(&more).await;
        told.note("a token replaced in its file, another one ended: news for those who may, old targets for the others", result);
        let ended = until("the end is told", LIMIT, async || {
            let errors = self.coordinator.errors("token-two").await?;
            anyhow::ensure!(errors.contains("Unauthorized"), "{errors}");
            Ok(errors)
        });
        told.note("a token that has ended is told", ended.await.map_err(|error| format!("{error:#}")));
        self.judge_users(told, "after that")
    }

    /// Objects change while nobody looks, and the server that comes back does not know how.
    async fn history_is_lost(&mut self, told: &mut Expectations) -> anyhow::Result<()> {
        self.plane.stop_server().await?;
        let elsewhere = self.plane.start_elsewhere().await?;
        elsewhere.delete_now(&format!("/api/v1/namespaces/one/pods/pod-{PODS}")).await?;
        // Much else happens, so that the version at which the watches were is no longer in the server's memory.
        for _ in 0..20 {
            let touch = json!({"metadata": {"annotations": {"at": jiff::Timestamp::now().to_string()}}});
            elsewhere.patch("/api/v1/namespaces/one/pods/pod-0", MERGE, &touch).await?;
        }
        self.plane.stop_elsewhere().await?;
        fs::remove_file(self.plane.audit_log()).with_context(|| self.plane.audit_log().display().to_string())?;
        self.plane.start_server().await?;
        let result = self.until_seen(&[]).await;
        told.note("a deletion that no watch can tell any more", result);
        let anew = requests(&self.plane)?.iter().filter(|r| r.asks == "certificate-one" && !r.by_prometheus && r.starts).count();
        told.expect("all was listed anew", anew, anew >= 1);
        self.judge_users(told, "after that")
    }
}

/// A request for pods by a discovery.
struct Request {
    user: String,
    /// The job whose pods it asks for.
    asks: String,
    by_prometheus: bool,
    /// It asks for everything there is, and not only for changes.
    starts: bool,
}

fn requests(plane: &ControlPlane) -> anyhow::Result<Vec<Request>> {
    let path = plane.audit_log();
    let log = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    // Of a watch there are two entries, for its beginning and its end.
    let mut known = BTreeSet::new();
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let once = entries.filter(|entry| known.insert(entry["auditID"].to_string()));
    Ok(once.filter_map(|entry| request(&entry)).collect())
}

fn request(entry: &Value) -> Option<Request> {
    let url = reqwest::Url::parse(&format!("http://server{}", entry["requestURI"].as_str()?)).ok()?;
    let query: BTreeMap<_, _> = url.query_pairs().collect();
    let asks = query.get("labelSelector")?.strip_prefix("job!=")?.to_owned();
    let starts = query.get("watch").is_none_or(|watch| watch != "true") || query.contains_key("sendInitialEvents");
    Some(Request {
        user: entry["user"]["username"].as_str().unwrap_or_default().to_owned(),
        asks,
        by_prometheus: entry["userAgent"].as_str().unwrap_or_default().starts_with("Prometheus"),
        starts,
    })
}

/// A namespace with pods, a service account and a person who may list them.
async fn people(plane: &ControlPlane, namespace: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}");
    let apply = |path: String, object: Value| Change::Apply { path, object };
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let default = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let changes = vec![apply(path.clone(), space), apply(format!("{path}/serviceaccounts/default"), default)];
    // One after the other.
    for change in changes {
        send_all(plane.api(), vec![change]).await?;
    }
    account(plane, namespace, "reader").await?;
    for number in 0..PODS {
        pod(plane, namespace, number).await?;
    }
    Ok(())
}

/// A service account that may list the pods of its namespace, and with it the person of that namespace.
async fn account(plane: &ControlPlane, namespace: &str, name: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    let version = "rbac.authorization.k8s.io/v1";
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]);
    let role = json!({"apiVersion": version, "kind": "Role", "metadata": {"name": "pods"}, "rules": rules});
    let subjects = json!([
        {"kind": "ServiceAccount", "name": name, "namespace": namespace},
        {"kind": "User", "name": format!("person-{namespace}"), "apiGroup": "rbac.authorization.k8s.io"},
    ]);
    let binding = json!({
        "apiVersion": version, "kind": "RoleBinding", "metadata": {"name": name}, "subjects": subjects,
        "roleRef": {"kind": "Role", "name": "pods", "apiGroup": "rbac.authorization.k8s.io"},
    });
    let changes = vec![
        Change::Apply { path, object: account },
        Change::Apply { path: format!("{rbac}/roles/pods"), object: role },
        Change::Apply { path: format!("{rbac}/rolebindings/{name}"), object: binding },
    ];
    send_all(plane.api(), changes).await
}

async fn token(plane: &ControlPlane, namespace: &str, account: &str) -> anyhow::Result<String> {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let answer = plane.api().post(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"), &request).await?;
    Ok(answer["status"]["token"].as_str().context("no token in the answer")?.to_owned())
}

async fn pod(plane: &ControlPlane, namespace: &str, number: usize) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{number}")},
        "spec": {"schedulerName": "nobody", "automountServiceAccountToken": false,
                 "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]},
        "status": {"podIP": format!("10.1.0.{}", number + 1), "podIPs": [{"ip": format!("10.1.0.{}", number + 1)}]},
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods/pod-{number}");
    send_all(plane.api(), vec![Change::Apply { path, object }]).await
}

fn write(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
