use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::{
    account::{Account, Service},
    credentials::Credentials,
};
use crate::{
    refresh::RefreshError,
    text::{host_port, sanitised, wrapped_if_any},
};

const PREFIX: &str = "__meta_lightsail_";

/// Only the first page is asked for, as in Prometheus.
pub(super) async fn targets(account: &Account, credentials: &Credentials, port: i64) -> Result<Vec<Labels>, RefreshError> {
    let target = "Lightsail_20161128.GetInstances";
    let page: Page = account.json(Service::Lightsail, credentials, target, &serde_json::json!({})).await?;
    Ok(page.instances.iter().filter_map(|instance| instance.target(&account.region, port)).collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    instances: Vec<Instance>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Instance {
    private_ip_address: Option<String>,
    public_ip_address: String,
    ipv6_addresses: Vec<String>,
    location: Location,
    blueprint_id: String,
    bundle_id: String,
    name: String,
    state: State,
    support_code: String,
    tags: Vec<Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Location {
    availability_zone: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tag {
    key: Option<String>,
    value: String,
}

impl Instance {
    fn target(&self, region: &str, port: i64) -> Option<Labels> {
        let private = self.private_ip_address.as_deref()?;
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(private, port));
        for (name, value) in [
            ("availability_zone", self.location.availability_zone.as_str()),
            ("blueprint_id", &self.blueprint_id),
            ("bundle_id", &self.bundle_id),
            ("instance_name", &self.name),
            ("instance_state", &self.state.name),
            ("instance_support_code", &self.support_code),
            ("ipv6_addresses", &wrapped_if_any(&self.ipv6_addresses, ",")),
            ("private_ip", private),
            ("public_ip", &self.public_ip_address),
            ("region", region),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        for Tag { key, value } in &self.tags {
            if let Some(name) = key {
                labels.set(&format!("{PREFIX}tag_{}", sanitised(name)), value);
            }
        }
        Some(labels.build())
    }
}
