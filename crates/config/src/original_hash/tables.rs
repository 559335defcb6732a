//! The configuration structures of the original: members in order of declaration, the YAML keys they are read from, and
//! the values they have when a key is absent.

use super::{Generation, Generation::Head};

/// A structure and its exported members.
pub(super) struct Type {
    pub(super) name: &'static str,
    pub(super) members: &'static [Member],
    pub(super) rule: Rule,
}

/// What is done once a structure has been read; the original's decoders do it, so a null skips it.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    None,
    /// A bearer token becomes an authorization, whose type is `Bearer` unless given.
    Authorization,
    /// User name and password become basic authentication.
    Consul,
    /// An action in lower case, and never no regular expression.
    Relabel,
}

pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Default,
    since: Generation,
}

impl Member {
    pub(super) fn exists_in(&self, generation: Generation) -> bool {
        self.since <= generation
    }
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Bool,
    Int,
    Uint,
    Float,
    Duration,
    Size,
    /// A structure around a pointer to a parsed URL.
    Url,
    /// A structure around a compiled expression, of which nothing is exported.
    Regex,
    Texts,
    /// Text to text.
    TextMap,
    /// Text to a list of texts.
    TextsMap,
    /// A list of structures.
    List(&'static Type),
    /// A structure; its own defaults hold even if its key is absent.
    Inside(&'static Type),
    /// A structure that is all zero if its key is absent.
    Zeroed(&'static Type),
    /// A structure, or nothing if its key is absent.
    Optional(&'static Type),
    /// A structure whose keys stand in the same mapping.
    Inline(&'static Type),
    /// All discovery sections.
    Discovery,
}

/// The value of a member whose key is absent.
#[derive(Clone, Copy)]
pub(super) enum Default {
    /// Zero, empty or nothing; for structures see [`Kind`].
    Zero,
    True,
    Text(&'static str),
    Number(u64),
    /// Milliseconds.
    Millis(u64),
    /// Milliseconds, up to v0.3.1 and after.
    MillisChanged(u64, u64),
}

const fn member(name: &'static str, key: &'static str, kind: Kind) -> Member {
    Member { name, key, kind, default: Default::Zero, since: Generation::V02 }
}

impl Member {
    const fn or(self, default: Default) -> Member {
        Member { default, ..self }
    }

    const fn since(self, since: Generation) -> Member {
        Member { since, ..self }
    }
}

const fn structure(name: &'static str, members: &'static [Member]) -> Type {
    Type { name, members, rule: Rule::None }
}

impl Type {
    const fn with(self, rule: Rule) -> Type {
        Type { rule, ..self }
    }
}

pub(super) static CONFIG: Type = structure(
    "Config",
    &[
        member("GlobalConfig", "global", Kind::Inside(&GLOBAL)),
        member("AlertingConfig", "alerting", Kind::Inside(&ALERTING)),
        member("RuleFiles", "rule_files", Kind::Texts),
        member("ScrapeConfigs", "scrape_configs", Kind::List(&SCRAPE)),
        member("StorageConfig", "storage", Kind::Inside(&STORAGE)).since(Head),
        member("TracingConfig", "tracing", Kind::Zeroed(&TRACING)).since(Head),
        member("RemoteWriteConfigs", "remote_write", Kind::List(&REMOTE_WRITE)),
        member("RemoteReadConfigs", "remote_read", Kind::List(&REMOTE_READ)),
    ],
);

static GLOBAL: Type = structure(
    "GlobalConfig",
    &[
        member("ScrapeInterval", "scrape_interval", Kind::Duration),
        member("ScrapeTimeout", "scrape_timeout", Kind::Duration),
        member("EvaluationInterval", "evaluation_interval", Kind::Duration),
        member("QueryLogFile", "query_log_file", Kind::Text),
        // Emptied before hashing; the reader does not look into it.
        member("ExternalLabels", "external_labels", Kind::Texts),
    ],
);

static ALERTING: Type = structure(
    "AlertingConfig",
    &[
        member("AlertRelabelConfigs", "alert_relabel_configs", Kind::List(&RELABEL)),
        member("AlertmanagerConfigs", "alertmanagers", Kind::List(&ALERTMANAGER)),
    ],
);

static ALERTMANAGER: Type = structure(
    "AlertmanagerConfig",
    &[
        member("ServiceDiscoveryConfigs", "", Kind::Discovery),
        member("HTTPClientConfig", "", Kind::Inline(&CLIENT)),
        member("Scheme", "scheme", Kind::Text).or(Default::Text("http")),
        member("PathPrefix", "path_prefix", Kind::Text),
        member("Timeout", "timeout", Kind::Duration).or(Default::Millis(10_000)),
        member("APIVersion", "api_version", Kind::Text).or(Default::Text("v2")),
        member("RelabelConfigs", "relabel_configs", Kind::List(&RELABEL)),
    ],
);

static SCRAPE: Type = structure(
    "ScrapeConfig",
    &[
        member("JobName", "job_name", Kind::Text),
        member("HonorLabels", "honor_labels", Kind::Bool),
        member("HonorTimestamps", "honor_timestamps", Kind::Bool).or(Default::True),
        member("Params", "params", Kind::TextsMap),
        member("ScrapeInterval", "scrape_interval", Kind::Duration),
        member("ScrapeTimeout", "scrape_timeout", Kind::Duration),
        member("MetricsPath", "metrics_path", Kind::Text).or(Default::Text("/metrics")),
        member("Scheme", "scheme", Kind::Text).or(Default::Text("http")),
        member("BodySizeLimit", "body_size_limit", Kind::Size),
        member("SampleLimit", "sample_limit", Kind::Uint),
        member("TargetLimit", "target_limit", Kind::Uint),
        member("LabelLimit", "label_limit", Kind::Uint),
        member("LabelNameLengthLimit", "label_name_length_limit", Kind::Uint),
        member("LabelValueLengthLimit", "label_value_length_limit", Kind::Uint),
        member("ServiceDiscoveryConfigs", "", Kind::Discovery),
        member("HTTPClientConfig", "", Kind::Inline(&CLIENT)),
        member("RelabelConfigs", "relabel_configs", Kind::List(&RELABEL)),
        member("MetricRelabelConfigs", "metric_relabel_configs", Kind::List(&RELABEL)),
    ],
);

const CLIENT_MEMBERS: &[Member] = &[
    member("BasicAuth", "basic_auth", Kind::Optional(&BASIC_AUTH)),
    member("Authorization", "authorization", Kind::Optional(&AUTHORIZATION)),
    member("OAuth2", "oauth2", Kind::Optional(&OAUTH2)),
    member("BearerToken", "bearer_token", Kind::Text),
    member("BearerTokenFile", "bearer_token_file", Kind::Text),
    member("ProxyURL", "proxy_url", Kind::Url),
    member("TLSConfig", "tls_config", Kind::Inside(&TLS)),
    member("FollowRedirects", "follow_redirects", Kind::Bool).or(Default::True),
];

static CLIENT: Type = structure("HTTPClientConfig", CLIENT_MEMBERS).with(Rule::Authorization);

/// HTTP discovery forgets to finish its client.
static UNFINISHED_CLIENT: Type = structure("HTTPClientConfig", CLIENT_MEMBERS);

pub(super) static BASIC_AUTH: Type = structure(
    "BasicAuth",
    &[
        member("Username", "username", Kind::Text),
        member("Password", "password", Kind::Text),
        member("PasswordFile", "password_file", Kind::Text),
    ],
);

pub(super) static AUTHORIZATION: Type = structure(
    "Authorization",
    &[
        member("Type", "type", Kind::Text),
        member("Credentials", "credentials", Kind::Text),
        member("CredentialsFile", "credentials_file", Kind::Text),
    ],
);

static OAUTH2: Type = structure(
    "OAuth2",
    &[
        member("ClientID", "client_id", Kind::Text),
        member("ClientSecret", "client_secret", Kind::Text),
        member("ClientSecretFile", "client_secret_file", Kind::Text),
        member("Scopes", "scopes", Kind::Texts),
        member("TokenURL", "token_url", Kind::Text),
        member("EndpointParams", "endpoint_params", Kind::TextMap),
        member("TLSConfig", "tls_config", Kind::Inside(&TLS)),
    ],
);

static TLS: Type = structure(
    "TLSConfig",
    &[
        member("CAFile", "ca_file", Kind::Text),
        member("CertFile", "cert_file", Kind::Text),
        member("KeyFile", "key_file", Kind::Text),
        member("ServerName", "server_name", Kind::Text),
        member("InsecureSkipVerify", "insecure_skip_verify", Kind::Bool),
    ],
);

static RELABEL: Type = structure(
    "Config",
    &[
        member("SourceLabels", "source_labels", Kind::Texts),
        member("Separator", "separator", Kind::Text).or(Default::Text(";")),
        member("Regex", "regex", Kind::Regex),
        member("Modulus", "modulus", Kind::Uint),
        member("TargetLabel", "target_label", Kind::Text),
        member("Replacement", "replacement", Kind::Text).or(Default::Text("$1")),
        member("Action", "action", Kind::Text).or(Default::Text("replace")),
    ],
)
.with(Rule::Relabel);

static STORAGE: Type = structure("StorageConfig", &[member("ExemplarsConfig", "exemplars", Kind::Optional(&EXEMPLARS))]);
static EXEMPLARS: Type = structure("ExemplarsConfig", &[member("MaxExemplars", "max_exemplars", Kind::Int)]);

static TRACING: Type = structure(
    "TracingConfig",
    &[
        member("ClientType", "client_type", Kind::Text).or(Default::Text("grpc")),
        member("Endpoint", "endpoint", Kind::Text),
        member("SamplingFraction", "sampling_fraction", Kind::Float),
        member("Insecure", "insecure", Kind::Bool),
        member("TLSConfig", "tls_config", Kind::Inside(&TLS)),
        member("Headers", "headers", Kind::TextMap),
        member("Compression", "compression", Kind::Text),
        member("Timeout", "timeout", Kind::Duration),
    ],
);

static REMOTE_WRITE: Type = structure(
    "RemoteWriteConfig",
    &[
        member("URL", "url", Kind::Url),
        member("RemoteTimeout", "remote_timeout", Kind::Duration).or(Default::Millis(30_000)),
        member("Headers", "headers", Kind::TextMap),
        member("WriteRelabelConfigs", "write_relabel_configs", Kind::List(&RELABEL)),
        member("Name", "name", Kind::Text),
        member("SendExemplars", "send_exemplars", Kind::Bool),
        member("HTTPClientConfig", "", Kind::Inline(&CLIENT)),
        member("QueueConfig", "queue_config", Kind::Inside(&QUEUE)),
        member("MetadataConfig", "metadata_config", Kind::Inside(&METADATA)),
        member("SigV4Config", "sigv4", Kind::Optional(&SIGV4)),
    ],
);

static QUEUE: Type = structure(
    "QueueConfig",
    &[
        member("Capacity", "capacity", Kind::Int).or(Default::Number(2500)),
        member("MaxShards", "max_shards", Kind::Int).or(Default::Number(200)),
        member("MinShards", "min_shards", Kind::Int).or(Default::Number(1)),
        member("MaxSamplesPerSend", "max_samples_per_send", Kind::Int).or(Default::Number(500)),
        member("BatchSendDeadline", "batch_send_deadline", Kind::Duration).or(Default::Millis(5000)),
        member("MinBackoff", "min_backoff", Kind::Duration).or(Default::Millis(30)),
        member("MaxBackoff", "max_backoff", Kind::Duration).or(Default::MillisChanged(100, 5000)),
        member("RetryOnRateLimit", "retry_on_http_429", Kind::Bool),
    ],
);

static METADATA: Type = structure(
    "MetadataConfig",
    &[
        member("Send", "send", Kind::Bool).or(Default::True),
        member("SendInterval", "send_interval", Kind::Duration).or(Default::Millis(60_000)),
        member("MaxSamplesPerSend", "max_samples_per_send", Kind::Int).or(Default::Number(500)).since(Head),
    ],
);

static SIGV4: Type = structure(
    "SigV4Config",
    &[
        member("Region", "region", Kind::Text),
        member("AccessKey", "access_key", Kind::Text),
        member("SecretKey", "secret_key", Kind::Text),
        member("Profile", "profile", Kind::Text),
        member("RoleARN", "role_arn", Kind::Text),
    ],
);

static REMOTE_READ: Type = structure(
    "RemoteReadConfig",
    &[
        member("URL", "url", Kind::Url),
        member("RemoteTimeout", "remote_timeout", Kind::Duration).or(Default::Millis(60_000)),
        member("Headers", "headers", Kind::TextMap),
        member("ReadRecent", "read_recent", Kind::Bool),
        member("Name", "name", Kind::Text),
        member("HTTPClientConfig", "", Kind::Inline(&CLIENT)),
        member("RequiredMatchers", "required_matchers", Kind::TextMap),
        member("FilterExternalLabels", "filter_external_labels", Kind::Bool).or(Default::True).since(Head),
    ],
);

/// Discovery sections that the tables cover, by key; static ones have a form of their own.
pub(super) static DISCOVERY: [(&str, &Type); 5] = [
    ("consul_sd_configs", &CONSUL),
    ("dns_sd_configs", &DNS),
    ("file_sd_configs", &FILE),
    ("http_sd_configs", &HTTP),
    ("kubernetes_sd_configs", &KUBERNETES),
];

static CONSUL: Type = structure(
    "SDConfig",
    &[
        member("Server", "server", Kind::Text).or(Default::Text("localhost:8500")),
        member("Token", "token", Kind::Text),
        member("Datacenter", "datacenter", Kind::Text),
        member("Namespace", "namespace", Kind::Text),
        member("TagSeparator", "tag_separator", Kind::Text).or(Default::Text(",")),
        member("Scheme", "scheme", Kind::Text).or(Default::Text("http")),
        member("Username", "username", Kind::Text),
        member("Password", "password", Kind::Text),
        member("AllowStale", "allow_stale", Kind::Bool).or(Default::True),
        member("RefreshInterval", "refresh_interval", Kind::Duration).or(Default::Millis(30_000)),
        member("Services", "services", Kind::Texts),
        member("ServiceTags", "tags", Kind::Texts),
        member("NodeMeta", "node_meta", Kind::TextMap),
        member("HTTPClientConfig", "", Kind::Inline(&CLIENT)),
    ],
)
.with(Rule::Consul);

static DNS: Type = structure(
    "SDConfig",
    &[
        member("Names", "names", Kind::Texts),
        member("RefreshInterval", "refresh_interval", Kind::Duration).or(Default::Millis(30_000)),
        member("Type", "type", Kind::Text).or(Default::Text("SRV")),
        member("Port", "port", Kind::Int),
    ],
);

static FILE: Type = structure(
    "SDConfig",
    &[
        member("Files", "files", Kind::Texts),
        member("RefreshInterval", "refresh_interval", Kind::Duration).or(Default::Millis(300_000)),
    ],
);

static HTTP: Type = structure(
    "SDConfig",
    &[
        member("HTTPClientConfig", "", Kind::Inline(&UNFINISHED_CLIENT)),
        member("RefreshInterval", "refresh_interval", Kind::Duration).or(Default::Millis(60_000)),
        member("URL", "url", Kind::Text),
    ],
);

static KUBERNETES: Type = structure(
    "SDConfig",
    &[
        member("APIServer", "api_server", Kind::Url),
        member("Role", "role", Kind::Text),
        member("KubeConfig", "kubeconfig_file", Kind::Text),
        member("HTTPClientConfig", "", Kind::Inline(&CLIENT)),
        member("NamespaceDiscovery", "namespaces", Kind::Inside(&NAMESPACES)),
        member("Selectors", "selectors", Kind::List(&SELECTOR)),
        member("AttachMetadata", "attach_metadata", Kind::Inside(&ATTACH_METADATA)).since(Head),
    ],
);

static NAMESPACES: Type = structure(
    "NamespaceDiscovery",
    &[member("IncludeOwnNamespace", "own_namespace", Kind::Bool).since(Head), member("Names", "names", Kind::Texts)],
);

static SELECTOR: Type = structure(
    "SelectorConfig",
    &[member("Role", "role", Kind::Text), member("Label", "label", Kind::Text), member("Field", "field", Kind::Text)],
);

static ATTACH_METADATA: Type = structure("AttachMetadataConfig", &[member("Node", "node", Kind::Bool)]);
