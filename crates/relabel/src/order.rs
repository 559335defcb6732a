//! The order in which `labelmap` visits labels: it decides which of two labels wins that get the same new name.

use kvass_model::LabelsBuilder;

/// Keeps the order of Prometheus 3 where rules could tell: labels that were set on top of those there were come last, in the
/// order they were set. Prometheus 2 visits all in name order.
#[derive(Default)]
pub(crate) struct Order {
    kept: Option<Kept>,
}

struct Kept {
    /// Names of the labels that come last.
    set: Vec<String>,
    /// Whether one of the first ones that gets another value becomes one of the last.
    moves: bool,
}

impl Order {
    /// Keeps the order of the labels of a target from now on. Prometheus sets all of them, in random order; name order is
    /// as good, and then the same every time.
    pub(crate) fn keep_of_target(&mut self) {
        self.kept = Some(Kept { set: Vec::new(), moves: false });
    }

    /// Keeps the order of the labels of a series from now on, these having been set on top of the exposed ones.
    pub(crate) fn keep_of_series<'n>(&mut self, set: impl Iterator<Item = &'n str>) {
        self.kept = Some(Kept { set: set.map(str::to_owned).collect(), moves: true });
    }

    /// Sets a label; an empty value removes it.
    pub(crate) fn set(&mut self, labels: &mut LabelsBuilder, name: &str, value: &str) {
        if let Some(Kept { set, moves }) = &mut self.kept {
            let is_new = labels.get(name).is_none();
            if value.is_empty() {
                set.retain(|known| known != name);
            } else if is_new || (*moves && !set.iter().any(|known| known == name)) {
                set.push(name.to_owned());
            }
        }
        labels.set(name, value);
    }

    /// Keeps the labels for which `keep` holds of the name.
    pub(crate) fn retain(&mut self, labels: &mut LabelsBuilder, keep: impl FnMut(&str) -> bool) {
        labels.retain(keep);
        if let Some(Kept { set, .. }) = &mut self.kept {
            set.retain(|name| labels.get(name).is_some());
        }
    }

    /// The labels in order.
    pub(crate) fn visit<'a>(&'a self, labels: &'a LabelsBuilder) -> impl Iterator<Item = (&'a str, &'a str)> {
        let last = self.kept.as_ref().map(|kept| kept.set.as_slice()).unwrap_or_default();
        let first = labels.iter().filter(|(name, _)| !last.iter().any(|known| known == name));
        first.chain(last.iter().filter_map(|name| Some((name.as_str(), labels.get(name)?))))
    }
}
