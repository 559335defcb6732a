//! GCE, Azure and OpenStack: how one signs in, paging, and what becomes of refusals. What answers mean is in the goldens.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use kvass_discovery::Environment;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

use crate::{
    common::{addresses, until},
    fake_aws::environment,
    fake_service::{FakeService, Reply, Request, discover_in},
    impostor::Impostor,
};

/// Made for this test; it opens nothing.
const KEY: &str = include_str!("../data/service-account.pem");

fn surroundings(impostor: &Impostor, variables: &[(&str, &str)]) -> Environment {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Environment::new(move |name| variables.get(name).cloned(), impostor.http())
}

/// The header and the claims of a statement whose signature is good.
fn opened(assertion: &str) -> (Value, Value) {
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let (text, signature) = assertion.rsplit_once('.').unwrap();
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public());
    public.verify(text.as_bytes(), &decode(signature)).unwrap();
    let (header, claims) = text.split_once('.').unwrap();
    (serde_json::from_slice(&decode(header)).unwrap(), serde_json::from_slice(&decode(claims)).unwrap())
}

/// Whether the token is the last one given away.
fn is_last(request: &Request, given: &AtomicU32) -> bool {
    request.header("authorization") == format!("Bearer token-{}", given.load(Ordering::Relaxed))
}

fn give(given: &AtomicU32, seconds: u32) -> Reply {
    let n = given.fetch_add(1, Ordering::Relaxed) + 1;
    Reply::json(format!(r#"{{"access_token": "token-{n}", "expires_in": {seconds}, "token_type": "Bearer"}}"#))
}

fn gce_page(address: &str, next: &str) -> Reply {
    Reply::json(format!(
        r#"{{"items": [{{"id": "1", "networkInterfaces": [{{"networkIP": "{address}"}}]}}], "nextPageToken": "{next}"}}"#
    ))
}

#[tokio::test]
async fn gce_with_a_service_account() {
    let given = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&given);
    let service = FakeService::by(move |request| {
        let reply = match request.path.as_str() {
            // Two seconds are over before they are used: they are within the margin.
            "/token" => give(&counter, 2),
            _ if !is_last(&request, &counter) => Reply::status(401),
            "/compute/v1/projects/p/zones/z/instances" => match request.parameter("pageToken").as_deref() {
                None => gce_page("10.0.0.1", "a/b="),
                Some("a/b=") => gce_page("10.0.0.2", ""),
                Some(_) => Reply::status(400),
            },
            _ => Reply::status(404),
        };
        std::future::ready(reply)
    })
    .await;
    let impostor = Impostor::of(&service).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("account.json");
    let account = json!({"type": "service_account", "project_id": "p", "private_key_id": "kid", "private_key": KEY,
        "client_email": "kvass@p.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token"});
    std::fs::write(&file, account.to_string()).unwrap();
    let environment = surroundings(&impostor, &[("GOOGLE_APPLICATION_CREDENTIALS", &file.display().to_string())]);
    let section = "project: p, zone: z, filter: 'labels.a = b', port: 9100, refresh_interval: 1s";
    let (_manager, mut snapshots) = discover_in(environment, "gce_sd_configs", section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:9100", "10.0.0.2:9100"]);
    assert_eq!(found.groups[0].source, "GCE_p_z");
    let listed = service.last("/compute/v1/projects/p/zones/z/instances");
    assert_eq!((listed.parameter("filter").as_deref(), listed.header("host")), (Some("labels.a = b"), "compute.googleapis.com"));
    let asked = service.last("/token");
    assert_eq!(asked.form("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (header, claims) = opened(&asked.form("assertion"));
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "kid"}));
    assert_eq!(claims["iss"], "kvass@p.iam.gserviceaccount.com");
    assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/compute.readonly");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert!(given.load(Ordering::Relaxed) >= 2, "a token near its end is not used again");

    std::fs::write(&file, "{\"type\": \"service_account\", \"private_key\": \"s3cret\"}").unwrap();
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!(failing.errors, ["gce_sd_configs: no token of Google: private_key: expected an RSA key in PEM"]);
    assert_eq!(failing.groups, found.groups);
    std::fs::write(&file, "s3cret").unwrap();
    let failing = until(&mut snapshots, "j", |job| job.errors.iter().any(|e| e.contains("expected a JSON object"))).await;
    assert!(!format!("{failing:?}").contains("s3cret"));
}

#[tokio::test]
async fn gce_by_the_machine_and_by_other_accounts() {
    let service = FakeService::start([
        (
            "/computeMetadata/v1/instance/service-accounts/default/token",
            Reply::json(r#"{"access_token": "of-machine", "expires_in": 3599, "token_type": "Bearer"}"#),
        ),
        ("/token", Reply::json(r#"{"access_token": "of-user", "expires_in": 3599}"#)),
        ("/v1/token", Reply::json(r#"{"access_token": "of-exchange", "expires_in": 3599, "issued_token_type": "x"}"#)),
        ("/impersonate", Reply::json(r#"{"accessToken": "of-account", "expireTime": "2099-01-01T00:00:00Z"}"#)),
        ("/compute/v1/projects/p/zones/z/instances", gce_page("10.0.0.1", "")),
    ])
    .await;
    let impostor = Impostor::of(&service).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("account.json");
    let subject = dir.path().join("subject");
    std::fs::write(&subject, r#"{"jwt": "of-cluster"}"#).unwrap();
    let user = json!({"type": "authorized_user", "client_id": "i", "client_secret": "c", "refresh_token": "r"});
    let external = json!({"type": "external_account", "audience": "//iam.googleapis.com/x", "subject_token_type": "jwt-type",
        "token_url": format!("{}/v1/token", service.url),
        "credential_source": {"file": subject, "format": {"type": "json", "subject_token_field_name": "jwt"}},
        "service_account_impersonation_url": format!("{}/impersonate", service.url)});
    let impersonated = json!({"type": "impersonated_service_account", "source_credentials": user,
        "service_account_impersonation_url": format!("{}/impersonate", service.url), "delegates": ["d"]});
    for (account, token) in
        [(None, "of-machine"), (Some(user), "of-user"), (Some(external), "of-account"), (Some(impersonated), "of-account")]
    {
        let file = path.display().to_string();
        let mut variables = vec![("GCE_METADATA_HOST", service.host())];
        if let Some(account) = &account {
            std::fs::write(&path, account.to_string()).unwrap();
            variables.push(("GOOGLE_APPLICATION_CREDENTIALS", &file));
        }
        let environment = surroundings(&impostor, &variables);
        let (_manager, mut snapshots) = discover_in(environment, "gce_sd_configs", "project: p, zone: z");
        until(&mut snapshots, "j", |job| job.complete).await;
        let listed = service.last("/compute/v1/projects/p/zones/z/instances");
        assert_eq!(listed.header("authorization"), format!("Bearer {token}"));
    }
    assert_eq!(service.last("/computeMetadata/v1/instance/service-accounts/default/token").header("metadata-flavor"), "Google");
    let exchanged = service.last("/v1/token");
    let told = ["audience", "subject_token", "subject_token_type", "grant_type"].map(|name| exchanged.form(name));
    assert_eq!(told, ["//iam.googleapis.com/x", "of-cluster", "jwt-type", "urn:ietf:params:oauth:grant-type:token-exchange"]);
    let refreshed = service.last("/token");
    let told = ["grant_type", "client_id", "client_secret", "refresh_token"].map(|name| refreshed.form(name));
    assert_eq!(told, ["refresh_token", "i", "c", "r"]);
    let impersonations: Vec<_> = service.requests().into_iter().filter(|request| request.path == "/impersonate").collect();
    assert_eq!(impersonations[0].header("authorization"), "Bearer of-exchange");
    assert_eq!(serde_json::from_str::<Value>(&impersonations[1].body).unwrap()["delegates"], json!(["d"]));
}

const MACHINES: &str = "/subscriptions/s/providers/Microsoft.Compute/virtualMachines";
const SETS: &str = "/subscriptions/s/providers/Microsoft.Compute/virtualMachineScaleSets";

fn machine(name: &str) -> String {
    let id = format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/{name}");
    format!(
        r#"{{"id": "{id}", "name": "{name}", "properties": {{"networkProfile": {{"networkInterfaces": [{{"id": "{}"}}]}}}}}}"#,
        nic(name)
    )
}

fn nic(name: &str) -> String {
    format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkInterfaces/{name}")
}

fn nic_at(address: &str) -> Reply {
    let private = if address.is_empty() { String::new() } else { format!(r#""privateIPAddress": "{address}""#) };
    Reply::json(format!(r#"{{"properties": {{"primary": true, "ipConfigurations": [{{"properties": {{{private}}}}}]}}}}"#))
}

#[tokio::test]
async fn azure_pages_interfaces_and_refusals() {
    let next =
        "https://management.azure.com/subscriptions/s/providers/Microsoft.Compute/virtualMachines?api-version=x&%24skiptoken=1";
    let first = Reply::json(format!(r#"{{"value": [{}], "nextLink": "{next}"}}"#, machine("a")));
    let second = format!("{MACHINES}?api-version=x&%24skiptoken=1");
    let service = FakeService::start([
        ("/t/oauth2/v2.0/token", Reply::json(r#"{"access_token": "granted", "expires_in": 3599}"#)),
        (MACHINES, first.clone()),
        (&second, Reply::json(format!(r#"{{"value": [{}, {}]}}"#, machine("b"), machine("gone")))),
        (SETS, Reply::json(r#"{"value": []}"#)),
        (&nic("a"), nic_at("10.0.0.1")),
        (&nic("b"), nic_at("10.0.0.2")),
    ])
    .await;
    let impostor = Impostor::of(&service).await;
    let section = format!(
        "subscription_id: s, tenant_id: t, client_id: c, client_secret: s3cret, port: 9100, refresh_interval: 1s, {}",
        impostor.settings()
    );
    let (_manager, mut snapshots) = discover_in(surroundings(&impostor, &[]), "azure_sd_configs", &section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:9100", "10.0.0.2:9100"]);
    let asked = service.last("/t/oauth2/v2.0/token");
    let told = ["grant_type", "client_id", "client_secret", "scope"].map(|name| asked.form(name));
    assert_eq!(told, ["client_credentials", "c", "s3cret", "https://management.core.windows.net//.default"]);
    assert_eq!(asked.header("host"), "login.microsoftonline.com");
    let interface = service.last(&nic("a"));
    assert_eq!(interface.parameter("$expand").as_deref(), Some("IPConfigurations/PublicIPAddress"));
    assert_eq!((interface.header("authorization"), interface.header("host")), ("Bearer granted", "management.azure.com"));

    // Interfaces are remembered, so only the new one is asked for.
    service.set(&nic("c"), nic_at("10.0.0.3"));
    service.set(&second, Reply::json(format!(r#"{{"value": [{}]}}"#, machine("c"))));
    let found = until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:9100", "10.0.0.3:9100"]).await;
    assert_eq!(service.requests().iter().filter(|request| request.path == nic("a")).count(), 1);
    assert_eq!(service.requests().iter().filter(|request| request.path == "/t/oauth2/v2.0/token").count(), 1);

    service.set(&nic("d"), nic_at(""));
    service.set(&nic("e"), Reply::status(403));
    for (page, expected) in [
        (
            Reply::status(429),
            "azure_sd_configs: GET https://management.azure.com/subscriptions/s/providers/Microsoft.Compute/virtualMachines: server returned HTTP status 429",
        ),
        (Reply::json(format!(r#"{{"value": [{}]}}"#, machine("d"))), "machine \"d\" has no private IP"),
        (Reply::json(format!(r#"{{"value": [{}]}}"#, machine("e"))), "networkInterfaces/e: server returned HTTP status 403"),
        (
            Reply::json(r#"{"value": [], "nextLink": "https://elsewhere.example/"}"#),
            "a next page was named that is on another host",
        ),
        (Reply::json(r#"{"value": [{"id": "odd"}]}"#), "resource \"odd\": expected an ID"),
    ] {
        service.set(&second, page);
        let failing = until(&mut snapshots, "j", |job| job.errors.iter().any(|error| error.contains(expected))).await;
        assert_eq!(failing.groups, found.groups);
    }
    // What was answered is remembered although the round fails: else a limit of requests would never be passed.
    service.set(&nic("f"), nic_at("10.0.0.6"));
    service.set(&second, Reply::json(format!(r#"{{"value": [{}, {}]}}"#, machine("f"), machine("e"))));
    let asked = |name: &str| service.requests().iter().filter(|request| request.path == nic(name)).count();
    let before = asked("e");
    while asked("e") < before + 3 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(asked("f"), 1);
    // A token that is refused is not kept.
    service.set(
        "/t/oauth2/v2.0/token",
        Reply::json(r#"{"error": "invalid_client", "error_description": "s3cret"}"#).with_status(401),
    );
    service.set(&second, Reply::status(401));
    let expected = "azure_sd_configs: no token of Azure: POST https://login.microsoftonline.com/t/oauth2/v2.0/token: 401 Unauthorized, invalid_client";
    until(&mut snapshots, "j", |job| job.errors == [expected]).await;
    service.set("/t/oauth2/v2.0/token", Reply::json(r#"{"access_token": "granted", "expires_in": 3599}"#));
    service.set(&second, Reply::json(r#"{"value": []}"#));
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:9100"] && job.errors.is_empty()).await;
}

#[tokio::test]
async fn azure_by_other_ways() {
    let group = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute";
    let service = FakeService::start([
        ("/metadata/identity/oauth2/token", Reply::json(r#"{"access_token": "of-machine", "expires_in": "3599"}"#)),
        ("/service", Reply::json(r#"{"access_token": "of-service", "expires_on": "4102444800"}"#)),
        ("/t/oauth2/v2.0/token", Reply::json(r#"{"access_token": "of-cluster", "expires_in": 3599}"#)),
        ("/env/oauth2/v2.0/token", Reply::json(r#"{"access_token": "of-env", "expires_in": 3599}"#)),
        (&format!("{group}/virtualMachines"), Reply::json(format!(r#"{{"value": [{}]}}"#, machine("a")))),
        (&format!("{group}/virtualMachineScaleSets"), Reply::json(r#"{"value": []}"#)),
        (&nic("a"), nic_at("10.0.0.1")),
    ])
    .await;
    let impostor = Impostor::of(&service).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "federated\n").unwrap();
    let file = file.display().to_string();
    let endpoint = format!("{}/service", service.url);
    let of_machine = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", service.url.as_str());
    let cluster = [("AZURE_CLIENT_ID", "c"), ("AZURE_TENANT_ID", "t"), ("AZURE_FEDERATED_TOKEN_FILE", file.as_str())];
    let of_env = [("AZURE_CLIENT_ID", "c"), ("AZURE_TENANT_ID", "env"), ("AZURE_CLIENT_SECRET", "s")];
    for (method, variables, token) in [
        ("ManagedIdentity", &[of_machine][..], "of-machine"),
        ("ManagedIdentity", &[("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", "h")], "of-service"),
        ("WorkloadIdentity", &cluster, "of-cluster"),
        ("SDK", &cluster, "of-cluster"),
        ("SDK", &of_env, "of-env"),
        ("SDK", &[of_machine], "of-machine"),
    ] {
        let section = format!(
            "subscription_id: s, resource_group: g, authentication_method: {method}, client_id: mine, {}",
            impostor.settings()
        );
        let (_manager, mut snapshots) = discover_in(surroundings(&impostor, variables), "azure_sd_configs", &section);
        until(&mut snapshots, "j", |job| job.complete && addresses(job) == ["10.0.0.1:80"]).await;
        let listed = service.last(&format!("{group}/virtualMachines"));
        assert_eq!(listed.header("authorization"), format!("Bearer {token}"), "{method}");
    }
    let machine = service.requests().into_iter().find(|request| request.path == "/metadata/identity/oauth2/token").unwrap();
    assert_eq!((machine.header("metadata"), machine.parameter("client_id").as_deref()), ("true", Some("mine")));
    assert_eq!(machine.parameter("resource").as_deref(), Some("https://management.core.windows.net/"));
    assert_eq!(service.last("/service").header("x-identity-header"), "h");
    assert_eq!(service.last("/t/oauth2/v2.0/token").form("client_assertion"), "federated");

    for (more, variables, expected) in [
        (
            "authentication_method: WorkloadIdentity",
            &[][..],
            "no token of Azure: AZURE_CLIENT_ID is not set, which WorkloadIdentity needs",
        ),
        ("authentication_method: SDK, environment: AzureMoon", &[], "environment \"AzureMoon\": expected AzurePublicCloud"),
    ] {
        let section = format!("subscription_id: s, {more}, {}", impostor.settings());
        let (_manager, mut snapshots) = discover_in(surroundings(&impostor, variables), "azure_sd_configs", &section);
        let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
        assert!(failing.errors[0].contains(expected), "{:?}", failing.errors);
    }
}

fn granted(service: &FakeService) -> Reply {
    let endpoint = |kind: &str, path: &str| {
        let url = format!("{}{path}", service.url);
        json!({"type": kind, "endpoints": [{"interface": "public", "region_id": "R", "region": "R", "url": url}]})
    };
    let body = json!({"token": {"catalog": [endpoint("compute", "/compute/v2.1"), endpoint("network", "/network")]}});
    Reply::json(body.to_string()).with_status(201).with("x-subject-token", "granted")
}

fn servers(id: u32, next: &str) -> Reply {
    let server = json!({"id": id.to_string(), "flavor": {"id": "f"}, "addresses": {"net": [{"addr": format!("10.0.0.{id}")}]}});
    let links = if next.is_empty() { json!([]) } else { json!([{"rel": "next", "href": next}]) };
    Reply::json(json!({"servers": [server], "servers_links": links}).to_string())
}

#[tokio::test]
async fn openstack_signs_in_each_time_and_follows_links() {
    let service = FakeService::start([
        ("/network/v2.0/ports", Reply::json(r#"{"ports": []}"#)),
        ("/network/v2.0/floatingips", Reply::json(r#"{"floatingips": []}"#)),
        // Named as it is reached from inside.
        ("/compute/v2.1/servers/detail", servers(1, "http://nova.internal/compute/v2.1/servers/detail?marker=1")),
        ("/compute/v2.1/servers/detail?marker=1", servers(2, "")),
    ])
    .await;
    service.set("/v3/auth/tokens", granted(&service));
    let section = format!(
        "identity_endpoint: '{}/v3', userid: u, password: s3cret, role: instance, region: R, refresh_interval: 1s",
        service.url
    );
    let (_manager, mut snapshots) = discover_in(environment(&[]), "openstack_sd_configs", &section);
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(
        (addresses(&found), found.groups[0].source.as_str()),
        (vec!["10.0.0.1:80".to_owned(), "10.0.0.2:80".to_owned()], "OS_R")
    );
    let listed = service.last("/compute/v2.1/servers/detail");
    assert_eq!((listed.header("x-auth-token"), listed.header("host")), ("granted", service.host()));

    service.set("/v3/auth/tokens", granted(&service).with("x-subject-token", "another"));
    service.set("/compute/v2.1/servers/detail?marker=1", servers(3, ""));
    let found = until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:80", "10.0.0.3:80"]).await;
    assert_eq!(service.last("/compute/v2.1/servers/detail").header("x-auth-token"), "another");

    for (path, reply, expected) in [
        (
            "/compute/v2.1/servers/detail?marker=1",
            Reply::status(503),
            "/compute/v2.1/servers/detail: server returned HTTP status 503",
        ),
        ("/compute/v2.1/servers/detail?marker=1", Reply::json("{}"), "expected a list under \"servers\""),
        ("/v3/auth/tokens", Reply::status(401), "cannot sign in to OpenStack: POST "),
        ("/v3/auth/tokens", Reply::json(r#"{"token": {}}"#), "the answer has no header X-Subject-Token"),
        (
            "/v3/auth/tokens",
            Reply::json(r#"{"token": {}}"#).with("x-subject-token", "t"),
            "the catalogue has no public endpoint of type compute in region \"R\"",
        ),
    ] {
        service.set(path, reply);
        let failing = until(&mut snapshots, "j", |job| job.errors.iter().any(|error| error.contains(expected))).await;
        assert_eq!(failing.groups, found.groups);
        assert!(!format!("{:?}", failing.errors).contains("s3cret"));
    }
}

#[tokio::test]
async fn openstack_from_the_environment() {
    let service = FakeService::start([
        ("/network/v2.0/ports", Reply::json(r#"{"ports": []}"#)),
        ("/network/v2.0/floatingips", Reply::json(r#"{"floatingips": []}"#)),
        ("/compute/v2.1/servers/detail", servers(1, "")),
    ])
    .await;
    service.set("/v3/auth/tokens", granted(&service));
    let versions = json!({"versions": {"values": [{"id": "v3.14", "status": "stable",
        "links": [{"rel": "self", "href": format!("{}/v3/", service.url)}]}]}});
    service.set("/", Reply::json(versions.to_string()).with_status(300));
    let variables = [
        ("OS_AUTH_URL", service.url.as_str()),
        ("OS_APPLICATION_CREDENTIAL_ID", "c"),
        ("OS_APPLICATION_CREDENTIAL_SECRET", "s3cret"),
    ];
    let (_manager, mut snapshots) = discover_in(environment(&variables), "openstack_sd_configs", "role: instance, region: R");
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:80"]).await;
    let asked: Value = serde_json::from_str(&service.last("/v3/auth/tokens").body).unwrap();
    let expected = json!({"auth": {"identity": {"methods": ["application_credential"],
        "application_credential": {"id": "c", "secret": "s3cret"}}}});
    assert_eq!(asked, expected);

    let (_manager, mut snapshots) = discover_in(environment(&[]), "openstack_sd_configs", "role: instance, region: R");
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    let expected = "openstack_sd_configs: identity_endpoint is not given, and neither is the variable OS_AUTH_URL";
    assert_eq!(failing.errors, [expected]);
}

#[tokio::test]
async fn ovhcloud_signs_with_the_servers_time() {
    let ill = Arc::new(AtomicU32::new(500));
    let status = Arc::clone(&ill);
    let service = FakeService::by(move |request| {
        let signed = {
            let (host, path, time) = (request.header("host"), &request.path, request.header("x-ovh-timestamp"));
            let text = format!("s3cret+ck+GET+http://{host}{path}++{time}");
            let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
            let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("$1${hex}") == request.header("x-ovh-signature")
        };
        let known = request.header("x-ovh-application") == "ak" && request.header("x-ovh-consumer") == "ck";
        let timely = request.header("x-ovh-timestamp").starts_with("17000");
        let reply = match request.path.as_str() {
            "/auth/time" => Reply::json("1700000000"),
            _ if !(known && timely && signed) => Reply::status(403),
            "/vps" => Reply::json(r#"["a b", "c", "ill"]"#),
            "/vps/a%20b" => Reply::json(r#"{"name": "a b", "vcore": 2}"#),
            "/vps/a%20b/ips" => Reply::json(r#"["10.0.0.1"]"#),
            "/vps/c" => Reply::json(r#"{"name": "c"}"#),
            "/vps/c/ips" => Reply::json("[]"),
            "/vps/ill" => Reply::json(r#"{"name": "ill"}"#).with_status(status.load(Ordering::Relaxed).try_into().unwrap()),
            "/vps/ill/ips" => Reply::json(r#"["10.0.0.2"]"#),
            _ => Reply::status(404),
        };
        std::future::ready(reply)
    })
    .await;
    let section = |secret: &str| {
        format!(
            "endpoint: '{}', application_key: ak, application_secret: {secret}, consumer_key: ck, service: vps, refresh_interval: 1s",
            service.url
        )
    };
    let (_manager, mut snapshots) = discover_in(environment(&[]), "ovhcloud_sd_configs", &section("s3cret"));
    // A server that cannot be read now keeps nobody else from being a target, and itself from nothing it was.
    let found = until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1"]).await;
    assert!(!found.complete && found.errors[0].contains("/vps/ill: server returned HTTP status 500"), "{:?}", found.errors);
    ill.store(200, Ordering::Relaxed);
    until(&mut snapshots, "j", |job| job.complete && addresses(job) == ["10.0.0.1", "10.0.0.2"] && job.errors.is_empty()).await;
    ill.store(503, Ordering::Relaxed);
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1", "10.0.0.2"] && !job.errors.is_empty()).await;
    ill.store(460, Ordering::Relaxed);
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1"] && job.errors.is_empty()).await;
    ill.store(429, Ordering::Relaxed);
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(failing.errors[0].contains("/vps/ill: server returned HTTP status 429"), "{:?}", failing.errors);

    let (_manager, mut snapshots) = discover_in(environment(&[]), "ovhcloud_sd_configs", &section("0ther"));
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(failing.errors[0].contains("/vps: server returned HTTP status 403"), "{:?}", failing.errors);
    let section = "endpoint: moon, application_key: a, application_secret: s, consumer_key: c, service: vps";
    let (_manager, mut snapshots) = discover_in(environment(&[]), "ovhcloud_sd_configs", section);
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(
        failing.errors[0].starts_with("ovhcloud_sd_configs: endpoint \"moon\": expected a URL or one of ovh-eu, "),
        "{:?}",
        failing.errors
    );
}
