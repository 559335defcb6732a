//! The one way kvass reaches a target: clients built from the jobs' HTTP settings, and one scrape.
//!
//! Exploring (coordinator) and the scrape proxy (sidecar) both go through [`JobClient::scrape`], so that
//! they cannot disagree about credentials, limits or what counts as a failure. HTTP service discovery
//! uses the plain [`HttpClient`].

mod auth;
mod connector;
mod deadline;
mod endpoint;
mod error;
mod error_chain;
mod gzip;
mod http_client;
mod job_client;
mod job_clients;
mod measure;
mod no_proxy;
mod oauth2;
mod options;
mod proxy;
mod redirect;
mod response;
mod secret_source;
mod tls;
mod transport;
mod tunnel;
mod verifier;

pub use error::{ClientError, Phase, ScrapeError};
pub use http_client::HttpClient;
pub use job_client::{JobClient, TIMEOUT_HEADER, remove_hop_by_hop};
pub use job_clients::JobClients;
pub use measure::measure;
pub use options::ClientOptions;
pub use response::Response;

/// The `User-Agent` of requests that kvass makes on its own account.
pub const USER_AGENT: &str = concat!("kvass/", env!("CARGO_PKG_VERSION"));
