use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{pflag::BOOL, values, values::Switch};

/// Flags of `kvass demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoFlags {
    /// Ends once everything has been proved, instead of staying until Ctrl-C
    #[arg(long = "once", value_name = BOOL, default_value = "false")]
    pub(crate) once: Switch,
    /// Prints one JSON object instead of progress
    #[arg(long = "json", value_name = BOOL, default_value = "false")]
    pub(crate) json: Switch,
    /// Metrics generators to start
    #[arg(long = "generators", value_name = "INT", default_value = "6", value_parser = values::count)]
    pub(crate) generators: u64,
    /// Series of each generator
    #[arg(long = "series", value_name = "INT", default_value = "10045", value_parser = values::count)]
    pub(crate) series: u64,
    /// Most series of one shard
    #[arg(long = "limit", value_name = "INT", default_value = "30000", value_parser = values::count)]
    pub(crate) limit: u64,
    /// Prometheus to run: a path, or a name to look for
    #[arg(long = "prometheus", value_name = "FILE", default_value = "target/tools/prometheus")]
    pub(crate) prometheus: String,
    /// Folder of everything the demo writes
    #[arg(long = "dir", value_name = "FOLDER", default_value = "target/demo")]
    pub(crate) dir: PathBuf,
    /// Scrape interval
    #[arg(long = "scrape-interval", value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    pub(crate) scrape_interval: Duration,
    /// How long a shard without targets is kept
    #[arg(long = "max-idle-time", value_name = "DURATION", default_value = "20s", value_parser = values::duration)]
    pub(crate) max_idle_time: Duration,
    /// Longest time until everything is proved
    #[arg(long = "timeout", value_name = "DURATION", default_value = "3m", value_parser = values::duration)]
    pub(crate) timeout: Duration,
}
