//! Tells when files change. Directories are watched, not files: editors and ConfigMap mounts replace a
//! file (or a symlink above it), after which a watch of the file itself hears nothing.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

/// One watcher for the whole process: every inotify instance counts against a limit that all containers
/// of a node share.
#[derive(Debug)]
pub struct FileWatcher {
    state: Arc<Mutex<State>>,
    watcher: Option<Mutex<RecommendedWatcher>>,
}

#[derive(Debug, Default)]
struct State {
    subscribers: HashMap<PathBuf, Vec<watch::Sender<u64>>>,
}

impl FileWatcher {
    /// Where inotify cannot be had the watcher stays silent, with one warning; callers poll as well.
    pub fn new() -> Arc<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let for_events = Arc::clone(&state);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is no change; an error (queue overflow) may hide one, so it wakes everybody.
            let paths = match &event {
                Ok(event) if matches!(event.kind, EventKind::Access(_)) => return,
                Ok(event) => Some(event.paths.as_slice()),
                Err(_) => None,
            };
            lock(&for_events).notify(paths);
        });
        let watcher = match watcher {
            Ok(watcher) => Some(Mutex::new(watcher)),
            Err(error) => {
                tracing::warn!(%error, "file changes are polled, inotify is not available");
                None
            }
        };
        Arc::new(FileWatcher { state, watcher })
    }

    /// A counter that grows whenever something in one of the directories changes. Directories that do
    /// not exist (yet) are not watched: callers poll as well, and call again.
    pub fn watch(&self, directories: &[PathBuf]) -> watch::Receiver<u64> {
        let (sender, receiver) = watch::channel(0);
        {
            let mut state = lock(&self.state);
            for directory in directories {
                let known = state.subscribers.entry(directory.clone()).or_default();
                known.retain(|s| !s.is_closed());
                known.push(sender.clone());
            }
        }
        // Not under the lock: adding a watch waits for the thread that delivers events, and that thread may
        // be waiting for the lock.
        directories.iter().for_each(|directory| self.start(directory));
        receiver
    }

    fn start(&self, directory: &Path) {
        let Some(watcher) = &self.watcher else { return };
        // Watching a directory again is harmless, and right where it was replaced.
        if let Err(error) = lock(watcher).watch(directory, RecursiveMode::NonRecursive) {
            tracing::debug!(directory = %directory.display(), %error, "directory is polled, it cannot be watched");
        }
    }
}

impl State {
    fn notify(&mut self, paths: Option<&[PathBuf]>) {
        for (directory, senders) in &mut self.subscribers {
            let concerned = paths.is_none_or(|paths| paths.iter().any(|p| p == directory || p.parent() == Some(directory)));
            if concerned {
                senders.retain(|s| !s.is_closed());
                senders.iter().for_each(|s| s.send_modify(|count| *count += 1));
            }
        }
    }
}

/// A panic elsewhere leaves nothing half-done in what these locks guard.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn hears_of_created_replaced_and_removed_files() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let watcher = FileWatcher::new();
        let mut changes = watcher.watch(&[dir.path().to_owned()]);
        let mut silent = watcher.watch(&[other.path().to_owned()]);
        silent.mark_unchanged();
        for step in 0..3 {
            let file = dir.path().join("a");
            match step {
                0 => std::fs::write(&file, "1").unwrap(),
                1 => crate::write_atomically(&file, b"2", 0o600).unwrap(),
                _ => std::fs::remove_file(&file).unwrap(),
            }
            tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
        }
        assert!(!silent.has_changed().unwrap());
    }
}
