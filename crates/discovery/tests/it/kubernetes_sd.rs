use crate::{
    common::{addresses, jobs, manager, until},
    fake_api_server::{ApiServer, Streams, node, pod},
};
use kvass_discovery::{Discovered, Manager};
use std::{fs, sync::Arc};
use tokio::sync::watch;

fn start(section: &str) -> (Manager, watch::Receiver<Arc<Discovered>>) {
    let manager = manager();
    let snapshots = manager.subscribe();
    manager.apply(&jobs(&format!("- job_name: j\n  kubernetes_sd_configs:\n  - {section}\n")));
    (manager, snapshots)
}

/// A section for the role pod with that server and further keys.
fn section(server: &ApiServer, more: &str) -> String {
    format!("{{role: pod, api_server: '{}', authorization: {{credentials: t0ken}}{more}}}", server.url())
}

#[tokio::test]
async fn pods_come_change_and_go() {
    let server = ApiServer::start().await;
    server.put(pod("a", "one", "10.0.0.1", "n1"));
    server.put(pod("b", "two", "10.0.0.2", "n1"));
    let (_manager, mut snapshots) = start(&section(&server, ""));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    assert_eq!(found.groups[0].source, "pod/a/one");

    server.put(pod("a", "three", "10.0.0.3", "n2"));
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:8080", "10.0.0.3:8080", "10.0.0.2:8080"]).await;
    server.put(pod("a", "one", "10.0.0.9", "n1"));
    let changed = until(&mut snapshots, "j", |job| addresses(job)[0] == "10.0.0.9:8080").await;
    assert!(Arc::ptr_eq(&changed.groups[2], &found.groups[1]), "an unchanged group is kept");
    server.delete("pods", "a/one");
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.3:8080", "10.0.0.2:8080"]).await;
    // All of that was heard, not listed again.
    assert_eq!(server.lists("pods"), 1);
}

#[tokio::test]
async fn a_watch_begins_with_all_objects_where_the_server_can() {
    let server = ApiServer::start().await;
    server.set_streams(Streams::Told);
    server.put(pod("a", "one", "10.0.0.1", "n1"));
    server.put(pod("a", "two", "10.0.0.2", "n1"));
    let (_manager, mut snapshots) = start(&section(&server, ""));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    server.put(pod("a", "one", "10.0.0.9", "n1"));
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.9:8080", "10.0.0.2:8080"]).await;

    // What was deleted unheard is not among the objects with which the next one begins.
    server.end_watches();
    server.delete("pods", "a/one");
    server.put(pod("a", "three", "10.0.0.3", "n1"));
    server.forget_history();
    let anew = until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.3:8080", "10.0.0.2:8080"]).await;
    assert!(Arc::ptr_eq(&anew.groups[1], &found.groups[1]), "an unchanged group is kept");
    assert_eq!(server.lists("pods"), 0);
    // Nor does it begin from the beginning where it can be resumed.
    server.end_watches();
    server.put(pod("a", "four", "10.0.0.4", "n1"));
    until(&mut snapshots, "j", |job| job.groups.len() == 3).await;
    let begun = server.requests(|uri| uri.contains("sendInitialEvents=true"));
    assert_eq!(begun.len(), 2);
    assert!(begun[0].ends_with("resourceVersion=0") && begun[1].ends_with("resourceVersion=3"), "{begun:?}");
}

#[tokio::test]
async fn objects_are_listed_where_they_cannot_be_streamed() {
    for streams in [Streams::Refused, Streams::NotUnderstood, Streams::Cut] {
        let server = ApiServer::start().await;
        server.set_streams(streams);
        server.put(pod("a", "one", "10.0.0.1", "n1"));
        server.put(pod("a", "two", "10.0.0.2", "n1"));
        let (_manager, mut snapshots) = start(&section(&server, ""));
        let found = until(&mut snapshots, "j", |job| job.complete).await;
        assert_eq!(addresses(&found), ["10.0.0.1:8080", "10.0.0.2:8080"]);
        until(&mut snapshots, "j", |job| job.errors.is_empty()).await;
        let tried = if streams == Streams::Cut { 3 } else { 1 };
        assert_eq!(server.requests(|uri| uri.contains("sendInitialEvents=true")).len(), tried);
        assert_eq!(server.lists("pods"), 1);
        server.delete("pods", "a/one");
        until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.2:8080"]).await;
    }
}

#[tokio::test]
async fn a_refused_namespace_does_not_keep_back_the_others() {
    let server = ApiServer::start().await;
    server.put(pod("a", "one", "10.0.0.1", "n1"));
    server.put(pod("b", "one", "10.0.0.2", "n1"));
    server.forbid_namespace("b", true);
    let (_manager, mut snapshots) = start(&section(&server, ", namespaces: {names: [a, b]}"));
    let found = until(&mut snapshots, "j", |job| !job.errors.is_empty() && !job.groups.is_empty()).await;
    assert_eq!(addresses(&found), ["10.0.0.1:8080"]);
    assert!(!found.complete, "nobody knows what there is in the other");
    server.forbid_namespace("b", false);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:8080", "10.0.0.2:8080"]);
}

#[tokio::test]
async fn targets_stay_while_the_server_is_gone() {
    let server = ApiServer::start().await;
    server.put(pod("a", "one", "10.0.0.1", "n1"));
    let (_manager, mut snapshots) = start(&section(&server, ""));
    let found = until(&mut snapshots, "j", |job| job.complete).await;

    server.set_down(true);
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!(failing.groups, found.groups);
    assert!(failing.complete);
    assert!(failing.errors[0].starts_with("kubernetes_sd_configs: pods: "), "{:?}", failing.errors);
    assert!(!failing.errors[0].contains("t0ken"));

    // What happens meanwhile is heard afterwards, and the watch goes on where it was.
    server.delete("pods", "a/one");
    server.put(pod("a", "two", "10.0.0.2", "n1"));
    server.set_down(false);
    until(&mut snapshots, "j", |job| job.errors.is_empty() && addresses(job) == ["10.0.0.2:8080"]).await;
}

#[tokio::test]
async fn an_expired_version_is_listed_anew() {
    let server = ApiServer::start().await;
    server.put(pod("a", "one", "10.0.0.1", "n1"));
    server.put(pod("a", "two", "10.0.0.2", "n1"));
    let (_manager, mut snapshots) = start(&section(&server, ""));
    let found = until(&mut snapshots, "j", |job| job.complete).await;

    server.end_watches();
    server.delete("pods", "a/one");
    server.put(pod("a", "three", "10.0.0.3", "n1"));
    server.forget_history();
    let listed = until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.3:8080", "10.0.0.2:8080"]).await;
    assert!(listed.errors.is_empty());
    assert!(Arc::ptr_eq(&listed.groups[1], &found.groups[1]), "an unchanged group is kept");
    // Not an older state than the one seen, should this be another server that lags behind.
    let lists = server.requests(|uri| !uri.contains("watch=true"));
    let known = |version: u8| format!("/api/v1/pods?&resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(lists, [known(0), known(2)]);
}

#[tokio::test]
async fn a_database_that_was_set_back_is_believed() {
    for streams in [Streams::Refused, Streams::Told] {
        let server = ApiServer::start().await;
        server.set_streams(streams);
        for (name, address) in [("one", "10.0.0.1"), ("three", "10.0.0.3"), ("two", "10.0.0.2")] {
            server.put(pod("a", name, address, "n1"));
        }
        let (_manager, mut snapshots) = start(&section(&server, ""));
        until(&mut snapshots, "j", |job| job.complete && job.groups.len() == 3).await;
        server.set_back("pods");
        until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:8080"] && job.errors.is_empty()).await;
        let of_any_version = server.requests(|uri| uri.contains("resourceVersion=0"));
        assert_eq!(of_any_version.len(), if streams == Streams::Told { 1 } else { 2 }, "{of_any_version:?}");
        let of_database = server.requests(|uri| uri.contains("limit=500") && !uri.contains("resourceVersion"));
        assert_eq!(of_database.len(), 1, "{of_database:?}");
        server.put(pod("a", "four", "10.0.0.4", "n1"));
        until(&mut snapshots, "j", |job| job.groups.len() == 2).await;
    }
}

#[tokio::test]
async fn nothing_is_known_before_everything_is_listed() {
    let server = ApiServer::start().await;
    server.put(pod("a", "one", "10.0.0.1", "n1"));
    let (_manager, mut snapshots) =
        start(&format!("{{role: pod, api_server: '{}', authorization: {{credentials: wrong}}}}", server.url()));
    let refused = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(!refused.complete);
    assert!(refused.errors[0].contains("Unauthorized"), "{:?}", refused.errors);
}

#[tokio::test]
async fn metadata_of_nodes_and_namespaces() {
    let server = ApiServer::start().await;
    server.put(node("n1", "zone-1"));
    server.put(pod("a", "one", "10.0.0.1", "n1"));
    server.put(pod("a", "two", "10.0.0.2", "n2"));
    server.put(serde_json::json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"team": "x"}}}));
    let (_manager, mut snapshots) = start(&section(&server, ", attach_metadata: {node: true, namespace: true}"));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    let label = |index: usize, name: &str| found.groups[index].labels.get(name).map(str::to_owned);
    assert_eq!(label(0, "__meta_kubernetes_node_name").as_deref(), Some("n1"));
    assert_eq!(label(0, "__meta_kubernetes_node_label_zone").as_deref(), Some("zone-1"));
    assert_eq!(label(0, "__meta_kubernetes_namespace_label_team").as_deref(), Some("x"));
    assert_eq!(label(1, "__meta_kubernetes_node_name"), None);

    let zone = |job: &kvass_discovery::JobDiscovery, index: usize| {
        job.groups[index].labels.get("__meta_kubernetes_node_label_zone").map(str::to_owned)
    };
    server.put(node("n2", "zone-2"));
    server.put(node("n1", "zone-9"));
    until(&mut snapshots, "j", |job| zone(job, 0).as_deref() == Some("zone-9") && zone(job, 1).as_deref() == Some("zone-2"))
        .await;
    server.delete("nodes", "n2");
    until(&mut snapshots, "j", |job| zone(job, 1).is_none() && job.groups.len() == 2).await;
}

#[tokio::test]
async fn namespaces_selectors_and_shared_watches() {
    let server = ApiServer::start().await;
    for namespace in ["a", "b", "c"] {
        server.put(pod(namespace, "one", &format!("{namespace}.0.0.1"), "n1"));
    }
    let manager = manager();
    let mut snapshots = manager.subscribe();
    let job = |name: &str, more: &str| format!("- job_name: {name}\n  kubernetes_sd_configs: [{}]\n", section(&server, more));
    let config = job("one", ", namespaces: {names: [a, b]}")
        + &job("two", ", namespaces: {names: [b, b]}, attach_metadata: {node: true}")
        + &job("three", ", namespaces: {names: [b]}, selectors: [{role: pod, label: 'x=y', field: 'spec.nodeName=n1'}]");
    manager.apply(&jobs(&config));
    let one = until(&mut snapshots, "one", |job| job.complete).await;
    assert_eq!(addresses(&one), ["a.0.0.1:8080", "b.0.0.1:8080"]);
    let two = until(&mut snapshots, "two", |job| job.complete).await;
    assert_eq!(addresses(&two), ["b.0.0.1:8080"]);
    assert!(Arc::ptr_eq(&one.groups[1], &two.groups[0]), "both read one watch of namespace b");
    until(&mut snapshots, "three", |job| job.complete).await;
    let mut lists = server.requests(|uri| !uri.contains("watch=true"));
    lists.sort();
    let known = "resourceVersion=0&resourceVersionMatch=NotOlderThan";
    assert_eq!(
        lists.iter().map(|uri| uri.replace("?&", "?")).collect::<Vec<_>>(),
        [
            format!("/api/v1/namespaces/a/pods?{known}"),
            format!("/api/v1/namespaces/b/pods?fieldSelector=spec.nodeName%3Dn1&labelSelector=x%3Dy&{known}"),
            format!("/api/v1/namespaces/b/pods?{known}"),
            format!("/api/v1/nodes?{known}"),
        ]
    );
}

#[tokio::test]
async fn other_credentials_have_a_watch_of_their_own() {
    let server = ApiServer::start().await;
    server.put(pod("a", "one", "10.0.0.1", "n1"));
    let manager = manager();
    let mut snapshots = manager.subscribe();
    let wrong = section(&server, "").replace("t0ken", "wrong");
    manager.apply(&jobs(&format!(
        "- job_name: right\n  kubernetes_sd_configs: [{}]\n- job_name: wrong\n  kubernetes_sd_configs: [{wrong}]\n",
        section(&server, "")
    )));
    until(&mut snapshots, "right", |job| addresses(job) == ["10.0.0.1:8080"]).await;
    let wrong = until(&mut snapshots, "wrong", |job| !job.errors.is_empty()).await;
    assert!(wrong.groups.is_empty() && !wrong.complete, "{wrong:?}");
}

#[tokio::test]
async fn pods_on_nodes_that_are_not_selected_are_no_targets() {
    let server = ApiServer::start().await;
    server.put(node("n1", "zone-1"));
    server.put(pod("a", "one", "10.0.0.1", "n1"));
    server.put(pod("a", "two", "10.0.0.2", "n2"));
    let more = ", attach_metadata: {node: true}, selectors: [{role: node, label: 'zone=zone-1'}]";
    let (_manager, mut snapshots) = start(&section(&server, more));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:8080"]);
    let of_nodes = server.requests(|uri| uri.starts_with("/api/v1/nodes"));
    assert!(of_nodes.len() > 1 && of_nodes.iter().all(|uri| uri.contains("labelSelector=zone%3Dzone-1")), "{of_nodes:?}");
}

#[tokio::test]
async fn a_kubeconfig_and_a_rotated_token_file() {
    let server = ApiServer::start().await;
    server.put(pod("a", "one", "10.0.0.1", "n1"));
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("config");
    fs::write(
        &kubeconfig,
        format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}],
               clusters: [{{name: k, cluster: {{server: '{}'}}}}], users: [{{name: u, user: {{token: t0ken}}}}]}}",
            server.url()
        ),
    )
    .unwrap();
    let (_manager, mut snapshots) = start(&format!("{{role: pod, kubeconfig_file: '{}'}}", kubeconfig.display()));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:8080"]);

    let token = dir.path().join("token");
    fs::write(&token, "old").unwrap();
    let (_manager, mut snapshots) = start(&format!(
        "{{role: pod, api_server: '{}', authorization: {{credentials_file: '{}'}}}}",
        server.url(),
        token.display()
    ));
    until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    fs::write(&token, "t0ken\n").unwrap();
    until(&mut snapshots, "j", |job| job.complete && job.errors.is_empty()).await;
}

#[tokio::test]
async fn a_list_that_is_too_much_for_the_server_comes_in_pages() {
    let server = ApiServer::start().await;
    for number in 0..1_200 {
        server.put(pod("a", &format!("p{number}"), "10.0.0.1", "n1"));
    }
    server.set_longest_list(500);
    let (_manager, mut snapshots) = start(&section(&server, ""));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(found.groups.len(), 1_200);
    assert_eq!(server.lists("pods"), 4, "one that failed, three pages");
    server.delete("pods", "a/p7");
    until(&mut snapshots, "j", |job| job.errors.is_empty() && job.groups.len() == 1_199).await;
}
