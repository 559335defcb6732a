//! Templates of `replacement` and `target_label`: what Go's `regexp.Expand` does.
//!
//! Not the templates of the `regex` crate: names here have Unicode letters and digits, and a `$` that begins
//! no reference is an ordinary character.

use std::sync::LazyLock;

use regex::Regex;

/// A parsed template, its references resolved against the groups of one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The first of these groups that took part in the match. More than one where several share a name.
    Groups(Vec<usize>),
}

impl Template {
    /// Parses a template; never fails, as everything that is no reference is text. `group_names` has one entry
    /// per group of the pattern, the whole match first. References to groups that do not exist are empty.
    pub(crate) fn new(text: &str, group_names: &[Option<String>]) -> Template {
        let mut template = Template(Vec::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            template.push_text(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                template.push_text("$");
                rest = after;
            } else if let Some((name, after)) = reference(rest) {
                let groups = resolve(name, group_names);
                if !groups.is_empty() {
                    template.0.push(Piece::Groups(groups));
                }
                rest = after;
            } else {
                template.push_text("$");
            }
        }
        template.push_text(rest);
        template
    }

    fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.0.push(Piece::Text(text.to_owned())),
        }
    }

    /// The expansion, if it is the same for every match.
    pub(crate) fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the expansion for a match, given as the text of each of its groups.
    pub(crate) fn expand<'t>(&self, output: &mut String, group: impl Fn(usize) -> Option<&'t str>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => output.push_str(text),
                Piece::Groups(groups) => output.push_str(groups.iter().find_map(|index| group(*index)).unwrap_or_default()),
            }
        }
    }
}

/// Splits off the name of a reference whose `$` has been read.
fn reference(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{');
    let text = braced.unwrap_or(text);
    let (name, rest) = text.split_at(name_length(text));
    if name.is_empty() {
        return None;
    }
    match braced {
        Some(_) => Some((name, rest.strip_prefix('}')?)),
        None => Some((name, rest)),
    }
}

/// Length of the run of letters, digits and underscores at the start of `text`. Go's letters and digits are
/// general categories, which `char::is_alphanumeric` is not.
fn name_length(text: &str) -> usize {
    #[expect(clippy::expect_used, reason = "the pattern is constant")]
    static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{Nd}_]+").expect("valid pattern"));
    NAME.find(text).map_or(0, |name| name.end())
}

fn resolve(name: &str, group_names: &[Option<String>]) -> Vec<usize> {
    match group_number(name) {
        Some(number) => (number < group_names.len()).then_some(number).into_iter().collect(),
        None => (0..group_names.len()).filter(|index| group_names[*index].as_deref() == Some(name)).collect(),
    }
}

/// A name of digits is a number unless it has a leading zero or more digits than Go counts.
fn group_number(name: &str) -> Option<usize> {
    let is_number = name.len() <= 9 && name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if is_number { name.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expands a template for a match of the groups `whole`, `first`, one that took no part, and `é`.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let names = [None, None, Some("n".to_owned()), Some("n".to_owned()), Some("01".to_owned())];
        let groups = [Some("whole"), Some("first"), None, Some("third"), Some("fourth")];
        let mut expanded = String::new();
        let template = Template::new(text, &names);
        template.expand(&mut expanded, |index| groups[index]);
        assert_eq!(expanded, expected, "{text}");
        if let Some(constant) = template.constant() {
            assert_eq!(constant, expected, "{text}");
        }
    }

    #[test]
    fn references() {
        check("$0-$1", "whole-first");
        check("$1x ${1}x", " firstx");
        check("$n ${n}", "third third");
        check("$2|$9|$5", "||");
        check("$01 ${01} $00", "fourth fourth ");
        check("$1é|$é|${1}é", "||firsté");
        check("$123456789|$1234567890", "|");
    }

    #[test]
    fn names_have_letters_and_digits_by_category() {
        // A digit of another script belongs to the name, a Roman numeral or a combining mark does not.
        check("$1٣", "");
        check("$1Ⅷ", "firstⅧ");
        check("$1\u{345}", "first\u{345}");
    }

    #[test]
    fn dollars_that_are_text() {
        check("$$1 $$$1 $$$$", "$1 $first $$");
        check("a$", "a$");
        check("$-${}${ 1 }${a-b}${1", "$-${}${ 1 }${a-b}${1");
        check("${${1}}", "${first}");
    }

    #[test]
    fn constants() {
        let constant = |text| Template::new(text, &[None]).constant().map(str::to_owned);
        assert_eq!(constant("a$$b$"), Some("a$b$".to_owned()));
        assert_eq!(constant("$1"), Some(String::new()));
        assert_eq!(constant("$0"), None);
    }
}
