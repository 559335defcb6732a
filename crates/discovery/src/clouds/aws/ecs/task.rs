use std::collections::BTreeMap;

use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::{Cluster, Tag, TaskService, hosts::Host};
use crate::text::{host_port, sanitised};

const PREFIX: &str = "__meta_ecs_";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Task {
    task_arn: String,
    task_definition_arn: String,
    /// `service:` and a name, or what starts such tasks.
    pub(super) group: String,
    availability_zone: String,
    launch_type: String,
    desired_status: String,
    last_status: String,
    health_status: String,
    platform_family: String,
    platform_version: String,
    /// Absent where there is no machine of the user's below it.
    pub(super) container_instance_arn: Option<String>,
    attachments: Vec<Attachment>,
    tags: Vec<Tag>,
}

/// What a task has for itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attachment {
    #[serde(rename = "type")]
    kind: String,
    details: Vec<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    name: String,
    value: Option<String>,
}

impl Attachment {
    pub(super) fn detail(&self, name: &str) -> Option<&str> {
        self.details.iter().find(|detail| detail.name == name).and_then(|detail| detail.value.as_deref())
    }
}

impl Task {
    /// The network interface of a task that shares none.
    pub(super) fn interface(&self) -> Option<&Attachment> {
        self.attachments.iter().find(|attachment| attachment.kind == "ElasticNetworkInterface")
    }

    /// The labels of a task that has an address. `hosts` are by container instance, `public` addresses by interface.
    pub(super) fn target(
        &self,
        cluster: &Cluster,
        service: Option<&TaskService>,
        hosts: &BTreeMap<String, Host>,
        public: &BTreeMap<String, String>,
        region: &str,
        port: i64,
    ) -> Option<Labels> {
        let host = self.container_instance_arn.as_ref().and_then(|arn| hosts.get(arn));
        let known = host.and_then(|host| host.known.as_ref());
        let interface = self.interface();
        let own = |name| interface.and_then(|interface| interface.detail(name)).unwrap_or_default();
        let of_host = |value: fn(&super::hosts::Known) -> &String| known.map(|known| value(known).as_str()).unwrap_or_default();
        let (network_mode, address, public, subnet) = match (interface, &self.container_instance_arn) {
            (Some(_), _) => {
                let public = public.get(own("networkInterfaceId")).map(String::as_str).unwrap_or_default();
                ("awsvpc", own("privateIPv4Address"), public, own("subnetId"))
            }
            (None, Some(_)) => {
                ("bridge", of_host(|host| &host.private_ip), of_host(|host| &host.public_ip), of_host(|host| &host.subnet))
            }
            (None, None) => return None,
        };
        if address.is_empty() {
            return None;
        }
        let mut labels = LabelsBuilder::new();
        labels.set(ADDRESS_LABEL, &host_port(address, port));
        for (name, value) in [
            ("availability_zone", self.availability_zone.as_str()),
            ("cluster", &cluster.cluster_name),
            ("cluster_arn", &cluster.cluster_arn),
            ("container_instance_arn", self.container_instance_arn.as_deref().unwrap_or_default()),
            ("desired_status", &self.desired_status),
            ("ec2_instance_id", host.map(|host| host.id.as_str()).unwrap_or_default()),
            ("ec2_instance_private_ip", of_host(|host| &host.private_ip)),
            ("ec2_instance_public_ip", of_host(|host| &host.public_ip)),
            ("ec2_instance_type", of_host(|host| &host.kind)),
            ("health_status", &self.health_status),
            ("ip_address", address),
            ("last_status", &self.last_status),
            ("launch_type", &self.launch_type),
            ("network_mode", network_mode),
            ("platform_family", &self.platform_family),
            ("platform_version", &self.platform_version),
            ("public_ip", public),
            ("region", region),
            ("service", service.map(|service| service.service_name.as_str()).unwrap_or_default()),
            ("service_arn", service.map(|service| service.service_arn.as_str()).unwrap_or_default()),
            ("service_status", service.map(|service| service.status.as_str()).unwrap_or_default()),
            ("subnet_id", subnet),
            ("task_arn", &self.task_arn),
            ("task_definition", &self.task_definition_arn),
            ("task_group", &self.group),
        ] {
            labels.set(&format!("{PREFIX}{name}"), value);
        }
        let of_service = service.map(|service| service.tags.as_slice()).unwrap_or_default();
        for (owner, tags) in [("cluster", cluster.tags.as_slice()), ("service", of_service), ("task", &self.tags)] {
            for Tag { key, value } in tags {
                if let Some(key) = key {
                    labels.set(&format!("{PREFIX}tag_{owner}_{}", sanitised(key)), value);
                }
            }
        }
        for (key, value) in known.iter().flat_map(|known| &known.tags) {
            labels.set(&format!("{PREFIX}tag_ec2_{}", sanitised(key)), value);
        }
        Some(labels.build())
    }
}
