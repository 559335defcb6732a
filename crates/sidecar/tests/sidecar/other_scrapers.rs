//! vmagent and Prometheus agents in the place of a Prometheus.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
    routing::{get, post},
};
use kvass_sidecar::{DeliveryMode, Options};

use crate::support::{CONFIG, FakePrometheus, World, eventually, serve, target};

/// As vmagent 1.151 answers: yes to every reload, before it has read anything.
#[derive(Clone, Default)]
struct FakeVmagent {
    changed: Arc<AtomicU32>,
    failed: Arc<AtomicU32>,
    refuses: Arc<AtomicBool>,
    unknown: Arc<Mutex<Vec<String>>>,
}

impl FakeVmagent {
    fn router(self) -> Router {
        Router::new()
            .route("/-/reload", post(Self::reload))
            .route("/-/ready", get(|| async { "VictoriaMetrics is Ready.\n" }))
            .route("/metrics", get(Self::metrics))
            .route("/api/v1/targets", get(|| async { r#"{"status":"success","data":{"activeTargets":[],"droppedTargets":[]}}"# }))
            .fallback(Self::unknown_path)
            .with_state(self)
    }

    async fn reload(State(this): State<Self>) -> StatusCode {
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let counter = if this.refuses.load(Ordering::SeqCst) { &this.failed } else { &this.changed };
            counter.fetch_add(1, Ordering::SeqCst);
        });
        StatusCode::OK
    }

    async fn metrics(State(this): State<Self>) -> String {
        let successful = u32::from(!this.refuses.load(Ordering::SeqCst));
        let (changed, failed) = (this.changed.load(Ordering::SeqCst), this.failed.load(Ordering::SeqCst));
        format!(
            "vm_app_version{{version=\"vmagent-v1.151.0\", short_version=\"v1.151.0\"}} 1\n\
             vm_promscrape_config_last_reload_success_timestamp_seconds 1795845342\n\
             vm_promscrape_config_last_reload_successful {successful}\n\
             vm_promscrape_config_reloads_errors_total {failed}\n\
             vm_promscrape_config_reloads_total {changed}\n"
        )
    }

    async fn unknown_path(State(this): State<Self>, uri: Uri) -> (StatusCode, String) {
        this.unknown.lock().unwrap().push(uri.path().to_owned());
        (StatusCode::BAD_REQUEST, format!("unsupported path requested: {:?}\n", uri.path()))
    }

    async fn world(&self, change: impl FnOnce(&mut Options)) -> World {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(dir.path().join("prometheus.yml"), CONFIG).unwrap();
        let (port, server) = serve(self.clone().router(), 0).await;
        World::start_beside(dir, FakePrometheus::new(), port, server, change).await
    }

    fn reloads(&self) -> u32 {
        self.changed.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn vmagent_gets_its_targets_in_the_configuration() {
    let vmagent = FakeVmagent::default();
    let world = vmagent.world(|_| {}).await;
    eventually("the first reload", async || vmagent.reloads() == 1).await;
    world.assign(&[target(1, "h:1", "/m")]).await;
    let injected = world.read("out/injected.yml");
    assert!(
        injected.contains("static_configs") && injected.contains("h:1") && !injected.contains("file_sd_configs"),
        "{injected}"
    );
    eventually("the second reload", async || vmagent.reloads() == 2).await;
    eventually("ready", async || world.get("/-/ready").await.0 == 200).await;
    // There is no head to ask for; what is assigned counts.
    let (status, info) = world.get("/api/v1/shard/runtimeinfo/").await;
    assert_eq!((status, &info["data"]["headSeries"]), (200, &3.into()), "{info}");
    assert!(world.text("/metrics").await.contains("\nkvass_sidecar_target_delivery{form=\"static\"} 1\n"));
    assert_eq!(*vmagent.unknown.lock().unwrap(), ["/api/v1/status/buildinfo"], "vmagent logs a warning of each");
}

#[tokio::test]
async fn a_form_that_was_asked_for_is_kept_for_vmagent() {
    let vmagent = FakeVmagent::default();
    let world = vmagent.world(|o| o.delivery = DeliveryMode::File).await;
    world.assign(&[target(1, "h:1", "/m")]).await;
    assert!(world.read("out/injected_targets/j.json").contains("h:1"));
    assert!(world.read("out/injected.yml").contains("file_sd_configs"));
}

#[tokio::test]
async fn what_vmagent_refuses_after_its_yes_is_not_confirmed() {
    let vmagent = FakeVmagent::default();
    let world = vmagent.world(|_| {}).await;
    eventually("kept", async || world.read("store/kvass-last-good-config.json").contains("job_name: k")).await;
    vmagent.refuses.store(true, Ordering::SeqCst);
    std::fs::write(world.file("prometheus.yml"), CONFIG.replace("job_name: k", "job_name: l")).unwrap();
    assert_eq!(world.post("/-/reload", "").await.0, 200);
    eventually("refused", async || world.text("/metrics").await.contains("prometheus_reload_total{success=\"false\"}")).await;
    assert_eq!(world.get("/-/ready").await.0, 503);
    assert!(world.read("store/kvass-last-good-config.json").contains("job_name: k"));
    vmagent.refuses.store(false, Ordering::SeqCst);
    eventually("kept", async || world.read("store/kvass-last-good-config.json").contains("job_name: l")).await;
}

#[tokio::test]
async fn an_agent_has_no_head() {
    let world = World::new().await;
    world.prometheus.agent.store(true, Ordering::SeqCst);
    world.assign(&[target(1, "h:1", "/m")]).await;
    let (status, info) = world.get("/api/v1/shard/runtimeinfo/").await;
    assert_eq!((status, &info["data"]["headSeries"]), (200, &3.into()), "{info}");
    assert!(world.read("out/injected_targets/j.json").contains("h:1"));
}
