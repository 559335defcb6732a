//! Remote write and read.

use super::{Default, Kind, RELABEL, Type, http::CLIENT, member, structure};
use crate::original_hash::Generation::Head;

pub(super) static REMOTE_WRITE: Type = structure(
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

pub(super) static REMOTE_READ: Type = structure(
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
