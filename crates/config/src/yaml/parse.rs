use std::{borrow::Cow, collections::HashMap, fmt::Write, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{Entry, Node, Position, Scalar, Value};
use crate::{ConfigError, scalar};

/// Nesting beyond which a document is refused; no real one comes near, and recursion over the tree stays shallow.
const MAX_DEPTH: usize = 100;
/// Nodes that aliases and merge keys may add to what is written.
const ALIAS_BUDGET: usize = 1_000_000;
const CORE_TAG: &str = "tag:yaml.org,2002:";

/// The first document of a text.
#[derive(Debug)]
pub(crate) struct Document {
    /// Null when the text holds nothing but comments.
    pub(crate) root: Node,
    /// More documents follow; Prometheus ignores them.
    pub(crate) more: bool,
}

/// How often a text is written in other words before it is refused.
const MOST_REWRITES: usize = 1_000;

/// Reads the first document of `text`; `file` names it in errors.
pub(crate) fn parse(text: &str, file: &Path) -> Result<Document, ConfigError> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..MOST_REWRITES {
        match read(&text, file) {
            Err((error, at)) => match at.and_then(|at| in_other_words(&text, at)) {
                Some(rewritten) => text = Cow::Owned(rewritten),
                None => return Err(error),
            },
            Ok(document) => return Ok(document),
        }
    }
    read(&text, file).map_err(|(error, _)| error)
}

/// What our parser refuses at this place and libyaml, which Prometheus uses, does not, so that both take it: a comment right
/// behind a quotation mark or a bracket, a dash alone between brackets. Columns are the same up to there.
fn in_other_words(text: &str, at: usize) -> Option<String> {
    let (before, rest) = (text.get(..at)?, text.get(at..)?);
    if rest.starts_with('#') && before.ends_with(['"', '\'', ']', '}']) {
        return Some(format!("{before} {rest}"));
    }
    let behind = rest.strip_prefix('-')?;
    behind.starts_with([',', ']', '}']).then(|| format!("{before}\"-\"{behind}"))
}

/// Reads a text as our parser understands it. An error of the parser itself comes with its place in bytes.
fn read(text: &str, file: &Path) -> Result<Document, (ConfigError, Option<usize>)> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        // libyaml, which Prometheus uses, does not add a line feed that is not there.
        block_scalar_eof_without_line_feed: true,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { file, open: Vec::new(), anchors: HashMap::new(), budget: ALIAS_BUDGET, root: None };
    for next in parser.by_ref() {
        let (event, span) = next.map_err(|e| {
            (builder.error(position(e.marker()), format!("not valid YAML: {}", e.info())), e.marker().byte_offset())
        })?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        builder.event(event, position(&span.start)).map_err(|error| (error, None))?;
    }
    let more = matches!(parser.next(), Some(Ok((Event::DocumentStart(..), _))));
    let root = builder.root.unwrap_or_else(|| Node::scalar(Scalar::plain("")));
    Ok(Document { root, more })
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// A collection whose end has not been read yet.
struct Open {
    at: Position,
    anchor: usize,
    /// Levels of nesting below this collection.
    height: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// Each merge with the number of entries in front of it.
    Map {
        entries: Vec<Entry>,
        merges: Vec<(usize, Vec<Entry>)>,
        key: Option<(Scalar, Position)>,
    },
}

/// What an anchor names.
struct Anchored {
    node: Node,
    size: usize,
    height: usize,
}

struct Builder<'a> {
    file: &'a Path,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    budget: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, at: Position) -> Result<(), ConfigError> {
        match event {
            Event::DocumentStart(_, Some(version)) if (version.major, version.minor) != (1, 1) => {
                Err(self.error(at, format!("%YAML {}.{}: Prometheus reads YAML 1.1 only", version.major, version.minor)))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = self.scalar(&text, style, tag.as_deref(), at)?;
                self.add(Node { value: Value::Scalar(scalar), at }, anchor, 0)
            }
            Event::Alias(id) => {
                let Some(Anchored { node, size, height }) = self.anchors.get(&id) else {
                    return Err(self.error(at, "the alias refers to the value it is part of"));
                };
                let (node, size, height) = (node.clone(), *size, *height);
                self.budget = match self.budget.checked_sub(size) {
                    Some(rest) => rest,
                    None => return Err(self.error(at, format!("aliases add more than {ALIAS_BUDGET} values"))),
                };
                self.add(node, 0, height)
            }
            Event::SequenceStart(_, anchor, _) => self.start(Content::List(Vec::new()), at, anchor),
            Event::MappingStart(_, anchor, _) => {
                self.start(Content::Map { entries: Vec::new(), merges: Vec::new(), key: None }, at, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => Ok(()),
        }
    }

    fn start(&mut self, content: Content, at: Position, anchor: usize) -> Result<(), ConfigError> {
        if let Some(Open { at: outer, content: Content::Map { key: None, .. }, .. }) = self.open.last() {
            let is_template = outer.line == at.line && outer.column + 1 == at.column && matches!(content, Content::Map { .. });
            let hint = if is_template { "; if {{ … }} belongs to a template, it has to be filled in first" } else { "" };
            return Err(self.error(at, format!("a mapping key must be a scalar{hint}")));
        }
        self.open.push(Open { at, anchor, height: 0, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), ConfigError> {
        let Some(Open { at, anchor, height, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, merges, .. } => {
                self.refuse_duplicates(&entries)?;
                Value::Map(merged(entries, merges))
            }
        };
        self.add(Node { value, at }, anchor, height + 1)
    }

    /// Hangs a complete node where it belongs; `height` is how deep it nests.
    fn add(&mut self, node: Node, anchor: usize, height: usize) -> Result<(), ConfigError> {
        if self.open.len() + height > MAX_DEPTH {
            return Err(self.error(node.at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), size: size(&node), height });
        }
        let at = node.at;
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.height = parent.height.max(height);
        match &mut parent.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, merges, key } => match (key.take(), node.value) {
                (None, Value::Scalar(scalar)) => *key = Some((scalar, at)),
                (None, _) => return Err(self.error(at, "a mapping key must be a scalar")),
                (Some((name, name_at)), value) => {
                    let value = Node { value, at };
                    if name.plain && name.text == "<<" {
                        let mappings = match value.value {
                            Value::List(items) => items,
                            _ => vec![value],
                        };
                        // Of a list, the first wins.
                        for mapping in mappings.into_iter().rev() {
                            let Value::Map(merged) = mapping.value else {
                                return Err(self.error(name_at, "expected a mapping, or a list of mappings, to be merged"));
                            };
                            merges.push((entries.len(), merged));
                        }
                    } else {
                        entries.push(Entry { key: name, at: name_at, overrides: false, value });
                    }
                }
            },
        }
        Ok(())
    }

    fn refuse_duplicates(&self, entries: &[Entry]) -> Result<(), ConfigError> {
        let mut lines = HashMap::new();
        for Entry { key, at, .. } in entries {
            if let Some(first) = lines.insert(key.text.as_str(), at.line) {
                let mut path = self.path();
                push_key(&mut path, &key.text);
                return Err(self.error(*at, format!("given twice, the first time on line {first}")).with_key(path));
            }
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Result<Scalar, ConfigError> {
        let plain = style == ScalarStyle::Plain;
        let Some(tag) = tag else { return Ok(Scalar { text: text.to_owned(), plain }) };
        let is_non_specific = tag.handle().len() + tag.suffix().len() == 1;
        if tag.handle() != CORE_TAG {
            // The non-specific tag `!` makes a string of anything; other private tags mean nothing here.
            return Ok(Scalar { text: text.to_owned(), plain: plain && !is_non_specific });
        }
        match tag.suffix() {
            "str" => Ok(Scalar::text(text)),
            "binary" => {
                let bytes: String = text.split_whitespace().collect();
                let decoded = STANDARD.decode(bytes).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                decoded.map(Scalar::text).ok_or_else(|| self.error(at, "!!binary: expected base64 of UTF-8 text"))
            }
            name @ ("int" | "float" | "bool" | "null") => {
                if scalar::fits_tag(text, name) {
                    Ok(Scalar::plain(text))
                } else {
                    Err(self.error(at, format!("expected a value that is !!{name}")))
                }
            }
            _ => Ok(Scalar { text: text.to_owned(), plain }),
        }
    }

    fn error(&self, at: Position, message: impl Into<String>) -> ConfigError {
        ConfigError::new(self.file, at.line, at.column, message).with_key(self.path())
    }

    /// Where in the document the reader is: `scrape_configs[2].job_name`.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match &open.content {
                // Writing to a String cannot fail.
                Content::List(items) => _ = write!(path, "[{}]", items.len()),
                Content::Map { key: Some((key, _)), .. } => push_key(&mut path, &key.text),
                Content::Map { key: None, .. } => {}
            }
        }
        path
    }
}

fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

/// Sections that Prometheus empties before it reads one, so that a later one replaces an earlier one as a whole.
const REPLACED_SECTIONS: [&str; 10] =
    ["alerting", "azuread", "external_labels", "global", "http_headers", "namespaces", "otlp", "retention", "sigv4", "tsdb"];

/// The pairs of a mapping and of what is merged into it, as yaml.v2 reads both into one value: what comes later wins, even
/// where that is the merge, and a mapping adds to an earlier one of the same key.
fn merged(entries: Vec<Entry>, merges: Vec<(usize, Vec<Entry>)>) -> Vec<Entry> {
    if merges.is_empty() {
        return entries;
    }
    let mut all = Merged::default();
    let (mut own, mut taken) = (entries.into_iter(), 0);
    for (in_front, merge) in merges {
        all.add(own.by_ref().take(in_front - taken));
        all.add(merge);
        taken = in_front;
    }
    all.add(own);
    all.entries
}

#[derive(Default)]
struct Merged {
    entries: Vec<Entry>,
    places: HashMap<String, usize>,
}

impl Merged {
    fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for mut entry in entries {
            let place = *self.places.entry(entry.key.text.clone()).or_insert(self.entries.len());
            let Some(earlier) = self.entries.get_mut(place) else {
                self.entries.push(entry);
                continue;
            };
            if let (Value::Map(old), Value::Map(new)) = (&mut earlier.value.value, &mut entry.value.value)
                && !REPLACED_SECTIONS.contains(&entry.key.text.as_str())
            {
                let mut both = Merged::default();
                both.add(std::mem::take(old));
                both.add(std::mem::take(new));
                *new = both.entries;
            }
            *earlier = Entry { overrides: true, ..entry };
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| 1 + size(&entry.value)).sum::<usize>(),
    }
}
