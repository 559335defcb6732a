use std::time::Duration;

use kvass_config::{InjectOptions, Secret};
use kvass_coordinator::{DelegateOptions, KubernetesShards, LeaderElection, MaxLoss, Options, ProcessShards, ShardOptions};
use kvass_plan::Limits;

use super::{
    Environment, Meaning, OptionsError, body_size_limit, line, non_empty, required, variable, warn_of_ignored,
    without_credentials,
};
use crate::flags::{CoordinatorFlags, ShardType};

/// Limit of total series where no limit is given at all.
const DEFAULT_PROCESS_SERIES: u64 = 1_000_000;

/// Shorter ones are lost to an API server that is merely busy.
const LEAST_LEASE: Duration = Duration::from_secs(3);

/// What `kvass coordinator` was asked to do.
pub(crate) fn coordinator(flags: CoordinatorFlags, env: Environment<'_>) -> Result<Meaning<Options>, OptionsError> {
    let CoordinatorFlags {
        shard_max_series,
        shard_max_head_series,
        shard_max_process_series,
        shard_max_shard,
        shard_min_shard,
        shard_max_idle_time,
        shard_upload_deadline,
        shard_delete_pvc,
        shard_delete_vpc,
        shard_disable_alleviate,
        shard_unavailable_grace,
        shard_hand_over_scrapes,
        shard_type,
        shard_namespace,
        shard_selector,
        shard_port,
        shard_static_file,
        shard_process_dir,
        shard_prometheus_binary,
        shard_prometheus_arg,
        shard_sidecar_arg,
        shard_process_stop,
        leader_elect,
        leader_elect_lease_name,
        leader_elect_namespace,
        leader_elect_lease_duration,
        config_file,
        store_path,
        web_address,
        coordinator_interval,
        sd_init_timeout,
        explore_concurrence,
        scrape_body_size_limit,
        scrape_disable_keep_alive,
        discovery_disable_keep_alive,
        discovery_prometheus_url,
        discovery_prometheus_config,
        discovery_max_loss,
        prometheus_version,
        inject_kubernetes_url,
        inject_kubernetes_proxy,
        inject_kubernetes_sa_path,
        inject_kubernetes_token,
        log: _,
        ignored,
    } = flags;
    let mut warnings = Vec::new();
    warn_of_ignored(&ignored, &mut warnings);

    let (max_series, max_process_series) =
        series_limits(shard_max_series, shard_max_head_series, shard_max_process_series, &mut warnings)?;
    if shard_delete_vpc.is_some() {
        warnings.push("--shard.delete-vpc is deprecated: write --shard.delete-pvc".to_owned());
    }
    if !inject_kubernetes_token.is_empty() {
        warnings.push(
            "--inject.kubernetes-token is deprecated: everybody who may list processes can read it; \
             write --inject.kubernetes-sa-path"
                .to_owned(),
        );
    }
    let delete_pvc = shard_delete_pvc.or(shard_delete_vpc).is_none_or(|switch| switch.0);
    if coordinator_interval.is_zero() {
        return Err(OptionsError::Zero { flag: "coordinator.interval" });
    }
    let explore_concurrency = usize::try_from(explore_concurrence).ok().filter(|n| *n > 0).ok_or(OptionsError::Value {
        flag: "explore.concurrence",
        value: explore_concurrence.to_string(),
        expected: "at least 1",
    })?;

    let leader_election = leader_elect
        .0
        .then(|| leader_election(shard_type, leader_elect_lease_name, leader_elect_namespace, leader_elect_lease_duration, env))
        .transpose()?;
    let shards = match shard_type {
        ShardType::Kubernetes => ShardOptions::Kubernetes(KubernetesShards {
            namespace: non_empty(shard_namespace),
            selector: shard_selector,
            port: u16::try_from(shard_port).ok().filter(|port| *port > 0).ok_or(OptionsError::Value {
                flag: "shard.port",
                value: shard_port.to_string(),
                expected: "a port from 1 to 65535",
            })?,
            delete_pvc,
        }),
        ShardType::Static => ShardOptions::Static(required("shard.static-file", shard_static_file)?.into()),
        ShardType::Process => ShardOptions::Process(ProcessShards {
            dir: required("shard.process-dir", shard_process_dir)?.into(),
            prometheus: required("shard.prometheus-binary", shard_prometheus_binary)?.into(),
            prometheus_args: shard_prometheus_arg,
            sidecar_args: shard_sidecar_arg,
            delete_data: delete_pvc,
            stop_on_exit: shard_process_stop.0,
        }),
    };
    let scrape_proxy = variable(env, "SCRAPE_PROXY");
    let options = Options {
        config_file: required("config.file", config_file)?.into(),
        store_path: non_empty(store_path).map(Into::into),
        web_address,
        interval: coordinator_interval,
        sd_init_timeout,
        shards,
        limits: Limits {
            max_series,
            max_process_series,
            // The original clamps with them, so a negative number has the effect of zero.
            min_shards: u32::try_from(shard_min_shard).unwrap_or(0),
            max_shards: u32::try_from(shard_max_shard).unwrap_or(0),
            max_idle: shard_max_idle_time,
            upload_deadline: shard_upload_deadline,
            alleviate: !shard_disable_alleviate.0,
            hand_over_scrapes: shard_hand_over_scrapes,
            ..Limits::default()
        },
        unavailable_grace: shard_unavailable_grace,
        explore_concurrency,
        scrape_keep_alive: !scrape_disable_keep_alive.0,
        discovery_keep_alive: !discovery_disable_keep_alive.0,
        delegate: delegate(discovery_prometheus_url, discovery_prometheus_config)?,
        max_loss: discovery_max_loss.map(max_loss).transpose()?,
        http2: variable(env, "PROMETHEUS_COMMON_DISABLE_HTTP2").is_none(),
        body_size_limit: body_size_limit(scrape_body_size_limit),
        inject: InjectOptions {
            kubernetes_url: non_empty(inject_kubernetes_url),
            kubernetes_proxy: non_empty(inject_kubernetes_proxy),
            kubernetes_sa_path: non_empty(inject_kubernetes_sa_path).map(Into::into),
            kubernetes_token: non_empty(inject_kubernetes_token).map(Secret::new),
            scrape_proxy: scrape_proxy.clone(),
        },
        scrape_proxy,
        leader_election,
        prometheus_line: line(prometheus_version),
    };
    Ok(Meaning { options, warnings })
}

/// The Prometheus that discovers for us, where there is one.
fn delegate(url: String, config_file: String) -> Result<Option<DelegateOptions>, OptionsError> {
    match (url.is_empty(), config_file.is_empty()) {
        (true, true) => return Ok(None),
        (false, true) => {
            return Err(OptionsError::Value {
                flag: "discovery.prometheus-config",
                value: config_file,
                expected: "the configuration file of the Prometheus at --discovery.prometheus-url",
            });
        }
        (true, false) => {
            return Err(OptionsError::Value {
                flag: "discovery.prometheus-url",
                value: url,
                expected: "the URL of the Prometheus that reads --discovery.prometheus-config",
            });
        }
        (false, false) => {}
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let value = without_credentials(&url);
        return Err(OptionsError::Value { flag: "discovery.prometheus-url", value, expected: "a URL with http:// or https://" });
    }
    Ok(Some(DelegateOptions { url, config_file: config_file.into() }))
}

fn max_loss(percent: i64) -> Result<MaxLoss, OptionsError> {
    u8::try_from(percent).ok().and_then(MaxLoss::percent).ok_or(OptionsError::Value {
        flag: "discovery.max-loss",
        value: percent.to_string(),
        expected: "a percentage from 0 to 99",
    })
}

/// How leaders are elected, where they are.
fn leader_election(
    shard_type: ShardType,
    lease_name: String,
    namespace: String,
    lease_duration: Duration,
    env: Environment<'_>,
) -> Result<LeaderElection, OptionsError> {
    if shard_type != ShardType::Kubernetes {
        return Err(OptionsError::Value {
            flag: "leader-elect",
            value: true.to_string(),
            expected: "--shard.type=k8s beside it, other shards have no API server to agree by",
        });
    }
    if lease_duration < LEAST_LEASE || lease_duration.subsec_nanos() > 0 || i32::try_from(lease_duration.as_secs()).is_err() {
        return Err(OptionsError::Value {
            flag: "leader-elect.lease-duration",
            value: format!("{lease_duration:?}"),
            expected: "whole seconds, 3s or more",
        });
    }
    Ok(LeaderElection {
        lease_name: required("leader-elect.lease-name", lease_name)?,
        namespace: non_empty(namespace).or_else(|| variable(env, "NAMESPACE")),
        lease_duration,
        name: variable(env, "POD_NAME").or_else(|| variable(env, "HOSTNAME")).unwrap_or_else(|| "kvass-coordinator".to_owned()),
    })
}

/// Limits of series after and before metric relabelling.
///
/// `--shard.max-series` was the only limit until v0.2 and is still what every manifest out there sets, so
/// alone it must not bring the later process limit's default with it.
fn series_limits(
    series: Option<i64>,
    head: Option<i64>,
    process: Option<i64>,
    warnings: &mut Vec<String>,
) -> Result<(Option<u64>, Option<u64>), OptionsError> {
    let at_least_one = |flag: &'static str, value: i64| match u64::try_from(value) {
        Ok(0) => Err(OptionsError::Zero { flag }),
        Ok(value) => Ok(value),
        Err(_) => Err(OptionsError::Value { flag, value: value.to_string(), expected: "at least 1" }),
    };
    let series = series.map(|value| at_least_one("shard.max-series", value)).transpose()?;
    let process = process.map(|value| at_least_one("shard.max-process-series", value)).transpose()?;
    let head = match head {
        None => None,
        Some(value) => Some(u64::try_from(value).map_err(|_| OptionsError::Value {
            flag: "shard.max-head-series",
            value: value.to_string(),
            expected: "at least 1, or 0 for no limit",
        })?),
    };
    if let (Some(series), None, None) = (series, head, process) {
        return Ok((Some(series), None));
    }
    if series.is_some() {
        warnings
            .push("--shard.max-series is ignored: --shard.max-head-series or --shard.max-process-series is given too".to_owned());
    }
    Ok((head.filter(|limit| *limit > 0), Some(process.unwrap_or(DEFAULT_PROCESS_SERIES))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Parsed, Subcommands, parse};

    fn flags(args: &[&str]) -> CoordinatorFlags {
        let args = std::iter::once("coordinator").chain(args.iter().copied()).map(str::to_owned);
        match parse(args) {
            Ok(Parsed::Run(Subcommands::Coordinator(flags), _)) => *flags,
            other => panic!("{other:?}"),
        }
    }

    fn meaning(args: &[&str]) -> Meaning<Options> {
        coordinator(flags(args), &|_| None).unwrap()
    }

    fn error(args: &[&str]) -> String {
        coordinator(flags(args), &|_| None).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_the_originals() {
        let Meaning { options, warnings } = meaning(&[]);
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(options.config_file.to_str(), Some("prometheus.yml"));
        assert_eq!(options.web_address, ":9090");
        assert_eq!(options.store_path, None);
        assert_eq!(meaning(&["--store.path=/keep"]).options.store_path.unwrap().to_str(), Some("/keep"));
        assert_eq!((options.interval.as_secs(), options.sd_init_timeout.as_secs()), (10, 60));
        assert_eq!(options.explore_concurrency, 200);
        assert!(options.scrape_keep_alive && options.discovery_keep_alive && options.http2);
        assert_eq!(options.limits, Limits { max_process_series: Some(1_000_000), ..Limits::default() });
        assert_eq!(options.body_size_limit, 256 << 20);
        assert!(options.delegate.is_none() && options.max_loss.is_none());
        assert_eq!((options.scrape_proxy, options.prometheus_line), (None, None));
        assert_eq!(options.inject, InjectOptions::default());
        let ShardOptions::Kubernetes(shards) = options.shards else { panic!("{:?}", options.shards) };
        assert_eq!((shards.namespace, shards.port, shards.delete_pvc), (None, 8080, true));
        assert_eq!(shards.selector, "app.kubernetes.io/name=prometheus");
    }

    #[test]
    fn a_boolean_without_its_equals_sign_is_warned_of() {
        let Meaning { options, warnings } = meaning(&["--shard.delete-pvc", "false"]);
        let ShardOptions::Kubernetes(shards) = options.shards else { panic!("{:?}", options.shards) };
        assert!(shards.delete_pvc);
        let expected = "\"false\" is no flag and is ignored: a boolean flag takes its value after =, as in --flag=false";
        assert_eq!(warnings, [expected]);
    }

    #[test]
    fn limits_of_every_version() {
        for (args, series, process, warned) in [
            (&["--shard.max-series=30000"][..], Some(30_000), None, false),
            (&["--shard.max-head-series=5"], Some(5), Some(1_000_000), false),
            (&["--shard.max-head-series=0"], None, Some(1_000_000), false),
            (&["--shard.max-process-series=9223372036854775807"], None, Some(i64::MAX as u64), false),
            (&["--shard.max-series=1", "--shard.max-head-series=5"], Some(5), Some(1_000_000), true),
            (&["--shard.max-series=1", "--shard.max-process-series=9"], None, Some(9), true),
        ] {
            let Meaning { options, warnings } = meaning(args);
            assert_eq!((options.limits.max_series, options.limits.max_process_series), (series, process), "{args:?}");
            assert_eq!(warnings.len(), usize::from(warned), "{args:?}: {warnings:?}");
        }
        for (arg, message) in [
            ("--shard.max-process-series=0", "shard.max-process-series can not be 0"),
            ("--shard.max-series=0", "shard.max-series can not be 0"),
            ("--shard.max-head-series=-1", "--shard.max-head-series=-1: expected at least 1, or 0 for no limit"),
        ] {
            assert_eq!(error(&[arg]), message);
        }
    }

    #[test]
    fn deleting_claims_in_both_spellings() {
        for (args, delete, warned) in [
            (&["--shard.delete-pvc=false"][..], false, false),
            (&["--shard.delete-vpc=false"], false, true),
            (&["--shard.delete-vpc=false", "--shard.delete-pvc"], true, true),
        ] {
            let Meaning { options, warnings } = meaning(args);
            let ShardOptions::Kubernetes(shards) = options.shards else { panic!() };
            assert_eq!((shards.delete_pvc, !warnings.is_empty()), (delete, warned), "{args:?}");
        }
    }

    #[test]
    fn process_shards() {
        let Meaning { options, .. } = meaning(&[
            "--shard.type=process",
            "--shard.process-dir=d",
            "--shard.prometheus-binary=p",
            "--shard.prometheus-arg=--a=1",
            "--shard.prometheus-arg",
            "--b",
            "--shard.process-stop",
        ]);
        let ShardOptions::Process(shards) = options.shards else { panic!() };
        assert_eq!((shards.dir.to_str(), shards.prometheus.to_str()), (Some("d"), Some("p")));
        assert_eq!(shards.prometheus_args, ["--a=1", "--b"]);
        assert!(shards.stop_on_exit && shards.delete_data);
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_its_flag() {
        for (args, message) in [
            (&["--shard.port=65536"][..], "--shard.port=65536: expected a port from 1 to 65535"),
            (&["--explore.concurrence=0"], "--explore.concurrence=0: expected at least 1"),
            (&["--coordinator.interval=0"], "coordinator.interval can not be 0"),
            (&["--config.file="], "--config.file=: expected a value"),
            (&["--discovery.max-loss=100"], "--discovery.max-loss=100: expected a percentage from 0 to 99"),
            (&["--discovery.max-loss=-1"], "--discovery.max-loss=-1: expected a percentage from 0 to 99"),
            (
                &["--discovery.prometheus-url=http://p"],
                "--discovery.prometheus-config=: expected the configuration file of the Prometheus at --discovery.prometheus-url",
            ),
            (
                &["--discovery.prometheus-config=f"],
                "--discovery.prometheus-url=: expected the URL of the Prometheus that reads --discovery.prometheus-config",
            ),
            (
                &["--discovery.prometheus-config=f", "--discovery.prometheus-url=u:s3cret@p:1"],
                "--discovery.prometheus-url=p:1: expected a URL with http:// or https://",
            ),
        ] {
            assert_eq!(error(args), message);
        }
    }

    #[test]
    fn discovery_may_be_delegated_and_doubted() {
        let args = ["--discovery.prometheus-url=http://p:1", "--discovery.prometheus-config=d/f.yml", "--discovery.max-loss=30"];
        let Meaning { options, .. } = meaning(&args);
        let delegate = options.delegate.unwrap();
        assert_eq!((delegate.url.as_str(), delegate.config_file.to_str()), ("http://p:1", Some("d/f.yml")));
        assert_eq!(options.max_loss, MaxLoss::percent(30));
    }

    #[test]
    fn leaders_are_elected_where_there_is_an_api_server() {
        assert_eq!(meaning(&[]).options.leader_election, None);
        let env = |name: &str| ["NAMESPACE", "POD_NAME"].contains(&name).then(|| name.to_lowercase());
        let parse = |args: &[&str]| coordinator(flags(args), &env).unwrap().options.leader_election.unwrap();
        let election = LeaderElection {
            lease_name: "kvass-coordinator".to_owned(),
            namespace: Some("namespace".to_owned()),
            lease_duration: Duration::from_secs(15),
            name: "pod_name".to_owned(),
        };
        assert_eq!(parse(&["--leader-elect"]), election);
        let args =
            ["--leader-elect", "--leader-elect.namespace=n", "--leader-elect.lease-duration=1m", "--leader-elect.lease-name=l"];
        let (lease_name, namespace) = ("l".to_owned(), Some("n".to_owned()));
        assert_eq!(parse(&args), LeaderElection { lease_name, namespace, lease_duration: Duration::from_secs(60), ..election });
        for (args, message) in [
            (
                &["--shard.type=static"][..],
                "--leader-elect=true: expected --shard.type=k8s beside it, other shards have no API server to agree by",
            ),
            (&["--leader-elect.lease-duration=2s"], "--leader-elect.lease-duration=2s: expected whole seconds, 3s or more"),
            (&["--leader-elect.lease-duration=4500ms"], "--leader-elect.lease-duration=4.5s: expected whole seconds, 3s or more"),
            (&["--leader-elect.lease-name="], "--leader-elect.lease-name=: expected a value"),
        ] {
            assert_eq!(error(&[&["--leader-elect"], args].concat()), message);
        }
    }

    #[test]
    fn numbers_of_shards_and_idle_time() {
        let Meaning { options, .. } =
            meaning(&["--shard.min-shard=-3", "--shard.max-shard=7", "--shard.max-idle-time=3h", "--shard.upload-deadline=30m"]);
        assert_eq!(options.limits.upload_deadline, Duration::from_secs(1800));
        assert_eq!((options.limits.min_shards, options.limits.max_shards), (0, 7));
        assert_eq!(options.limits.max_idle, Duration::from_secs(10_800));
    }

    #[test]
    fn environment() {
        let env = |name: &str| match name {
            "SCRAPE_PROXY" => Some("http://proxy:1".to_owned()),
            "PROMETHEUS_COMMON_DISABLE_HTTP2" => Some("1".to_owned()),
            _ => None,
        };
        let Meaning { options, .. } = coordinator(flags(&[]), &env).unwrap();
        assert_eq!(options.scrape_proxy.as_deref(), Some("http://proxy:1"));
        assert_eq!(options.inject.scrape_proxy, options.scrape_proxy);
        assert!(!options.http2);
    }
}
