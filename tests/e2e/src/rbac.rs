//! Who may do what, and who did, from the API server's audit log. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

/// One verb on one kind of object, for one service account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Permission {
    /// Name of the service account.
    pub(crate) account: String,
    /// `get`, `list`, …
    pub(crate) verb: String,
    /// `pods`, `statefulsets.apps/scale`, or a path such as `/metrics`.
    pub(crate) what: String,
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.account, self.verb, self.what)
    }
}

/// What the audit log says of the service accounts of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    /// Calls that were allowed.
    pub(crate) used: BTreeSet<Permission>,
    /// Calls that were refused, and how often.
    pub(crate) denied: BTreeMap<Permission, u64>,
}

/// Reads an audit log of JSON lines, from a moment on (milliseconds since the epoch). A last line that is still being
/// written is left out.
pub(crate) fn calls(log: &str, namespace: &str, since: i64) -> Calls {
    let mut calls = Calls::default();
    let prefix = format!("system:serviceaccount:{namespace}:");
    for entry in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let at = text(&entry["requestReceivedTimestamp"]).parse::<Timestamp>();
        if at.is_ok_and(|at| at.as_millisecond() < since) {
            continue;
        }
        let Some(account) = entry["user"]["username"].as_str().and_then(|user| user.strip_prefix(&prefix)) else { continue };
        let permission = Permission { account: account.to_owned(), verb: text(&entry["verb"]), what: called(&entry) };
        match entry["responseStatus"]["code"].as_u64() {
            Some(403) => *calls.denied.entry(permission).or_default() += 1,
            // 401: the token is not valid any more, which says nothing about permissions.
            Some(401) | None => {}
            Some(_) => drop(calls.used.insert(permission)),
        }
    }
    calls
}

fn called(entry: &Value) -> String {
    let object = &entry["objectRef"];
    match object["resource"].as_str() {
        Some(resource) => named(resource, &text(&object["apiGroup"]), object["subresource"].as_str()),
        None => text(&entry["requestURI"]).split('?').next().unwrap_or_default().to_owned(),
    }
}

fn named(resource: &str, group: &str, subresource: Option<&str>) -> String {
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let subresource = subresource.map(|sub| format!("/{sub}")).unwrap_or_default();
    format!("{resource}{group}{subresource}")
}

/// What the service accounts of a namespace may do: `bindings` and `roles` are the items of both kinds of lists,
/// of the cluster and of the namespace.
pub(crate) fn granted(bindings: &[Value], roles: &[Value], namespace: &str) -> BTreeSet<Permission> {
    let mut granted = BTreeSet::new();
    for binding in bindings {
        let of_role = |role: &&Value| {
            role["metadata"]["name"] == binding["roleRef"]["name"]
                && (binding["roleRef"]["kind"] == "ClusterRole") == role["metadata"]["namespace"].is_null()
        };
        let Some(role) = roles.iter().find(of_role) else { continue };
        for subject in list(&binding["subjects"]) {
            let own = subject["namespace"].as_str().or(binding["metadata"]["namespace"].as_str());
            if subject["kind"] == "ServiceAccount" && own == Some(namespace) {
                granted.extend(list(&role["rules"]).flat_map(|rule| permissions(rule, &text(&subject["name"]))));
            }
        }
    }
    granted
}

fn permissions(rule: &Value, account: &str) -> Vec<Permission> {
    let mut objects: Vec<String> = list(&rule["nonResourceURLs"]).map(text).collect();
    for (group, resource) in
        list(&rule["apiGroups"]).flat_map(|group| list(&rule["resources"]).map(move |resource| (group, resource)))
    {
        let resource = text(resource);
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, subresource)) => (resource.to_owned(), Some(subresource.to_owned())),
            None => (resource, None),
        };
        objects.push(named(&resource, &text(group), subresource.as_deref()));
    }
    let each = |what: &String| {
        let what = what.clone();
        list(&rule["verbs"]).map(move |verb| Permission { account: account.to_owned(), verb: text(verb), what: what.clone() })
    };
    objects.iter().flat_map(each).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(permissions: &BTreeSet<Permission>) -> Vec<String> {
        permissions.iter().map(Permission::to_string).collect()
    }

    #[test]
    fn calls_of_an_audit_log() {
        let line = |user: &str, verb: &str, object: Value, uri: &str, code: u64| {
            json!({
                "requestReceivedTimestamp": "2026-01-01T00:00:02.500000Z",
                "user": {"username": user},
                "verb": verb,
                "objectRef": object,
                "requestURI": uri,
                "responseStatus": {"code": code},
            })
            .to_string()
        };
        let log = [
            line(
                "system:serviceaccount:m:c",
                "patch",
                json!({"resource": "statefulsets", "apiGroup": "apps", "subresource": "scale"}),
                "/x",
                200,
            ),
            line("system:serviceaccount:m:c", "create", json!({"resource": "events", "namespace": "m"}), "/x", 403),
            line("system:serviceaccount:m:c", "get", Value::Null, "/metrics?x=y", 200),
            line("system:serviceaccount:other:c", "get", json!({"resource": "pods"}), "/x", 200),
            line("system:admin", "delete", json!({"resource": "pods"}), "/x", 200),
            "{\"user\": {\"userna".to_owned(),
        ];
        let (log, at) = (log.join("\n"), 1_767_225_602_500);
        assert_eq!(calls(&log, "m", at + 1), Calls::default());
        let calls = calls(&log, "m", at);
        assert_eq!(words(&calls.used), ["c get /metrics", "c patch statefulsets.apps/scale"]);
        let denied: Vec<(String, u64)> =
            calls.denied.iter().map(|(permission, times)| (permission.to_string(), *times)).collect();
        assert_eq!(denied, [("c create events".to_owned(), 1)]);
    }

    #[test]
    fn grants_of_roles() {
        let roles = [
            json!({"metadata": {"name": "c", "namespace": "m"}, "rules": [
                {"apiGroups": ["apps"], "resources": ["statefulsets", "statefulsets/scale"], "verbs": ["get"]},
            ]}),
            json!({"metadata": {"name": "c"}, "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
                {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
            ]}),
        ];
        let subject = json!([{"kind": "ServiceAccount", "name": "c", "namespace": "m"}, {"kind": "User", "name": "x"}]);
        let bindings = [
            json!({"metadata": {"name": "b", "namespace": "m"}, "roleRef": {"kind": "Role", "name": "c"}, "subjects": subject}),
            json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "c"}, "subjects": subject}),
        ];
        let want = ["c get /metrics", "c get statefulsets.apps", "c get statefulsets.apps/scale", "c list pods", "c watch pods"];
        assert_eq!(words(&granted(&bindings, &roles, "m")), want);
        assert!(granted(&bindings, &roles, "other").is_empty());
    }
}
