//! Targets from the resources that PuppetDB knows.

use std::{collections::BTreeMap, sync::Arc};

use ::http::StatusCode;
use kvass_config::PuppetDbSdConfig;
use kvass_model::{ADDRESS_LABEL, Labels, LabelsBuilder, TargetGroup};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    api::{Api, masked, wrap},
    feed::Feed,
    manager::DiscoveryOptions,
    refresh::{self, Findings, Mechanism, RefreshError},
    text::{go_float, host_port, sanitised, wrapped_if_any},
};

const PATH: &str = "/pdb/query/v4";
const PARAMETER_PREFIX: &str = "__meta_puppetdb_parameter_";

/// Sends the query of a `puppetdb_sd_configs` entry in its rhythm, for ever.
pub(crate) async fn run(config: PuppetDbSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let name = format!("puppetdb_sd_configs: {}", masked(&config.url));
    let interval = config.refresh_interval;
    let set_up = move || {
        let api = Api::new(&config.url, &config.http, config.refresh_interval, &options)?;
        Ok(PuppetDb { api, config: config.clone() })
    };
    refresh::run(name, interval, set_up, feed).await;
}

struct PuppetDb {
    api: Api,
    config: PuppetDbSdConfig,
}

impl Mechanism for PuppetDb {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let reply = self.api.post(PATH, &json!({ "query": self.config.query })).await?;
        let resources = match reply.status {
            StatusCode::OK => reply.require_json().and_then(|()| reply.json()),
            status => Err(RefreshError::Status { status, expected: "200 OK" }),
        };
        let resources: Option<Vec<Resource>> = resources.map_err(|error| wrap("POST", PATH, error))?;
        let targets = resources.into_iter().flatten().map(|resource| target(&resource, &self.config)).collect();
        let url = masked(&self.config.url);
        let source = format!("{}{PATH}?query={}", url.trim_end_matches('/'), self.config.query);
        Ok(TargetGroup { source, targets, labels: Labels::default() }.into())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    certname: String,
    resource: String,
    #[serde(rename = "type")]
    kind: String,
    title: String,
    exported: bool,
    tags: Vec<String>,
    file: String,
    environment: String,
    parameters: Map<String, Value>,
}

fn target(resource: &Resource, config: &PuppetDbSdConfig) -> Labels {
    let mut labels = LabelsBuilder::new();
    if config.include_parameters {
        for (name, value) in flattened(&resource.parameters) {
            labels.set(&format!("{PARAMETER_PREFIX}{name}"), &value);
        }
    }
    for (name, value) in [
        ("certname", resource.certname.as_str()),
        ("environment", &resource.environment),
        ("exported", if resource.exported { "true" } else { "false" }),
        ("file", &resource.file),
        ("query", &config.query),
        ("resource", &resource.resource),
        ("tags", &wrapped_if_any(&resource.tags, ",")),
        ("title", &resource.title),
        ("type", &resource.kind),
    ] {
        labels.set(&format!("__meta_puppetdb_{name}"), value);
    }
    labels.set(ADDRESS_LABEL, &host_port(&resource.certname, config.port));
    labels.build()
}

/// Names fit for labels, and values: nested mappings become longer names, lists are joined.
fn flattened(parameters: &Map<String, Value>) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    for (name, value) in parameters {
        let name = sanitised(name);
        match value {
            Value::Object(inner) => {
                flat.extend(flattened(inner).into_iter().map(|(rest, value)| (format!("{name}_{rest}"), value)));
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| scalar(item).unwrap_or_default()).collect();
                flat.insert(name, items.join(","));
            }
            value => flat.extend(scalar(value).map(|value| (name, value))),
        }
    }
    flat
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(yes.to_string()),
        // Every number is a float to the JSON parser of Prometheus.
        Value::Number(number) => number.as_f64().map(go_float),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let Value::Object(given) = json!({
            "text": "x", "empty": "", "yes": true, "int": 3, "big": 10_000_000, "huge": 1e21, "tiny": 0.000_01, "float": 1.5,
            "list": ["a", 2, true, ["x"], {"y": 1}], "none": [], "null": null,
            "a.b": {"c-d": {"e": "f"}, "g": [1, 2], "h": null},
        }) else {
            panic!("no mapping")
        };
        let flat = flattened(&given);
        let shown: Vec<String> =
            flat.iter().filter(|(_, v)| !v.is_empty()).map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "a_b_c_d_e=f",
            "a_b_g=1,2",
            "big=1e+07",
            "float=1.5",
            "huge=1e+21",
            "int=3",
            "list=a,2,true,,",
            "text=x",
            "tiny=1e-05",
            "yes=true",
        ];
        assert_eq!(shown, expected);
    }
}
