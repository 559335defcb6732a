//! The configuration as the Prometheus Operator writes it, gzip in a Secret: in force, broken, over a restart.

#![allow(clippy::unwrap_used)] // helpers of tests too

use std::{fs, io::Write, path::Path, sync::Arc};

use flate2::{Compression, write::GzEncoder};
use kvass_model::PrometheusLine::V3;
use kvass_service::ConfigFile;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn config(job: &str) -> String {
    format!(
        "global: {{external_labels: {{prometheus: monitoring/kvass, prometheus_replica: $(KVASS_NO_SUCH_VARIABLE)}}}}\n\
         scrape_configs:\n\
         - job_name: {job}\n  \
           relabel_configs:\n  \
           - {{source_labels: [__address__], target_label: __tmp_hash, modulus: 1, action: hashmod}}\n  \
           - {{source_labels: [__tmp_hash], regex: $(SHARD);|.+;.+, action: keep}}\n"
    )
}

fn jobs(file: &ConfigFile) -> Vec<String> {
    file.current()
        .iter()
        .flat_map(|config| config.jobs().iter().map(|job| job.job_name.to_string()).collect::<Vec<_>>())
        .collect()
}

async fn start(path: &Path, folder: &Path) -> Arc<ConfigFile> {
    let file = ConfigFile::new(path, V3, Some(folder));
    let _ = file.reload().await;
    file
}

#[tokio::test]
async fn a_broken_secret_leaves_the_last_good_one_in_force_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (path, folder) = (dir.path().join("prometheus.yaml.gz"), dir.path().join("store"));
    fs::write(&path, gzip(&config("a"))).unwrap();
    let file = start(&path, &folder).await;
    assert_eq!(jobs(&file), ["a"], "{:?}", file.state());
    let in_force = file.current().unwrap();
    assert!(in_force.text().contains("regex: 0;|.+;.+"), "{}", in_force.text());
    assert!(in_force.text().contains("$(KVASS_NO_SUCH_VARIABLE)"), "{}", in_force.text());
    file.keep(&in_force).await;

    let mut half = gzip(&config("b"));
    half.truncate(half.len() / 2);
    fs::write(&path, half).unwrap();
    let error = file.reload().await.unwrap_err();
    let text = kvass_service::config_file::chain(&error);
    assert!(text.contains("prometheus.yaml.gz: cannot be read: ") && text.contains("cannot be unpacked"), "{text}");
    assert_eq!(jobs(&file), ["a"]);

    let restarted = start(&path, &folder).await;
    assert_eq!(jobs(&restarted), ["a"]);
    assert!(restarted.state().error.is_some());
    fs::write(&path, gzip(&config("b"))).unwrap();
    restarted.reload().await.unwrap();
    assert_eq!(jobs(&restarted), ["b"]);
}

#[tokio::test]
async fn a_compressed_file_and_what_a_reloader_makes_of_it_are_the_same_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (compressed, expanded) = (dir.path().join("prometheus.yaml.gz"), dir.path().join("prometheus.env.yaml"));
    fs::write(&compressed, gzip(&config("a"))).unwrap();
    let text = config("a").replace("$(SHARD)", "0").replace("$(KVASS_NO_SUCH_VARIABLE)", "prometheus-7");
    fs::write(&expanded, text).unwrap();
    let hash = |file: Arc<ConfigFile>| file.current().unwrap().hash().to_string();
    // External labels differ between pods, so they are no part of it.
    assert_eq!(hash(start(&compressed, dir.path()).await), hash(start(&expanded, dir.path()).await));

    // In a plain file such references mean nothing.
    fs::write(&expanded, config("a")).unwrap();
    let plain = start(&expanded, dir.path()).await;
    assert!(plain.current().unwrap().text().contains("$(SHARD)"));
}
