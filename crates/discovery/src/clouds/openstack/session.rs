//! Requests to the services that the catalogue names.

use kvass_config::Secret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::super::{
    endless,
    web::{Message, Web},
};
use crate::{api::MOST_PAGES, refresh::RefreshError};

/// The services of a cloud.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Catalogue {
    catalog: Vec<Service>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    interface: String,
    region: String,
    region_id: String,
    url: String,
}

/// What one has after signing in.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) web: &'a Web,
    pub(super) pass: Secret,
    pub(super) catalogue: Catalogue,
    pub(super) region: &'a str,
    pub(super) availability: &'a str,
}

impl Session<'_> {
    /// URL of a service, with a slash at the end.
    pub(super) fn endpoint(&self, kind: &str) -> Result<String, RefreshError> {
        let services = self.catalogue.catalog.iter().filter(|service| service.kind == kind);
        let mut endpoints = services.flat_map(|service| &service.endpoints);
        let found = endpoints.find(|endpoint| {
            endpoint.interface == self.availability
                && [&endpoint.region, &endpoint.region_id].iter().any(|region| *region == self.region)
        });
        found.map(|endpoint| format!("{}/", endpoint.url.trim_end_matches('/'))).ok_or_else(|| {
            let Session { region, availability, .. } = self;
            RefreshError::Other(format!("the catalogue has no {availability} endpoint of type {kind} in region {region:?}"))
        })
    }

    /// As [`Session::endpoint`], up to the version 2.0 that such services have.
    pub(super) fn endpoint_2(&self, kind: &str) -> Result<String, RefreshError> {
        Ok(format!("{}v2.0/", self.endpoint(kind)?.replace("v2.0/", "")))
    }

    /// All pages of a list. `key` holds the items, `<key>_links` where to go on.
    pub(super) async fn list<T: DeserializeOwned>(&self, url: &str, key: &str) -> Result<Vec<T>, RefreshError> {
        let (mut all, mut next) = (Vec::new(), url.to_owned());
        for _ in 0..MOST_PAGES {
            let message = Message::get(&next).with_secret("x-auth-token", self.pass.reveal())?;
            let mut page: Value = self.web.object(message).await?;
            let wrong = || RefreshError::Body(format!("GET {url}: expected a list under {key:?}"));
            let items = page.get_mut(key).map(Value::take).ok_or_else(wrong)?;
            let items: Vec<T> =
                serde_json::from_value(items).map_err(|error| RefreshError::Body(format!("GET {url}: {error}")))?;
            let last = items.is_empty();
            all.extend(items);
            match link(&page, key).filter(|_| !last) {
                Some(link) => next = at_same_host(&next, link)?,
                None => return Ok(all),
            }
        }
        Err(endless(url))
    }
}

fn link<'v>(page: &'v Value, key: &str) -> Option<&'v str> {
    let links = page.get(format!("{key}_links"))?.as_array()?;
    let next = links.iter().find(|link| link.get("rel").and_then(Value::as_str) == Some("next"))?;
    next.get("href")?.as_str().filter(|href| !href.is_empty())
}

/// Clouds behind proxies name themselves wrongly, and the token must not go elsewhere.
fn at_same_host(url: &str, link: &str) -> Result<String, RefreshError> {
    let joined = Url::parse(url).ok().and_then(|base| {
        let next = base.join(link).ok()?;
        let mut same = base;
        same.set_path(next.path());
        same.set_query(next.query());
        Some(same.into())
    });
    joined.ok_or_else(|| RefreshError::Body(format!("GET {url}: the link to the next page is no URL")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_at_the_service() {
        for (link, expected) in [
            ("http://nova.internal/v2.1/servers/detail?marker=a%2Fb", "https://nova:8774/v2.1/servers/detail?marker=a%2Fb"),
            ("/v2.1/servers/detail?marker=c", "https://nova:8774/v2.1/servers/detail?marker=c"),
        ] {
            assert_eq!(at_same_host("https://nova:8774/v2.1/servers/detail?limit=1", link).unwrap(), expected);
        }
    }
}
