//! From an ingress to its target group.

use std::sync::Arc;

use k8s_openapi::api::networking::v1;
use kube::{Api, Client, api::ObjectMeta};
use kvass_model::{Labels, TargetGroup};
use serde::Deserialize;

use super::{
    around::Look,
    dependents::Kind,
    labels::{MetaLabels, extended, key, metadata},
    pool::{Registry, WatchPool},
    runner::Role,
    watch::{Watched, namespaced},
};

/// The parts of an ingress that targets are made of.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = v1::Ingress)]
pub(crate) struct Ingress {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    ingress_class_name: Option<String>,
    rules: Option<Vec<Rule>>,
    tls: Option<Vec<Tls>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Rule {
    host: Option<String>,
    http: Option<Http>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Http {
    paths: Option<Vec<HttpPath>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct HttpPath {
    path: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Tls {
    hosts: Option<Vec<String>>,
}

/// What is kept of an ingress.
#[derive(Debug, PartialEq)]
pub(crate) struct IngressEntry {
    group: Arc<TargetGroup>,
    namespace: String,
}

impl Watched for Ingress {
    type Entry = IngressEntry;

    fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
        namespaced(client, namespace)
    }

    fn registry(pool: &WatchPool) -> &Registry<Self> {
        &pool.ingresses
    }

    fn entry(&self) -> IngressEntry {
        let mut labels = MetaLabels::of_object("ingress", &self.metadata);
        labels.set("ingress_class_name", self.spec.ingress_class_name.as_deref().unwrap_or_default());
        let source = format!("{}/{}", Ingress::SOURCE, key(&self.metadata));
        let targets = self.spec.rules.iter().flatten().flat_map(|rule| self.targets(rule)).collect();
        IngressEntry {
            group: Arc::new(TargetGroup { source, targets, labels: labels.build() }),
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
        }
    }
}

impl Role for Ingress {
    const SOURCE: &'static str = "ingress";
    const AROUND: &'static [Kind] = &[Kind::Namespace];

    fn target_group(_key: &str, ingress: &IngressEntry, look: &Look<'_>) -> Option<Arc<TargetGroup>> {
        Some(extended(&ingress.group, look.namespace(&ingress.namespace).as_deref()))
    }
}

impl Ingress {
    /// One target per path; a rule that says nothing of HTTP is about all paths.
    fn targets(&self, rule: &Rule) -> Vec<Labels> {
        let host = rule.host.as_deref().unwrap_or_default();
        let mut secured = self.spec.tls.iter().flatten().flat_map(|tls| tls.hosts.iter().flatten());
        let scheme = if secured.any(|pattern| matches(pattern, host)) { "https" } else { "http" };
        let target = |path: Option<&str>| {
            let mut target = MetaLabels::new();
            target.set_address(host);
            target.set("ingress_scheme", scheme);
            target.set("ingress_host", host);
            target.set("ingress_path", path.filter(|path| !path.is_empty()).unwrap_or("/"));
            target.build()
        };
        match &rule.http {
            None => vec![target(None)],
            Some(http) => http.paths.iter().flatten().map(|path| target(path.path.as_deref())).collect(),
        }
    }
}

/// Whether the host is that one; `*` as the first part of a pattern stands for any one part.
fn matches(pattern: &str, host: &str) -> bool {
    let (first, rest) = first_part(pattern);
    pattern == host || first == "*" && rest == first_part(host).1
}

fn first_part(name: &str) -> (&str, Option<&str>) {
    name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::labels::testing::lines;

    #[test]
    fn an_ingress_and_all_its_labels() {
        let ingress = json!({
            "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}, "annotations": {"a/b": "c"}},
            "spec": {
                "ingressClassName": "nginx",
                "tls": [{"hosts": ["a.example"]}, {"hosts": ["*.b.example", "x"]}, {}],
                "rules": [
                    {"host": "a.example", "http": {"paths": [{"path": "/"}, {"path": "/x"}, {}, {"path": ""}]}},
                    {"host": "1.b.example"},
                    {"host": "c.example", "http": {}},
                    {"http": {"paths": [{"path": "/y"}]}}
                ]
            }
        });
        let target = |scheme: &str, host: &str, path: &str| {
            format!("__address__={host} ingress_host={host} ingress_path={path} ingress_scheme={scheme}")
        };
        assert_eq!(
            lines(&serde_json::from_value::<Ingress>(ingress).unwrap().entry().group),
            [
                "ingress/shop/web",
                "ingress_annotation_a_b=c ingress_annotationpresent_a_b=true ingress_class_name=nginx ingress_label_app=web \
                 ingress_labelpresent_app=true ingress_name=web namespace=shop",
                &target("https", "a.example", "/"),
                &target("https", "a.example", "/x"),
                &target("https", "a.example", "/"),
                &target("https", "a.example", "/"),
                &target("https", "1.b.example", "/"),
                "ingress_path=/y ingress_scheme=http",
            ]
        );
    }

    #[test]
    fn host_patterns() {
        for (pattern, host, expected) in [
            ("a.b", "a.b", true),
            ("*.b", "a.b", true),
            ("*.b.c", "a.b.c", true),
            ("*.b", "b", false),
            ("*.b", "x.a.b", false),
            ("*.b", "*.b", true),
            ("a.*", "a.b", false),
            ("*", "a", true),
            ("*", "a.b", false),
            ("", "", true),
            ("*.", ".", true),
            ("a.b", "c.b", false),
        ] {
            assert_eq!(matches(pattern, host), expected, "{pattern} {host}");
        }
    }
}
