use std::fmt::Write;

use serde::Serialize;

use super::Figures;

/// One act of a story, measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) act: String,
    /// Seconds until everything was as wished again.
    pub(crate) seconds: f64,
    /// What the shards show.
    pub(crate) shards: Figures,
    /// What the plain Prometheus shows that scraped the same targets in the same time.
    pub(crate) control: Option<Figures>,
    /// Shards before and after.
    pub(crate) shard_count: (u64, u64),
    /// Volume claims before and after.
    pub(crate) claims: (u64, u64),
}

/// The rows of one story.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoryTable {
    /// Letter and title.
    pub(crate) title: String,
    /// In the order of acts.
    pub(crate) rows: Vec<Row>,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For a terminal: aligned columns.
    Text,
    /// For a document.
    Markdown,
}

const COLUMNS: usize = 11;

const HEADER: [&str; COLUMNS] =
    ["act", "s", "targets", "missing", "visible", "lost", "unscraped", "doubled", "up=0", "shards", "claims"];

/// The table as text. A figure of the control stands behind the shards' in brackets.
pub(crate) fn render(table: &StoryTable, format: Format) -> String {
    let rows: Vec<[String; COLUMNS]> = table.rows.iter().map(cells).collect();
    let header = HEADER.map(str::to_owned);
    let mut out = String::new();
    // Writing to a String cannot fail.
    match format {
        Format::Text => {
            let _ = writeln!(out, "{}   (in brackets: the control)", table.title);
            let mut widths = header.each_ref().map(|cell| cell.chars().count());
            for row in &rows {
                for (width, cell) in widths.iter_mut().zip(row) {
                    *width = (*width).max(cell.chars().count());
                }
            }
            for row in std::iter::once(&header).chain(&rows) {
                let line: Vec<String> =
                    row.iter().zip(widths).enumerate().map(|(column, (cell, width))| pad(cell, width, column)).collect();
                let _ = writeln!(out, "  {}", line.join("  ").trim_end());
            }
        }
        Format::Markdown => {
            let _ = writeln!(out, "### {}\n", table.title);
            let _ = writeln!(out, "| {} |\n|{}", header.join(" | "), " --- |".repeat(header.len()));
            for row in &rows {
                let _ = writeln!(out, "| {} |", row.join(" | "));
            }
        }
    }
    out
}

fn pad(cell: &str, width: usize, column: usize) -> String {
    if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
}

fn cells(row: &Row) -> [String; COLUMNS] {
    let both = |of: fn(&Figures) -> u64| match &row.control {
        Some(control) => format!("{} ({})", of(&row.shards), of(control)),
        None => of(&row.shards).to_string(),
    };
    let change = |(before, after): (u64, u64)| if before == after { before.to_string() } else { format!("{before}→{after}") };
    [
        row.act.clone(),
        format!("{:.0}", row.seconds),
        row.shards.targets.to_string(),
        both(|f| f.missing),
        both(|f| f.visible),
        both(|f| f.lost),
        both(|f| f.unscraped),
        both(|f| f.doubled),
        both(|f| f.down),
        change(row.shard_count),
        change(row.claims),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> StoryTable {
        let row = Row {
            act: "scale out".to_owned(),
            seconds: 41.3,
            shards: Figures { targets: 12, doubled: 9, ..Figures::default() },
            control: Some(Figures { targets: 12, missing: 1, ..Figures::default() }),
            shard_count: (3, 6),
            claims: (3, 3),
        };
        StoryTable { title: "b: growth".to_owned(), rows: vec![row] }
    }

    #[test]
    fn in_a_terminal() {
        let want = "b: growth   (in brackets: the control)
  act         s  targets  missing  visible   lost  unscraped  doubled   up=0  shards  claims
  scale out  41       12    0 (1)    0 (0)  0 (0)      0 (0)    9 (0)  0 (0)     3→6       3
";
        assert_eq!(render(&table(), Format::Text), want);
    }

    #[test]
    fn in_a_document() {
        let text = render(&table(), Format::Markdown);
        assert!(text.starts_with("### b: growth\n\n| act | s | targets |"), "{text}");
        assert!(text.ends_with("| scale out | 41 | 12 | 0 (1) | 0 (0) | 0 (0) | 0 (0) | 9 (0) | 0 (0) | 3→6 | 3 |\n"), "{text}");
    }
}
