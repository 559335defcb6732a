//! One watch of the catalog, and one of each service.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use kvass_config::ConsulSdConfig;
use kvass_model::TargetGroup;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    agent::{Agent, Answer, Place, next_index},
    service::group,
};
use crate::{
    backoff::Backoff,
    feed::{Feed, lock},
    manager::{DiscoveryOptions, Task, never_ending},
    refresh::RefreshError,
};

/// The longest pause after a failure.
const RETRY: Duration = Duration::from_secs(15);
/// So many problems are shown; the rest is counted.
const SHOWN: usize = 5;

/// Follows the services of a `consul_sd_configs` entry, for ever. What cannot be read keeps its targets.
pub(crate) async fn run(config: ConsulSdConfig, options: DiscoveryOptions, feed: Arc<Feed>) {
    let board = Board { name: format!("consul_sd_configs: {}", Place::of(&config).shown()), feed, state: Mutex::default() };
    board.feed.set_name(&board.name);
    let mut backoff = backoff(&config);
    let (agent, datacenter) = loop {
        match set_up(&config, &options).await {
            Ok(ready) => break ready,
            Err(error) => {
                board.failed("", &error);
                sleep(backoff.next()).await;
            }
        }
    };
    let watches = Arc::new(Watches { config, agent, datacenter, board });
    if watches.needs_catalog() {
        watches.watch_catalog().await;
    } else {
        let services: BTreeSet<String> = watches.config.services.iter().cloned().collect();
        watches.board.watching(services.clone());
        let _tasks: Vec<Task> = services.into_iter().map(|service| watches.spawn(service)).collect();
        pending::<()>().await;
    }
}

async fn set_up(config: &ConsulSdConfig, options: &DiscoveryOptions) -> Result<(Agent, String), RefreshError> {
    let agent = Agent::new(config, options, &|name| std::env::var(name).ok())?;
    let datacenter = match config.datacenter.as_str() {
        "" => agent.datacenter().await?,
        datacenter => datacenter.to_owned(),
    };
    Ok((agent, datacenter))
}

fn backoff(config: &ConsulSdConfig) -> Backoff {
    Backoff::new(config.refresh_interval.min(RETRY), RETRY)
}

struct Watches {
    config: ConsulSdConfig,
    agent: Agent,
    datacenter: String,
    board: Board,
}

impl Watches {
    /// The names alone say which services are meant unless some condition has to be looked up.
    fn needs_catalog(&self) -> bool {
        self.config.services.is_empty() || !self.config.tags.is_empty() || !self.config.filter.is_empty()
    }

    async fn watch_catalog(self: &Arc<Self>) {
        let mut watches: BTreeMap<String, Task> = BTreeMap::new();
        let mut index = 0;
        let mut rhythm = Rhythm::new(&self.config);
        loop {
            rhythm.begin();
            let answer = self.agent.services(index, &self.config.filter).await;
            rhythm.end(self.board.judge("", answer, &mut index, |services| {
                // One that lost its tag is not gone: its watch asks for the tag and finds no instance.
                watches.retain(|name, _| services.contains_key(name));
                let mut names: BTreeSet<String> = watches.keys().cloned().collect();
                names.extend(
                    services.iter().filter(|(name, tags)| is_wanted(&self.config, name, tags)).map(|(name, _)| name.clone()),
                );
                self.board.watching(names.clone());
                for name in names {
                    watches.entry(name.clone()).or_insert_with(|| self.spawn(name));
                }
            }));
            rhythm.wait().await;
        }
    }

    fn spawn(self: &Arc<Self>, service: String) -> Task {
        let watches = Arc::clone(self);
        let run = move || {
            let (watches, service) = (Arc::clone(&watches), service.clone());
            async move { watches.watch_service(&service).await }.boxed()
        };
        Task::spawn(never_ending(run, Arc::clone(&self.board.feed)))
    }

    async fn watch_service(&self, service: &str) {
        let mut index = 0;
        let mut rhythm = Rhythm::new(&self.config);
        loop {
            rhythm.begin();
            let answer = self.agent.instances(service, &self.config.tags, index, &self.config.health_filter).await;
            rhythm.end(self.board.judge(service, answer, &mut index, |instances| {
                self.board.found(group(service, &self.datacenter, &self.config.tag_separator, instances));
            }));
            rhythm.wait().await;
        }
    }
}

/// Whether a service of the catalog is one that the section asks for.
fn is_wanted(config: &ConsulSdConfig, name: &str, tags: &[String]) -> bool {
    (config.services.is_empty() || config.services.iter().any(|service| service == name))
        && config.tags.iter().all(|tag| tags.contains(tag))
}

/// Keeps queries apart, and those after failures more and more.
struct Rhythm {
    interval: Duration,
    backoff: Backoff,
    started: Instant,
    next: Instant,
}

impl Rhythm {
    fn new(config: &ConsulSdConfig) -> Self {
        let now = Instant::now();
        Rhythm { interval: config.refresh_interval, backoff: backoff(config), started: now, next: now }
    }

    fn begin(&mut self) {
        self.started = Instant::now();
    }

    fn end(&mut self, succeeded: bool) {
        self.next = self.started + self.interval;
        if succeeded {
            self.backoff.reset();
        } else {
            self.next = self.next.max(Instant::now() + self.backoff.next());
        }
    }

    async fn wait(&self) {
        sleep_until(self.next).await;
    }
}

/// What all watches of a section know together.
struct Board {
    /// Of the section, in logs and errors.
    name: String,
    feed: Arc<Feed>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Services that have a watch; `None` until they are known.
    watched: Option<BTreeSet<String>>,
    /// Those of them that were never read.
    awaited: BTreeSet<String>,
    /// By service, empty for the catalog.
    problems: BTreeMap<String, String>,
    /// Whether there is a watch of the catalog.
    catalog: bool,
    /// Since when targets are held, and how many.
    held: Option<(std::time::Instant, usize)>,
    /// Watches that were answered since then.
    confirmed: BTreeSet<String>,
}

impl Board {
    /// What to make of an answer: whether it is one, whether it brings news, and with which index to ask next.
    fn judge<T>(&self, watch: &str, answer: Result<Answer<T>, RefreshError>, index: &mut u64, news: impl FnOnce(T)) -> bool {
        match answer {
            Ok(answer) => {
                self.well(watch);
                // Without an index every answer may be news.
                if answer.index == 0 || answer.index != *index {
                    *index = next_index(*index, answer.index);
                    news(answer.content);
                }
                self.answered(watch);
                true
            }
            Err(error) => {
                self.failed(watch, &error);
                false
            }
        }
    }

    /// While targets are held that were missing, every watch has to be answered once more before they are given up. An
    /// answer that brings no news is one, too.
    fn answered(&self, watch: &str) {
        let mut state = lock(&self.state);
        state.catalog |= watch.is_empty();
        let held = self.feed.lock().held.as_ref().map(|held| (held.since, held.targets()));
        let before = std::mem::replace(&mut state.held, held);
        let (Some((since, targets)), Some((since_before, targets_before))) = (held, before) else {
            state.confirmed.clear();
            return;
        };
        if since != since_before || targets > targets_before {
            // This very answer, or one just before it, has lost them.
            state.confirmed.clear();
            return;
        }
        state.confirmed.insert(watch.to_owned());
        let services = state.watched.iter().flatten().map(String::as_str);
        let catalog = state.catalog.then_some("");
        if services.chain(catalog).all(|watch| state.confirmed.contains(watch)) {
            self.feed.confirm();
        }
    }

    /// Exactly these services are watched from now on; the groups of others go.
    fn watching(&self, services: BTreeSet<String>) {
        let mut state = lock(&self.state);
        let before = state.watched.take().unwrap_or_default();
        state.awaited.extend(services.difference(&before).cloned());
        state.awaited.retain(|service| services.contains(service));
        state.problems.retain(|watch, _| watch.is_empty() || services.contains(watch));
        let gone: Vec<_> = before.difference(&services).map(|service| (service.clone(), None)).collect();
        state.watched = Some(services);
        self.feed.update_part(gone, state.awaited.is_empty());
        self.feed.set_errors(shown(&self.name, &state.problems));
    }

    fn found(&self, group: TargetGroup) {
        let mut state = lock(&self.state);
        // Its watch may have been ended at this very moment.
        if state.watched.as_ref().is_some_and(|watched| watched.contains(&group.source)) {
            state.awaited.remove(&group.source);
            let complete = state.awaited.is_empty();
            self.feed.update_part([(group.source.clone(), Some(Arc::new(group)))], complete);
        }
    }

    fn well(&self, watch: &str) {
        let mut state = lock(&self.state);
        if state.problems.remove(watch).is_some() {
            self.feed.set_errors(shown(&self.name, &state.problems));
        }
    }

    fn failed(&self, watch: &str, error: &RefreshError) {
        tracing::warn!(section = self.name, service = watch, %error, "consul discovery failed, its previous targets stay");
        let mut state = lock(&self.state);
        let known = watch.is_empty() || state.watched.as_ref().is_some_and(|watched| watched.contains(watch));
        if known {
            state.problems.insert(watch.to_owned(), error.to_string());
            self.feed.set_errors(shown(&self.name, &state.problems));
        }
    }
}

fn shown(name: &str, problems: &BTreeMap<String, String>) -> Vec<String> {
    let mut errors: Vec<String> = problems.values().take(SHOWN).map(|problem| format!("{name}: {problem}")).collect();
    if problems.len() > SHOWN {
        errors.push(format!("{name}: {} more watches fail", problems.len() - SHOWN));
    }
    errors
}

#[cfg(test)]
mod tests {
    use kvass_model::Labels;
    use tokio::sync::Notify;

    use super::*;

    fn board() -> Board {
        let feed = Feed::new(Arc::new(Notify::new()));
        Board { name: "c".to_owned(), feed, state: Mutex::default() }
    }

    fn with_target(source: &str) -> TargetGroup {
        let targets = vec![Labels::from([("__address__", "a:1")])];
        TargetGroup { source: source.to_owned(), targets, labels: Labels::default() }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn seen(board: &Board) -> (Vec<String>, bool) {
        let state = board.feed.lock();
        (state.groups.keys().cloned().collect(), state.delivered)
    }

    #[test]
    fn a_section_is_complete_once_every_service_was_read() {
        let board = board();
        assert!(!seen(&board).1);
        board.watching(names(&["a", "b"]));
        board.found(with_target("a"));
        assert_eq!(seen(&board), (vec!["a".to_owned()], false));
        board.watching(names(&["a"]));
        assert_eq!(seen(&board), (vec!["a".to_owned()], true), "b need not be waited for any more");
        board.found(with_target("b"));
        board.watching(names(&["c"]));
        assert_eq!(seen(&board), (vec![], true), "what came too late does not stay");
        let empty = Board { state: Mutex::default(), ..self::board() };
        empty.watching(names(&[]));
        assert!(seen(&empty).1);
    }

    #[test]
    fn held_targets_are_given_up_once_every_watch_was_answered_again() {
        let feed = Feed::with_max_loss(Arc::default(), crate::MaxLoss::percent(10));
        let board = Board { name: "c".to_owned(), feed, state: Mutex::default() };
        let mut index = 0;
        let mut answer = |watch: &str, news: &dyn Fn()| {
            index += 1;
            board.judge(watch, Ok(Answer { index, content: () }), &mut 0, |()| news());
            board.feed.holds()
        };
        answer("", &|| board.watching(names(&["a", "b"])));
        for service in ["a", "b"] {
            let targets = (0..10).map(|n| Labels::from([("__address__", format!("{service}:{n}"))])).collect();
            let group = TargetGroup { source: service.to_owned(), targets, labels: Labels::default() };
            answer(service, &|| board.found(group.clone()));
        }
        assert!(answer("", &|| board.watching(names(&["a"]))), "b is gone");
        assert!(answer("a", &|| {}));
        let nothing = || board.found(TargetGroup { targets: Vec::new(), ..with_target("a") });
        assert!(answer("a", &nothing), "so are the targets of a");
        assert!(answer("a", &|| {}), "the catalog was not read again since");
        assert!(!answer("", &|| {}));
        assert!(board.feed.lock().in_force().next().is_none());
    }

    #[test]
    fn problems_are_shown_until_they_are_over() {
        let board = board();
        let errors = || board.feed.lock().errors.clone();
        let error = RefreshError::Other("no".to_owned());
        board.failed("", &error);
        assert_eq!(errors(), ["c: no"]);
        board.well("");
        let services: Vec<String> = (0..9).map(|n| format!("s{n}")).collect();
        board.watching(services.iter().cloned().collect());
        services.iter().for_each(|service| board.failed(service, &error));
        assert_eq!((errors().len(), errors()[5].as_str()), (6, "c: 4 more watches fail"));
        board.failed("unknown", &error);
        board.watching(names(&["s1"]));
        assert_eq!(errors(), ["c: no"]);
        board.well("s1");
        assert!(errors().is_empty());
    }

    #[test]
    fn news_and_indexes() {
        let board = board();
        let mut index = 0;
        let mut judge = |answered: u64| {
            let mut news = false;
            board.judge("", Ok(Answer { index: answered, content: () }), &mut index, |()| news = true);
            (news, index)
        };
        assert_eq!(judge(0), (true, 0));
        assert_eq!(judge(7), (true, 7));
        assert_eq!(judge(7), (false, 7));
        assert_eq!(judge(9), (true, 9));
        assert_eq!(judge(3), (true, 0), "one that went backwards is forgotten");
        assert_eq!(judge(3), (true, 3));
    }
}
