use std::{collections::BTreeMap, time::Duration};

use kvass_model::{ScrapeStatus, TargetHash};
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Envelope, ExtraConfig, RawConfig, RuntimeInfo, Statistics, StatusMap, UpdateConfig, UpdateTargets};

/// Longest answer accepted from a shard.
const MAX_ANSWER: usize = 256 << 20;

/// Why a call to a shard failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No usable answer: refused, reset, timed out.
    #[error("{method} {path}: no answer")]
    Unreachable {
        /// HTTP method.
        method: Method,
        /// Path on the shard.
        path: String,
        /// Why.
        source: reqwest::Error,
    },
    /// Any status but 200.
    #[error("{method} {path}: status {status}: {message}")]
    Refused {
        /// HTTP method.
        method: Method,
        /// Path on the shard.
        path: String,
        /// HTTP status.
        status: StatusCode,
        /// The answer's `error` member, or the beginning of its text.
        message: String,
    },
    /// 200 with a body that is not what it should be.
    #[error("GET {path}: unexpected answer: {problem}")]
    Malformed {
        /// Path on the shard.
        path: String,
        /// What is wrong.
        problem: String,
    },
}

impl ClientError {
    /// Whether the shard answered that it has no such endpoint (older versions).
    pub fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// Whether the shard answered that it cannot do this right now.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, ClientError::Refused { status, .. } if *status == StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// How the `User-Agent` of every call made with [`http_client`] begins; sidecars know our coordinators by it.
pub const USER_AGENT_PREFIX: &str = "kvass/";

/// The HTTP client used for all shards: bounded in time, honouring `HTTP_PROXY` and its kin.
///
/// # Errors
/// When no TLS can be set up at all.
pub fn http_client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    let builder = || {
        reqwest::Client::builder()
            .connect_timeout(timeout.min(Duration::from_secs(3)))
            .timeout(timeout)
            .pool_idle_timeout(Duration::from_secs(90))
            .user_agent(format!("{USER_AGENT_PREFIX}{}", env!("CARGO_PKG_VERSION")))
    };
    // An image without certificate authorities still speaks plain HTTP, which is what sidecars speak.
    builder().build().or_else(|_| builder().tls_certs_only([]).build())
}

/// Calls to one shard's API. Paths carry the trailing slash that every version of the sidecar serves
/// without a redirect.
#[derive(Clone, Debug)]
pub struct ShardClient {
    base: String,
    http: reqwest::Client,
}

impl ShardClient {
    /// `base` is the shard's URL; the original appends paths to it verbatim, a trailing slash is tolerated.
    pub fn new(base: &str, http: reqwest::Client) -> Self {
        ShardClient { base: base.trim_end_matches('/').to_owned(), http }
    }

    /// The shard's URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What the shard knows of its targets. Falls back to the path of versions before v0.3.0.
    pub async fn target_status(&self) -> Result<BTreeMap<TargetHash, ScrapeStatus>, ClientError> {
        let path = "/api/v1/shard/targets/status/";
        let map: StatusMap = match self.get(path).await {
            Err(error) if error.is_not_found() => self.get("/api/v1/shard/targets/").await?,
            answer => answer?,
        };
        map.iter()
            .map(|(hash, status)| Ok((hash.parse()?, status.into())))
            .collect::<Result<_, kvass_model::HashError>>()
            .map_err(|error| ClientError::Malformed { path: path.to_owned(), problem: error.to_string() })
    }

    /// Load, configuration hash and idleness.
    pub async fn runtime_info(&self) -> Result<RuntimeInfo, ClientError> {
        self.get("/api/v1/shard/runtimeinfo/").await
    }

    /// The list last pushed, labels included. Only sidecars of this port know it.
    pub async fn assigned(&self) -> Result<UpdateTargets, ClientError> {
        self.get("/api/v1/shard/targets/assigned/").await
    }

    /// Samples of the last scrapes per job.
    pub async fn samples(&self, job: &str, with_metrics_detail: bool) -> Result<BTreeMap<String, Statistics>, ClientError> {
        let path = "/api/v1/shard/samples/";
        let mut query = vec![("job", job)];
        if with_metrics_detail {
            query.push(("with_metrics_detail", "true"));
        }
        let query: String =
            query.iter().map(|(k, v)| format!("{k}={}", kvass_model::query_escape(v))).collect::<Vec<_>>().join("&");
        self.get(&format!("{path}?{query}")).await
    }

    /// Text of the configuration in force (secrets masked by sidecars of this port).
    pub async fn config(&self) -> Result<RawConfig, ClientError> {
        self.get("/api/v1/status/config/").await
    }

    /// Replaces the shard's target list.
    pub async fn update_targets(&self, targets: &UpdateTargets) -> Result<(), ClientError> {
        self.post("/api/v1/shard/targets/", targets).await
    }

    /// Pushes a configuration text to a shard without a configuration file.
    pub async fn update_config(&self, config: &UpdateConfig) -> Result<(), ClientError> {
        self.post("/api/v1/status/config/", config).await
    }

    /// Pushes the stop-scraping reason.
    pub async fn update_extra_config(&self, config: &ExtraConfig) -> Result<(), ClientError> {
        self.post("/api/v1/status/extra_config/", config).await
    }

    /// `GET` of any path below the shard, through to its Prometheus; the answer's `data`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.send::<()>(Method::GET, path, None).await?;
        let malformed = |problem: String| ClientError::Malformed { path: path.to_owned(), problem };
        let envelope: Envelope<T> = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
        match envelope.data {
            Some(data) if envelope.status == "success" => Ok(data),
            Some(_) => Err(malformed(format!("status is {:?}, expected \"success\"", envelope.status))),
            None => Err(malformed("no data".to_owned())),
        }
    }

    async fn post<B: Serialize>(&self, path: &str, body: &B) -> Result<(), ClientError> {
        self.send(Method::POST, path, Some(body)).await.map(drop)
    }

    async fn send<B: Serialize>(&self, method: Method, path: &str, body: Option<&B>) -> Result<Vec<u8>, ClientError> {
        let unreachable = |source: reqwest::Error| ClientError::Unreachable {
            method: method.clone(),
            path: path.to_owned(),
            source: source.without_url(),
        };
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(ClientError::Malformed { path: path.to_owned(), problem: format!("more than {MAX_ANSWER} bytes") });
            }
            bytes.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK {
            return Ok(bytes);
        }
        Err(ClientError::Refused { method, path: path.to_owned(), status, message: refusal(&bytes) })
    }
}

fn refusal(body: &[u8]) -> String {
    let from_envelope = serde_json::from_slice::<Envelope<serde_json::Value>>(body).ok().and_then(|e| e.error);
    from_envelope.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
        text.lines().next().unwrap_or_default().trim().to_owned()
    })
}
