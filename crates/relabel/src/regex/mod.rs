//! Go's regular expressions (RE2 syntax) on top of the `regex` crate.
//!
//! The two share their matching rules, not their syntax: some of what Go accepts the crate refuses, some of
//! what it refuses the crate accepts, and some text means one thing here and another there (`\<`, `\w`, `&&` in
//! a class). So a pattern is always read by Go's grammar (`translate`) and written anew for the crate.

mod class;
mod cursor;
mod height;
#[cfg(test)]
mod tests;
mod translate;
mod unicode;

use std::fmt;

use kvass_model::PrometheusLine;
use regex::{CaptureLocations, Captures, Regex, RegexBuilder};

use self::translate::{NOT_BOUNDARY, translate};
use crate::template::Template;

/// How large the program of a rule may become, in MiB. About Go's own budget; the crate's default of 10 refuses
/// `\pL{1,1000}`.
const RULE_LIMIT: usize = 128;

/// The same for patterns without anchors, which come with requests: nobody should spend our memory with those.
const FILTER_LIMIT: usize = 10;

/// Levels of the crate's syntax tree. Go stops at 1000 of its own; one of those can become several here.
const NEST_LIMIT: u32 = 4 * translate::MAX_DEPTH as u32;

/// The crate's compiler is recursive: up to 26 KiB of stack per group in a debug build, measured. What is nested
/// more deeply than this is compiled on a stack of its own.
const SHALLOW: usize = 16;
const LARGE_STACK: usize = 128 << 20;

/// A compiled Go regular expression.
#[derive(Clone)]
pub struct GoRegex {
    text: String,
    regex: Regex,
    /// By group index; the whole match, index 0, has none.
    group_names: Vec<Option<String>>,
    shape: Shape,
}

/// Why a text is not a Go regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression {pattern:?}: {problem}")]
pub struct RegexError {
    pattern: String,
    problem: Problem,
}

/// What is wrong with a pattern; the text is the offending part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("missing closing )")]
    MissingParenthesis,
    #[error("unexpected )")]
    UnexpectedParenthesis,
    #[error("missing closing ]")]
    MissingBracket,
    #[error("backslash at the end")]
    TrailingBackslash,
    #[error("invalid character class range {0:?}")]
    InvalidRange(String),
    #[error("unknown character class {0:?}")]
    UnknownClass(String),
    #[error("invalid escape sequence {0:?}")]
    InvalidEscape(String),
    #[error("invalid group name {0:?}, expected letters, digits or underscores")]
    InvalidGroupName(String),
    #[error("invalid or unsupported group {0:?}, expected one of (?:, (?P<name>, (?<name> or flags of i, m, s, U")]
    InvalidGroup(String),
    #[error("repetition operator {0:?} follows another one")]
    NestedRepetition(String),
    #[error("repetition operator {0:?} has nothing to repeat")]
    NothingToRepeat(String),
    #[error("repeat count {0:?} is out of order or above 1000, counts of nested repetitions multiplied")]
    InvalidRepeatCount(String),
    #[error("nested more than {} levels deep", translate::MAX_HEIGHT)]
    TooDeep,
    #[error("more than {} groups in each other, which is more than kvass compiles", translate::MAX_DEPTH)]
    TooManyOpen,
    #[error("the compiled expression exceeds {0} MiB")]
    TooLarge(usize),
    #[error("{0}")]
    Refused(String),
}

/// Patterns that need no regular expression engine. Only text of which it is obvious is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    General,
    /// With a `\B`. The crate evaluates it between the bytes of a character, too, and its `is_match` takes an empty
    /// match there for the verdict; its searches go on.
    Search,
    /// `.*`, `.+` and the same in one group: any value, but for the newlines and emptiness ruled out here.
    Any {
        newline: bool,
        empty: bool,
    },
    /// Literals separated by `|`, sorted.
    OneOf(Vec<String>),
}

impl RegexError {
    pub(crate) fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl GoRegex {
    /// Compiles a pattern that may match anywhere in a text.
    ///
    /// # Errors
    /// What Go's `regexp.Compile` refuses, with the part of the pattern that is wrong; and programs of more than
    /// 10 MiB, as such patterns come from users of the API.
    pub fn unanchored(pattern: &str) -> Result<Self, RegexError> {
        Self::compile(pattern, pattern, Shape::General, FILTER_LIMIT)
    }

    /// Compiles the `regex` of a rule as Prometheus does: wrapped so that it has to match the whole value, the
    /// dot including newlines from 3.0 on. The wrapping is textual: in `x)|(foo` each half is anchored at one
    /// side only.
    ///
    /// # Errors
    /// As [`GoRegex::unanchored`], but programs may have 128 MiB.
    pub fn anchored(pattern: &str, line: PrometheusLine) -> Result<Self, RegexError> {
        let wrapped = match line {
            PrometheusLine::V2 => format!("^(?:{pattern})$"),
            PrometheusLine::V3 => format!("^(?s:{pattern})$"),
        };
        Self::compile(pattern, &wrapped, Shape::of(pattern, line), RULE_LIMIT)
    }

    fn compile(pattern: &str, wrapped: &str, shape: Shape, limit: usize) -> Result<Self, RegexError> {
        let compiled = translate(wrapped).and_then(|translation| {
            let regex = if translation.depth > SHALLOW {
                on_large_stack(|| build(&translation.pattern, limit))
            } else {
                build(&translation.pattern, limit)
            };
            let shape = if translation.pattern.contains(NOT_BOUNDARY) { Shape::Search } else { shape };
            Ok((regex?, translation.group_names, shape))
        });
        match compiled {
            Ok((regex, group_names, shape)) => Ok(GoRegex { text: pattern.to_owned(), regex, group_names, shape }),
            Err(problem) => Err(RegexError { pattern: pattern.to_owned(), problem }),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern matches `text`.
    pub fn is_match(&self, text: &str) -> bool {
        match &self.shape {
            Shape::General => self.regex.is_match(text),
            Shape::Search => self.regex.find(text).is_some(),
            Shape::Any { newline, empty } => (*empty || !text.is_empty()) && (*newline || !text.contains('\n')),
            Shape::OneOf(literals) => literals.binary_search_by(|literal| literal.as_str().cmp(text)).is_ok(),
        }
    }

    /// Name of each group, by index; the whole match, index 0, has none.
    pub fn group_names(&self) -> &[Option<String>] {
        &self.group_names
    }

    /// The first match in `text` with its groups. Allocates only if there is one.
    pub fn groups<'t>(&self, text: &'t str) -> Option<Groups<'t>> {
        if !self.is_match(text) {
            return None;
        }
        let count = self.group_names.len();
        if let Shape::Any { .. } = self.shape {
            return Some(Groups { text, count, locations: None });
        }
        let mut locations = self.regex.capture_locations();
        self.regex.captures_read(&mut locations, text)?;
        Some(Groups { text, count, locations: Some(locations) })
    }

    /// `text` with every match replaced, where there is one. There can be several matches only if the wrapping of a
    /// rule's pattern is broken up by the pattern.
    pub(crate) fn replace_all(&self, text: &str, replacement: &Template) -> Option<String> {
        if !self.is_match(text) {
            return None;
        }
        let replaced = self.regex.replace_all(text, |found: &Captures<'_>| {
            let mut expanded = String::new();
            replacement.expand(&mut expanded, |group| found.get(group).map(|part| part.as_str()));
            expanded
        });
        Some(replaced.into_owned())
    }
}

/// Compiles a translated pattern to at most `limit` MiB.
fn build(translated: &str, limit: usize) -> Result<Regex, Problem> {
    let regex = RegexBuilder::new(translated).size_limit(limit << 20).nest_limit(NEST_LIMIT).build();
    regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Problem::TooLarge(limit),
        // The message shows the translated pattern, which the user did not write; its last line is the reason.
        other => {
            let message = other.to_string();
            let reason = message.lines().last().unwrap_or_default();
            Problem::Refused(reason.trim_start_matches("error: ").to_owned())
        }
    })
}

fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, Problem> + Send) -> Result<T, Problem> {
    let failed = || Problem::Refused("cannot be compiled on a thread of its own".to_owned());
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(LARGE_STACK).spawn_scoped(scope, work);
        thread.map_err(|_| failed())?.join().unwrap_or_else(|_| Err(failed()))
    })
}

impl fmt::Debug for GoRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GoRegex").field(&self.text).finish()
    }
}

/// One match, as the text of each of its groups.
pub struct Groups<'t> {
    text: &'t str,
    /// Number of groups, the whole match included.
    count: usize,
    /// `None`: every group is the whole text.
    locations: Option<CaptureLocations>,
}

impl<'t> Groups<'t> {
    /// The text of a group, the whole match being the first; `None` if it took no part in the match or does not exist.
    pub fn get(&self, index: usize) -> Option<&'t str> {
        self.bounds(index).map(|(start, end)| &self.text[start..end])
    }

    /// Where a group begins and ends, in bytes; `None` as for [`Groups::get`].
    pub fn bounds(&self, index: usize) -> Option<(usize, usize)> {
        match &self.locations {
            None => (index < self.count).then_some((0, self.text.len())),
            Some(locations) => locations.get(index),
        }
    }
}

impl Shape {
    fn of(pattern: &str, line: PrometheusLine) -> Shape {
        let newline = line == PrometheusLine::V3;
        match pattern {
            ".*" | "(.*)" => return Shape::Any { newline, empty: true },
            ".+" | "(.+)" => return Shape::Any { newline, empty: false },
            _ => {}
        }
        if pattern.contains(['\\', '.', '+', '*', '?', '(', ')', '[', ']', '{', '}', '^', '$']) {
            return Shape::General;
        }
        let mut literals: Vec<String> = pattern.split('|').map(str::to_owned).collect();
        literals.sort_unstable();
        Shape::OneOf(literals)
    }
}
