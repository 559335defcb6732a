//! Plumbing that the coordinator and the sidecar share: the configuration file and its reloading,
//! watching of files, metrics, logs, signals.

mod build_info;
pub mod config_file;
pub mod file_watcher;
mod glob;
mod last_good;
pub mod logging;
pub mod metrics;
mod operator_config;
mod process_metrics;
mod read_config;
pub mod shutdown;
pub mod tasks;
mod write_file;

pub use build_info::BuildInfo;
pub use config_file::{ConfigFile, LoadError, ReloadState};
pub use file_watcher::FileWatcher;
pub use glob::{glob, glob_with_problem};
pub use write_file::write_atomically;
