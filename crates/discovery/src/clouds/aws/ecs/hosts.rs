//! The machines below tasks, and their public addresses.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::Node;
use serde::Deserialize;

use super::{
    super::{account::Account, credentials::Credentials, ec2, xml},
    AT_ONCE, Attachment, Ecs, Task,
};
use crate::refresh::RefreshError;

/// A machine that tasks run on.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) id: String,
    /// Absent if EC2 knows no private address of it.
    pub(super) known: Option<Known>,
}

/// What EC2 knows of a machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) private_ip: String,
    pub(super) public_ip: String,
    pub(super) subnet: String,
    pub(super) kind: String,
    pub(super) tags: Vec<(String, String)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerInstance {
    container_instance_arn: String,
    ec2_instance_id: Option<String>,
}

/// The hosts of tasks, by the ARN of the container instance.
pub(super) async fn of_tasks(ecs: &Ecs<'_>, cluster: &str, tasks: &[Task]) -> Result<BTreeMap<String, Host>, RefreshError> {
    let arns: BTreeSet<&String> = tasks.iter().filter_map(|task| task.container_instance_arn.as_ref()).collect();
    let arns: Vec<String> = arns.into_iter().cloned().collect();
    let instances: Vec<ContainerInstance> =
        ecs.described("DescribeContainerInstances", Some(cluster), "containerInstances", &arns, AT_ONCE).await?;
    let instances: Vec<(String, String)> =
        instances.into_iter().filter_map(|instance| Some((instance.container_instance_arn, instance.ec2_instance_id?))).collect();
    let ids: BTreeSet<&String> = instances.iter().map(|(_, id)| id).collect();
    let known = machines(ecs.account, ecs.credentials, &ids).await?;
    let host = |(arn, id): (String, String)| (arn, Host { known: known.get(&id).cloned(), id });
    Ok(instances.into_iter().map(host).collect())
}

async fn machines(
    account: &Account,
    credentials: &Credentials,
    ids: &BTreeSet<&String>,
) -> Result<BTreeMap<String, Known>, RefreshError> {
    let mut machines = BTreeMap::new();
    let ids: Vec<&String> = ids.iter().copied().collect();
    for ids in ids.chunks(AT_ONCE) {
        let parameters = numbered("InstanceId", ids);
        ec2::pages(account, credentials, "DescribeInstances", &parameters, |root| {
            let instances = xml::items(root, "reservationSet").flat_map(|reservation| xml::items(reservation, "instancesSet"));
            machines.extend(instances.filter_map(machine));
        })
        .await?;
    }
    Ok(machines)
}

fn machine(instance: Node<'_, '_>) -> Option<(String, Known)> {
    let text = |name| xml::text(instance, name).map(str::to_owned);
    let private_ip = text("privateIpAddress")?;
    let tags = xml::items(instance, "tagSet");
    let tags = tags.filter_map(|tag| Some((xml::text(tag, "key")?.to_owned(), xml::text(tag, "value")?.to_owned())));
    let known = Known {
        private_ip,
        public_ip: text("ipAddress").unwrap_or_default(),
        subnet: text("subnetId").unwrap_or_default(),
        kind: text("instanceType").unwrap_or_default(),
        tags: tags.collect(),
    };
    Some((text("instanceId")?, known))
}

/// The public addresses of network interfaces that tasks have for themselves, by ID.
pub(super) async fn public_addresses(
    account: &Account,
    credentials: &Credentials,
    tasks: &[Task],
) -> Result<BTreeMap<String, String>, RefreshError> {
    let interfaces: Vec<&Attachment> = tasks.iter().filter_map(Task::interface).collect();
    let ids: BTreeSet<&str> = interfaces.iter().filter_map(|interface| interface.detail("networkInterfaceId")).collect();
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    let mut addresses = BTreeMap::new();
    for ids in ids.chunks(AT_ONCE) {
        let parameters = numbered("NetworkInterfaceId", ids);
        ec2::pages(account, credentials, "DescribeNetworkInterfaces", &parameters, |root| {
            addresses.extend(xml::items(root, "networkInterfaceSet").filter_map(|interface| {
                let address = xml::text(xml::child(interface, "association")?, "publicIp")?;
                Some((xml::text(interface, "networkInterfaceId")?.to_owned(), address.to_owned()))
            }));
        })
        .await?;
    }
    Ok(addresses)
}

fn numbered(name: &str, values: &[impl AsRef<str>]) -> Vec<(String, String)> {
    (1..).zip(values).map(|(n, value): (usize, _)| (format!("{name}.{n}"), value.as_ref().to_owned())).collect()
}
