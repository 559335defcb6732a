//! How an API server is reached.

use std::{env, path::PathBuf, time::Duration};

use ::http::{Request, Response};
use futures::{Stream, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use kube::{
    Client,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use kvass_config::{Authorization, HttpClientConfig, KubernetesSdConfig, SecretSource};
use kvass_scrape::{ClientError, ClientOptions, HttpClient, ScrapeError};
use tokio::time::Instant;

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Longest time a request may take, body included. Watches are ended by the server before that.
const REQUEST_LIMIT: Duration = Duration::from_secs(300);

/// Server and credentials. Equal ones may share connections and watches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Access {
    api_server: Option<String>,
    kubeconfig: Option<PathBuf>,
    http: HttpClientConfig,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("not inside a cluster: {0} is not set, and neither api_server nor kubeconfig_file is configured")]
    NotInCluster(&'static str),
    #[error("kubeconfig_file {}", path.display())]
    Kubeconfig { path: PathBuf, source: KubeconfigError },
    #[error("kubeconfig_file {}", path.display())]
    KubeconfigClient { path: PathBuf, source: Box<kube::Error> },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("own_namespace: {} holds no namespace", path.display())]
    EmptyNamespace { path: PathBuf },
    #[error("own_namespace: {} cannot be read", path.display())]
    Namespace { path: PathBuf, source: std::io::Error },
}

impl Access {
    /// The access a `kubernetes_sd_configs` entry asks for.
    pub(crate) fn of(config: &KubernetesSdConfig) -> Self {
        Access { api_server: config.api_server.clone(), kubeconfig: config.kubeconfig_file.clone(), http: config.http.clone() }
    }

    /// A new client. Everything it was built from is read anew, so that building it again follows changes.
    pub(crate) async fn client(&self, options: &ClientOptions) -> Result<Client, AccessError> {
        if let Some(path) = &self.kubeconfig {
            return from_kubeconfig(path.clone()).await;
        }
        match &self.api_server {
            Some(server) => http_client(server, &self.http, options),
            None => {
                let variable = |name| env::var(name).map_err(|_| AccessError::NotInCluster(name));
                let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                http_client(&format!("https://{host}:{port}"), &service_account(), options)
            }
        }
    }
}

/// The namespace of the pod this process runs in.
pub(crate) fn own_namespace() -> Result<String, AccessError> {
    let path = PathBuf::from(SERVICE_ACCOUNT).join("namespace");
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Err(AccessError::EmptyNamespace { path }),
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(AccessError::Namespace { path, source }),
    }
}

fn service_account() -> HttpClientConfig {
    let file = |name: &str| SecretSource::File(PathBuf::from(SERVICE_ACCOUNT).join(name));
    let mut http = HttpClientConfig {
        authorization: Some(Authorization { kind: "Bearer".to_owned(), credentials: Some(file("token")) }),
        ..HttpClientConfig::default()
    };
    http.tls.ca = Some(file("ca.crt"));
    http
}

async fn from_kubeconfig(path: PathBuf) -> Result<Client, AccessError> {
    let config =
        async { kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(&path)?, &KubeConfigOptions::default()).await };
    match config.await {
        Ok(mut config) => {
            // We pause between attempts ourselves, and say so.
            config.default_retry = false;
            config.read_timeout = Some(REQUEST_LIMIT);
            Client::try_from(config).map_err(|source| AccessError::KubeconfigClient { path, source: Box::new(source) })
        }
        Err(source) => Err(AccessError::Kubeconfig { path, source }),
    }
}

/// A client that goes through the same HTTP client as everything else, so that the HTTP block of the
/// configuration means the same everywhere.
fn http_client(server: &str, http: &HttpClientConfig, options: &ClientOptions) -> Result<Client, AccessError> {
    let http = HttpClient::new(http, options)?;
    let base = server.trim_end_matches('/').to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let http = http.clone();
        let url = format!("{base}{}", request.uri());
        async move {
            // Listing and watching need nothing but GET.
            let response = http.get(&url, request.headers().clone(), Instant::now() + REQUEST_LIMIT).await?;
            let status = response.status();
            let mut answer = Response::new(StreamBody::new(frames(response)));
            *answer.status_mut() = status;
            Ok::<_, ScrapeError>(answer)
        }
    });
    Ok(Client::new(service, "default"))
}

fn frames(response: kvass_scrape::Response) -> impl Stream<Item = Result<Frame<bytes::Bytes>, ScrapeError>> {
    stream::try_unfold(response, |mut response| async {
        let chunk = response.chunk().await?;
        Ok(chunk.map(|chunk| (Frame::data(chunk), response)))
    })
}
