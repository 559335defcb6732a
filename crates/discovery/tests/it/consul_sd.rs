//! Consul discovery against an agent that holds queries until there is news.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    common::{addresses, until},
    fake_service::{FakeService, Reply, Request, discover},
};

/// What the agent knows: by path, an index and a document.
#[derive(Clone, Default)]
struct Catalog {
    documents: Arc<Mutex<BTreeMap<String, (u64, String)>>>,
    changed: Arc<Notify>,
}

impl Catalog {
    fn set(&self, path: &str, index: u64, document: &str) {
        self.documents.lock().unwrap().insert(path.to_owned(), (index, document.to_owned()));
        self.changed.notify_waiters();
    }

    /// Holds a request with the present index until it is another one.
    async fn answer(self, request: Request) -> Reply {
        if request.header("x-consul-token") != "t0ken" {
            return Reply::status(403);
        }
        let known = request.parameter("index").map(|index| index.parse::<u64>().unwrap());
        loop {
            let changed = self.changed.notified();
            let document = self.documents.lock().unwrap().get(&request.path).cloned();
            match document {
                None => return Reply::status(500),
                Some((index, _)) if known == Some(index) => {}
                Some((index, document)) => return Reply::json(document).with("x-consul-index", index.to_string()),
            }
            changed.await;
        }
    }

    async fn start(&self) -> FakeService {
        let catalog = self.clone();
        self.set("/v1/agent/self", 1, r#"{"Config": {"Datacenter": "dc7", "NodeName": "n"}, "Member": null}"#);
        FakeService::by(move |request| catalog.clone().answer(request)).await
    }
}

const SERVICES: &str = "/v1/catalog/services";

fn instances(hosts: &[&str]) -> String {
    let instance = |host: &&str| {
        format!(
            r#"{{"Node": {{"Node": "n-{host}", "Address": "{host}", "TaggedAddresses": null, "Meta": {{"os": null}}}},
                "Service": {{"ID": "{host}", "Service": "s", "Tags": ["blue"], "Address": null, "Port": 80}},
                "Checks": [{{"CheckID": "c", "Status": "critical"}}]}}"#
        )
    };
    format!("[{}]", hosts.iter().map(instance).collect::<Vec<_>>().join(","))
}

fn health(service: &str) -> String {
    format!("/v1/health/service/{service}")
}

#[tokio::test]
async fn services_of_the_catalog_come_and_go() {
    let catalog = Catalog::default();
    catalog.set(SERVICES, 10, r#"{"web": ["blue", "eu"], "db": ["eu"], "old": null, "s p/ace": ["blue"]}"#);
    catalog.set(&health("web"), 11, &instances(&["10.0.0.1", "fd00::1"]));
    catalog.set(&health("s%20p%2Face"), 11, &instances(&["10.0.0.9"]));
    let agent = catalog.start().await;
    let section = format!(
        "server: '{}', token: t0ken, tags: [blue], node_meta: {{rack: '7', room: a}}, filter: 'Node == x', namespace: ns, refresh_interval: 50ms",
        agent.host()
    );
    let (_manager, mut snapshots) = discover("consul_sd_configs", &section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.9:80", "10.0.0.1:80", "[fd00::1]:80"]);
    let web = &found.groups[1];
    assert_eq!((web.source.as_str(), web.labels.get("__meta_consul_dc")), ("web", Some("dc7")));
    assert_eq!(web.targets[0].get("__meta_consul_health"), Some("critical"));

    let asked = agent.last(SERVICES);
    assert_eq!(asked.parameters("node-meta"), ["rack:7", "room:a"]);
    for (name, value) in [("wait", "120000ms"), ("stale", ""), ("ns", "ns"), ("filter", "Node == x")] {
        assert_eq!(asked.parameter(name).as_deref(), Some(value), "{name}");
    }
    let asked = agent.last(&health("web"));
    assert_eq!((asked.parameters("tag"), asked.parameter("filter")), (vec!["blue".to_owned()], None));

    // Nothing happens while nothing changes, however short the interval.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = agent.requests().len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(agent.requests().len(), before);
    assert_eq!(agent.last(SERVICES).parameter("index").as_deref(), Some("10"));

    // One service fewer instances, one gone, one new.
    catalog.set(&health("web"), 12, &instances(&["10.0.0.1"]));
    catalog.set(&health("new"), 20, "[]");
    catalog.set(SERVICES, 20, r#"{"web": ["blue"], "new": ["blue"]}"#);
    let found = until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:80"] && job.complete).await;
    assert!(found.errors.is_empty());

    // A tag that is gone does not end the watch; its instances go because none has the tag any more.
    catalog.set(SERVICES, 21, r#"{"web": []}"#);
    catalog.set(&health("web"), 22, "[]");
    until(&mut snapshots, "j", |job| job.groups.is_empty()).await;
    catalog.set(&health("web"), 23, &instances(&["10.0.0.2"]));
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.2:80"]).await;

    // The agent lost its state: its index begins anew.
    catalog.set(&health("web"), 3, &instances(&["10.0.0.3"]));
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.3:80"]).await;
    catalog.set(&health("web"), 4, &instances(&["10.0.0.4"]));
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.4:80"]).await;
}

#[tokio::test]
async fn failures_keep_targets_and_are_over_with_the_next_answer() {
    let catalog = Catalog::default();
    catalog.set(&health("a"), 5, &instances(&["10.0.0.1"]));
    catalog.set(&health("b"), 5, "[]");
    let agent = catalog.start().await;
    let section = format!(
        "server: '{}/prefix', token: t0ken, datacenter: dc, services: [a, b], health_filter: Checks, allow_stale: false, refresh_interval: 50ms",
        agent.url
    );
    let (_manager, mut snapshots) = discover("consul_sd_configs", &section);
    let failing = until(&mut snapshots, "j", |job| job.errors.len() == 2).await;
    assert!(!failing.complete);
    assert!(
        failing.errors[0]
            .ends_with("GET /v1/health/service/a: server returned HTTP status 500 Internal Server Error: expected 2xx"),
        "{failing:?}"
    );
    assert!(!format!("{:?}", failing.errors).contains("t0ken"));

    catalog.set("/prefix/v1/health/service/a", 6, &instances(&["10.0.0.2"]));
    catalog.set("/prefix/v1/health/service/b", 6, &instances(&[]));
    let found = until(&mut snapshots, "j", |job| job.complete && job.errors.is_empty()).await;
    assert_eq!(addresses(&found), ["10.0.0.2:80"]);
    let asked = agent.last("/prefix/v1/health/service/a");
    assert_eq!((asked.parameter("dc").as_deref(), asked.parameter("stale")), (Some("dc"), None));
    assert_eq!(asked.parameter("filter").as_deref(), Some("Checks"));
    assert!(agent.requests().iter().all(|request| request.path.starts_with("/prefix/v1/health/")), "names need no catalog");

    catalog.set("/prefix/v1/health/service/a", 7, "<html>");
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(failing.errors[0].contains("not the JSON expected"), "{:?}", failing.errors);
    assert_eq!(addresses(&failing), ["10.0.0.2:80"]);
    catalog.set("/prefix/v1/health/service/a", 8, &instances(&["10.0.0.3"]));
    let found = until(&mut snapshots, "j", |job| job.errors.is_empty()).await;
    assert_eq!(addresses(&found), ["10.0.0.3:80"]);
}

#[tokio::test]
async fn a_refused_token_is_said_without_telling_it() {
    let catalog = Catalog::default();
    let agent = catalog.start().await;
    let section = format!("server: '{}', token: wr0ng, username: u, password: s3cret, refresh_interval: 50ms", agent.host());
    let (_manager, mut snapshots) = discover("consul_sd_configs", &section);
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(!failing.complete);
    let error = &failing.errors[0];
    assert!(error.contains("/v1/agent/self: server returned HTTP status 403 Forbidden"), "{error}");
    assert!(!error.contains("wr0ng") && !error.contains("s3cret"), "{error}");
    assert_eq!(agent.last("/v1/agent/self").header("authorization"), "Basic dTpzM2NyZXQ=");
}
