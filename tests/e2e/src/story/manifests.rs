//! (m) The API server takes what we ship, and helm finds nothing to complain about.

use std::time::Duration;

use crate::{
    cluster::until,
    fixture::{DEMO, NAMESPACE, Source},
    stage::Stage,
};

/// Everything but the writing: defaults, validation of every field, admission; deprecated fields are errors.
const DRY_RUN: [&str; 7] =
    ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f"];

const CHART: &str = "deploy/helm/kvass";

/// Where production goes, and the chart here.
const MONITORING: &str = "monitoring";

pub(super) async fn tell(stage: &mut Stage) -> anyhow::Result<()> {
    // What is in a namespace is refused where there is none, in a dry run too.
    let namespace = stage.cluster.file(NAMESPACE).display().to_string();
    stage.cluster.kubectl(MONITORING, &["apply", "-f", &namespace]).await?;
    let told = all(stage).await;
    stage.cluster.kubectl(MONITORING, &["delete", "-f", &namespace, "--wait=false"]).await?;
    told?;
    until("the namespace is gone", Duration::from_secs(60), async || {
        let there = stage.cluster.namespaces().await?.contains_key(MONITORING);
        anyhow::ensure!(!there, "it is still there");
        Ok(())
    })
    .await
}

async fn all(stage: &mut Stage) -> anyhow::Result<()> {
    if let Source::Files(folder, files) = &DEMO.source {
        for file in *files {
            let text = std::fs::read_to_string(stage.cluster.file(folder).join(file))?;
            taken(stage, &format!("{folder}/{file}"), DEMO.namespace, &text).await;
        }
    }
    let production = stage.fixture.render(&stage.cluster, "deploy/production").await?;
    taken(stage, "deploy/production", MONITORING, &production).await;

    let chart = stage.cluster.file(CHART).display().to_string();
    let small = stage.cluster.file("tests/e2e/overlays/chart/values.yaml").display().to_string();
    let all = "objectStore.existingSecret=thanos-objstore,store.enabled=true,compact.enabled=true,rule.enabled=true,\
        rule.existingConfigMap=prometheus-rules";
    for (name, values) in
        [("as it is", &[][..]), ("with all of Thanos", &["--set", all]), ("with the stories' values", &["--values", &small])]
    {
        let lint = stage.cluster.helm(&[&["lint", "--strict", &chart], values].concat()).await;
        let held = lint.is_ok();
        let seen = lint.map_or_else(|error| format!("{error:#}"), |_| "no complaint".to_owned());
        stage.expect(format!("helm lint --strict, {name}"), seen, held);
        let rendered = stage.cluster.helm(&[&["template", "kvass", &chart, "--namespace", MONITORING], values].concat()).await?;
        taken(stage, &format!("{CHART} {name}"), MONITORING, &rendered).await;
    }
    Ok(())
}

/// Promises that the API server would take it, every object of it.
async fn taken(stage: &mut Stage, name: &str, namespace: &str, manifests: &str) {
    let written = manifests.lines().filter(|line| line.starts_with("kind:")).count();
    let answer = stage.cluster.kubectl_with(namespace, &[&DRY_RUN[..], &["-"]].concat(), manifests).await;
    let objects = answer.as_ref().map_or(0, |text| text.lines().filter(|line| line.contains("dry run")).count());
    let seen = answer.map_or_else(|error| format!("{error:#}"), |_| format!("{objects} of {written} objects"));
    stage.expect(format!("server-side dry run of {name}"), seen, objects == written && objects > 0);
}
