//! What may be shown of a configuration.

mod common;

use std::path::Path;

use common::{data, load, names};
use kvass_config::{Config, Injection, LoadContext, TargetDelivery};
use kvass_model::PrometheusLine::{V2, V3};
use proptest::prelude::*;

#[test]
fn no_secret_is_shown() {
    let config = load(&data("secrets.yml"), V3);
    let masked = config.masked_text();
    assert!(!masked.contains("hunter2"), "{masked}");
    for shown in ["shown-user", "shown-key", "shown-cert", "shown-value", "shown-file", "https://me:xxxxx@rw/write", "<secret>"] {
        assert!(masked.contains(shown), "{shown} is missing in\n{masked}");
    }
    assert!(!format!("{config:?}").contains("hunter2"));

    // The masked text stands in the original's place wherever that is shown, so it must still be a configuration.
    let again = load(&masked, V3);
    assert_eq!(again.jobs().len(), config.jobs().len());
    assert_eq!(again.masked_text(), masked);
}

#[test]
fn a_password_that_breaks_its_url_is_not_shown() {
    for url in ["http://me:hunter2/x@h", "http://me:hunter2#x@h", "http://me:hunter2 x@h", "http://me:hunter2%x@h"] {
        let text = format!("scrape_configs:\n- job_name: a\n  proxy_url: '{url}'\n");
        let context = LoadContext { path: "p.yml".into(), line: V2, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
        let error = Config::parse(&text, &context).unwrap_err().to_string();
        assert!(error.starts_with("p.yml:3:14: scrape_configs[0].proxy_url: ") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn without_secrets_only_the_form_changes() {
    let config = load("scrape_configs: [{job_name: 'a', bearer_token: '', params: {v: [1.10]}}] # comment\n", V2);
    let masked = "scrape_configs:\n  - job_name: \"a\"\n    bearer_token: \"\"\n    params:\n      v:\n        - 1.10\n";
    assert_eq!(config.masked_text(), masked);
    assert_eq!(kvass_config::hash_of_text(masked).unwrap(), *config.hash());
}

#[test]
fn keys_of_a_newer_prometheus_pass_unseen() {
    let text = "scrape_configs:\n- job_name: a\n  new_auth: {key: [hunter2]}\n";
    let context = LoadContext { path: "p.yml".into(), line: V3, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
    assert!(Config::parse(text, &context).is_err());
    let config = Config::parse_with_unknown_keys(text, &context).unwrap();
    assert_eq!(config.warnings(), ["p.yml:3:3: scrape_configs[0].new_auth: unknown key, passed on to Prometheus"]);
    assert!(!config.masked_text().contains("hunter2"));
    let injection = Injection {
        proxy_url: None,
        targets: TargetDelivery::File(Default::default()),
        extra_external_labels: Default::default(),
        self_monitor: None,
        strip_rules: false,
    };
    assert!(config.inject(&injection).contains("    new_auth:\n      key:\n        - hunter2\n"));
}

fn parse(text: &str) {
    let context = LoadContext { path: "p.yml".into(), line: V2, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
    if let Ok(config) = Config::parse(text, &context) {
        config.masked_text();
    }
}

proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in any::<String>()) {
        parse(&text);
    }

    /// Real configurations with a piece cut out or replaced.
    #[test]
    fn no_damage_makes_loading_panic(file: prop::sample::Index, start: prop::sample::Index, length in 0_usize..20, patch in "[-:{}\\[\\]&*!\"'#| \na1]{0,6}") {
        let mut files: Vec<String> = names("good", ".good.yml").into_iter().map(|name| format!("good/{name}.good.yml")).collect();
        files.extend(["secrets.yml".to_owned(), "inject/job.yml".to_owned(), "inject/sections.yml".to_owned()]);
        let text = data(file.get(&files).as_str());
        let chars: Vec<char> = text.chars().collect();
        let start = start.index(chars.len());
        let (before, rest) = chars.split_at(start);
        let damaged: String = before.iter().copied().chain(patch.chars()).chain(rest.iter().copied().skip(length)).collect();
        parse(&damaged);
        // Glob patterns and target files come from outside as well.
        let _ = kvass_config::parse_target_groups(&damaged, Path::new("t.yml"), kvass_model::PrometheusLine::V2);
    }
}

#[test]
fn a_shard_shows_the_external_labels_its_prometheus_has() {
    let text = "global: {external_labels: {zone: 'a$$', shard: none}}\nscrape_configs: [{job_name: j, bearer_token: hunter2}]\n";
    let shown = |line| load(text, line).masked_text_of_shard(&[("shard", "1"), ("replica", "0")].into());
    for (line, zone) in [(V2, "zone: \"a$$\""), (V3, "zone: \"a$\"")] {
        let shown = shown(line);
        for part in [zone, "shard: \"1\"", "replica: \"0\"", "<secret>"] {
            assert!(shown.contains(part), "{part} not in\n{shown}");
        }
        assert!(!shown.contains("none") && !shown.contains("hunter2"), "{shown}");
    }
}
