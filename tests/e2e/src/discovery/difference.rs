//! What two servers discovered differently.

use std::collections::BTreeMap;

/// Labels of a target before relabelling if it was dropped, otherwise all that follows from relabelling.
pub(crate) type Target = BTreeMap<String, String>;

/// All targets of all jobs, each with how often it is there.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Discovered(BTreeMap<String, BTreeMap<Target, usize>>);

impl Discovered {
    pub(crate) fn add(&mut self, target: Target) {
        let job = target.get("job").cloned().unwrap_or_default();
        *self.0.entry(job).or_default().entry(target).or_default() += 1;
    }

    /// The jobs whose names are wanted.
    pub(crate) fn jobs(mut self, wanted: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|job, _| wanted(job));
        self
    }

    /// Without those targets, by job.
    pub(crate) fn without(mut self, unwanted: impl Fn(&str, &Target) -> bool) -> Self {
        for (job, targets) in &mut self.0 {
            targets.retain(|target, _| !unwanted(job, target));
        }
        self
    }

    /// With each target changed, by job.
    pub(crate) fn map(self, change: impl Fn(&str, &mut Target)) -> Self {
        let mut changed = Self::default();
        for (job, targets) in self.0 {
            let of_job = changed.0.entry(job.clone()).or_default();
            for (mut target, count) in targets {
                change(&job, &mut target);
                *of_job.entry(target).or_default() += count;
            }
        }
        changed
    }

    /// How many targets a job has.
    pub(crate) fn of(&self, job: &str) -> usize {
        self.0.get(job).into_iter().flat_map(BTreeMap::values).sum()
    }

    /// How many targets there are.
    pub(crate) fn len(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).sum()
    }

    /// How many targets each job has.
    pub(crate) fn counts(&self) -> String {
        let counts = self.0.iter().map(|(job, targets)| format!("{job} {}", targets.values().sum::<usize>()));
        counts.collect::<Vec<_>>().join(", ")
    }
}

/// One sentence for each job that differs; none where all targets are the same, as often.
pub(crate) fn difference(ours: &Discovered, theirs: &Discovered) -> Vec<String> {
    let nothing = BTreeMap::new();
    let mut names: Vec<&String> = ours.0.keys().chain(theirs.0.keys()).collect();
    names.sort();
    names.dedup();
    let sentence = |name: &&String| {
        let [ours, theirs] = [ours, theirs].map(|side| side.0.get(*name).unwrap_or(&nothing));
        let more = |side: &BTreeMap<Target, usize>, other: &BTreeMap<Target, usize>| {
            let more = side.iter().filter(|(target, count)| other.get(*target).unwrap_or(&0) < *count);
            more.map(|(target, _)| target.clone()).collect::<Vec<_>>()
        };
        let (of_us, of_them) = (more(ours, theirs), more(theirs, ours));
        if of_us.is_empty() && of_them.is_empty() {
            return None;
        }
        let first = of_us.first().map(|target| detail(target, &of_them)).or(of_them.first().map(|target| detail(target, &of_us)));
        Some(format!("{name}: {} targets only here, {} only there: {}", of_us.len(), of_them.len(), first.unwrap_or_default()))
    };
    names.iter().filter_map(sentence).collect()
}

/// A target by the labels in which it differs from the one that is most like it.
fn detail(target: &Target, others: &[Target]) -> String {
    let common = |other: &&Target| other.iter().filter(|(name, value)| target.get(*name) == Some(*value)).count();
    let address = target.get("__address__").map_or("", String::as_str);
    let Some(nearest) = others.iter().max_by_key(common) else { return format!("{address} and nothing like it") };
    let minus = |one: &Target, other: &Target| {
        let labels = one.iter().filter(|(name, value)| other.get(*name) != Some(*value));
        labels.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(" ")
    };
    format!("{address}: [{}] against [{}]", minus(target, nearest), minus(nearest, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovered(targets: &[&[(&str, &str)]]) -> Discovered {
        let mut discovered = Discovered::default();
        for target in targets {
            discovered.add(target.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
        }
        discovered
    }

    #[test]
    fn sentences() {
        let one: &[_] = &[("job", "j"), ("__address__", "a"), ("x", "1")];
        let other: &[_] = &[("job", "j"), ("__address__", "a"), ("x", "2")];
        let both = discovered(&[one, other]);
        assert_eq!(difference(&both, &discovered(&[other, one])), Vec::<String>::new());
        assert_eq!(
            difference(&discovered(&[one]), &discovered(&[other])),
            ["j: 1 targets only here, 1 only there: a: [x=\"1\"] against [x=\"2\"]"]
        );
        let twice = discovered(&[one, one]);
        assert_eq!(difference(&twice, &discovered(&[one])).len(), 1, "how often counts");
        assert_eq!(difference(&Discovered::default(), &both).len(), 1);
        assert_eq!((twice.len(), twice.counts().as_str()), (2, "j 2"));
    }
}
