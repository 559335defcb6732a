//! What was seen, for people and for machines.

use std::{
    fmt::{Display, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use serde::Serialize;

use crate::{
    api::Api,
    measure::{Format, Row, StoryTable, render},
};

/// One thing a story promises, and what was seen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Expectation {
    /// The promise.
    pub(crate) expected: String,
    /// What was seen.
    pub(crate) seen: String,
    /// Whether it held.
    pub(crate) held: bool,
}

/// What was promised, so far.
#[derive(Debug, Default)]
pub(crate) struct Expectations(Vec<Expectation>);

impl Expectations {
    /// Notes a promise and whether it held.
    pub(crate) fn expect(&mut self, expected: impl Into<String>, seen: impl Display, held: bool) {
        let expectation = Expectation { expected: expected.into(), seen: seen.to_string(), held };
        let mark = if held { "held" } else { "FAILED" };
        tracing::info!("{mark}: {}: {}", expectation.expected, expectation.seen);
        self.0.push(expectation);
    }

    /// Notes a promise that held, or what is said against it.
    pub(crate) fn note(&mut self, expected: &str, result: Result<String, String>) {
        let held = result.is_ok();
        self.expect(expected, result.unwrap_or_else(|objection| objection), held);
    }

    /// All of them; none are left.
    pub(crate) fn take(&mut self) -> Vec<Expectation> {
        std::mem::take(&mut self.0)
    }
}

/// How a story went.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Letter and title.
    pub(crate) title: String,
    /// The manifests it was told on.
    pub(crate) on: String,
    /// Seconds it took, all waiting included.
    pub(crate) seconds: f64,
    /// In the order of the story.
    pub(crate) expectations: Vec<Expectation>,
    /// What was measured.
    pub(crate) rows: Vec<Row>,
    /// Why it ended early.
    pub(crate) error: Option<String>,
    /// Why it was not told at all.
    pub(crate) not_run: Option<String>,
}

impl Outcome {
    fn failed(&self) -> bool {
        self.error.is_some() || self.expectations.iter().any(|expectation| !expectation.held)
    }

    fn verdict(&self) -> &'static str {
        match (&self.not_run, self.failed()) {
            (Some(_), _) => "NOT RUN",
            (None, true) => "FAILED",
            (None, false) => "ok",
        }
    }
}

/// All stories of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Day of the run.
    pub(crate) date: String,
    /// What ran: program or image, version.
    pub(crate) versions: Vec<String>,
    /// In the order they were told.
    pub(crate) stories: Vec<Outcome>,
    interrupted: bool,
}

impl Default for Report {
    /// Of today, without stories.
    fn default() -> Self {
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        Report { date, versions: vec![], stories: vec![], interrupted: false }
    }
}

impl Report {
    /// Adds the versions of a cluster.
    pub(crate) async fn cluster(&mut self, api: &Api) {
        if let Ok(version) = api.get("/version").await {
            self.versions.push(format!("Kubernetes {}", version["gitVersion"].as_str().unwrap_or("?")));
        }
        if let Ok(nodes) = api.get("/api/v1/nodes").await {
            for node in nodes["items"].as_array().into_iter().flatten() {
                let info = &node["status"]["nodeInfo"];
                let word = |name: &str| info[name].as_str().unwrap_or("?").to_owned();
                self.versions.push(format!(
                    "{}: kubelet {}, {}, Linux {}",
                    node["metadata"]["name"].as_str().unwrap_or("?"),
                    word("kubeletVersion"),
                    word("containerRuntimeVersion"),
                    word("kernelVersion")
                ));
            }
        }
    }

    /// Adds images that ran.
    pub(crate) fn images(&mut self, images: impl IntoIterator<Item = String>) {
        for image in images {
            if !self.versions.contains(&image) {
                self.versions.push(image);
            }
        }
    }

    /// Whether a promise was not kept.
    pub(crate) fn failed(&self) -> bool {
        self.stories.iter().any(Outcome::failed)
    }

    /// Somebody ended the run.
    pub(crate) fn interrupted(&mut self) {
        self.interrupted = true;
    }

    /// 1 for a failure, 3 for stories that could not be told, else 0.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.interrupted {
            ExitCode::from(130)
        } else if self.failed() {
            ExitCode::from(1)
        } else if self.stories.iter().any(|story| story.not_run.is_some()) {
            ExitCode::from(3)
        } else {
            ExitCode::SUCCESS
        }
    }

    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\nversions: {}\n", self.versions.join("; "));
        for story in &self.stories {
            if story.rows.is_empty() {
                let _ = writeln!(out, "{}", story.title);
            } else {
                out.push_str(&render(&story.table(), Format::Text));
            }
            for expectation in &story.expectations {
                let mark = if expectation.held { "held  " } else { "FAILED" };
                let _ = writeln!(out, "  {mark}  {}: {}", expectation.expected, expectation.seen);
            }
            for (word, reason) in [("error", &story.error), ("NOT RUN", &story.not_run)] {
                if let Some(reason) = reason {
                    let _ = writeln!(out, "  {word}: {reason}");
                }
            }
            let _ = writeln!(out, "  → {} after {:.0} s\n", story.verdict(), story.seconds);
        }
        let verdicts: Vec<String> = self.stories.iter().map(|story| format!("{} {}", story.letter(), story.verdict())).collect();
        let _ = writeln!(out, "{}{}", verdicts.join(", "), if self.interrupted { "; interrupted" } else { "" });
        out
    }

    /// report.json and report.md.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let save = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| path.display().to_string())
        };
        save("report.json", serde_json::to_string_pretty(self)?)?;
        save("report.md", self.markdown())
    }

    fn markdown(&self) -> String {
        let mut out = format!(
            "Measured on {}. Versions: {}.\n\nIn brackets: a plain Prometheus with the same targets in the same run.\n",
            self.date,
            self.versions.join("; ")
        );
        for story in &self.stories {
            let _ = write!(out, "\n{}", render(&story.table(), Format::Markdown));
            let _ = writeln!(out, "\n| promise | seen | |\n| --- | --- | --- |");
            for expectation in &story.expectations {
                let _ = writeln!(
                    out,
                    "| {} | {} | {} |",
                    expectation.expected,
                    expectation.seen.replace('|', "\\|"),
                    if expectation.held { "held" } else { "**failed**" }
                );
            }
            let why = story.not_run.as_ref().or(story.error.as_ref());
            let _ = writeln!(
                out,
                "\n{} on {}, {:.0} s{}",
                story.verdict(),
                story.on,
                story.seconds,
                why.map(|why| format!(": {why}")).unwrap_or_default()
            );
        }
        out
    }
}

impl Outcome {
    fn table(&self) -> StoryTable {
        StoryTable { title: self.title.clone(), rows: self.rows.clone() }
    }

    fn letter(&self) -> &str {
        self.title.split(':').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(held: bool, not_run: Option<&str>) -> Outcome {
        Outcome {
            title: "a: tutorial".to_owned(),
            on: "deploy/demo".to_owned(),
            seconds: 1.0,
            expectations: vec![Expectation { expected: "3 shards".to_owned(), seen: "3".to_owned(), held }],
            rows: vec![],
            error: None,
            not_run: not_run.map(str::to_owned),
        }
    }

    fn report(stories: Vec<Outcome>) -> Report {
        Report { date: "2026-11-23".to_owned(), versions: vec![], stories, interrupted: false }
    }

    #[test]
    fn the_exit_code_says_the_worst() {
        let code = |stories| format!("{:?}", report(stories).exit_code());
        assert_eq!(code(vec![outcome(true, None)]), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(vec![outcome(true, Some("foreign"))]), format!("{:?}", ExitCode::from(3)));
        assert_eq!(code(vec![outcome(true, Some("foreign")), outcome(false, None)]), format!("{:?}", ExitCode::from(1)));
    }

    #[test]
    fn a_failed_promise_is_seen_at_a_glance() {
        let text = report(vec![outcome(false, None)]).text();
        assert!(text.contains("  FAILED  3 shards: 3\n  → FAILED after 1 s"), "{text}");
        assert!(text.trim_end().ends_with("a FAILED"), "{text}");
    }
}
