//! Tasks of the Elastic Container Service.

mod hosts;
mod task;

use std::collections::BTreeMap;

use kvass_model::Labels;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use self::task::{Attachment, Task};
use super::{
    account::{Account, Service},
    credentials::Credentials,
};
use crate::{api::MOST_PAGES, clouds::endless, refresh::RefreshError};

const INTERFACE: &str = "AmazonEC2ContainerServiceV20141113.";
/// How many things one call may ask for.
const AT_ONCE: usize = 100;
const SERVICES_AT_ONCE: usize = 10;

/// Key and value of one tag; others than these have no effect.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tag {
    key: Option<String>,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Cluster {
    cluster_arn: String,
    cluster_name: String,
    tags: Vec<Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TaskService {
    service_arn: String,
    service_name: String,
    status: String,
    tags: Vec<Tag>,
}

/// The service, for one round.
struct Ecs<'a> {
    account: &'a Account,
    credentials: &'a Credentials,
}

/// `clusters` are names or ARNs; none means all.
pub(super) async fn targets(
    account: &Account,
    credentials: &Credentials,
    clusters: &[String],
    port: i64,
) -> Result<Vec<Labels>, RefreshError> {
    let ecs = Ecs { account, credentials };
    let clusters = match clusters {
        [] => ecs.list("ListClusters", None, "clusterArns").await?,
        given => given.to_vec(),
    };
    let mut targets = Vec::new();
    for cluster in ecs.described::<Cluster>("DescribeClusters", None, "clusters", &clusters, AT_ONCE).await? {
        targets.extend(ecs.of_cluster(&cluster, port).await?);
    }
    Ok(targets)
}

impl Ecs<'_> {
    async fn of_cluster(&self, cluster: &Cluster, port: i64) -> Result<Vec<Labels>, RefreshError> {
        let arn = Some(cluster.cluster_arn.as_str());
        let tasks = self.list("ListTasks", arn, "taskArns").await?;
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let tasks: Vec<Task> = self.described("DescribeTasks", arn, "tasks", &tasks, AT_ONCE).await?;
        let services = self.list("ListServices", arn, "serviceArns").await?;
        let services: Vec<TaskService> = self.described("DescribeServices", arn, "services", &services, SERVICES_AT_ONCE).await?;
        let services: BTreeMap<&str, &TaskService> =
            services.iter().map(|service| (service.service_name.as_str(), service)).collect();
        let hosts = hosts::of_tasks(self, &cluster.cluster_arn, &tasks).await?;
        let public = hosts::public_addresses(self.account, self.credentials, &tasks).await?;
        let targets = tasks.iter().filter_map(|task| {
            let service = task.group.strip_prefix("service:").and_then(|name| services.get(name).copied());
            task.target(cluster, service, &hosts, &public, &self.account.region, port)
        });
        Ok(targets.collect())
    }

    async fn call<T: DeserializeOwned>(&self, action: &'static str, body: &impl Serialize) -> Result<T, RefreshError> {
        self.account.json(Service::Ecs, self.credentials, &format!("{INTERFACE}{action}"), body).await
    }

    /// All pages of a list of ARNs, which is under `key`.
    async fn list(&self, action: &'static str, cluster: Option<&str>, key: &str) -> Result<Vec<String>, RefreshError> {
        let (mut all, mut next): (Vec<String>, Option<String>) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let mut page: BTreeMap<String, serde_json::Value> =
                self.call(action, &without_nulls(json!({"cluster": cluster, "maxResults": AT_ONCE, "nextToken": next}))).await?;
            all.extend(parsed::<Vec<String>>(action, page.remove(key))?);
            next = parsed(action, page.remove("nextToken"))?;
            if next.is_none() {
                return Ok(all);
            }
        }
        Err(endless(action))
    }

    /// What is known of the things of these names, and under the same key answered.
    async fn described<T: DeserializeOwned>(
        &self,
        action: &'static str,
        cluster: Option<&str>,
        key: &str,
        names: &[String],
        at_once: usize,
    ) -> Result<Vec<T>, RefreshError> {
        let mut all = Vec::new();
        for names in names.chunks(at_once) {
            // Instances of containers would tell their tags under another name, and nobody asks for them.
            let include = (key != "containerInstances").then_some(["TAGS"]);
            let body = without_nulls(json!({"cluster": cluster, key: names, "include": include}));
            let mut page: BTreeMap<String, serde_json::Value> = self.call(action, &body).await?;
            all.extend(parsed::<Vec<T>>(action, page.remove(key))?);
        }
        Ok(all)
    }
}

/// Absent counts as empty.
fn parsed<T: DeserializeOwned + Default>(action: &str, value: Option<serde_json::Value>) -> Result<T, RefreshError> {
    let parsed = value.map(serde_json::from_value).transpose();
    parsed.map(Option::unwrap_or_default).map_err(|error| RefreshError::Body(format!("{action}: {error}")))
}

fn without_nulls(body: serde_json::Value) -> BTreeMap<String, serde_json::Value> {
    let members = body.as_object().cloned().unwrap_or_default();
    members.into_iter().filter(|(_, value)| !value.is_null()).collect()
}
