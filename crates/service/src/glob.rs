//! Go's `filepath.Glob`: `*` and `?` stay inside one path element, classes negate with `^`, a backslash
//! escapes, there is no `**` and no brace expansion, and leading dots are ordinary characters.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The existing paths that match `pattern`, in lexical order per directory. Directories that cannot be
/// read match nothing, as in Go; a malformed pattern is an error.
pub fn glob(pattern: &str) -> io::Result<Vec<PathBuf>> {
    glob_with_problem(pattern).map(|(paths, _)| paths)
}

/// As [`glob`], and what kept a directory from being read that is there and not forbidden: nobody knows what it holds.
pub fn glob_with_problem(pattern: &str) -> io::Result<(Vec<PathBuf>, Option<io::Error>)> {
    let mut problem = None;
    let paths = expand(pattern, &mut |error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => {}
        _ => problem = Some(error),
    })?;
    Ok((paths, problem))
}

/// `unreadable` hears why something could not be looked into.
fn expand(pattern: &str, unreadable: &mut dyn FnMut(io::Error)) -> io::Result<Vec<PathBuf>> {
    if !has_meta(pattern) {
        return Ok(match fs::symlink_metadata(pattern) {
            Ok(_) => vec![PathBuf::from(pattern)],
            Err(error) => {
                unreadable(error);
                Vec::new()
            }
        });
    }
    // Finds out whether the pattern is well-formed, even where no directory entry would be tried.
    matches(pattern, "")?;
    let (directory, file) = pattern.rsplit_once('/').map_or(("", pattern), |(d, f)| (if d.is_empty() { "/" } else { d }, f));
    let directories = if has_meta(directory) { expand(directory, unreadable)? } else { vec![PathBuf::from(directory)] };
    let mut found = Vec::new();
    for directory in directories {
        let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        let mut names: Vec<String> = Vec::new();
        match fs::read_dir(listed) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => names.extend(entry.file_name().into_string()),
                        Err(error) => unreadable(error),
                    }
                }
            }
            Err(error) => unreadable(error),
        }
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

    #[test]
    fn a_directory_that_cannot_be_read_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        // Even root cannot follow it.
        let ring = dir.path().join("ring");
        std::os::unix::fs::symlink(&ring, &ring).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        for (pattern, known) in [("ring/*", false), ("ring/a", false), ("none/*", true), ("file/*", true), ("[n]*/a", true)] {
            let pattern = dir.path().join(pattern).display().to_string();
            let (paths, problem) = glob_with_problem(&pattern).unwrap();
            assert_eq!((paths, problem.is_none()), (Vec::new(), known), "{pattern}");
        }
        // The others are found nevertheless.
        fs::create_dir(dir.path().join("s")).unwrap();
        fs::write(dir.path().join("s/a"), "").unwrap();
        let (paths, problem) = glob_with_problem(&dir.path().join("*/*").display().to_string()).unwrap();
        assert_eq!((paths, problem.is_some()), (vec![dir.path().join("s/a")], true));
    }
}
