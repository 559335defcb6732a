use std::fmt::Write;

use super::{Figures, Scale};

/// All figures side by side.
pub(crate) struct Table<'a> {
    pub(crate) scale: Scale,
    pub(crate) figures: Vec<(&'static str, &'a Figures)>,
    /// Size of a pod as JSON.
    pub(crate) bytes: usize,
}

impl Table<'_> {
    /// Ratios are of the first column to the second.
    pub(crate) fn markdown(&self, versions: &[String]) -> String {
        let Scale { pods, rounds, minutes } = self.scale;
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
        let mut out = format!(
            "Measured on {date}: {}. {pods} pods of {:.1} KiB; the median of {rounds} rounds.\n\n",
            versions.join("; "),
            of(self.bytes) / 1024.0
        );
        let names: Vec<&str> = self.figures.iter().map(|(name, _)| *name).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| | {} | ratio |\n| --- |{}", names.join(" | "), " --- |".repeat(names.len() + 1));
        let per_pod = |mebibytes: f64| mebibytes * 1024.0 / of(pods);
        let minutes = of(minutes);
        type Figure<'f> = &'f dyn Fn(&Figures) -> f64;
        let rows: [(&str, Figure<'_>); 6] = [
            ("memory, KiB per pod", &|f| per_pod(median(f.full.iter().map(|usage| usage.memory)) - f.empty.memory)),
            ("most memory, KiB per pod", &|f| per_pod(median(f.full.iter().map(|usage| usage.peak)) - f.empty.memory)),
            ("first complete list, s", &|f| median(f.first.iter().copied())),
            ("processor time of that, s", &|f| median(f.full.iter().map(|usage| usage.processor))),
            ("processor time at 1 % churn a minute, s per minute", &|f| {
                (f.after_churn.processor - f.before_churn.processor) / minutes
            }),
            ("memory after that, KiB per pod", &|f| per_pod(f.after_churn.memory - f.empty.memory)),
        ];
        for (what, figure) in rows {
            let values: Vec<f64> = self.figures.iter().map(|(_, figures)| figure(figures)).collect();
            let texts: Vec<String> = values.iter().map(|value| format!("{value:.1}")).collect();
            let ratio = match values.as_slice() {
                [ours, theirs, ..] if *theirs > 0.0 => format!("{:.2}", ours / theirs),
                _ => "–".to_owned(),
            };
            let _ = writeln!(out, "| {what} | {} | {ratio} |", texts.join(" | "));
        }
        out
    }
}

#[allow(clippy::cast_precision_loss)]
fn of(count: usize) -> f64 {
    count as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count => f64::midpoint(values[(count - 1) / 2], values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::usage::Usage;

    #[test]
    fn a_table() {
        let usage = |memory, processor| Usage { memory, peak: 2.0 * memory, processor };
        let figures = |factor: f64| Figures {
            empty: usage(10.0, 1.0),
            full: vec![usage(10.0 + factor, 3.0), usage(10.0 + 3.0 * factor, 5.0)],
            first: vec![4.0 * factor],
            before_churn: usage(0.0, 5.0),
            after_churn: usage(10.0 + factor, 5.0 + 6.0 * factor),
        };
        let (ours, theirs) = (figures(1.0), figures(2.0));
        let scale = Scale { pods: 1024, rounds: 2, minutes: 3 };
        let table = Table { scale, figures: vec![("kvass", &ours), ("Prometheus", &theirs)], bytes: 2048 };
        let text = table.markdown(&["etcd 1".to_owned()]);
        for line in [
            "| | kvass | Prometheus | ratio |",
            "| memory, KiB per pod | 2.0 | 4.0 | 0.50 |",
            "| first complete list, s | 4.0 | 8.0 | 0.50 |",
            "| processor time of that, s | 4.0 | 4.0 | 1.00 |",
            "| processor time at 1 % churn a minute, s per minute | 2.0 | 4.0 | 0.50 |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(text.contains("etcd 1. 1024 pods of 2.0 KiB"), "{text}");
    }
}
