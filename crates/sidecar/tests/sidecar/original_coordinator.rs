//! Sidecars under a coordinator of the original, without `--compat.coordinator-url`.

use serde_json::{Value, json};

use crate::support::{CONFIG, World, eventually, target};

/// What programs of the original compute for [`CONFIG`].
const HEAD: &str = "516301219204613524";
const V0_2: &str = "17077273242377145247";

const RUNTIME_INFO: &str = "/api/v1/shard/runtimeinfo/";
const CONFIG_PATH: &str = "/api/v1/status/config";

async fn hash(world: &World) -> String {
    config_hash(&world.send_as_original("GET", RUNTIME_INFO, "").await.1)
}

fn config_hash(answer: &Value) -> String {
    answer["data"]["ConfigHash"].as_str().unwrap().to_owned()
}

async fn push(world: &World, text: &str) -> u16 {
    world.send_as_original("POST", CONFIG_PATH, json!({"rawContent": text})).await.0
}

/// One cycle of a coordinator: it asks, pushes where the hash is not its own, and asks again. Whether they agree, and
/// whether it pushed.
async fn cycle(world: &World, theirs: &str) -> (bool, bool) {
    if hash(world).await == theirs {
        return (true, false);
    }
    push(world, CONFIG).await;
    (hash(world).await == theirs, true)
}

#[tokio::test]
async fn a_sidecar_with_a_file_finds_the_hash_that_stops_the_pushes() {
    for (theirs, first) in [(HEAD, (true, false)), (V0_2, (true, true))] {
        let world = World::new().await;
        eventually("the first reload", async || world.prometheus.reload_count() == 1).await;
        assert_eq!(cycle(&world, theirs).await, first, "{theirs}");
        assert_eq!(cycle(&world, theirs).await, (true, false), "{theirs}");
        world.assign(&[target(1, "h:1", "/m")]).await;
        assert!(world.read("out/injected_targets/j.json").contains("h:1"));
        // Our own coordinator is not concerned.
        assert!(config_hash(&world.get(RUNTIME_INFO).await.1).starts_with("k1-"));
        assert_eq!(world.prometheus.reload_count(), 1, "an equal text is not applied");
        assert_eq!(push(&world, &CONFIG.replace("job_name: k", "job_name: l")).await, 400);
    }
}

#[tokio::test]
async fn so_does_one_that_gets_its_configuration_pushed() {
    let world = World::with("", |o| o.config_file = None).await;
    assert_eq!(hash(&world).await, "");
    // The first push is news; only the second one says something about the hash.
    assert_eq!(cycle(&world, V0_2).await, (false, true));
    assert_eq!(hash(&world).await, HEAD);
    assert_eq!(cycle(&world, V0_2).await, (true, true));
    assert_eq!(cycle(&world, V0_2).await, (true, false));
    let changed = CONFIG.replace("job_name: k", "job_name: l");
    assert_eq!(push(&world, &changed).await, 200);
    let after = hash(&world).await;
    assert!(!["", HEAD, V0_2].contains(&after.as_str()), "{after}");
    assert_eq!(push(&world, CONFIG).await, 200);
    assert_eq!(hash(&world).await, V0_2, "the shape is kept over changes of the configuration");
}

#[tokio::test]
async fn our_coordinator_may_push_as_it_likes() {
    let world = World::new().await;
    assert_eq!(hash(&world).await, HEAD);
    assert_eq!(world.post(CONFIG_PATH, json!({"rawContent": format!("# the same\n{CONFIG}")})).await.0, 200);
    assert_eq!(hash(&world).await, HEAD);
}

#[tokio::test]
async fn a_configuration_the_original_does_not_know_keeps_our_hash() {
    let world = World::with("scrape_configs: [{job_name: j, enable_http2: false}]", |_| {}).await;
    assert!(hash(&world).await.starts_with("k1-"));
}
