//! Two coordinators over the same shards that agree by a Lease. The API server is one that only pretends, or, with
//! `KUBECONFIG_OF_TEST=FILE`, a real one.

#![allow(clippy::unwrap_used, clippy::panic)]

mod fake;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use fake::{Behaviour, FakeShard, Fleet, config_of, exporter, options, until};
use kube::Client;
use kvass_coordinator::LeaderElection;
use kvass_plan::Limits;
use serde_json::{Value, json};

const LEASE: Duration = Duration::from_secs(3);

/// Leases as an API server keeps them, and what it permits.
#[derive(Default)]
struct Api {
    leases: BTreeMap<String, Value>,
    version: u64,
    denied: Option<&'static str>,
}

type Shared = Arc<Mutex<Api>>;

fn refused(code: StatusCode, reason: &str) -> Response {
    (code, Json(json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": reason})))
        .into_response()
}

impl Api {
    fn store(&mut self, name: &str, mut lease: Value) -> Response {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.leases.insert(name.to_owned(), lease.clone());
        Json(lease).into_response()
    }
}

fn api_server(api: Shared) -> Router {
    let read =
        async |State(api): State<Shared>, Path((_, name)): Path<(String, String)>| match api.lock().unwrap().leases.get(&name) {
            Some(lease) => Json(lease.clone()).into_response(),
            None => refused(StatusCode::NOT_FOUND, "NotFound"),
        };
    let create = async |State(api): State<Shared>, Json(lease): Json<Value>| {
        let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
        let mut api = api.lock().unwrap();
        if api.leases.contains_key(&name) { refused(StatusCode::CONFLICT, "AlreadyExists") } else { api.store(&name, lease) }
    };
    let replace = async |State(api): State<Shared>, Path((_, name)): Path<(String, String)>, Json(lease): Json<Value>| {
        let mut api = api.lock().unwrap();
        let current = api.leases.get(&name).map(|current| current["metadata"]["resourceVersion"].clone());
        if current == Some(lease["metadata"]["resourceVersion"].clone()) {
            api.store(&name, lease)
        } else {
            refused(StatusCode::CONFLICT, "Conflict")
        }
    };
    let review = async |State(api): State<Shared>, Json(review): Json<Value>| {
        let verb = review["spec"]["resourceAttributes"]["verb"].as_str().unwrap();
        let allowed = api.lock().unwrap().denied != Some(verb);
        Json(json!({"metadata": {}, "spec": review["spec"], "status": {"allowed": allowed}}))
    };
    Router::new()
        .route("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", post(create))
        .route("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}", get(read).put(replace))
        .route("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", post(review))
        .with_state(api)
}

/// The API server of a test, and a Lease of its own there.
struct Cluster {
    server: Router,
    lease: String,
    api: Shared,
}

impl Cluster {
    async fn new(lease: &str) -> Cluster {
        let api = Shared::default();
        let server = match std::env::var("KUBECONFIG_OF_TEST") {
            Err(_) => api_server(Arc::clone(&api)),
            Ok(file) => {
                let file = kube::config::Kubeconfig::read_from(file).unwrap();
                let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await.unwrap();
                let client = Client::try_from(config).unwrap();
                Router::new().fallback(async move |request: Request| {
                    let (head, body) = request.into_parts();
                    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                    client.send(Request::from_parts(head, body.into())).await.unwrap().map(Body::new)
                })
            }
        };
        Cluster { server, lease: format!("{lease}-{}", std::process::id()), api }
    }

    /// A coordinator whose way to the API server can be cut.
    async fn coordinator(&self, name: &str, config: &str, shards: &[&FakeShard]) -> Member {
        let cut = Arc::new(AtomicBool::new(false));
        let (server, is_cut) = (self.server.clone(), Arc::clone(&cut));
        let gate = Router::new().fallback(async move |request: Request| {
            if is_cut.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            tower_call(server, request).await
        });
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), shards, Limits { max_series: Some(1000), ..Limits::default() });
        options.leader_election = Some(LeaderElection {
            lease_name: self.lease.clone(),
            namespace: Some("default".to_owned()),
            lease_duration: LEASE,
            name: name.to_owned(),
        });
        let fleet = Fleet::with_election_client(dir, config, options, Some(Client::new(gate, "default"))).await;
        Member { fleet, cut }
    }
}

async fn tower_call(router: Router, request: Request) -> Response {
    use kube::client::Body as KubeBody;
    // The client is the one tower service at hand: it calls the router as it would a connection.
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let answer = Client::new(router, "default").send(Request::from_parts(head, KubeBody::from(body))).await.unwrap();
    answer.map(Body::new)
}

struct Member {
    fleet: Fleet,
    cut: Arc<AtomicBool>,
}

impl Member {
    async fn status(&self) -> Value {
        self.fleet.get("/api/v1/coordinator/status").await["data"].clone()
    }

    async fn leads(&self) -> bool {
        self.status().await["leader"] == true
    }

    async fn metrics(&self) -> String {
        reqwest::get(format!("{}/metrics", self.fleet.url)).await.unwrap().text().await.unwrap()
    }

    async fn has_explored(&self) -> bool {
        self.metrics().await.contains("kvass_explore_explored_total{")
    }

    /// Which shard has which target, as the API shows it.
    async fn placement(&self) -> BTreeMap<String, Value> {
        let answer = self.fleet.get("/api/v1/targets?state=active").await;
        let targets = answer["data"]["activeTargets"].as_array().unwrap();
        targets.iter().map(|t| (t["scrapeUrl"].to_string(), json!([t["shards"], t["series"], t["health"]]))).collect()
    }

    async fn until_it_leads(&self) -> Duration {
        let start = Instant::now();
        while !self.leads().await {
            assert!(start.elapsed() < Duration::from_secs(30), "never leads: {:#}", self.status().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    }

    /// Waits for as many cycles as end in this time.
    async fn until_settled(&self) {
        let start = Instant::now();
        while self.status().await["replicas"][0]["settled"] != true {
            assert!(start.elapsed() < Duration::from_secs(30), "never settled");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
}

/// Two shards with four targets of different size, a leader, and a standby that has seen it all.
struct Pair {
    targets: Vec<SocketAddr>,
    shards: [FakeShard; 2],
    leader: Member,
    standby: Member,
    cluster: Cluster,
}

impl Pair {
    async fn start(lease: &str) -> Pair {
        fake::rustls();
        let mut targets = Vec::new();
        for series in [10, 20, 30, 40] {
            targets.push(exporter(series).await);
        }
        let config = config_of(&targets);
        let good = Behaviour { config_text: config.clone(), scrapes: true, ..Behaviour::default() };
        let shards = [FakeShard::start(good.clone()).await, FakeShard::start(good).await];
        let cluster = Cluster::new(lease).await;
        let of = [&shards[0], &shards[1]];
        let leader = cluster.coordinator("one", &config, &of).await;
        leader.until_it_leads().await;
        until("four targets are assigned", || of.iter().map(|shard| shard.hashes().len()).sum::<usize>() == 4).await;
        let standby = cluster.coordinator("two", &config, &of).await;
        standby.until_settled().await;
        Pair { targets, shards, leader, standby, cluster }
    }

    fn pushes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().posts.len()).sum()
    }

    fn held(&self) -> Vec<Vec<u64>> {
        self.shards.iter().map(FakeShard::hashes).collect()
    }

    /// Adds a target to the configuration of one coordinator, and to what the shards run.
    async fn add_target_to(&self, member: &Member) {
        let mut targets = self.targets.clone();
        targets.push(exporter(7).await);
        let config = config_of(&targets);
        std::fs::write(member.fleet.config_file(), &config).unwrap();
        assert_eq!(member.fleet.post("/-/reload", "").await.0, 200, "a standby reloads, too");
        for shard in &self.shards {
            shard.lock().behaviour.config_text.clone_from(&config);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_shows_the_same_does_nothing_and_takes_over_when_the_leader_is_killed() {
    let pair = Pair::start("killed").await;
    let (pushes, held) = (pair.pushes(), pair.held());
    let (one, two) = (pair.leader.status().await, pair.standby.status().await);
    assert_eq!((&one["leader"], &two["leader"]), (&json!(true), &json!(false)));
    assert_eq!(one["holder"], two["holder"]);
    assert!(one["holder"].as_str().unwrap().starts_with("one_"), "{one}");
    assert_eq!(pair.leader.placement().await, pair.standby.placement().await);
    assert!(pair.leader.metrics().await.contains("kvass_coordinator_leader 1"));
    assert!(pair.standby.metrics().await.contains("kvass_coordinator_leader 0"));

    let reason = r#"{"stopScrapeReason":"maintenance"}"#;
    let (code, answer) = pair.standby.fleet.post("/api/v1/status/extra_config", reason).await;
    assert_eq!(code, 503);
    assert!(answer["error"].as_str().unwrap().contains("ask the leader: one_"), "{answer}");
    assert_eq!(pair.leader.fleet.post("/api/v1/status/extra_config", reason).await.0, 200);
    until("every shard is told", || {
        let told = json!({"stopScrapeReason": "maintenance"});
        pair.shards.iter().all(|shard| shard.lock().extra.last() == Some(&told))
    })
    .await;

    // A killed process answers nobody and renews nothing.
    pair.leader.cut.store(true, Ordering::Relaxed);
    pair.leader.fleet.abort();
    let after = pair.standby.until_it_leads().await;
    println!("took over {after:?} after the kill");
    // The wait begins when the standby saw the last sign of life; the rest is what a busy machine needs.
    assert!(after <= LEASE + Duration::from_secs(2), "{after:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((pair.pushes(), pair.held()), (pushes, held), "nothing moves");
    assert!(!pair.standby.has_explored().await);
    let shown = pair.standby.fleet.get("/api/v1/status/extra_config").await;
    assert_eq!(shown["data"]["json"], reason, "the operator's word outlives the leader that heard it");

    pair.add_target_to(&pair.standby).await;
    until("the new leader serves a new target", || pair.held().concat().len() == 5).await;
    pair.standby.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_hands_over_at_once() {
    let pair = Pair::start("stopped").await;
    let (pushes, held) = (pair.pushes(), pair.held());
    let Pair { leader, standby, shards, .. } = pair;
    let (_, after) = tokio::join!(leader.fleet.stop(), standby.until_it_leads());
    println!("took over {after:?} after the order to stop");
    assert!(after < LEASE / 2, "{after:?}: it waited for the end of the lease");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shards.iter().map(|shard| shard.lock().posts.len()).sum::<usize>(), pushes, "nothing moves");
    assert_eq!(shards.iter().map(FakeShard::hashes).collect::<Vec<_>>(), held);
    assert!(!standby.has_explored().await);
    standby.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_stops_before_the_other_begins() {
    let pair = Pair::start("cut").await;
    let explored = pair.leader.metrics().await;
    pair.leader.cut.store(true, Ordering::Relaxed);
    let (start, mut gap) = (Instant::now(), None);
    loop {
        // In this order: who leads second must not have begun while the first had not ended.
        let (second, first) = (pair.standby.leads().await, pair.leader.leads().await);
        assert!(!(second && first), "two leaders after {:?}", start.elapsed());
        if !first {
            gap.get_or_insert_with(|| start.elapsed());
        }
        if second {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("led until {gap:?}, the other from {:?}", start.elapsed());

    let pushes = pair.pushes();
    pair.add_target_to(&pair.leader).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pair.pushes(), pushes, "who was deposed sends nothing, and the other does not know the target");
    let count = |metrics: &str| {
        metrics.lines().filter(|l| l.starts_with("kvass_explore_explored_total{")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(count(&pair.leader.metrics().await), count(&explored), "nor does it explore");

    // Back in touch, it stands by, and in its turn takes over where the other stopped.
    pair.leader.cut.store(false, Ordering::Relaxed);
    let holder = pair.standby.status().await["holder"].clone();
    let start = Instant::now();
    while pair.leader.status().await["holder"] != holder {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!pair.leader.leads().await && pair.standby.leads().await);
    pair.standby.fleet.stop().await;
    pair.leader.until_it_leads().await;
    let held = || pair.shards.iter().map(|shard| shard.hashes().len()).sum::<usize>();
    until("the target only it knows is served", || held() == 5).await;
    pair.leader.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_permission_it_acts_alone() {
    if std::env::var_os("KUBECONFIG_OF_TEST").is_some() {
        return;
    }
    fake::rustls();
    let config = config_of(&[exporter(10).await]);
    let shard = FakeShard::start(Behaviour { config_text: config.clone(), scrapes: true, ..Behaviour::default() }).await;
    let cluster = Cluster::new("denied").await;
    cluster.api.lock().unwrap().denied = Some("update");
    let alone = cluster.coordinator("one", &config, &[&shard]).await;
    alone.until_it_leads().await;
    until("assigned", || shard.hashes().len() == 1).await;
    assert_eq!(alone.status().await["holder"], Value::Null);
    assert!(cluster.api.lock().unwrap().leases.is_empty());
    alone.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_stays_behind_names_nobody() {
    let pair = Pair::start("left").await;
    pair.leader.fleet.stop().await;
    pair.standby.until_it_leads().await;
    pair.standby.fleet.stop().await;
    // A third finds it free.
    let third = pair.cluster.coordinator("three", &config_of(&pair.targets), &[&pair.shards[0], &pair.shards[1]]).await;
    let after = third.until_it_leads().await;
    assert!(after < LEASE / 2, "{after:?}: it waited for the end of the lease");
    third.fleet.stop().await;
}
