use std::collections::BTreeMap;

use kvass_config::AwsSdConfig;
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use roxmltree::Node;

use super::{
    account::{Account, Service},
    credentials::Credentials,
    xml,
};
use crate::{
    api::MOST_PAGES,
    clouds::endless,
    refresh::RefreshError,
    text::{host_port, sanitised, wrapped},
};

const VERSION: &str = "2016-11-15";
const PREFIX: &str = "__meta_ec2_";

/// Names of availability zones and the IDs behind them.
pub(super) async fn zones(account: &Account, credentials: &Credentials) -> Result<BTreeMap<String, String>, RefreshError> {
    let body = account.query(Service::Ec2, Some(credentials), "DescribeAvailabilityZones", VERSION, &[]).await?;
    let document = xml::parse(&body)?;
    let zones = xml::items(document.root_element(), "availabilityZoneInfo");
    Ok(zones.filter_map(|zone| Some((xml::text(zone, "zoneName")?.to_owned(), xml::text(zone, "zoneId")?.to_owned()))).collect())
}

pub(super) async fn targets(
    account: &Account,
    credentials: &Credentials,
    config: &AwsSdConfig,
    zones: Option<&BTreeMap<String, String>>,
) -> Result<Vec<Labels>, RefreshError> {
    let mut targets = Vec::new();
    pages(account, credentials, "DescribeInstances", &filters(&config.filters), |root| {
        for reservation in xml::items(root, "reservationSet") {
            let owner = xml::text(reservation, "ownerId");
            let instances = xml::items(reservation, "instancesSet");
            targets.extend(instances.filter_map(|node| target(node, owner, &account.region, config.access.api.port, zones)));
        }
    })
    .await?;
    Ok(targets)
}

/// Shows the root of every page of a list to `read`.
pub(super) async fn pages(
    account: &Account,
    credentials: &Credentials,
    action: &str,
    parameters: &[(String, String)],
    mut read: impl FnMut(Node<'_, '_>) + Send,
) -> Result<(), RefreshError> {
    let mut next = String::new();
    for _ in 0..MOST_PAGES {
        let mut parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if !next.is_empty() {
            parameters.push(("NextToken", &next));
        }
        let body = account.query(Service::Ec2, Some(credentials), action, VERSION, &parameters).await?;
        let document = xml::parse(&body)?;
        let root = document.root_element();
        if root.tag_name().name().strip_suffix("Response") != Some(action) {
            return Err(RefreshError::Body(format!("{action}: the answer is a {:?}", root.tag_name().name())));
        }
        read(root);
        let token = xml::text(root, "nextToken").unwrap_or_default().to_owned();
        // AWS' own client takes a token that comes again for the end.
        if token.is_empty() || token == next {
            return Ok(());
        }
        next = token;
    }
    Err(endless(action))
}

fn filters(filters: &[(String, Vec<String>)]) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    for (n, (name, values)) in (1..).zip(filters) {
        parameters.push((format!("Filter.{n}.Name"), name.clone()));
        parameters.extend((1..).zip(values).map(|(v, value): (usize, &String)| (format!("Filter.{n}.Value.{v}"), value.clone())));
    }
    parameters
}

/// The labels of an instance that has an address.
fn target(
    instance: Node<'_, '_>,
    owner: Option<&str>,
    region: &str,
    port: i64,
    zones: Option<&BTreeMap<String, String>>,
) -> Option<Labels> {
    let text = |name| xml::text(instance, name);
    let vpc = text("vpcId");
    let v6 = vpc.map(|_| Ipv6::of(instance)).unwrap_or_default();
    let private = text("privateIpAddress");
    let address = private.or(v6.usual())?;
    let public = text("ipAddress");
    let zone = xml::child(instance, "placement").and_then(|placement| xml::text(placement, "availabilityZone"));
    let state = xml::child(instance, "instanceState").and_then(|state| xml::text(state, "name"));
    let list = |items: &[String]| (!items.is_empty()).then(|| wrapped(items, ","));
    let (primary, all) = (list(&v6.primary), list(&v6.all));
    let subnets = vpc.map(|_| wrapped(&subnets(instance), ","));

    let mut labels = LabelsBuilder::new();
    labels.set(ADDRESS_LABEL, &host_port(address, port));
    for (name, value) in [
        ("ami", text("imageId")),
        ("architecture", text("architecture")),
        ("availability_zone", zone),
        ("availability_zone_id", zone.and_then(|zone| zones?.get(zone)).map(String::as_str)),
        ("default_ipv6_address", v6.usual()),
        ("instance_id", text("instanceId")),
        ("instance_lifecycle", text("instanceLifecycle")),
        ("instance_state", state),
        ("instance_type", text("instanceType")),
        ("ipv6_addresses", all.as_deref()),
        ("owner_id", owner),
        ("platform", text("platform")),
        ("primary_ipv6_addresses", primary.as_deref()),
        ("primary_subnet_id", vpc.and(text("subnetId"))),
        ("private_dns_name", text("privateDnsName")),
        ("private_ip", private),
        ("public_dns_name", public.and(text("dnsName"))),
        ("public_ip", public),
        ("region", Some(region)),
        ("subnet_id", subnets.as_deref()),
        ("vpc_id", vpc),
    ] {
        labels.set(&format!("{PREFIX}{name}"), value.unwrap_or_default());
    }
    for tag in xml::items(instance, "tagSet") {
        if let (Some(name), Some(value)) = (xml::text(tag, "key"), xml::text(tag, "value")) {
            labels.set(&format!("{PREFIX}tag_{}", sanitised(name)), value);
        }
    }
    Some(labels.build())
}

fn interfaces<'a, 'i>(instance: Node<'a, 'i>) -> impl Iterator<Item = (Node<'a, 'i>, &'a str)> {
    xml::items(instance, "networkInterfaceSet").filter_map(|interface| Some((interface, xml::text(interface, "subnetId")?)))
}

/// Each once, in the order of the interfaces.
fn subnets(instance: Node<'_, '_>) -> Vec<String> {
    let mut subnets: Vec<String> = Vec::new();
    for (_, subnet) in interfaces(instance) {
        if !subnets.iter().any(|known| known == subnet) {
            subnets.push(subnet.to_owned());
        }
    }
    subnets
}

/// The IPv6 addresses of an instance.
#[derive(Debug, Default)]
struct Ipv6 {
    /// By index of the interface, empty where it has none.
    primary: Vec<String>,
    all: Vec<String>,
}

/// No machine has that many interfaces.
const MOST_INTERFACES: usize = 1000;

impl Ipv6 {
    fn of(instance: Node<'_, '_>) -> Self {
        let mut found = Ipv6::default();
        for (interface, _) in interfaces(instance) {
            let index = xml::child(interface, "attachment").and_then(|attachment| xml::text(attachment, "deviceIndex"));
            let index = index.and_then(|index| index.parse().ok()).filter(|index: &usize| *index < MOST_INTERFACES);
            for item in xml::items(interface, "ipv6AddressesSet") {
                let Some(address) = xml::text(item, "ipv6Address") else { continue };
                found.all.push(address.to_owned());
                if xml::text(item, "isPrimaryIpv6") == Some("true")
                    && let Some(index) = index
                {
                    if found.primary.len() <= index {
                        found.primary.resize(index + 1, String::new());
                    }
                    found.primary[index] = address.to_owned();
                }
            }
        }
        found
    }

    fn usual(&self) -> Option<&str> {
        self.primary.iter().chain(&self.all).map(String::as_str).find(|address| !address.is_empty())
    }
}
