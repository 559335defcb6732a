//! What survives a restart of the process, in the original's files: `kvass-shard.json`, and, from v0.0.x,
//! `targets.json`. The pushed configuration, the reason for not scraping, and what became of the head of an
//! emptied shard are kept beside them, as is the last good configuration of a file, which
//! `kvass_service::ConfigFile` keeps itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kvass_api::{ExtraConfig, Stored, case_insensitive};
use kvass_service::write_atomically;

use crate::{head_block::HeadBlock, target_update::parse_target_list};

const STORE_FILE: &str = "kvass-shard.json";
const LEGACY_FILE: &str = "targets.json";
const CONFIG_FILE: &str = "kvass-config.yml";
const EXTRA_CONFIG_FILE: &str = "kvass-extra-config.json";
const HEAD_BLOCK_FILE: &str = "kvass-head-block.json";
/// Labels and configurations may hold credentials.
const MODE: u32 = 0o600;

/// The folder with everything that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    legacy: PathBuf,
}

/// A file of the store could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be written", path.display())]
pub(crate) struct StoreError {
    path: PathBuf,
    source: io::Error,
}

impl Store {
    /// `legacy` is a target file of v0.0.x; by default it is looked for in the same folder.
    pub(crate) fn new(directory: &Path, legacy: Option<&Path>) -> Self {
        let legacy = legacy.map_or_else(|| directory.join(LEGACY_FILE), Path::to_owned);
        Store { directory: directory.to_owned(), legacy }
    }

    /// The folder itself.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The stored target list; empty when there is none. A file that cannot be understood is kept aside
    /// as `*.corrupt`, for the operator.
    pub(crate) fn load(&self) -> Stored {
        let path = self.directory.join(STORE_FILE);
        match read(&path) {
            Some(bytes) => match case_insensitive::<Stored>(&bytes) {
                Ok(stored) => stored,
                Err(error) => {
                    keep_aside(&path, &error);
                    Stored::default()
                }
            },
            None => self.import_legacy(),
        }
    }

    fn import_legacy(&self) -> Stored {
        let Some(bytes) = read(&self.legacy) else { return Stored::default() };
        match parse_target_list(&bytes) {
            Ok(targets) => {
                tracing::info!(file = %self.legacy.display(), "legacy target file imported");
                Stored { targets, idle_at: None }
            }
            Err(error) => {
                tracing::error!(file = %self.legacy.display(), %error, "legacy target file is unusable, starting without targets");
                Stored::default()
            }
        }
    }

    /// Keeps a target list.
    pub(crate) fn save(&self, stored: &Stored) -> Result<(), StoreError> {
        self.write(STORE_FILE, &serde_json::to_vec(stored).unwrap_or_default())
    }

    /// The configuration last pushed.
    pub(crate) fn load_pushed_config(&self) -> Option<String> {
        let path = self.directory.join(CONFIG_FILE);
        let bytes = read(&path)?;
        String::from_utf8(bytes).inspect_err(|error| keep_aside(&path, error)).ok()
    }

    /// Keeps a pushed configuration.
    pub(crate) fn save_pushed_config(&self, text: &str) -> Result<(), StoreError> {
        self.write(CONFIG_FILE, text.as_bytes())
    }

    /// The extra configuration; the default when there is none.
    pub(crate) fn load_extra_config(&self) -> ExtraConfig {
        let path = self.directory.join(EXTRA_CONFIG_FILE);
        let Some(bytes) = read(&path) else { return ExtraConfig::default() };
        case_insensitive(&bytes).inspect_err(|error| keep_aside(&path, error)).unwrap_or_default()
    }

    /// Keeps the extra configuration.
    pub(crate) fn save_extra_config(&self, extra: &ExtraConfig) -> Result<(), StoreError> {
        self.write(EXTRA_CONFIG_FILE, &serde_json::to_vec(extra).unwrap_or_default())
    }

    /// What became of the head when the shard was last emptied; the default when there is nothing.
    pub(crate) fn load_head_block(&self) -> HeadBlock {
        let path = self.directory.join(HEAD_BLOCK_FILE);
        let Some(bytes) = read(&path) else { return HeadBlock::default() };
        serde_json::from_slice(&bytes).inspect_err(|error| keep_aside(&path, error)).unwrap_or_default()
    }

    /// Keeps what became of the head.
    pub(crate) fn save_head_block(&self, head_block: &HeadBlock) -> Result<(), StoreError> {
        self.write(HEAD_BLOCK_FILE, &serde_json::to_vec(head_block).unwrap_or_default())
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.directory.join(name);
        fs::create_dir_all(&self.directory)
            .and_then(|()| write_atomically(&path, content, MODE))
            .map_err(|source| StoreError { path, source })
    }
}

/// `None` when there is no such file, or, with an error in the log, when it cannot be read.
fn read(path: &Path) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::error!(file = %path.display(), %error, "stored file cannot be read, starting without it");
            None
        }
    }
}

fn keep_aside(path: &Path, problem: &dyn std::error::Error) {
    let aside = PathBuf::from(format!("{}.corrupt", path.display()));
    let kept = fs::rename(path, &aside);
    tracing::error!(
        file = %path.display(), %problem, kept_as = %aside.display(), kept = kept.is_ok(),
        "stored file is corrupt, starting without it"
    );
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn stores_as_the_original_does() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("new"), None);
        assert_eq!(store.load(), Stored::default());
        let original = include_bytes!("../tests/data/kvass-shard.json");
        let stored: Stored = case_insensitive(original).unwrap();
        store.save(&stored).unwrap();
        let path = dir.path().join("new").join(STORE_FILE);
        assert_eq!(String::from_utf8(fs::read(&path).unwrap()).unwrap(), String::from_utf8_lossy(original).trim());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(store.load(), stored);
    }

    #[test]
    fn a_corrupt_store_is_kept_aside() {
        for content in ["", "{\"Targets\":{\"j\":[{\"hash\":1", "null", "7"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(STORE_FILE), content).unwrap();
            assert_eq!(Store::new(dir.path(), None).load(), Stored::default(), "{content}");
            assert_eq!(fs::read_to_string(dir.path().join("kvass-shard.json.corrupt")).unwrap(), content);
            assert!(!dir.path().join(STORE_FILE).exists());
        }
    }

    #[test]
    fn null_targets_and_idle_times_of_the_original() {
        for (content, idle) in [
            ("{\"Targets\":null,\"IdleAt\":null}", None),
            ("{\"Targets\":{},\"IdleAt\":\"2020-01-01T00:00:00Z\"}", Some("2020-01-01T00:00:00Z".parse().unwrap())),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(STORE_FILE), content).unwrap();
            let stored = Store::new(dir.path(), None).load();
            assert!(stored.targets.is_empty());
            assert_eq!(stored.idle_at, idle);
        }
    }

    #[test]
    fn legacy_files_are_imported_unless_there_is_a_store() {
        let legacy = r#"{"j":[{"hash":31,"labels":{"__address__":"127.0.0.1:9261"},"series":12}]}"#;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LEGACY_FILE), legacy).unwrap();
        let elsewhere = dir.path().join("elsewhere.json");
        fs::write(&elsewhere, legacy.replace("31", "32")).unwrap();
        assert_eq!(Store::new(dir.path(), None).load().targets["j"][0].hash, 31);
        assert_eq!(Store::new(dir.path(), Some(&elsewhere)).load().targets["j"][0].hash, 32);
        fs::write(dir.path().join(STORE_FILE), "{\"Targets\":{}}").unwrap();
        assert!(Store::new(dir.path(), Some(&elsewhere)).load().targets.is_empty());
        assert!(elsewhere.exists());
    }
}
