//! Protocol buffer text of `io.prometheus.client` messages, made into bytes.
//!
//! `family { … }` is a length-delimited message of a body, `hex: "…"` are bytes as they are, anywhere. A list in
//! brackets is packed. Fields come out in the order they are written in, so that odd messages can be written too.

/// How the values of a field are written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Double,
    Varint,
    /// Signed numbers in zigzag.
    Zigzag,
    Type,
    Message(&'static str),
}

use Kind::{Double, Message, Text, Type, Varint, Zigzag};

const TYPES: [&str; 6] = ["COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM"];

/// Number and kind of a field.
fn field(message: &str, name: &str) -> (u64, Kind) {
    match (message, name) {
        ("family", "name") | ("label", "name") => (1, Text),
        ("family", "help") | ("label", "value") => (2, Text),
        ("family", "type") => (3, Type),
        ("family", "metric") => (4, Message("metric")),
        ("family", "unit") => (5, Text),
        ("metric", "label") | ("exemplar", "label") => (1, Message("label")),
        ("metric", "gauge") => (2, Message("value")),
        ("metric", "counter") => (3, Message("counter")),
        ("metric", "summary") => (4, Message("summary")),
        ("metric", "untyped") => (5, Message("value")),
        ("metric", "timestamp_ms") => (6, Varint),
        ("metric", "histogram") => (7, Message("histogram")),
        ("value", "value") | ("counter", "value") | ("quantile", "quantile") => (1, Double),
        ("counter", "exemplar") => (2, Message("exemplar")),
        ("counter", "start_timestamp") => (3, Message("timestamp")),
        ("exemplar", "value") | ("quantile", "value") | ("bucket", "upper_bound") => (2, Double),
        ("exemplar", "timestamp") => (3, Message("timestamp")),
        ("timestamp", "seconds") | ("summary", "sample_count") | ("histogram", "sample_count") => (1, Varint),
        ("bucket", "cumulative_count") => (1, Varint),
        ("timestamp", "nanos") | ("span", "length") => (2, Varint),
        ("summary", "sample_sum") | ("histogram", "sample_sum") => (2, Double),
        ("summary", "quantile") => (3, Message("quantile")),
        ("summary", "start_timestamp") => (4, Message("timestamp")),
        ("histogram", "bucket") => (3, Message("bucket")),
        ("histogram", "sample_count_float") | ("bucket", "cumulative_count_float") => (4, Double),
        ("bucket", "exemplar") => (3, Message("exemplar")),
        ("histogram", "schema") => (5, Zigzag),
        ("histogram", "zero_threshold") => (6, Double),
        ("histogram", "zero_count") => (7, Varint),
        ("histogram", "zero_count_float") => (8, Double),
        ("histogram", "negative_span") => (9, Message("span")),
        ("histogram", "negative_delta") => (10, Zigzag),
        ("histogram", "negative_count") => (11, Double),
        ("histogram", "positive_span") => (12, Message("span")),
        ("histogram", "positive_delta") => (13, Zigzag),
        ("histogram", "positive_count") => (14, Double),
        ("histogram", "start_timestamp") => (15, Message("timestamp")),
        ("histogram", "exemplars") => (16, Message("exemplar")),
        ("span", "offset") => (1, Zigzag),
        _ => panic!("{message} has no field {name}"),
    }
}

/// The bytes of a body.
pub(crate) fn encode(text: &[u8]) -> Vec<u8> {
    let mut reader = Reader { rest: text };
    let mut body = Vec::new();
    while let Some(name) = reader.word() {
        match name {
            "family" => {
                let family = reader.message("family");
                body.extend(varint(family.len() as u64));
                body.extend(family);
            }
            "hex" => body.extend(reader.hex()),
            other => panic!("{other}: expected family or hex"),
        }
    }
    assert!(reader.rest.is_empty(), "{:?}", String::from_utf8_lossy(reader.rest));
    body
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// What stands between braces.
    fn message(&mut self, message: &str) -> Vec<u8> {
        assert!(self.accept(b'{'), "{message}: expected a brace");
        let mut bytes = Vec::new();
        while !self.accept(b'}') {
            let name =
                self.word().unwrap_or_else(|| panic!("{message}: expected a field at {:?}", String::from_utf8_lossy(self.rest)));
            if name == "hex" {
                bytes.extend(self.hex());
                continue;
            }
            let (number, kind) = field(message, name);
            if let Message(inner) = kind {
                bytes.extend(delimited(number, self.message(inner)));
                continue;
            }
            assert!(self.accept(b':'), "{name}: expected a colon");
            if self.accept(b'[') {
                let mut packed = Vec::new();
                while !self.accept(b']') {
                    packed.extend(self.scalar(kind).1);
                    self.accept(b',');
                }
                bytes.extend(delimited(number, packed));
            } else {
                let (wire_type, value) = self.scalar(kind);
                bytes.extend(varint(number << 3 | wire_type));
                bytes.extend(value);
            }
        }
        bytes
    }

    /// Wire type and bytes of one value.
    fn scalar(&mut self, kind: Kind) -> (u64, Vec<u8>) {
        if let Text = kind {
            let text = self.string();
            return (2, [varint(text.len() as u64), text.to_vec()].concat());
        }
        let word = self.word().expect("a value");
        let integer = || word.parse::<i64>().unwrap_or_else(|_| panic!("{word}: expected a number"));
        match kind {
            Double => (1, word.parse::<f64>().unwrap_or_else(|_| panic!("{word}: expected a number")).to_le_bytes().to_vec()),
            Zigzag => (0, varint(((integer() << 1) ^ (integer() >> 63)) as u64)),
            Type if TYPES.contains(&word) => (0, varint(TYPES.iter().position(|t| *t == word).unwrap() as u64)),
            _ => (0, varint(integer() as u64)),
        }
    }

    fn hex(&mut self) -> Vec<u8> {
        assert!(self.accept(b':'), "hex: expected a colon");
        bytes_of_hex(std::str::from_utf8(self.string()).unwrap())
    }

    fn string(&mut self) -> &'a [u8] {
        assert!(self.accept(b'"'), "expected a string at {:?}", String::from_utf8_lossy(self.rest));
        let end = self.rest.iter().position(|b| *b == b'"').expect("a closing quote");
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        text
    }

    fn word(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_ascii_start();
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || b"_-+.".contains(b);
        let end = self.rest.iter().position(|b| !is_word(b)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (end > 0).then(|| std::str::from_utf8(word).unwrap())
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.rest = self.rest.trim_ascii_start();
        let found = self.rest.first() == Some(&byte);
        self.rest = &self.rest[usize::from(found)..];
        found
    }
}

/// Bytes written as pairs of hexadecimal digits with blanks between.
pub(crate) fn bytes_of_hex(text: &str) -> Vec<u8> {
    let byte = |pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{text}: expected hexadecimal bytes"));
    text.split_whitespace().map(byte).collect()
}

fn delimited(number: u64, bytes: Vec<u8>) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn bytes_of_a_family() {
    let text = br#"family { name: "a" type: HISTOGRAM metric { histogram { positive_delta: [1, -1] schema: -4 hex: "ff 00" } } } hex: "07""#;
    assert_eq!(encode(text), [17, 0x0a, 1, b'a', 0x18, 4, 0x22, 10, 0x3a, 8, 0x6a, 2, 2, 1, 0x28, 7, 0xff, 0, 7]);
}
