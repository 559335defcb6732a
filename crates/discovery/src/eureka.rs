//! Targets from a Eureka registry.

use std::sync::Arc;

use ::http::header::ACCEPT;
use kvass_config::EurekaSdConfig;
use kvass_model::{ADDRESS_LABEL, INSTANCE_LABEL, Labels, LabelsBuilder, TargetGroup};
use roxmltree::{Document, Node};

use crate::{
    api::{Api, masked, wrap},
    feed::Feed,
    manager::DiscoveryOptions,
    refresh::{self, Findings, Mechanism, RefreshError},
    text::{host_port, sanitised},
};

const PATH: &str = "/apps";
const PREFIX: &str = "__meta_eureka_app_instance_";

/// Longest wait for one answer.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// Lists the applications of a `eureka_sd_configs` entry in its rhythm, for ever.
pub(crate) async fn run(config: EurekaSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let name = format!("eureka_sd_configs: {}", masked(&config.server));
    let interval = config.refresh_interval;
    let set_up = move || {
        let api = Api::new(&config.server, &config.http, TIMEOUT, &options)?;
        // A registry answers JSON to those who ask for it, in another form.
        Ok(Eureka(api.with_header(ACCEPT, "application/xml")?))
    };
    refresh::run(name, interval, set_up, feed).await;
}

struct Eureka(Api);

impl Mechanism for Eureka {
    async fn refresh(&mut self) -> Result<Findings, RefreshError> {
        let reply = self.0.get(PATH).await?;
        let targets = std::str::from_utf8(&reply.body).map_err(|error| error.to_string()).and_then(targets);
        let targets = targets
            .map_err(|problem| wrap("GET", PATH, RefreshError::Body(format!("body is not the XML expected here: {problem}"))))?;
        Ok(TargetGroup { source: "eureka".to_owned(), targets, labels: Labels::default() }.into())
    }
}

fn targets(xml: &str) -> Result<Vec<Labels>, String> {
    let document = Document::parse(xml).map_err(|error| error.to_string())?;
    let root = document.root_element();
    // The page of a proxy may be XML, too, and would pass for a registry without applications.
    if root.tag_name().name() != "applications" {
        return Err(format!("it begins with <{}>, expected <applications>", root.tag_name().name()));
    }
    let mut targets = Vec::new();
    for application in children(root, "application") {
        for instance in children(application, "instance") {
            targets.push(target(xml, text(application, "name"), instance)?);
        }
    }
    Ok(targets)
}

fn target(xml: &str, application: &str, instance: Node<'_, '_>) -> Result<Labels, String> {
    let host = text(instance, "hostName");
    let id = text(instance, "instanceId");
    let mut labels = LabelsBuilder::new();
    for (prefix, element) in [
        (format!("{PREFIX}metadata_"), child(instance, "metadata")),
        (format!("{PREFIX}datacenterinfo_metadata_"), child(instance, "dataCenterInfo").and_then(|info| child(info, "metadata"))),
    ] {
        for entry in element.into_iter().flat_map(|metadata| metadata.children()).filter(Node::is_element) {
            let name = sanitised(entry.tag_name().name());
            labels.set(&format!("{prefix}{name}"), inner_xml(xml, entry));
        }
    }
    labels.set("__meta_eureka_app_name", application);
    for (name, element) in [
        ("healthcheck_url", "healthCheckUrl"),
        ("homepage_url", "homePageUrl"),
        ("hostname", "hostName"),
        ("id", "instanceId"),
        ("ip_addr", "ipAddr"),
        ("secure_vip_address", "secureVipAddress"),
        ("status", "status"),
        ("statuspage_url", "statusPageUrl"),
        ("vip_address", "vipAddress"),
    ] {
        labels.set(&format!("{PREFIX}{name}"), text(instance, element));
    }
    labels.set(&format!("{PREFIX}country_id"), &number("countryId", text(instance, "countryId"))?);
    if let Some(info) = child(instance, "dataCenterInfo") {
        labels.set(&format!("{PREFIX}datacenterinfo_name"), text(info, "name"));
    }
    let mut address = host_port(host, 80);
    for (name, element) in [("port", "port"), ("secure_port", "securePort")] {
        let Some(port) = child(instance, element) else { continue };
        let number = number(element, text_of(port))?;
        let enabled = matches!(port.attribute("enabled").map(str::trim), Some("1" | "t" | "T" | "true" | "TRUE" | "True"));
        labels.set(&format!("{PREFIX}{name}"), &number);
        labels.set(&format!("{PREFIX}{name}_enabled"), if enabled { "true" } else { "false" });
        if element == "port" {
            address = host_port(host, number);
        }
    }
    labels.set(ADDRESS_LABEL, &address);
    labels.set(INSTANCE_LABEL, id);
    Ok(labels.build())
}

/// A whole number in its usual spelling; nothing counts as 0.
fn number(element: &str, text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Ok("0".to_owned()),
        digits => match digits.parse::<i64>() {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err(format!("{element} {text:?}: expected a whole number")),
        },
    }
}

fn children<'a, 'd>(node: Node<'a, 'd>, name: &'static str) -> impl Iterator<Item = Node<'a, 'd>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

/// Of several elements the last counts, as in Go.
fn child<'a, 'd>(node: Node<'a, 'd>, name: &'static str) -> Option<Node<'a, 'd>> {
    children(node, name).last()
}

fn text<'a>(node: Node<'a, '_>, name: &'static str) -> &'a str {
    child(node, name).map_or("", text_of)
}

fn text_of<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().unwrap_or_default()
}

/// What stands between the tags, letter by letter.
fn inner_xml<'x>(xml: &'x str, element: Node<'_, '_>) -> &'x str {
    let outer = &xml[element.range()];
    let mut quote = None;
    let start_tag = outer.char_indices().find(|(_, c)| match (quote, c) {
        (None, '>') => true,
        (None, '"' | '\'') => {
            quote = Some(*c);
            false
        }
        (Some(open), c) if open == *c => {
            quote = None;
            false
        }
        _ => false,
    });
    match (start_tag, outer.rfind("</")) {
        (Some((end, _)), Some(close)) if close > end => &outer[end + 1..close],
        // An element without content.
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_text_of_metadata() {
        let xml = r#"<a><b x="1>2">t &amp; <i>u</i></b><c/><d></d><e y='"'>v</e></a>"#;
        let document = Document::parse(xml).unwrap();
        let inner = document.root_element().children().map(|child| inner_xml(xml, child));
        assert_eq!(inner.collect::<Vec<_>>(), ["t &amp; <i>u</i>", "", "", "v"]);
    }

    #[test]
    fn instances() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
<applications><versions__delta>1</versions__delta>
  <application><name>A</name>
    <instance><hostName>h</hostName><instanceId>h:a:1</instanceId><port enabled="true"> 8080 </port><securePort enabled="false">443</securePort></instance>
    <instance><hostName>fd00::1</hostName><countryId></countryId></instance>
  </application>
  <application><name>EMPTY</name></application>
</applications>"#;
        let found = targets(xml).unwrap();
        assert_eq!(found[0].address(), "h:8080");
        assert_eq!(found[0].get("instance"), Some("h:a:1"));
        assert_eq!(found[0].get("__meta_eureka_app_instance_secure_port_enabled"), Some("false"));
        assert_eq!((found[1].address(), found[1].get("instance")), ("[fd00::1]:80", None));
        assert_eq!(found[1].get("__meta_eureka_app_instance_country_id"), Some("0"));
        assert_eq!(found.len(), 2);
        for bad in [
            "",
            "{}",
            "<applications>",
            "<applications><application><instance><port>x</port></instance></application></applications>",
            "<html><body>Sign in</body></html>",
        ] {
            assert!(targets(bad).is_err(), "{bad}");
        }
        assert_eq!(targets("<applications/>").unwrap(), []);
    }
}
