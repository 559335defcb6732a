use crate::scalar;

/// Place in a file; line and column count from 1, in characters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// One value of a document. Aliases and merge keys are already expanded.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Position,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// Text and the one bit of style that carries meaning: only a plain scalar can be a number, a boolean or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) plain: bool,
}

/// One pair of a mapping. Keys are unique.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Scalar,
    pub(crate) at: Position,
    /// It takes the place of one that a merge put there.
    pub(crate) overrides: bool,
    pub(crate) value: Node,
}

impl Scalar {
    /// A string, whatever it looks like; plain only where it could not be read as anything else.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        let scalar = Scalar { plain: is_word(&text), text };
        if scalar.is_null() || scalar::boolean(&scalar).is_some() { Scalar { plain: false, ..scalar } } else { scalar }
    }

    /// Written without quotes, so it can be a boolean or a number.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Scalar { text: text.into(), plain: true }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The text as a string field reads it: null is empty.
    pub(crate) fn as_text(&self) -> &str {
        if self.is_null() { "" } else { &self.text }
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Equality of content; positions do not matter.
impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        match (&self.value, &other.value) {
            (Value::Scalar(a), Value::Scalar(b)) => a == b || a.is_null() && b.is_null(),
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key.as_text() == b.key.as_text() && a.value == b.value)
            }
            _ => false,
        }
    }
}

impl Node {
    pub(crate) fn scalar(scalar: Scalar) -> Self {
        Node { value: Value::Scalar(scalar), at: Position::default() }
    }

    /// A string.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Node::scalar(Scalar::text(text))
    }

    pub(crate) fn list(items: Vec<Node>) -> Self {
        Node { value: Value::List(items), at: Position::default() }
    }

    pub(crate) fn map(entries: impl IntoIterator<Item = (impl Into<String>, Node)>) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, value)| Entry { key: Scalar::text(key), at: Position::default(), overrides: false, value })
            .collect();
        Node { value: Value::Map(entries), at: Position::default() }
    }

    pub(crate) fn empty_map() -> Self {
        Node { value: Value::Map(Vec::new()), at: Position::default() }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    pub(crate) fn is_empty_map(&self) -> bool {
        matches!(&self.value, Value::Map(entries) if entries.is_empty())
    }

    pub(crate) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The pairs of a mapping, or none.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list, or none.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key.text == key).map(|entry| &entry.value)
    }

    /// Changes the mapping that this node is. Null, which is how an empty mapping is often written, becomes one.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Vec<Entry>)) {
        let mut entries = match std::mem::replace(&mut self.value, Value::Map(Vec::new())) {
            Value::Map(entries) => entries,
            _ => Vec::new(),
        };
        change(&mut entries);
        self.value = Value::Map(entries);
    }

    /// Sets `key` of the mapping that this node is, in place if it is there.
    pub(crate) fn set(&mut self, key: &str, value: Node) {
        self.edit(|entries| match entries.iter_mut().find(|entry| entry.key.text == key) {
            Some(entry) => entry.value = value,
            None => entries.push(Entry { key: Scalar::text(key), at: Position::default(), overrides: false, value }),
        });
    }

    /// Changes the value of `key` of the mapping that this node is; an absent one begins as an empty mapping.
    pub(crate) fn edit_key(&mut self, key: &str, change: impl FnOnce(&mut Node)) {
        if self.get(key).is_none() {
            self.set(key, Node::empty_map());
        }
        self.edit(|entries| {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.key.text == key) {
                change(&mut entry.value);
            }
        });
    }

    /// Removes the pairs for whose key `gone` holds.
    pub(crate) fn remove(&mut self, mut gone: impl FnMut(&str) -> bool) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|entry| !gone(&entry.key.text));
        }
    }
}
