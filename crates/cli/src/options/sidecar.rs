use std::path::{Path, PathBuf};

use kvass_model::Labels;
use kvass_sidecar::Options;

use super::{
    Environment, Meaning, OptionsError, body_size_limit, line, non_empty, required, variable, warn_of_ignored,
    without_credentials,
};
use crate::flags::SidecarFlags;

const DEFAULT_STORE_PATH: &str = "/prometheus/";

/// What `kvass sidecar` was asked to do.
pub(crate) fn sidecar(flags: SidecarFlags, env: Environment<'_>) -> Result<Meaning<Options>, OptionsError> {
    let SidecarFlags {
        web_api_addr,
        web_proxy_addr,
        prometheus_url,
        prometheus_version,
        config_file,
        config_output_file,
        config_target_file,
        store_path,
        tsdb_path,
        inject_targets,
        inject_proxy,
        inject_external_label,
        inject_strip_rules,
        inject_kubernetes_sa_path,
        shard_fetch_head_series,
        shard_self_monitor,
        scrape_body_size_limit,
        scrape_disable_keep_alive,
        compat_coordinator_url,
        log: _,
        ignored,
    } = flags;
    let mut warnings = Vec::new();
    warn_of_ignored(&ignored, &mut warnings);
    if config_target_file.is_some() {
        warnings.push("--config.target-file is deprecated: its targets are read once; write --store.path".to_owned());
    }
    let store_path = match (store_path, &config_target_file) {
        (Some(path), _) => required("store.path", path)?.into(),
        (None, Some(file)) => parent(file).to_owned(),
        (None, None) => DEFAULT_STORE_PATH.into(),
    };
    let config_file: Option<PathBuf> = non_empty(config_file).map(Into::into);
    let output_file: PathBuf = required("config.output-file", config_output_file)?.into();
    if config_file.as_ref().is_some_and(|file| same_file(file, &output_file)) {
        return Err(OptionsError::Value {
            flag: "config.output-file",
            value: output_file.display().to_string(),
            expected: "another file than --config.file, which it would overwrite",
        });
    }
    let options = Options {
        proxy_address: web_proxy_addr,
        api_address: web_api_addr,
        prometheus_url: base_url("prometheus.url", prometheus_url)?,
        config_file,
        output_file,
        store_path,
        legacy_target_file: config_target_file.and_then(non_empty).map(Into::into),
        tsdb_path: tsdb_path.and_then(non_empty).map(Into::into),
        inject_proxy: non_empty(inject_proxy).map(proxy_url).transpose()?,
        service_account_path: non_empty(inject_kubernetes_sa_path).map(Into::into),
        fetch_head_series: shard_fetch_head_series.0,
        keep_alive: !scrape_disable_keep_alive.0,
        self_monitor: shard_self_monitor.0,
        pod_name: env("POD_NAME").unwrap_or_default(),
        scrape_proxy: variable(env, "SCRAPE_PROXY"),
        http2: variable(env, "PROMETHEUS_COMMON_DISABLE_HTTP2").is_none(),
        body_size_limit: body_size_limit(scrape_body_size_limit),
        delivery: inject_targets,
        external_labels: inject_external_label.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Labels>(),
        strip_rules: inject_strip_rules.0,
        prometheus_version: line(prometheus_version),
        compat_coordinator_url: match non_empty(compat_coordinator_url) {
            Some(url) => Some(base_url("compat.coordinator-url", url)?),
            None => None,
        },
    };
    Ok(Meaning { options, warnings })
}

/// The folder of a file; the current one for a bare name.
fn parent(file: &str) -> &Path {
    Path::new(file).parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether writing one would replace the other, links included.
fn same_file(one: &Path, other: &Path) -> bool {
    let resolved = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    resolved(one) == resolved(other)
}

/// A proxy, as Prometheus takes it.
fn proxy_url(url: String) -> Result<String, OptionsError> {
    match reqwest::Url::parse(&url) {
        Ok(parsed) if parsed.has_host() => Ok(url),
        _ => Err(OptionsError::Value {
            flag: "inject.proxy",
            value: without_credentials(&url),
            expected: "a URL such as http://127.0.0.1:8008",
        }),
    }
}

/// A base URL that paths can be appended to.
fn base_url(flag: &'static str, url: String) -> Result<String, OptionsError> {
    let trimmed = url.trim_end_matches('/');
    let parsed = reqwest::Url::parse(trimmed).ok().filter(|parsed| {
        matches!(parsed.scheme(), "http" | "https")
            && parsed.has_host()
            && parsed.query().is_none()
            && parsed.fragment().is_none()
    });
    match parsed {
        Some(_) => Ok(trimmed.to_owned()),
        None => {
            Err(OptionsError::Value { flag, value: without_credentials(&url), expected: "a URL such as http://127.0.0.1:9090" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Parsed, Subcommands, parse};

    fn try_meaning(args: &[&str], env: Environment<'_>) -> Result<Meaning<Options>, OptionsError> {
        let args = std::iter::once("sidecar").chain(args.iter().copied()).map(str::to_owned);
        match parse(args) {
            Ok(Parsed::Run(Subcommands::Sidecar(flags), _)) => sidecar(*flags, env),
            other => panic!("{other:?}"),
        }
    }

    fn meaning(args: &[&str]) -> Meaning<Options> {
        try_meaning(args, &|_| None).unwrap()
    }

    #[test]
    fn defaults_are_the_originals() {
        let Meaning { options, warnings } = meaning(&[]);
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!((options.proxy_address.as_str(), options.api_address.as_str()), (":8008", ":8080"));
        assert_eq!(options.prometheus_url, "http://127.0.0.1:9090");
        assert_eq!(options.config_file.unwrap().to_str(), Some("/etc/prometheus/config_out/prometheus.env.yaml"));
        assert_eq!(options.output_file.to_str(), Some("/etc/prometheus/config_out/prometheus_injected.yaml"));
        assert_eq!((options.store_path.to_str(), options.legacy_target_file), (Some("/prometheus/"), None));
        assert_eq!(options.inject_proxy.as_deref(), Some("http://127.0.0.1:8008"));
        assert!(options.fetch_head_series && options.keep_alive && options.http2 && !options.self_monitor);
        assert_eq!(options.delivery, kvass_sidecar::DeliveryMode::Auto);
        assert!(options.external_labels.is_empty() && !options.strip_rules);
    }

    #[test]
    fn empty_values_mean_none() {
        let Meaning { options, .. } = meaning(&["--config.file=", "--inject.proxy=", "--tsdb.path="]);
        assert_eq!((options.config_file, options.inject_proxy, options.tsdb_path), (None, None, None));
    }

    #[test]
    fn the_old_target_file_gives_the_store_its_folder() {
        for (args, store, file) in [
            (&["--config.target-file=/data/targets.json"][..], "/data", "/data/targets.json"),
            (&["--config.target-file=targets.json"], ".", "targets.json"),
            (&["--config.target-file=/data/t.json", "--store.path=/s"], "/s", "/data/t.json"),
        ] {
            let Meaning { options, warnings } = meaning(args);
            assert_eq!((options.store_path.to_str(), options.legacy_target_file.unwrap().to_str()), (Some(store), Some(file)));
            assert_eq!(warnings.len(), 1, "{args:?}");
        }
    }

    #[test]
    fn external_labels_add_up_and_the_last_of_a_name_wins() {
        let Meaning { options, .. } =
            meaning(&["--inject.external-label=shard=0", "--inject.external-label=zone=a", "--inject.external-label", "shard=1"]);
        assert_eq!(options.external_labels, [("shard", "1"), ("zone", "a")].into_iter().collect::<Labels>());
    }

    #[test]
    fn urls() {
        assert_eq!(meaning(&["--prometheus.url=http://p:9090/base/"]).options.prometheus_url, "http://p:9090/base");
        for bad in ["127.0.0.1:9090", "ftp://p", "http://", "", "http://p?x=1"] {
            let error = try_meaning(&[&format!("--prometheus.url={bad}")], &|_| None).unwrap_err();
            assert_eq!(error.to_string(), format!("--prometheus.url={bad}: expected a URL such as http://127.0.0.1:9090"));
        }
        let error = try_meaning(&["--prometheus.url=http://user:secret@p?x=1"], &|_| None).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn the_users_configuration_is_never_the_output() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("real.yml"), "").unwrap();
        std::os::unix::fs::symlink("real.yml", path("link.yml")).unwrap();
        for (config, output, refused) in [
            (path("real.yml"), path("real.yml"), true),
            (path("link.yml"), path("real.yml"), true),
            (path("missing.yml"), path("missing.yml"), true),
            (path("real.yml"), path("other.yml"), false),
        ] {
            let args = [format!("--config.file={config}"), format!("--config.output-file={output}")];
            let meant = try_meaning(&args.each_ref().map(String::as_str), &|_| None);
            assert_eq!(meant.is_err(), refused, "{args:?}");
            if let Err(error) = meant {
                let expected =
                    format!("--config.output-file={output}: expected another file than --config.file, which it would overwrite");
                assert_eq!(error.to_string(), expected);
            }
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for url in ["foo", "127.0.0.1:8008", "localhost:8008", "http://"] {
            let error = try_meaning(&["--inject.proxy", url], &|_| None).unwrap_err().to_string();
            assert_eq!(error, format!("--inject.proxy={url}: expected a URL such as http://127.0.0.1:8008"));
        }
        assert_eq!(meaning(&["--inject.proxy=http://x:1/"]).options.inject_proxy.as_deref(), Some("http://x:1/"));
    }

    #[test]
    fn environment() {
        let env = |name: &str| (name == "POD_NAME").then(|| "prometheus-rep-0-3".to_owned());
        assert_eq!(try_meaning(&[], &env).unwrap().options.pod_name, "prometheus-rep-0-3");
    }
}
