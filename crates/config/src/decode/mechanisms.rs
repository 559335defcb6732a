//! Discovery sections that ask a service by a protocol of its own.

use std::time::Duration;

use super::{
    aws, clouds, http, iaas,
    service_discovery::{refresh_interval, required},
};
use crate::{
    ConfigError, ConsulSdConfig, DnsRecord, DnsSdConfig, DockerDaemon, DockerSdConfig, DockerSwarmRole, DockerSwarmSdConfig,
    EurekaSdConfig, MarathonSdConfig, NomadSdConfig, PuppetDbSdConfig, SdConfig, Secret, SecretSource, cursor::Cursor,
    http_client::BasicAuth, url_text,
};

/// One entry of the list under `key`; `None` for mechanisms without code.
pub(super) fn section(key: &str, cursor: Cursor<'_>) -> Result<Option<SdConfig>, ConfigError> {
    Ok(Some(match key {
        "dns_sd_configs" => SdConfig::Dns(dns(cursor)?),
        "consul_sd_configs" => SdConfig::Consul(consul(cursor)?),
        "docker_sd_configs" => SdConfig::Docker(docker(cursor)?),
        "dockerswarm_sd_configs" => SdConfig::DockerSwarm(docker_swarm(cursor)?),
        "nomad_sd_configs" => SdConfig::Nomad(nomad(cursor)?),
        "eureka_sd_configs" => SdConfig::Eureka(eureka(cursor)?),
        "marathon_sd_configs" => SdConfig::Marathon(marathon(cursor)?),
        "puppetdb_sd_configs" => SdConfig::PuppetDb(puppetdb(cursor)?),
        "aws_sd_configs" | "ec2_sd_configs" | "ecs_sd_configs" | "lightsail_sd_configs" | "msk_sd_configs" => {
            return aws::section(key, cursor);
        }
        "azure_sd_configs" | "gce_sd_configs" | "openstack_sd_configs" | "ovhcloud_sd_configs" => {
            return iaas::section(key, cursor);
        }
        _ => return clouds::section(key, cursor),
    }))
}

pub(super) fn seconds(cursor: Cursor<'_>, default: u64) -> Result<Duration, ConfigError> {
    refresh_interval(cursor, Duration::from_secs(default))
}

pub(super) fn text(cursor: Cursor<'_>, key: &str, default: &str) -> String {
    cursor.text(key).unwrap_or(default).to_owned()
}

/// The port of targets for which the service knows none.
pub(super) fn port(cursor: Cursor<'_>) -> i64 {
    cursor.integer("port").unwrap_or(80)
}

/// The meaning of the word under `key`.
pub(super) fn word<T: Copy>(cursor: Cursor<'_>, key: &str, default: &str, words: &[(&str, T)]) -> Result<T, ConfigError> {
    let given = cursor.text(key).unwrap_or(default);
    words.iter().find(|(word, _)| *word == given).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        cursor.error_at(key, format!("expected one of {}", words.join(", ")))
    })
}

fn dns(cursor: Cursor<'_>) -> Result<DnsSdConfig, ConfigError> {
    let names = cursor.texts("names").unwrap_or_default();
    if names.is_empty() {
        return Err(cursor.error_at("names", "expected at least one name"));
    }
    let record = match cursor.text("type").unwrap_or("SRV").to_uppercase().as_str() {
        "SRV" => DnsRecord::Srv,
        "A" => DnsRecord::A,
        "AAAA" => DnsRecord::Aaaa,
        "MX" => DnsRecord::Mx,
        "NS" => DnsRecord::Ns,
        _ => return Err(cursor.error_at("type", "expected one of SRV, A, AAAA, MX, NS")),
    };
    let port = cursor.integer("port").unwrap_or_default();
    if port == 0 && record != DnsRecord::Srv {
        return Err(cursor.error_at("port", "is required unless the type is SRV"));
    }
    Ok(DnsSdConfig { names, record, port, refresh_interval: seconds(cursor, 30)? })
}

fn consul(cursor: Cursor<'_>) -> Result<ConsulSdConfig, ConfigError> {
    let server = text(cursor, "server", "localhost:8500");
    if server.trim().is_empty() {
        return Err(cursor.error_at("server", "expected host:port or a URL"));
    }
    let mut http = http::client(cursor)?;
    if let Some(key) = ["username", "password"].into_iter().find(|key| cursor.non_empty(key).is_some()) {
        let methods = ["basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file"];
        if let Some(method) = methods.into_iter().find(|key| cursor.get(key).is_some()) {
            let place = cursor.get(key).unwrap_or(cursor);
            return Err(place.error_without_value(format!("cannot be combined with {method}")));
        }
        let inline = |key| cursor.non_empty(key).map(|text| SecretSource::Inline(Secret::new(text)));
        http.basic_auth = Some(BasicAuth { username: inline("username"), password: inline("password") });
    }
    let token = cursor.non_empty("token").map(Secret::new);
    if token.is_some()
        && let Some(method) = ["authorization", "oauth2"].into_iter().find(|key| cursor.get(key).is_some())
    {
        let place = cursor.get("token").unwrap_or(cursor);
        return Err(place.error_without_value(format!("cannot be combined with {method}")));
    }
    let mut node_meta: Vec<(String, String)> = Vec::new();
    for (name, value) in cursor.get("node_meta").iter().flat_map(|section| section.pairs()) {
        node_meta.push((name.to_owned(), value.node().as_scalar().map(|s| s.as_text().to_owned()).unwrap_or_default()));
    }
    node_meta.sort();
    Ok(ConsulSdConfig {
        server,
        scheme: text(cursor, "scheme", "http"),
        path_prefix: text(cursor, "path_prefix", ""),
        token,
        datacenter: text(cursor, "datacenter", ""),
        namespace: text(cursor, "namespace", ""),
        partition: text(cursor, "partition", ""),
        tag_separator: text(cursor, "tag_separator", ","),
        allow_stale: cursor.boolean("allow_stale").unwrap_or(true),
        refresh_interval: seconds(cursor, 30)?,
        services: cursor.texts("services").unwrap_or_default(),
        tags: cursor.texts("tags").unwrap_or_default(),
        node_meta,
        filter: text(cursor, "filter", ""),
        health_filter: text(cursor, "health_filter", ""),
        http,
    })
}

fn docker_daemon(cursor: Cursor<'_>) -> Result<DockerDaemon, ConfigError> {
    let host = required(cursor, "host")?;
    let filters = cursor.get("filters");
    let filters = filters.iter().flat_map(|list| list.items());
    let filters = filters.map(|filter| (text(filter, "name", ""), filter.texts("values").unwrap_or_default())).collect();
    Ok(DockerDaemon { host: host.to_owned(), filters, refresh_interval: seconds(cursor, 60)?, http: http::client(cursor)? })
}

fn docker(cursor: Cursor<'_>) -> Result<DockerSdConfig, ConfigError> {
    Ok(DockerSdConfig {
        daemon: docker_daemon(cursor)?,
        port: port(cursor),
        host_networking_host: text(cursor, "host_networking_host", "localhost"),
        match_first_network: cursor.boolean("match_first_network").unwrap_or(true),
    })
}

fn docker_swarm(cursor: Cursor<'_>) -> Result<DockerSwarmSdConfig, ConfigError> {
    use DockerSwarmRole::{Nodes, Services, Tasks};
    let daemon = docker_daemon(cursor)?;
    let role = word(cursor, "role", "", &[("services", Services), ("tasks", Tasks), ("nodes", Nodes)])?;
    Ok(DockerSwarmSdConfig { daemon, role, port: port(cursor) })
}

fn nomad(cursor: Cursor<'_>) -> Result<NomadSdConfig, ConfigError> {
    let server = text(cursor, "server", "http://localhost:4646");
    if server.trim().is_empty() {
        return Err(cursor.error_at("server", "expected a URL"));
    }
    Ok(NomadSdConfig {
        server,
        namespace: text(cursor, "namespace", "default"),
        region: text(cursor, "region", "global"),
        allow_stale: cursor.boolean("allow_stale").unwrap_or(true),
        tag_separator: text(cursor, "tag_separator", ","),
        refresh_interval: seconds(cursor, 60)?,
        http: http::client(cursor)?,
    })
}

fn eureka(cursor: Cursor<'_>) -> Result<EurekaSdConfig, ConfigError> {
    let server = required(cursor, "server")?;
    if url_text::scheme_and_host(server).is_none() {
        return Err(cursor.error_at("server", "expected a URL with scheme and host"));
    }
    Ok(EurekaSdConfig { server: server.to_owned(), refresh_interval: seconds(cursor, 30)?, http: http::client(cursor)? })
}

fn marathon(cursor: Cursor<'_>) -> Result<MarathonSdConfig, ConfigError> {
    let servers = cursor.texts("servers").unwrap_or_default();
    if servers.is_empty() {
        return Err(cursor.error_at("servers", "expected at least one URL"));
    }
    let auth_token = http::secret(cursor, "auth_token")?;
    if auth_token.is_some() {
        let methods = ["basic_auth", "bearer_token", "bearer_token_file", "authorization"];
        let other = methods.into_iter().find(|key| match *key {
            "basic_auth" | "authorization" => cursor.get(key).is_some(),
            key => cursor.non_empty(key).is_some(),
        });
        if let Some(other) = other {
            let place = cursor.get(other).unwrap_or(cursor);
            return Err(place.error_without_value("cannot be combined with auth_token or auth_token_file"));
        }
    }
    Ok(MarathonSdConfig { servers, auth_token, refresh_interval: seconds(cursor, 30)?, http: http::client(cursor)? })
}

fn puppetdb(cursor: Cursor<'_>) -> Result<PuppetDbSdConfig, ConfigError> {
    let url = required(cursor, "url")?;
    if !url_text::is_http(url) {
        return Err(cursor.error_at("url", "expected http:// or https:// and a host"));
    }
    Ok(PuppetDbSdConfig {
        url: url.to_owned(),
        query: required(cursor, "query")?.to_owned(),
        include_parameters: cursor.boolean("include_parameters").unwrap_or(false),
        port: port(cursor),
        refresh_interval: seconds(cursor, 60)?,
        http: http::client(cursor)?,
    })
}
