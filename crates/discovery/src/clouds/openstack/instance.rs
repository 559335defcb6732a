use std::collections::{BTreeMap, HashMap, HashSet};

use kvass_config::OpenStackSdConfig;
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;
use serde_json::Value;

use super::{PREFIX, session::Session};
use crate::{
    refresh::RefreshError,
    text::{host_port, set_all},
};

pub(super) async fn targets(session: &Session<'_>, config: &OpenStackSdConfig) -> Result<Vec<Labels>, RefreshError> {
    let (compute, network) = (session.endpoint("compute")?, session.endpoint_2("network")?);
    let floating = Floating::new(
        &session.list(&format!("{network}ports"), "ports").await?,
        session.list(&format!("{network}floatingips"), "floatingips").await?,
    );
    let all = if config.all_tenants { "?all_tenants=true" } else { "" };
    let servers: Vec<Server> = session.list(&format!("{compute}servers/detail{all}"), "servers").await?;
    Ok(servers.iter().flat_map(|server| server.targets(&floating, config.port)).collect())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Port {
    id: String,
    device_id: String,
}

/// A public address that leads to a private one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FloatingIp {
    pub(super) port_id: Option<String>,
    fixed_ip_address: Option<String>,
    pub(super) floating_ip_address: String,
}

/// The floating addresses of servers.
#[derive(Debug, Default)]
struct Floating {
    /// By server and private address.
    by_fixed: HashMap<(String, String), String>,
    all: HashSet<String>,
}

impl Floating {
    fn new(ports: &[Port], ips: Vec<FloatingIp>) -> Self {
        let devices: HashMap<&str, &str> = ports.iter().map(|port| (port.id.as_str(), port.device_id.as_str())).collect();
        let mut floating = Floating::default();
        for FloatingIp { port_id, fixed_ip_address, floating_ip_address } in ips {
            let (Some(port), Some(fixed)) = (port_id, fixed_ip_address.filter(|ip| !ip.is_empty())) else { continue };
            let Some(device) = devices.get(port.as_str()) else { continue };
            floating.by_fixed.insert(((*device).to_owned(), fixed), floating_ip_address.clone());
            floating.all.insert(floating_ip_address);
        }
        floating
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    id: String,
    name: String,
    status: String,
    tenant_id: String,
    user_id: String,
    flavor: Value,
    /// An empty text where the server runs from a volume.
    image: Value,
    metadata: BTreeMap<String, String>,
    /// By network.
    addresses: BTreeMap<String, Value>,
}

impl Server {
    /// One per private address.
    fn targets(&self, floating: &Floating, port: i64) -> Vec<Labels> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        // Since version 2.47 there is no ID but a name.
        let Some(flavor) = text(&self.flavor, "original_name").or_else(|| text(&self.flavor, "id")) else { return Vec::new() };
        let mut base = LabelsBuilder::new();
        for (name, value) in [
            ("instance_flavor", &flavor),
            ("instance_id", &self.id),
            ("instance_image", &text(&self.image, "id").unwrap_or_default()),
            ("instance_name", &self.name),
            ("instance_status", &self.status),
            ("project_id", &self.tenant_id),
            ("user_id", &self.user_id),
        ] {
            base.set(&format!("{PREFIX}{name}"), value);
        }
        set_all(&mut base, &format!("{PREFIX}tag_"), &self.metadata);
        let base = base.build();

        let pools =
            self.addresses.iter().flat_map(|(pool, list)| list.as_array().into_iter().flatten().map(move |item| (pool, item)));
        let addresses = pools.filter_map(|(pool, item)| Some((pool, text(item, "addr")?)));
        let private = addresses.filter(|(_, address)| !floating.all.contains(address));
        private
            .map(|(pool, address)| {
                let mut labels = LabelsBuilder::from(&base);
                labels.set(ADDRESS_LABEL, &host_port(&address, port));
                labels.set(&format!("{PREFIX}address_pool"), pool);
                labels.set(&format!("{PREFIX}private_ip"), &address);
                if let Some(public) = floating.by_fixed.get(&(self.id.clone(), address)) {
                    labels.set(&format!("{PREFIX}public_ip"), public);
                }
                labels.build()
            })
            .collect()
    }
}
