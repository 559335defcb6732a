use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ::http::StatusCode;
use jiff::Timestamp;
use kvass_config::{OvhCloudSdConfig, OvhService};
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder, TargetGroup};
use ring::digest;
use serde::{Deserialize, de::DeserializeOwned};

use super::web::{Message, Web};
use crate::{
    api::wrap,
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
    text::path_segment,
};

const ENDPOINTS: [(&str, &str); 7] = [
    ("ovh-eu", "https://eu.api.ovh.com/1.0"),
    ("ovh-ca", "https://ca.api.ovh.com/1.0"),
    ("ovh-us", "https://api.us.ovhcloud.com/1.0"),
    ("kimsufi-eu", "https://eu.api.kimsufi.com/1.0"),
    ("kimsufi-ca", "https://ca.api.kimsufi.com/1.0"),
    ("soyoustart-eu", "https://eu.api.soyoustart.com/1.0"),
    ("soyoustart-ca", "https://ca.api.soyoustart.com/1.0"),
];
const PREFIX: &str = "__meta_ovhcloud_";

pub(super) struct OvhCloud {
    config: OvhCloudSdConfig,
    base: String,
    web: Web,
}

impl OvhCloud {
    pub(super) fn new(config: &OvhCloudSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let named = ENDPOINTS.iter().find(|(name, _)| *name == config.endpoint).map(|(_, url)| (*url).to_owned());
        let base = named.or_else(|| config.endpoint.contains('/').then(|| config.endpoint.clone())).ok_or_else(|| {
            let names = ENDPOINTS.map(|(name, _)| name).join(", ");
            RefreshError::Other(format!("endpoint {:?}: expected a URL or one of {names}", config.endpoint))
        })?;
        let web = Web::new(options.environment.http(), config.refresh_interval, options)?;
        Ok(OvhCloud { config: config.clone(), base, web })
    }

    /// Seconds by which the server's clock is ahead of ours.
    async fn ahead(&self) -> Result<i64, RefreshError> {
        let reply = self.web.send(Message::get(format!("{}/auth/time", self.base))).await?;
        let theirs: i64 = reply.success().and_then(|reply| reply.json()).map_err(|error| wrap("GET", "/auth/time", error))?;
        Ok(theirs - Timestamp::now().as_second())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, ahead: i64) -> Result<T, RefreshError> {
        let url = format!("{}{path}", self.base);
        let time = (Timestamp::now().as_second() + ahead).to_string();
        let (secret, consumer) = (self.config.application_secret.reveal(), self.config.consumer_key.reveal());
        let message = Message::get(&url)
            .with_text("x-ovh-application", &self.config.application_key)?
            .with_text("x-ovh-timestamp", &time)?
            .with_secret("x-ovh-consumer", consumer)?
            .with_secret("x-ovh-signature", &signature(secret, consumer, &url, &time))?;
        let reply = self.web.send(message).await?;
        reply.success().and_then(|reply| reply.json()).map_err(|error| wrap("GET", &url, error))
    }

    /// The targets of all servers, `target` being told of each.
    async fn servers<T: DeserializeOwned>(
        &self,
        kind: &str,
        path: &str,
        target: fn(&T, &Addresses) -> Labels,
    ) -> Result<Findings, RefreshError> {
        let ahead = self.ahead().await?;
        let names: Vec<String> = self.get(path, ahead).await?;
        let (mut findings, mut refusal) = (Findings::default(), None);
        for name in names {
            let source = format!("{kind}/{name}");
            match self.server(&format!("{path}/{}", path_segment(&name)), ahead).await {
                Ok((server, Some(addresses))) => {
                    let targets = vec![target(&server, &addresses)];
                    findings.groups.push(TargetGroup { source, targets, labels: Labels::default() });
                }
                Ok((_, None)) => tracing::warn!(name, "a server of OVHcloud has no address and is no target"),
                // It is listed, but expired or not granted, say. That has nothing to do with the others.
                Err(error) if error.status().is_some_and(is_final) => {
                    tracing::warn!(name, %error, "a server of OVHcloud cannot be read and is no target");
                    refusal.get_or_insert(error);
                }
                Err(error) if error.status().is_some_and(|status| status.is_server_error()) => {
                    findings.failed.push((source, error));
                }
                Err(error) => return Err(error),
            }
        }
        match refusal {
            Some(error) if findings.groups.is_empty() && findings.failed.is_empty() => Err(error),
            _ => Ok(findings),
        }
    }

    /// What is told of one server, and its addresses, if it has any.
    async fn server<T: DeserializeOwned>(&self, path: &str, ahead: i64) -> Result<(T, Option<Addresses>), RefreshError> {
        let server = self.get(path, ahead).await?;
        let ips: Vec<String> = self.get(&format!("{path}/ips"), ahead).await?;
        Ok((server, Addresses::of(&ips)))
    }
}

impl Mechanism for OvhCloud {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        match self.config.service {
            OvhService::DedicatedServer => {
                self.servers("ovhcloud_dedicated_server", "/dedicated/server", Dedicated::target).await
            }
            OvhService::Vps => self.servers("ovhcloud_vps", "/vps", Vps::target).await,
        }
    }
}

/// Whether asking again will not help.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

fn signature(secret: &str, consumer: &str, url: &str, time: &str) -> String {
    let text = format!("{secret}+{consumer}+GET+{url}++{time}");
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("$1${hex}")
}

/// The last address of each kind, empty where there is none.
#[derive(Debug, Default, PartialEq)]
struct Addresses {
    v4: String,
    v6: String,
}

impl Addresses {
    /// `None` if one is no address or none is left. Networks are none, but for those of length 32.
    fn of(ips: &[String]) -> Option<Self> {
        let (mut found, mut any) = (Addresses::default(), false);
        for text in ips {
            let (address, length) = match text.split_once('/') {
                Some((address, length)) => (address, Some(length)),
                None => (text.as_str(), None),
            };
            let ip: IpAddr = address.parse().ok()?;
            let longest = if ip.is_ipv4() { 32 } else { 128 };
            match length.map(|length| length.parse().ok().filter(|length: &u8| *length <= longest)) {
                Some(None) => return None,
                Some(Some(length)) if length != 32 => continue,
                _ if ip == Ipv4Addr::UNSPECIFIED || ip == Ipv6Addr::UNSPECIFIED => continue,
                _ => any = true,
            }
            match ip {
                IpAddr::V4(ip) => found.v4 = ip.to_string(),
                IpAddr::V6(ip) => found.v6 = ip.to_string(),
            }
        }
        any.then_some(found)
    }

    /// Prometheus adds the port.
    fn usual(&self) -> &str {
        if self.v4.is_empty() { &self.v6 } else { &self.v4 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Dedicated {
    state: String,
    commercial_range: String,
    link_speed: i64,
    rack: String,
    no_intervention: bool,
    os: String,
    support_level: String,
    server_id: i64,
    reverse: String,
    datacenter: String,
    name: String,
}

impl Dedicated {
    fn target(&self, addresses: &Addresses) -> Labels {
        labels(
            "dedicated_server_",
            &self.name,
            addresses,
            &[
                ("commercial_range", &self.commercial_range),
                ("datacenter", &self.datacenter),
                ("link_speed", &self.link_speed.to_string()),
                ("no_intervention", &self.no_intervention.to_string()),
                ("os", &self.os),
                ("rack", &self.rack),
                ("reverse", &self.reverse),
                ("server_id", &self.server_id.to_string()),
                ("state", &self.state),
                ("support_level", &self.support_level),
            ],
        )
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Vps {
    zone: String,
    model: Model,
    display_name: String,
    cluster: String,
    state: String,
    name: String,
    netboot_mode: String,
    memory_limit: i64,
    offer_type: String,
    vcore: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Model {
    /// So it is spelt.
    #[serde(rename = "maximumAdditionnalIp")]
    maximum_additional_ip: i64,
    offer: String,
    datacenter: Vec<String>,
    vcore: i64,
    version: String,
    name: String,
    disk: i64,
    memory: i64,
}

impl Vps {
    fn target(&self, addresses: &Addresses) -> Labels {
        let model = &self.model;
        labels(
            "vps_",
            &self.name,
            addresses,
            &[
                ("cluster", &self.cluster),
                ("datacenter", &format!("[{}]", model.datacenter.join(" "))),
                ("disk", &model.disk.to_string()),
                ("display_name", &self.display_name),
                ("maximum_additional_ip", &model.maximum_additional_ip.to_string()),
                ("memory", &model.memory.to_string()),
                ("memory_limit", &self.memory_limit.to_string()),
                ("model_name", &model.name),
                ("model_vcore", &model.vcore.to_string()),
                ("netboot_mode", &self.netboot_mode),
                ("offer", &model.offer),
                ("offer_type", &self.offer_type),
                ("state", &self.state),
                ("vcore", &self.vcore.to_string()),
                ("version", &model.version),
                ("zone", &self.zone),
            ],
        )
    }
}

fn labels(kind: &str, name: &str, addresses: &Addresses, more: &[(&str, &str)]) -> Labels {
    let mut labels = LabelsBuilder::new();
    labels.set(ADDRESS_LABEL, addresses.usual());
    labels.set("instance", name);
    let usual = [("ipv4", addresses.v4.as_str()), ("ipv6", &addresses.v6), ("name", name)];
    for (name, value) in usual.iter().chain(more) {
        labels.set(&format!("{PREFIX}{kind}{name}"), value);
    }
    labels.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let of = |ips: &[&str]| Addresses::of(&ips.iter().map(|ip| (*ip).to_owned()).collect::<Vec<_>>());
        let found = |v4: &str, v6: &str| Some(Addresses { v4: v4.to_owned(), v6: v6.to_owned() });
        assert_eq!(of(&["1.2.3.4/32", "2001:db8::/56", "2001:0db8::1"]), found("1.2.3.4", "2001:db8::1"));
        assert_eq!(of(&["1.2.3.4", "5.6.7.8", "9.9.9.0/24"]), found("5.6.7.8", ""));
        for none in [&["2001:db8::/64"][..], &["0.0.0.0"], &["x"], &["1.2.3.4", "x"], &["1.2.3.4/33"], &["1.2.3.4/"], &[]] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }
}
