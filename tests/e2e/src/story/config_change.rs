//! (d) A change of the ConfigMap reaches every shard, a broken one reaches none and says why. What starts while
//! it is broken goes on with the last good one, or waits.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    cluster::{Pod, until},
    fixture::{HTTP, SIDECAR},
    stage::{Stage, now, seconds},
};

/// Two of each exporter's 100 metrics, so that a third target fits beside two on a shard.
const DROP: &str = r#"
  metric_relabel_configs:
  - source_labels: [__name__]
    regex: kvass_demo_metric_000[01]
    action: drop
"#;

/// A kubelet that does not watch ConfigMaps takes its time.
const CONFIG_ARRIVES: Duration = Duration::from_secs(150);

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    stage.steady(6, 3, Duration::from_secs(180)).await?;
    let original = config(stage).await?;
    let changed = format!("{}{DROP}", original.trim_end());
    let broken = changed.replacen("scrape_interval: 15s", "scrape_interval: often", 1);
    anyhow::ensure!(broken != changed, "prometheus-config: expected scrape_interval: 15s in\n{original}");

    change(stage, &changed).await?;
    breakage(stage, &broken).await?;
    container_restarts(stage).await?;
    let lost = pod_created(stage).await?;
    heal(stage, &changed, &lost).await
}

async fn change(stage: &mut Stage, text: &str) -> anyhow::Result<()> {
    let act = stage.begin("configuration changed").await?;
    let at = now();
    set_config(stage, text).await?;
    until("the change in every Prometheus", CONFIG_ARRIVES, async || {
        for (pod, config) in prometheus_configs(stage).await? {
            anyhow::ensure!(config.contains("kvass_demo_metric_000[01]"), "{pod} has the old configuration");
        }
        Ok(())
    })
    .await?;
    stage.expect("the change is in every shard's Prometheus", format!("after {:.0} s", seconds(now() - at)), true);
    stage.until_value(r#"count({__name__=~"kvass_demo_metric_.+"})"#, "58800", Duration::from_secs(90)).await?;
    stage.expect("two of 100 metrics are dropped everywhere", "58800 of 60000 series left", true);
    stage.steady(6, 3, Duration::from_secs(60)).await?;
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    Ok(())
}

async fn breakage(stage: &mut Stage, text: &str) -> anyhow::Result<()> {
    let before = prometheus_configs(stage).await?;
    let act = stage.begin("configuration broken").await?;
    set_config(stage, text).await?;
    let error = until("the coordinator's complaint", CONFIG_ARRIVES, async || {
        let status = stage.fixture.coordinator_status(&stage.cluster).await?;
        let error = status["config"]["error"].as_str().unwrap_or_default().to_owned();
        anyhow::ensure!(!error.is_empty(), "no complaint");
        Ok(error)
    })
    .await?;
    let says_why = error.contains("scrape_interval") && error.contains("often");
    stage.expect("the coordinator names field and value", &error, says_why);
    until("the sidecars' complaint", CONFIG_ARRIVES, async || {
        for pod in stage.fixture.shards(&stage.cluster).await? {
            let metrics = stage.cluster.ask(&pod, SIDECAR, "/metrics").await?;
            let told = metrics.lines().any(|line| line == "kvass_sidecar_config_last_reload_successful 0");
            anyhow::ensure!(told, "{} does not complain", pod.name);
        }
        Ok(())
    })
    .await?;
    tokio::time::sleep(stage.fixture.interval * 2).await;
    let same = prometheus_configs(stage).await? == before;
    stage.expect("no Prometheus got the broken configuration", if same { "all as before" } else { "changed" }, same);
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    Ok(())
}

async fn container_restarts(stage: &mut Stage) -> anyhow::Result<()> {
    let act = stage.begin("sidecar killed while broken").await?;
    let pod = shard(stage, 0).await?;
    let at = now();
    stage.cluster.kill(&pod, "sidecar")?;
    until("the sidecar back", Duration::from_secs(90), async || {
        let again = shard(stage, 0).await?;
        anyhow::ensure!(again.restarts > pod.restarts && again.ready(), "{} restarts, ready: {}", again.restarts, again.ready());
        Ok(())
    })
    .await?;
    let took = seconds(now() - at);
    stage.expect("a restarted sidecar uses the last good configuration", format!("ready after {took:.0} s"), true);
    let row = stage.end(act).await?;
    let restarts = shard(stage, 0).await?.restarts - pod.restarts;
    stage.expect("one restart, no loop", restarts, restarts == 1);
    let interval = stage.fixture.interval.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few intervals")]
    let most = 2 * ((took / interval).ceil() as u64);
    stage.expect_unscraped(&row, most, &format!("2 targets, the proxy away for up to {took:.0} s"));
    Ok(())
}

async fn pod_created(stage: &mut Stage) -> anyhow::Result<String> {
    let act = stage.begin("pod created while broken").await?;
    let old = shard(stage, 2).await?;
    let at = now();
    stage.cluster.kubectl(stage.fixture.namespace, &["delete", "pod", &old.name, "--wait=false"]).await?;
    until("a new pod", Duration::from_secs(90), async || {
        let new = shard(stage, 2).await?;
        anyhow::ensure!(new.uid != old.uid, "the old one is still there");
        Ok(())
    })
    .await?;
    let limit = Duration::from_secs(180);
    let scraped = until("its targets on other shards", limit, async || stage.collector.all_scraped(at)).await;
    let reached = now();
    let seen = scraped.as_ref().map_or_else(|error| format!("{error:#}"), |()| format!("after {:.0} s", seconds(reached - at)));
    stage.expect("its targets go to other shards", seen, scraped.is_ok());
    let new = shard(stage, 2).await?;
    let loops = new.restarts > 0 || new.waiting.iter().any(|reason| reason.contains("BackOff"));
    stage.expect("the new pod stays unready", format!("ready: {}", new.ready()), !new.ready());
    stage.expect("the new pod does not crash", format!("{} restarts {:?}", new.restarts, new.waiting), !loops);
    let row = stage.end_at(act, reached).await?;
    // Within --shard.unavailable-grace (1 minute) it could come back with its targets.
    stage.expect_unscraped(&row, 2 * 6, "2 targets, a minute's grace, an interval, and the new shard's first scrape");
    Ok(new.uid)
}

async fn heal(stage: &mut Stage, text: &str, unready: &str) -> anyhow::Result<()> {
    let act = stage.begin("configuration repaired").await?;
    set_config(stage, text).await?;
    let fleet = until("all shards ready", CONFIG_ARRIVES, async || {
        let pods = stage.fixture.shards(&stage.cluster).await?;
        anyhow::ensure!(
            pods.len() >= 3 && pods.iter().all(Pod::ready),
            "{} of {} ready",
            pods.iter().filter(|pod| pod.ready()).count(),
            pods.len()
        );
        Ok(pods)
    })
    .await?;
    let healed = fleet.iter().find(|pod| pod.uid == unready);
    let seen = healed.map_or_else(|| "replaced".to_owned(), |pod| format!("ready, {} restarts", pod.restarts));
    stage.expect("the same pod becomes ready without a restart", seen, healed.is_some_and(|pod| pod.restarts == 0));
    let status = until("no complaint any more", Duration::from_secs(60), async || {
        let status = stage.fixture.coordinator_status(&stage.cluster).await?;
        anyhow::ensure!(status["config"]["error"].is_null(), "{}", status["config"]["error"]);
        Ok(status)
    })
    .await;
    stage.expect(
        "the coordinator complains no more",
        status.as_ref().map_or_else(|error| format!("{error:#}"), |_| "no error".to_owned()),
        status.is_ok(),
    );
    let row = stage.end(act).await?;
    stage.expect_no_gap(&row);
    Ok(())
}

async fn shard(stage: &Stage, ordinal: u32) -> anyhow::Result<Pod> {
    let name = format!("{}-{ordinal}", stage.fixture.replicas.first().copied().unwrap_or_default());
    let pods = stage.cluster.pods(stage.fixture.namespace).await?;
    pods.into_iter().find(|pod| pod.name == name).ok_or_else(|| anyhow::anyhow!("no pod {name}"))
}

/// What every shard's Prometheus runs.
async fn prometheus_configs(stage: &Stage) -> anyhow::Result<Vec<(String, String)>> {
    let mut configs = vec![];
    for pod in stage.fixture.shards(&stage.cluster).await? {
        let data = stage.cluster.ask_data(&pod, HTTP, "/api/v1/status/config", &[]).await?;
        configs.push((pod.name, data["yaml"].as_str().unwrap_or_default().to_owned()));
    }
    Ok(configs)
}

const CONFIG_MAP: &str = "prometheus-config";

async fn config(stage: &Stage) -> anyhow::Result<String> {
    let map = config_map(stage).await?;
    let text = map["data"]["prometheus.yml"].as_str().map(str::to_owned);
    text.ok_or_else(|| anyhow::anyhow!("ConfigMap {CONFIG_MAP} has no prometheus.yml"))
}

async fn config_map(stage: &Stage) -> anyhow::Result<Value> {
    stage.cluster.get(&format!("/api/v1/namespaces/{}/configmaps/{CONFIG_MAP}", stage.fixture.namespace)).await
}

async fn set_config(stage: &Stage, text: &str) -> anyhow::Result<()> {
    let mut map = config_map(stage).await?;
    map["data"]["prometheus.yml"] = json!(text);
    stage.cluster.kubectl_with(stage.fixture.namespace, &["replace", "-f", "-"], &map.to_string()).await?;
    Ok(())
}
