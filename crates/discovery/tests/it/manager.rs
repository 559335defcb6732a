use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};

use crate::common::{addresses, jobs, manager, until};

/// An endpoint with one target that counts how often it is asked.
async fn counting_endpoint() -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let handler = move || {
        let n = count.fetch_add(1, Ordering::SeqCst);
        async move { axum::Json(serde_json::json!([{ "targets": [format!("t:{n}")] }])) }
    };
    let router = Router::new().route("/", get(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

fn http_job(name: &str, url: &str) -> String {
    format!("- job_name: {name}\n  http_sd_configs: [{{url: '{url}', refresh_interval: 1h}}]\n")
}

#[tokio::test]
async fn equal_sections_share_a_discoverer_over_jobs_and_reloads() {
    let (url, asked) = counting_endpoint().await;
    let manager = manager();
    let mut snapshots = manager.subscribe();
    let both = http_job("a", &url) + &http_job("b", &url);
    manager.apply(&jobs(&both));
    let a = until(&mut snapshots, "a", |job| job.complete).await;
    let b = until(&mut snapshots, "b", |job| job.complete).await;
    assert_eq!(addresses(&a), ["t:0"]);
    assert!(Arc::ptr_eq(&a.groups[0], &b.groups[0]));

    // A reload publishes at once what kept discoverers know, for new jobs too.
    manager.apply(&jobs(&(http_job("a", &url) + &http_job("c", &url))));
    let snapshot = snapshots.borrow_and_update().clone();
    assert_eq!(snapshot.jobs.keys().map(|name| &**name).collect::<Vec<_>>(), ["a", "c"]);
    assert!(snapshot.jobs["c"].complete);
    assert_eq!(addresses(&snapshot.jobs["c"]), ["t:0"]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    // One that was not needed for a while starts anew.
    manager.apply(&[]);
    assert!(snapshots.borrow_and_update().jobs.is_empty());
    manager.apply(&jobs(&http_job("a", &url)));
    assert!(!snapshots.borrow_and_update().jobs["a"].complete);
    until(&mut snapshots, "a", |job| addresses(job) == ["t:1"]).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_job_without_sections_is_complete_and_static_targets_are_there_at_once() {
    let manager = manager();
    let mut snapshots = manager.subscribe();
    manager.apply(&jobs(
        "- job_name: none\n- job_name: static\n  static_configs: [{targets: [b:1, a:1]}, {targets: []}, {targets: [c:1]}]\n",
    ));
    assert!(snapshots.has_changed().unwrap());
    let snapshot = snapshots.borrow_and_update().clone();
    assert!(snapshot.jobs["none"].complete && snapshot.jobs["none"].groups.is_empty());
    assert!(snapshot.jobs["static"].complete);
    assert_eq!(addresses(&snapshot.jobs["static"]), ["b:1", "a:1", "c:1"]);
}

#[tokio::test]
async fn unsupported_and_failing_sections_leave_the_others_working() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ca.crt"), "no certificate").unwrap();
    fs::write(dir.path().join("t.json"), r#"[{"targets": ["f:1"]}]"#).unwrap();
    let manager = manager();
    let mut snapshots = manager.subscribe();
    manager.apply(&jobs(&format!(
        "
- job_name: unsupported
  kuma_sd_configs: [{{server: 'http://kuma:5676'}}]
  static_configs: [{{targets: [a:1]}}]
- job_name: failing
  http_sd_configs: [{{url: 'https://127.0.0.1:1/', tls_config: {{ca_file: '{dir}/ca.crt'}}}}]
  file_sd_configs: [{{files: ['{dir}/t.json']}}]
",
        dir = dir.path().display()
    )));
    let unsupported = until(&mut snapshots, "unsupported", |_| true).await;
    assert_eq!(unsupported.unsupported, ["kuma_sd_configs"]);
    assert!(unsupported.complete, "nothing of what can be discovered is missing");
    assert_eq!(addresses(&unsupported), ["a:1"]);
    let failing = until(&mut snapshots, "failing", |job| !job.errors.is_empty() && !job.groups.is_empty()).await;
    assert!(!failing.complete);
    assert_eq!(addresses(&failing), ["f:1"]);
}

#[tokio::test]
async fn nothing_is_published_after_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager();
    let mut snapshots = manager.subscribe();
    manager.apply(&jobs(&format!("- job_name: j\n  file_sd_configs: [{{files: ['{}/*.json']}}]\n", dir.path().display())));
    until(&mut snapshots, "j", |job| job.complete).await;
    manager.shutdown().await;
    fs::write(dir.path().join("a.json"), r#"[{"targets": ["a:1"]}]"#).unwrap();
    let heard = tokio::time::timeout(Duration::from_millis(500), snapshots.changed()).await;
    assert!(heard.is_err(), "{heard:?}");
}
