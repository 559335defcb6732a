//! `kvass check`: what can be said of a configuration without running anything of it for long.

mod advice;
mod config;
mod files;
mod targets;

use std::{
    io::{self, Write},
    path::Path,
};

use anyhow::Context;
use kvass_config::Config;
use kvass_model::PrometheusLine::{self, V2, V3};
use kvass_service::{
    LoadError,
    config_file::{chain, load_once},
};

use crate::{
    flags::{Check, CheckFlags, PrometheusVersion},
    options,
};

/// Runs one check. Answers whether all was good; what was not has been said on standard error.
pub(crate) async fn run(flags: CheckFlags) -> anyhow::Result<bool> {
    match flags.what {
        Check::Config(flags) => {
            let report = config::check(&flags);
            show(&report.notes, &report.errors).map(|()| report.errors.is_empty())
        }
        Check::Targets(flags) => {
            let report = targets::check(&flags).await;
            show(report.json.as_slice(), &report.errors).map(|()| report.errors.is_empty())
        }
    }
}

fn show(notes: &[String], errors: &[String]) -> anyhow::Result<()> {
    // Nobody is left to tell if this fails.
    errors.iter().for_each(|error| _ = writeln!(io::stderr(), "{error}"));
    match notes.iter().try_for_each(|note| writeln!(io::stdout(), "{note}")) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

/// A configuration that the asked version takes.
struct Accepted {
    config: Config,
    line: PrometheusLine,
    /// Why the other version would not take it, where either was asked for.
    only: Option<LoadError>,
}

/// Reads a configuration by the rules asked for. Without a preference those of 2.x are tried first, as the coordinator
/// does that does not know its shards yet.
fn load(path: &Path, version: PrometheusVersion) -> Result<Accepted, LoadError> {
    let Some(line) = options::line(version) else {
        return match (load_once(path, V2), load_once(path, V3)) {
            (Ok(config), only) => Ok(Accepted { config, line: V2, only: only.err() }),
            (Err(error), Ok(config)) => Ok(Accepted { config, line: V3, only: Some(error) }),
            // The newer one is the likelier, and knows the longer list of what it would take instead.
            (Err(_), Err(error)) => Err(error),
        };
    };
    Ok(Accepted { config: load_once(path, line)?, line, only: None })
}

fn text(error: &LoadError) -> String {
    chain(error)
}
