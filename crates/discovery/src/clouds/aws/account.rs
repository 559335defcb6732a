//! Calls to AWS' services: where they are, how they are signed, how they refuse.

use jiff::Timestamp;
use kvass_config::AwsAccess;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::{
    credentials::{self, Credentials},
    metadata, profile,
    sign::{self, Scope, Unsigned},
    xml,
};
use crate::{
    api::Reply,
    clouds::web::{Message, Web},
    environment::Environment,
    refresh::RefreshError,
};

/// A service that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Ec2,
    Ecs,
    Kafka,
    Lightsail,
    Sts,
}

impl Service {
    /// In host names and signatures.
    fn name(self) -> &'static str {
        match self {
            Service::Ec2 => "ec2",
            Service::Ecs => "ecs",
            Service::Kafka => "kafka",
            Service::Lightsail => "lightsail",
            Service::Sts => "sts",
        }
    }
}

/// A region, and those who ask there.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) web: Web,
    pub(super) environment: Environment,
    pub(super) access: AwsAccess,
    /// The service that the section's `endpoint` belongs to.
    pub(super) asked: Service,
    /// Known once it was asked for.
    pub(super) region: String,
    /// Those of last time.
    pub(super) credentials: Option<Credentials>,
}

impl Account {
    /// Finds out what has to be known before anything can be asked.
    pub(super) async fn prepare(&mut self) -> Result<Credentials, RefreshError> {
        if self.region.is_empty() {
            let region = self.find_region().await;
            self.region = region.map_err(|error| RefreshError::Other(format!("cannot determine the AWS region: {error}")))?;
        }
        if let Some(credentials) = self.credentials.as_ref().filter(|known| known.last(Timestamp::now())) {
            return Ok(credentials.clone());
        }
        let found = credentials::find(self).await;
        let found = found.map_err(|error| RefreshError::Other(format!("no AWS credentials: {error}")))?;
        self.credentials = Some(found.clone());
        Ok(found)
    }

    async fn find_region(&self) -> Result<String, RefreshError> {
        let region = match self.environment.first_of(&["AWS_REGION", "AWS_DEFAULT_REGION"]) {
            _ if !self.access.region.is_empty() => self.access.region.clone(),
            Some(region) => region,
            None => {
                let profile = profile::read(&self.environment, &profile::usual_name(&self.environment)).await?;
                match profile.as_ref().and_then(|profile| profile.get("region")) {
                    Some(region) => region.to_owned(),
                    None => metadata::region(self).await?,
                }
            }
        };
        // It becomes part of a host name.
        match !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            true => Ok(region),
            false => Err(RefreshError::Other(format!("{region:?}: expected a region such as eu-west-1"))),
        }
    }

    fn url(&self, service: Service) -> Result<Url, RefreshError> {
        let of_section = Some(&self.access.endpoint).filter(|endpoint| service == self.asked && !endpoint.is_empty());
        let variable = format!("AWS_ENDPOINT_URL_{}", service.name().to_uppercase());
        let ignored = self.environment.variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").as_deref() == Some("true");
        let of_environment = || self.environment.first_of(&[&variable, "AWS_ENDPOINT_URL"]).filter(|_| !ignored);
        let text = of_section.cloned().or_else(of_environment);
        let text = text.unwrap_or_else(|| format!("https://{}.{}.{}", service.name(), self.region, suffix(&self.region)));
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.ok_or_else(|| {
            let text = crate::api::masked(&text);
            RefreshError::Other(format!("endpoint {text:?}: expected http:// or https:// and a host"))
        })
    }

    /// A call in the protocol of forms and XML; unsigned without credentials.
    pub(super) async fn query(
        &self,
        service: Service,
        credentials: Option<&Credentials>,
        action: &str,
        version: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String, RefreshError> {
        let mut all = vec![("Action", action), ("Version", version)];
        all.extend_from_slice(parameters);
        let url = self.url(service)?;
        let message = Message::form(url.as_str(), &all);
        let reply = self.call(service, credentials, action, &url, message).await?;
        String::from_utf8(reply.body).map_err(|_| RefreshError::Body(format!("{action}: body is not UTF-8")))
    }

    /// A call in the protocol of JSON documents. `target` names interface, version and action.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        service: Service,
        credentials: &Credentials,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, RefreshError> {
        let action = target.rsplit('.').next().unwrap_or(target);
        let body = serde_json::to_vec(body).map_err(|error| RefreshError::Other(error.to_string()))?;
        let url = self.url(service)?;
        let message = Message::post(url.as_str(), "application/x-amz-json-1.1", body).with_text("x-amz-target", target)?;
        let reply = self.call(service, Some(credentials), action, &url, message).await?;
        reply.object().map_err(|error| RefreshError::Other(format!("{action}: {error}")))
    }

    /// A call in the protocol of paths. `path` is encoded and begins without a slash.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        service: Service,
        credentials: &Credentials,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, RefreshError> {
        let base = self.url(service)?;
        let text = format!("{}/{path}", base.as_str().trim_end_matches('/'));
        let mut url = Url::parse(&text).map_err(|error| RefreshError::Other(format!("GET {path}: {error}")))?;
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let action = format!("GET {path}");
        let reply = self.call(service, Some(credentials), &action, &url, Message::get(url.as_str())).await?;
        reply.object().map_err(|error| RefreshError::Other(format!("{action}: {error}")))
    }

    async fn call(
        &self,
        service: Service,
        credentials: Option<&Credentials>,
        action: &str,
        url: &Url,
        mut message: Message,
    ) -> Result<Reply, RefreshError> {
        if let Some(credentials) = credentials {
            let value = |name: &str| message.headers.get(name).and_then(|value| value.to_str().ok());
            let signed = ["content-type", "x-amz-target"].into_iter().filter_map(|name| Some((name, value(name)?)));
            let (method, headers) = (message.method.as_str(), signed.collect());
            let request = Unsigned { method, url, headers, body: &message.body };
            let scope = Scope { region: &self.region, service: service.name() };
            for (name, text) in sign::headers(&request, credentials, &scope, Timestamp::now()) {
                message = message.with_secret(name, &text)?;
            }
        }
        let reply = self.web.send(message).await.map_err(|error| RefreshError::Other(format!("{action}: {error}")))?;
        match reply.status.is_success() {
            true => Ok(reply),
            false => Err(RefreshError::Refused { what: action.to_owned(), status: reply.status, code: refusal(&reply) }),
        }
    }
}

/// The end of the host names of a region's services.
fn suffix(region: &str) -> &'static str {
    let partitions = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("us-isof-", "csp.hci.ic.gov"),
    ];
    partitions.iter().find(|(start, _)| region.starts_with(start)).map_or("amazonaws.com", |(_, suffix)| suffix)
}

/// The code of an error, by which AWS documents it. The message beside it may repeat what was sent.
fn refusal(reply: &Reply) -> String {
    let body = String::from_utf8_lossy(&reply.body);
    let of_json = || {
        let value: Value = serde_json::from_slice(&reply.body).ok()?;
        value.get("__type")?.as_str()?.rsplit('#').next().map(str::to_owned)
    };
    let of_xml = || xml::anywhere(&xml::parse(&body).ok()?, "Code").map(str::to_owned);
    let code = of_json().or_else(of_xml).unwrap_or_default();
    code.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')).take(100).collect()
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn codes_of_errors() {
        for (body, code) in [
            (r#"{"__type": "com.amazonaws.lightsail#ThrottlingException", "message": "hidden"}"#, "ThrottlingException"),
            (r#"{"__type": "AccessDeniedException"}"#, "AccessDeniedException"),
            (
                "<?xml version=\"1.0\"?><Response><Errors><Error><Code>AuthFailure</Code><Message>hidden</Message></Error></Errors></Response>",
                "AuthFailure",
            ),
            ("<ErrorResponse xmlns=\"x\"><Error><Code>Expired Token\n</Code></Error></ErrorResponse>", "ExpiredToken"),
            ("Bad gateway", ""),
            ("{}", ""),
        ] {
            let reply = Reply { status: StatusCode::BAD_REQUEST, headers: HeaderMap::new(), body: body.into() };
            assert_eq!(refusal(&reply), code, "{body}");
        }
    }

    #[test]
    fn partitions() {
        for (region, expected) in [
            ("eu-west-1", "amazonaws.com"),
            ("us-gov-west-1", "amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn"),
            ("us-iso-east-1", "c2s.ic.gov"),
            ("us-isob-east-1", "sc2s.sgov.gov"),
            ("eusc-de-east-1", "amazonaws.eu"),
        ] {
            assert_eq!(suffix(region), expected, "{region}");
        }
    }
}
