use std::collections::BTreeMap;

use kvass_config::DockerSdConfig;
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::network::{Network, canonical, set_network};
use crate::text::{host_port, set_all};

const PREFIX: &str = "__meta_docker_";

/// A container, as `/containers/json` lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Container {
    id: String,
    names: Vec<String>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    ports: Vec<Port>,
    labels: BTreeMap<String, String>,
    host_config: HostConfig,
    network_settings: NetworkSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    #[serde(rename = "IP")]
    ip: String,
    private_port: u16,
    public_port: u16,
    #[serde(rename = "Type")]
    protocol: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    network_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    networks: BTreeMap<String, Endpoint>,
}

/// The place of a container in a network.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: String,
}

impl Endpoint {
    fn address(&self) -> String {
        canonical(if self.ip_address.is_empty() { &self.global_ipv6_address } else { &self.ip_address })
    }
}

/// One target per container, network and TCP port; without such a port one per container and network.
pub(super) fn targets(containers: Vec<Container>, networks: &[Network], config: &DockerSdConfig) -> Vec<Labels> {
    let mut targets = Vec::new();
    for container in &containers {
        let Some(name) = container.names.first() else { continue };
        let mut common = LabelsBuilder::new();
        for (label, value) in [
            ("container_id", &container.id),
            ("container_image", &container.image),
            ("container_image_id", &container.image_id),
            ("container_name", name),
            ("container_network_mode", &container.host_config.network_mode),
        ] {
            common.set(&format!("{PREFIX}{label}"), value);
        }
        set_all(&mut common, &format!("{PREFIX}container_label_"), &container.labels);

        let endpoints = endpoints(container, &containers).values();
        let many = if config.match_first_network { 1 } else { usize::MAX };
        for endpoint in endpoints.take(many) {
            let address = endpoint.address();
            let mut of_network = common.clone();
            of_network.set(&format!("{PREFIX}network_ip"), &address);
            set_network(&mut of_network, PREFIX, networks, &endpoint.network_id);
            let before = targets.len();
            for port in container.ports.iter().filter(|port| port.protocol == "tcp") {
                targets.push(port_target(of_network.clone(), &address, port));
            }
            if targets.len() == before {
                let address = match container.host_config.network_mode.as_str() {
                    "host" => config.host_networking_host.clone(),
                    _ => host_port(&address, config.port),
                };
                of_network.set(ADDRESS_LABEL, &address);
                targets.push(of_network.build());
            }
        }
    }
    targets
}

fn port_target(mut labels: LabelsBuilder, address: &str, port: &Port) -> Labels {
    labels.set(&format!("{PREFIX}port_private"), &port.private_port.to_string());
    if port.public_port > 0 {
        labels.set(&format!("{PREFIX}port_public"), &port.public_port.to_string());
        labels.set(&format!("{PREFIX}port_public_ip"), &canonical(&port.ip));
    }
    labels.set(ADDRESS_LABEL, &host_port(address, port.private_port));
    labels.build()
}

/// The networks of a container by name. One in the network of another container has none of its own.
fn endpoints<'a>(container: &'a Container, all: &'a [Container]) -> &'a BTreeMap<String, Endpoint> {
    let mut owner = container;
    // A chain of containers cannot be longer than there are containers, unless it is a ring.
    for _ in 0..all.len() {
        if !owner.network_settings.networks.is_empty() {
            break;
        }
        let Some(id) = owner.host_config.network_mode.strip_prefix("container:") else { break };
        let Some(next) = all.iter().find(|other| other.id == id) else { break };
        owner = next;
    }
    &owner.network_settings.networks
}

#[cfg(test)]
mod tests {
    use kvass_config::{DockerDaemon, HttpClientConfig};

    use super::*;

    fn config(match_first_network: bool) -> DockerSdConfig {
        let daemon = DockerDaemon {
            host: String::new(),
            filters: Vec::new(),
            refresh_interval: std::time::Duration::from_secs(60),
            http: HttpClientConfig::default(),
        };
        DockerSdConfig { daemon, port: 80, host_networking_host: "myhost".to_owned(), match_first_network }
    }

    fn addresses(json: &str, match_first_network: bool) -> Vec<String> {
        let targets = targets(serde_json::from_str(json).unwrap(), &[], &config(match_first_network));
        targets.iter().map(|target| target.address().to_owned()).collect()
    }

    #[test]
    fn ports_and_networks() {
        let networks =
            r#""NetworkSettings": {"Networks": {"b": {"IPAddress": "10.0.1.2"}, "a": {"GlobalIPv6Address": "fd00:0::2"}}}"#;
        let tcp = r#""Ports": [{"PrivatePort": 53, "Type": "udp"}, {"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 81, "Type": "tcp"}]"#;
        let udp = r#""Ports": [{"PrivatePort": 53, "Type": "udp"}]"#;
        for (ports, first, expected) in [
            (tcp, true, &["[fd00::2]:80", "[fd00::2]:81"] as &[_]),
            (tcp, false, &["[fd00::2]:80", "[fd00::2]:81", "10.0.1.2:80", "10.0.1.2:81"]),
            (udp, false, &["[fd00::2]:80", "10.0.1.2:80"]),
        ] {
            let json = format!(r#"[{{"Id": "1", "Names": ["/x"], {ports}, {networks}}}, {{"Id": "2", "Names": []}}]"#);
            assert_eq!(addresses(&json, first), expected, "{ports}");
        }
    }

    #[test]
    fn borrowed_networks_and_the_hosts() {
        let container = |id: &str, mode: &str, networks: &str| {
            format!(
                r#"{{"Id": "{id}", "Names": ["/{id}"], "HostConfig": {{"NetworkMode": "{mode}"}}, "NetworkSettings": {{"Networks": {networks}}}}}"#
            )
        };
        let json = [
            container("a", "container:b", "{}"),
            container("b", "container:c", "{}"),
            container("c", "bridge", r#"{"bridge": {"IPAddress": "10.0.0.3"}}"#),
            container("d", "container:gone", "{}"),
            container("e", "container:f", "{}"),
            container("f", "container:e", "{}"),
            container("g", "host", r#"{"host": {"IPAddress": ""}}"#),
        ];
        let expected = ["10.0.0.3:80", "10.0.0.3:80", "10.0.0.3:80", "myhost"];
        assert_eq!(addresses(&format!("[{}]", json.join(",")), true), expected);
    }

    #[test]
    fn all_labels() {
        let container = r#"[{"Id": "c1", "Names": ["/web", "/alias"], "Image": "nginx:1", "ImageID": "sha256:1",
            "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
            "Labels": {"com.docker.x-y": "z"}, "HostConfig": {"NetworkMode": "front"},
            "NetworkSettings": {"Networks": {"front": {"NetworkID": "n1", "IPAddress": "10.0.0.2"}}}}]"#;
        let networks =
            r#"[{"Id": "n1", "Name": "front", "Scope": "local", "Internal": false, "Ingress": true, "Labels": {"a.b": "c"}}]"#;
        let networks: Vec<Network> = serde_json::from_str(networks).unwrap();
        let expected = Labels::from([
            ("__address__", "10.0.0.2:80"),
            ("__meta_docker_container_id", "c1"),
            ("__meta_docker_container_image", "nginx:1"),
            ("__meta_docker_container_image_id", "sha256:1"),
            ("__meta_docker_container_label_com_docker_x_y", "z"),
            ("__meta_docker_container_name", "/web"),
            ("__meta_docker_container_network_mode", "front"),
            ("__meta_docker_network_id", "n1"),
            ("__meta_docker_network_ingress", "true"),
            ("__meta_docker_network_internal", "false"),
            ("__meta_docker_network_ip", "10.0.0.2"),
            ("__meta_docker_network_label_a_b", "c"),
            ("__meta_docker_network_name", "front"),
            ("__meta_docker_network_scope", "local"),
            ("__meta_docker_port_private", "80"),
            ("__meta_docker_port_public", "8080"),
            ("__meta_docker_port_public_ip", "0.0.0.0"),
        ]);
        assert_eq!(targets(serde_json::from_str(container).unwrap(), &networks, &config(true)), [expected]);
    }
}
