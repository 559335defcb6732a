//! The last good configuration on disk, so that a process that starts beside a broken file goes on with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::{read_config::Files, write_atomically};

const FILE: &str = "kvass-last-good-config.json";
/// Configurations hold credentials.
const MODE: u32 = 0o600;

/// Where it is kept. The texts are as they were read: environment references are resolved at each start.
#[derive(Clone, Debug)]
pub(crate) struct LastGood {
    path: PathBuf,
}

/// Content of the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The main file, then the included ones.
    files: Vec<KeptFile>,
}

#[derive(Serialize, Deserialize)]
struct KeptFile {
    path: PathBuf,
    text: String,
}

impl LastGood {
    /// Kept in `folder`, which is created when it is first needed.
    pub(crate) fn new(folder: &Path) -> Self {
        LastGood { path: folder.join(FILE) }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was kept, and since when. `None` where nothing is, or where it cannot be understood: then it is
    /// kept aside for the operator, with a line in the log.
    pub(crate) fn load(&self) -> Option<(Files, Option<SystemTime>)> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(file = %self.path.display(), %error, "last good configuration cannot be read");
                return None;
            }
        };
        match serde_json::from_slice::<Kept>(&bytes) {
            Ok(kept) => {
                let since = fs::metadata(&self.path).and_then(|metadata| metadata.modified());
                let files = kept.files.into_iter().map(|file| (file.path, file.text)).collect();
                Some((files, Some(since.unwrap_or(SystemTime::UNIX_EPOCH))))
            }
            Err(error) => {
                let aside = self.path.with_extension("json.corrupt");
                let kept = fs::rename(&self.path, &aside).is_ok();
                // The message of the error may quote the file.
                let (line, column) = (error.line(), error.column());
                tracing::error!(file = %self.path.display(), line, column, kept_as = %aside.display(), kept, "last good configuration is corrupt");
                None
            }
        }
    }

    /// Keeps `files` instead of what was kept before. Equal ones are not written again.
    pub(crate) fn save(&self, files: &Files) -> io::Result<()> {
        let files = files.iter().map(|(path, text)| KeptFile { path: path.clone(), text: text.clone() }).collect();
        let content = serde_json::to_vec(&Kept { files }).map_err(io::Error::other)?;
        if fs::read(&self.path).is_ok_and(|kept| kept == content) {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        write_atomically(&self.path, &content, MODE)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_only_the_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let kept = LastGood::new(&dir.path().join("new"));
        assert!(kept.load().is_none());
        let files = vec![("/etc/p.yml".into(), "{}\n".to_owned()), ("/etc/d/é.yml".into(), "a: \u{1}\"\n".to_owned())];
        kept.save(&files).unwrap();
        assert_eq!(kept.load().unwrap().0, files);
        let metadata = || fs::metadata(kept.path()).unwrap();
        assert_eq!(metadata().permissions().mode() & 0o777, 0o600);
        let written = metadata().modified().unwrap();
        kept.save(&files).unwrap();
        assert_eq!(metadata().modified().unwrap(), written, "not written again");
        assert_eq!(kept.load().unwrap().1, Some(written));
    }

    #[test]
    fn what_is_corrupt_is_kept_aside() {
        for content in ["", "{\"files\":[{\"path\":\"/a", "null", "[1]"] {
            let dir = tempfile::tempdir().unwrap();
            let kept = LastGood::new(dir.path());
            fs::write(kept.path(), content).unwrap();
            assert!(kept.load().is_none(), "{content}");
            assert_eq!(fs::read_to_string(dir.path().join("kvass-last-good-config.json.corrupt")).unwrap(), content);
            assert!(kept.load().is_none());
        }
    }
}
