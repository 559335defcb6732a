use std::{collections::BTreeSet, time::Duration};

use kvass_model::{ADDRESS_LABEL, Labels, PrometheusLine, TargetGroup};

use super::{http, mechanisms, selector, without_code};
use crate::{
    AttachMetadata, ConfigError, FileSdConfig, HttpClientConfig, HttpSdConfig, KubernetesRole, KubernetesSdConfig,
    KubernetesSelector, OtherSdConfig, SdConfig, cursor::Cursor, url_text,
};

/// The discovery sections of a job or an Alertmanager: in file order, all static ones merged at the end.
/// `addresses_final` says that no relabel rule can still change an address.
pub(super) fn sections(cursor: Cursor<'_>, addresses_final: bool, line: PrometheusLine) -> Result<Vec<SdConfig>, ConfigError> {
    let mut sections = Vec::new();
    let mut groups = Vec::new();
    for (key, list) in cursor.pairs().filter(|(_, list)| !list.node().items().is_empty()) {
        match key {
            "static_configs" => {
                for item in list.items() {
                    groups.push(static_group(item, groups.len(), addresses_final)?);
                }
            }
            "file_sd_configs" => {
                for item in list.items() {
                    sections.push(SdConfig::File(file(item, line)?));
                }
            }
            "http_sd_configs" => {
                for item in list.items() {
                    sections.push(SdConfig::Http(http_sd(item, line)?));
                }
            }
            "kubernetes_sd_configs" => {
                for item in list.items() {
                    sections.push(SdConfig::Kubernetes(Box::new(kubernetes(item)?)));
                }
            }
            other if other.ends_with("_sd_configs") => {
                for item in list.items() {
                    sections.push(match mechanisms::section(other, item)? {
                        Some(section) => section,
                        None => {
                            without_code::check(other, item)?;
                            let interval = refresh_interval(item, Duration::from_secs(60))?;
                            SdConfig::Other(OtherSdConfig::new(other, interval, item.node()))
                        }
                    });
                }
            }
            _ => {}
        }
    }
    if !groups.is_empty() {
        sections.push(SdConfig::Static(groups));
    }
    Ok(sections)
}

pub(crate) fn static_group(cursor: Cursor<'_>, index: usize, addresses_final: bool) -> Result<TargetGroup, ConfigError> {
    let mut targets = Vec::new();
    for target in cursor.get("targets").iter().flat_map(|list| list.items()) {
        let address = target.node().as_scalar().map(|scalar| scalar.as_text()).unwrap_or_default();
        if addresses_final && address.contains('/') {
            return Err(target.error("expected host:port, without a path, as no relabel_configs take it apart"));
        }
        targets.push(Labels::from([(ADDRESS_LABEL, address)]));
    }
    let labels = cursor.get("labels");
    let labels = labels.iter().flat_map(|labels| labels.pairs());
    let labels = labels.filter_map(|(name, value)| Some((name, value.node().as_scalar()?.as_text()))).collect();
    Ok(TargetGroup { source: index.to_string(), targets, labels })
}

/// Prometheus would not survive a ticker of zero.
pub(super) fn refresh_interval(cursor: Cursor<'_>, default: Duration) -> Result<Duration, ConfigError> {
    match cursor.duration("refresh_interval") {
        Some(Duration::ZERO) => Err(cursor.error_at("refresh_interval", "expected a duration above 0")),
        interval => Ok(interval.unwrap_or(default)),
    }
}

fn file(cursor: Cursor<'_>, line: PrometheusLine) -> Result<FileSdConfig, ConfigError> {
    let files = cursor.texts("files").unwrap_or_default();
    if files.is_empty() {
        return Err(cursor.error_at("files", "expected at least one path"));
    }
    Ok(FileSdConfig { files, refresh_interval: refresh_interval(cursor, Duration::from_secs(300))?, line })
}

/// The text under `key`, which must be given.
pub(super) fn required<'a>(cursor: Cursor<'a>, key: &str) -> Result<&'a str, ConfigError> {
    cursor.non_empty(key).ok_or_else(|| cursor.error_at(key, "is required"))
}

fn http_sd(cursor: Cursor<'_>, line: PrometheusLine) -> Result<HttpSdConfig, ConfigError> {
    let url = required(cursor, "url")?;
    if !url_text::is_http(url) {
        return Err(cursor.error_at("url", "expected http:// or https:// and a host"));
    }
    Ok(HttpSdConfig {
        url: url.to_owned(),
        refresh_interval: refresh_interval(cursor, Duration::from_secs(60))?,
        http: http::client(cursor)?,
        line,
    })
}

const ROLES: [KubernetesRole; 6] = [
    KubernetesRole::Node,
    KubernetesRole::Pod,
    KubernetesRole::Service,
    KubernetesRole::Endpoints,
    KubernetesRole::EndpointSlice,
    KubernetesRole::Ingress,
];

fn role(cursor: Cursor<'_>) -> Result<KubernetesRole, ConfigError> {
    let text = cursor.text("role").unwrap_or_default();
    ROLES
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| cursor.error_at("role", format!("expected one of {}", ROLES.map(KubernetesRole::as_str).join(", "))))
}

fn kubernetes(cursor: Cursor<'_>) -> Result<KubernetesSdConfig, ConfigError> {
    let role = role(cursor)?;
    let http = http::client(cursor)?;
    let api_server = cursor.non_empty("api_server").map(str::to_owned);
    let kubeconfig_file = cursor.non_empty("kubeconfig_file").map(Into::into);
    let namespaces = cursor.get("namespaces");
    let own_namespace = namespaces.as_ref().and_then(|section| section.boolean("own_namespace")).unwrap_or(false);

    if kubeconfig_file.is_some() && api_server.is_some() {
        return Err(cursor.error_at("kubeconfig_file", "cannot be combined with api_server"));
    }
    // Prometheus compares with its defaults, from which what is there and empty differs.
    let differs = ["http_headers", "proxy_url", "proxy_connect_header"].iter().any(|key| cursor.get(key).is_some());
    if http != HttpClientConfig::default() || differs {
        if kubeconfig_file.is_some() {
            return Err(cursor.error_at("kubeconfig_file", "cannot be combined with settings of the HTTP client"));
        }
        if api_server.is_none() {
            return Err(cursor.error_at("api_server", "is required with settings of the HTTP client"));
        }
    }
    if own_namespace && (api_server.is_some() || kubeconfig_file.is_some()) {
        return Err(cursor.error_at("namespaces", "own_namespace cannot be combined with api_server or kubeconfig_file"));
    }

    let attached = cursor.get("attach_metadata");
    let attach = |key| attached.as_ref().and_then(|section| section.boolean(key)).unwrap_or(false);
    Ok(KubernetesSdConfig {
        role,
        api_server,
        kubeconfig_file,
        http,
        namespaces: namespaces.and_then(|section| section.texts("names")).unwrap_or_default(),
        own_namespace,
        selectors: selectors(cursor, role)?,
        attach_metadata: AttachMetadata {
            node: attach("node"),
            namespace: attach("namespace"),
            deployment: attach("deployment"),
            job: attach("job"),
            cronjob: attach("cronjob"),
        },
    })
}

fn selectors(cursor: Cursor<'_>, discovered: KubernetesRole) -> Result<Vec<KubernetesSelector>, ConfigError> {
    use KubernetesRole::{EndpointSlice, Endpoints, Ingress, Node, Pod, Service};
    let allowed: &[KubernetesRole] = match discovered {
        Pod => &[Pod, Node],
        Service => &[Service],
        Endpoints => &[Pod, Service, Endpoints],
        EndpointSlice => &[Pod, Service, EndpointSlice],
        Node => &[Node],
        Ingress => &[Ingress],
    };
    let mut selectors = Vec::new();
    let mut seen = BTreeSet::new();
    for item in cursor.get("selectors").iter().flat_map(|list| list.items()) {
        let role = role(item)?;
        if !allowed.contains(&role) {
            let allowed: Vec<&str> = allowed.iter().map(|role| role.as_str()).collect();
            return Err(
                item.error_at("role", format!("expected one of {} under role {}", allowed.join(", "), discovered.as_str()))
            );
        }
        if !seen.insert(role) {
            return Err(item.error_at("role", "given twice"));
        }
        let text = |key| item.text(key).unwrap_or_default();
        if !selector::is_label_selector(text("label")) {
            return Err(item.error_at("label", "expected a label selector such as app=web,tier!=test"));
        }
        if !selector::is_field_selector(text("field")) {
            return Err(item.error_at("field", "expected a field selector such as spec.nodeName=a"));
        }
        selectors.push(KubernetesSelector { role, label: text("label").to_owned(), field: text("field").to_owned() });
    }
    Ok(selectors)
}
