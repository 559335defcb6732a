mod baremetal;
mod instance;

use ::http::HeaderName;
use kvass_config::{ScalewayRole, ScalewaySdConfig};
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::{api, endless, group};
use crate::{
    api::{Api, MOST_PAGES, wrap},
    manager::DiscoveryOptions,
    refresh::{Findings, Mechanism, RefreshError},
};

const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-auth-token");

pub(super) struct Scaleway {
    api: Api,
    config: ScalewaySdConfig,
}

/// Parameters of a request.
type Query = Vec<(&'static str, String)>;

impl Scaleway {
    pub(super) fn new(config: &ScalewaySdConfig, options: &DiscoveryOptions) -> Result<Self, RefreshError> {
        let api = api(&config.api_url, &config.api, options)?.with_token(TOKEN_HEADER, "", config.secret_key.clone());
        Ok(Scaleway { api, config: config.clone() })
    }

    /// All pages of a list. How many items there are is told in the body or in a header.
    async fn list<T, P: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query,
        items: fn(P) -> (Vec<T>, usize),
    ) -> Result<Vec<T>, RefreshError> {
        let mut all = Vec::new();
        for page in 1..=MOST_PAGES {
            let reply = self.api.get(&format!("{path}?{}", parameters(query, page))).await?;
            let (items, total) = items(reply.object().map_err(|error| wrap("GET", path, error))?);
            let total = reply.header("x-total-count").parse().unwrap_or(total);
            let last = items.is_empty();
            all.extend(items);
            if last || all.len() >= total {
                return Ok(all);
            }
        }
        Err(endless(path))
    }
}

fn parameters(query: &Query, page: usize) -> String {
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    parameters.extend_pairs(query).append_pair("page", &page.to_string()).finish()
}

impl Mechanism for Scaleway {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let targets = match self.config.role {
            ScalewayRole::Instance => instance::targets(self).await?,
            ScalewayRole::Baremetal => baremetal::targets(self).await?,
        };
        Ok(group("scaleway", targets))
    }
}
