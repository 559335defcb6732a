//! The configuration structures of the original: members in order of declaration, the YAML keys they are read from, and
//! the values they have when a key is absent.

mod discovery;
mod http;
mod remote;

use http::{CLIENT, TLS};
use remote::{REMOTE_READ, REMOTE_WRITE};

pub(super) use self::{
    discovery::DISCOVERY,
    http::{AUTHORIZATION, BASIC_AUTH},
};
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
