//! Typed views of the discovery sections that ask a cloud provider for its servers.

use std::time::Duration;

use crate::{HttpClientConfig, SecretSource};

/// What all of these sections say.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudApi {
    /// Port of every target.
    pub port: i64,
    /// Rhythm of asking, and the client's timeout; never zero.
    pub refresh_interval: Duration,
    /// How the provider is reached, and with which credentials.
    pub http: HttpClientConfig,
}

/// Targets from DigitalOcean.
#[derive(Clone, Debug, PartialEq)]
pub struct DigitalOceanSdConfig {
    /// What is listed.
    pub role: DigitalOceanRole,
    /// How it is asked.
    pub api: CloudApi,
}

/// What a DigitalOcean discovery lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigitalOceanRole {
    /// Virtual machines.
    Droplets,
    /// Clusters of managed databases.
    Databases,
}

/// Targets from Hetzner.
#[derive(Clone, Debug, PartialEq)]
pub struct HetznerSdConfig {
    /// What is listed.
    pub role: HetznerRole,
    /// Labels a cloud server must have.
    pub label_selector: String,
    /// How it is asked.
    pub api: CloudApi,
}

/// What a Hetzner discovery lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HetznerRole {
    /// Cloud servers.
    Hcloud,
    /// Dedicated servers.
    Robot,
}

/// Targets from Linode.
#[derive(Clone, Debug, PartialEq)]
pub struct LinodeSdConfig {
    /// Region of the instances, empty for all.
    pub region: String,
    /// Between and around the items of lists.
    pub tag_separator: String,
    /// How it is asked.
    pub api: CloudApi,
}

/// Targets from IONOS Cloud.
#[derive(Clone, Debug, PartialEq)]
pub struct IonosSdConfig {
    /// Data centre whose servers are listed.
    pub datacenter_id: String,
    /// How it is asked.
    pub api: CloudApi,
}

/// Targets from Vultr.
#[derive(Clone, Debug, PartialEq)]
pub struct VultrSdConfig {
    /// How it is asked.
    pub api: CloudApi,
}

/// Targets from Scaleway.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalewaySdConfig {
    /// What is listed.
    pub role: ScalewayRole,
    /// URL of the API.
    pub api_url: String,
    /// Zone of the servers, such as `fr-par-1`.
    pub zone: String,
    /// The secret half of the key.
    pub secret_key: SecretSource,
    /// What the name of a server must contain.
    pub name_filter: String,
    /// Tags a server must have.
    pub tags_filter: Vec<String>,
    /// How it is asked.
    pub api: CloudApi,
}

/// What a Scaleway discovery lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalewayRole {
    /// Virtual machines.
    Instance,
    /// Dedicated servers.
    Baremetal,
}
