//! Pods that go away, for a moment or for ever: what is remembered of them, and what is planned from that.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::get};
use jiff::Timestamp;
use kvass_config::{Config, LoadContext};
use kvass_model::{PrometheusLine, SeriesCount, TargetHash};
use kvass_plan::{Access, Limits, Plan, Snapshot, TargetView, plan};
use serde_json::{Value, json};

use crate::{
    leader::Leadership,
    memory::{ObserveContext, ReplicaMemory},
    shards::{ListedShard, Replica},
};

const GRACE: u64 = 60;

/// Why a pod is not asked that should have been gone long ago.
const OVERDUE: &str = "its pod does not end";

/// A sidecar that holds some targets.
struct Sidecar {
    url: String,
    targets: Arc<Mutex<Vec<u64>>>,
}

impl Sidecar {
    async fn start(targets: &[u64], config_hash: &str) -> Sidecar {
        let targets = Arc::new(Mutex::new(targets.to_vec()));
        let runtime = json!({"status": "success", "data": {"headSeries": 0, "processSeries": 0, "ConfigHash": config_hash}});
        let router = Router::new()
            .route("/api/v1/shard/targets/status/", get(status))
            .route("/api/v1/shard/runtimeinfo/", get(async move || Json(runtime)))
            .with_state(Arc::clone(&targets));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Sidecar { url, targets }
    }
}

async fn status(State(targets): State<Arc<Mutex<Vec<u64>>>>) -> Json<Value> {
    let status = json!({"lastError": "", "lastScrape": "2026-01-01T00:00:00Z", "lastScrapeDuration": 0.01, "health": "up",
        "series": 10, "totalSeries": 10, "TargetState": "", "ScrapeTimes": 3, "shards": null});
    let map: BTreeMap<String, Value> = targets.lock().unwrap().iter().map(|hash| (hash.to_string(), status.clone())).collect();
    Json(json!({"status": "success", "data": map}))
}

struct Fleet {
    config: Arc<Config>,
    memory: ReplicaMemory,
    shards: [Sidecar; 2],
}

impl Fleet {
    /// Two shards, each with two of the targets 1 to 4, read once.
    async fn start() -> Fleet {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let context =
            LoadContext { path: "p.yml".into(), line: PrometheusLine::V2, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
        let config = Arc::new(Config::parse("scrape_configs:\n- job_name: j\n", &context).unwrap());
        let hash = config.hash().as_str();
        let shards = [Sidecar::start(&[1, 2], hash).await, Sidecar::start(&[3, 4], hash).await];
        let mut fleet = Fleet { config, memory: ReplicaMemory::default(), shards };
        let plan = fleet.cycle(0, [Ok("a"), Ok("b")]).await;
        assert!(plan.decisions.is_empty() && plan.unassigned.is_empty(), "{plan:?}");
        fleet
    }

    /// One cycle at a second, with the incarnation of each pod, or why it is not to be asked.
    async fn cycle<const SCALE: usize>(&mut self, second: u64, pods: [Result<&str, &'static str>; SCALE]) -> Plan {
        let shards = (0..).zip(pods).zip(&self.shards).map(|((ordinal, pod), sidecar)| ListedShard {
            ordinal,
            name: format!("rep-0-{ordinal}"),
            url: pod.ok().map(|_| sidecar.url.clone()),
            absent: pod.err(),
            overdue: pod.err() == Some(OVERDUE),
            incarnation: pod.unwrap_or("b").to_owned(),
        });
        let scale = u32::try_from(SCALE).unwrap();
        let replica = Replica { id: "m/rep-0".to_owned(), scale, scalable: true, shards: shards.collect(), ..Replica::default() };
        let now = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        let term = Leadership::alone().term();
        let context = ObserveContext {
            now,
            term: term.as_ref(),
            config: &self.config,
            grace: Duration::from_secs(GRACE),
            ask_release: false,
            ask_stop_reason: false,
            all_complete: true,
        };
        let http = kvass_api::http_client(Duration::from_secs(5)).unwrap();
        self.memory.observe(&replica, &http, &context, |_| true).await;
        let count = Some(SeriesCount { series: 10, total: 10 });
        let view = || TargetView { job: "j".into(), count, attempted: true, interval: Duration::from_secs(15) };
        let snapshot = Snapshot {
            now,
            targets: (1..=4).map(|hash| (TargetHash(hash), view())).collect(),
            shards: self.memory.views(),
            scale,
            scalable: true,
            settled: self.memory.settled,
            transfers: std::mem::take(&mut self.memory.transfers),
            departed: [].into(),
        };
        let limits = Limits { max_series: Some(100), ..Limits::default() };
        let plan = plan(&snapshot, &limits);
        self.memory.transfers.clone_from(&plan.transfers);
        plan
    }

    fn access(&self, ordinal: u32) -> Access {
        self.memory.shards[&ordinal].access
    }
}

fn held(plan: &Plan, shard: u32) -> Vec<u64> {
    plan.shards.get(&shard).into_iter().flat_map(|shard| shard.targets.keys()).map(|hash| hash.0).collect()
}

#[tokio::test]
async fn a_pod_that_is_replaced_keeps_its_targets_and_gets_them_back() {
    let mut fleet = Fleet::start().await;
    for (second, why) in [(10, "its pod is terminating"), (15, "its pod does not exist"), (20, "its pod is not ready")] {
        let plan = fleet.cycle(second, [Ok("a"), Err(why)]).await;
        assert_eq!(fleet.access(1), Access::Holding);
        assert_eq!(fleet.memory.shards[&1].problem.as_deref(), Some(why));
        let nothing = plan.decisions.is_empty() && plan.unassigned.is_empty() && plan.explore.is_empty() && plan.scale == 2;
        assert!(nothing, "{plan:?}");
    }
    // Its volume was of the pod.
    fleet.shards[1].targets.lock().unwrap().clear();
    let plan = fleet.cycle(25, [Ok("a"), Ok("c")]).await;
    assert_eq!((held(&plan, 0), held(&plan, 1)), (vec![1, 2], vec![3, 4]));
    assert!(plan.decisions.iter().all(|decision| decision.kind() == "give_back"), "{plan:?}");
}

#[tokio::test]
async fn targets_of_a_pod_that_terminates_for_ever_go_elsewhere_after_the_grace() {
    let mut fleet = Fleet::start().await;
    let pods = [Ok("a"), Err("its pod is terminating")];
    fleet.cycle(10, pods).await;
    let plan = fleet.cycle(10 + GRACE / 4 * 3 - 1, pods).await;
    assert_eq!((held(&plan, 0), fleet.access(1)), (vec![1, 2], Access::Holding));
    for second in [GRACE / 4 * 3, GRACE - 1] {
        let plan = fleet.cycle(10 + second, pods).await;
        assert_eq!((held(&plan, 0), fleet.access(1)), (vec![1, 2], Access::Failing));
    }
    let plan = fleet.cycle(10 + GRACE, pods).await;
    assert_eq!((held(&plan, 0), fleet.access(1)), (vec![1, 2, 3, 4], Access::Lost));
    assert_eq!(plan.scale, 2, "a lost shard is not replaced by a further one");

    // The node is back, and the pod's sidecar still has its list.
    *fleet.shards[0].targets.lock().unwrap() = vec![1, 2, 3, 4];
    let plan = fleet.cycle(300, [Ok("a"), Ok("b")]).await;
    assert!(plan.decisions.iter().all(|decision| decision.kind() == "release_double"), "{plan:?}");
    let mut all = [held(&plan, 0), held(&plan, 1)].concat();
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4], "each on one shard again");
}

#[tokio::test]
async fn a_shard_whose_former_pod_never_ends_is_no_shard_to_come() {
    let mut fleet = Fleet::start().await;
    // Scaled in, and its node was lost before the pod had ended.
    fleet.cycle(10, [Ok("a")]).await;
    for (second, why, access) in [
        (20, "its pod is terminating", Access::Pending),
        (30, OVERDUE, Access::Lost),
        (40, "its pod does not exist", Access::Pending),
    ] {
        fleet.cycle(second, [Ok("a"), Err(why)]).await;
        assert_eq!(fleet.access(1), access, "{why}");
    }
}

#[tokio::test]
async fn the_grace_ends_although_the_clock_was_set_back() {
    let mut fleet = Fleet::start().await;
    let pods = [Ok("a"), Err("its pod does not exist")];
    fleet.cycle(100_000, pods).await;
    fleet.cycle(10, pods).await;
    assert_eq!(fleet.access(1), Access::Holding);
    let plan = fleet.cycle(10 + GRACE, pods).await;
    assert_eq!((held(&plan, 0), fleet.access(1)), (vec![1, 2, 3, 4], Access::Lost));
}

#[tokio::test]
async fn a_shard_that_takes_questions_and_never_answers_is_silent_since_it_was_asked() {
    let mut fleet = Fleet::start().await;
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    fleet.shards[1].url = format!("http://{}", mute.local_addr().unwrap());
    fleet.cycle(10, [Ok("a"), Ok("b")]).await;
    assert_eq!(fleet.access(1), Access::Holding);
    let plan = fleet.cycle(10 + GRACE, [Ok("a"), Ok("b")]).await;
    assert_eq!((held(&plan, 0), fleet.access(1)), (vec![1, 2, 3, 4], Access::Lost));
}

#[test]
fn a_set_that_was_created_anew_is_another_one() {
    let replica = |incarnation: &str| Replica { incarnation: incarnation.to_owned(), ..Replica::default() };
    let memory = ReplicaMemory::of(&replica("a"));
    assert!(memory.is_of(&replica("a")) && !memory.is_of(&replica("b")));
}
