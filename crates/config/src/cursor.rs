use std::{path::Path, time::Duration};

use crate::{
    ConfigError, scalar, url_text,
    yaml::{Node, Scalar},
};

/// A node and the way to it, so that errors can name the place.
///
/// The typed getters answer `None` for an absent key. They rely on the document having passed
/// [`crate::schema::check`]: a value of another type reads as absent, too.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    file: &'a Path,
    node: &'a Node,
    parent: Option<&'a Cursor<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Cursor<'a> {
    pub(crate) fn root(file: &'a Path, node: &'a Node) -> Self {
        Cursor { file, node, parent: None, step: Step::Root }
    }

    pub(crate) fn file(&self) -> &'a Path {
        self.file
    }

    pub(crate) fn node(&self) -> &'a Node {
        self.node
    }

    /// A cursor one key further.
    pub(crate) fn child<'c>(&'c self, key: &'c str, node: &'c Node) -> Cursor<'c> {
        Cursor { file: self.file, node, parent: Some(self), step: Step::Key(key) }
    }

    /// The value of `key`; null is no value.
    pub(crate) fn get<'c>(&'c self, key: &'c str) -> Option<Cursor<'c>> {
        let node = self.node.get(key).filter(|node| !node.is_null())?;
        Some(self.child(key, node))
    }

    /// A cursor per item of the list that this node is.
    pub(crate) fn items<'c>(&'c self) -> impl Iterator<Item = Cursor<'c>> {
        let cursor = |(i, node)| Cursor { file: self.file, node, parent: Some(self), step: Step::Index(i) };
        self.node.items().iter().enumerate().map(cursor)
    }

    /// Key and cursor per pair of the mapping that this node is.
    pub(crate) fn pairs<'c>(&'c self) -> impl Iterator<Item = (&'c str, Cursor<'c>)> {
        self.node.entries().iter().map(|entry| (entry.key.as_text(), self.child(&entry.key.text, &entry.value)))
    }

    fn scalar(&self, key: &str) -> Option<&'a Scalar> {
        self.node.get(key)?.as_scalar()
    }

    /// The text under `key`; empty for null.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.scalar(key).map(Scalar::as_text)
    }

    /// The text under `key` unless it is absent, null or empty.
    pub(crate) fn non_empty(&self, key: &str) -> Option<&'a str> {
        self.text(key).filter(|text| !text.is_empty())
    }

    pub(crate) fn boolean(&self, key: &str) -> Option<bool> {
        self.scalar(key).and_then(scalar::boolean)
    }

    /// As [`Cursor::boolean`], but null means unset: what Prometheus keeps as a pointer.
    pub(crate) fn optional_boolean(&self, key: &str) -> Option<bool> {
        self.scalar(key).filter(|scalar| !scalar.is_null()).and_then(scalar::boolean)
    }

    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        self.scalar(key).and_then(scalar::integer)
    }

    pub(crate) fn unsigned(&self, key: &str) -> Option<u64> {
        self.scalar(key).and_then(scalar::unsigned)
    }

    pub(crate) fn float(&self, key: &str) -> Option<f64> {
        self.scalar(key).and_then(scalar::float)
    }

    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        self.scalar(key).and_then(scalar::duration)
    }

    pub(crate) fn size(&self, key: &str) -> Option<i64> {
        self.scalar(key).and_then(scalar::size)
    }

    /// The texts of the list under `key`; `None` when absent or null.
    pub(crate) fn texts(&self, key: &str) -> Option<Vec<String>> {
        let list = self.node.get(key).filter(|node| !node.is_null())?;
        Some(list.items().iter().filter_map(Node::as_scalar).map(|scalar| scalar.as_text().to_owned()).collect())
    }

    /// An error about this node; shows its value if it is a scalar that may be shown.
    pub(crate) fn error(&self, message: impl Into<String>) -> ConfigError {
        let error = self.error_without_value(message);
        match self.node.as_scalar().and_then(|scalar| url_text::shown(scalar.as_text())) {
            Some(value) => error.with_value(value),
            None => error,
        }
    }

    /// An error about this node that does not show its value, because it may be secret.
    pub(crate) fn error_without_value(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::new(self.file, self.node.at.line, self.node.at.column, message).with_key(self.path())
    }

    /// An error about the value of `key`, or about its absence. Shows the value.
    pub(crate) fn error_at(&self, key: &str, message: impl Into<String>) -> ConfigError {
        match self.node.get(key) {
            Some(node) => self.child(key, node).error(message),
            None => self.child(key, self.node).error_without_value(message),
        }
    }

    /// The keys and indexes that lead here: `scrape_configs[2].job_name`.
    pub(crate) fn path(&self) -> String {
        let mut path = self.parent.map(Cursor::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
        path
    }
}
