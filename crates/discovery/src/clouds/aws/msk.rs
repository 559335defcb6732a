//! Brokers and controllers of Managed Streaming for Apache Kafka.

use std::collections::BTreeMap;

use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder};
use serde::Deserialize;

use super::{
    account::{Account, Service},
    credentials::Credentials,
};
use crate::{
    api::MOST_PAGES,
    clouds::endless,
    refresh::RefreshError,
    text::{host_port, path_segment, set_all},
};

const PREFIX: &str = "__meta_msk_";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Clusters {
    cluster_info_list: Vec<Cluster>,
    next_token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Described {
    cluster_info: Cluster,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Cluster {
    cluster_arn: String,
    cluster_name: String,
    cluster_type: String,
    current_version: String,
    state: String,
    tags: BTreeMap<String, String>,
    provisioned: Provisioned,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Provisioned {
    current_broker_software_info: Software,
    open_monitoring: OpenMonitoring,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Software {
    kafka_version: String,
    configuration_arn: String,
    configuration_revision: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OpenMonitoring {
    prometheus: Exporters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Exporters {
    jmx_exporter: Option<Exporter>,
    node_exporter: Option<Exporter>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Exporter {
    enabled_in_broker: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Nodes {
    node_info_list: Vec<Node>,
    next_token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Node {
    #[serde(rename = "nodeARN")]
    node_arn: String,
    added_to_cluster_time: String,
    instance_type: String,
    broker_node_info: Option<Broker>,
    controller_node_info: Option<Controller>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Broker {
    #[serde(rename = "attachedENIId")]
    attached_eni_id: String,
    broker_id: f64,
    client_subnet: String,
    client_vpc_ip_address: String,
    endpoints: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Controller {
    endpoints: Vec<String>,
}

/// `clusters` are ARNs; none means all.
pub(super) async fn targets(
    account: &Account,
    credentials: &Credentials,
    clusters: &[String],
    port: i64,
) -> Result<Vec<Labels>, RefreshError> {
    let mut targets = Vec::new();
    for cluster in found(account, credentials, clusters).await? {
        let path = format!("v1/clusters/{}/nodes", path_segment(&cluster.cluster_arn));
        let nodes = pages(account, credentials, &path, &[], |page: Nodes| (page.node_info_list, page.next_token)).await?;
        targets.extend(nodes.iter().flat_map(|node| node.targets(&cluster, port)));
    }
    Ok(targets)
}

async fn found(account: &Account, credentials: &Credentials, arns: &[String]) -> Result<Vec<Cluster>, RefreshError> {
    if arns.is_empty() {
        let filter = [("clusterTypeFilter", "PROVISIONED")];
        let items = |page: Clusters| (page.cluster_info_list, page.next_token);
        return pages(account, credentials, "api/v2/clusters", &filter, items).await;
    }
    let mut clusters = Vec::new();
    for arn in arns {
        let path = format!("api/v2/clusters/{}", path_segment(arn));
        let Described { cluster_info } = account.get(Service::Kafka, credentials, &path, &[]).await?;
        // Others have no brokers to speak of.
        if cluster_info.cluster_type == "PROVISIONED" {
            clusters.push(cluster_info);
        }
    }
    Ok(clusters)
}

async fn pages<T, P: serde::de::DeserializeOwned>(
    account: &Account,
    credentials: &Credentials,
    path: &str,
    parameters: &[(&str, &str)],
    items: fn(P) -> (Vec<T>, String),
) -> Result<Vec<T>, RefreshError> {
    let (mut all, mut next) = (Vec::new(), String::new());
    for _ in 0..MOST_PAGES {
        let mut query = parameters.to_vec();
        query.push(("maxResults", "100"));
        if !next.is_empty() {
            query.push(("nextToken", &next));
        }
        let (items, token) = items(account.get(Service::Kafka, credentials, path, &query).await?);
        all.extend(items);
        next = token;
        if next.is_empty() {
            return Ok(all);
        }
    }
    Err(endless(path))
}

impl Node {
    /// One per endpoint.
    fn targets(&self, cluster: &Cluster, port: i64) -> Vec<Labels> {
        let Provisioned { current_broker_software_info: software, open_monitoring } = &cluster.provisioned;
        let exporters = &open_monitoring.prometheus;
        let enabled =
            |exporter: &Option<Exporter>| exporter.as_ref().map(|e| e.enabled_in_broker.to_string()).unwrap_or_default();
        let revision = software.configuration_revision.map(|revision| revision.to_string()).unwrap_or_default();
        let mut base = LabelsBuilder::new();
        let mut set = |name: &str, value: &str| base.set(&format!("{PREFIX}{name}"), value);
        for (name, value) in [
            ("cluster_arn", cluster.cluster_arn.as_str()),
            ("cluster_configuration_arn", &software.configuration_arn),
            ("cluster_configuration_revision", &revision),
            ("cluster_jmx_exporter_enabled", &enabled(&exporters.jmx_exporter)),
            ("cluster_kafka_version", &software.kafka_version),
            ("cluster_name", &cluster.cluster_name),
            ("cluster_state", &cluster.state),
            ("cluster_type", &cluster.cluster_type),
            ("cluster_version", &cluster.current_version),
            ("node_added_time", &self.added_to_cluster_time),
            ("node_arn", &self.node_arn),
            ("node_instance_type", &self.instance_type),
        ] {
            set(name, value);
        }
        let (kind, endpoints) = match (&self.broker_node_info, &self.controller_node_info) {
            (Some(broker), _) => {
                set("node_type", "BROKER");
                set("node_attached_eni", &broker.attached_eni_id);
                set("broker_id", &broker.broker_id.round_ties_even().to_string());
                set("broker_client_subnet", &broker.client_subnet);
                set("broker_client_vpc_ip", &broker.client_vpc_ip_address);
                set("broker_node_exporter_enabled", &enabled(&exporters.node_exporter));
                ("broker", &broker.endpoints)
            }
            (None, Some(controller)) => {
                set("node_type", "CONTROLLER");
                ("controller", &controller.endpoints)
            }
            (None, None) => return Vec::new(),
        };
        set_all(&mut base, &format!("{PREFIX}cluster_tag_"), &cluster.tags);
        let base = base.build();
        let target = |(index, endpoint): (usize, &String)| {
            let mut labels = LabelsBuilder::from(&base);
            labels.set(ADDRESS_LABEL, &host_port(endpoint, port));
            labels.set(&format!("{PREFIX}{kind}_endpoint_index"), &index.to_string());
            labels.build()
        };
        endpoints.iter().enumerate().map(target).collect()
    }
}
