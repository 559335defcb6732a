//! The targets there are: what discovery found, relabelled, per job and by identity.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kvass_config::{Config, ScrapeConfig};
use kvass_discovery::{Discovered, DroppedTargets, FailedTarget, HeldTargets, JobDiscovery, Resolver};
use kvass_model::{PrometheusLine, Target, TargetGroup, TargetHash};

/// What has been resolved before, by job: a change of one group costs that group only.
pub(crate) type Resolvers = BTreeMap<Arc<str>, Resolver>;

/// An immutable picture of all jobs and their targets.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) line: PrometheusLine,
    pub(crate) jobs: BTreeMap<Arc<str>, Arc<JobTargets>>,
    /// Every active target once; of equal ones in several jobs, that of the first job.
    pub(crate) targets: Arc<BTreeMap<TargetHash, Arc<Target>>>,
}

/// One job's targets.
#[derive(Clone, Debug)]
pub(crate) struct JobTargets {
    pub(crate) config: Arc<ScrapeConfig>,
    groups: Vec<Arc<TargetGroup>>,
    /// The active targets that discovery itself has found.
    found: Arc<BTreeSet<TargetHash>>,
    pub(crate) active: Vec<Arc<Target>>,
    /// Targets kept although discovery does not list them, because it has not delivered everything yet.
    pub(crate) retained: usize,
    pub(crate) dropped: DroppedTargets,
    pub(crate) dropped_total: usize,
    pub(crate) failed: Vec<FailedTarget>,
    /// Number of targets found, where that exceeds the job's `target_limit`.
    pub(crate) over_limit: Option<u64>,
    /// Whether discovery has delivered all there is: only then may a target that is not listed be forgotten.
    pub(crate) complete: bool,
    pub(crate) errors: Vec<String>,
    pub(crate) unsupported: Vec<String>,
    /// Active targets that were missing when last read.
    pub(crate) held: Vec<HeldTargets>,
}

impl JobTargets {
    /// Whether waiting longer for this job's discovery makes sense.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.complete && self.errors.is_empty() && self.unsupported.is_empty()
    }
}

impl Catalog {
    /// The next picture. `previous` lends the targets of jobs whose discovery has not delivered (again)
    /// yet, and the work already done for jobs that did not change.
    pub(crate) fn next(
        previous: &Catalog,
        config: &Config,
        discovered: &Discovered,
        line: PrometheusLine,
        resolvers: &mut Resolvers,
    ) -> Catalog {
        resolvers.retain(|name, _| config.job(name).is_some());
        let mut jobs = BTreeMap::new();
        for config in config.jobs() {
            let name = &config.job_name;
            let before = previous.jobs.get(name);
            let nothing = JobDiscovery::default();
            let found = discovered.jobs.get(name).unwrap_or(&nothing);
            let resolver = resolvers.entry(Arc::clone(name)).or_default();
            jobs.insert(Arc::clone(name), job_targets(before, config, found, (line, previous.line), resolver));
        }
        // Most cycles come without news, and there may be very many targets.
        let is_old =
            |(name, job): (&Arc<str>, &Arc<JobTargets>)| previous.jobs.get(name).is_some_and(|old| Arc::ptr_eq(old, job));
        if jobs.len() == previous.jobs.len() && jobs.iter().all(is_old) {
            return Catalog { line, jobs, targets: Arc::clone(&previous.targets) };
        }
        Catalog::of(line, jobs)
    }

    /// Adds targets that a shard holds and discovery has not delivered (yet). Only jobs whose discovery is
    /// incomplete take any; `None` where nothing is added.
    pub(crate) fn retaining(&self, held: impl IntoIterator<Item = Target>) -> Option<Catalog> {
        let mut by_job: BTreeMap<Arc<str>, Vec<Arc<Target>>> = BTreeMap::new();
        for target in held {
            if !self.targets.contains_key(&target.hash) && self.jobs.get(&target.job).is_some_and(|job| !job.complete) {
                by_job.entry(Arc::clone(&target.job)).or_default().push(Arc::new(target));
            }
        }
        if by_job.is_empty() {
            return None;
        }
        let mut jobs = self.jobs.clone();
        for (name, targets) in by_job {
            if let Some(job) = jobs.get_mut(&name) {
                let job = Arc::make_mut(job);
                job.retained += targets.len();
                job.active.extend(targets);
            }
        }
        Some(Catalog::of(self.line, jobs))
    }

    fn of(line: PrometheusLine, jobs: BTreeMap<Arc<str>, Arc<JobTargets>>) -> Catalog {
        let mut targets = BTreeMap::new();
        // Beyond its limit Prometheus scrapes no target of a job either.
        for target in jobs.values().filter(|job| job.over_limit.is_none()).flat_map(|job| &job.active) {
            targets.entry(target.hash).or_insert_with(|| Arc::clone(target));
        }
        Catalog { line, jobs, targets: Arc::new(targets) }
    }

    /// Whether every job's discovery has delivered, failed, or cannot be had.
    pub(crate) fn is_settled(&self) -> bool {
        !self.jobs.values().any(|job| job.is_awaited())
    }
}

fn job_targets(
    before: Option<&Arc<JobTargets>>,
    config: &Arc<ScrapeConfig>,
    found: &JobDiscovery,
    (line, previous_line): (PrometheusLine, PrometheusLine),
    resolver: &mut Resolver,
) -> Arc<JobTargets> {
    // What cannot be discovered may still be held by shards, from an installation that could.
    let complete = found.complete && found.unsupported.is_empty();
    if let Some(before) = before
        && line == previous_line
        && Arc::ptr_eq(&before.config, config)
        && same_groups(&before.groups, &found.groups)
        && before.complete == complete
        && before.unsupported == found.unsupported
    {
        if before.errors == found.errors && before.held == found.held {
            return Arc::clone(before);
        }
        // A service that cannot be read is often complained of in other words each time.
        let (errors, held) = (found.errors.clone(), found.held.clone());
        return Arc::new(JobTargets { errors, held, ..JobTargets::clone(before) });
    }
    if before.is_none_or(|before| before.unsupported != found.unsupported) {
        for section in &found.unsupported {
            tracing::warn!(
                job = %config.job_name,
                %section,
                "service discovery not supported without --discovery.prometheus-url, its targets are not found"
            );
        }
    }
    let resolved = resolver.resolve(config, &found.groups, line);
    let mut active = resolved.active;
    let mut retained = 0;
    let listed: BTreeSet<TargetHash> = active.iter().map(|target| target.hash).collect();
    if !complete && let Some(before) = before {
        // What supported discovery once found and does not find any more is gone, whatever the rest may be.
        let is_gone = |hash: &TargetHash| found.complete && before.found.contains(hash);
        let kept = before.active.iter().filter(|target| !listed.contains(&target.hash) && !is_gone(&target.hash));
        let kept: Vec<Arc<Target>> = kept.cloned().collect();
        retained = kept.len();
        active.extend(kept);
    }
    if let Some(found) = resolved.over_limit {
        tracing::error!(job = %config.job_name, targets = found, limit = config.target_limit, "target limit exceeded, no target of the job is scraped");
    }
    for failure in resolved.failed.iter().take(10) {
        tracing::warn!(job = %config.job_name, target = failure.discovered.address(), error = %failure.error, "target left out");
    }
    Arc::new(JobTargets {
        config: Arc::clone(config),
        groups: found.groups.clone(),
        found: Arc::new(listed),
        active,
        retained,
        dropped: resolved.dropped,
        dropped_total: resolved.dropped_total,
        failed: resolved.failed,
        over_limit: resolved.over_limit,
        complete,
        errors: found.errors.clone(),
        unsupported: found.unsupported.clone(),
        held: found.held.clone(),
    })
}

fn same_groups(a: &[Arc<TargetGroup>], b: &[Arc<TargetGroup>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

#[cfg(test)]
mod tests {
    use kvass_config::LoadContext;
    use kvass_model::Labels;

    use super::*;

    fn config() -> Config {
        let context =
            LoadContext { path: "p.yml".into(), line: PrometheusLine::V2, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
        let text = "scrape_configs:\n- job_name: j\n  file_sd_configs: [{files: [a.json]}]\n";
        Config::parse(text, &context).unwrap()
    }

    fn discovered(addresses: &[&str], complete: bool, unsupported: &[&str]) -> Discovered {
        let group = TargetGroup {
            source: "0".to_owned(),
            targets: addresses.iter().map(|a| Labels::from([("__address__", *a)])).collect(),
            labels: Labels::default(),
        };
        let job = JobDiscovery {
            groups: vec![Arc::new(group)],
            complete,
            errors: Vec::new(),
            unsupported: unsupported.iter().map(ToString::to_string).collect(),
            held: Vec::new(),
        };
        Discovered { jobs: [("j".into(), job)].into() }
    }

    fn addresses(catalog: &Catalog) -> Vec<String> {
        let mut addresses: Vec<String> = catalog.targets.values().map(|t| t.labels.address().to_owned()).collect();
        addresses.sort();
        addresses
    }

    /// A target of the job that only a shard knows of.
    fn held(catalog: &Catalog) -> Target {
        let mut target = Target::clone(catalog.targets.values().next().unwrap());
        target.hash = TargetHash(7);
        target.labels = Labels::from([("__address__", "held:1")]);
        target
    }

    #[test]
    fn targets_are_forgotten_only_when_discovery_is_complete() {
        let config = config();
        let next = |before: &Catalog, found: &Discovered| {
            Catalog::next(before, &config, found, PrometheusLine::V2, &mut Resolvers::new())
        };
        let first = next(&Catalog::default(), &discovered(&["a:1", "b:1"], true, &[]));
        assert_eq!(addresses(&first), ["a:1", "b:1"]);
        // The section was changed: its discoverer starts anew and has delivered nothing yet.
        let restarted = next(&first, &discovered(&[], false, &[]));
        assert_eq!(addresses(&restarted), ["a:1", "b:1"]);
        assert_eq!(restarted.jobs["j"].retained, 2);
        let after = next(&restarted, &discovered(&["b:1"], true, &[]));
        assert_eq!(addresses(&after), ["b:1"]);
        assert!(after.retaining([held(&after)]).is_none(), "a complete job takes nothing from shards");
    }

    #[test]
    fn without_news_the_catalog_is_the_one_before() {
        let config = config();
        let found = discovered(&["a:1", "b:1"], true, &[]);
        let mut resolvers = Resolvers::new();
        let mut next = |before: &Catalog, found: &Discovered, line| Catalog::next(before, &config, found, line, &mut resolvers);
        let first = next(&Catalog::default(), &found, PrometheusLine::V2);
        let second = next(&first, &found, PrometheusLine::V2);
        assert!(Arc::ptr_eq(&first.targets, &second.targets));
        let third = next(&second, &found, PrometheusLine::V3);
        assert!(!Arc::ptr_eq(&second.targets, &third.targets), "another line may make other targets");
        assert_eq!(third.line, PrometheusLine::V3);
        assert!(next(&third, &Discovered::default(), PrometheusLine::V3).retaining([]).is_none());
    }

    #[test]
    fn other_errors_make_no_other_targets() {
        let config = config();
        let mut found = discovered(&["a:1"], false, &[]);
        let next = |before: &Catalog, found: &Discovered| {
            Catalog::next(before, &config, found, PrometheusLine::V2, &mut Resolvers::new())
        };
        let first = next(&Catalog::default(), &found);
        let first = first.retaining([held(&first)]).unwrap();
        found.jobs.get_mut("j").unwrap().errors.push("timed out after 10.1 s".to_owned());
        let second = next(&first, &found);
        assert_eq!(second.jobs["j"].errors, ["timed out after 10.1 s"]);
        assert_eq!((addresses(&second), second.jobs["j"].retained), (vec!["a:1".to_owned(), "held:1".to_owned()], 1));
        assert!(Arc::ptr_eq(&first.jobs["j"].active[0], &second.jobs["j"].active[0]), "resolved once more");
    }

    #[test]
    fn beside_unsupported_discovery_the_supported_one_is_followed() {
        let config = config();
        let next = |before: &Catalog, found: &Discovered| {
            Catalog::next(before, &config, found, PrometheusLine::V2, &mut Resolvers::new())
        };
        let unsupported = &["kuma_sd_configs"];
        let first = next(&Catalog::default(), &discovered(&["a:1", "b:1"], true, unsupported));
        let first = first.retaining([held(&first)]).unwrap();
        assert!(first.retaining([held(&first)]).is_none(), "it is there already");
        assert_eq!(addresses(&first), ["a:1", "b:1", "held:1"]);
        let after = next(&first, &discovered(&["b:1"], true, unsupported));
        assert_eq!(addresses(&after), ["b:1", "held:1"], "what only a shard knows of may come from the unsupported one");
    }
}
