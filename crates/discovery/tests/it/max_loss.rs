//! Reads that lose too much, of mechanisms that list, that are asked, and that watch.

use std::{collections::BTreeSet, fs, sync::Arc};

use kvass_discovery::{Discovered, DiscoveryOptions, JobDiscovery, Manager, MaxLoss};
use tokio::sync::watch;

use crate::{
    common::{addresses, jobs, options, until},
    fake_api_server::{ApiServer, pod},
    fake_service::{FakeService, Reply},
};

fn start(section: &str) -> (Manager, watch::Receiver<Arc<Discovered>>) {
    let manager = Manager::new(DiscoveryOptions { max_loss: MaxLoss::percent(50), ..options() });
    let snapshots = manager.subscribe();
    manager.apply(&jobs(&format!("- job_name: j\n  {section}\n")));
    (manager, snapshots)
}

/// A list of so many targets.
fn groups(targets: usize) -> String {
    let addresses: Vec<String> = (0..targets).map(|n| format!("t:{n}")).collect();
    serde_json::json!([{ "targets": addresses }]).to_string()
}

fn number(job: &JobDiscovery) -> usize {
    addresses(job).into_iter().collect::<BTreeSet<_>>().len()
}

/// What is held, for operators.
fn held(job: &JobDiscovery) -> Vec<String> {
    job.held.iter().map(|held| format!("{} {}/{}", held.section, held.targets, held.of)).collect()
}

#[tokio::test]
async fn what_is_asked_again_and_again_is_asked_once_more() {
    let service = FakeService::start([("/", Reply::json(groups(30)))]).await;
    let (_manager, mut snapshots) = start(&format!("http_sd_configs: [{{url: '{}/', refresh_interval: 1s}}]", service.url));
    until(&mut snapshots, "j", |job| number(job) == 30).await;
    service.set("/", Reply::json(groups(16)));
    until(&mut snapshots, "j", |job| number(job) == 16 && job.held.is_empty()).await;
    service.set("/", Reply::json("[]"));
    let doubted = until(&mut snapshots, "j", |job| !job.held.is_empty()).await;
    assert_eq!((number(&doubted), doubted.complete), (16, true));
    assert_eq!(held(&doubted), [format!("http_sd_configs: {}/ 16/16", service.url)]);
    service.set("/", Reply::json(groups(12)));
    let some = until(&mut snapshots, "j", |job| !held(job)[0].ends_with("16/16")).await;
    assert_eq!((number(&some), held(&some)), (16, vec![format!("http_sd_configs: {}/ 4/16", service.url)]));
    let asked = service.requests().len();
    let gone = until(&mut snapshots, "j", |job| job.held.is_empty()).await;
    assert_eq!(number(&gone), 12);
    assert!(service.requests().len() > asked, "without another read");
}

#[tokio::test]
async fn files_are_read_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.json");
    fs::write(&file, groups(30)).unwrap();
    let (_manager, mut snapshots) = start(&format!("file_sd_configs: [{{files: ['{}']}}]", file.display()));
    until(&mut snapshots, "j", |job| number(job) == 30).await;
    fs::remove_file(&file).unwrap();
    let doubted = until(&mut snapshots, "j", |job| !job.held.is_empty()).await;
    assert_eq!((number(&doubted), held(&doubted)), (30, vec!["file_sd_configs 30/30".to_owned()]));
    until(&mut snapshots, "j", |job| job.held.is_empty() && job.groups.is_empty()).await;
}

#[tokio::test]
async fn watches_list_once_more() {
    let server = ApiServer::start().await;
    let name = |n: usize| format!("p{n}");
    let put = |n: usize| server.put(pod("a", &name(n), &format!("10.0.0.{n}"), "n1"));
    (0..20).for_each(&put);
    let (_manager, mut snapshots) = start(&format!(
        "kubernetes_sd_configs: [{{role: pod, api_server: '{}', authorization: {{credentials: t0ken}}}}]",
        server.url()
    ));
    until(&mut snapshots, "j", |job| number(job) == 20).await;
    server.end_watches();
    (0..15).for_each(|n| server.delete("pods", &format!("a/{}", name(n))));
    server.forget_history();
    let doubted = until(&mut snapshots, "j", |job| !job.held.is_empty()).await;
    assert_eq!((number(&doubted), held(&doubted)), (20, vec!["kubernetes_sd_configs 15/20".to_owned()]));
    // Some come back, and others come.
    (0..2).for_each(&put);
    put(100);
    let more = until(&mut snapshots, "j", |job| number(job) == 21).await;
    assert_eq!(held(&more), ["kubernetes_sd_configs 13/20"]);
    let of_database = || server.requests(|uri| uri.contains("limit=500") && !uri.contains("resourceVersion")).len();
    assert_eq!(of_database(), 0);
    let gone = until(&mut snapshots, "j", |job| job.held.is_empty()).await;
    assert_eq!((number(&gone), of_database()), (8, 1));
}
