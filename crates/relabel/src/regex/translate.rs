//! Rewrites a pattern in Go's syntax into one in the syntax of the `regex` crate.
//!
//! The output is text, too, and is built in one pass. It has no group names and no flags but `i`: dots, anchors
//! and lazy repetitions are written out as what they mean under the flags in force.

use super::{
    Problem,
    class::{NOTHING, bracketed, escape, literal, perl_class, unicode_class},
    cursor::Cursor,
    height::{Branches, Kind, Tree},
};

/// Go's limit of the height of its syntax tree.
pub(super) const MAX_HEIGHT: usize = 1000;

/// Our own limit of nested groups. Go has none for those that do not capture.
pub(super) const MAX_DEPTH: usize = 1000;

/// Go's limit of a repeat count and of the product of nested ones.
const MAX_REPEAT: u32 = 1000;

/// Go's `\B`, the only translation that has a `\B` in it.
pub(super) const NOT_BOUNDARY: &str = r"(?-u:\B)";

/// A pattern for the crate and the names of its groups in Go's.
#[derive(Debug)]
pub(super) struct Translation {
    pub(super) pattern: String,
    /// By group index, beginning with the whole match.
    pub(super) group_names: Vec<Option<String>>,
    /// How deeply groups are nested at most, roughly.
    pub(super) depth: usize,
}

/// Translates a whole pattern.
pub(super) fn translate(pattern: &str) -> Result<Translation, Problem> {
    let mut translator = Translator {
        input: Cursor::new(pattern),
        output: String::with_capacity(pattern.len() + 16),
        group_names: vec![None],
        flags: Flags::default(),
        open: Vec::new(),
        last: None,
        copies: 1,
        depth: 0,
        branches: Branches::default(),
    };
    let mut after_repetition = false;
    while let Some(c) = translator.input.peek() {
        after_repetition = translator.step(c, after_repetition)?;
    }
    if !translator.open.is_empty() {
        return Err(Problem::MissingParenthesis);
    }
    translator.settle();
    checked_height(translator.branches.tree())?;
    let Translator { output, group_names, depth, .. } = translator;
    Ok(Translation { pattern: output, group_names, depth })
}

struct Translator<'p> {
    input: Cursor<'p>,
    output: String,
    group_names: Vec<Option<String>>,
    flags: Flags,
    open: Vec<OpenGroup>,
    /// What a repetition operator would repeat.
    last: Option<Atom>,
    /// How many copies repetitions make of anything in this group, the last atom aside.
    copies: u32,
    /// See [`Translation::depth`].
    depth: usize,
    /// What was read of the innermost open group, the last atom aside.
    branches: Branches,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Flags {
    /// `i`
    ignore_case: bool,
    /// `m`
    multi_line: bool,
    /// `s`
    dot_newline: bool,
    /// `U`
    swap_greed: bool,
}

/// A group whose `)` is still to come.
struct OpenGroup {
    start: usize,
    captures: bool,
    outer_flags: Flags,
    outer_copies: u32,
    outer_branches: Branches,
}

/// A part of the output that may be repeated as a whole.
#[derive(Clone, Copy)]
struct Atom {
    start: usize,
    end: usize,
    is_repetition: bool,
    copies: u32,
    tree: Tree,
}

/// `{min}`, `{min,}` or `{min,max}`.
struct Bounds {
    min: u32,
    max: Option<u32>,
}

fn checked_height(tree: Tree) -> Result<Tree, Problem> {
    if tree.height > MAX_HEIGHT { Err(Problem::TooDeep) } else { Ok(tree) }
}

impl<'p> Translator<'p> {
    /// Translates what comes next, which begins with `c`; says whether it was a repetition operator.
    fn step(&mut self, c: char, after_repetition: bool) -> Result<bool, Problem> {
        let start = self.input;
        match c {
            '(' => self.open_group()?,
            ')' => self.close_group()?,
            '|' => {
                self.settle();
                self.branches.next();
                self.input.next();
                self.output.push('|');
            }
            '^' => self.single(Kind::Other, if self.flags.multi_line { "(?m:^)" } else { "^" }),
            '$' => self.single(Kind::Other, if self.flags.multi_line { "(?m:$)" } else { "$" }),
            '.' => self.single(Kind::Class, if self.flags.dot_newline { "(?s:.)" } else { "." }),
            '[' => {
                let class = bracketed(&mut self.input)?;
                self.atom(Kind::Class, &class);
            }
            '*' | '+' | '?' => {
                self.input.next();
                self.repeat(start, after_repetition, c.encode_utf8(&mut [0; 4]), None)?;
                return Ok(true);
            }
            '{' => {
                if let Some(bounds) = self.bounds()? {
                    let operator = self.input.since(start);
                    self.repeat(start, after_repetition, &operator, Some(&bounds))?;
                    return Ok(true);
                }
                self.input.next();
                self.literal('{');
            }
            '\\' => self.backslash()?,
            _ => {
                self.input.next();
                self.literal(c);
            }
        }
        Ok(false)
    }

    /// Ends the reach of repetition operators over the last atom.
    fn settle(&mut self) {
        if let Some(last) = self.last.take() {
            self.copies = self.copies.max(last.copies);
            self.branches.push(last.tree);
        }
    }

    fn atom(&mut self, kind: Kind, text: &str) {
        self.settle();
        let start = self.output.len();
        self.output.push_str(text);
        self.last = Some(Atom { start, end: self.output.len(), is_repetition: false, copies: 1, tree: Tree::leaf(kind) });
    }

    /// An atom that is one character in Go's syntax.
    fn single(&mut self, kind: Kind, text: &str) {
        self.input.next();
        self.atom(kind, text);
    }

    fn literal(&mut self, c: char) {
        self.atom(Kind::Literal { ignore_case: self.flags.ignore_case }, &literal(c));
    }

    fn backslash(&mut self) -> Result<(), Problem> {
        let start = self.input;
        let mut ahead = start;
        ahead.next();
        let letter = ahead.next();
        let assertion = match letter {
            Some('A') => Some("^"),
            Some('z') => Some("$"),
            // Words are ASCII in Go; what follows in braces belongs to the crate's syntax only.
            Some('b') => Some(r"(?-u:\b)"),
            Some('B') => Some(NOT_BOUNDARY),
            _ => None,
        };
        if let Some(assertion) = assertion {
            self.input = ahead;
            self.atom(Kind::Other, assertion);
        } else if let Some((ranges, negated)) = letter.and_then(perl_class) {
            self.input = ahead;
            self.atom(Kind::Class, &format!("[{}{ranges}]", if negated { "^" } else { "" }));
        } else if let Some('p' | 'P') = letter {
            self.input = ahead;
            let class = unicode_class(&mut self.input, start, letter == Some('P'))?;
            self.atom(Kind::Class, &class);
        } else if letter == Some('Q') {
            self.input = ahead;
            let quoted = self.input.until(r"\E").unwrap_or_else(|| self.input.run(|_| true));
            quoted.chars().for_each(|c| self.literal(c));
        } else {
            match char::from_u32(escape(&mut self.input)?) {
                Some(c) => self.literal(c),
                None => self.atom(Kind::Class, NOTHING),
            }
        }
        Ok(())
    }

    /// Repeats the last atom. `start` is where the operator was, `operator` how the crate writes it.
    ///
    /// Things that are no atoms may stand between the two, flags and empty quotations: `a(?i)*` is `a*(?i)`.
    fn repeat(
        &mut self,
        start: Cursor<'p>,
        after_repetition: bool,
        operator: &str,
        bounds: Option<&Bounds>,
    ) -> Result<(), Problem> {
        let lazy = self.input.eat("?") != self.flags.swap_greed;
        let written = self.input.since(start);
        if after_repetition {
            return Err(Problem::NestedRepetition(written));
        }
        let Some(mut atom) = self.last else { return Err(Problem::NothingToRepeat(written)) };
        if let Some(bounds) = bounds {
            let count = bounds.max.unwrap_or(bounds.min);
            atom.copies = if bounds.max == Some(0) { 1 } else { atom.copies.saturating_mul(count.max(1)) };
            if atom.copies > MAX_REPEAT && count >= 2 {
                return Err(Problem::InvalidRepeatCount(written));
            }
        }
        atom.tree = checked_height(atom.tree.parent())?;
        let mut end = atom.end;
        let mut insert = |text: &str| {
            self.output.insert_str(end, text);
            end += text.len();
        };
        if atom.is_repetition {
            insert(")");
        }
        insert(operator);
        if lazy {
            insert("?");
        }
        if atom.is_repetition {
            self.output.insert_str(atom.start, "(?:");
            end += 3;
            self.depth += 1;
        }
        self.last = Some(Atom { end, is_repetition: true, ..atom });
        Ok(())
    }

    /// Reads the bounds of a repetition. Anything else in braces, or without a closing one, is literal text.
    fn bounds(&mut self) -> Result<Option<Bounds>, Problem> {
        let mut ahead = self.input;
        ahead.eat("{");
        let min = ahead.run(|c| c.is_ascii_digit());
        let max = if ahead.eat(",") { Some(ahead.run(|c| c.is_ascii_digit())) } else { None };
        let is_count = |digits: &str| !digits.is_empty() && (digits == "0" || !digits.starts_with('0'));
        if !ahead.eat("}") || !is_count(min) || max.is_some_and(|max| !max.is_empty() && !is_count(max)) {
            return Ok(None);
        }
        let parse = |digits: &str| digits.parse().ok().filter(|count| *count <= MAX_REPEAT);
        let bounds = match (parse(min), max) {
            (Some(min), None) => Some(Bounds { min, max: Some(min) }),
            (Some(min), Some("")) => Some(Bounds { min, max: None }),
            (Some(min), Some(max)) => parse(max).filter(|max| min <= *max).map(|max| Bounds { min, max: Some(max) }),
            (None, _) => None,
        };
        if bounds.is_none() {
            return Err(Problem::InvalidRepeatCount(ahead.since(self.input)));
        }
        self.input = ahead;
        Ok(bounds)
    }

    fn open_group(&mut self) -> Result<(), Problem> {
        let start = self.input;
        self.input.eat("(");
        if !self.input.eat("?") {
            self.group_names.push(None);
            return self.enter("(", true, self.flags);
        }
        if self.input.eat("P<") || self.input.eat("<") {
            let name = self.input.until(">").ok_or_else(|| Problem::InvalidGroupName(start.rest().to_owned()))?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(Problem::InvalidGroupName(name.to_owned()));
            }
            self.group_names.push(Some(name.to_owned()));
            return self.enter("(", true, self.flags);
        }
        let Some((flags, is_group)) = self.flags() else { return Err(Problem::InvalidGroup(self.input.since(start))) };
        let case = match (flags.ignore_case, self.flags.ignore_case) {
            (true, false) => "i",
            (false, true) => "-i",
            _ => "",
        };
        if is_group {
            return self.enter(&format!("(?{case}:"), false, flags);
        }
        if !case.is_empty() {
            self.output.push_str(&format!("(?{case})"));
        }
        self.flags = flags;
        Ok(())
    }

    /// Reads flags up to `)`, or up to `:`, which opens a group they are for. Repeated ones are fine.
    fn flags(&mut self) -> Option<(Flags, bool)> {
        let mut flags = self.flags;
        let mut on = true;
        let mut minus_needs_flag = false;
        loop {
            let flag = match self.input.next()? {
                'i' => &mut flags.ignore_case,
                'm' => &mut flags.multi_line,
                's' => &mut flags.dot_newline,
                'U' => &mut flags.swap_greed,
                '-' if on => {
                    on = false;
                    minus_needs_flag = true;
                    continue;
                }
                end @ (':' | ')') if !minus_needs_flag => return Some((flags, end == ':')),
                _ => return None,
            };
            *flag = on;
            minus_needs_flag = false;
        }
    }

    /// Opens a group; `flags` hold inside of it.
    fn enter(&mut self, text: &str, captures: bool, flags: Flags) -> Result<(), Problem> {
        self.settle();
        if self.open.len() > MAX_DEPTH {
            return Err(Problem::TooManyOpen);
        }
        self.open.push(OpenGroup {
            start: self.output.len(),
            captures,
            outer_flags: self.flags,
            outer_copies: self.copies,
            outer_branches: std::mem::take(&mut self.branches),
        });
        self.depth = self.depth.max(self.open.len());
        self.output.push_str(text);
        self.flags = flags;
        self.copies = 1;
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), Problem> {
        self.settle();
        let Some(group) = self.open.pop() else { return Err(Problem::UnexpectedParenthesis) };
        self.input.next();
        self.output.push(')');
        let inside = self.branches.tree();
        let tree = checked_height(if group.captures { inside.parent() } else { inside })?;
        self.last = Some(Atom { start: group.start, end: self.output.len(), is_repetition: false, copies: self.copies, tree });
        self.branches = group.outer_branches;
        self.flags = group.outer_flags;
        self.copies = group.outer_copies;
        Ok(())
    }
}
