//! Configurations that the Prometheus Operator generated: compressed with gzip, with references `$(NAME)` to the
//! environment of the pod, which its config-reloader would resolve.

use std::{
    io::{self, Read},
    sync::LazyLock,
};

use flate2::read::MultiGzDecoder;
use regex::{Captures, Regex};

/// How a gzip stream with the one known method begins.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];
/// What a file may grow to when it is unpacked, in bytes. A Secret holds 1 MiB, which may unpack to a thousand times that.
pub(crate) const UNPACKED_LIMIT: u64 = 64 << 20;
/// Which of the Operator's own shards the configuration is read for, where the environment does not say.
const SHARD: (&str, &str) = ("SHARD", "0");

#[allow(clippy::expect_used)]
static REFERENCE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\(([a-zA-Z0-9_]+)\)").expect("a constant"));

/// A text, and what in it stayed unresolved.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Expanded {
    /// The text of the file.
    pub(crate) text: String,
    /// Names of references without a value, which stay as they are, each once. Empty for a plain file, in which `$(NAME)`
    /// means nothing.
    pub(crate) unresolved: Vec<String>,
}

/// The text of a file: as it is, or, of a compressed one, unpacked and with its references resolved by `env`.
///
/// # Errors
/// The file is not UTF-8, or is compressed and broken or larger than 64 MiB unpacked.
pub(crate) fn text_of(bytes: Vec<u8>, env: &dyn Fn(&str) -> Option<String>) -> io::Result<Expanded> {
    if !bytes.starts_with(&MAGIC) {
        return Ok(Expanded { text: utf8(bytes)?, unresolved: Vec::new() });
    }
    Ok(expand(&utf8(unpack(&bytes, UNPACKED_LIMIT)?)?, env))
}

fn utf8(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        invalid(format!("is not UTF-8: byte {at} begins no character"))
    })
}

fn unpack(bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(limit + 1)
        .read_to_end(&mut out)
        .map_err(|error| invalid(format!("begins as gzip does, and cannot be unpacked: {error}")))?;
    if out.len() as u64 > limit {
        return Err(invalid(format!("is compressed and larger than {limit} bytes unpacked, the most that is read")));
    }
    Ok(out)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Expanded {
    let mut unresolved: Vec<String> = Vec::new();
    let text = REFERENCE.replace_all(text, |found: &Captures<'_>| {
        let name = &found[1];
        let default = || (name == SHARD.0).then(|| SHARD.1.to_owned());
        env(name).or_else(default).unwrap_or_else(|| {
            if !unresolved.iter().any(|known| known == name) {
                unresolved.push(name.to_owned());
            }
            found[0].to_owned()
        })
    });
    Expanded { text: text.into_owned(), unresolved }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn env(name: &str) -> Option<String> {
        match name {
            "POD_NAME" => Some("prometheus-1".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("$(POD_NAME)".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn references_in_compressed_files() {
        for (text, expected, unresolved) in [
            ("replica: $(POD_NAME)", "replica: prometheus-1", &[][..]),
            ("$(POD_NAME)$(POD_NAME)", "prometheus-1prometheus-1", &[]),
            ("regex: $(SHARD);|.+;.+", "regex: 0;|.+;.+", &[]),
            ("a$(EMPTY)b", "ab", &[]),
            ("$(NESTED)", "$(POD_NAME)", &[]),
            ("$(ZONE) $(ZONE) $(A1)", "$(ZONE) $(ZONE) $(A1)", &["ZONE", "A1"]),
            ("$1 ${POD_NAME} $POD_NAME $() $(a b) $(a", "$1 ${POD_NAME} $POD_NAME $() $(a b) $(a", &[]),
            ("", "", &[]),
        ] {
            let got = text_of(gzip(text.as_bytes()), &env).unwrap();
            assert_eq!(got.text, expected, "{text}");
            assert_eq!(got.unresolved, unresolved, "{text}");
        }
        let shard = |name: &str| (name == "SHARD").then(|| "2".to_owned());
        assert_eq!(text_of(gzip(b"$(SHARD)"), &shard).unwrap().text, "2");
    }

    #[test]
    fn plain_files_stay_as_they_are() {
        for text in ["", "a: $(POD_NAME) $(SHARD)\n", "\u{1f}"] {
            let expected = Expanded { text: text.to_owned(), unresolved: Vec::new() };
            assert_eq!(text_of(text.as_bytes().to_vec(), &env).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn streams_in_a_row_are_one_text() {
        let mut bytes = gzip(b"a: ");
        bytes.extend(gzip(b"1"));
        assert_eq!(text_of(bytes, &env).unwrap().text, "a: 1");
    }

    #[test]
    fn what_is_broken_says_so() {
        let whole = gzip(b"scrape_configs: []\n");
        let mut flipped = whole.clone();
        let checksum = flipped.len() - 6;
        flipped[checksum] ^= 1;
        let mut trailing = whole.clone();
        trailing.extend(b"more");
        for (what, bytes, expected) in [
            ("half", whole[..whole.len() / 2].to_vec(), "cannot be unpacked"),
            ("the beginning", MAGIC.to_vec(), "cannot be unpacked"),
            ("a flipped bit", flipped, "cannot be unpacked"),
            ("trailing bytes", trailing, "cannot be unpacked"),
            ("latin 1, compressed", gzip(b"a\xe9"), "is not UTF-8: byte 1 "),
            ("latin 1", b"ab\xe9".to_vec(), "is not UTF-8: byte 2 "),
        ] {
            let error = text_of(bytes, &env).unwrap_err().to_string();
            assert!(error.contains(expected), "{what}: {error}");
        }
    }

    #[test]
    fn the_unpacked_size_is_bounded() {
        let bytes = gzip(&[b'#'; 100]);
        assert_eq!(unpack(&bytes, 100).unwrap().len(), 100);
        let error = unpack(&bytes, 99).unwrap_err().to_string();
        assert!(error.contains("larger than 99 bytes"), "{error}");
    }
}
