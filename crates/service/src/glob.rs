//! Go's `filepath.Glob`: `*` and `?` stay inside one path element, classes negate with `^`, a backslash
//! escapes, there is no `**` and no brace expansion, and leading dots are ordinary characters.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The existing paths that match `pattern`, in lexical order per directory. Directories that cannot be
/// read match nothing, as in Go; a malformed pattern is an error.
pub fn glob(pattern: &str) -> io::Result<Vec<PathBuf>> {
    if !has_meta(pattern) {
        return Ok(if fs::symlink_metadata(pattern).is_ok() { vec![PathBuf::from(pattern)] } else { Vec::new() });
    }
    // Finds out whether the pattern is well-formed, even where no directory entry would be tried.
    matches(pattern, "")?;
    let (directory, file) = pattern.rsplit_once('/').map_or(("", pattern), |(d, f)| (if d.is_empty() { "/" } else { d }, f));
    let directories = if has_meta(directory) { glob(directory)? } else { vec![PathBuf::from(directory)] };
    let mut found = Vec::new();
    for directory in directories {
        let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        let Ok(entries) = fs::read_dir(listed) else { continue };
        let mut names: Vec<String> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        for name in names {
            if matches(file, &name)? {
                found.push(directory.join(name));
            }
        }
    }
    Ok(found)
}

/// Whether [`glob`] would find `path` for `pattern` if there were such a file.
pub(crate) fn matches_path(pattern: &str, path: &str) -> bool {
    matches(pattern, path).unwrap_or(false)
}

fn has_meta(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

/// Whether the whole of `name` matches `pattern`.
fn matches(pattern: &str, name: &str) -> io::Result<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    match_from(&pattern, &name)
}

fn match_from(pattern: &[char], name: &[char]) -> io::Result<bool> {
    let Some((&first, rest)) = pattern.split_first() else { return Ok(name.is_empty()) };
    match first {
        '*' => {
            let longest = name.iter().position(|c| *c == '/').unwrap_or(name.len());
            let mut any = false;
            // Tries every length, so that a malformed rest is found even after a match.
            for length in 0..=longest {
                any |= match_from(rest, &name[length..])?;
            }
            Ok(any)
        }
        '[' => {
            let (class, after) = parse_class(rest)?;
            let hit = name.first().is_some_and(|c| class.contains(*c));
            let tail = match_from(after, name.get(1..).unwrap_or_default())?;
            Ok(hit && tail)
        }
        _ => {
            let (wanted, after) = match first {
                '?' => (None, rest),
                '\\' => {
                    let (escaped, after) = rest.split_first().ok_or_else(malformed)?;
                    (Some(*escaped), after)
                }
                literal => (Some(literal), rest),
            };
            let hit = name.first().is_some_and(|c| wanted.map_or(*c != '/', |w| w == *c));
            let tail = match_from(after, name.get(1..).unwrap_or_default())?;
            Ok(hit && tail)
        }
    }
}

struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

/// Reads a class after its `[`; returns what follows its `]`.
fn parse_class(pattern: &[char]) -> io::Result<(Class, &[char])> {
    let (negated, mut rest) = match pattern.split_first() {
        Some(('^', rest)) => (true, rest),
        _ => (false, pattern),
    };
    let mut ranges = Vec::new();
    loop {
        if let Some((']', after)) = rest.split_first()
            && !ranges.is_empty()
        {
            return Ok((Class { negated, ranges }, after));
        }
        let (low, after) = class_char(rest)?;
        rest = after;
        let mut high = low;
        if let Some(('-', after)) = rest.split_first() {
            (high, rest) = class_char(after)?;
        }
        ranges.push((low, high));
    }
}

fn class_char(pattern: &[char]) -> io::Result<(char, &[char])> {
    match pattern.split_first() {
        Some(('\\', rest)) => rest.split_first().map(|(c, rest)| (*c, rest)).ok_or_else(malformed),
        Some(('-' | ']', _)) | None => Err(malformed()),
        Some((c, rest)) => Ok((*c, rest)),
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "syntax error in pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching() {
        for (pattern, name, expected) in [
            ("*.yml", "a.yml", true),
            ("*.yml", ".yml", true),
            ("*", "a/b", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[!a]x", "!x", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("{a,b}", "a", false),
        ] {
            assert_eq!(matches(pattern, name).unwrap(), expected, "{pattern} {name}");
        }
        for bad in ["[", "[]", "[a", "a\\", "[-a]", "x*["] {
            assert!(matches(bad, "x").is_err(), "{bad}");
        }
    }
}
