//! Targets from AWS. Its services are called directly; credentials are found where AWS' own tools find them.

mod account;
mod credentials;
mod ec2;
mod ecs;
mod lightsail;
mod metadata;
mod msk;
mod profile;
mod sign;
mod sts;
mod xml;

use std::collections::BTreeMap;

use kvass_config::{AwsRole, AwsSdConfig};

use self::account::{Account, Service};
use super::{group, web::Web};
use crate::{
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
};

pub(super) struct Aws {
    config: AwsSdConfig,
    account: Account,
    /// Availability zones and their IDs, which are the same in all accounts. `None` until they could be listed once.
    zones: Option<BTreeMap<String, String>>,
}

impl Aws {
    pub(super) fn new(config: &AwsSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let api = &config.access.api;
        let account = Account {
            web: Web::new(&api.http, api.refresh_interval, options)?,
            environment: options.environment.clone(),
            access: config.access.clone(),
            asked: match config.role {
                AwsRole::Ec2 => Service::Ec2,
                AwsRole::Ecs => Service::Ecs,
                AwsRole::Lightsail => Service::Lightsail,
                AwsRole::Msk => Service::Kafka,
            },
            region: String::new(),
            credentials: None,
        };
        Ok(Aws { config: config.clone(), account, zones: None })
    }
}

impl Mechanism for Aws {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let credentials = self.account.prepare().await?;
        let port = self.config.access.api.port;
        let targets = match self.config.role {
            AwsRole::Ec2 => {
                if self.zones.is_none() {
                    // Without the right to list them there are no such labels.
                    self.zones = ec2::zones(&self.account, &credentials).await.ok();
                }
                ec2::targets(&self.account, &credentials, &self.config, self.zones.as_ref()).await
            }
            AwsRole::Ecs => ecs::targets(&self.account, &credentials, &self.config.clusters, port).await,
            AwsRole::Lightsail => lightsail::targets(&self.account, &credentials, port).await,
            AwsRole::Msk => msk::targets(&self.account, &credentials, &self.config.clusters, port).await,
        };
        if targets.as_ref().is_err_and(|error| error.status().is_some_and(|status| status.is_client_error())) {
            self.account.credentials = None;
        }
        Ok(group(&self.account.region, targets?))
    }
}
