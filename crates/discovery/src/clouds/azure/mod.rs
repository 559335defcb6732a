//! Targets from Azure: virtual machines, those of scale sets included.

mod login;
mod machine;
mod resource;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use kvass_config::AzureSdConfig;
use kvass_model::Labels;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;
use url::Url;

use self::{
    login::{Cloud, Login},
    machine::{Interface, Machine, Outcome},
    resource::Resource,
};
use super::{
    endless, group,
    web::{Message, Pass, Web},
};
use crate::{
    api::MOST_PAGES,
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
    text::path_segment,
};

/// The versions of the API that are asked for; what targets are made of was there before them.
const COMPUTE: &str = "2024-07-01";
const NETWORK: &str = "2024-05-01";
const SCALE_SET_NETWORK: &str = "2018-10-01";
/// Interfaces asked for at a time.
const AT_ONCE: usize = 16;
/// Interfaces remembered at most.
const MOST_REMEMBERED: usize = 5000;

pub(super) struct Azure {
    config: AzureSdConfig,
    cloud: Cloud,
    login: Login,
    web: Web,
    pass: Pass,
    /// Interfaces by ID, each until it is asked for again: there is a request for each, and Azure allows few.
    interfaces: Remembered,
}

type Remembered = HashMap<String, (Arc<Interface>, Instant)>;

/// Answers of one round; `None` for what does not exist.
type Asked = HashMap<String, Option<Arc<Interface>>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Page<T> {
    value: Vec<T>,
    next_link: String,
}

impl Azure {
    pub(super) fn new(config: &AzureSdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let cloud = Cloud::named(&config.environment)?;
        let api = &config.api;
        Ok(Azure {
            login: Login::new(config, cloud, options)?,
            web: Web::new(&api.http, api.refresh_interval, options)?,
            config: config.clone(),
            cloud,
            pass: Pass::default(),
            interfaces: HashMap::new(),
        })
    }

    async fn list(&mut self) -> Result<Vec<Labels>, RefreshError> {
        let token = self.pass.token(self.login.token()).await?;
        let manager = Manager { web: &self.web, cloud: self.cloud, authorization: format!("Bearer {}", token.reveal()) };
        let subscription = format!("/subscriptions/{}", path_segment(&self.config.subscription_id));
        let scope = match self.config.resource_group.as_str() {
            "" => subscription.clone(),
            group => format!("{subscription}/resourceGroups/{}", path_segment(group)),
        };
        let compute = format!("{scope}/providers/Microsoft.Compute");
        let mut machines: Vec<Machine> = manager.list(&format!("{compute}/virtualMachines?api-version={COMPUTE}")).await?;
        let sets: Vec<Set> = manager.list(&format!("{compute}/virtualMachineScaleSets?api-version={COMPUTE}")).await?;
        for set in sets {
            let place = Resource::parse(&set.id)?;
            let path = format!(
                "{subscription}/resourceGroups/{}/providers/Microsoft.Compute/virtualMachineScaleSets/{}/virtualMachines?api-version={COMPUTE}",
                path_segment(place.group),
                path_segment(&set.name)
            );
            let members: Vec<Machine> = manager.list(&path).await?;
            machines.extend(members.into_iter().map(|machine| machine.in_set(&set.name)));
        }

        let now = Instant::now();
        self.interfaces.retain(|_, (_, end)| *end > now);
        let known = &self.interfaces;
        let mut outcomes = Vec::new();
        for machine in &machines {
            outcomes.push(manager.outcome(&self.config, &subscription, machine, known));
        }
        let mut outcomes = stream::iter(outcomes).buffered(AT_ONCE);
        let (mut targets, mut answered, mut failure) = (Vec::new(), Vec::new(), None);
        while let Some((target, asked)) = outcomes.next().await {
            answered.extend(asked.into_iter().filter_map(|(id, interface)| Some((id, interface?))));
            match target {
                Ok(target) => targets.extend(target),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        drop(outcomes);
        // Whatever failed: a round that began with nothing again would fail for ever at a limit of requests.
        for (id, interface) in answered {
            if self.interfaces.len() < MOST_REMEMBERED {
                let end = now + lifetime(&id, self.config.api.refresh_interval);
                self.interfaces.insert(id, (interface, end));
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(targets),
        }
    }
}

/// Ten rounds and up to three more, so that not all end together.
fn lifetime(id: &str, interval: Duration) -> Duration {
    let spread = id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 300;
    interval * 10 + interval * spread / 100
}

impl Mechanism for Azure {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let targets = self.list().await;
        Ok(group("", self.pass.judge(targets)?))
    }
}

/// A scale set.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Set {
    id: String,
    name: String,
}

/// Azure Resource Manager, for one round.
struct Manager<'a> {
    web: &'a Web,
    cloud: Cloud,
    authorization: String,
}

impl Manager<'_> {
    async fn get<T: DeserializeOwned>(&self, url: String) -> Result<T, RefreshError> {
        self.web.object(Message::get(url).with_secret("authorization", &self.authorization)?).await
    }

    async fn list<T: DeserializeOwned + Default>(&self, path: &str) -> Result<Vec<T>, RefreshError> {
        let (mut all, mut url) = (Vec::new(), format!("{}{path}", self.cloud.manager));
        for _ in 0..MOST_PAGES {
            let page: Page<T> = self.get(url.clone()).await?;
            all.extend(page.value);
            if page.next_link.is_empty() {
                return Ok(all);
            }
            url = self.next(&page.next_link)?;
        }
        Err(endless(&url))
    }

    /// The token must not leave the cloud.
    fn next(&self, link: &str) -> Result<String, RefreshError> {
        let base = Url::parse(self.cloud.manager).ok();
        let next = base
            .as_ref()
            .and_then(|base| base.join(link).ok())
            .filter(|next| Some(next.origin()) == base.as_ref().map(Url::origin));
        next.map(String::from).ok_or_else(|| RefreshError::Other("a next page was named that is on another host".to_owned()))
    }

    /// The labels of a machine, if it is a target, and the interfaces that were asked for.
    async fn outcome(
        &self,
        config: &AzureSdConfig,
        subscription: &str,
        machine: &Machine,
        known: &Remembered,
    ) -> (Result<Option<Labels>, RefreshError>, Asked) {
        let mut asked = Asked::new();
        let labels = self.labels(config, subscription, machine, known, &mut asked).await;
        (labels, asked)
    }

    async fn labels(
        &self,
        config: &AzureSdConfig,
        subscription: &str,
        machine: &Machine,
        known: &Remembered,
        asked: &mut Asked,
    ) -> Result<Option<Labels>, RefreshError> {
        loop {
            let interface = |id: &str| asked.get(id).cloned().or_else(|| Some(Some(Arc::clone(&known.get(id)?.0))));
            let id = match machine.outcome(config, interface)? {
                Outcome::Target(labels) => return Ok(Some(labels)),
                Outcome::Passed(why) => {
                    tracing::debug!(why, "a machine of Azure is no target");
                    return Ok(None);
                }
                Outcome::Open(id) => id,
            };
            let found = self.interface(subscription, &id, machine).await?;
            asked.insert(id, found.map(Arc::new));
        }
    }

    /// A network interface; `None` if it does not exist.
    async fn interface(&self, subscription: &str, id: &str, machine: &Machine) -> Result<Option<Interface>, RefreshError> {
        let place = Resource::parse(id)?;
        let (of_group, name) = (path_segment(place.group), path_segment(place.name));
        let (path, version) = match machine.set() {
            None => (format!("Microsoft.Network/networkInterfaces/{name}"), NETWORK),
            Some((set, instance)) => {
                let (set, instance) = (path_segment(set), path_segment(instance));
                let machine = format!("microsoft.Compute/virtualMachineScaleSets/{set}/virtualMachines/{instance}");
                (format!("{machine}/networkInterfaces/{name}"), SCALE_SET_NETWORK)
            }
        };
        let query = format!("%24expand=IPConfigurations%2FPublicIPAddress&api-version={version}");
        let url = format!("{}{subscription}/resourceGroups/{of_group}/providers/{path}?{query}", self.cloud.manager);
        match self.get(url).await {
            Ok(interface) => Ok(Some(interface)),
            Err(error) if error.status() == Some(::http::StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
