//! Discovery sections.

use super::{
    Default, Kind, Rule, Type,
    http::{CLIENT, UNFINISHED_CLIENT},
    member, structure,
};
use crate::original_hash::Generation::Head;

/// Discovery sections that the tables cover, by key; static ones have a form of their own.
pub(in super::super) static DISCOVERY: [(&str, &Type); 5] = [
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
