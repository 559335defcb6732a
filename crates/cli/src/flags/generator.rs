use std::time::Duration;

use clap::Args;

use super::{LogFlags, values};

/// Flags of `kvass metrics-generator`.
#[derive(Args, Clone, Debug)]
pub(crate) struct GeneratorFlags {
    /// Address to serve on
    #[arg(long = "address", value_name = "ADDRESS", default_value = ":9091")]
    pub(crate) address: String,
    /// Series of one scrape of /metrics, 45 of them about the process itself
    #[arg(long = "series", value_name = "INT", default_value = "10045", value_parser = values::count)]
    pub(crate) series: u64,
    /// How often values change
    #[arg(long = "tick", value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    pub(crate) tick: Duration,
    /// Delay before each answer of /metrics
    #[arg(long = "latency", value_name = "DURATION", default_value = "0", value_parser = values::duration)]
    pub(crate) latency: Duration,

    #[command(flatten)]
    pub(crate) log: LogFlags,
}
