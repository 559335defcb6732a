//! Stories in `tests/scenarios/*.txt`: a replica, what happens to it, and what is planned.
//!
//! Lines that begin with `>` are the answers; `KVASS_UPDATE=1 cargo test -p kvass-plan` rewrites them.
//! Everything else is a command:
//!
//! ```text
//! limits max-series=100 max-process-series=300 min-shards=0 max-shards=9 max-idle=3600 upload-deadline=3600 hand-over-scrapes=1 no-alleviate
//! target a 60                     an active target and its size (60/80: series/total; ?: not measured)
//!        job=x unexplored         options of a target
//! shard 0 a b~ c! d? e@3          a shard and its targets (~ in transfer, ! down, ? not scraped, @ scrapes)
//!        access=holding head=120 idle=7200 pending had=a,b   (pending: samples not uploaded)
//! scale 3                         shards wished (default: those listed)
//! static | unsettled | settled | restart
//! gone a                          the target is not active any more
//! wait 30                         seconds pass
//! up                              shards that are wished but missing come up, empty
//! scrape                          shards scrape everything once; everything but targets marked ! is up
//! plan                            plan and show; nothing is applied
//! apply                           apply the last plan
//! settle                          plan, apply, bring shards up and scrape until nothing changes; show the moves and the end
//! ```

// Clippy knows `#[test]` functions, not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kvass_model::{Health, ScrapeStatus, SeriesCount, TargetHash, TargetState};
use kvass_plan::{Access, Departed, Limits, Plan, ShardView, Snapshot, TargetView, plan, violations};

/// Far from anything else that is a number in a text, so that texts can be searched for it.
const FIRST_HASH: u64 = 7_000_000_000;

#[test]
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let expected = fs::read_to_string(&path).unwrap();
        let told = tell(&expected, &path);
        if told != expected {
            if std::env::var_os("KVASS_UPDATE").is_some() {
                fs::write(&path, told).unwrap();
            } else {
                wrong.push(format!("{}:\n{}", path.display(), difference(&expected, &told)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs the commands of a story and returns it with the answers of now.
fn tell(story: &str, path: &Path) -> String {
    let mut world = World::new();
    let mut told = String::new();
    for (number, line) in story.lines().enumerate().filter(|(_, line)| !line.starts_with('>')) {
        told.push_str(line);
        told.push('\n');
        let command = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = command.split_whitespace().collect();
        let Some((name, arguments)) = words.split_first() else { continue };
        let answer = world.run(name, arguments);
        let answer = answer.unwrap_or_else(|| panic!("{}:{}: cannot read {line:?}", path.display(), number + 1));
        for answer in answer.lines() {
            told.push_str(&format!("> {answer}"));
            told.push('\n');
        }
    }
    told
}

/// The lines that differ, from the first on.
fn difference(expected: &str, told: &str) -> String {
    let same = expected.lines().zip(told.lines()).take_while(|(a, b)| a == b).count();
    let tail =
        |text: &str, sign: char| text.lines().skip(same).take(8).fold(String::new(), |out, l| out + &format!("  {sign} {l}\n"));
    format!("  line {}\n{}{}", same + 1, tail(expected, '-'), tail(told, '+'))
}

struct World {
    snapshot: Snapshot,
    limits: Limits,
    names: Vec<String>,
    down: Vec<TargetHash>,
    last: Option<Plan>,
    scale_given: bool,
}

impl World {
    fn new() -> World {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let snapshot = Snapshot { now, scalable: true, settled: true, ..Snapshot::default() };
        World { snapshot, limits: Limits::default(), names: Vec::new(), down: Vec::new(), last: None, scale_given: false }
    }

    fn run(&mut self, command: &str, arguments: &[&str]) -> Option<String> {
        let first = arguments.first().copied();
        match command {
            "limits" => arguments.iter().try_for_each(|argument| self.limit(argument))?,
            "target" => self.target(first?, arguments.get(1)?, arguments.get(2..)?)?,
            "shard" => self.shard(first?.parse().ok()?, arguments.get(1..)?)?,
            "scale" => {
                self.snapshot.scale = first?.parse().ok()?;
                self.scale_given = true;
            }
            "static" => self.snapshot.scalable = false,
            "unsettled" => self.snapshot.settled = false,
            "settled" => self.snapshot.settled = true,
            "restart" => {
                self.snapshot.transfers.clear();
                self.snapshot.shards.values_mut().for_each(|shard| shard.remembered.clear());
            }
            "gone" => {
                let hash = self.hash(first?);
                let view = self.snapshot.targets.remove(&hash)?;
                let departed = Departed { count: view.count.unwrap_or_default(), at: self.snapshot.now };
                self.snapshot.departed.insert(hash, departed);
            }
            "wait" => self.wait(first?.parse().ok()?),
            "up" => self.up(),
            "scrape" => self.scrape(),
            "plan" => return Some(self.plan()),
            "apply" => self.apply()?,
            "settle" => return Some(self.settle()),
            _ => return None,
        }
        Some(String::new())
    }

    fn limit(&mut self, argument: &str) -> Option<()> {
        let (name, value) = argument.split_once('=').unwrap_or((argument, "0"));
        let value: u64 = value.parse().ok()?;
        let small = u32::try_from(value).ok()?;
        match name {
            "max-series" => self.limits.max_series = Some(value),
            "max-process-series" => self.limits.max_process_series = Some(value),
            "min-shards" => self.limits.min_shards = small,
            "max-shards" => self.limits.max_shards = small,
            "max-idle" => self.limits.max_idle = Duration::from_secs(value),
            "upload-deadline" => self.limits.upload_deadline = Duration::from_secs(value),
            "hand-over-scrapes" => self.limits.hand_over_scrapes = value,
            "no-alleviate" => self.limits.alleviate = false,
            _ => return None,
        }
        Some(())
    }

    fn target(&mut self, name: &str, size: &str, options: &[&str]) -> Option<()> {
        let mut view = TargetView { job: "job".into(), count: None, attempted: true, interval: Duration::from_secs(15) };
        if size != "?" {
            let (series, total) = size.split_once('/').unwrap_or((size, size));
            view.count = Some(SeriesCount { series: series.parse().ok()?, total: total.parse().ok()? });
        }
        for option in options {
            match option.split_once('=') {
                Some(("job", job)) => view.job = job.into(),
                None if *option == "unexplored" => view.attempted = false,
                _ => return None,
            }
        }
        let hash = self.hash(name);
        self.snapshot.targets.insert(hash, view);
        Some(())
    }

    fn shard(&mut self, ordinal: u32, words: &[&str]) -> Option<()> {
        let mut view = ShardView { access: Access::Changeable, ..ShardView::default() };
        for word in words {
            if *word == "pending" {
                view.samples_pending = true;
                continue;
            }
            let Some((option, value)) = word.split_once('=') else {
                let (hash, status) = self.held(word);
                view.targets.insert(hash, status);
                continue;
            };
            match option {
                "access" => {
                    view.access = match value {
                        "changeable" => Access::Changeable,
                        "holding" => Access::Holding,
                        "failing" => Access::Failing,
                        "pending" => Access::Pending,
                        "lost" => Access::Lost,
                        _ => return None,
                    }
                }
                "head" => view.head_series = value.parse().ok()?,
                "idle" => view.idle_since = Some(self.snapshot.now - SignedDuration::from_secs(value.parse().ok()?)),
                "had" => {
                    let had: Vec<TargetHash> = value.split(',').map(|name| self.hash(name)).collect();
                    view.remembered = had.into_iter().map(|hash| (hash, SeriesCount::default())).collect();
                }
                _ => return None,
            }
        }
        self.snapshot.shards.insert(ordinal, view);
        if !self.scale_given {
            self.snapshot.scale = self.snapshot.scale.max(ordinal + 1);
        }
        Some(())
    }

    /// A target as a shard reports it: a name and marks.
    fn held(&mut self, word: &str) -> (TargetHash, ScrapeStatus) {
        let (name, marks) = word.split_at(word.find(['~', '!', '?', '@']).unwrap_or(word.len()));
        let hash = self.hash(name);
        let mut status = ScrapeStatus { health: Health::Up, scrape_times: 9, ..ScrapeStatus::default() };
        if marks.contains('~') {
            status.state = TargetState::InTransfer;
        }
        if marks.contains('!') {
            status.health = Health::Down;
            self.down.push(hash);
        }
        if marks.contains('?') {
            status.health = Health::Unknown;
            status.scrape_times = 0;
        }
        if let Some((_, times)) = marks.split_once('@') {
            status.scrape_times = times.parse().unwrap();
        }
        (hash, status)
    }

    fn hash(&mut self, name: &str) -> TargetHash {
        let index = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        TargetHash(FIRST_HASH + index as u64)
    }

    fn wait(&mut self, seconds: i64) {
        self.snapshot.now += SignedDuration::from_secs(seconds);
    }

    fn up(&mut self) {
        for ordinal in 0..self.snapshot.scale {
            let view = self.snapshot.shards.entry(ordinal).or_default();
            if view.access == Access::Pending {
                *view = ShardView { access: Access::Changeable, idle_since: Some(self.snapshot.now), ..ShardView::default() };
            }
        }
    }

    fn scrape(&mut self) {
        for (hash, status) in self.snapshot.shards.values_mut().flat_map(|shard| &mut shard.targets) {
            status.health = if self.down.contains(hash) { Health::Down } else { Health::Up };
            status.scrape_times += 1;
        }
    }

    fn plan(&mut self) -> String {
        let plan = plan(&self.snapshot, &self.limits);
        assert_eq!(violations(&self.snapshot, &self.limits, &plan), Vec::<String>::new());
        let mut text = self.decisions(&plan);
        text += &self.state(&plan);
        self.last = Some(plan);
        text
    }

    fn apply(&mut self) -> Option<()> {
        self.snapshot = common::apply(&self.snapshot, &self.last.take()?);
        Some(())
    }

    fn settle(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..50 {
            let plan = plan(&self.snapshot, &self.limits);
            let quiet = plan.decisions.is_empty() && plan.scale == self.snapshot.scale;
            text += &self.decisions(&plan);
            if quiet {
                return text + &self.state(&plan);
            }
            self.last = Some(plan);
            self.apply().expect("planned just now");
            self.up();
            self.scrape();
            self.wait(15);
        }
        text + "never quiet\n"
    }

    fn decisions(&self, plan: &Plan) -> String {
        let mut text = plan.decisions.iter().fold(String::new(), |out, decision| out + &format!("{decision}\n"));
        if let Some(reason) = plan.scale_reason {
            let _ = writeln!(text, "scale {} -> {}: {reason}", self.snapshot.scale, plan.scale);
        }
        self.named(text)
    }

    /// The lists, with a star where they have to be sent, and what has no home.
    fn state(&self, plan: &Plan) -> String {
        let mut text = String::new();
        for (ordinal, shard) in &plan.shards {
            let mark = |state| if state == TargetState::InTransfer { "~" } else { "" };
            let list = shard.targets.iter().fold(String::new(), |out, (hash, t)| out + &format!(" {hash}{}", mark(t.state)));
            let star = if shard.changed { "*" } else { "" };
            let _ = writeln!(text, "shard {ordinal}{star} [{}]{list}", shard.load.series);
        }
        let mut reasons: BTreeMap<TargetHash, String> = BTreeMap::new();
        reasons.extend(plan.unassigned.iter().map(|(hash, reason)| (*hash, reason.to_string())));
        for (hash, reason) in reasons {
            let explore = if plan.explore.contains(&hash) { " (to be explored)" } else { "" };
            let _ = writeln!(text, "no home for {hash}: {reason}{explore}");
        }
        if text.is_empty() {
            text.push_str("nothing\n");
        }
        self.named(text)
    }

    fn named(&self, text: String) -> String {
        let hashes = self.names.iter().enumerate();
        hashes.fold(text, |text, (index, name)| text.replace(&(FIRST_HASH + index as u64).to_string(), name))
    }
}
