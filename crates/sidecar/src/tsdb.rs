//! The data folder of the Prometheus beside: its blocks, its snapshots, and which blocks a Thanos sidecar
//! has uploaded.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// The file in which the Thanos sidecar notes what it has uploaded, under its default name.
const SHIPPER_FILE: &str = "thanos.shipper.json";
/// Prometheus removes a folder of this name when it starts, should we not get to it.
const DELETION_SUFFIX: &str = ".tmp-for-deletion";

/// The folder and what is done in it.
#[derive(Clone, Debug)]
pub(crate) struct Tsdb {
    folder: PathBuf,
}

/// Something in the data folder could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TsdbError {
    #[error("{}: cannot be {action}; the sidecar has to run as the user of prometheus, on the same volume", path.display())]
    Io { path: PathBuf, action: &'static str, source: io::Error },
    #[error("{}: not understood", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
}

/// A block, as far as its upload goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) ulid: String,
    /// Milliseconds since 1970.
    pub(crate) min_time: i64,
    pub(crate) samples: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    min_time: i64,
    stats: Stats,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    /// Left out where it is zero.
    #[serde(default)]
    num_samples: u64,
}

#[derive(Deserialize)]
struct Shipped {
    uploaded: Option<BTreeSet<String>>,
}

impl Tsdb {
    pub(crate) fn new(folder: &Path) -> Self {
        Tsdb { folder: folder.to_owned() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of all blocks, complete or not.
    pub(crate) fn names(&self) -> Result<BTreeSet<String>, TsdbError> {
        names(&self.folder)
    }

    /// All complete blocks.
    pub(crate) fn blocks(&self) -> Result<Vec<Block>, TsdbError> {
        let mut blocks = Vec::new();
        for ulid in self.names()? {
            let path = self.folder.join(&ulid).join("meta.json");
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                // Being made, or being removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(TsdbError::Io { path, action: "read", source }),
            };
            let meta: Meta = serde_json::from_slice(&bytes).map_err(|source| TsdbError::Malformed { path, source })?;
            blocks.push(Block { ulid, min_time: meta.min_time, samples: meta.stats.num_samples });
        }
        Ok(blocks)
    }

    /// The blocks noted as uploaded; `None` when there are no notes.
    pub(crate) fn uploaded(&self) -> Result<Option<BTreeSet<String>>, TsdbError> {
        let path = self.folder.join(SHIPPER_FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                let shipped: Shipped = serde_json::from_slice(&bytes).map_err(|source| TsdbError::Malformed { path, source })?;
                Ok(Some(shipped.uploaded.unwrap_or_default()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TsdbError::Io { path, action: "read", source }),
        }
    }

    /// The block of a snapshot that was made of the head: all others are links to blocks that were there
    /// before it, of the same name. `None` when the head was empty.
    pub(crate) fn head_block(&self, snapshot: &str, before: &BTreeSet<String>) -> Result<Option<String>, TsdbError> {
        // A block that was compacted away while the snapshot was made is in `before`; one that was made of
        // the head meanwhile is in the folder.
        let now = self.names()?;
        let mut new = names(&self.snapshot(snapshot))?.into_iter().filter(|ulid| !before.contains(ulid) && !now.contains(ulid));
        // The head is written last.
        Ok(new.next_back())
    }

    /// Moves a block from a snapshot into the data folder; false when it is not in the snapshot any more.
    pub(crate) fn take_in(&self, snapshot: &str, ulid: &str) -> Result<bool, TsdbError> {
        let path = self.folder.join(ulid);
        match fs::rename(self.snapshot(snapshot).join(ulid), &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(TsdbError::Io { path, action: "made", source }),
            Ok(()) => Ok(true),
        }
    }

    /// Removes a snapshot, if it is there.
    pub(crate) fn remove_snapshot(&self, snapshot: &str) -> Result<(), TsdbError> {
        remove(&self.snapshot(snapshot))
    }

    /// Removes a block, if it is there.
    pub(crate) fn remove_block(&self, ulid: &str) -> Result<(), TsdbError> {
        let path = self.folder.join(ulid);
        // Under its own name a half removed block would look like a broken one.
        let aside = self.folder.join(format!("{ulid}{DELETION_SUFFIX}"));
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(TsdbError::Io { path, action: "removed", source }),
            Ok(()) => {}
        }
        remove(&aside)
    }

    fn snapshot(&self, name: &str) -> PathBuf {
        self.folder.join("snapshots").join(name)
    }
}

/// The names of blocks in a folder; none in a folder that is not there.
fn names(folder: &Path) -> Result<BTreeSet<String>, TsdbError> {
    let error = |source| TsdbError::Io { path: folder.to_owned(), action: "listed", source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(source) => return Err(error(source)),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        names.extend(entry.map_err(error)?.file_name().into_string().ok().filter(|name| is_ulid(name)));
    }
    Ok(names)
}

fn remove(path: &Path) -> Result<(), TsdbError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(TsdbError::Io { path: path.to_owned(), action: "removed", source }),
        Ok(()) => Ok(()),
    }
}

/// Crockford's alphabet has no I, L, O and U.
fn is_ulid(name: &str) -> bool {
    name.len() == 26
        && name.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase() && !matches!(b, b'I' | b'L' | b'O' | b'U'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "01M82ZRA7AKCZ1GMT38GGRNJ6G";
    const HEAD: &str = "01M82ZRB0000000000000000ZZ";

    fn block(folder: &Path, ulid: &str, samples: u64) {
        fs::create_dir_all(folder.join(ulid).join("chunks")).unwrap();
        let stats = if samples == 0 { "{}".to_owned() } else { format!("{{\"numSamples\":{samples},\"numSeries\":3}}") };
        let meta = format!("{{\"ulid\":\"{ulid}\",\"minTime\":7,\"maxTime\":9,\"stats\":{stats},\"version\":1}}");
        fs::write(folder.join(ulid).join("meta.json"), meta).unwrap();
    }

    #[test]
    fn blocks_and_what_is_not_one() {
        let dir = tempfile::tempdir().unwrap();
        let tsdb = Tsdb::new(&dir.path().join("missing"));
        assert_eq!((tsdb.blocks().unwrap(), tsdb.uploaded().unwrap()), (vec![], None));

        let tsdb = Tsdb::new(dir.path());
        block(dir.path(), OLD, 5);
        block(dir.path(), HEAD, 0);
        for other in ["wal", "chunks_head", "01M82ZRA7AKCZ1GMT38GGRNJ6G.tmp-for-deletion", "01M82ZRA7AKCZ1GMT38GGRNJ6I"] {
            fs::create_dir(dir.path().join(other)).unwrap();
        }
        let expected = |ulid: &str, samples| Block { ulid: ulid.to_owned(), min_time: 7, samples };
        assert_eq!(tsdb.blocks().unwrap(), [expected(OLD, 5), expected(HEAD, 0)]);
        fs::remove_file(dir.path().join(OLD).join("meta.json")).unwrap();
        assert_eq!(tsdb.blocks().unwrap(), [expected(HEAD, 0)]);
        fs::write(dir.path().join(OLD).join("meta.json"), "{").unwrap();
        assert!(tsdb.blocks().unwrap_err().to_string().ends_with("meta.json: not understood"));
    }

    #[test]
    fn notes_of_uploads() {
        let dir = tempfile::tempdir().unwrap();
        let tsdb = Tsdb::new(dir.path());
        for (text, uploaded) in [
            (format!("{{\"version\":1,\"uploaded\":[\"{OLD}\"]}}"), BTreeSet::from([OLD.to_owned()])),
            ("{\"version\":1,\"uploaded\":null}".to_owned(), BTreeSet::new()),
            ("{\"version\":1}".to_owned(), BTreeSet::new()),
        ] {
            fs::write(dir.path().join(SHIPPER_FILE), text).unwrap();
            assert_eq!(tsdb.uploaded().unwrap(), Some(uploaded));
        }
        fs::write(dir.path().join(SHIPPER_FILE), "").unwrap();
        assert!(tsdb.uploaded().is_err());
    }

    #[test]
    fn the_head_of_a_snapshot_becomes_a_block() {
        let dir = tempfile::tempdir().unwrap();
        let tsdb = Tsdb::new(dir.path());
        block(dir.path(), OLD, 5);
        let before = tsdb.names().unwrap();
        let snapshot = dir.path().join("snapshots/s");
        block(&snapshot, OLD, 5);
        assert_eq!(tsdb.head_block("s", &before).unwrap(), None, "the head was empty");
        block(&snapshot, HEAD, 4);
        // Compacted away while the snapshot was made: not the head's all the same.
        tsdb.remove_block(OLD).unwrap();
        assert_eq!(tsdb.names().unwrap(), BTreeSet::new());
        assert_eq!(tsdb.head_block("s", &before).unwrap().as_deref(), Some(HEAD));
        for taken in [true, false] {
            assert_eq!(tsdb.take_in("s", HEAD).unwrap(), taken);
            assert_eq!(tsdb.blocks().unwrap()[0].ulid, HEAD);
            tsdb.remove_snapshot("s").unwrap();
            assert!(!snapshot.exists());
        }
        for _ in 0..2 {
            tsdb.remove_block(HEAD).unwrap();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "snapshots alone");
        }
    }
}
