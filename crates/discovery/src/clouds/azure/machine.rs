use std::{collections::BTreeMap, sync::Arc};

use kvass_config::AzureSdConfig;
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::resource::Resource;
use crate::{
    refresh::RefreshError,
    text::{host_port, set_all},
};

const PREFIX: &str = "__meta_azure_";

/// A virtual machine, by itself or in a scale set.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Machine {
    id: String,
    name: String,
    location: String,
    /// Within its scale set.
    instance_id: String,
    tags: BTreeMap<String, String>,
    properties: Properties,
    #[serde(skip)]
    scale_set: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    storage_profile: StorageProfile,
    network_profile: NetworkProfile,
    os_profile: OsProfile,
    hardware_profile: HardwareProfile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StorageProfile {
    os_disk: OsDisk,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OsDisk {
    os_type: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NetworkProfile {
    network_interfaces: Vec<Named>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OsProfile {
    computer_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HardwareProfile {
    vm_size: String,
}

/// A network interface.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Interface {
    properties: Option<InterfaceProperties>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct InterfaceProperties {
    /// Absent while the machine is deallocated.
    primary: Option<bool>,
    ip_configurations: Vec<IpConfiguration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct IpConfiguration {
    properties: IpProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct IpProperties {
    #[serde(rename = "privateIPAddress")]
    private_ip_address: Option<String>,
    #[serde(rename = "publicIPAddress")]
    public_ip_address: PublicIp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PublicIp {
    properties: PublicIpProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PublicIpProperties {
    ip_address: String,
}

/// What became of a machine.
#[derive(Debug)]
pub(super) enum Outcome {
    Target(Labels),
    /// It is none, and why.
    Passed(&'static str),
    /// The interface of this ID has to be known first.
    Open(String),
}

impl Machine {
    pub(super) fn in_set(self, name: &str) -> Self {
        Machine { scale_set: name.to_owned(), ..self }
    }

    /// The scale set and the machine's ID in it.
    pub(super) fn set(&self) -> Option<(&str, &str)> {
        (!self.scale_set.is_empty()).then_some((&self.scale_set, &self.instance_id))
    }

    /// `interface` answers the interface of an ID, or that there is none, as far as it is known.
    pub(super) fn outcome(
        &self,
        config: &AzureSdConfig,
        interface: impl Fn(&str) -> Option<Option<Arc<Interface>>>,
    ) -> Result<Outcome, RefreshError> {
        let place = Resource::parse(&self.id)?;
        let profile = &self.properties;
        for Named { id } in &profile.network_profile.network_interfaces {
            let found = match interface(id) {
                Some(Some(found)) => found,
                Some(None) => return Ok(Outcome::Passed("its network interface does not exist")),
                None => return Ok(Outcome::Open(id.clone())),
            };
            let Some(properties) = &found.properties else { continue };
            match properties.primary {
                None => return Ok(Outcome::Passed("it is deallocated")),
                Some(false) => continue,
                Some(true) => {}
            }
            // The first decides; one without a private address would leave a gap in the list.
            let Some(first) = properties.ip_configurations.first() else { continue };
            let Some(private) = &first.properties.private_ip_address else {
                return Err(RefreshError::Other(format!("machine {:?} has no private IP", self.name)));
            };
            let mut labels = LabelsBuilder::new();
            labels.set(ADDRESS_LABEL, &host_port(private, config.api.port));
            for (name, value) in [
                ("machine_computer_name", profile.os_profile.computer_name.as_str()),
                ("machine_id", &self.id),
                ("machine_location", &self.location),
                ("machine_name", &self.name),
                ("machine_os_type", &profile.storage_profile.os_disk.os_type),
                ("machine_private_ip", private),
                ("machine_public_ip", &first.properties.public_ip_address.properties.ip_address),
                ("machine_resource_group", place.group),
                ("machine_scale_set", &self.scale_set),
                ("machine_size", &profile.hardware_profile.vm_size),
                ("subscription_id", &config.subscription_id),
                ("tenant_id", &config.tenant_id),
            ] {
                labels.set(&format!("{PREFIX}{name}"), value);
            }
            set_all(&mut labels, &format!("{PREFIX}machine_tag_"), &self.tags);
            return Ok(Outcome::Target(labels.build()));
        }
        Ok(Outcome::Passed("it has no primary network interface"))
    }
}
