//! What is accepted, and what is read from it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests end that way")]

mod common;

use std::{path::PathBuf, time::Duration};

use common::{data, load, load_as, load_with, names};
use kvass_config::{
    AttachMetadata, Authorization, AwsRole, AzureAuthentication, BasicAuth, Config, DigitalOceanRole, DnsRecord, DockerSwarmRole,
    FileSdConfig, HetznerRole, HttpClientConfig, KubernetesRole, OpenStackRole, OvhService, ScalewayRole, ScrapeConfig, SdConfig,
    Secret, SecretSource,
};
use kvass_model::{
    Labels,
    PrometheusLine::{V2, V3},
};

/// Files in `tests/data/good` that use what Prometheus 2 has no rules for.
const V3_ONLY: [&str; 4] = ["kubernetes_newer", "name_schemes", "storage_tracing_otlp", "utf8_labels"];

fn good(name: &str) -> Config {
    let line = if V3_ONLY.contains(&name) { V3 } else { V2 };
    load(&data(&format!("good/{name}.good.yml")), line)
}

#[track_caller]
fn job<'a>(config: &'a Config, name: &str) -> &'a ScrapeConfig {
    config.job(name).unwrap_or_else(|| panic!("no job {name}"))
}

/// One value per job, in file order.
fn per_job<T>(config: &Config, value: impl Fn(&ScrapeConfig) -> T) -> Vec<T> {
    config.jobs().iter().map(|job| value(job)).collect()
}

#[test]
fn all_good_files_load() {
    let names = names("good", ".good.yml");
    assert!(names.len() >= 25);
    for name in names {
        let text = data(&format!("good/{name}.good.yml"));
        for line in [V2, V3] {
            if line == V3 || !V3_ONLY.contains(&name.as_str()) {
                load_as(&name, &text, line).unwrap_or_else(|e| panic!("{e}"));
            }
        }
    }
}

#[test]
fn files_of_the_original_load_as_they_did() {
    for line in data("kvass-go/config-hashes.jsonl").lines() {
        let expected: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = expected["config_file"].as_str().unwrap();
        let loaded = load_as(name, &data(&format!("kvass-go/{name}")), V2);
        match (loaded, expected.get("error")) {
            (Ok(_), None) | (Err(_), Some(_)) => {}
            (Ok(_), Some(error)) => panic!("{name}: the original refuses it: {error}"),
            (Err(error), None) => panic!("{error}"),
        }
    }
}

#[test]
fn defaults() {
    let config = load("scrape_configs: [{job_name: a}]", V2);
    let job = job(&config, "a");
    assert_eq!((job.scrape_interval, job.scrape_timeout), (Duration::from_secs(60), Duration::from_secs(10)));
    assert_eq!((job.metrics_path.as_str(), job.scheme.as_str()), ("/metrics", "http"));
    assert!(!job.honor_labels && job.enable_compression && job.http.follow_redirects && job.http.enable_http2);
    assert_eq!((job.body_size_limit, job.sample_limit, &job.service_discovery), (None, 0, &Vec::new()));
    assert!(!job.utf8_names);
    assert!(load("scrape_configs: [{job_name: a}]", V3).job("a").unwrap().utf8_names);
}

#[test]
fn only_the_first_document_counts() {
    let config = good("several_documents");
    assert_eq!(per_job(&config, |job| job.job_name.to_string()), ["first"]);
    assert_eq!(config.warnings(), ["only the first YAML document of the file is used"]);
}

#[test]
fn comments_need_no_blank_and_a_dash_no_quotes() {
    let text = "scrape_configs:\n- job_name: \"é\"#1\n  relabel_configs: [{separator: -, target_label: 'a'#2\n    }, {target_label: b, separator: -}]#3
- job_name: a#4\n  params: {a: [-, b, -]}#5\n";
    let config = load(text, V3);
    assert_eq!(job(&config, "é").relabel_configs.len(), 2);
    assert_eq!(job(&config, "a#4").params["a"], ["-", "b", "-"]);
}

#[test]
fn anchors_and_merges() {
    let config = good("anchors_and_merges");
    assert_eq!(per_job(&config, |job| job.scrape_interval.as_secs()), [7, 7, 9]);
    assert_eq!(per_job(&config, |job| job.honor_labels), [false, false, true]);
    assert_eq!(per_job(&config, |job| job.relabel_configs.len()), [1, 1, 1]);
}

#[test]
fn scalars() {
    let config = good("booleans");
    assert_eq!(per_job(&config, |job| job.honor_labels), [true, true, true, false, false]);
    assert_eq!(per_job(&config, |job| job.http.follow_redirects), [true, true, true, false, false]);

    let config = good("numbers");
    let job_a = job(&config, "a");
    assert_eq!((job_a.sample_limit, job_a.target_limit, job_a.label_limit), (1000, 16, 8));
    assert_eq!((job_a.label_name_length_limit, job_a.label_value_length_limit), (1000, 10));
    assert_eq!(job_a.body_size_limit, Some(1_610_612_736));

    let config = good("scalars_keep_their_text");
    let job_a = job(&config, "a");
    assert_eq!((job_a.metrics_path.as_str(), job_a.scheme.as_str()), ("0x10", "true"));
    assert_eq!(job_a.params["v"], ["1.10", "2001-01-01", "1_000", "", "yes"]);
    let SdConfig::Static(groups) = &job_a.service_discovery[0] else { panic!("{:?}", job_a.service_discovery) };
    assert_eq!(groups[0].targets, [Labels::from([("__address__", "1")])]);
    assert_eq!(groups[0].labels, Labels::from([("on", "off"), ("ver", "1.10")]));

    let config = good("null_scalars_are_zero");
    let job_a = job(&config, "a");
    assert_eq!((job_a.metrics_path.as_str(), job_a.scheme.as_str()), ("", ""));

    assert_eq!(&*good("block_scalars").jobs()[0].job_name, "folded name");
    let password = SecretSource::Inline(Secret::new("line one\nline two\n"));
    let basic = BasicAuth { username: None, password: Some(password) };
    assert_eq!(good("block_scalars").jobs()[0].http.basic_auth, Some(basic));
}

#[test]
fn inheritance() {
    let config = good("inheritance");
    assert_eq!(per_job(&config, |job| job.scrape_interval.as_secs()), [20, 12, 20, 60]);
    assert_eq!(per_job(&config, |job| job.scrape_timeout.as_secs()), [15, 12, 15, 60]);
    let labels = Labels::from([("cluster", "<CLUSTER>"), ("price", "$5"), ("zone", "<ZONE>")]);
    assert_eq!(config.external_labels(), &labels);

    let config = good("inherited_limits");
    assert_eq!(per_job(&config, |job| job.body_size_limit), [Some(1 << 20), Some(2 << 20), None]);
    assert_eq!(per_job(&config, |job| job.sample_limit), [1, 10, 1]);
    assert_eq!(per_job(&config, |job| job.target_limit), [2, 2, 2]);
    assert_eq!(per_job(&config, |job| job.keep_dropped_targets), [6, 6, 6]);

    let config = good("histograms");
    assert_eq!(per_job(&config, |job| job.scrape_native_histograms), [true, false, true]);
    assert_eq!(per_job(&config, |job| job.always_scrape_classic_histograms), [true, true, true]);
    assert_eq!(per_job(&config, |job| job.convert_classic_histograms_to_nhcb), [true, false, true]);
}

#[test]
fn name_schemes_and_accept() {
    let config = good("name_schemes");
    assert_eq!(per_job(&config, |job| job.utf8_names), [false, true, false, true]);
    // A job's own validation scheme cuts it off from what `global` derives.
    let escaping = per_job(&config, |job| {
        let (_, tail) = job.accept.split_once("escaping=").unwrap();
        tail.split(';').next().unwrap().to_owned()
    });
    assert_eq!(escaping, ["underscores", "allow-utf-8", "dots", "values"]);

    let config = load(&data("good/protocols.good.yml"), V3);
    let text_only =
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,text/plain;version=0.0.4;q=0.6,*/*;q=0.5";
    let proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,*/*;q=0.6";
    assert_eq!(per_job(&config, |job| job.accept.clone()), [text_only, proto, text_only]);
    assert_eq!(job(&config, "c").fallback_scrape_protocol.as_deref(), Some("PrometheusText0.0.4"));
}

#[test]
fn http_clients() {
    let config = good("http_authorization");
    let authorization = |kind: &str, credentials| Some(Authorization { kind: kind.to_owned(), credentials: Some(credentials) });
    let file = |path: &str| SecretSource::File(PathBuf::from(path));
    assert_eq!(
        per_job(&config, |job| job.http.authorization.clone()),
        [
            authorization("Custom", file("/etc/prometheus/token")),
            authorization("Bearer", SecretSource::Inline(Secret::new("abc"))),
            authorization("Bearer", file("/etc/prometheus/token")),
            None,
            None,
        ]
    );
    let basic = job(&config, "empty_bearer").http.basic_auth.clone().unwrap();
    assert_eq!(basic.password, Some(file("/etc/prometheus/secrets/pw")));
    let oauth2 = job(&config, "null_authorization").http.oauth2.clone().unwrap();
    assert_eq!((oauth2.client_secret, oauth2.tls.ca), (Some(file("/abs/secret")), Some(file("/etc/prometheus/ca.pem"))));
    assert_eq!((oauth2.scopes, &*oauth2.endpoint_params["k"]), (vec!["a".to_owned(), "b".to_owned()], "1"));

    let config = good("http_tls_and_proxy");
    let http = &job(&config, "a").http;
    assert_eq!((http.tls.cert.clone(), http.tls.min_version.as_deref()), (Some(file("/etc/prometheus/c.pem")), Some("TLS12")));
    assert_eq!(http.proxy.url.as_ref().map(Secret::reveal), Some("http://user:pw@proxy:3128"));
    let names: Vec<&str> = http.proxy.connect_headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["X-A", "X-B"]);
    assert!(!http.follow_redirects && !http.enable_http2);

    let config = good("http_newer");
    let inline = |text| SecretSource::Inline(Secret::new(text));
    let values = vec![inline("v"), inline("s"), file("/etc/prometheus/token")];
    assert_eq!(job(&config, "a").http.http_headers, [("X-Token".to_owned(), values)]);
    assert!(job(&config, "a").http.proxy.from_environment);
    assert_eq!(job(&config, "no_proxy").http.proxy.no_proxy, "10.0.0.0/8");
}

#[test]
fn discovery() {
    let config = good("static_groups");
    let [SdConfig::File(files), SdConfig::Http(http), SdConfig::Static(groups)] = &job(&config, "a").service_discovery[..] else {
        panic!("{:?}", job(&config, "a").service_discovery)
    };
    let expected = FileSdConfig {
        files: vec!["/etc/prometheus/sd/*.json".to_owned(), "/abs/*.yml".to_owned()],
        refresh_interval: Duration::from_secs(300),
        line: http.line,
    };
    assert_eq!(files, &expected);
    assert_eq!((http.url.as_str(), http.refresh_interval), ("http://sd/targets", Duration::from_secs(10)));
    let sources: Vec<(&str, usize)> = groups.iter().map(|group| (group.source.as_str(), group.targets.len())).collect();
    assert_eq!(sources, [("0", 2), ("1", 0)]);

    let config = good("unsupported_discovery");
    let [SdConfig::Other(one), SdConfig::Other(other)] = &job(&config, "a").service_discovery[..] else {
        panic!("{:?}", job(&config, "a").service_discovery)
    };
    assert_eq!((one.key.as_str(), other.key.as_str()), ("kuma_sd_configs", "kuma_sd_configs"));
    assert_ne!(one.digest(), other.digest());
}

#[test]
fn clouds_with_a_way_of_their_own_to_sign_in() {
    let config = good("clouds");
    let [
        SdConfig::Aws(ec2),
        SdConfig::Aws(lightsail),
        SdConfig::Gce(gce),
        SdConfig::Azure(azure),
        SdConfig::OpenStack(openstack),
    ] = &job(&config, "defaults").service_discovery[..]
    else {
        panic!("{:?}", job(&config, "defaults").service_discovery)
    };
    let seconds = Duration::from_secs;
    assert_eq!((ec2.role, lightsail.role), (AwsRole::Ec2, AwsRole::Lightsail));
    assert_eq!(ec2.access, lightsail.access);
    assert_eq!((ec2.access.api.port, ec2.access.api.refresh_interval), (80, seconds(60)));
    assert_eq!((ec2.access.region.as_str(), ec2.access.secret_key.as_ref()), ("r", None));
    assert_eq!((gce.port, gce.tag_separator.as_str(), gce.refresh_interval), (80, ",", seconds(60)));
    assert_eq!((azure.authentication, azure.environment.as_str()), (AzureAuthentication::OAuth, "AzurePublicCloud"));
    assert_eq!((azure.api.port, azure.api.refresh_interval), (80, seconds(300)));
    assert_eq!((openstack.role, openstack.availability.as_str()), (OpenStackRole::Instance, "public"));
    assert_eq!((openstack.port, openstack.all_tenants, openstack.refresh_interval), (80, false, seconds(60)));

    let [SdConfig::Aws(ec2), SdConfig::Gce(gce), SdConfig::Azure(azure), SdConfig::OpenStack(openstack)] =
        &job(&config, "everything").service_discovery[..]
    else {
        panic!("{:?}", job(&config, "everything").service_discovery)
    };
    assert_eq!(ec2.filters, [("n".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
    let access = &ec2.access;
    assert_eq!((access.endpoint.as_str(), access.access_key.as_str(), access.profile.as_str()), ("http://e", "a", "p"));
    assert_eq!((access.role_arn.as_str(), access.secret_key.as_ref().map(Secret::reveal)), ("arn", Some("s")));
    assert_eq!((access.api.port, access.api.refresh_interval), (9, seconds(1)));
    let file = |name: &str| Some(SecretSource::File(PathBuf::from(name)));
    assert_eq!(access.api.http.tls.ca, file("/etc/prometheus/ca.pem"));
    assert_eq!((gce.filter.as_str(), gce.tag_separator.as_str(), gce.port), ("f", ";", 9));
    assert_eq!((azure.authentication, azure.resource_group.as_str()), (AzureAuthentication::ManagedIdentity, "g"));
    assert_eq!(azure.api.http.tls.ca, file("ca.pem"), "Prometheus does not resolve this one");
    assert_eq!((openstack.role, openstack.all_tenants, openstack.port), (OpenStackRole::Hypervisor, true, 9));
    assert_eq!(openstack.tls.ca, file("/etc/prometheus/ca.pem"));
    let identity = &openstack.identity;
    let names = [
        &identity.endpoint,
        &identity.username,
        &identity.user_id,
        &identity.project_name,
        &identity.project_id,
        &identity.domain_name,
        &identity.domain_id,
        &identity.application_credential_name,
        &identity.application_credential_id,
    ];
    assert_eq!(names, ["http://k", "u", "i", "pn", "pi", "dn", "di", "an", "ai"]);
    let secrets = [&identity.password, &identity.application_credential_secret].map(|secret| secret.as_ref().map(Secret::reveal));
    assert_eq!(secrets, [Some("p"), Some("as")]);

    let config = good("clouds_newer");
    let [SdConfig::Aws(ec2), SdConfig::Aws(lightsail), ..] = &job(&config, "a").service_discovery[..] else {
        panic!("{:?}", job(&config, "a").service_discovery)
    };
    assert_eq!((ec2.role, ec2.access.external_id.as_str(), ec2.access.api.port), (AwsRole::Ec2, "x", 80));
    assert!(!ec2.access.api.http.follow_redirects && lightsail.access.api.http.follow_redirects);
    assert_eq!((lightsail.role, lightsail.access.api.port), (AwsRole::Lightsail, 9));
    let [
        SdConfig::Aws(ecs),
        SdConfig::Aws(msk),
        SdConfig::Aws(any_ecs),
        SdConfig::Aws(any_msk),
        SdConfig::Ionos(ionos),
        SdConfig::OvhCloud(ovh),
    ] = &job(&config, "b").service_discovery[..]
    else {
        panic!("{:?}", job(&config, "b").service_discovery)
    };
    assert_eq!((ecs.role, &ecs.clusters[..], any_ecs.role), (AwsRole::Ecs, &["c".to_owned()][..], AwsRole::Ecs));
    assert_eq!((msk.role, msk.clusters.len(), any_msk.role, any_msk.clusters.len()), (AwsRole::Msk, 0, AwsRole::Msk, 1));
    assert_eq!((ionos.datacenter_id.as_str(), ionos.api.port, ionos.api.refresh_interval), ("d", 80, seconds(60)));
    assert_eq!((ovh.endpoint.as_str(), ovh.service, ovh.refresh_interval), ("ovh-eu", OvhService::Vps, seconds(60)));
    assert_eq!((ovh.application_secret.reveal(), ovh.consumer_key.reveal()), ("s", "c"));
}

#[test]
fn mechanisms() {
    let config = good("mechanisms");
    let [
        SdConfig::Dns(dns),
        SdConfig::Consul(consul),
        SdConfig::Docker(docker),
        SdConfig::DockerSwarm(swarm),
        SdConfig::Nomad(nomad),
        SdConfig::Eureka(eureka),
        SdConfig::Marathon(marathon),
        SdConfig::PuppetDb(puppetdb),
        SdConfig::DigitalOcean(digitalocean),
        SdConfig::Hetzner(hetzner),
        SdConfig::Linode(linode),
        SdConfig::Vultr(vultr),
        SdConfig::Scaleway(scaleway),
    ] = &job(&config, "defaults").service_discovery[..]
    else {
        panic!("{:?}", job(&config, "defaults").service_discovery)
    };
    let seconds = Duration::from_secs;
    assert_eq!((dns.record, dns.port, dns.refresh_interval), (DnsRecord::Srv, 0, seconds(30)));
    assert_eq!((consul.server.as_str(), consul.scheme.as_str(), consul.tag_separator.as_str()), ("localhost:8500", "http", ","));
    assert!(consul.allow_stale && consul.token.is_none() && consul.http == HttpClientConfig::default());
    assert_eq!(consul.refresh_interval, seconds(30));
    assert_eq!((docker.port, docker.host_networking_host.as_str(), docker.match_first_network), (80, "localhost", true));
    assert_eq!(docker.daemon.refresh_interval, seconds(60));
    assert_eq!((swarm.role, swarm.port), (DockerSwarmRole::Tasks, 80));
    assert_eq!((nomad.server.as_str(), nomad.namespace.as_str()), ("http://localhost:4646", "default"));
    assert_eq!((nomad.region.as_str(), nomad.allow_stale, nomad.refresh_interval), ("global", true, seconds(60)));
    assert_eq!((eureka.server.as_str(), eureka.refresh_interval), ("http://eureka:8761/eureka", seconds(30)));
    assert_eq!((marathon.auth_token.as_ref(), marathon.refresh_interval), (None, seconds(30)));
    assert_eq!((puppetdb.include_parameters, puppetdb.port, puppetdb.refresh_interval), (false, 80, seconds(60)));
    assert_eq!((digitalocean.role, digitalocean.api.port), (DigitalOceanRole::Droplets, 80));
    assert_eq!((hetzner.role, hetzner.api.refresh_interval), (HetznerRole::Robot, seconds(60)));
    assert_eq!((linode.region.as_str(), linode.tag_separator.as_str()), ("", ","));
    assert_eq!(vultr.api, linode.api);
    assert_eq!((scaleway.role, scaleway.zone.as_str()), (ScalewayRole::Instance, "fr-par-1"));
    assert_eq!(scaleway.api_url, "https://api.scaleway.com");

    let [
        SdConfig::Dns(dns),
        SdConfig::Consul(consul),
        SdConfig::Consul(with_user),
        SdConfig::Docker(docker),
        SdConfig::DockerSwarm(swarm),
        SdConfig::Nomad(nomad),
        SdConfig::Eureka(eureka),
        SdConfig::Marathon(marathon),
        SdConfig::PuppetDb(puppetdb),
        SdConfig::DigitalOcean(digitalocean),
        SdConfig::Hetzner(hetzner),
        SdConfig::Linode(linode),
        SdConfig::Vultr(vultr),
        SdConfig::Scaleway(scaleway),
    ] = &job(&config, "everything").service_discovery[..]
    else {
        panic!("{:?}", job(&config, "everything").service_discovery)
    };
    let file = |name: &str| SecretSource::File(PathBuf::from(format!("/etc/prometheus/{name}")));
    assert_eq!((dns.names.len(), dns.record, dns.port), (2, DnsRecord::Aaaa, 9100));
    assert_eq!(consul.node_meta, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
    assert_eq!((consul.filter.as_str(), consul.health_filter.as_str()), ("f", "h"));
    assert_eq!(consul.token, Some(Secret::new("t")));
    assert_eq!(consul.http.tls.ca, Some(file("ca.pem")));
    let user = SecretSource::Inline(Secret::new("u"));
    assert_eq!(with_user.http.basic_auth, Some(BasicAuth { username: Some(user), password: None }));
    let filters = [("label".to_owned(), vec!["a".to_owned(), "b".to_owned()]), ("status".to_owned(), vec![])];
    assert_eq!(docker.daemon.filters, filters);
    assert_eq!(docker.daemon.http.basic_auth.as_ref().unwrap().password, Some(file("pw")));
    assert!(!docker.match_first_network);
    assert_eq!((swarm.role, swarm.port), (DockerSwarmRole::Nodes, 70_000));
    assert_eq!((nomad.namespace.as_str(), nomad.allow_stale, nomad.tag_separator.as_str()), ("*", false, ";"));
    assert!(!eureka.http.follow_redirects);
    assert_eq!(marathon.auth_token, Some(file("token")));
    assert!(puppetdb.include_parameters);
    assert_eq!((digitalocean.role, digitalocean.api.port), (DigitalOceanRole::Databases, 9));
    assert!(digitalocean.api.http.authorization.is_some());
    assert_eq!((hetzner.role, hetzner.label_selector.as_str()), (HetznerRole::Hcloud, "a=b"));
    assert_eq!((linode.region.as_str(), linode.tag_separator.as_str(), vultr.api.port), ("us-east", ";", 1));
    assert_eq!((scaleway.role, &scaleway.secret_key), (ScalewayRole::Baremetal, &file("key")));
    assert_eq!((scaleway.name_filter.as_str(), scaleway.tags_filter.len()), ("n", 2));
}

#[test]
fn kubernetes() {
    let config = good("kubernetes");
    let sections: Vec<_> = job(&config, "a")
        .service_discovery
        .iter()
        .map(|section| match section {
            SdConfig::Kubernetes(section) => section,
            other => panic!("{other:?}"),
        })
        .collect();
    use KubernetesRole::{EndpointSlice, Endpoints, Ingress, Node, Pod, Service};
    let roles: Vec<_> = sections.iter().map(|section| section.role).collect();
    assert_eq!(roles, [Pod, Endpoints, EndpointSlice, Node, Ingress, Service]);
    assert_eq!(sections[1].api_server.as_deref(), Some("https://user:pw@api:6443"));
    assert_eq!(sections[1].namespaces, ["x", "y"]);
    assert_eq!((sections[1].selectors[0].role, &*sections[1].selectors[0].label), (Pod, "app in (a, b),tier!=test"));
    assert_eq!(sections[1].attach_metadata, AttachMetadata { node: true, ..AttachMetadata::default() });
    assert_eq!(sections[2].kubeconfig_file, Some(PathBuf::from("/etc/prometheus/kube.conf")));
    assert!(sections[3].own_namespace);

    let newer = good("kubernetes_newer");
    let [SdConfig::Kubernetes(section)] = &*job(&newer, "a").service_discovery else { panic!("expected one section") };
    let all = AttachMetadata { node: true, namespace: true, deployment: true, job: false, cronjob: true };
    assert_eq!(section.attach_metadata, all);
}

#[test]
fn included_files() {
    let main =
        "global: {scrape_interval: 7s}\nscrape_config_files: [conf.d/*.yml, none/*.yml]\nscrape_configs: [{job_name: main}]\n";
    let other = "scrape_configs: [{job_name: other, bearer_token_file: token}]\n";
    let included = [("/etc/p/conf.d/*.yml", "/etc/p/conf.d/a.yml", other), ("/etc/p/conf.d/*.yml", "/etc/p/conf.d/b.yml", "")];
    let load = |included| load_with("/etc/p/prometheus.yml", main, V2, included).unwrap();
    let config = load(&included);
    assert_eq!(per_job(&config, |job| job.job_name.to_string()), ["main", "other"]);
    let other = job(&config, "other");
    assert_eq!(other.scrape_interval, Duration::from_secs(7));
    let token = SecretSource::File(PathBuf::from("/etc/p/conf.d/token"));
    assert_eq!(other.http.authorization.as_ref().unwrap().credentials, Some(token));
    let watched = ["/etc/p/prometheus.yml", "/etc/p/conf.d", "/etc/p/conf.d/a.yml", "/etc/p/conf.d/b.yml", "/etc/p/none"];
    assert_eq!(config.files(), watched.map(PathBuf::from));

    let alone = load(&[]);
    assert_ne!(alone.hash(), config.hash());
    assert_eq!(alone.text_hash(), config.text_hash());
    assert_eq!(alone.text_hash(), &kvass_config::hash_of_text(main).unwrap());
}

#[test]
fn the_self_monitor_job_of_a_user_is_told() {
    let config = load("scrape_configs: [{job_name: prometheus_shards}]", V2);
    assert_eq!(config.warnings(), ["job prometheus_shards is the user's: shards get no self-monitor job of that name"]);
}
