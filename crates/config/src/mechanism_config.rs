//! Typed views of the discovery sections that ask a service by a protocol of its own.

use std::time::Duration;

use crate::{HttpClientConfig, Secret, SecretSource};

/// Targets from DNS records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSdConfig {
    /// Names asked for, at least one.
    pub names: Vec<String>,
    /// Kind of record.
    pub record: DnsRecord,
    /// Port of targets whose record has none.
    pub port: i64,
    /// Rhythm of asking; never zero.
    pub refresh_interval: Duration,
}

/// Kinds of DNS records that name targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsRecord {
    /// Host and port.
    Srv,
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Mail server.
    Mx,
    /// Name server.
    Ns,
}

/// Targets from the catalog of a Consul agent.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsulSdConfig {
    /// `host:port`, or a URL with scheme and path prefix.
    pub server: String,
    /// `http` or `https`, unless `server` names one.
    pub scheme: String,
    /// In front of every path.
    pub path_prefix: String,
    /// ACL token.
    pub token: Option<Secret>,
    /// Empty means that of the agent.
    pub datacenter: String,
    /// Consul Enterprise.
    pub namespace: String,
    /// Consul Enterprise.
    pub partition: String,
    /// Between and around the tags of a target.
    pub tag_separator: String,
    /// Let any server answer, not the leader alone.
    pub allow_stale: bool,
    /// Shortest time between two queries of one watch; never zero.
    pub refresh_interval: Duration,
    /// Services to discover; empty means all.
    pub services: Vec<String>,
    /// Tags a service must have, all of them.
    pub tags: Vec<String>,
    /// Metadata a node must have, in key order.
    pub node_meta: Vec<(String, String)>,
    /// Expression on the catalog.
    pub filter: String,
    /// Expression on the instances of a service.
    pub health_filter: String,
    /// How the agent is reached; `username` and `password` are in it.
    pub http: HttpClientConfig,
}

/// Targets from the containers of a Docker daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct DockerSdConfig {
    /// Which daemon, and how it is asked.
    pub daemon: DockerDaemon,
    /// Port of containers that publish none.
    pub port: i64,
    /// Address of containers that use the host's network.
    pub host_networking_host: String,
    /// Only the first network of a container, by name.
    pub match_first_network: bool,
}

/// Targets from a Docker swarm.
#[derive(Clone, Debug, PartialEq)]
pub struct DockerSwarmSdConfig {
    /// Which daemon, and how it is asked.
    pub daemon: DockerDaemon,
    /// What is listed.
    pub role: DockerSwarmRole,
    /// Port of targets that publish none.
    pub port: i64,
}

/// A Docker daemon and the rhythm in which it is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct DockerDaemon {
    /// `unix://`, `tcp://`, `http://` or `https://`.
    pub host: String,
    /// Names and values of filters.
    pub filters: Vec<(String, Vec<String>)>,
    /// Rhythm of asking, and the client's timeout; never zero.
    pub refresh_interval: Duration,
    /// How the daemon is reached over `http://` and `https://`.
    pub http: HttpClientConfig,
}

/// What a Docker swarm discovery lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DockerSwarmRole {
    /// Services.
    Services,
    /// Tasks.
    Tasks,
    /// Nodes.
    Nodes,
}

/// Targets from the services registered in Nomad.
#[derive(Clone, Debug, PartialEq)]
pub struct NomadSdConfig {
    /// URL of the agent.
    pub server: String,
    /// Namespace, `*` for all.
    pub namespace: String,
    /// Region.
    pub region: String,
    /// Let any server answer, not the leader alone.
    pub allow_stale: bool,
    /// Between and around the tags of a target.
    pub tag_separator: String,
    /// Rhythm of asking; never zero.
    pub refresh_interval: Duration,
    /// How the agent is reached.
    pub http: HttpClientConfig,
}

/// Targets from a Eureka registry.
#[derive(Clone, Debug, PartialEq)]
pub struct EurekaSdConfig {
    /// URL of the server, up to `/eureka` or wherever `/apps` follows.
    pub server: String,
    /// Rhythm of asking; never zero.
    pub refresh_interval: Duration,
    /// How the server is reached.
    pub http: HttpClientConfig,
}

/// Targets from the applications of Marathon.
#[derive(Clone, Debug, PartialEq)]
pub struct MarathonSdConfig {
    /// URLs of servers, of which any can answer; at least one.
    pub servers: Vec<String>,
    /// DC/OS token, sent as `Authorization: token=…`.
    pub auth_token: Option<SecretSource>,
    /// Rhythm of asking; never zero.
    pub refresh_interval: Duration,
    /// How the servers are reached.
    pub http: HttpClientConfig,
}

/// Targets from the resources that PuppetDB knows.
#[derive(Clone, Debug, PartialEq)]
pub struct PuppetDbSdConfig {
    /// URL of the server.
    pub url: String,
    /// PQL.
    pub query: String,
    /// Make labels of the resources' parameters.
    pub include_parameters: bool,
    /// Port of every target.
    pub port: i64,
    /// Rhythm of asking, and the client's timeout; never zero.
    pub refresh_interval: Duration,
    /// How the server is reached.
    pub http: HttpClientConfig,
}
