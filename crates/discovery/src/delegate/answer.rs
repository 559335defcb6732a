//! What a Prometheus that drops everything tells of its targets. Pure.

use std::{
    borrow::{Borrow, Cow},
    collections::BTreeMap,
};

use kvass_config::{MARKER_LABEL, SECTION_LABEL};
use kvass_model::{ADDRESS_LABEL, JOB_LABEL, Labels, LabelsBuilder, TargetGroup, TargetHash};
use serde::Deserialize;

/// What is listed for one section.
#[derive(Debug, PartialEq)]
pub(super) struct Listed {
    /// By source, which is made of the labels: equal targets are one. Each has one target.
    pub(super) groups: BTreeMap<String, TargetGroup>,
    /// How many targets the delegate itself counts beyond those that it lists.
    pub(super) missing: u64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    dropped_targets: Vec<Dropped<'a>>,
    /// By job. Since Prometheus 2.48.
    dropped_target_counts: Option<BTreeMap<String, u64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dropped<'a> {
    #[serde(borrow)]
    discovered_labels: RawLabels<'a>,
}

type RawLabels<'a> = BTreeMap<Text<'a>, Text<'a>>;

/// Borrowed from the answer where it is written without escapes: there may be millions.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The sections that are loaded, by digest: those whose marker is listed. Targets of other sections are left out.
///
/// What a target has in common with its section's marker, it has by the job: these labels are left out. That holds for
/// every version, whatever defaults it adds.
pub(super) fn decode(body: &[u8]) -> Result<BTreeMap<String, Listed>, serde_json::Error> {
    let Answer { data } = serde_json::from_slice(body)?;
    let targets: Vec<(&str, &RawLabels<'_>)> = data
        .dropped_targets
        .iter()
        .filter_map(|Dropped { discovered_labels: labels }| Some((&*labels.get(SECTION_LABEL)?.0, labels)))
        .collect();
    let mut listed: BTreeMap<&str, u64> = BTreeMap::new();
    targets.iter().for_each(|(section, _)| *listed.entry(section).or_default() += 1);
    let (markers, targets): (Vec<_>, Vec<_>) = targets.into_iter().partition(|(_, labels)| labels.contains_key(MARKER_LABEL));
    let markers: BTreeMap<&str, &RawLabels<'_>> = markers.into_iter().collect();

    let counts = data.dropped_target_counts.unwrap_or_default();
    let nothing = |(section, marker): (&&str, &&RawLabels<'_>)| {
        let counted = marker.get(JOB_LABEL).and_then(|job| counts.get(&*job.0)).copied().unwrap_or_default();
        let missing = counted.saturating_sub(listed.get(section).copied().unwrap_or_default());
        ((*section).to_owned(), Listed { groups: BTreeMap::new(), missing })
    };
    let mut found: BTreeMap<String, Listed> = markers.iter().map(nothing).collect();
    for (section, labels) in targets {
        if let (Some(marker), Some(found)) = (markers.get(section), found.get_mut(section)) {
            let target = discovered(labels, marker);
            let source = TargetHash::of(&target, "").to_string();
            found.groups.insert(source.clone(), TargetGroup { source, targets: vec![target], labels: Labels::default() });
        }
    }
    Ok(found)
}

fn discovered(labels: &RawLabels<'_>, marker: &RawLabels<'_>) -> Labels {
    let mut discovered = LabelsBuilder::new();
    for (name, value) in labels {
        if name.0 == ADDRESS_LABEL || marker.get(name) != Some(value) {
            discovered.set(&name.0, &value.0);
        }
    }
    discovered.build()
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use kvass_config::{Config, LoadContext};
    use kvass_model::PrometheusLine;

    use super::*;

    /// Targets of sections `a` and `b`, as Prometheus writes them.
    fn answer(targets: &[&str], counts: &str) -> String {
        let targets: Vec<String> = targets
            .iter()
            .map(|target| format!(r#"{{"discoveredLabels":{{{target},"__scrape_interval__":"290y","__scheme__":"kvass"}}}}"#))
            .collect();
        format!(r#"{{"status":"success","data":{{"activeTargets":[],"droppedTargets":[{}]{counts}}}}}"#, targets.join(","))
    }

    const MARKER_A: &str = r#""__address__":"kvass","__kvass_marker__":"m","__param_kvass_section":"a","job":"kvass-a""#;

    #[test]
    fn what_a_target_has_by_its_job_is_left_out() {
        let body = answer(
            &[
                r#""__address__":"t:1","__param_kvass_section":"a","job":"kvass-a","__meta_x":"ä""#,
                r#""__address__":"kvass","__param_kvass_section":"a","job":"own""#,
                r#""__address__":"t:1","__param_kvass_section":"a","job":"kvass-a","__meta_x":"ä""#,
                r#""__address__":"t:2","__param_kvass_section":"b","job":"kvass-b""#,
                r#""__address__":"t:3""#,
                MARKER_A,
            ],
            "",
        );
        let found = decode(body.as_bytes()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a"], "b has no marker");
        let mut targets: Vec<String> = found["a"].groups.values().map(|group| group.targets[0].to_string()).collect();
        targets.sort();
        assert_eq!(targets, [r#"{__address__="kvass", job="own"}"#, r#"{__address__="t:1", __meta_x="ä"}"#]);
        assert!(found["a"].groups.iter().all(|(source, group)| *source == group.source));
    }

    #[test]
    fn lists_that_are_cut_are_noticed() {
        let target = r#""__address__":"t:1","__param_kvass_section":"a","job":"kvass-a""#;
        for (counts, missing) in [
            ("", 0),
            (r#","droppedTargetCounts":null"#, 0),
            (r#","droppedTargetCounts":{"kvass-a":2,"kvass-b":9}"#, 0),
            (r#","droppedTargetCounts":{"kvass-a":5}"#, 3),
        ] {
            let found = decode(answer(&[target, MARKER_A], counts).as_bytes()).unwrap();
            assert_eq!((found["a"].missing, found["a"].groups.len()), (missing, 1), "{counts}");
        }
    }

    /// What a real Prometheus listed as a delegate, and what the same one discovered for an ordinary job.
    #[test]
    fn targets_start_from_the_labels_that_prometheus_itself_starts_from() {
        #[derive(Deserialize)]
        struct Recorded {
            section: String,
            dropped: serde_json::Value,
            discovered: Vec<BTreeMap<String, String>>,
        }
        let text = "global: {scrape_interval: 290y, scrape_timeout: 289y}\nscrape_configs: [{job_name: ordinary}]\n";
        for (version, line) in [("2.42.0", PrometheusLine::V2), ("3.16.0", PrometheusLine::V3)] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/delegate/{version}.json"));
            let recorded: Recorded = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            let mut found = decode(recorded.dropped.to_string().as_bytes()).unwrap();
            let listed = found.remove(&recorded.section).unwrap();
            assert_eq!((found.len(), listed.missing), (0, 0), "{version}");
            let context = LoadContext { path: "p.yml".into(), line, env: &|_| None, read_glob: &|_| Ok(Vec::new()) };
            let config = Config::parse(text, &context).unwrap();
            let groups: Vec<_> = listed.groups.into_values().map(Arc::new).collect();
            let resolved = crate::resolve(&config.jobs()[0], &groups, line);
            let mut discovered: Vec<Labels> = resolved.active.iter().map(|target| target.discovered.clone()).collect();
            let mut expected: Vec<Labels> = recorded.discovered.iter().map(|labels| labels.iter().collect()).collect();
            discovered.sort_by_key(ToString::to_string);
            expected.sort_by_key(ToString::to_string);
            assert_eq!((expected.len(), discovered), (3, expected.clone()), "{version}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(decode(answer(&[], "").as_bytes()).unwrap().is_empty());
        for bad in
            ["", "[]", "{}", r#"{"data":{}}"#, r#"{"data":{"droppedTargets":null}}"#, r#"{"data":{"droppedTargets":[{}]}}"#]
        {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
