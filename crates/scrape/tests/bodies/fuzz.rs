//! Good bodies made worse at random, judged by us and by the parsers of Prometheus.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use kvass_exposition::{CountOptions, Format};
use kvass_model::PrometheusLine;

use crate::{count, plan::Plan};

/// Longer bodies hold more of the same.
const MAX_SEED: usize = 1500;

/// What bodies are mixed with: what the formats give a meaning to.
const WORDS: &[&[u8]] = &[
    b"# TYPE h histogram\n",
    b"# TYPE s summary\n",
    b"# TYPE c counter\n",
    b"# HELP a b\n",
    b"# UNIT a_b b\n",
    b"# EOF\n",
    b"# EOF",
    b"# ",
    b"#",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b"\\",
    b"\"",
    b"{",
    b"}",
    b",",
    b"=",
    b"\xff",
    b"\xc3\xa9",
    b"le=\"1\"",
    b"le=\"+Inf\"",
    b"quantile=\"0.5\"",
    b"__name__=\"x\"",
    b"\"a.b\"",
    b"h_bucket{le=\"2\"} 1\n",
    b"h_count 1\n",
    b"h_sum 1\n",
    b"h_created 1\n",
    b" # {a=\"b\"} 1",
    b"NaN",
    b"+Inf",
    b"1e400",
    b"0x1p3",
    b"1_0",
    b"-1",
    b" 1",
    b" 123",
    b"\x80",
    b"\x01",
    b"\x0a",
    b"\x12",
    b"\x1a",
    b"\x22",
    b"\x3a",
    b"\x62\x00",
];

/// A request: the same for both sides.
#[derive(Clone)]
struct Question {
    format: Format,
    native: bool,
    keep_classic: bool,
    convert: bool,
    body: Vec<u8>,
}

impl Question {
    fn ours(&self, size: usize) -> Result<u64, String> {
        let options = CountOptions {
            format: self.format,
            line: PrometheusLine::V3,
            utf8_names: true,
            native_histograms: self.native,
            always_classic: self.keep_classic,
            convert_nhcb: self.convert,
            ..CountOptions::default()
        };
        count(&options, &self.body, size).map(|counts| counts.count.total).map_err(|error| error.to_string())
    }

    fn content_type(&self) -> &'static str {
        match self.format {
            Format::Text => "text/plain",
            Format::OpenMetrics => "application/openmetrics-text",
            Format::Protobuf => "application/vnd.google.protobuf",
        }
    }
}

/// The program of tests/reference/textparse.
struct Reference {
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Reference {
    fn start(program: &str) -> Reference {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Reference { _child: child, input, output: BufReader::new(output) }
    }

    fn ask(&mut self, question: &Question) -> Result<u64, String> {
        let switches = u8::from(question.native) | u8::from(question.keep_classic) << 1 | u8::from(question.convert) << 2;
        let content_type = question.content_type().as_bytes();
        let length = |bytes: &[u8]| (bytes.len() as u32).to_be_bytes();
        let request = [&[switches][..], &length(content_type), &length(&question.body), content_type, &question.body].concat();
        self.input.write_all(&request).unwrap();
        let mut answer = String::new();
        assert!(self.output.read_line(&mut answer).unwrap() > 0, "the reference has ended");
        match answer.trim_end().split_once(' ').unwrap() {
            ("ok", samples) => Ok(samples.parse().unwrap()),
            (_, error) => Err(error.to_owned()),
        }
    }
}

/// Xorshift: no one has to guess these numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn mutate(&mut self, body: &mut Vec<u8>, others: &[&[u8]]) {
        let at = self.below(body.len() + 1);
        let end = (at + 1 + self.below(8)).min(body.len());
        match self.below(8) {
            0 if at < body.len() => body[at] = self.below(256) as u8,
            1 if at < body.len() => body[at] ^= 1 << self.below(8),
            2 => drop(body.drain(at.min(end)..end)),
            3 => {
                let copy = body[at.min(end)..end].to_vec();
                let to = self.below(body.len() + 1);
                drop(body.splice(to..to, copy));
            }
            4 => body.truncate(at),
            5 => {
                let other = others[self.below(others.len())];
                let from = self.below(other.len() + 1);
                let to = (from + self.below(60)).min(other.len());
                drop(body.splice(at..at, other[from..to].iter().copied()));
            }
            6 => {
                // A whole line to another place.
                let mut lines: Vec<&[u8]> = body.split_inclusive(|b| *b == b'\n').collect();
                let (a, b) = (self.below(lines.len()), self.below(lines.len()));
                if !lines.is_empty() {
                    lines.swap(a, b);
                }
                *body = lines.concat();
            }
            _ => drop(body.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
        }
    }
}

#[test]
#[ignore = "compares with the program $TEXTPARSE for $SECONDS_OF_FUZZING, from $SEED on"]
fn mutated_bodies() {
    let variable = |name: &str| std::env::var(name).ok();
    let mut reference = Reference::start(&variable("TEXTPARSE").expect("TEXTPARSE names the program"));
    let seconds = variable("SECONDS_OF_FUZZING").map_or(60, |text| text.parse().unwrap());
    let seed: u64 = variable("SEED").map_or(1, |text| text.parse().unwrap());
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let plan = Plan::read();
    let seeds_of = |format: Format| -> Vec<&[u8]> {
        let bodies = plan.bodies().iter().filter(|body| body.format() == format && body.bytes.len() <= MAX_SEED);
        bodies.map(|body| body.bytes.as_slice()).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let seeds = [Format::Text, Format::OpenMetrics, Format::Protobuf].map(|format| (format, seeds_of(format)));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut asked, mut good, mut differing) = (0u64, 0u64, Vec::new());
    while Instant::now() < end && differing.len() < 20 {
        let (format, seeds) = &seeds[random.below(3)];
        let mut body = seeds[random.below(seeds.len())].to_vec();
        for _ in 0..random.below(4) {
            random.mutate(&mut body, seeds);
        }
        let question = Question {
            format: *format,
            native: random.chance(2),
            keep_classic: random.chance(3),
            convert: random.chance(2),
            body,
        };
        let theirs = reference.ask(&question);
        let size = 1 + random.below(40);
        asked += 1;
        good += u64::from(theirs.is_ok());
        if differ(&question, &theirs, size) {
            differing.push(shrunk(&mut reference, question, size));
        }
    }
    println!("seed {seed}: {asked} bodies compared, {good} of them good");
    let report: Vec<String> = differing
        .iter()
        .map(|question| {
            let Question { format, native, keep_classic, convert, body } = question;
            let (ours, theirs) = (question.ours(usize::MAX), reference.ask(question));
            let switches = [(native, "native"), (keep_classic, "classic kept"), (convert, "converted")];
            let switches: Vec<_> = switches.iter().filter(|(on, _)| **on).map(|(_, name)| name).collect();
            format!("{format:?} {switches:?} {}\n  ours: {ours:?}\n  Prometheus: {theirs:?}\n", body.escape_ascii())
        })
        .collect();
    assert!(report.is_empty(), "\n{}", report.concat());
    assert!(good > 0 && good < asked, "bodies must be good and bad");
}

/// Bodies that are left out, as nobody sends them on purpose and we do not follow Prometheus there.
///
/// Its lexers pass over NUL bytes in some of their states, for example between the letters of `HELP`, so that each place
/// has a rule of its own; the places that matter are among the recorded bodies. Its protobuf decoder reads on behind a
/// packed list whose last number is cut off, and takes what follows for the rest of that number.
fn is_left_out(question: &Question) -> bool {
    match question.format {
        Format::Text | Format::OpenMetrics => question.body.contains(&0),
        Format::Protobuf => {
            question.ours(usize::MAX).is_err_and(|error| error.contains("64-bit numbers") || error.contains("variable-length"))
        }
    }
}

fn differ(question: &Question, theirs: &Result<u64, String>, size: usize) -> bool {
    !is_left_out(question) && [usize::MAX, size].iter().any(|size| question.ours(*size).ok() != theirs.as_ref().ok().copied())
}

/// The shortest body that can be had by leaving parts out and that both sides still see differently.
fn shrunk(reference: &mut Reference, mut question: Question, size: usize) -> Question {
    let mut length = question.body.len() / 2;
    while length > 0 {
        let mut at = 0;
        while at + length <= question.body.len() {
            let mut shorter = question.clone();
            shorter.body.drain(at..at + length);
            let theirs = reference.ask(&shorter);
            if differ(&shorter, &theirs, size) {
                question = shorter;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    question
}
