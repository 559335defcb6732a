//! What passes between the coordinator and the delegate: which sections it has, whether it takes them, what it finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use ::http::StatusCode;
use kvass_config::delegate_config;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    DelegateOptions, Sections, Wanted,
    answer::{self, Listed},
    currency::{Generation, Memory, Reading, Verdict},
    metrics::DiscoveryMetrics,
};
use crate::{
    api::{Api, Reply, masked},
    refresh::RefreshError,
};

/// How long a delegate that took a configuration may take to list its targets.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so many rounds without an answer, the file may be what keeps the delegate from starting.
const HOPELESS: u32 = 12;
/// Permissions of the file: it holds secrets.
const MODE: u32 = 0o600;
/// Longest part of an answer that is shown.
const LONGEST_REFUSAL: usize = 300;

/// Digests of sections.
type Digests = BTreeSet<String>;

/// What is known of the delegate.
pub(super) struct Session {
    api: Api,
    /// Its URL, for operators.
    url: String,
    file: PathBuf,
    /// What the file holds; `None` as long as that is not known.
    written: Option<String>,
    /// Sections that the delegate takes together. The file holds them whenever the delegate does not answer.
    accepted: Digests,
    /// Sections that it does not take, and why.
    refused: BTreeMap<String, String>,
    /// What it was told to load and has not listed yet.
    told: Option<(Digests, Instant)>,
    /// Whether it took too long to list that.
    late: bool,
    reloads: u64,
    started: String,
    unanswered: u32,
    memories: BTreeMap<String, Memory>,
    /// The problem that was logged last.
    logged: Option<String>,
}

/// What is wrong between coordinator and delegate.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error("the delegate at {url} cannot be read: {error}")]
    Read { url: String, error: RefreshError },
    #[error("the delegate's configuration {file} cannot be written: {error}")]
    Write { file: String, error: std::io::Error },
    #[error("the delegate at {url} does not reload: {problem}")]
    Reload { url: String, problem: String },
}

/// Shows a problem in every section.
pub(super) fn show(sections: &Sections, problem: &dyn Fn(&Wanted) -> String) {
    for wanted in sections.values() {
        let text = format!("{}: {}", wanted.section.key, problem(wanted));
        wanted.feeds.iter().for_each(|feed| feed.set_errors(vec![text.clone()]));
    }
}

impl Session {
    pub(super) fn new(api: Api, options: &DelegateOptions) -> Self {
        Session {
            api,
            url: masked(&options.url),
            file: options.config_file.clone(),
            written: None,
            accepted: Digests::new(),
            refused: BTreeMap::new(),
            told: None,
            late: false,
            reloads: 0,
            started: String::new(),
            unanswered: 0,
            memories: BTreeMap::new(),
            logged: None,
        }
    }

    /// Asks once, and brings the delegate and the groups in line with what was learnt. Tells whether the delegate could be
    /// read.
    pub(super) async fn round(&mut self, sections: &Sections) -> bool {
        self.memories.retain(|digest, _| sections.contains_key(digest));
        self.refused.retain(|digest, _| sections.contains_key(digest));
        let problem = match self.look(sections).await {
            Ok(()) => {
                self.unanswered = 0;
                None
            }
            Err(error) => {
                if let SessionError::Read { .. } = error {
                    self.unanswered += 1;
                    if self.unanswered == HOPELESS {
                        self.accepted.clear();
                    }
                    // It does not start beside a file that is missing or that it does not take.
                    let accepted = self.accepted.clone();
                    if let Err(error) = self.write(sections, &accepted).await {
                        tracing::warn!(%error, "delegated discovery");
                    }
                }
                let problem = error.to_string();
                show(sections, &|_| problem.clone());
                Some(problem)
            }
        };
        let was_read = problem.is_none();
        if self.logged != problem {
            match &problem {
                Some(problem) => tracing::warn!(%problem, "delegated discovery fails, the previous targets stay"),
                None => tracing::info!(url = self.url, "delegated discovery works"),
            }
            self.logged = problem;
        }
        was_read
    }

    async fn look(&mut self, sections: &Sections) -> Result<(), SessionError> {
        let generation = self.generation().await?;
        if self.started != generation.started {
            // Perhaps of another version.
            self.started.clone_from(&generation.started);
            self.refused.clear();
            self.told = None;
        }
        let listed = self.listed().await?;
        let metrics = self.metrics().await?;
        if self.generation().await? != generation {
            // What was read may be of the one or the other.
            return Ok(());
        }
        let wanted: Digests = sections.keys().filter(|digest| !self.refused.contains_key(*digest)).cloned().collect();
        let loaded: Digests = listed.keys().cloned().collect();
        if self.accepted.is_empty() {
            self.accepted = loaded.intersection(&wanted).cloned().collect();
        }
        if loaded == wanted {
            (self.told, self.late) = (None, false);
            self.accepted.clone_from(&wanted);
            self.write(sections, &wanted).await?;
        } else if let Some((_, at)) = self.told.as_ref().filter(|(told, _)| *told == wanted) {
            if at.elapsed() >= PATIENCE {
                (self.told, self.late) = (None, true);
            }
        } else {
            self.load(sections, wanted).await?;
            self.show_refused(sections);
            return Ok(());
        }
        self.publish(sections, &generation, &listed, &metrics);
        self.show_refused(sections);
        Ok(())
    }

    fn publish(
        &mut self,
        sections: &Sections,
        generation: &Generation,
        listed: &BTreeMap<String, Listed>,
        metrics: &DiscoveryMetrics,
    ) {
        let mut of_mechanism: BTreeMap<&str, usize> = BTreeMap::new();
        sections.values().for_each(|wanted| *of_mechanism.entry(wanted.section.mechanism()).or_default() += 1);
        let now = Instant::now().into_std();
        for (digest, Wanted { section, feeds }) in sections.iter().filter(|(digest, _)| !self.refused.contains_key(*digest)) {
            let memory =
                self.memories.entry(digest.clone()).or_insert_with(|| Memory::new(&section.key, section.refresh_interval, now));
            let job = format!("kvass-{digest}");
            let listed = listed.get(digest);
            let reading = Reading {
                generation,
                listed,
                failures: metrics.failures(section.mechanism(), &job),
                attempts: metrics.attempts(section.mechanism(), &job),
                sharing: of_mechanism.get(section.mechanism()).copied().unwrap_or(1),
                not_set_up: metrics.not_set_up(),
            };
            let verdict = memory.judge(&reading, now);
            let groups = || listed.iter().flat_map(|listed| listed.groups.values().cloned());
            for feed in feeds {
                match verdict {
                    Verdict::Keep => {}
                    Verdict::Add => {
                        let known: BTreeSet<String> = feed.lock().groups.keys().cloned().collect();
                        let new = groups().filter(|group| !known.contains(&group.source));
                        feed.update_part(new.map(|group| (group.source.clone(), Some(group.into()))).collect::<Vec<_>>(), false);
                    }
                    Verdict::Take => feed.replace(groups()),
                }
            }
            let missing = listed.map_or(0, |listed| listed.missing);
            let problem = if self.late && listed.is_none() {
                Some(format!("the delegate took its configuration, but not this section: does it read {}?", self.file.display()))
            } else if missing > 0 {
                Some(format!("the delegate lists {missing} targets too few, it must be configured by the coordinator alone"))
            } else if verdict == Verdict::Add && reading.not_set_up > 0.0 {
                Some(format!("the delegate could not set up {} of its sections, its log says which", reading.not_set_up))
            } else if memory.is_doubtful() {
                Some(
                    "the delegate lists no target since it began anew, which may mean that it cannot reach the service"
                        .to_owned(),
                )
            } else if memory.is_failing() {
                Some("the delegate cannot read the service, its log says why".to_owned())
            } else {
                None
            };
            let errors: Vec<String> = problem.into_iter().map(|problem| format!("{}: {problem}", section.key)).collect();
            feeds.iter().for_each(|feed| feed.set_errors(errors.clone()));
        }
    }

    fn show_refused(&self, sections: &Sections) {
        for (digest, problem) in &self.refused {
            if let Some(wanted) = sections.get(digest) {
                let text = format!("{}: the delegate does not take this section: {problem}", wanted.section.key);
                wanted.feeds.iter().for_each(|feed| feed.set_errors(vec![text.clone()]));
            }
        }
    }

    /// Has the delegate load these sections. One that it does not take keeps the others from nothing.
    async fn load(&mut self, sections: &Sections, wanted: Digests) -> Result<(), SessionError> {
        match self.attempt(sections, &wanted).await? {
            None => self.accepted = wanted,
            Some(refusal) => {
                let mut good: Digests = self.accepted.intersection(&wanted).cloned().collect();
                if good == wanted {
                    good.clear();
                }
                let new: Vec<String> = wanted.difference(&good).cloned().collect();
                for digest in &new {
                    let with: Digests = good.iter().chain([digest]).cloned().collect();
                    let problem = if new.len() == 1 { Some(refusal.clone()) } else { self.attempt(sections, &with).await? };
                    match problem {
                        None => good = with,
                        Some(problem) => {
                            let key = sections.get(digest).map(|wanted| wanted.section.key.as_str());
                            tracing::warn!(section = key, %problem, "the delegate does not take a section");
                            self.refused.insert(digest.clone(), problem);
                        }
                    }
                }
                // The file holds what was tried last.
                if let Some(problem) = self.attempt(sections, &good).await? {
                    return Err(SessionError::Reload { url: self.url.clone(), problem });
                }
                self.accepted = good;
            }
        }
        self.told = Some((self.accepted.clone(), Instant::now()));
        Ok(())
    }

    /// Writes the file and has it loaded; why it was refused, if it was.
    async fn attempt(&mut self, sections: &Sections, wanted: &Digests) -> Result<Option<String>, SessionError> {
        self.write(sections, wanted).await?;
        self.reloads += 1;
        let reply = self.api.post_any("/-/reload").await.map_err(|error| self.unreadable(error))?;
        match reply.status {
            StatusCode::OK => Ok(None),
            StatusCode::INTERNAL_SERVER_ERROR => Ok(Some(refusal(&reply, sections))),
            StatusCode::FORBIDDEN => Err(SessionError::Reload {
                url: self.url.clone(),
                problem: "it has to be started with --web.enable-lifecycle".to_owned(),
            }),
            status => {
                Err(SessionError::Reload { url: self.url.clone(), problem: format!("HTTP status {status}, expected 200 OK") })
            }
        }
    }

    async fn write(&mut self, sections: &Sections, wanted: &Digests) -> Result<(), SessionError> {
        let sections = wanted.iter().filter_map(|digest| sections.get(digest)).map(|wanted| &wanted.section);
        let text = delegate_config(sections);
        if self.written.as_ref() == Some(&text) {
            return Ok(());
        }
        let (file, content) = (self.file.clone(), text.clone());
        let written = tokio::task::spawn_blocking(move || match std::fs::read(&file) {
            Ok(before) if before == content.as_bytes() => Ok(()),
            _ => kvass_service::write_atomically(&file, content.as_bytes(), MODE),
        });
        let written = written.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(|error| SessionError::Write { file: self.file.display().to_string(), error })?;
        self.written = Some(text);
        Ok(())
    }

    async fn generation(&self) -> Result<Generation, SessionError> {
        #[derive(Deserialize)]
        struct Answer {
            data: Runtime,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Runtime {
            start_time: String,
            last_config_time: String,
        }
        let answer: Result<Answer, _> = self.api.json("/api/v1/status/runtimeinfo").await;
        let Answer { data } = answer.map_err(|error| self.unreadable(error))?;
        Ok(Generation { started: data.start_time, configured: data.last_config_time, reloads: self.reloads })
    }

    async fn listed(&self) -> Result<BTreeMap<String, Listed>, SessionError> {
        let path = "/api/v1/targets?state=dropped";
        let reply = self.api.get(path).await.map_err(|error| self.unreadable(error))?;
        // Tens of megabytes where there are many targets.
        let decoded = tokio::task::spawn_blocking(move || answer::decode(&reply.body)).await;
        let decoded = decoded.map_err(|error| error.to_string()).and_then(|decoded| decoded.map_err(|error| error.to_string()));
        decoded.map_err(|error| self.unreadable(RefreshError::Body(format!("list of targets: {error}"))))
    }

    async fn metrics(&self) -> Result<DiscoveryMetrics, SessionError> {
        let reply = self.api.get("/metrics").await.map_err(|error| self.unreadable(error))?;
        Ok(DiscoveryMetrics::read(&String::from_utf8_lossy(&reply.body)))
    }

    fn unreadable(&self, error: RefreshError) -> SessionError {
        SessionError::Read { url: self.url.clone(), error }
    }
}

/// What Prometheus says about a configuration, without the values it quotes: they may be secrets, even if cut.
fn refusal(reply: &Reply, sections: &Sections) -> String {
    let text = String::from_utf8_lossy(&reply.body);
    let text = sections.values().fold(text.into_owned(), |text, wanted| wanted.section.without_secrets(&text));
    let unquoted = text.split('`').enumerate().map(|(n, part)| if n % 2 == 0 { part } else { "…" });
    let words: Vec<String> = unquoted.collect::<String>().split_whitespace().map(str::to_owned).collect();
    let mut text = words.join(" ");
    if let Some((end, _)) = text.char_indices().nth(LONGEST_REFUSAL) {
        text.truncate(end);
        text.push('…');
    }
    text
}
