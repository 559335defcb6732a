//! Targets from OpenStack.

mod hypervisor;
mod identity;
mod instance;
mod loadbalancer;
mod session;

use kvass_config::{HttpClientConfig, OpenStackRole, OpenStackSdConfig};

use self::identity::Identity;
use super::{group, web::Web};
use crate::{
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
};

const PREFIX: &str = "__meta_openstack_";

pub(super) struct OpenStack {
    config: OpenStackSdConfig,
    identity: Identity,
    web: Web,
}

impl OpenStack {
    pub(super) fn new(config: &OpenStackSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let http = HttpClientConfig { tls: config.tls.clone(), enable_http2: false, ..HttpClientConfig::default() };
        Ok(OpenStack {
            identity: Identity::new(&config.identity, &options.environment)?,
            web: Web::new(&http, config.refresh_interval, options)?,
            config: config.clone(),
        })
    }
}

impl Mechanism for OpenStack {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let config = &self.config;
        let signed_in = self.identity.sign_in(&self.web, &config.region, &config.availability).await;
        let session = signed_in.map_err(|error| RefreshError::Other(format!("cannot sign in to OpenStack: {error}")))?;
        let targets = match config.role {
            OpenStackRole::Instance => instance::targets(&session, config).await?,
            OpenStackRole::Hypervisor => hypervisor::targets(&session, config.port).await?,
            OpenStackRole::LoadBalancer => loadbalancer::targets(&session).await?,
        };
        Ok(group(&format!("OS_{}", config.region), targets))
    }
}
