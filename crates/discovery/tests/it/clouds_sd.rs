//! Cloud providers: what is sent, paging, and what becomes of bad answers. What good ones mean is in the goldens.

use kvass_discovery::{Discovered, Manager};
use std::sync::Arc;
use tokio::sync::watch;

use crate::{
    common::{addresses, until},
    fake_service::{FakeService, Reply, discover},
    impostor::Impostor,
};

async fn discover_in_cloud(
    service: &FakeService,
    key: &str,
    section: &str,
) -> (Impostor, Manager, watch::Receiver<Arc<Discovered>>) {
    let impostor = Impostor::of(service).await;
    let section = format!("{section}, refresh_interval: 2s, {}", impostor.settings());
    let (manager, snapshots) = discover(key, &section);
    (impostor, manager, snapshots)
}

#[tokio::test]
async fn digitalocean_pages_and_failures() {
    let droplet =
        |id: u32| format!(r#"{{"id": {id}, "networks": {{"v4": [{{"ip_address": "10.0.0.{id}", "type": "public"}}]}}}}"#);
    let page = |droplets: String, links: &str| Reply::json(format!(r#"{{"droplets": [{droplets}], "links": {links}}}"#));
    let more = r#"{"pages": {"next": "https://elsewhere.example/?page=2", "last": "https://elsewhere.example/?page=2"}}"#;
    let service = FakeService::start([
        ("/v2/droplets?page=1&per_page=100", page(format!("{}, {}", droplet(1), droplet(2)), more)),
        // An item that moved to the next page while it was read is listed once.
        ("/v2/droplets?page=2&per_page=100", page(format!("{}, {}", droplet(2), droplet(3)), "{}")),
    ])
    .await;
    let section = "port: 9100, authorization: {credentials: s3cret}";
    let (_impostor, _manager, mut snapshots) = discover_in_cloud(&service, "digitalocean_sd_configs", section).await;
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:9100", "10.0.0.2:9100", "10.0.0.3:9100"]);
    assert_eq!(found.groups[0].source, "DigitalOcean");
    assert_eq!(service.last("/v2/droplets").header("authorization"), "Bearer s3cret");
    assert_eq!(service.last("/v2/droplets").header("host"), "api.digitalocean.com");

    for (reply, expected) in [
        (Reply::status(401), "digitalocean_sd_configs: GET /v2/droplets: server returned HTTP status 401 Unauthorized"),
        (Reply::json("[]"), "body is not the JSON expected here"),
    ] {
        service.set("/v2/droplets?page=2&per_page=100", reply);
        let failing = until(&mut snapshots, "j", |job| job.errors.iter().any(|error| error.contains(expected))).await;
        assert_eq!(failing.groups, found.groups, "half a list is none");
        assert!(!format!("{:?}", failing.errors).contains("s3cret"));
    }
    service.set("/v2/droplets?page=1&per_page=100", page(String::new(), "null"));
    until(&mut snapshots, "j", |job| job.groups.is_empty() && job.errors.is_empty()).await;
}

#[tokio::test]
async fn digitalocean_databases_end_with_a_page_without_news() {
    let page = |name: &str| Reply::json(format!(r#"{{"databases": [{{"id": "{name}", "connection": {{"host": "{name}"}}}}]}}"#));
    // A service that pays no attention to the page would be asked for ever.
    let service = FakeService::start([
        ("/v2/databases?page=1&per_page=100", page("a")),
        ("/v2/databases?page=2&per_page=100", page("b")),
        ("/v2/databases", page("b")),
    ])
    .await;
    let (_impostor, _manager, mut snapshots) = discover_in_cloud(&service, "digitalocean_sd_configs", "role: databases").await;
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["a:80", "b:80"]);
}

#[tokio::test]
async fn hetzner_pages_and_selector() {
    let page = |id: u32, next: &str| {
        Reply::json(format!(
            r#"{{"servers": [{{"id": {id}, "public_net": {{"ipv4": {{"ip": "10.0.0.{id}"}}}}}}], "meta": {{"pagination": {{"next_page": {next}}}}}}}"#
        ))
    };
    let service = FakeService::start([
        ("/v1/servers?page=1&per_page=50&label_selector=env%3Dprod", page(1, "3")),
        ("/v1/servers?page=3&per_page=50&label_selector=env%3Dprod", page(2, "null")),
        ("/v1/networks?page=1&per_page=50", Reply::json(r#"{"networks": null}"#)),
    ])
    .await;
    let section = "role: hcloud, label_selector: 'env=prod', bearer_token: s3cret";
    let (_impostor, _manager, mut snapshots) = discover_in_cloud(&service, "hetzner_sd_configs", section).await;
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(
        (addresses(&found), found.groups[0].source.as_str()),
        (vec!["10.0.0.1:80".to_owned(), "10.0.0.2:80".to_owned()], "hetzner")
    );
    assert_eq!(service.last("/v1/networks").header("authorization"), "Bearer s3cret");
    service.set("/v1/networks?page=1&per_page=50", Reply::status(500));
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!(failing.groups, found.groups);
}

#[tokio::test]
async fn linode_pages_and_region() {
    let page = |data: &str| Reply::json(format!(r#"{{"data": [{data}], "page": 1, "pages": 2, "results": 2}}"#));
    let service = FakeService::start([
        ("/v4/linode/instances?page=1&page_size=500", page(r#"{"id": 1, "ipv4": ["10.0.0.1"]}"#)),
        ("/v4/linode/instances?page=2&page_size=500", page(r#"{"id": 2, "ipv4": ["10.0.0.2"]}, {"id": 3, "ipv4": []}"#)),
        ("/v4/networking/ips?page=1&page_size=500", page(r#"{"address": "10.0.0.1", "public": true}"#)),
        ("/v4/networking/ips?page=2&page_size=500", page(r#"{"address": "10.0.0.2", "public": true}"#)),
        ("/v4/networking/ipv6/ranges?page=1&page_size=500", Reply::json(r#"{"data": [], "pages": 1}"#)),
    ])
    .await;
    let section = "region: us-east, authorization: {credentials: s3cret}";
    let (_impostor, _manager, mut snapshots) = discover_in_cloud(&service, "linode_sd_configs", section).await;
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(
        (addresses(&found), found.groups[0].source.as_str()),
        (vec!["10.0.0.1:80".to_owned(), "10.0.0.2:80".to_owned()], "Linode")
    );
    for path in ["/v4/linode/instances", "/v4/networking/ips", "/v4/networking/ipv6/ranges"] {
        assert_eq!(service.last(path).header("x-filter"), r#"{"region":"us-east"}"#);
    }
}

#[tokio::test]
async fn vultr_pages() {
    let page = |ip: &str, next: &str| {
        Reply::json(format!(r#"{{"instances": [{{"main_ip": "{ip}"}}], "meta": {{"links": {{"next": "{next}"}}}}}}"#))
    };
    let service = FakeService::start([
        ("/v2/instances?per_page=100", page("10.0.0.1", "bmV4dA==")),
        ("/v2/instances?per_page=100&cursor=bmV4dA%3D%3D", page("10.0.0.2", "")),
    ])
    .await;
    let (_impostor, _manager, mut snapshots) =
        discover_in_cloud(&service, "vultr_sd_configs", "authorization: {credentials: s3cret}").await;
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(
        (addresses(&found), found.groups[0].source.as_str()),
        (vec!["10.0.0.1:80".to_owned(), "10.0.0.2:80".to_owned()], "Vultr")
    );
}

const KEYS: &str = "project_id: 11111111-1111-1111-1111-111111111112, access_key: SCWXXXXXXXXXXXXXXXXX, refresh_interval: 2s";

#[tokio::test]
async fn scaleway_pages_filters_and_token_file() {
    let server = |id: u32| format!(r#"{{"id": "{id}", "zone": "fr-par-2", "private_ip": "10.0.0.{id}"}}"#);
    let page = |id: u32| Reply::json(format!(r#"{{"servers": [{}]}}"#, server(id))).with("x-total-count", "2");
    let path = "/instance/v1/zones/fr-par-2/servers?name=web&tags=a%2Cb&page=";
    let (first, second) = (format!("{path}1"), format!("{path}2"));
    let service = FakeService::start([(&*first, page(1)), (&*second, page(2))]).await;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "s3cret\n").unwrap();
    let section = format!(
        "role: instance, {KEYS}, secret_key_file: '{}', api_url: '{}', zone: fr-par-2, name_filter: web, tags_filter: [a, b]",
        key.display(),
        service.url
    );
    let (_manager, mut snapshots) = discover("scaleway_sd_configs", &section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(
        (addresses(&found), found.groups[0].source.as_str()),
        (vec!["10.0.0.1:80".to_owned(), "10.0.0.2:80".to_owned()], "scaleway")
    );
    assert_eq!(service.last("/instance/v1/zones/fr-par-2/servers").header("x-auth-token"), "s3cret");
    service.set(&second, Reply::status(403));
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!(failing.groups, found.groups);
    assert!(
        failing.errors[0].contains("GET /instance/v1/zones/fr-par-2/servers: server returned HTTP status 403"),
        "{:?}",
        failing.errors
    );
}

#[tokio::test]
async fn scaleway_asks_for_the_addresses_of_private_interfaces() {
    let servers = r#"{"servers": [{"id": "1", "zone": "fr-par-1", "private_nics": [{"id": "nic-a"}, {"id": "nic-b"}]},
        {"id": "2", "zone": "fr-par-1", "private_ip": "10.0.0.2", "private_nics": [{"id": "nic-c"}]}, {"id": "3", "zone": "fr-par-1"}]}"#;
    let ips = r#"{"total_count": 2, "ips": [{"address": "fd00::1/64", "is_ipv6": true, "resource": {"id": "nic-a"}},
        {"address": "172.16.0.5/22", "resource": {"id": "nic-b"}}]}"#;
    let service = FakeService::start([
        ("/instance/v1/zones/fr-par-1/servers", Reply::json(servers).with("x-total-count", "3")),
        ("/ipam/v1/regions/fr-par/ips", Reply::json(ips)),
    ])
    .await;
    let section = format!("role: instance, {KEYS}, secret_key: 11111111-1111-1111-1111-111111111111, api_url: '{}'", service.url);
    let (_manager, mut snapshots) = discover("scaleway_sd_configs", &section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["172.16.0.5:80", "10.0.0.2:80"]);
    assert_eq!(found.groups[0].targets[0].get("__meta_scaleway_instance_private_ipv4"), Some("172.16.0.5"));
    let asked = service.last("/ipam/v1/regions/fr-par/ips");
    assert_eq!(asked.parameters("resource_ids"), ["nic-a", "nic-b"]);
    assert_eq!(asked.parameter("resource_types").as_deref(), Some("instance_private_nic"));
}
