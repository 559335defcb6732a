//! The shell around [`Election`]: reads and writes the Lease, and publishes who leads.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        coordination::v1::{Lease, LeaseSpec},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams};
use kvass_service::config_file::chain;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    Leadership, State, Until,
    election::{Election, Record, Step},
};
use crate::options::LeaderElection;

/// What must be permitted on the Lease.
const VERBS: [&str; 3] = ["get", "create", "update"];
/// How long after a failure it is asked again what is permitted.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Longest time that giving the Lease back may delay the end of the process.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a call about the Lease did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElectionError {
    /// There is no configuration of an API server, or a wrong one.
    #[error("connect to the API server (in-cluster service account or kubeconfig)")]
    Connect(#[source] Box<kube::Error>),
    /// The API server refused, or could not be reached.
    #[error("{action} Lease {lease}")]
    Call { action: &'static str, lease: String, source: Box<kube::Error> },
    /// It did not answer.
    #[error("{action} Lease {lease}: no answer from the API server within {}ms", limit.as_millis())]
    Timeout { action: &'static str, lease: String, limit: Duration },
}

/// One coordinator that wants to lead.
pub(crate) struct Candidate {
    client: Client,
    namespace: String,
    name: String,
    duration: Duration,
    identity: String,
    election: Election,
    state: watch::Sender<State>,
    /// Told whenever leadership begins or ends.
    news: Arc<Notify>,
    /// The last look failed.
    failing: bool,
}

impl Candidate {
    /// A candidate that does not take part yet. `client` is for callers that have one.
    pub(crate) async fn new(
        options: &LeaderElection,
        client: Option<Client>,
        news: Arc<Notify>,
    ) -> Result<(Self, Leadership), ElectionError> {
        let client = match client {
            Some(client) => client,
            None => Client::try_default().await.map_err(|error| ElectionError::Connect(Box::new(error)))?,
        };
        let namespace = options.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let (state, leadership) = Leadership::elected();
        let identity = identity(&options.name);
        let candidate = Candidate {
            election: Election::new(identity.clone(), options.lease_duration),
            client,
            namespace,
            name: options.lease_name.clone(),
            duration: options.lease_duration,
            identity,
            state,
            news,
            failing: false,
        };
        Ok((candidate, leadership))
    }

    /// Takes part until `stopped` changes or its sender is gone, then gives the Lease back.
    pub(crate) async fn run(mut self, mut stopped: watch::Receiver<()>) {
        tokio::select! {
            biased;
            _ = stopped.changed() => {}
            () = self.take_part() => {}
        }
        if self.state.borrow().until == Until::Forever {
            return;
        }
        // First nothing more is done here, then another may begin.
        self.election.abdicate();
        self.state.send_modify(|state| state.until = Until::Past);
        match tokio::time::timeout(RELEASE_TIMEOUT, self.release()).await {
            Ok(Ok(true)) => tracing::info!(lease = %self.lease(), "lease released"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(error = %chain(&error), "lease not released, it expires by itself"),
            Err(_) => tracing::warn!(lease = %self.lease(), "lease not released in time, it expires by itself"),
        }
    }

    async fn take_part(&mut self) {
        if !self.is_permitted().await {
            self.state.send_replace(State { number: 0, until: Until::Forever, holder: None });
            self.news.notify_one();
            return std::future::pending().await;
        }
        tracing::info!(lease = %self.lease(), identity = %self.identity, "taking part in the election of a leader");
        loop {
            let result = self.look().await;
            match &result {
                Ok(()) if self.failing => tracing::info!(lease = %self.lease(), "lease can be read and written again"),
                Err(error) if !self.failing => {
                    tracing::warn!(error = %chain(error), "lease cannot be read or written, leadership ends if this lasts");
                }
                _ => {}
            }
            self.failing = result.is_err();
            self.publish();
            tokio::time::sleep_until(self.election.next_look(Instant::now(), self.failing)).await;
            // The end of a term is published when it comes, also if the API server hangs.
            self.publish();
        }
    }

    /// Reads the Lease, and writes it if that is due.
    async fn look(&mut self) -> Result<(), ElectionError> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = self.bounded("read", api.get_opt(&self.name)).await?;
        let step = self.election.look(found.as_ref().map(record), Instant::now(), Timestamp::now());
        // Seeing another holder ends it before anything else is waited for.
        self.publish();
        let sent = Instant::now();
        let (record, written) = match step {
            Step::Wait => return Ok(()),
            Step::Create(record) => {
                let mut lease = Lease { spec: Some(spec(&record)), ..Lease::default() };
                lease.metadata.name = Some(self.name.clone());
                let written = self.bounded("create", api.create(&PostParams::default(), &lease)).await;
                (record, written)
            }
            Step::Write(record) => {
                // With the version that was read: if anybody wrote in between, this is refused.
                let lease = Lease { spec: Some(spec(&record)), ..found.unwrap_or_default() };
                let written = self.bounded("update", api.replace(&self.name, &PostParams::default(), &lease)).await;
                (record, written)
            }
        };
        match written {
            Ok(_) => self.election.written(record, sent, Instant::now()),
            // Somebody else was faster; the next look shows who.
            Err(ElectionError::Call { source, .. }) if is_conflict(&source) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn release(&mut self) -> Result<bool, ElectionError> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        if self.election.holder() != Some(&self.identity) {
            return Ok(false);
        }
        let Some(lease) = self.bounded("read", api.get_opt(&self.name)).await? else { return Ok(false) };
        let Some(record) = self.election.release(&record(&lease)) else { return Ok(false) };
        let lease = Lease { spec: Some(spec(&record)), ..lease };
        self.bounded("release", api.replace(&self.name, &PostParams::default(), &lease)).await?;
        Ok(true)
    }

    /// Tells everybody what the election says, if that is news.
    fn publish(&mut self) {
        let now = Instant::now();
        let until = self.election.until().filter(|until| *until > now);
        let holder = self.election.holder().map(str::to_owned);
        let before = self.state.borrow().clone();
        let led = before.until != Until::Past;
        // A term that ran out and is confirmed only now is over: others may have acted.
        let interrupted = matches!(before.until, Until::At(end) if end <= now);
        let number = before.number + u64::from(until.is_some() && (!led || interrupted));
        let after = State { number, until: until.map_or(Until::Past, Until::At), holder };
        let lease = self.lease();
        if number != before.number {
            tracing::info!(%lease, identity = %self.identity, "leadership begins, this coordinator acts");
        } else if led && until.is_none() {
            let holder = after.holder.as_deref().filter(|holder| *holder != self.identity).unwrap_or("nobody known");
            tracing::warn!(%lease, %holder, "leadership ends, this coordinator observes");
        } else if !led && after.holder != before.holder {
            let holder = after.holder.as_deref().unwrap_or("nobody");
            tracing::info!(%lease, %holder, "standing by");
        }
        let changed = number != before.number || led != until.is_some();
        self.state.send_replace(after);
        if changed {
            self.news.notify_one();
        }
    }

    /// Asks once, and as long as there is no answer, what this coordinator may do with the Lease.
    async fn is_permitted(&mut self) -> bool {
        let mut told = false;
        loop {
            match self.missing_verbs().await {
                Ok(missing) if missing.is_empty() => return true,
                Ok(missing) => {
                    tracing::warn!(
                        lease = %self.lease(), missing = %missing.join(", "),
                        "--leader-elect has no effect, leases of coordination.k8s.io are not permitted: this coordinator acts \
                         whether or not there is another"
                    );
                    return false;
                }
                Err(error) if !told => {
                    tracing::warn!(error = %chain(&error), "not known yet whether leases are permitted, standing by");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn missing_verbs(&self) -> Result<Vec<&'static str>, ElectionError> {
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let mut missing = Vec::new();
        for verb in VERBS {
            let attributes = ResourceAttributes {
                group: Some("coordination.k8s.io".to_owned()),
                resource: Some("leases".to_owned()),
                namespace: Some(self.namespace.clone()),
                // Creating cannot be permitted for a name: the request that is judged has none.
                name: (verb != "create").then(|| self.name.clone()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let answer = self.bounded("ask for permissions on", api.create(&PostParams::default(), &review)).await;
            match answer {
                Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {}
                Ok(_) => missing.push(verb),
                // Not even asking is permitted. The Lease itself will tell, and until then nothing is done.
                Err(ElectionError::Call { source, .. }) if is_forbidden(&source) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    /// A call to the API server that ends in time to be tried again while this still leads.
    async fn bounded<T>(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ElectionError> {
        let limit = self.duration / 10;
        match tokio::time::timeout(limit, call).await {
            Ok(result) => result.map_err(|error| ElectionError::Call { action, lease: self.lease(), source: Box::new(error) }),
            Err(_) => Err(ElectionError::Timeout { action, lease: self.lease(), limit }),
        }
    }

    fn lease(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Unique among processes: a pod's name comes back after a crash, and pods on the host's network share one.
fn identity(name: &str) -> String {
    format!("{name}_{:016x}", RandomState::new().build_hasher().finish())
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() || status.is_already_exists())
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    Record {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: seconds.map(Duration::from_secs),
        renewed: spec.renew_time.map(|time| time.0),
        acquired: spec.acquire_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}

fn spec(record: &Record) -> LeaseSpec {
    LeaseSpec {
        // An empty one is what other implementations write, too, and all of them understand.
        holder_identity: Some(record.holder.clone().unwrap_or_default()),
        lease_duration_seconds: record.duration.map(|duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)),
        renew_time: record.renewed.map(MicroTime),
        acquire_time: record.acquired.map(MicroTime),
        lease_transitions: Some(record.transitions),
        ..LeaseSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use axum::{
        Json, Router,
        extract::Request,
        http::{Method, StatusCode},
        response::IntoResponse,
    };
    use serde_json::{Value, json};

    use super::*;

    /// More requests than that are not answered, so that a test of too many comes to its end.
    const TOO_MANY: usize = 1_000;

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_refuses_is_asked_now_and_then() {
        let (asked, up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (requests, is_up) = (Arc::clone(&asked), Arc::clone(&up));
        let server = Router::new().fallback(async move |request: Request| {
            if requests.fetch_add(1, Ordering::Relaxed) > TOO_MANY {
                std::future::pending::<()>().await;
            }
            let (head, body) = request.into_parts();
            if !is_up.load(Ordering::Relaxed) {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            if head.method == Method::GET {
                return (StatusCode::NOT_FOUND, Json(json!({"status": "Failure", "code": 404, "reason": "NotFound"})))
                    .into_response();
            }
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let mut object: Value = serde_json::from_slice(&body).unwrap();
            if object["spec"]["resourceAttributes"].is_object() {
                object["status"] = json!({"allowed": true});
            }
            Json(object).into_response()
        });
        let options = LeaderElection {
            lease_name: "lease".to_owned(),
            namespace: Some("default".to_owned()),
            lease_duration: Duration::from_secs(15),
            name: "a".to_owned(),
        };
        let client = Client::new(server, "default");
        let (candidate, leadership) = Candidate::new(&options, Some(client), Arc::default()).await.unwrap();
        let (_stop, stopped) = watch::channel(());
        tokio::spawn(candidate.run(stopped));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(leadership.leads());

        up.store(false, Ordering::Relaxed);
        asked.store(0, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!leadership.leads());
        let asked = asked.load(Ordering::Relaxed);
        assert!((30..150).contains(&asked), "asked {asked} times in a minute");
    }
}
