use std::{fmt, path::Path};

use md5::{Digest, Md5};

use crate::{
    ConfigError,
    yaml::{Node, Value, parse},
};

/// Digest of a configuration: `k1-` and hexadecimal digits, so it never equals the decimal hash of the original Kvass.
///
/// Taken over the content of the YAML: comments, formatting, quotes and the order of keys do not count, and neither does
/// `global.external_labels`, which may differ between the shards of one fleet. Every other value counts by its text, so
/// `60s` and `1m` differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConfigHash(String);

impl ConfigHash {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest of a main document and of the documents it includes, in order.
    pub(crate) fn of(main: &Node, included: &[&Node]) -> ConfigHash {
        let mut digest = Md5::new();
        update(&mut digest, &without_external_labels(main));
        included.iter().for_each(|node| update(&mut digest, node));
        let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        ConfigHash(format!("k1-{hex}"))
    }
}

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Digest of a bare text, of which nothing is required but that it is YAML.
///
/// Files named by `scrape_config_files` are not part of a text that a peer reports: compare with
/// [`Config::text_hash`](crate::Config::text_hash), which leaves them out as well. Without such files that is the same as
/// [`Config::hash`](crate::Config::hash); with them, equality says nothing about the included files.
///
/// # Errors
/// The text is empty or not YAML.
pub fn hash_of_text(text: &str) -> Result<ConfigHash, ConfigError> {
    let file = Path::new("configuration");
    if text.trim().is_empty() {
        return Err(ConfigError::new(file, 0, 0, "is empty"));
    }
    Ok(ConfigHash::of(&parse(text, file)?.root, &[]))
}

/// No `global` is left where it held nothing but external labels.
fn without_external_labels(root: &Node) -> Node {
    let mut root = if root.is_null() { Node::empty_map() } else { root.clone() };
    if root.get("global").is_some() {
        root.edit_key("global", |global| global.remove(|key| key == "external_labels"));
        if root.get("global").is_none_or(|global| global.is_null() || global.is_empty_map()) {
            root.remove(|key| key == "global");
        }
    }
    root
}

/// Feeds a form in which every value says its type and length, so that different documents never read the same.
fn update(digest: &mut Md5, node: &Node) {
    match &node.value {
        Value::Scalar(scalar) if scalar.is_null() => digest.update("n"),
        Value::Scalar(scalar) => text(digest, 's', &scalar.text),
        Value::List(items) => {
            digest.update(format!("l{}:", items.len()));
            items.iter().for_each(|item| update(digest, item));
        }
        Value::Map(entries) => {
            digest.update(format!("m{}:", entries.len()));
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|a, b| a.key.as_text().cmp(b.key.as_text()));
            for entry in sorted {
                text(digest, 'k', entry.key.as_text());
                update(digest, &entry.value);
            }
        }
    }
}

fn text(digest: &mut Md5, kind: char, text: &str) {
    digest.update(format!("{kind}{}:", text.len()));
    digest.update(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "global: {scrape_interval: 15s, external_labels: {a: b}}\nscrape_configs:\n- {job_name: j, relabel_configs: [{regex: a}]}\n";

    #[test]
    fn what_counts() {
        let base = hash_of_text(BASE).unwrap();
        assert!(base.as_str().starts_with("k1-") && base.as_str().len() == 35, "{base}");
        let same = [
            "# comment\n---\nscrape_configs:\n  - relabel_configs:\n    - regex: 'a'\n    job_name: \"j\"\nglobal:\n  scrape_interval: 15s\n",
            "global: {external_labels: {x: y}, scrape_interval: 15s}\nscrape_configs: [{job_name: j, relabel_configs: [&r {regex: a}]}]\n--- {}\n",
        ];
        for text in same {
            assert_eq!(hash_of_text(text).unwrap(), base, "{text}");
        }
        for (from, to) in [
            ("regex: a", "regex: b"),
            ("15s", "16s"),
            ("regex: a", "regex: ~"),
            ("regex: a", "regex: [a]"),
            ("job_name: j", "job_name: jj"),
        ] {
            assert_ne!(hash_of_text(&BASE.replace(from, to)).unwrap(), base, "{from} -> {to}");
        }
        assert_eq!(hash_of_text("global: {external_labels: {a: b}}").unwrap(), hash_of_text("{}").unwrap());
        assert_eq!(hash_of_text("~: a").unwrap(), hash_of_text("null: a").unwrap());
        assert_eq!(hash_of_text("global:").unwrap(), hash_of_text("{}").unwrap());
        assert_eq!(hash_of_text("# nothing").unwrap(), hash_of_text("{}").unwrap());
        assert!(hash_of_text(" \n").is_err());
    }

    #[test]
    fn boundaries_between_values_count() {
        assert_ne!(hash_of_text("a: [b, c]").unwrap(), hash_of_text("a: [bc]").unwrap());
        assert_ne!(hash_of_text("a: [[b], c]").unwrap(), hash_of_text("a: [[b, c]]").unwrap());
        assert_ne!(hash_of_text("a: '~'").unwrap(), hash_of_text("a: ~").unwrap());
    }
}
