//! The configuration hash of the original Kvass, for sidecars that serve one of its coordinators.
//!
//! The original hashes the structures its Prometheus library decodes a configuration into: names of types and members,
//! their order, and every value after defaults are filled in. So the hash depends on the version of that library and, where
//! a URL is configured, on the Go the program was built with; together that is a [`HashShape`]. `tables` says what the
//! structures look like, `read` fills them from a document, `value` hashes them.

mod read;
mod tables;
mod url;
mod value;

use std::{fmt, path::Path};

use crate::yaml::parse;

/// Which build of the original is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashShape {
    types: Generation,
    url: UrlLayout,
}

/// The Prometheus library compiled in. The order counts: later ones have what earlier ones have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Generation {
    /// v0.2.0 to v0.3.1: Prometheus 2.28.
    V02,
    /// The last commit: Prometheus 2.35.
    Head,
}

/// How Go lays out a parsed URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UrlLayout {
    /// Up to Go 1.18; what the released images were built with.
    Go117,
    /// From Go 1.19 on, with one member more.
    Go119,
    /// Go 1.26, members reordered.
    Go126,
}

impl HashShape {
    /// The last commit of the original, built with the Go of its time.
    pub const HEAD: HashShape = HashShape { types: Generation::Head, url: UrlLayout::Go117 };
    /// The releases v0.2.0 to v0.3.1.
    pub const V0_2: HashShape = HashShape { types: Generation::V02, url: UrlLayout::Go117 };
    /// All shapes, the likeliest first: those of a newer Go are builds of one's own.
    pub const ALL: [HashShape; 6] = [
        HashShape::HEAD,
        HashShape::V0_2,
        HashShape { url: UrlLayout::Go119, ..HashShape::HEAD },
        HashShape { url: UrlLayout::Go119, ..HashShape::V0_2 },
        HashShape { url: UrlLayout::Go126, ..HashShape::HEAD },
        HashShape { url: UrlLayout::Go126, ..HashShape::V0_2 },
    ];
}

impl fmt::Display for HashShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.types {
            Generation::Head => "go-head",
            Generation::V02 => "go-0.2",
        })?;
        f.write_str(match self.url {
            UrlLayout::Go117 => "",
            UrlLayout::Go119 => " built with Go 1.19 or later",
            UrlLayout::Go126 => " built with Go 1.26 or later",
        })
    }
}

/// The hash, in decimal digits, that a program of that shape computes of a configuration's text.
///
/// `None` where it is not known: the text has keys or discovery mechanisms that are not in the tables (the original
/// refuses most such files anyway), or spellings on which its YAML decoder behaves unlike ours.
pub fn original_hash(text: &str, shape: HashShape) -> Option<String> {
    let document = parse(text, Path::new("configuration")).ok()?;
    let config = read::Reader { shape }.config(&document.root)?;
    Some(value::hash(&config).to_string())
}
