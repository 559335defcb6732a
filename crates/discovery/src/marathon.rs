//! Targets from the applications of Marathon.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::http::header::AUTHORIZATION;
use kvass_config::MarathonSdConfig;
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder, TargetGroup};
use serde::Deserialize;

use crate::{
    api::{Api, masked},
    feed::Feed,
    manager::DiscoveryOptions,
    refresh::{self, Findings, Mechanism, RefreshError},
    text::{host_port, set_all},
};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Lists the applications of a `marathon_sd_configs` entry in its rhythm, for ever.
pub(crate) async fn run(config: MarathonSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let servers: Vec<String> = config.servers.iter().map(|server| masked(server)).collect();
    let name = format!("marathon_sd_configs: {}", servers.join(", "));
    let interval = config.refresh_interval;
    let set_up = move || Marathon::new(&config, &options);
    refresh::run(name, interval, set_up, feed).await;
}

struct Marathon {
    servers: Vec<Api>,
    /// Which of them is asked next.
    next: usize,
}

impl Marathon {
    fn new(config: &MarathonSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let api = |server: &String| {
            let api = Api::new(server, &config.http, TIMEOUT, options)?;
            Ok(match &config.auth_token {
                Some(token) => api.with_token(AUTHORIZATION, "token=", token.clone()),
                None => api,
            })
        };
        Ok(Marathon { servers: config.servers.iter().map(api).collect::<Result<_, RefreshError>>()?, next: 0 })
    }
}

impl Mechanism for Marathon {
    /// Asks one server, and the next one the next time: each of them knows everything.
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let server = &self.servers[self.next % self.servers.len()];
        self.next = self.next.wrapping_add(1);
        let apps: Apps = server.object("/v2/apps/?embed=apps.tasks").await?;
        Ok(apps.apps.into_iter().map(group).collect::<Vec<_>>().into())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Apps {
    apps: Vec<App>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct App {
    id: String,
    tasks: Vec<AppTask>,
    labels: BTreeMap<String, String>,
    container: Container,
    port_definitions: Vec<PortDefinition>,
    networks: Vec<Network>,
    require_ports: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AppTask {
    id: String,
    host: String,
    ports: Vec<u32>,
    ip_addresses: Vec<IpAddress>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct IpAddress {
    ip_address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    docker: DockerContainer,
    port_mappings: Vec<PortMapping>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerContainer {
    image: String,
    port_mappings: Vec<PortMapping>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PortMapping {
    labels: BTreeMap<String, String>,
    container_port: u32,
    host_port: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PortDefinition {
    labels: BTreeMap<String, String>,
    port: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    mode: String,
}

fn group(app: App) -> TargetGroup {
    let mut labels = LabelsBuilder::new();
    labels.set("__meta_marathon_app", &app.id);
    labels.set("__meta_marathon_image", &app.container.docker.image);
    set_all(&mut labels, "__meta_marathon_app_label_", &app.labels);
    TargetGroup { targets: targets(&app), labels: labels.build(), source: app.id }
}

/// What an application says of its ports: the number, 0 where the task knows better, and their labels.
type Ports<'a> = Vec<(u32, &'a BTreeMap<String, String>)>;

fn targets(app: &App) -> Vec<Labels> {
    let on_container_network = app.networks.first().is_some_and(|network| network.mode == "container");
    let (prefix, declared) = ports(app, on_container_network);
    let none = BTreeMap::new();
    let mut first_ports: &[u32] = &[];
    let mut targets = Vec::new();
    for task in &app.tasks {
        // Where the application declares none, all tasks are taken to have those of the first task that has any.
        if first_ports.is_empty() {
            first_ports = &task.ports;
        }
        let ports: Ports<'_> = match declared.is_empty() {
            true => first_ports.iter().map(|port| (*port, &none)).collect(),
            false => declared.clone(),
        };
        let same_number = task.ports.len() == ports.len();
        for (index, (port, port_labels)) in ports.into_iter().enumerate() {
            let port = if port == 0 && same_number { task.ports[index] } else { port };
            let host = match task.ip_addresses.first() {
                Some(address) if on_container_network => &address.ip_address,
                _ => &task.host,
            };
            let mut labels = LabelsBuilder::new();
            labels.set(ADDRESS_LABEL, &host_port(host, port));
            labels.set("__meta_marathon_port_index", &index.to_string());
            labels.set("__meta_marathon_task", &task.id);
            set_all(&mut labels, prefix, port_labels);
            targets.push(labels.build());
        }
    }
    targets
}

/// The prefix of port labels and the ports, from the first place that has any.
fn ports(app: &App, on_container_network: bool) -> (&'static str, Ports<'_>) {
    const MAPPING: &str = "__meta_marathon_port_mapping_label_";
    let mapping = |mapping: &'_ PortMapping| if on_container_network { mapping.container_port } else { mapping.host_port };
    let mapped = [&app.container.port_mappings, &app.container.docker.port_mappings].into_iter().find(|list| !list.is_empty());
    match mapped {
        Some(mappings) => (MAPPING, mappings.iter().map(|m| (mapping(m), &m.labels)).collect()),
        None => {
            // A port that is not required is only a wish.
            let port = |definition: &PortDefinition| if app.require_ports { definition.port } else { 0 };
            ("__meta_marathon_port_definition_label_", app.port_definitions.iter().map(|d| (port(d), &d.labels)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(app: &str) -> Vec<String> {
        let group = group(serde_json::from_str(app).unwrap());
        let show = |labels: &Labels| {
            let rest = labels.iter().filter(|(name, _)| name.contains("_label_") || name.ends_with("index"));
            let rest: Vec<String> = rest.map(|(n, v)| format!("{}={v}", n.trim_start_matches("__meta_marathon_"))).collect();
            format!("{} {}", labels.address(), rest.join(" "))
        };
        group.targets.iter().map(show).collect()
    }

    #[test]
    fn where_ports_come_from() {
        for (app, expected) in [
            (r#"{"tasks": []}"#, &[] as &[_]),
            (r#"{"tasks": [{"host": "h"}]}"#, &[]),
            (r#"{"tasks": [{"host": "h", "ports": [1, 2]}]}"#, &["h:1 port_index=0", "h:2 port_index=1"]),
            // The second task is taken to have the ports of the first, as in Prometheus.
            (
                r#"{"tasks": [{"host": "h", "ports": [1]}, {"host": "i", "ports": [2]}, {"host": "j"}]}"#,
                &["h:1 port_index=0", "i:1 port_index=0", "j:1 port_index=0"],
            ),
            (
                r#"{"tasks": [{"host": "h", "ports": [7, 8]}], "requirePorts": true, "portDefinitions": [{"port": 5, "labels": {"a-b": "c"}}, {"port": 0}]}"#,
                &["h:5 port_definition_label_a_b=c port_index=0", "h:8 port_index=1"],
            ),
            (
                r#"{"tasks": [{"host": "h", "ports": [7]}], "portDefinitions": [{"port": 5}, {"port": 6}]}"#,
                &["h:0 port_index=0", "h:0 port_index=1"],
            ),
            (
                r#"{"tasks": [{"host": "h", "ports": [7], "ipAddresses": [{"ipAddress": "fd00::1"}]}], "networks": [{"mode": "container", "name": "n"}],
                    "container": {"portMappings": [{"containerPort": 80, "hostPort": 9, "labels": {"x": "y"}}]}, "portDefinitions": [{"port": 1}]}"#,
                &["[fd00::1]:80 port_index=0 port_mapping_label_x=y"],
            ),
            (
                r#"{"tasks": [{"host": "h", "ports": [7], "ipAddresses": [{"ipAddress": "fd00::1"}]}], "networks": [{"mode": "container/bridge"}],
                    "container": {"docker": {"portMappings": [{"containerPort": 80, "hostPort": 0}]}}}"#,
                &["h:7 port_index=0"],
            ),
        ] {
            assert_eq!(found(app), expected, "{app}");
        }
    }
}
