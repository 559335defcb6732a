//! Discovery sections of clouds that let one in by their own ways.

use super::{
    http,
    mechanisms::{port, seconds, text, word},
    service_discovery::required,
};
use crate::{
    AzureAuthentication, AzureSdConfig, CloudApi, ConfigError, GceSdConfig, OpenStackIdentity, OpenStackRole, OpenStackSdConfig,
    OvhCloudSdConfig, OvhService, SdConfig, Secret, cursor::Cursor,
};

/// One entry of the list under `key`; `None` for mechanisms without code.
pub(super) fn section(key: &str, cursor: Cursor<'_>) -> Result<Option<SdConfig>, ConfigError> {
    Ok(Some(match key {
        "gce_sd_configs" => SdConfig::Gce(gce(cursor)?),
        "azure_sd_configs" => SdConfig::Azure(azure(cursor)?),
        "ovhcloud_sd_configs" => SdConfig::OvhCloud(ovhcloud(cursor)?),
        "openstack_sd_configs" => SdConfig::OpenStack(openstack(cursor)?),
        _ => return Ok(None),
    }))
}

fn gce(cursor: Cursor<'_>) -> Result<GceSdConfig, ConfigError> {
    Ok(GceSdConfig {
        project: required(cursor, "project")?.to_owned(),
        zone: required(cursor, "zone")?.to_owned(),
        filter: text(cursor, "filter", ""),
        tag_separator: text(cursor, "tag_separator", ","),
        port: port(cursor),
        refresh_interval: seconds(cursor, 60)?,
    })
}

fn azure(cursor: Cursor<'_>) -> Result<AzureSdConfig, ConfigError> {
    use AzureAuthentication::{ManagedIdentity, OAuth, Sdk, WorkloadIdentity};
    let methods = [("OAuth", OAuth), ("ManagedIdentity", ManagedIdentity), ("SDK", Sdk), ("WorkloadIdentity", WorkloadIdentity)];
    let subscription_id = required(cursor, "subscription_id")?.to_owned();
    let authentication = word(cursor, "authentication_method", "OAuth", &methods)?;
    if authentication == OAuth {
        for key in ["tenant_id", "client_id", "client_secret"] {
            required(cursor, key)?;
        }
    }
    let api = CloudApi { port: port(cursor), refresh_interval: seconds(cursor, 300)?, http: http::client(cursor)? };
    Ok(AzureSdConfig {
        environment: text(cursor, "environment", "AzurePublicCloud"),
        subscription_id,
        resource_group: text(cursor, "resource_group", ""),
        tenant_id: text(cursor, "tenant_id", ""),
        client_id: text(cursor, "client_id", ""),
        client_secret: cursor.non_empty("client_secret").map(Secret::new),
        authentication,
        api,
    })
}

fn ovhcloud(cursor: Cursor<'_>) -> Result<OvhCloudSdConfig, ConfigError> {
    let endpoint = text(cursor, "endpoint", "ovh-eu");
    if endpoint.is_empty() {
        return Err(cursor.error_at("endpoint", "expected a name such as ovh-eu, or a URL"));
    }
    let services = [("dedicated_server", OvhService::DedicatedServer), ("vps", OvhService::Vps)];
    Ok(OvhCloudSdConfig {
        endpoint,
        application_key: required(cursor, "application_key")?.to_owned(),
        application_secret: Secret::new(required(cursor, "application_secret")?),
        consumer_key: Secret::new(required(cursor, "consumer_key")?),
        service: word(cursor, "service", "", &services)?,
        refresh_interval: seconds(cursor, 60)?,
    })
}

fn openstack(cursor: Cursor<'_>) -> Result<OpenStackSdConfig, ConfigError> {
    use OpenStackRole::{Hypervisor, Instance, LoadBalancer};
    let roles = [("instance", Instance), ("hypervisor", Hypervisor), ("loadbalancer", LoadBalancer)];
    let kinds = [("public", "public"), ("internal", "internal"), ("admin", "admin")];
    let availability = word(cursor, "availability", "public", &kinds)?.to_owned();
    let text = |key| text(cursor, key, "");
    let secret = |key| cursor.non_empty(key).map(Secret::new);
    Ok(OpenStackSdConfig {
        role: word(cursor, "role", "", &roles)?,
        region: required(cursor, "region")?.to_owned(),
        availability,
        all_tenants: cursor.boolean("all_tenants").unwrap_or(false),
        port: port(cursor),
        refresh_interval: seconds(cursor, 60)?,
        tls: cursor.get("tls_config").map(|section| http::tls(section)).transpose()?.unwrap_or_default(),
        identity: OpenStackIdentity {
            endpoint: text("identity_endpoint"),
            username: text("username"),
            user_id: text("userid"),
            password: secret("password"),
            project_name: text("project_name"),
            project_id: text("project_id"),
            domain_name: text("domain_name"),
            domain_id: text("domain_id"),
            application_credential_name: text("application_credential_name"),
            application_credential_id: text("application_credential_id"),
            application_credential_secret: secret("application_credential_secret"),
        },
    })
}
