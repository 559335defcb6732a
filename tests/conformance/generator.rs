//! Random configurations, as data from which parts can be taken away.

use kvass_model::PrometheusLine;
use serde_json::json;

use crate::random::Random;

/// A scrape job. Every part but the name can be missing.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    /// Lines such as `scheme: https`.
    keys: Vec<String>,
    /// Rules as flow mappings.
    rules: Vec<String>,
    sections: Vec<Section>,
}

/// Where targets come from.
#[derive(Clone, Debug)]
struct Section {
    kind: Kind,
    groups: Vec<Group>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Static,
    JsonFile,
    YamlFile,
    Http,
}

#[derive(Clone, Debug)]
struct Group {
    targets: Vec<String>,
    labels: Vec<(String, String)>,
}

/// What a job needs on disk and from the server of HTTP discovery.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    pub(crate) yaml: String,
    /// File name to content.
    pub(crate) files: Vec<(String, String)>,
    /// Path to body.
    pub(crate) bodies: Vec<(String, String)>,
}

const ADDRESSES: &[&str] = &[
    "127.0.0.1:9",
    "127.0.0.1:9",
    "127.0.0.2:9",
    "127.0.0.2:9100",
    "127.0.0.3:9100",
    "127.0.0.4",
    "127.0.0.4:80",
    "127.0.0.5:443",
    "127.0.0.5",
    "[::1]:9",
    "[::1]",
    "::1",
    "localhost:9",
    "LOCALHOST",
    "127.0.0.6:",
    ":9",
    "a b:1",
    "u:p@127.0.0.1:9",
    "127.0.0.1:9?x=y",
    "127.0.0.1:9#f",
    "%41:1",
    "é:1",
    "[127",
    "127]:9",
    "a:b:c",
    "\u{1f600}",
    "",
];

const NAMES: &[&str] = &[
    "env",
    "zone",
    "app",
    "instance",
    "job",
    "__meta_a",
    "__meta_b",
    "__meta_c_d",
    "__tmp",
    "__tmp_x",
    "__param_m",
    "__param_target",
    "__param_",
    "__scheme__",
    "__metrics_path__",
    "le",
    "__name__",
    "__",
    "_",
    "A",
    "x1",
];

/// Legal in Prometheus 3 only.
const UTF8_NAMES: &[&str] = &["a.b", "é", "with space", "9lives", "a-b", "__meta_x.y", "\u{1f600}"];

const VALUES: &[&str] = &[
    "",
    "prod",
    "dev",
    "eu",
    "a;b",
    "a:1",
    "PROD",
    "prod ",
    " ",
    "é",
    "ßŉΣς",
    "line\nbreak",
    "tab\t",
    "\"quoted\"",
    "back\\slash",
    "$1",
    "${0}",
    "127.0.0.1:9",
    "https",
    "/m",
    "1",
    "0",
    "true",
    "\u{1f600}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "x-y_z",
    "null",
];

const SCHEMES: &[&str] = &["http", "https", "HTTP", "ftp", "", "h"];
const PATHS: &[&str] = &["/metrics", "/m", "m", "", "/a b", "/é", "/%41", "/a?b=c", "/a#b", "//d", "/a/../b", "/x;y", "a:b"];
const INTERVALS: &[&str] = &["1h", "60m", "3600s", "90m", "2h", "1d", "1w", "3h1ms", "1h30m", "0h61m", "1y"];
const TIMEOUTS: &[&str] = &["10s", "10000ms", "1m", "59m", "0m7s", "1s500ms"];
/// For labels, where Prometheus looks at them target by target.
const BAD_DURATIONS: &[&str] = &["0s", "soon", "90", "-1s", "1.5h", "5m1h", "300y"];

const PATTERNS: &[&str] = &[
    "(.*)",
    ".*",
    ".+",
    "",
    "prod",
    "(prod|dev)",
    "p(.)od",
    "(?i)PROD",
    "[^;]*;?(.*)",
    "([^:]+)(?::\\d+)?",
    "(.+):(\\d+)",
    "a.b",
    "(?s)a.b",
    "(?P<n>.)(.*)",
    "\\d+",
    "[[:alpha:]]+",
    "\\pL*",
    "x)|(prod",
    "(a)?(.*)",
    "(.*?)(\\s*)",
    "__meta_(.+)",
    "__meta_(a|b)",
    "(env|zone|app)",
    "__.*",
    "[a-z]+",
    "127\\.0\\.0\\.([0-9]+).*",
    "https?",
    "\\x{e9}|.",
    "(é)(.*)|(.*)",
    "[^a]",
    "(.)(.)?(.)?.*",
    "line\\sbreak",
];

const REPLACEMENTS: &[&str] = &[
    "$1",
    "$0",
    "${1}",
    "${1}x",
    "$1x",
    "$$1",
    "$2",
    "$9",
    "",
    "fixed",
    "${n}",
    "$1-$2",
    "${",
    "$",
    "é$1",
    "a b",
    "prod",
    "127.0.0.9:9",
    "$1:80",
];

/// Each keeps different names different.
const LABELMAP_REPLACEMENTS: &[&str] = &["m_$1", "${1}", "${0}_copy", "__tmp_$1", "__param_$1", "__meta_${1}_"];
const TEMPLATES: &[&str] = &["${1}", "l_${1}", "l_$1", "x${1}_y", "$0"];

const SOURCES: &[&str] = &[
    "__address__",
    "__address__",
    "env",
    "zone",
    "app",
    "job",
    "instance",
    "__meta_a",
    "__meta_b",
    "__meta_c_d",
    "__tmp",
    "__scheme__",
    "__metrics_path__",
    "__param_m",
    "__scrape_interval__",
    "__scrape_timeout__",
    "missing",
];

/// What `replace` and its like write to.
const TARGETS: &[&str] = &[
    "env",
    "zone",
    "app",
    "new",
    "instance",
    "job",
    "__tmp",
    "__meta_a",
    "__param_m",
    "__param_target",
    "__param_new",
    "__scheme__",
    "__metrics_path__",
    "__address__",
];

impl Job {
    /// The job of this number in this round. `files` are allowed in few jobs: each costs the server an inotify instance.
    pub(crate) fn random(seed: u64, round: u64, number: u64, line: PrometheusLine, files: bool) -> Job {
        let random = &mut Random::new(seed, (round << 20) | number);
        let mut rules: Vec<String> = Vec::new();
        for _ in 0..random.below(6) {
            rules.push(rule(random, line));
        }
        let mut sections = Vec::new();
        for _ in 0..1 + random.below(2) {
            let kind = match random.below(10) {
                0..5 => Kind::Static,
                _ if files && random.percent(50) => Kind::JsonFile,
                _ if files => Kind::YamlFile,
                _ => Kind::Http,
            };
            let groups = (0..random.below(4)).map(|_| group(random, line, kind)).collect();
            sections.push(Section { kind, groups });
        }
        let mut keys = keys(random);
        // Of several groups' dropped targets Prometheus keeps those of whichever comes first.
        let groups: usize = sections.iter().map(|section| section.groups.len()).sum();
        if line == PrometheusLine::V3 && groups == 1 && random.percent(50) {
            keys.push(format!("keep_dropped_targets: {}", 1 + random.below(3)));
        }
        Job { name: format!("job {round} {number}"), keys, rules, sections }
    }

    /// The job with one part less, in every way there is.
    pub(crate) fn smaller(&self) -> Vec<Job> {
        let mut smaller = Vec::new();
        let mut with = |change: &dyn Fn(&mut Job)| {
            let mut job = self.clone();
            change(&mut job);
            smaller.push(job);
        };
        // Most differences do not need a file, and there may not be many.
        for (i, section) in self.sections.iter().enumerate() {
            if matches!(section.kind, Kind::JsonFile | Kind::YamlFile) {
                with(&|job| job.sections[i].kind = Kind::Http);
            }
        }
        (0..self.sections.len()).for_each(|i| with(&|job| drop(job.sections.remove(i))));
        for (i, section) in self.sections.iter().enumerate() {
            (0..section.groups.len()).for_each(|g| with(&|job| drop(job.sections[i].groups.remove(g))));
            for (g, group) in section.groups.iter().enumerate() {
                let targets = group.targets.len();
                (0..targets).for_each(|t| with(&|job| drop(job.sections[i].groups[g].targets.remove(t))));
                (0..group.labels.len()).for_each(|l| with(&|job| drop(job.sections[i].groups[g].labels.remove(l))));
            }
        }
        (0..self.rules.len()).for_each(|i| with(&|job| drop(job.rules.remove(i))));
        (0..self.keys.len()).for_each(|i| with(&|job| drop(job.keys.remove(i))));
        smaller
    }

    /// Whether it needs files, of which there may not be many.
    pub(crate) fn has_files(&self) -> bool {
        self.sections.iter().any(|section| matches!(section.kind, Kind::JsonFile | Kind::YamlFile))
    }

    /// The job as text. `folder` is where its files will be, `server` where its bodies.
    pub(crate) fn render(&self, folder: &str, server: &str) -> Rendered {
        let mut rendered = Rendered { yaml: format!("- job_name: {}\n", quoted(&self.name)), ..Rendered::default() };
        for key in &self.keys {
            rendered.yaml += &format!("  {key}\n");
        }
        let name = self.name.replace(' ', "-");
        let (mut fixed, mut files, mut urls) = (Vec::new(), Vec::new(), Vec::new());
        for (number, section) in self.sections.iter().enumerate() {
            let groups = json!(section.groups.iter().map(Group::json).collect::<Vec<_>>());
            let stem = format!("{name}-{number}");
            match section.kind {
                Kind::Static => fixed.extend(section.groups.iter().map(Group::yaml)),
                Kind::JsonFile => {
                    files.push(format!("{folder}/{stem}.json"));
                    rendered.files.push((format!("{stem}.json"), groups.to_string()));
                }
                Kind::YamlFile => {
                    files.push(format!("{folder}/{stem}*.yml"));
                    let yaml: String = section.groups.iter().map(|group| format!("- {}\n", group.yaml())).collect();
                    rendered.files.push((format!("{stem}.yml"), yaml));
                }
                Kind::Http => {
                    urls.push(format!("http://{server}/{stem}"));
                    rendered.bodies.push((format!("/{stem}"), groups.to_string()));
                }
            }
        }
        let mut list = |key: &str, items: Vec<String>| {
            if !items.is_empty() {
                rendered.yaml += &format!("  {key}:\n");
                items.iter().for_each(|item| rendered.yaml += &format!("  - {item}\n"));
            }
        };
        list("static_configs", fixed);
        list("file_sd_configs", files.iter().map(|file| format!("{{files: [{}]}}", quoted(file))).collect());
        list("http_sd_configs", urls.iter().map(|url| format!("{{url: {}}}", quoted(url))).collect());
        list("relabel_configs", self.rules.clone());
        rendered
    }
}

impl Group {
    fn json(&self) -> serde_json::Value {
        let labels: serde_json::Map<String, serde_json::Value> =
            self.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({ "targets": self.targets, "labels": labels })
    }

    fn yaml(&self) -> String {
        let targets: Vec<String> = self.targets.iter().map(|target| quoted(target)).collect();
        let labels: Vec<String> =
            self.labels.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
        format!("{{targets: [{}], labels: {{{}}}}}", targets.join(", "), labels.join(", "))
    }
}

/// The sections before the jobs.
pub(crate) fn global(seed: u64, round: u64) -> String {
    let random = &mut Random::new(seed, (round << 20) | 0xf_ffff);
    let mut text = "global:\n  external_labels: {fuzz: config}\n".to_owned();
    // Long, so that few targets are scraped while the lists are compared.
    text += &format!("  scrape_interval: {}\n", random.pick(&["1h", "2h", "90m"]));
    if random.percent(50) {
        text += &format!("  scrape_timeout: {}\n", random.pick(TIMEOUTS));
    }
    text
}

fn keys(random: &mut Random) -> Vec<String> {
    let mut keys = Vec::new();
    let mut sometimes = |chance, text: String| {
        if random.percent(chance) {
            keys.push(text);
        }
    };
    sometimes(15, "honor_labels: true".to_owned());
    sometimes(10, "honor_timestamps: false".to_owned());
    sometimes(10, "sample_limit: 10".to_owned());
    sometimes(10, "label_limit: 5".to_owned());
    sometimes(10, "label_name_length_limit: 9".to_owned());
    sometimes(10, "label_value_length_limit: 9".to_owned());
    sometimes(10, "body_size_limit: 1MB".to_owned());
    sometimes(15, "target_limit: 2".to_owned());
    sometimes(10, "basic_auth: {username: u, password: p}".to_owned());
    if random.percent(40) {
        keys.push(format!("scrape_interval: {}", random.pick(INTERVALS)));
    }
    if random.percent(30) {
        keys.push(format!("scrape_timeout: {}", random.pick(TIMEOUTS)));
    }
    if random.percent(30) {
        keys.push(format!("scheme: {}", quoted(random.pick(SCHEMES))));
    }
    if random.percent(30) {
        keys.push(format!("metrics_path: {}", quoted(random.pick(PATHS))));
    }
    if random.percent(30) {
        let mut names = vec!["m", "new", "match[]", "_x", "é &"];
        let mut params = Vec::new();
        for _ in 0..1 + random.below(3) {
            let name = names.remove(random.below(names.len()));
            let values: Vec<String> = (0..random.below(3)).map(|_| quoted(random.pick(VALUES))).collect();
            params.push(format!("{}: [{}]", quoted(name), values.join(", ")));
        }
        keys.push(format!("params: {{{}}}", params.join(", ")));
    }
    keys
}

fn group(random: &mut Random, line: PrometheusLine, kind: Kind) -> Group {
    let mut address = || {
        let address = random.pick(ADDRESSES);
        // Refused at load in a static list whose job has no rules.
        if kind != Kind::Static && random.percent(10) { "http://127.0.0.1:9/x" } else { address }
    };
    let targets = (0..4).map(|_| address().to_owned()).collect::<Vec<_>>();
    let targets = targets[..random.below(5)].to_vec();
    let mut labels: Vec<(String, String)> = Vec::new();
    for _ in 0..random.below(5) {
        let utf8 = line == PrometheusLine::V3 && random.percent(20);
        let name = random.pick(if utf8 { UTF8_NAMES } else { NAMES });
        let value = match name {
            "__scheme__" => random.pick(SCHEMES),
            "__metrics_path__" => random.pick(PATHS),
            _ => random.pick(VALUES),
        };
        labels.push((name.to_owned(), value.to_owned()));
    }
    if random.percent(10) {
        labels.push(duration_label(random));
    }
    labels.sort();
    labels.dedup_by(|a, b| a.0 == b.0);
    Group { targets, labels }
}

fn duration_label(random: &mut Random) -> (String, String) {
    let (name, good) = if random.percent(50) { ("__scrape_interval__", INTERVALS) } else { ("__scrape_timeout__", TIMEOUTS) };
    let value = if random.percent(30) { random.pick(BAD_DURATIONS) } else { random.pick(good) };
    (name.to_owned(), value.to_owned())
}

fn rule(random: &mut Random, line: PrometheusLine) -> String {
    let mut parts: Vec<String> = Vec::new();
    let sources = |random: &mut Random| {
        let names: Vec<String> = (0..random.below(4)).map(|_| quoted(random.pick(SOURCES))).collect();
        format!("source_labels: [{}]", names.join(", "))
    };
    let separator = |random: &mut Random, parts: &mut Vec<String>| {
        if random.percent(30) {
            parts.push(format!("separator: {}", quoted(random.pick(&["", ";", "|", "é", "\n", "--"]))));
        }
    };
    let regex = |random: &mut Random| format!("regex: {}", quoted(random.pick(PATTERNS)));
    let target = |random: &mut Random| {
        let utf8 = line == PrometheusLine::V3 && random.percent(10);
        let name = if utf8 { random.pick(UTF8_NAMES) } else { random.pick(TARGETS) };
        format!("target_label: {}", quoted(name))
    };
    let action = match random.below(100) {
        0..45 => {
            parts.push(sources(random));
            separator(random, &mut parts);
            if random.percent(70) {
                parts.push(regex(random));
            }
            if random.percent(10) {
                parts.push(format!("target_label: {}", quoted(random.pick(TEMPLATES))));
            } else if random.percent(10) {
                // A duration by rule, good or bad.
                let (name, value) = duration_label(random);
                return format!("{{{}, target_label: {name}, replacement: {}}}", parts.join(", "), quoted(&value));
            } else {
                parts.push(target(random));
            }
            if random.percent(60) {
                parts.push(format!("replacement: {}", quoted(random.pick(REPLACEMENTS))));
            }
            "replace"
        }
        45..60 => {
            parts.extend([sources(random), regex(random)]);
            separator(random, &mut parts);
            if random.percent(50) { "keep" } else { "drop" }
        }
        60..66 => {
            parts.extend([sources(random), target(random)]);
            if random.percent(50) { "keepequal" } else { "DropEqual" }
        }
        66..72 => {
            parts.extend([
                sources(random),
                target(random),
                format!("modulus: {}", random.pick(&["1", "2", "7", "18446744073709551615"])),
            ]);
            separator(random, &mut parts);
            "hashmod"
        }
        72..84 => {
            // Replacements keep names apart: which of two equal ones wins is random in Prometheus 3.
            let (pattern, replacement) = match random.below(3) {
                0 => ("__meta_(.+)", random.pick(LABELMAP_REPLACEMENTS)),
                1 => ("(env|zone|app)", random.pick(LABELMAP_REPLACEMENTS)),
                _ => ("(.*)", "${1}_c"),
            };
            parts.push(format!("regex: {}, replacement: {}", quoted(pattern), quoted(replacement)));
            "labelmap"
        }
        84..90 => {
            parts.push(format!(
                "regex: {}",
                quoted(random.pick(&["env|zone", "__meta_.*", "__tmp.*", "instance", "x.*", "__param_.*", "é"]))
            ));
            "labeldrop"
        }
        90..92 => {
            parts.push(format!("regex: {}", quoted(random.pick(&["__.*", "__.*|job|env", "(__.*__|[a-z]+)"]))));
            "labelkeep"
        }
        _ => {
            parts.extend([sources(random), target(random)]);
            separator(random, &mut parts);
            if random.percent(50) { "lowercase" } else { "UpperCase" }
        }
    };
    parts.push(format!("action: {action}"));
    format!("{{{}}}", parts.join(", "))
}

/// As a YAML text in double quotes; JSON's are.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}

#[test]
fn equal_seeds_make_equal_jobs_and_parts_can_be_taken_away() {
    let job = |number| Job::random(7, 1, number, PrometheusLine::V3, true);
    let text = |job: &Job| job.render("f", "s").yaml;
    assert_eq!(text(&job(3)), text(&job(3)));
    assert_ne!(text(&job(3)), text(&job(4)));
    let mut smallest = job(3);
    let mut steps = 0;
    while let Some(smaller) = smallest.smaller().into_iter().next_back() {
        smallest = smaller;
        steps += 1;
    }
    assert!(steps > 3, "{steps}");
    assert_eq!(text(&smallest), "- job_name: \"job 1 3\"\n");
}
