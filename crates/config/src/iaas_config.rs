//! Typed views of the discovery sections of clouds that let one in by their own ways.

use std::time::Duration;

use crate::{CloudApi, Secret, TlsConfig};

/// Targets from Google Compute Engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GceSdConfig {
    /// Project, by its ID.
    pub project: String,
    /// Zone of the instances.
    pub zone: String,
    /// Expression on the instances.
    pub filter: String,
    /// Between and around the tags of a target.
    pub tag_separator: String,
    /// Port of every target.
    pub port: i64,
    /// Rhythm of asking; never zero.
    pub refresh_interval: Duration,
}

/// Targets from Azure.
#[derive(Clone, Debug, PartialEq)]
pub struct AzureSdConfig {
    /// Name of the cloud, such as `AzurePublicCloud`.
    pub environment: String,
    /// Subscription whose machines are listed.
    pub subscription_id: String,
    /// Resource group, empty for all.
    pub resource_group: String,
    /// Tenant that signs in.
    pub tenant_id: String,
    /// Application, or managed identity, that signs in.
    pub client_id: String,
    /// Secret of the application.
    pub client_secret: Option<Secret>,
    /// How one signs in.
    pub authentication: AzureAuthentication,
    /// How it is asked.
    pub api: CloudApi,
}

/// How one signs in to Azure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureAuthentication {
    /// With the secret of an application.
    OAuth,
    /// As the identity that Azure gave to the machine.
    ManagedIdentity,
    /// With a token of the Kubernetes cluster.
    WorkloadIdentity,
    /// With whatever of these the environment offers.
    Sdk,
}

/// Targets from OVHcloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OvhCloudSdConfig {
    /// Name of the API, such as `ovh-eu`, or its URL.
    pub endpoint: String,
    /// Key of the application.
    pub application_key: String,
    /// Secret of the application.
    pub application_secret: Secret,
    /// Key of the account that uses it.
    pub consumer_key: Secret,
    /// What is listed.
    pub service: OvhService,
    /// Rhythm of asking; never zero.
    pub refresh_interval: Duration,
}

/// What an OVHcloud discovery lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OvhService {
    /// Dedicated servers.
    DedicatedServer,
    /// Virtual private servers.
    Vps,
}

/// Targets from OpenStack.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenStackSdConfig {
    /// What is listed.
    pub role: OpenStackRole,
    /// Who signs in, and where.
    pub identity: OpenStackIdentity,
    /// Region of the services.
    pub region: String,
    /// Which of a service's endpoints: `public`, `internal` or `admin`.
    pub availability: String,
    /// The instances of all projects.
    pub all_tenants: bool,
    /// Port of instances and hypervisors.
    pub port: i64,
    /// Rhythm of asking, and the client's timeout; never zero.
    pub refresh_interval: Duration,
    /// TLS towards all services.
    pub tls: TlsConfig,
}

/// What signs in to OpenStack. All of it comes from the environment when there is no endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenStackIdentity {
    /// URL of the identity service.
    pub endpoint: String,
    /// User, by name.
    pub username: String,
    /// User, by ID.
    pub user_id: String,
    /// Of the user.
    pub password: Option<Secret>,
    /// Project, by name.
    pub project_name: String,
    /// Project, by ID.
    pub project_id: String,
    /// Domain of user and project, by name.
    pub domain_name: String,
    /// Domain of user and project, by ID.
    pub domain_id: String,
    /// Application credential, by name.
    pub application_credential_name: String,
    /// Application credential, by ID.
    pub application_credential_id: String,
    /// Secret of the application credential.
    pub application_credential_secret: Option<Secret>,
}

/// What an OpenStack discovery lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenStackRole {
    /// Virtual machines.
    Instance,
    /// Hosts of virtual machines.
    Hypervisor,
    /// Load balancers that show metrics.
    LoadBalancer,
}
