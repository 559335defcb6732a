//! What Prometheus asks of the scrape proxy, and whether it may. Pure.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Uri, Version};
use kvass_config::ScrapeConfig;
use kvass_model::{Labels, SCRAPE_TIMEOUT_LABEL, TargetHash, parse_prometheus_duration, target_url};
use kvass_scrape::TIMEOUT_HEADER;

use crate::delivery::{HASH_PARAM, JOB_PARAM, SCHEME_PARAM};

/// A request that is not served, and the reason to tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Refusal { status, reason: reason.into() }
    }
}

/// A scrape as requested.
#[derive(Debug, PartialEq)]
pub(crate) struct ScrapeRequest {
    pub(crate) hash: TargetHash,
    pub(crate) job: String,
    scheme: String,
    authority: String,
    path: String,
}

impl ScrapeRequest {
    /// Reads a request in absolute form, `GET http://<address><path>?_hash=…&_jobName=…&_scheme=…`.
    pub(crate) fn parse(method: &Method, version: Version, uri: &Uri) -> Result<Self, Refusal> {
        let bad = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
        if method == Method::CONNECT {
            let reason =
                "CONNECT is not served: this is the scrape proxy of kvass, and the injected configuration scrapes over http";
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, reason));
        }
        if method != Method::GET {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("method {method} is not served, expected GET")));
        }
        let Some(authority) = uri.authority() else {
            let reason =
                "expected a proxy request with an absolute URL: this is the scrape proxy of kvass, its API is on --web.api-addr";
            return Err(bad(reason.to_owned()));
        };
        if version < Version::HTTP_11 {
            // Without chunks a body that is cut off looks like a complete one.
            return Err(Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "expected HTTP/1.1"));
        }
        let parameter = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
            let found = pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
            found.ok_or_else(|| bad(format!("parameter {name} is missing: not a target of an injected configuration")))
        };
        let hash = parameter(HASH_PARAM)?;
        Ok(ScrapeRequest {
            hash: hash.parse().map_err(|error: kvass_model::HashError| bad(format!("parameter {HASH_PARAM}: {error}")))?,
            job: parameter(JOB_PARAM)?,
            scheme: parameter(SCHEME_PARAM)?,
            authority: authority.as_str().to_owned(),
            path: uri.path().to_owned(),
        })
    }

    /// Whether the request names the very place the target is at. Without this, anybody who can reach the
    /// proxy could have a job's credentials sent to a host of his choice.
    pub(crate) fn check(&self, labels: &Labels) -> Result<(), Refusal> {
        let forbidden = |what: &str| {
            Err(Refusal::new(
                StatusCode::FORBIDDEN,
                format!("the {what} requested is not that of target {} of job {:?}", self.hash, self.job),
            ))
        };
        if self.scheme != scheme_of(labels) {
            return forbidden("scheme");
        }
        if !self.authority.eq_ignore_ascii_case(labels.address()) {
            return forbidden("host");
        }
        if self.path != requested_path(labels) {
            return forbidden("path");
        }
        Ok(())
    }
}

fn scheme_of(labels: &Labels) -> &str {
    Some(labels.scheme()).filter(|scheme| !scheme.is_empty()).unwrap_or("http")
}

/// The path as Prometheus writes it into the request line.
fn requested_path(labels: &Labels) -> String {
    let path = kvass_model::METRICS_PATH_LABEL;
    let url = target_url(&Labels::from([(kvass_model::ADDRESS_LABEL, "h"), (path, labels.metrics_path())]), &Default::default());
    let path = url.trim_start_matches("//h");
    if path.is_empty() { "/".to_owned() } else { path.to_owned() }
}

/// Where the target really is: built from what this shard was told, not from the request.
pub(crate) fn url_of(labels: &Labels, job: &ScrapeConfig) -> String {
    target_url(labels, &job.params)
}

/// How long a scrape may take: the target's own timeout or the job's, or what Prometheus announces if
/// that is shorter; a little less, so that the reason for a failure still reaches it.
pub(crate) fn timeout_of(labels: &Labels, job: &ScrapeConfig, headers: &HeaderMap) -> Duration {
    let own = labels.get(SCRAPE_TIMEOUT_LABEL).and_then(|text| parse_prometheus_duration(text).ok()).filter(|own| !own.is_zero());
    let announced = headers
        .get(&TIMEOUT_HEADER)
        .and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|announced| !announced.is_zero());
    let timeout = own.unwrap_or(job.scrape_timeout).min(announced.unwrap_or(Duration::MAX));
    timeout - (timeout / 20).min(Duration::from_millis(500))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, version: Version, uri: &str) -> Result<ScrapeRequest, StatusCode> {
        ScrapeRequest::parse(&method, version, &uri.parse().unwrap()).map_err(|refusal| refusal.status)
    }

    #[test]
    fn requests() {
        let good = "http://h:1/m?zz=1&_hash=7&a=2&_jobName=a%2Fb+c&_scheme=https";
        let request = parse(Method::GET, Version::HTTP_11, good).unwrap();
        assert_eq!((request.hash, request.job.as_str(), request.path.as_str()), (TargetHash(7), "a/b c", "/m"));
        for (method, version, uri, status) in [
            (Method::CONNECT, Version::HTTP_11, "h:1", 405),
            (Method::POST, Version::HTTP_11, good, 405),
            (Method::HEAD, Version::HTTP_11, good, 405),
            (Method::GET, Version::HTTP_10, good, 505),
            (Method::GET, Version::HTTP_11, "/m?_hash=7&_jobName=j&_scheme=http", 400),
            (Method::GET, Version::HTTP_11, "http://h/m", 400),
            (Method::GET, Version::HTTP_11, "http://h/m?_hash=x&_jobName=j&_scheme=http", 400),
            (Method::GET, Version::HTTP_11, "http://h/m?_hash=18446744073709551616&_jobName=j&_scheme=http", 400),
            (Method::GET, Version::HTTP_11, "http://h/m?_hash=7&_scheme=http", 400),
            (Method::GET, Version::HTTP_11, "http://h/m?_hash=7&_jobName=j", 400),
        ] {
            assert_eq!(parse(method.clone(), version, uri).map_err(|s| s.as_u16()), Err(status), "{method} {uri}");
        }
    }

    #[test]
    fn only_the_target_itself_is_served() {
        let labels = Labels::from([("__address__", "H:1"), ("__scheme__", "https"), ("__metrics_path__", "/a b")]);
        for (uri, allowed) in [
            ("http://h:1/a%20b?_hash=7&_jobName=j&_scheme=https", true),
            ("http://h:1/a%20b?_hash=7&_jobName=j&_scheme=http", false),
            ("http://h:2/a%20b?_hash=7&_jobName=j&_scheme=https", false),
            ("http://h:1@evil/a%20b?_hash=7&_jobName=j&_scheme=https", false),
            ("http://u@h:1/a%20b?_hash=7&_jobName=j&_scheme=https", false),
            ("http://h:1/?_hash=7&_jobName=j&_scheme=https", false),
            ("http://h:1/a%20b/../c?_hash=7&_jobName=j&_scheme=https", false),
        ] {
            let request = parse(Method::GET, Version::HTTP_11, uri).unwrap();
            assert_eq!(request.check(&labels).map_err(|r| r.status), allowed.then_some(()).ok_or(StatusCode::FORBIDDEN), "{uri}");
        }
        let bare = Labels::from([("__address__", "[::1]:9100")]);
        let request = parse(Method::GET, Version::HTTP_11, "http://[::1]:9100/?_hash=7&_jobName=j&_scheme=http").unwrap();
        assert_eq!(request.check(&bare), Ok(()));
    }
}
