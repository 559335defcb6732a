//! What is refused, and in which words.

mod common;

use kvass_model::PrometheusLine::{self, V2, V3};

/// Name of a file in `tests/data/bad`, whose rules apply, and the error behind the file's name. Where a text ends in `…`,
/// the rest is the affair of `kvass-relabel`.
const REFUSED: &[(&str, PrometheusLine, &str)] = &[
    ("alerting_api_version", V3, r#"1:42: alerting.alertmanagers[0].api_version: "v1": expected v2"#),
    ("alerting_relabel", V2, "1:36: alerting.alert_relabel_configs[0].modulus: …"),
    ("alerting_sigv4", V2, "1:36: alerting.alertmanagers[0].sigv4: cannot be combined with another authentication"),
    (
        "alerting_slash",
        V2,
        r#"1:57: alerting.alertmanagers[0].static_configs[0].targets[0]: "a/b": expected host:port, without a path, as no relabel_configs take it apart"#,
    ),
    ("alias_bomb", V2, "6:29: f[7]: aliases add more than 1000000 values"),
    (
        "aws_role",
        V2,
        "3:20: scrape_configs[0].aws_sd_configs[0].role: expected one of ec2, ecs, elasticache, lightsail, msk, rds",
    ),
    (
        "aws_role_unknown",
        V2,
        r#"3:27: scrape_configs[0].aws_sd_configs[0].role: "s3": expected one of ec2, ecs, elasticache, lightsail, msk, rds"#,
    ),
    (
        "azure_method",
        V2,
        r#"3:66: scrape_configs[0].azure_sd_configs[0].authentication_method: "Password": expected one of OAuth, ManagedIdentity, SDK, WorkloadIdentity"#,
    ),
    ("azure_secret", V2, "3:22: scrape_configs[0].azure_sd_configs[0].client_secret: is required"),
    ("azure_subscription", V2, "3:22: scrape_configs[0].azure_sd_configs[0].subscription_id: is required"),
    ("azure_tenant", V2, "3:22: scrape_configs[0].azure_sd_configs[0].tenant_id: is required"),
    ("bad_bool", V2, r#"3:17: scrape_configs[0].honor_labels: "true": expected true or false"#),
    ("bad_bool_number", V2, r#"3:17: scrape_configs[0].honor_labels: "1": expected true or false"#),
    (
        "bad_duration",
        V2,
        r#"1:27: global.scrape_interval: "30": expected a duration such as 30s or 1h30m, of the units y, w, d, h, m, s, ms"#,
    ),
    (
        "bad_duration_order",
        V2,
        r#"3:20: scrape_configs[0].scrape_interval: "1m1h": expected a duration such as 30s or 1h30m, of the units y, w, d, h, m, s, ms"#,
    ),
    ("bad_float", V2, r#"3:39: scrape_configs[0].native_histogram_min_bucket_factor: "1": expected a number"#),
    ("bad_size", V2, r#"3:20: scrape_configs[0].body_size_limit: "10mb": expected a size such as 512KB, 10MB or 1.5GB"#),
    ("bad_uint_negative", V2, r#"3:17: scrape_configs[0].sample_limit: "-1": expected a whole number, not below 0"#),
    ("bad_uint_quoted", V2, r#"3:17: scrape_configs[0].sample_limit: "5": expected a whole number, not below 0"#),
    ("bad_uint_sexagesimal", V2, r#"3:17: scrape_configs[0].sample_limit: "60:30": expected a whole number, not below 0"#),
    ("blank", V2, " is empty; a configuration without any setting is written {}"),
    ("consul_basic_auth_twice", V2, "3:34: scrape_configs[0].consul_sd_configs[0].password: cannot be combined with basic_auth"),
    ("consul_server_blank", V2, r#"3:32: scrape_configs[0].consul_sd_configs[0].server: " ": expected host:port or a URL"#),
    ("consul_token_twice", V2, "3:31: scrape_configs[0].consul_sd_configs[0].token: cannot be combined with authorization"),
    ("consul_unknown_key", V2, "3:24: scrape_configs[0].consul_sd_configs[0].service: unknown key, did you mean services?"),
    (
        "digitalocean_role",
        V2,
        r#"3:36: scrape_configs[0].digitalocean_sd_configs[0].role: "droplet": expected one of droplets, databases"#,
    ),
    ("dns_names", V2, "3:28: scrape_configs[0].dns_sd_configs[0].names: expected at least one name"),
    ("dns_port", V2, "3:20: scrape_configs[0].dns_sd_configs[0].port: is required unless the type is SRV"),
    ("dns_port_text", V2, r#"3:48: scrape_configs[0].dns_sd_configs[0].port: "x": expected a whole number"#),
    ("dns_type", V2, r#"3:39: scrape_configs[0].dns_sd_configs[0].type: "TXT": expected one of SRV, A, AAAA, MX, NS"#),
    ("docker_host", V2, "3:23: scrape_configs[0].docker_sd_configs[0].host: is required"),
    ("docker_interval", V2, r#"3:59: scrape_configs[0].docker_sd_configs[0].refresh_interval: "0": expected a duration above 0"#),
    ("dockerswarm_role", V2, "3:28: scrape_configs[0].dockerswarm_sd_configs[0].role: expected one of services, tasks, nodes"),
    (
        "dockerswarm_role_unknown",
        V2,
        r#"3:52: scrape_configs[0].dockerswarm_sd_configs[0].role: "node": expected one of services, tasks, nodes"#,
    ),
    ("duplicate_key", V2, "3:3: global.scrape_interval: given twice, the first time on line 2"),
    ("duplicate_label", V2, "5:20: scrape_configs[0].static_configs[0].labels.a: given twice, the first time on line 5"),
    ("duplicate_top_level_key", V2, "3:1: global: given twice, the first time on line 1"),
    ("ec2_filter", V2, "3:42: scrape_configs[0].ec2_sd_configs[0].filters[0].values: expected at least one value"),
    ("ec2_unknown_key", V2, "3:32: scrape_configs[0].ec2_sd_configs[0].secretkey: unknown key, did you mean secret_key?"),
    (
        "empty_duration",
        V2,
        r#"3:20: scrape_configs[0].scrape_interval: "": expected a duration such as 30s or 1h30m, of the units y, w, d, h, m, s, ms"#,
    ),
    (
        "escaping_conflict",
        V3,
        r#"4:32: scrape_configs[0].metric_name_escaping_scheme: "allow-utf-8": allow-utf-8 contradicts the name validation scheme legacy"#,
    ),
    (
        "escaping_unknown",
        V3,
        r#"3:32: scrape_configs[0].metric_name_escaping_scheme: "utf8": expected one of allow-utf-8, underscores, dots, values"#,
    ),
    (
        "eureka_server",
        V2,
        r#"3:32: scrape_configs[0].eureka_sd_configs[0].server: "eureka:8761": expected a URL with scheme and host"#,
    ),
    ("eureka_server_missing", V2, "3:23: scrape_configs[0].eureka_sd_configs[0].server: is required"),
    (
        "fallback_unknown",
        V3,
        r#"3:29: scrape_configs[0].fallback_scrape_protocol: "prometheusproto": expected one of PrometheusProto, PrometheusText0.0.4, PrometheusText1.0.0, OpenMetricsText0.0.1, OpenMetricsText1.0.0, OpenMetricsText2.0.0"#,
    ),
    (
        "file_extension",
        V2,
        r#"3:30: scrape_configs[0].file_sd_configs[0].files[0]: "a.Json": expected a path ending in .json, .yml or .yaml, with * in its last segment only"#,
    ),
    (
        "file_interval_zero",
        V2,
        r#"3:57: scrape_configs[0].file_sd_configs[0].refresh_interval: "0": expected a duration above 0"#,
    ),
    ("file_missing", V2, "3:21: scrape_configs[0].file_sd_configs[0].files: expected at least one path"),
    (
        "file_pattern",
        V2,
        r#"3:30: scrape_configs[0].file_sd_configs[0].files[0]: "*/a.json": expected a path ending in .json, .yml or .yaml, with * in its last segment only"#,
    ),
    ("gce_http", V2, "3:42: scrape_configs[0].gce_sd_configs[0].proxy_url: unknown key"),
    ("gce_project", V2, "3:20: scrape_configs[0].gce_sd_configs[0].project: is required"),
    ("gce_zone", V2, "3:20: scrape_configs[0].gce_sd_configs[0].zone: is required"),
    (
        "global_escaping_conflict",
        V3,
        "2:18: scrape_configs[0].metric_name_escaping_scheme: allow-utf-8 contradicts the name validation scheme legacy",
    ),
    (
        "global_label_name",
        V2,
        "1:33: global.external_labels.a-b: expected the key to be a label name of letters, digits and _, not beginning with a digit",
    ),
    ("global_label_name_empty_v3", V3, "1:32: global.external_labels.: expected the key to be a label name that is not empty"),
    (
        "global_label_name_legacy_v3",
        V3,
        "3:26: global.external_labels.a-b: expected the key to be a label name of letters, digits and _",
    ),
    ("global_timeout", V2, r#"1:47: global.scrape_timeout: "6s": expected at most the scrape interval"#),
    ("hetzner_role", V2, "3:24: scrape_configs[0].hetzner_sd_configs[0].role: expected one of robot, hcloud"),
    ("http_authorization_and_bearer", V2, "4:22: scrape_configs[0].bearer_token_file: cannot be combined with authorization"),
    (
        "http_authorization_basic",
        V2,
        r#"3:25: scrape_configs[0].authorization.type: "Basic": expected another type than basic, for which there is basic_auth"#,
    ),
    ("http_basic_and_oauth", V2, "4:11: scrape_configs[0].oauth2: cannot be combined with basic_auth"),
    ("http_bearer_and_basic", V2, "3:17: scrape_configs[0].bearer_token: cannot be combined with basic_auth"),
    ("http_bearer_twice", V2, r#"4:22: scrape_configs[0].bearer_token_file: "f": cannot be combined with bearer_token"#),
    ("http_connect_header", V2, "3:25: scrape_configs[0].proxy_connect_header: needs proxy_url or proxy_from_environment"),
    (
        "http_credentials_twice",
        V2,
        r#"3:59: scrape_configs[0].authorization.credentials_file: "f": cannot be combined with credentials"#,
    ),
    ("http_no_proxy", V2, r#"3:13: scrape_configs[0].no_proxy: "h": needs proxy_url"#),
    (
        "http_no_proxy_and_environment",
        V2,
        r#"3:27: scrape_configs[0].proxy_from_environment: "true": cannot be combined with no_proxy"#,
    ),
    ("http_oauth_client_id", V2, "3:11: scrape_configs[0].oauth2.client_id: is required"),
    ("http_oauth_token_url", V2, "3:11: scrape_configs[0].oauth2.token_url: is required"),
    ("http_password_twice", V2, r#"3:50: scrape_configs[0].basic_auth.password_file: "f": cannot be combined with password"#),
    (
        "http_proxy_and_environment",
        V2,
        r#"4:27: scrape_configs[0].proxy_from_environment: "true": cannot be combined with proxy_url"#,
    ),
    (
        "http_proxy_url",
        V2,
        r#"3:14: scrape_configs[0].proxy_url: "http://u:xxxxx@h/%zz": expected a URL in which every % is followed by two hexadecimal digits"#,
    ),
    ("http_reserved_header", V3, "3:30: scrape_configs[0].http_headers.user-agent: is a header that Prometheus sets itself"),
    (
        "http_sd_host",
        V2,
        r#"3:27: scrape_configs[0].http_sd_configs[0].url: "http:///x": expected http:// or https:// and a host"#,
    ),
    ("http_sd_missing", V2, "3:21: scrape_configs[0].http_sd_configs[0].url: is required"),
    (
        "http_sd_scheme",
        V2,
        r#"3:27: scrape_configs[0].http_sd_configs[0].url: "ftp://h": expected http:// or https:// and a host"#,
    ),
    (
        "http_secret_ref",
        V3,
        r#"3:30: scrape_configs[0].basic_auth.password_ref: "vault": needs a secret manager, which Prometheus does not have"#,
    ),
    ("http_tls_ca_twice", V2, r#"3:32: scrape_configs[0].tls_config.ca_file: "f": cannot be combined with ca"#),
    (
        "http_tls_cert_without_key",
        V2,
        "3:15: scrape_configs[0].tls_config.key: is required with a client certificate, or key_file",
    ),
    ("http_tls_key_without_cert", V2, "3:15: scrape_configs[0].tls_config.cert: is required with a client key, or cert_file"),
    (
        "http_tls_version",
        V2,
        r#"3:29: scrape_configs[0].tls_config.min_version: "TLS1.2": expected one of TLS10, TLS11, TLS12, TLS13"#,
    ),
    ("http_username_twice", V2, r#"3:44: scrape_configs[0].basic_auth.username_file: "f": cannot be combined with username"#),
    ("ionos_datacenter", V2, "3:22: scrape_configs[0].ionos_sd_configs[0].datacenter_id: is required"),
    ("job_name_empty", V2, r#"1:29: scrape_configs[0].job_name: "": is required"#),
    ("job_name_missing", V2, "1:18: scrape_configs[0].job_name: is required"),
    ("job_name_null", V2, r#"1:27: scrape_configs[0].job_name: "": is required"#),
    ("job_name_twice", V2, r#"4:13: scrape_configs[2].job_name: "a": given to two jobs"#),
    ("job_timeout", V2, r#"4:19: scrape_configs[0].scrape_timeout: "5001ms": expected at most the scrape interval"#),
    (
        "job_timeout_over_inherited_interval",
        V2,
        r#"4:19: scrape_configs[0].scrape_timeout: "6s": expected at most the scrape interval"#,
    ),
    (
        "k8s_http_without_server",
        V2,
        "3:27: scrape_configs[0].kubernetes_sd_configs[0].api_server: is required with settings of the HTTP client",
    ),
    (
        "k8s_kubeconfig_and_http",
        V2,
        r#"3:81: scrape_configs[0].kubernetes_sd_configs[0].kubeconfig_file: "f": cannot be combined with settings of the HTTP client"#,
    ),
    (
        "k8s_kubeconfig_and_server",
        V2,
        r#"3:80: scrape_configs[0].kubernetes_sd_configs[0].kubeconfig_file: "f": cannot be combined with api_server"#,
    ),
    (
        "k8s_own_namespace_and_server",
        V2,
        "3:75: scrape_configs[0].kubernetes_sd_configs[0].namespaces: own_namespace cannot be combined with api_server or kubeconfig_file",
    ),
    (
        "k8s_role",
        V2,
        r#"3:34: scrape_configs[0].kubernetes_sd_configs[0].role: "pods": expected one of node, pod, service, endpoints, endpointslice, ingress"#,
    ),
    (
        "k8s_role_missing",
        V2,
        "3:27: scrape_configs[0].kubernetes_sd_configs[0].role: expected one of node, pod, service, endpoints, endpointslice, ingress",
    ),
    (
        "k8s_selector_field",
        V2,
        r#"3:70: scrape_configs[0].kubernetes_sd_configs[0].selectors[0].field: "a": expected a field selector such as spec.nodeName=a"#,
    ),
    (
        "k8s_selector_label",
        V2,
        r#"3:70: scrape_configs[0].kubernetes_sd_configs[0].selectors[0].label: "a in b": expected a label selector such as app=web,tier!=test"#,
    ),
    (
        "k8s_selector_role",
        V2,
        r#"3:58: scrape_configs[0].kubernetes_sd_configs[0].selectors[0].role: "service": expected one of pod, node under role pod"#,
    ),
    ("k8s_selector_twice", V2, r#"3:71: scrape_configs[0].kubernetes_sd_configs[0].selectors[1].role: "pod": given twice"#),
    (
        "linode_unknown_key",
        V2,
        "3:24: scrape_configs[0].linode_sd_configs[0].tag_seperator: unknown key, did you mean tag_separator?",
    ),
    ("list_is_scalar", V2, "4:20: scrape_configs[0].relabel_configs[0].source_labels: expected a list, found a scalar"),
    ("marathon_servers", V2, r#"3:35: scrape_configs[0].marathon_sd_configs[0].servers: "": expected at least one URL"#),
    (
        "marathon_token_and_basic",
        V2,
        "3:73: scrape_configs[0].marathon_sd_configs[0].basic_auth: cannot be combined with auth_token or auth_token_file",
    ),
    (
        "marathon_token_twice",
        V2,
        r#"3:78: scrape_configs[0].marathon_sd_configs[0].auth_token_file: "f": cannot be combined with auth_token"#,
    ),
    (
        "msk_concurrency",
        V2,
        r#"3:42: scrape_configs[0].msk_sd_configs[0].request_concurrency: "0": expected a whole number above 0"#,
    ),
    ("nested_too_deep", V2, "1:104: a[0]: not valid YAML: recursion limit exceeded"),
    ("nomad_server", V2, r#"3:31: scrape_configs[0].nomad_sd_configs[0].server: "": expected a URL"#),
    ("null_job", V2, "2:2: scrape_configs[0]: is null, expected a mapping"),
    ("null_relabel", V2, "3:21: scrape_configs[0].relabel_configs[0]: is null, expected a mapping"),
    ("null_remote_write", V2, "1:16: remote_write[0]: is null, expected a mapping"),
    ("null_sd", V2, "4:4: scrape_configs[0].dns_sd_configs[0]: is null, expected a mapping"),
    ("null_static", V2, "3:20: scrape_configs[0].static_configs[0]: is null, expected a mapping"),
    (
        "openstack_availability",
        V2,
        r#"3:68: scrape_configs[0].openstack_sd_configs[0].availability: "secret": expected one of public, internal, admin"#,
    ),
    ("openstack_region", V2, "3:26: scrape_configs[0].openstack_sd_configs[0].region: is required"),
    (
        "openstack_role",
        V2,
        "3:26: scrape_configs[0].openstack_sd_configs[0].role: expected one of instance, hypervisor, loadbalancer",
    ),
    ("otlp_ignore", V3, "1:36: otlp.ignore_resource_attributes: needs promote_all_resource_attributes"),
    ("otlp_promote", V3, "1:76: otlp.promote_resource_attributes: cannot be combined with promote_all_resource_attributes"),
    ("otlp_strategy", V3, r#"2:30: otlp.translation_strategy: "NoTranslation": contradicts the name validation scheme legacy"#),
    ("ovhcloud_secret", V2, "3:25: scrape_configs[0].ovhcloud_sd_configs[0].application_secret: is required"),
    ("ovhcloud_secret_list", V2, "3:54: scrape_configs[0].ovhcloud_sd_configs[0].consumer_key: expected text, found a mapping"),
    ("ovhcloud_service", V2, "3:25: scrape_configs[0].ovhcloud_sd_configs[0].service: expected one of dedicated_server, vps"),
    ("params_scalar", V2, "3:15: scrape_configs[0].params.a: expected a list, found a scalar"),
    ("protocol_twice", V3, r#"3:39: scrape_configs[0].scrape_protocols[1]: "PrometheusProto": given twice"#),
    (
        "protocol_unknown",
        V3,
        r#"3:22: scrape_configs[0].scrape_protocols[0]: "PrometheusText": expected one of PrometheusProto, PrometheusText0.0.4, PrometheusText1.0.0, OpenMetricsText0.0.1, OpenMetricsText1.0.0, OpenMetricsText2.0.0"#,
    ),
    ("protocols_empty", V3, "1:28: global.scrape_protocols: expected at least one protocol"),
    ("puppetdb_query", V2, "3:25: scrape_configs[0].puppetdb_sd_configs[0].query: is required"),
    (
        "puppetdb_url",
        V2,
        r#"3:31: scrape_configs[0].puppetdb_sd_configs[0].url: "p:8081": expected http:// or https:// and a host"#,
    ),
    ("relabel_action", V2, r#"6:13: scrape_configs[1].relabel_configs[1].action: "repalce": …"#),
    ("relabel_action_null", V2, r#"3:28: scrape_configs[0].relabel_configs[0].action: "": …"#),
    ("relabel_hashmod", V2, "3:21: scrape_configs[0].relabel_configs[0].modulus: …"),
    ("relabel_keepequal", V2, r#"3:85: scrape_configs[0].relabel_configs[0].regex: "c": …"#),
    ("relabel_labeldrop", V2, "3:73: scrape_configs[0].metric_relabel_configs[0].source_labels: …"),
    ("relabel_regex", V2, r#"3:29: scrape_configs[0].relabel_configs[0].regex: "(": …"#),
    (
        "relabel_source_name",
        V2,
        r#"3:38: scrape_configs[0].relabel_configs[0].source_labels[0]: "a-b": expected a label name of letters, digits and _, not beginning with a digit"#,
    ),
    (
        "relabel_source_name_empty",
        V3,
        r#"3:38: scrape_configs[0].relabel_configs[0].source_labels[0]: "": expected a label name that is not empty"#,
    ),
    ("relabel_target", V2, "3:21: scrape_configs[0].relabel_configs[0].target_label: …"),
    ("relabel_target_name", V2, r#"3:36: scrape_configs[0].relabel_configs[0].target_label: "a.b": …"#),
    ("remote_read_name_twice", V2, r#"1:67: remote_read[1].name: "x": given twice"#),
    ("remote_read_url", V2, "1:15: remote_read[0].url: is required"),
    ("remote_write_auth", V2, "1:41: remote_write[0].sigv4: cannot be combined with basic_auth"),
    ("remote_write_header", V2, "1:59: remote_write[0].headers.authorization: is a header that Prometheus sets itself"),
    ("remote_write_name_twice", V2, r#"1:68: remote_write[1].name: "x": given twice"#),
    ("remote_write_url", V2, "1:16: remote_write[0].url: is required"),
    ("root_list", V2, "1:1: expected a mapping, found a list"),
    ("root_scalar", V2, "1:1: expected a mapping, found a scalar"),
    ("rule_file_pattern", V2, r#"1:14: rule_files[0]: "rules/*/a.yml": expected a path with * in its last segment only"#),
    (
        "scaleway_access_key",
        V2,
        r#"3:154: scrape_configs[0].scaleway_sd_configs[0].access_key: "x": expected SCW and 17 capital letters or digits"#,
    ),
    ("scaleway_project", V2, "3:25: scrape_configs[0].scaleway_sd_configs[0].project_id: is required"),
    ("scaleway_secret", V2, "3:25: scrape_configs[0].scaleway_sd_configs[0].secret_key: is required, or secret_key_file"),
    ("scaleway_secret_form", V2, "3:104: scrape_configs[0].scaleway_sd_configs[0].secret_key: expected a UUID"),
    ("scaleway_zone", V2, r#"3:152: scrape_configs[0].scaleway_sd_configs[0].zone: "paris": expected a zone such as fr-par-1"#),
    ("scrape_file_pattern", V2, r#"1:23: scrape_config_files[0]: "a/*/b": expected a path with * in its last segment only"#),
    ("secret_is_list", V2, "3:17: scrape_configs[0].bearer_token: expected text, found a list"),
    ("section_is_scalar", V2, "3:18: scrape_configs[0].authorization: expected a mapping, found a scalar"),
    (
        "static_label_name",
        V2,
        "3:63: scrape_configs[0].static_configs[0].labels.__param_match[]: expected the key to be a label name of letters, digits and _, not beginning with a digit",
    ),
    ("static_label_value_list", V2, "3:47: scrape_configs[0].static_configs[0].labels.a: expected text, found a list"),
    (
        "static_slash",
        V2,
        r#"3:35: scrape_configs[0].static_configs[0].targets[1]: "http://u:xxxxx@b/c": expected host:port, without a path, as no relabel_configs take it apart"#,
    ),
    ("storage_retention", V3, r#"1:42: storage.tsdb.retention.percentage: "101": expected a number from 0 to 100"#),
    ("text_is_list", V2, "3:17: scrape_configs[0].metrics_path: expected text, found a list"),
    ("text_is_mapping", V2, "3:17: scrape_configs[0].metrics_path: expected text, found a mapping"),
    ("tracing_client_type", V2, r#"1:37: tracing.client_type: "udp": expected one of grpc, http"#),
    ("tracing_endpoint", V2, "1:10: tracing.endpoint: is required"),
    ("unknown_global_key", V2, "2:3: global.scrape_intervall: unknown key, did you mean scrape_interval?"),
    ("unknown_job_key", V2, "3:3: scrape_configs[0].metric_path: unknown key, did you mean metrics_path?"),
    (
        "unknown_relabel_key",
        V2,
        "4:6: scrape_configs[0].relabel_configs[0].source_label: unknown key, did you mean source_labels?",
    ),
    ("unknown_remote_write_key", V2, "1:34: remote_write[0].queue: unknown key"),
    ("unknown_sd", V2, "3:3: scrape_configs[0].foo_sd_configs: unknown key"),
    ("unknown_static_key", V2, "3:21: scrape_configs[0].static_configs[0].target: unknown key, did you mean targets?"),
    ("unknown_tls_key", V2, "3:16: scrape_configs[0].tls_config.insecure: unknown key"),
    ("unknown_top_level_key", V2, "1:1: kvass: unknown key"),
    ("validation_unknown", V3, r#"3:34: scrape_configs[0].metric_name_validation_scheme: "utf-8": expected one of utf8, legacy"#),
    ("yaml_alias_of_itself", V2, "2:20: global.external_labels: the alias refers to the value it is part of"),
    ("yaml_binary", V2, "3:25: scrape_configs[0].params.a[0]: !!binary: expected base64 of UTF-8 text"),
    ("yaml_collection_as_key", V2, "2:3: global: a mapping key must be a scalar"),
    ("yaml_merge_of_text", V2, "2:3: global: expected a mapping, or a list of mappings, to be merged"),
    ("yaml_tab", V2, "2:2: global: not valid YAML: tabs disallowed within this context (block indentation)"),
    ("yaml_unclosed", V2, "1:9: global: not valid YAML: unclosed bracket '{'"),
    ("yaml_unknown_alias", V2, "1:9: global: not valid YAML: while parsing node, found unknown anchor"),
    ("yaml_version", V2, "2:1: %YAML 1.2: Prometheus reads YAML 1.1 only"),
];

#[test]
fn errors_name_place_value_and_expectation() {
    for (name, line, expected) in REFUSED {
        let text = common::data(&format!("bad/{name}.bad.yml"));
        let error = match common::load_as("p.yml", &text, *line) {
            Ok(_) => panic!("{name} is accepted"),
            Err(error) => error.to_string(),
        };
        let message = error.strip_prefix("p.yml:").unwrap();
        match expected.strip_suffix('…') {
            Some(beginning) => assert!(message.starts_with(beginning), "{name}: {message}"),
            None => assert_eq!(message, *expected, "{name}"),
        }
        assert!(!error.contains("hunter2"), "{name} shows a secret: {error}");
    }
}

#[test]
fn every_file_is_in_the_table() {
    let mut listed: Vec<&str> = REFUSED.iter().map(|(name, _, _)| *name).collect();
    listed.sort();
    assert_eq!(common::names("bad", ".bad.yml"), listed);
}

#[test]
fn an_included_file_is_named_in_its_errors() {
    let main = "scrape_config_files: [conf.d/*.yml]\nscrape_configs: [{job_name: a}]\n";
    let cases = [
        ("global: {}\n", "/etc/p/conf.d/x.yml:1:1: global: unknown key"),
        ("scrape_configs: [{job_name: a}]\n", "/etc/p/conf.d/x.yml:1:29: scrape_configs[0].job_name: \"a\": given to two jobs"),
        ("scrape_configs: [\n", "/etc/p/conf.d/x.yml:1:17: scrape_configs[0]: not valid YAML: unclosed bracket '['"),
    ];
    for (text, expected) in cases {
        let included = [("/etc/p/conf.d/*.yml", "/etc/p/conf.d/x.yml", text)];
        let error = common::load_with("/etc/p/prometheus.yml", main, V2, &included).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn unreadable_included_files_are_an_error() {
    let text = "scrape_config_files: [x.yml]\n";
    let refuse = |_: &str| Err(std::io::Error::other("no permission"));
    let context = kvass_config::LoadContext { path: "/p.yml".into(), line: V3, env: &|_| None, read_glob: &refuse };
    let error = kvass_config::Config::parse(text, &context).unwrap_err();
    assert_eq!(error.to_string(), "/p.yml:1:23: scrape_config_files[0]: \"/x.yml\": cannot be read");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no permission");
}

#[test]
fn all_unknown_keys_are_known_to_the_first_error() {
    let text = "\
global: {kvass: 1}
scrape_configs:
- job_name: a
  metric_path: /m
  relabel_configs: [{source_labels: [a], target_label: b, if: c}]
- job_name: b
  scrape_interval: soon
  unknown: never reached
";
    let error = common::load_as("p.yml", text, V3).unwrap_err();
    assert_eq!(error.to_string(), "p.yml:1:10: global.kvass: unknown key");
    let further: Vec<String> = error.further().iter().map(ToString::to_string).collect();
    assert_eq!(further[0], "p.yml:4:3: scrape_configs[0].metric_path: unknown key, did you mean metrics_path?");
    assert_eq!(further[1], "p.yml:5:59: scrape_configs[0].relabel_configs[0].if: unknown key");
    assert!(
        further[2].starts_with("p.yml:7:20: scrape_configs[1].scrape_interval: \"soon\": expected a duration"),
        "{further:?}"
    );
    assert_eq!(further.len(), 3);
}

#[test]
fn a_template_that_is_not_filled_in_is_named_as_one() {
    let text = "scrape_configs:\n- job_name: a\n  static_configs: [{targets: [{{ host }}]}]\n";
    let error = common::load_as("p.yml", text, V3).unwrap_err().to_string();
    let place = "p.yml:3:32: scrape_configs[0].static_configs[0].targets[0]: a mapping key must be a scalar";
    assert_eq!(error, format!("{place}; if {{{{ … }}}} belongs to a template, it has to be filled in first"));
}
