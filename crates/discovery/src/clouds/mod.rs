//! Targets from the servers of cloud providers.

mod aws;
mod azure;
mod digitalocean;
mod gce;
mod hetzner;
mod ionos;
mod linode;
mod openstack;
mod ovhcloud;
mod scaleway;
mod vultr;
mod web;

use std::sync::Arc;

use kvass_config::{
    AwsRole, AwsSdConfig, AzureSdConfig, CloudApi, DigitalOceanSdConfig, GceSdConfig, HetznerSdConfig, IonosSdConfig,
    LinodeSdConfig, OpenStackSdConfig, OvhCloudSdConfig, ScalewaySdConfig, VultrSdConfig,
};
use kvass_model::{Labels, TargetGroup};

use crate::{
    api::{Api, MOST_PAGES, masked},
    feed::Feed,
    manager::DiscoveryOptions,
    refresh::{self, Findings, RefreshError},
};

/// Lists what a `digitalocean_sd_configs` entry asks for in its rhythm, for ever.
pub(crate) async fn run_digitalocean(config: DigitalOceanSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let interval = config.api.refresh_interval;
    let set_up = move || digitalocean::DigitalOcean::new(&config, &options);
    refresh::run("digitalocean_sd_configs".to_owned(), interval, set_up, feed).await;
}

/// Lists what a `hetzner_sd_configs` entry asks for in its rhythm, for ever.
pub(crate) async fn run_hetzner(config: HetznerSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let interval = config.api.refresh_interval;
    let set_up = move || hetzner::Hetzner::new(&config, &options);
    refresh::run("hetzner_sd_configs".to_owned(), interval, set_up, feed).await;
}

/// Lists what a `linode_sd_configs` entry asks for in its rhythm, for ever.
pub(crate) async fn run_linode(config: LinodeSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let interval = config.api.refresh_interval;
    let set_up = move || linode::Linode::new(&config, &options);
    refresh::run("linode_sd_configs".to_owned(), interval, set_up, feed).await;
}

/// Lists the instances of a `vultr_sd_configs` entry in its rhythm, for ever.
pub(crate) async fn run_vultr(config: VultrSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let interval = config.api.refresh_interval;
    let set_up = move || vultr::Vultr::new(&config, &options);
    refresh::run("vultr_sd_configs".to_owned(), interval, set_up, feed).await;
}

/// Lists what a `scaleway_sd_configs` entry asks for in its rhythm, for ever.
pub(crate) async fn run_scaleway(config: ScalewaySdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let name = format!("scaleway_sd_configs: {}", masked(&config.api_url));
    let interval = config.api.refresh_interval;
    let set_up = move || scaleway::Scaleway::new(&config, &options);
    refresh::run(name, interval, set_up, feed).await;
}

/// Lists what a section of AWS asks for in its rhythm, for ever.
pub(crate) async fn run_aws(config: AwsSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let name = match config.role {
        AwsRole::Ec2 => "ec2_sd_configs",
        AwsRole::Ecs => "ecs_sd_configs",
        AwsRole::Lightsail => "lightsail_sd_configs",
        AwsRole::Msk => "msk_sd_configs",
    };
    let interval = config.access.api.refresh_interval;
    let set_up = move || aws::Aws::new(&config, &options);
    refresh::run(name.to_owned(), interval, set_up, feed).await;
}

/// Lists the instances of a `gce_sd_configs` entry in its rhythm, for ever.
pub(crate) async fn run_gce(config: GceSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let interval = config.refresh_interval;
    let set_up = move || gce::Gce::new(&config, &options);
    refresh::run("gce_sd_configs".to_owned(), interval, set_up, feed).await;
}

/// Lists the machines of an `azure_sd_configs` entry in its rhythm, for ever.
pub(crate) async fn run_azure(config: AzureSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let interval = config.api.refresh_interval;
    let set_up = move || azure::Azure::new(&config, &options);
    refresh::run("azure_sd_configs".to_owned(), interval, set_up, feed).await;
}

/// Lists what an `openstack_sd_configs` entry asks for in its rhythm, for ever.
pub(crate) async fn run_openstack(config: OpenStackSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let interval = config.refresh_interval;
    let set_up = move || openstack::OpenStack::new(&config, &options);
    refresh::run("openstack_sd_configs".to_owned(), interval, set_up, feed).await;
}

/// Lists the servers of an `ovhcloud_sd_configs` entry in its rhythm, for ever.
pub(crate) async fn run_ovhcloud(config: OvhCloudSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let interval = config.refresh_interval;
    let set_up = move || ovhcloud::OvhCloud::new(&config, &options);
    refresh::run("ovhcloud_sd_configs".to_owned(), interval, set_up, feed).await;
}

/// Lists the servers of an `ionos_sd_configs` entry in its rhythm, for ever.
pub(crate) async fn run_ionos(config: IonosSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let interval = config.api.refresh_interval;
    let set_up = move || ionos::Ionos::new(&config, &options);
    refresh::run("ionos_sd_configs".to_owned(), interval, set_up, feed).await;
}

fn api(base: &str, config: &CloudApi, options: &DiscoveryOptions) -> Result<Api, RefreshError> {
    Api::new(base, &config.http, config.refresh_interval, options)
}

fn group(source: &str, targets: Vec<Labels>) -> Findings {
    TargetGroup { source: source.to_owned(), targets, labels: Labels::default() }.into()
}

/// The error of a list that never ends.
fn endless(path: &str) -> RefreshError {
    RefreshError::Other(format!("GET {path}: more than {MOST_PAGES} pages"))
}
