//! Logs on standard error: logfmt as the original's, or JSON.

use std::{fmt, str::FromStr};

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `ts=… level=… message=… key=value`
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "logfmt" => Ok(LogFormat::Logfmt),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("{text:?}: expected logfmt or json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Logfmt => "logfmt",
            LogFormat::Json => "json",
        })
    }
}

/// Starts logging. `level` is `error`, `warn`, `info`, `debug`, `trace`, or a list of `target=level`.
pub fn init(format: LogFormat, level: &str) -> Result<(), String> {
    // Libraries of ours log under the crates' names; others only when something is wrong with them. The client of Kubernetes says
    // of every request that it failed, but not of which; who asked tells that once, with the reason.
    let directives = if level.contains('=') || level.contains(',') {
        level.to_owned()
    } else {
        let crates =
            ["kvass", "kvass_coordinator", "kvass_sidecar", "kvass_service", "kvass_discovery", "kvass_scrape", "kvass_api"];
        let ours: Vec<String> = crates.iter().map(|name| format!("{name}={level}")).collect();
        format!("warn,kube_client=off,{}", ours.join(","))
    };
    let filter = EnvFilter::try_new(&directives).map_err(|error| format!("log level {level:?}: {error}"))?;
    let layer = match format {
        LogFormat::Logfmt => tracing_logfmt::builder().with_target(false).layer().with_writer(std::io::stderr).boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().map_err(|error| error.to_string())
}
