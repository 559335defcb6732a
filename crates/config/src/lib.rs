//! Prometheus' configuration file: the document as given, the typed view of what kvass uses, its
//! hash, and the document a shard gets instead.
//!
//! A text becomes a tree of nodes that keep the text of every scalar (`yaml`). The tree is checked against the keys
//! Prometheus knows (`schema`), typed values are read from it (`decode`), and edits of the same tree yield what a shard
//! or a reader of the API gets. The caller reads files and the environment; only [`glob()`] looks at the file system.

mod aws_config;
mod cloud_config;
mod config;
mod cursor;
mod decode;
mod delegated;
mod environment;
mod error;
mod hash;
mod http_client;
mod iaas_config;
mod inject_options;
mod injection;
mod mask;
mod mechanism_config;
mod original_hash;
mod paths;
mod release;
mod scalar;
mod schema;
mod scrape_config;
mod survey;
mod target_groups;
mod url_text;
mod yaml;

pub use aws_config::{AwsAccess, AwsRole, AwsSdConfig};
pub use cloud_config::{
    CloudApi, DigitalOceanRole, DigitalOceanSdConfig, HetznerRole, HetznerSdConfig, IonosSdConfig, LinodeSdConfig, ScalewayRole,
    ScalewaySdConfig, VultrSdConfig,
};
pub use config::{Config, IncludedFiles, LoadContext};
pub use delegated::{MARKER_LABEL, OtherSdConfig, SECTION_LABEL, delegate_config};
pub use error::ConfigError;
pub use hash::{ConfigHash, hash_of_text};
pub use http_client::{Authorization, BasicAuth, HttpClientConfig, OAuth2, ProxyConfig, Secret, SecretSource, TlsConfig};
pub use iaas_config::{
    AzureAuthentication, AzureSdConfig, GceSdConfig, OpenStackIdentity, OpenStackRole, OpenStackSdConfig, OvhCloudSdConfig,
    OvhService,
};
pub use inject_options::{InjectOptions, apply_scrape_injection, apply_sd_injection};
pub use injection::{Injection, SELF_MONITOR_JOB, SelfMonitor, TargetDelivery, is_kept_from_shards};
pub use mechanism_config::{
    ConsulSdConfig, DnsRecord, DnsSdConfig, DockerDaemon, DockerSdConfig, DockerSwarmRole, DockerSwarmSdConfig, EurekaSdConfig,
    MarathonSdConfig, NomadSdConfig, PuppetDbSdConfig,
};
pub use original_hash::{HashShape, original_hash};
pub use release::PrometheusRelease;
pub use scrape_config::{
    AttachMetadata, FileSdConfig, HttpSdConfig, KubernetesRole, KubernetesSdConfig, KubernetesSelector, ScrapeConfig, SdConfig,
};
pub use survey::{FilePurpose, InlineSecret, JobKeys, NamedFile, Place, SecretForm, StaticTarget, Survey, sounds_secret};
pub use target_groups::parse_target_groups;
pub use url_text::mask_password;
