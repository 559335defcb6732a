use std::{path::PathBuf, sync::Arc, time::Duration};

use kvass_model::{Params, PrometheusLine, TargetGroup};
use kvass_relabel::RelabelConfig;

use crate::{
    AwsSdConfig, AzureSdConfig, ConsulSdConfig, DigitalOceanSdConfig, DnsSdConfig, DockerSdConfig, DockerSwarmSdConfig,
    EurekaSdConfig, GceSdConfig, HetznerSdConfig, HttpClientConfig, IonosSdConfig, LinodeSdConfig, MarathonSdConfig,
    NomadSdConfig, OpenStackSdConfig, OtherSdConfig, OvhCloudSdConfig, PuppetDbSdConfig, ScalewaySdConfig, VultrSdConfig,
};

/// The typed view of one entry of `scrape_configs`: what kvass itself acts on, globals and defaults
/// already applied. Everything else stays in the document and travels to the shards untouched.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeConfig {
    /// Unique over the main file and all included ones.
    pub job_name: Arc<str>,
    /// Keep exposed labels that collide with target labels.
    pub honor_labels: bool,
    /// Samples keep the timestamps they are exposed with.
    pub honor_timestamps: bool,
    /// URL parameters.
    pub params: Params,
    /// Never zero.
    pub scrape_interval: Duration,
    /// Never zero, never above the interval.
    pub scrape_timeout: Duration,
    /// Path of the metrics, not validated.
    pub metrics_path: String,
    /// `http` or `https`; Prometheus accepts anything at load.
    pub scheme: String,
    /// Limit on the decompressed body in bytes; `None` when unset here and in `global`.
    pub body_size_limit: Option<u64>,
    /// Series after metric relabelling above which a scrape fails; 0 = no limit.
    pub sample_limit: u64,
    /// Targets after relabelling above which every scrape of the job fails; 0 = no limit.
    pub target_limit: u64,
    /// Labels per series; 0 = no limit.
    pub label_limit: u64,
    /// Bytes of a label name; 0 = no limit.
    pub label_name_length_limit: u64,
    /// Bytes of a label value; 0 = no limit.
    pub label_value_length_limit: u64,
    /// Dropped targets kept for the API; 0 = all.
    pub keep_dropped_targets: u64,
    /// Ask targets for gzip.
    pub enable_compression: bool,
    /// Native histograms are scraped (decides the series count of protobuf bodies).
    pub scrape_native_histograms: bool,
    /// Classic buckets are kept beside native histograms.
    pub always_scrape_classic_histograms: bool,
    /// Classic histograms become one native series each.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Buckets of a native histogram above which a scrape fails, unless fewer are left in a coarser resolution; 0 = no
    /// limit.
    pub native_histogram_bucket_limit: u64,
    /// Growth from bucket to bucket below which native histograms are stored in a coarser resolution; 0 = as they come.
    pub native_histogram_min_bucket_factor: f64,
    /// The `Accept` header a Prometheus of the configured line sends for this job.
    pub accept: String,
    /// Parser used by Prometheus 3 when the content type is missing or unknown.
    pub fallback_scrape_protocol: Option<String>,
    /// Whether UTF-8 metric and label names are legal in this job.
    pub utf8_names: bool,
    /// Rules over targets.
    pub relabel_configs: Arc<Vec<RelabelConfig>>,
    /// Rules over samples.
    pub metric_relabel_configs: Arc<Vec<RelabelConfig>>,
    /// How targets are reached.
    pub http: HttpClientConfig,
    /// Where targets come from, in file order, static sections last and merged.
    pub service_discovery: Vec<SdConfig>,
}

/// One service discovery section of a job.
#[allow(clippy::large_enum_variant, reason = "a job has few sections, and they are read, not moved")]
#[derive(Clone, Debug, PartialEq)]
pub enum SdConfig {
    /// All `static_configs` of the job; group sources "0", "1", … in file order.
    Static(Vec<TargetGroup>),
    /// One entry of `file_sd_configs`.
    File(FileSdConfig),
    /// One entry of `http_sd_configs`.
    Http(HttpSdConfig),
    /// One entry of `kubernetes_sd_configs`.
    Kubernetes(Box<KubernetesSdConfig>),
    /// One entry of `dns_sd_configs`.
    Dns(DnsSdConfig),
    /// One entry of `consul_sd_configs`.
    Consul(ConsulSdConfig),
    /// One entry of `docker_sd_configs`.
    Docker(DockerSdConfig),
    /// One entry of `dockerswarm_sd_configs`.
    DockerSwarm(DockerSwarmSdConfig),
    /// One entry of `nomad_sd_configs`.
    Nomad(NomadSdConfig),
    /// One entry of `eureka_sd_configs`.
    Eureka(EurekaSdConfig),
    /// One entry of `marathon_sd_configs`.
    Marathon(MarathonSdConfig),
    /// One entry of `puppetdb_sd_configs`.
    PuppetDb(PuppetDbSdConfig),
    /// One entry of `digitalocean_sd_configs`.
    DigitalOcean(DigitalOceanSdConfig),
    /// One entry of `hetzner_sd_configs`.
    Hetzner(HetznerSdConfig),
    /// One entry of `linode_sd_configs`.
    Linode(LinodeSdConfig),
    /// One entry of `vultr_sd_configs`.
    Vultr(VultrSdConfig),
    /// One entry of `scaleway_sd_configs`.
    Scaleway(ScalewaySdConfig),
    /// One entry of `ec2_sd_configs`, `ecs_sd_configs`, `lightsail_sd_configs`, `msk_sd_configs` or `aws_sd_configs`.
    Aws(AwsSdConfig),
    /// One entry of `gce_sd_configs`.
    Gce(GceSdConfig),
    /// One entry of `azure_sd_configs`.
    Azure(AzureSdConfig),
    /// One entry of `openstack_sd_configs`.
    OpenStack(OpenStackSdConfig),
    /// One entry of `ovhcloud_sd_configs`.
    OvhCloud(OvhCloudSdConfig),
    /// One entry of `ionos_sd_configs`.
    Ionos(IonosSdConfig),
    /// One entry of a mechanism that Prometheus knows and kvass has no code for.
    Other(OtherSdConfig),
}

/// Targets from files, re-read on change.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSdConfig {
    /// Absolute glob patterns ending in `.json`, `.yml` or `.yaml`.
    pub files: Vec<String>,
    /// Fallback rhythm of re-reading.
    pub refresh_interval: Duration,
    /// Whose label names are legal in the files: Prometheus 2 refuses a file with others as a whole.
    pub line: PrometheusLine,
}

/// Targets from an HTTP endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSdConfig {
    /// Endpoint answering a JSON list of target groups.
    pub url: String,
    /// Rhythm of polling, and the client's timeout.
    pub refresh_interval: Duration,
    /// How the endpoint is reached.
    pub http: HttpClientConfig,
    /// Whose label names are legal in its answers: Prometheus 2 refuses one with others as a whole.
    pub line: PrometheusLine,
}

/// Targets from a Kubernetes API server.
#[derive(Clone, Debug, PartialEq)]
pub struct KubernetesSdConfig {
    /// `pod`, `node`, `service`, `endpoints`, `endpointslice` or `ingress`.
    pub role: KubernetesRole,
    /// API server; `None` means the in-cluster service account (or `kubeconfig_file`).
    pub api_server: Option<String>,
    /// Absolute path of a kubeconfig.
    pub kubeconfig_file: Option<PathBuf>,
    /// How the API server is reached.
    pub http: HttpClientConfig,
    /// Namespaces to watch; empty (and not `own_namespace`) means all.
    pub namespaces: Vec<String>,
    /// Also watch the namespace of the pod kvass runs in.
    pub own_namespace: bool,
    /// Selectors per role.
    pub selectors: Vec<KubernetesSelector>,
    /// What targets are told of the objects around them.
    pub attach_metadata: AttachMetadata,
}

/// Which objects around a target add labels to it; each is ignored by the roles that have no such objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachMetadata {
    /// The node: roles pod, endpoints, endpointslice.
    pub node: bool,
    /// The namespace: all roles but node.
    pub namespace: bool,
    /// The pod's deployment: roles pod, endpoints, endpointslice.
    pub deployment: bool,
    /// The pod's job: the same roles.
    pub job: bool,
    /// The pod's cron job: the same roles.
    pub cronjob: bool,
}

/// What a Kubernetes discovery lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KubernetesRole {
    /// Nodes.
    Node,
    /// Pods.
    Pod,
    /// Services.
    Service,
    /// Endpoints.
    Endpoints,
    /// Endpoint slices.
    EndpointSlice,
    /// Ingresses.
    Ingress,
}

impl KubernetesRole {
    /// The word used in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            KubernetesRole::Node => "node",
            KubernetesRole::Pod => "pod",
            KubernetesRole::Service => "service",
            KubernetesRole::Endpoints => "endpoints",
            KubernetesRole::EndpointSlice => "endpointslice",
            KubernetesRole::Ingress => "ingress",
        }
    }
}

/// Label and field selector for the objects of one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSelector {
    /// Objects it applies to.
    pub role: KubernetesRole,
    /// Label selector, empty for all.
    pub label: String,
    /// Field selector, empty for all.
    pub field: String,
}
