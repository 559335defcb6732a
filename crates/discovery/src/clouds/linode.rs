use std::collections::HashMap;

use ::http::HeaderName;
use kvass_config::LinodeSdConfig;
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{api, endless, group};
use crate::{
    api::{Api, MOST_PAGES},
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
    text::{host_port, wrapped_if_any},
};

const BASE: &str = "https://api.linode.com";
const PREFIX: &str = "__meta_linode_";
const FILTER_HEADER: HeaderName = HeaderName::from_static("x-filter");

pub(super) struct Linode {
    api: Api,
    config: LinodeSdConfig,
}

impl Linode {
    pub(super) fn new(config: &LinodeSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let mut api = api(BASE, &config.api, options)?;
        if !config.region.is_empty() {
            api = api.with_header(FILTER_HEADER, &json!({ "region": config.region }).to_string())?;
        }
        Ok(Linode { api, config: config.clone() })
    }

    async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, RefreshError> {
        let mut all = Vec::new();
        for number in 1..=MOST_PAGES {
            let page: Page<T> = self.api.object(&format!("{path}?page={number}&page_size=500")).await?;
            all.extend(page.data);
            if number >= page.pages {
                return Ok(all);
            }
        }
        Err(endless(path))
    }
}

impl Mechanism for Linode {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let instances: Vec<Instance> = self.list("/v4/linode/instances").await?;
        let addresses: Vec<Address> = self.list("/v4/networking/ips").await?;
        let ranges: Vec<Range> = self.list("/v4/networking/ipv6/ranges").await?;
        let mut by_text: HashMap<&str, Vec<&Address>> = HashMap::new();
        for address in &addresses {
            by_text.entry(&address.address).or_default().push(address);
        }
        let instances = instances.iter().filter(|instance| !instance.ipv4.is_empty());
        Ok(group("Linode", instances.map(|instance| instance.target(&by_text, &ranges, &self.config)).collect()))
    }
}

#[derive(Debug, Deserialize)]
struct Page<T> {
    #[serde(default = "Vec::new")]
    data: Vec<T>,
    #[serde(default)]
    pages: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Instance {
    id: i64,
    label: String,
    image: String,
    region: String,
    #[serde(rename = "type")]
    kind: String,
    status: String,
    group: String,
    tags: Vec<String>,
    ipv4: Vec<String>,
    ipv6: String,
    hypervisor: String,
    specs: Specs,
    backups: Backups,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Specs {
    /// In MiB, as memory and transfer.
    disk: i64,
    memory: i64,
    vcpus: i64,
    gpus: i64,
    transfer: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Backups {
    enabled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    address: String,
    public: bool,
    rdns: String,
}

impl Address {
    /// The name the address leads back to.
    fn name(&self) -> &str {
        if self.rdns == "null" { "" } else { &self.rdns }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Range {
    range: String,
    prefix: i64,
    route_target: String,
}

impl Instance {
    fn target(&self, addresses: &HashMap<&str, Vec<&Address>>, ranges: &[Range], config: &LinodeSdConfig) -> Labels {
        let known = |text: &str| addresses.get(text).into_iter().flatten().copied();
        let nothing = Address::default();
        let (mut public, mut private, mut extra) = (&nothing, &nothing, Vec::new());
        for address in self.ipv4.iter().flat_map(|text| known(text)) {
            let place = if address.public { &mut public } else { &mut private };
            match place.address.is_empty() {
                true => *place = address,
                false => extra.push(address.address.clone()),
            }
        }
        let slaac = self.ipv6.split('/').next().unwrap_or_default();
        let v6 = known(slaac).last().filter(|_| !slaac.is_empty()).unwrap_or(&nothing);
        let v6_name = known(slaac).map(Address::name).rfind(|name| !name.is_empty()).unwrap_or_default();
        let routed = ranges.iter().filter(|range| !slaac.is_empty() && range.route_target == slaac);
        let routed: Vec<String> = routed.map(|range| format!("{}/{}", range.range, range.prefix)).collect();

        let bytes = |mebibytes: i64| (i128::from(mebibytes) << 20).to_string();
        let list = |items: &[String]| wrapped_if_any(items, &config.tag_separator);
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(&public.address, config.api.port));
        for (name, value) in [
            ("backups", if self.backups.enabled { "enabled" } else { "disabled" }),
            ("extra_ips", &list(&extra)),
            ("gpus", &self.specs.gpus.to_string()),
            ("group", &self.group),
            ("hypervisor", &self.hypervisor),
            ("image", &self.image),
            ("instance_id", &self.id.to_string()),
            ("instance_label", &self.label),
            ("ipv6_ranges", &list(&routed)),
            ("private_ipv4", &private.address),
            ("private_ipv4_rdns", private.name()),
            ("public_ipv4", &public.address),
            ("public_ipv4_rdns", public.name()),
            ("public_ipv6", &v6.address),
            ("public_ipv6_rdns", v6_name),
            ("region", &self.region),
            ("specs_disk_bytes", &bytes(self.specs.disk)),
            ("specs_memory_bytes", &bytes(self.specs.memory)),
            ("specs_transfer_bytes", &bytes(self.specs.transfer)),
            ("specs_vcpus", &self.specs.vcpus.to_string()),
            ("status", &self.status),
            ("tags", &list(&self.tags)),
            ("type", &self.kind),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        labels.build()
    }
}
