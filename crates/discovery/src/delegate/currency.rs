//! Whether a list of the delegate may be believed. Pure.
//!
//! A section that is loaded and has no target may be one whose service could not be read yet: after a start, and in
//! Prometheus 2.42 after every reload, each section begins with nothing. So a list that has targets is believed, and one that
//! has none only after a time in which the delegate asked the service and did not fail. Whether it asks ZooKeeper cannot
//! be seen: there, no target is believed only if there were some since the delegate began anew.

use std::time::{Duration, Instant};

use super::answer::Listed;

/// What passes from a service's answer until the delegate lists it, at most: it collects news for five seconds, twice.
const PASSAGE: Duration = Duration::from_secs(15);

/// What tells one life of the delegate from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    /// When its process was started, in its own words.
    pub(super) started: String,
    /// When it last loaded its configuration, in its own words.
    pub(super) configured: String,
    /// How often it was told to: its words are whole seconds.
    pub(super) reloads: u64,
}

/// What was seen of one section at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    pub(super) generation: &'a Generation,
    /// `None`: the section is not loaded.
    pub(super) listed: Option<&'a Listed>,
    /// Failed attempts to read the service, ever.
    pub(super) failures: f64,
    /// All attempts; `None` where they are not counted.
    pub(super) attempts: Option<f64>,
    /// Sections that share these counts.
    pub(super) sharing: usize,
    /// Sections that could not be set up at all.
    pub(super) not_set_up: f64,
}

/// What becomes of the groups that are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The list is not current.
    Keep,
    /// What is listed exists; of what is not, nothing is known.
    Add,
    /// The list is all there is.
    Take,
}

/// What is remembered of one section.
#[derive(Debug)]
pub(super) struct Memory {
    /// Whether the mechanism tells all its targets at once.
    whole: bool,
    /// How long the delegate must not fail.
    settle: Duration,
    generation: Option<Generation>,
    /// Since when nothing speaks against the list; begins anew with every failure.
    quiet_since: Instant,
    failures: f64,
    failed_at: Option<Instant>,
    /// When the list was first without targets, and the attempts at that time.
    empty: Option<(Instant, f64)>,
    /// Whether targets were listed in this generation, after what may have been left of the one before.
    had_some: bool,
    /// Whether the list is without targets and nothing will ever tell if that is true.
    doubtful: bool,
}

impl Memory {
    /// Nothing was seen yet. `key` and `interval` are those of the section.
    pub(super) fn new(key: &str, interval: Duration, now: Instant) -> Self {
        Memory {
            // These follow a tree of ZooKeeper node by node.
            whole: !matches!(key, "serverset_sd_configs" | "nerve_sd_configs"),
            settle: interval + PASSAGE,
            generation: None,
            quiet_since: now,
            failures: 0.0,
            failed_at: None,
            empty: None,
            had_some: false,
            doubtful: false,
        }
    }

    /// Judges what was seen.
    pub(super) fn judge(&mut self, reading: &Reading<'_>, now: Instant) -> Verdict {
        if self.generation.as_ref() != Some(reading.generation) {
            self.generation = Some(reading.generation.clone());
            (self.quiet_since, self.failures, self.empty) = (now, reading.failures, None);
            self.had_some = false;
        } else if reading.failures > self.failures {
            (self.quiet_since, self.failures, self.empty) = (now, reading.failures, None);
            self.failed_at = Some(now);
        }
        if self.failed_at.is_some_and(|at| now.saturating_duration_since(at) >= self.settle) {
            self.failed_at = None;
        }
        self.doubtful = false;
        let Some(listed) = reading.listed.filter(|listed| listed.missing == 0) else {
            self.empty = None;
            return Verdict::Keep;
        };
        let quiet = now.saturating_duration_since(self.quiet_since) >= self.settle;
        if !listed.groups.is_empty() {
            self.empty = None;
            self.had_some |= quiet;
            return if self.whole || quiet { Verdict::Take } else { Verdict::Add };
        }
        let (since, attempts) = *self.empty.get_or_insert((now, reading.attempts.unwrap_or_default()));
        if !quiet || now.saturating_duration_since(since) < self.settle || reading.not_set_up > 0.0 {
            return Verdict::Add;
        }
        let believed = match reading.attempts {
            Some(now) => now - attempts >= reading.sharing as f64,
            None => self.had_some,
        };
        self.doubtful = !believed && reading.attempts.is_none();
        if believed { Verdict::Take } else { Verdict::Add }
    }

    /// Whether a list without targets is not believed and never will be.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Whether the delegate failed lately to read the service.
    pub(super) fn is_failing(&self) -> bool {
        self.failed_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use kvass_model::TargetGroup;

    use super::*;

    fn listed(targets: usize) -> Listed {
        let groups = (0..targets).map(|n| (n.to_string(), TargetGroup::default())).collect();
        Listed { groups, missing: 0 }
    }

    /// One section through time; the delegate asks its service once a minute.
    struct Story {
        memory: Memory,
        start: Instant,
        generation: Generation,
        failures: f64,
        attempts: Option<f64>,
        not_set_up: f64,
    }

    impl Story {
        fn of(key: &str) -> Story {
            let start = Instant::now();
            let generation = Generation { started: "s".to_owned(), configured: "c".to_owned(), reloads: 0 };
            let memory = Memory::new(key, Duration::from_secs(60), start);
            Story { memory, start, generation, failures: 3.0, attempts: Some(9.0), not_set_up: 0.0 }
        }

        fn at(&mut self, seconds: u64, listed: Option<&Listed>) -> Verdict {
            let Story { generation, failures, attempts, not_set_up, .. } = self;
            let reading =
                Reading { generation, listed, failures: *failures, attempts: *attempts, sharing: 1, not_set_up: *not_set_up };
            self.memory.judge(&reading, self.start + Duration::from_secs(seconds))
        }
    }

    #[test]
    fn what_is_not_loaded_or_not_all_changes_nothing() {
        let mut story = Story::of("triton_sd_configs");
        assert_eq!(story.at(0, None), Verdict::Keep);
        assert_eq!(story.at(1000, None), Verdict::Keep);
        let short = Listed { missing: 1, ..listed(5) };
        assert_eq!(story.at(2000, Some(&short)), Verdict::Keep);
        assert_eq!(story.at(2001, Some(&listed(5))), Verdict::Take);
    }

    #[test]
    fn no_target_is_believed_after_a_quiet_time_in_which_the_service_was_asked() {
        let (some, none) = (listed(2), listed(0));
        let mut story = Story::of("triton_sd_configs");
        assert_eq!(story.at(0, Some(&some)), Verdict::Take);
        assert_eq!(story.at(100, Some(&none)), Verdict::Add);
        assert_eq!(story.at(174, Some(&none)), Verdict::Add);
        assert_eq!(story.at(175, Some(&none)), Verdict::Add, "the service was not asked meanwhile");
        story.attempts = Some(10.0);
        assert_eq!(story.at(176, Some(&none)), Verdict::Take);
        assert_eq!(story.at(180, Some(&some)), Verdict::Take);
        assert_eq!(story.at(185, Some(&none)), Verdict::Add, "each time anew");
        story.attempts = Some(11.0);
        assert_eq!(story.at(260, Some(&none)), Verdict::Take);
    }

    #[test]
    fn where_attempts_are_not_counted_there_must_have_been_targets() {
        let (some, none) = (listed(2), listed(0));
        let mut story = Story::of("nerve_sd_configs");
        story.attempts = None;
        assert_eq!(story.at(0, Some(&none)), Verdict::Add);
        assert!(!story.memory.is_doubtful(), "not yet");
        assert_eq!(story.at(1000, Some(&none)), Verdict::Add);
        assert!(story.memory.is_doubtful());
        assert_eq!(story.at(1005, Some(&some)), Verdict::Take);
        assert!(!story.memory.is_doubtful());
        assert_eq!(story.at(1010, Some(&none)), Verdict::Add);
        assert_eq!(story.at(1085, Some(&none)), Verdict::Take);
        story.generation.reloads += 1;
        assert_eq!(story.at(1090, Some(&some)), Verdict::Add, "perhaps the list of before");
        assert_eq!(story.at(1095, Some(&none)), Verdict::Add);
        assert_eq!(story.at(2000, Some(&none)), Verdict::Add);
    }

    #[test]
    fn failures_restarts_and_reloads_begin_the_time_anew() {
        let none = listed(0);
        let mut story = Story::of("triton_sd_configs");
        assert_eq!(story.at(0, Some(&none)), Verdict::Add);
        story.attempts = Some(100.0);
        assert!(!story.memory.is_failing(), "what failed before we came does not count");
        story.failures += 1.0;
        assert_eq!(story.at(60, Some(&none)), Verdict::Add);
        assert!(story.memory.is_failing());
        story.failures += 1.0;
        assert_eq!(story.at(120, Some(&none)), Verdict::Add);
        assert_eq!(story.at(194, Some(&none)), Verdict::Add);
        story.generation.reloads += 1;
        assert_eq!(story.at(195, Some(&none)), Verdict::Add);
        assert!(!story.memory.is_failing());
        story.generation.configured.push('2');
        story.failures = 0.0;
        assert_eq!(story.at(260, Some(&none)), Verdict::Add);
        story.generation.started.push('2');
        assert_eq!(story.at(330, Some(&none)), Verdict::Add);
        story.not_set_up = 1.0;
        story.attempts = Some(101.0);
        assert_eq!(story.at(405, Some(&none)), Verdict::Add, "it may be this very section");
        story.not_set_up = 0.0;
        assert_eq!(story.at(406, Some(&none)), Verdict::Take);
    }

    #[test]
    fn what_comes_piece_by_piece_takes_nothing_away_at_first() {
        let (few, all) = (listed(1), listed(5));
        let mut story = Story::of("nerve_sd_configs");
        assert_eq!(story.at(0, Some(&few)), Verdict::Add);
        assert_eq!(story.at(74, Some(&all)), Verdict::Add);
        assert_eq!(story.at(75, Some(&all)), Verdict::Take);
        assert_eq!(story.at(80, Some(&few)), Verdict::Take);
        story.generation.reloads += 1;
        assert_eq!(story.at(85, Some(&few)), Verdict::Add);
        story.failures += 1.0;
        assert_eq!(story.at(100, Some(&few)), Verdict::Add);
        assert_eq!(story.at(174, Some(&few)), Verdict::Add);
        assert_eq!(story.at(175, Some(&few)), Verdict::Take);
    }
}
