//! Progress: a few lines drawn again and again on a terminal, plain lines elsewhere.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use super::{proof::Proof, view::View};

const BAR: usize = 32;
const SCALINGS_SHOWN: usize = 6;

/// What is shown.
pub(crate) struct Frame<'a> {
    pub(crate) elapsed: Duration,
    pub(crate) view: &'a View,
    pub(crate) limit: u64,
    /// The last proof and what was wrong with it.
    pub(crate) proof: Option<(&'a Proof, &'a [String])>,
    pub(crate) expected: u64,
    pub(crate) note: &'a str,
}

/// Where progress goes: standard error, so that standard output holds results only.
pub(crate) struct Display {
    terminal: bool,
    drawn: usize,
    last: String,
}

impl Display {
    pub(crate) fn new() -> Self {
        Display { terminal: io::stderr().is_terminal(), drawn: 0, last: String::new() }
    }

    /// Draws a frame. Without a terminal, prints a line when something other than time has changed.
    pub(crate) fn show(&mut self, frame: &Frame<'_>) {
        let mut out = String::new();
        if self.terminal {
            if self.drawn > 0 {
                // Back to the first line of the last frame, and forget what is below.
                let _ = write!(out, "\x1b[{}F\x1b[J", self.drawn);
            }
            // A line that wraps would be two to go back over.
            let width = rustix::termios::tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col));
            self.drawn = 0;
            for line in draw(frame).lines() {
                out.extend(line.chars().take(width));
                out.push('\n');
                self.drawn += 1;
            }
        } else {
            let line = summary(frame);
            if line == self.last {
                return;
            }
            let _ = writeln!(out, "{:6.1}s  {line}", frame.elapsed.as_secs_f64());
            self.last = line;
        }
        write_stderr(&out);
    }

    /// Prints a line that stays.
    pub(crate) fn say(&mut self, text: &str) {
        self.drawn = 0;
        write_stderr(&format!("{text}\n"));
    }
}

fn write_stderr(text: &str) {
    let mut stderr = io::stderr().lock();
    // Progress that nobody can read is no reason to end.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn counts(view: &View) -> String {
    let (found, explored, assigned) = (view.targets.len(), view.explored(), view.assigned());
    format!("{found} discovered, {explored} explored, {assigned} assigned, {} moving", view.transfers)
}

fn summary(frame: &Frame<'_>) -> String {
    let mut line = format!("targets: {}; shards:", counts(frame.view));
    if frame.view.shards.is_empty() {
        line.push_str(" none");
    }
    for shard in &frame.view.shards {
        let _ = write!(line, " {} {} ({})", shard.shard, thousands(shard.series), shard.state);
    }
    if let Some(scaling) = frame.view.scalings.last() {
        let _ = write!(line, "; last scaling {} -> {}: {}", scaling.from, scaling.to, scaling.reason);
    }
    let _ = write!(line, "; {}", result(frame));
    if !frame.note.is_empty() {
        let _ = write!(line, "; {}", frame.note);
    }
    line
}

fn result(frame: &Frame<'_>) -> String {
    match frame.proof {
        None => "global query: not yet".to_owned(),
        Some((proof, problems)) => {
            let verdict = problems.first().map_or("nothing lost, nothing twice", String::as_str);
            format!("global query: {} of {} series: {verdict}", thousands(proof.global_count), thousands(frame.expected))
        }
    }
}

fn draw(frame: &Frame<'_>) -> String {
    let view = frame.view;
    let mut out = String::new();
    let _ = writeln!(out, "{:5.0}s  targets   {}", frame.elapsed.as_secs_f64(), counts(view));
    let _ = writeln!(out, "        shards    {}, at most {} series each", view.shards.len(), thousands(frame.limit));
    for shard in &view.shards {
        let _ = writeln!(
            out,
            "          {:<9} {} {:>8} series  {} targets  head {}  {}",
            shard.shard,
            bar(shard.series, frame.limit),
            thousands(shard.series),
            shard.targets,
            thousands(shard.head_series),
            shard.state
        );
    }
    for scaling in &view.scalings[view.scalings.len().saturating_sub(SCALINGS_SHOWN)..] {
        let _ = writeln!(out, "        {}  scale {} -> {}: {}", clock(scaling.at), scaling.from, scaling.to, scaling.reason);
    }
    let _ = writeln!(out, "        {}", result(frame));
    if !frame.note.is_empty() {
        let _ = writeln!(out, "        {}", frame.note);
    }
    out
}

fn clock(at: jiff::Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// A load against its limit; what is above it is marked.
fn bar(load: u64, limit: u64) -> String {
    let full = usize::try_from(u128::from(load) * BAR as u128 / u128::from(limit.max(1))).unwrap_or(usize::MAX);
    let (inside, mark) = if load > limit { (BAR, '!') } else { (full.min(BAR), '|') };
    format!("{}{}{mark}", "█".repeat(inside), "░".repeat(BAR - inside))
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::view::ShardView;

    #[test]
    fn numbers_and_bars() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (60_270, "60,270"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
        assert_eq!(bar(0, 100), format!("{}|", "░".repeat(32)));
        assert_eq!(bar(50, 100), format!("{}{}|", "█".repeat(16), "░".repeat(16)));
        assert_eq!(bar(100, 100), format!("{}|", "█".repeat(32)));
        assert_eq!(bar(101, 100), format!("{}!", "█".repeat(32)));
        assert_eq!(bar(1, 0), format!("{}!", "█".repeat(32)));
    }

    #[test]
    fn a_frame_tells_loads_scalings_and_the_verdict() {
        let view = View {
            shards: vec![ShardView {
                shard: "shard-0".to_owned(),
                url: None,
                state: "changeable".to_owned(),
                targets: 2,
                series: 20_090,
                head_series: 20_300,
            }],
            scalings: vec![super::super::view::Scaling {
                at: jiff::Timestamp::UNIX_EPOCH,
                from: 0,
                to: 1,
                reason: "targets need room".to_owned(),
            }],
            ..View::default()
        };
        let proof = Proof { global_count: 19_999, ..Proof::default() };
        let problems = ["one is missing".to_owned()];
        let frame = Frame {
            elapsed: Duration::from_secs(7),
            view: &view,
            limit: 30_000,
            proof: Some((&proof, &problems)),
            expected: 20_000,
            note: "keys",
        };
        for text in [draw(&frame), summary(&frame)] {
            for part in ["20,090", "0 -> 1: targets need room", "19,999 of 20,000 series: one is missing", "keys"] {
                assert!(text.contains(part), "{part:?} in {text}");
            }
        }
    }
}
