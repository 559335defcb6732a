use std::time::Duration;

use kvass_model::{Labels, PrometheusLine, is_legacy_label_name};
use kvass_relabel::NameScheme;

use crate::{ConfigError, cursor::Cursor, environment};

/// What jobs inherit, and the external labels.
pub(crate) struct Globals {
    pub(super) line: PrometheusLine,
    pub(super) scrape_interval: Duration,
    pub(super) scrape_timeout: Duration,
    pub(super) scrape_protocols: Option<Vec<String>>,
    pub(super) limits: Limits,
    /// The text of `metric_name_validation_scheme`, empty when unset.
    pub(super) validation: String,
    pub(super) escaping: String,
    pub(super) native_histograms: bool,
    pub(super) classic_histograms: bool,
    pub(super) classic_to_native: bool,
    pub(crate) external_labels: Labels,
}

/// Limits of a scrape, 0 where unset.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// May be negative, which is no limit either but, in a job, switches the global one off.
    pub(super) body_size: i64,
    pub(super) samples: u64,
    pub(super) targets: u64,
    pub(super) labels: u64,
    pub(super) label_name_length: u64,
    pub(super) label_value_length: u64,
    pub(super) dropped_targets: u64,
}

impl Limits {
    pub(super) fn read(cursor: Cursor<'_>) -> Limits {
        let number = |key| cursor.unsigned(key).unwrap_or(0);
        Limits {
            body_size: cursor.size("body_size_limit").unwrap_or(0),
            samples: number("sample_limit"),
            targets: number("target_limit"),
            labels: number("label_limit"),
            label_name_length: number("label_name_length_limit"),
            label_value_length: number("label_value_length_limit"),
            dropped_targets: number("keep_dropped_targets"),
        }
    }

    /// These limits, and those of `other` where these have none.
    pub(super) fn or(self, other: Limits) -> Limits {
        let pick = |own: u64, inherited: u64| if own == 0 { inherited } else { own };
        Limits {
            body_size: if self.body_size == 0 { other.body_size } else { self.body_size },
            samples: pick(self.samples, other.samples),
            targets: pick(self.targets, other.targets),
            labels: pick(self.labels, other.labels),
            label_name_length: pick(self.label_name_length, other.label_name_length),
            label_value_length: pick(self.label_value_length, other.label_value_length),
            dropped_targets: pick(self.dropped_targets, other.dropped_targets),
        }
    }
}

const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

impl Globals {
    /// Reads `global`; `cursor` stands on it, or on an empty mapping when there is none.
    pub(crate) fn read(
        cursor: Cursor<'_>,
        line: PrometheusLine,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Globals, ConfigError> {
        let scrape_interval = cursor.duration("scrape_interval").filter(|d| !d.is_zero()).unwrap_or(DEFAULT_INTERVAL);
        let scrape_timeout =
            cursor.duration("scrape_timeout").filter(|d| !d.is_zero()).unwrap_or(DEFAULT_TIMEOUT.min(scrape_interval));
        if scrape_timeout > scrape_interval {
            return Err(cursor.error_at("scrape_timeout", "expected at most the scrape interval"));
        }
        let mut globals = Globals {
            line,
            scrape_interval,
            scrape_timeout,
            scrape_protocols: protocols(cursor)?,
            limits: Limits::read(cursor),
            validation: cursor.text("metric_name_validation_scheme").unwrap_or_default().to_owned(),
            escaping: cursor.text("metric_name_escaping_scheme").unwrap_or_default().to_owned(),
            native_histograms: cursor.boolean("scrape_native_histograms").unwrap_or(false),
            classic_histograms: cursor.boolean("always_scrape_classic_histograms").unwrap_or(false),
            classic_to_native: cursor.boolean("convert_classic_histograms_to_nhcb").unwrap_or(false),
            external_labels: Labels::default(),
        };
        let names = Names::of_globals(&globals);
        if let Some(labels) = cursor.get("external_labels") {
            for (name, value) in labels.pairs() {
                if names.scheme() == NameScheme::Legacy && !is_legacy_label_name(name) {
                    return Err(value.error_without_value("expected the key to be a label name of letters, digits and _"));
                }
            }
            globals.external_labels = labels
                .pairs()
                .filter_map(|(name, value)| Some((name, environment::expand(value.node().as_scalar()?.as_text(), env))))
                .collect();
        }
        Ok(globals)
    }
}

/// The list `scrape_protocols`, `None` when unset.
pub(super) fn protocols(cursor: Cursor<'_>) -> Result<Option<Vec<String>>, ConfigError> {
    let Some(list) = cursor.get("scrape_protocols") else { return Ok(None) };
    let mut protocols: Vec<String> = Vec::new();
    for item in list.items() {
        let Some(name) = item.node().as_scalar().map(|scalar| scalar.as_text()) else { continue };
        if name.is_empty() {
            return Err(item.error("expected the name of a protocol"));
        }
        if protocols.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(item.error("given twice"));
        }
        protocols.push(name.to_owned());
    }
    if protocols.is_empty() {
        return Err(list.error_without_value("expected at least one protocol"));
    }
    Ok(Some(protocols))
}

pub(super) const UTF8_CONFLICT: &str = "allow-utf-8 contradicts the name validation scheme legacy";

/// The effective rules for metric and label names.
pub(super) struct Names {
    pub(super) line: PrometheusLine,
    pub(super) utf8: bool,
    /// The escaping asked for in the `Accept` header.
    pub(super) escaping: String,
}

impl Names {
    fn new(line: PrometheusLine, validation: &str, escaping: Option<&str>) -> Names {
        let utf8 = match line {
            // Before 3.0 UTF-8 names have to be asked for.
            PrometheusLine::V2 => validation == "utf8",
            PrometheusLine::V3 => validation != "legacy",
        };
        let derived = if utf8 { "allow-utf-8" } else { "underscores" };
        Names { line, utf8, escaping: escaping.filter(|e| !e.is_empty()).unwrap_or(derived).to_owned() }
    }

    fn of_globals(globals: &Globals) -> Names {
        Names::new(globals.line, &globals.validation, Some(&globals.escaping))
    }

    /// A job's own validation scheme cuts it off from the global escaping scheme.
    pub(super) fn of_job(globals: &Globals, validation: &str, escaping: &str) -> Names {
        match (validation, escaping) {
            ("", "") => Names::of_globals(globals),
            ("", escaping) => Names::new(globals.line, &globals.validation, Some(escaping)),
            (validation, escaping) => Names::new(globals.line, validation, Some(escaping)),
        }
    }

    pub(super) fn utf8_conflict(&self) -> bool {
        !self.utf8 && self.escaping == "allow-utf-8"
    }

    /// The rules for labels in relabel rules; these know UTF-8 names from 3.x on only.
    pub(super) fn scheme(&self) -> NameScheme {
        if self.utf8 && self.line == PrometheusLine::V3 { NameScheme::Utf8 } else { NameScheme::Legacy }
    }
}

/// The rules for labels outside of jobs.
pub(super) fn name_scheme(globals: &Globals) -> NameScheme {
    Names::of_globals(globals).scheme()
}
