//! Answers in XML. Namespaces tell versions apart and are not looked at.

use roxmltree::{Document, Node};

use crate::refresh::RefreshError;

pub(super) fn parse(text: &str) -> Result<Document<'_>, RefreshError> {
    // The error's text would show part of the body.
    Document::parse(text).map_err(|_| RefreshError::Body("body is not the XML expected here".to_owned()))
}

/// The text of the first element of that name.
pub(super) fn anywhere<'d>(document: &'d Document<'_>, name: &str) -> Option<&'d str> {
    document.descendants().find(|node| node.tag_name().name() == name).and_then(|node| node.text())
}

pub(super) fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.tag_name().name() == name)
}

/// The text of an element; empty when it is there and has none.
pub(super) fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name).map(|child| child.text().unwrap_or_default())
}

/// The `item`s of the element of that name.
pub(super) fn items<'a, 'i>(node: Node<'a, 'i>, name: &str) -> impl Iterator<Item = Node<'a, 'i>> {
    let list = child(node, name).into_iter().flat_map(|list| list.children());
    list.filter(|item| item.tag_name().name() == "item")
}
