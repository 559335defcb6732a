//! From target groups to targets: the label set each target starts from, relabelling, checks, identity.

mod explain;
mod job_rules;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use kvass_config::ScrapeConfig;
use kvass_model::{Labels, PrometheusLine, Target, TargetGroup, TargetHash};

pub use self::explain::{Change, End, Explanation, explain};
use self::job_rules::JobRules;

/// The targets of one job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// Unique by hash over the whole job, in the order of the groups.
    pub active: Vec<Arc<Target>>,
    /// Targets that relabelling dropped; at most `keep_dropped_targets` where that is set.
    pub dropped: DroppedTargets,
    /// How many targets relabelling dropped.
    pub dropped_total: usize,
    /// Targets that cannot be built; they never affect their siblings.
    pub failed: Vec<FailedTarget>,
    /// The number of active targets where it exceeds the job's `target_limit`: all of them then fail.
    pub over_limit: Option<u64>,
}

/// Targets that relabelling dropped, as what they were made of. Their labels are put together when somebody asks for them:
/// kept, they would be most of the memory that the discovery of many targets takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DroppedTargets {
    made_for: Option<(Arc<ScrapeConfig>, PrometheusLine)>,
    /// Groups and the index of the target in them.
    targets: Vec<(Arc<TargetGroup>, usize)>,
}

impl DroppedTargets {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The labels of each before relabelling.
    pub fn labels(&self) -> impl Iterator<Item = Labels> {
        let rules = self.made_for.as_ref().map(|(job, line)| JobRules::new(job, *line));
        self.targets.iter().filter_map(move |(group, index)| {
            let rules = rules.as_ref()?;
            Some(rules.discovered_labels(group.targets.get(*index)?, &group.labels).build())
        })
    }
}

/// A target that cannot be scraped as its labels stand after relabelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedTarget {
    /// Its labels before relabelling.
    pub discovered: Labels,
    /// What is wrong with it.
    pub error: String,
}

/// Builds the targets of a job from its groups; see [`Resolver`] for doing so repeatedly.
pub fn resolve(job: &Arc<ScrapeConfig>, groups: &[Arc<TargetGroup>], line: PrometheusLine) -> Resolved {
    let rules = JobRules::new(job, line);
    collect(job, line, groups.iter().map(|group| (group, rules.resolve_group(group))))
}

/// Builds the targets of one job again and again, and spends work only on groups that are new: a change
/// of one pod among thousands costs one group. Unchanged targets keep their [`Arc`].
#[derive(Debug, Default)]
pub struct Resolver {
    made_for: Option<(Arc<ScrapeConfig>, PrometheusLine)>,
    /// By address of the group. The value keeps the group alive, so no other can take that address.
    groups: HashMap<usize, ResolvedGroup>,
}

#[derive(Debug)]
struct ResolvedGroup {
    group: Arc<TargetGroup>,
    outcomes: Vec<Outcome>,
}

impl Resolver {
    /// Nothing is remembered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same as [`resolve`].
    pub fn resolve(&mut self, job: &Arc<ScrapeConfig>, groups: &[Arc<TargetGroup>], line: PrometheusLine) -> Resolved {
        let unchanged =
            self.made_for.as_ref().is_some_and(|(old, old_line)| *old_line == line && (Arc::ptr_eq(old, job) || old == job));
        if !unchanged {
            self.groups.clear();
            self.made_for = Some((Arc::clone(job), line));
        }
        let rules = JobRules::new(job, line);
        let mut before = std::mem::take(&mut self.groups);
        for group in groups {
            let key = Arc::as_ptr(group).addr();
            self.groups.entry(key).or_insert_with(|| {
                before
                    .remove(&key)
                    .unwrap_or_else(|| ResolvedGroup { group: Arc::clone(group), outcomes: rules.resolve_group(group) })
            });
        }
        let resolved = groups.iter().filter_map(|group| self.groups.get(&Arc::as_ptr(group).addr()));
        collect(job, line, resolved.map(|resolved| (&resolved.group, resolved.outcomes.iter().cloned())))
    }
}

#[derive(Clone, Debug)]
enum Outcome {
    Active(Arc<Target>),
    Dropped,
    Failed(Box<FailedTarget>),
}

/// `groups` with what became of each of their targets.
fn collect<'a, G: IntoIterator<Item = Outcome>>(
    job: &Arc<ScrapeConfig>,
    line: PrometheusLine,
    groups: impl Iterator<Item = (&'a Arc<TargetGroup>, G)>,
) -> Resolved {
    let keep_dropped = match usize::try_from(job.keep_dropped_targets) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    let mut resolved = Resolved::default();
    resolved.dropped.made_for = Some((Arc::clone(job), line));
    let dropped = &mut resolved.dropped.targets;
    let mut unique = Unique::default();
    for (group, index, outcome) in
        groups.flat_map(|(group, outcomes)| outcomes.into_iter().enumerate().map(move |(index, outcome)| (group, index, outcome)))
    {
        match outcome {
            Outcome::Active(target) => unique.add(target),
            Outcome::Dropped => {
                resolved.dropped_total += 1;
                if dropped.len() < keep_dropped {
                    dropped.push((Arc::clone(group), index));
                }
            }
            Outcome::Failed(failed) => resolved.failed.push(*failed),
        }
    }
    resolved.active = unique.targets;
    let found = resolved.active.len() as u64;
    resolved.over_limit = (job.target_limit > 0 && found > job.target_limit).then_some(found);
    resolved
}

/// Targets, each once.
#[derive(Default)]
struct Unique {
    targets: Vec<Arc<Target>>,
    places: HashMap<TargetHash, usize>,
}

impl Unique {
    fn add(&mut self, target: Arc<Target>) {
        let place = match self.places.entry(target.hash) {
            Entry::Vacant(entry) => {
                entry.insert(self.targets.len());
                self.targets.push(target);
                return;
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        let known = &mut self.targets[place];
        if known.labels == target.labels {
            // Of equal targets Prometheus shows the labels of the last one as the discovered ones.
            *known = target;
            return;
        }
        // `a` and `a:80` are two targets to Prometheus 3 and one to Prometheus 2, so their identity is the same. It belongs
        // to the one that Prometheus 2 would show; the other, unknown there, gets one of its own.
        let own = |target: &Target| TargetHash::of(&target.labels, &target.url);
        let rank = |target: &Target| (own(target) != target.hash, target.labels.clone());
        let other = if rank(&target) < rank(known) { std::mem::replace(known, target) } else { target };
        let hash = own(&other);
        if hash != other.hash {
            self.add(Arc::new(Target { hash, ..Target::clone(&other) }));
        }
    }
}

#[cfg(test)]
mod tests;
