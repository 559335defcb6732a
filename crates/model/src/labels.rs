use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock},
};

use crate::{names, texts::Texts};

/// Prefix under which a label whose name Prometheus 2 does not accept travels to a shard; the injected
/// configuration strips it again.
pub const INVALID_LABEL_PREFIX: &str = "__invalid_label_";

/// Whether `name` matches `[a-zA-Z_][a-zA-Z0-9_]*`, the only label names Prometheus 2 knows.
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `name` matches `[a-zA-Z_:][a-zA-Z0-9_:]*`, the only metric names Prometheus 2 knows.
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// An immutable label set: names unique and sorted bytewise, no empty values (an empty value and an
/// absent label are the same thing in Prometheus). Cloning copies a pointer.
///
/// Made for hundreds of thousands of similar sets: those with the same names have one list of them, and the
/// values are one text.
#[derive(Clone)]
pub struct Labels(Arc<Inner>);

struct Inner {
    names: Arc<Texts>,
    values: Texts,
}

impl Labels {
    /// The value of `name`, if the label is present.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.names.position(name).map(|index| self.0.values.get(index))
    }

    /// Name and value pairs in name order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + DoubleEndedIterator + Clone {
        (0..self.len()).map(|index| (self.0.names.get(index), self.0.values.get(index)))
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.0.names.len()
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels for which `keep` holds of the name.
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> Labels {
        let kept: Vec<(&str, &str)> = self.iter().filter(|(name, _)| keep(name)).collect();
        Labels::of(kept.iter().copied())
    }

    /// The set of these labels, which are sorted and unique and have values.
    fn of<'a>(labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Labels {
        let names = names::shared(Texts::of(labels.clone().map(|(name, _)| name)));
        Labels(Arc::new(Inner { names, values: Texts::of(labels.map(|(_, value)| value)) }))
    }
}

impl Default for Labels {
    fn default() -> Self {
        static NONE: LazyLock<Labels> = LazyLock::new(|| Labels::of(std::iter::empty()));
        NONE.clone()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.names == other.0.names && self.0.values == other.0.values
    }
}

impl Eq for Labels {}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.names.hash(state);
        self.0.values.hash(state);
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Written as Prometheus writes a label set: `{a="b", c="d"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        pairs.into_iter().collect::<LabelsBuilder>().build()
    }
}

impl<N: Into<String>, V: Into<String>, const L: usize> From<[(N, V); L]> for Labels {
    fn from(pairs: [(N, V); L]) -> Self {
        pairs.into_iter().collect()
    }
}

/// A label set under construction. Setting a label to the empty string removes it.
///
/// Removed labels leave their memory to later ones, so a builder that serves many similar label sets soon
/// allocates nothing. Setting labels in name order is fastest.
#[derive(Clone, Default)]
pub struct LabelsBuilder {
    /// The labels, sorted by name, and behind them pairs of strings of which only the memory matters.
    slots: Vec<(String, String)>,
    /// Number of labels.
    len: usize,
}

impl LabelsBuilder {
    /// No labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `name`, if the label is present.
    pub fn get(&self, name: &str) -> Option<&str> {
        let index = self.position(name).ok()?;
        Some(&self.slots[index].1)
    }

    /// Sets `name` to `value`; an empty value removes the label.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.position(name) {
            Ok(index) if value.is_empty() => self.remove_at(index),
            Ok(index) => overwrite(&mut self.slots[index].1, value),
            Err(_) if value.is_empty() => {}
            Err(index) => self.insert_at(index, name, value),
        }
    }

    /// Sets `name` to `value` unless the label is present already.
    pub fn set_if_absent(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    /// Removes a label; absent ones are ignored.
    pub fn remove(&mut self, name: &str) {
        if let Ok(index) = self.position(name) {
            self.remove_at(index);
        }
    }

    /// Keeps the labels for which `keep` holds of the name.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let mut kept = 0;
        for index in 0..self.len {
            if keep(&self.slots[index].0) {
                self.slots.swap(kept, index);
                kept += 1;
            }
        }
        self.len = kept;
    }

    /// Name and value pairs in name order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.labels().iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Removes all labels, keeping the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The finished label set.
    pub fn build(self) -> Labels {
        Labels::of(self.iter())
    }

    fn labels(&self) -> &[(String, String)] {
        &self.slots[..self.len]
    }

    /// Where the label is, or where it belongs; a name behind all others costs one comparison.
    fn position(&self, name: &str) -> Result<usize, usize> {
        match self.labels().last() {
            Some((last, _)) if last.as_str() >= name => self.labels().binary_search_by(|(n, _)| n.as_str().cmp(name)),
            _ => Err(self.len),
        }
    }

    fn insert_at(&mut self, index: usize, name: &str, value: &str) {
        if self.len == self.slots.len() {
            self.slots.push((name.to_owned(), value.to_owned()));
        } else {
            let (spare_name, spare_value) = &mut self.slots[self.len];
            overwrite(spare_name, name);
            overwrite(spare_value, value);
        }
        self.len += 1;
        self.slots[index..self.len].rotate_right(1);
    }

    fn remove_at(&mut self, index: usize) {
        self.slots[index..self.len].rotate_left(1);
        self.len -= 1;
    }
}

fn overwrite(slot: &mut String, text: &str) {
    slot.clear();
    slot.push_str(text);
}

impl PartialEq for LabelsBuilder {
    fn eq(&self, other: &Self) -> bool {
        self.labels() == other.labels()
    }
}

impl Eq for LabelsBuilder {}

impl fmt::Debug for LabelsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl From<&Labels> for LabelsBuilder {
    fn from(labels: &Labels) -> Self {
        let slots = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        LabelsBuilder { slots, len: labels.len() }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for LabelsBuilder {
    /// Later pairs win over earlier ones of the same name.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(&name.into(), &value.into());
        }
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sorted_unique_and_without_empty_values() {
        let labels = Labels::from([("b", "1"), ("a", "2"), ("b", "3"), ("c", "")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(labels.get("c"), None);
        assert_eq!(labels.to_string(), r#"{a="2", b="3"}"#);
    }

    #[test]
    fn equal_names_are_there_once() {
        let [one, other] = ["1", "2"].map(|value| Labels::from([("a", value), ("b", value)]));
        assert!(Arc::ptr_eq(&one.0.names, &other.0.names) && one != other);
        // Equal texts that are divided differently are different labels.
        assert_ne!(Labels::from([("ab", "1"), ("c", "2")]), Labels::from([("a", "1"), ("bc", "2")]));
        assert_ne!(Labels::from([("a", "12"), ("b", "3")]), Labels::from([("a", "1"), ("b", "23")]));
        assert_eq!(one.filter(|name| name == "b"), Labels::from([("b", "1")]));
        assert_eq!(one.filter(|_| false), Labels::default());
        assert_eq!(one.iter().rev().collect::<Vec<_>>(), [("b", "1"), ("a", "1")]);
        assert_eq!(one.get("bb").or(one.get("")), None);
    }

    #[test]
    fn ordered_by_pairs() {
        let sets = [vec![], vec![("a", "1")], vec![("a", "1"), ("b", "0")], vec![("a", "10")], vec![("aa", "0")]];
        let mut labels: Vec<Labels> = sets.iter().map(|set| set.iter().copied().collect()).collect();
        let expected = labels.clone();
        labels.reverse();
        labels.sort();
        assert_eq!(labels, expected);
        let hashes: std::collections::HashSet<Labels> = labels.into_iter().chain(expected).collect();
        assert_eq!(hashes.len(), 5);
    }

    #[test]
    fn an_empty_value_deletes() {
        let mut builder = LabelsBuilder::from(&Labels::from([("a", "1"), ("b", "2")]));
        builder.set("a", "");
        builder.set("x", "");
        builder.set_if_absent("b", "9");
        assert_eq!(builder.build(), Labels::from([("b", "2")]));
    }

    #[test]
    fn memory_of_removed_labels_leaves_no_trace() {
        let mut builder: LabelsBuilder = [("b", "1"), ("d", "2"), ("a", "3"), ("c", "4")].into_iter().collect();
        builder.remove("a");
        builder.retain(|name| name != "c");
        assert_eq!(builder.iter().collect::<Vec<_>>(), [("b", "1"), ("d", "2")]);
        assert_eq!((builder.len(), builder.get("c")), (2, None));
        builder.set("c", "5");
        builder.set("e", "6");
        assert_eq!(builder, [("b", "1"), ("c", "5"), ("d", "2"), ("e", "6")].into_iter().collect());
        builder.clear();
        assert!(builder.is_empty() && builder.get("b").is_none());
        builder.set("x", "7");
        assert_eq!(format!("{builder:?}"), r#"{"x": "7"}"#);
        assert_eq!(builder.build(), Labels::from([("x", "7")]));
    }

    #[test]
    fn legacy_names() {
        for (name, label, metric) in [
            ("a", true, true),
            ("_1", true, true),
            ("a:b", false, true),
            ("1a", false, false),
            ("", false, false),
            ("é", false, false),
        ] {
            assert_eq!(is_legacy_label_name(name), label, "{name}");
            assert_eq!(is_legacy_metric_name(name), metric, "{name}");
        }
    }
}
