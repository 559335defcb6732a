//! The bodies, the jobs that scrape them, and the server that both Prometheus and we ask.

use std::{collections::BTreeSet, fs, io::Write, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use kvass_exposition::Format;
use kvass_model::PrometheusLine;

use crate::{
    proto_text::{bytes_of_hex, encode},
    support::{Reply, Then, header},
};

const FILES: [&str; 6] = ["text", "openmetrics", "protobuf", "histograms", "limits", "http"];

/// A Prometheus that the bodies were shown to.
pub(crate) struct Server {
    /// Name of its golden file.
    pub(crate) name: &'static str,
    /// The version it says it has begins with this.
    pub(crate) version: &'static str,
    pub(crate) line: PrometheusLine,
    /// More arguments.
    pub(crate) args: &'static [&'static str],
    /// What the arguments mean to us.
    pub(crate) global: &'static str,
}

pub(crate) const SERVERS: [Server; 3] = [
    Server { name: "2.42", version: "2.42.", line: PrometheusLine::V2, args: &[], global: "" },
    Server {
        name: "2.42-native-histograms",
        version: "2.42.",
        line: PrometheusLine::V2,
        args: &["--enable-feature=native-histograms"],
        global: ", scrape_native_histograms: true",
    },
    Server { name: "3.16", version: "3.16.", line: PrometheusLine::V3, args: &[], global: "" },
];

/// One body and how it is served.
#[derive(Clone, Default)]
pub(crate) struct Body {
    pub(crate) name: String,
    jobs: Vec<String>,
    content_type: String,
    status: u16,
    headers: String,
    offered: Option<String>,
    /// Series that add nothing to the storage are among those it has.
    pub(crate) repeats: bool,
    pub(crate) bytes: Vec<u8>,
}

/// A body scraped by a job.
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    pub(crate) job: &'a str,
    pub(crate) body: &'a Body,
    /// Its `instance` label.
    pub(crate) number: usize,
}

impl Case<'_> {
    /// Where it is served.
    pub(crate) fn path(&self) -> String {
        format!("/{}/{}", self.number, self.job)
    }
}

struct Job {
    name: String,
    /// Entries of a flow mapping.
    settings: String,
    only_v3: bool,
}

pub(crate) struct Plan {
    bodies: Vec<Body>,
    jobs: Vec<Job>,
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/bodies")
}

impl Plan {
    pub(crate) fn read() -> Plan {
        let text = |name: &str| fs::read_to_string(folder().join(name)).unwrap();
        let bodies: Vec<Body> = FILES.iter().flat_map(|file| bodies(file, &text(&format!("{file}.bodies")))).collect();
        let jobs: Vec<Job> = text("jobs.yml").lines().filter(|line| !line.starts_with('#')).map(job).collect();
        let names: BTreeSet<_> = bodies.iter().map(|body| &body.name).collect();
        assert_eq!(names.len(), bodies.len(), "names of bodies are unique");
        let unused: Vec<_> = jobs.iter().filter(|job| !bodies.iter().any(|body| body.jobs.contains(&job.name))).collect();
        assert!(unused.is_empty(), "no body for {}", unused[0].name);
        Plan { bodies, jobs }
    }

    pub(crate) fn bodies(&self) -> &[Body] {
        &self.bodies
    }

    /// What Prometheus servers of a line can be shown.
    pub(crate) fn cases(&self, line: PrometheusLine) -> Vec<Case<'_>> {
        let cases = self.bodies.iter().enumerate().flat_map(|(number, body)| {
            body.jobs.iter().map(move |job| Case { name: format!("{} @{job}", body.name), job, body, number })
        });
        cases.filter(|case| self.job(case.job).is_for(line)).collect()
    }

    fn job(&self, name: &str) -> &Job {
        self.jobs.iter().find(|job| job.name == name).unwrap_or_else(|| panic!("no job {name}"))
    }

    /// A configuration that scrapes the bodies from `address`.
    pub(crate) fn config(&self, line: PrometheusLine, global: &str, address: &str) -> String {
        let mut text = format!("global: {{scrape_interval: 15s, scrape_timeout: 15s{global}}}\nscrape_configs:\n");
        let cases = self.cases(line);
        for Job { name, settings, .. } in self.jobs.iter().filter(|job| job.is_for(line)) {
            text += &format!("- {{job_name: {name}, static_configs: [");
            for case in cases.iter().filter(|case| case.job == name) {
                let labels = format!("{{instance: '{}', __metrics_path__: {}}}", case.number, case.path());
                text += &format!("{{targets: ['{address}'], labels: {labels}}}, ");
            }
            text += &format!("], {settings}}}\n");
        }
        text
    }

    /// The answer to a request.
    pub(crate) fn reply(&self, request: &str) -> Reply {
        let number: usize = request.split('/').nth(1).and_then(|number| number.parse().ok()).unwrap();
        let mut body = &self.bodies[number];
        if body.name == "http: negotiated" {
            let accept = header(request, "accept").unwrap_or_default();
            let offer = |media_range: &str| {
                let media_type = media_range.split(';').next()?.trim();
                self.bodies.iter().find(|body| body.offered.as_deref() == Some(media_type))
            };
            body = accept.split(',').find_map(offer).unwrap_or(body);
        }
        let Body { content_type, status, headers, bytes, .. } = body;
        let content_type = if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        let length = if *status == 204 { String::new() } else { format!("Content-Length: {}\r\n", bytes.len()) };
        let head = format!("HTTP/1.1 {status} Test\r\n{content_type}{length}{headers}\r\n");
        Reply::raw([head.as_bytes(), bytes.as_slice()].concat(), Then::Continue)
    }
}

impl Job {
    fn is_for(&self, line: PrometheusLine) -> bool {
        line == PrometheusLine::V3 || !self.only_v3
    }
}

fn job(line: &str) -> Job {
    let (text, only_v3) = line.strip_suffix(" # 3").map_or((line, false), |text| (text, true));
    let (name, settings) = text.split_once(": ").unwrap();
    let settings = settings.strip_prefix('{').and_then(|settings| settings.strip_suffix('}')).unwrap();
    Job { name: name.to_owned(), settings: settings.to_owned(), only_v3 }
}

fn bodies(file: &str, text: &str) -> Vec<Body> {
    let mut defaults = Body { status: 200, ..Body::default() };
    let mut default_options: Vec<&str> = Vec::new();
    let mut bodies = Vec::new();
    // A section ends with the line feed before the next one, or at the end of the file.
    let text = text.strip_prefix("=== ").and_then(|text| text.strip_suffix('\n')).unwrap();
    for section in text.split("\n=== ") {
        let (head, content) = match section.split_once('\n') {
            Some((head, content)) => (head, format!("{content}\n")),
            None => (section, String::new()),
        };
        let (name, options) =
            head.split_once(" | ").map_or((head, Vec::new()), |(name, rest)| (name, rest.split(" | ").collect()));
        if name == "*" {
            defaults = Body { status: 200, ..Body::default() };
            default_options = options;
            continue;
        }
        let mut body = Body { name: format!("{file}: {name}"), bytes: unfold(&content), ..defaults.clone() };
        for option in default_options.iter().chain(&options) {
            body.set(option);
        }
        // Encodings come last, whatever they were written before.
        if options.iter().chain(&default_options).any(|option| *option == "proto") {
            body.bytes = encode(&body.bytes);
        }
        for option in &options {
            body.bytes = match *option {
                "gzip" => gzip(&body.bytes),
                "gzip-twice" => [gzip(&body.bytes), gzip(&body.bytes)].concat(),
                "gzip-cut" => {
                    let whole = gzip(&body.bytes);
                    whole[..whole.len() - 10].to_vec()
                }
                _ => continue,
            };
            body.headers += "Content-Encoding: gzip\r\n";
        }
        bodies.push(body);
    }
    bodies
}

impl Body {
    pub(crate) fn is_gzip(&self) -> bool {
        self.headers.contains("Content-Encoding: gzip\r\n")
    }

    pub(crate) fn format(&self) -> Format {
        Format::of_content_type(Some(&self.content_type), PrometheusLine::V2, None).unwrap()
    }

    fn set(&mut self, option: &str) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("jobs", jobs) => self.jobs = jobs.split(',').map(str::to_owned).collect(),
            ("type", content_type) => self.content_type = String::from_utf8(unfold(content_type)).unwrap(),
            ("status", status) => self.status = status.parse().unwrap(),
            ("header", line) => self.headers += &format!("{line}\r\n"),
            ("offered", media_type) => {
                self.offered = Some(media_type.to_owned());
                self.jobs = Vec::new();
            }
            ("repeats", _) => self.repeats = true,
            ("proto" | "gzip" | "gzip-twice" | "gzip-cut", _) => {}
            _ => panic!("{}: unknown option {option}", self.name),
        }
    }
}

/// What the brackets `⟨⟩` stand for.
fn unfold(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('⟨') {
        bytes.extend_from_slice(before.as_bytes());
        let (mark, after) = after.split_once('⟩').unwrap();
        rest = after;
        match mark.rsplit_once('*') {
            _ if mark == "cut" => rest = "",
            Some((repeated, times)) => bytes.extend(repeated.as_bytes().repeat(times.parse().unwrap())),
            None => bytes.extend(bytes_of_hex(mark)),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bodies_are_what_they_say() {
    let plan = Plan::read();
    let body = |name: &str| {
        let body = plan.bodies.iter().find(|body| body.name == name).unwrap_or_else(|| panic!("{name}"));
        body.bytes.as_slice()
    };
    assert_eq!(body("text: empty"), b"");
    assert_eq!(body("text: blank lines only"), b"\n \t\n \n");
    assert_eq!(body("text: last line without its line feed"), b"a 1");
    assert_eq!(body("text: one sample"), b"a 1\n");
    assert_eq!(body("text: line ends with a carriage return"), b"a 1\r\n");
    assert_eq!(body("openmetrics: one blank line"), b"\n");
    assert_eq!(body("openmetrics: end mark followed by a blank line"), b"a 1\n# EOF\n\n");
    assert_eq!(body("protobuf: an empty family"), [0]);
    assert_eq!(body("protobuf: a text body"), b"a 1\n");
    assert!(body("text: a thousand series").starts_with(b"a 1\na 1\n"));
}
