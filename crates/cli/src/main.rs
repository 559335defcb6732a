//! kvass: spreads the targets of one Prometheus configuration over as many Prometheus servers as their
//! series need. This crate is the command line: flags to options to services, and an error printed once.

mod check;
mod demo;
mod flags;
mod generator;
#[cfg(test)]
mod manifests;
mod options;

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use kvass_service::{BuildInfo, logging, shutdown};

use self::{
    flags::{LogFlags, Parsed, Subcommands},
    options::Meaning,
};

const BUILD: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    commit: env!("KVASS_COMMIT"),
    rustc: env!("KVASS_RUSTC"),
    target: env!("KVASS_TARGET"),
};

/// How long calls of the system that cannot be interrupted delay the end of the process.
const LAST_CALLS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    BUILD.declare();
    match run(std::env::args_os().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        // What was wrong has been said.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // `{:#}` is the error with its causes on one line. Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Answers whether what was asked for is good.
fn run(args: impl Iterator<Item = OsString>) -> anyhow::Result<bool> {
    // Before any TLS client exists: with several providers compiled in, rustls would not choose by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = args.map(|arg| arg.into_string().map_err(|arg| anyhow::anyhow!("argument {arg:?} is not UTF-8")));
    let (command, mut warnings) = match flags::parse(args.collect::<anyhow::Result<Vec<String>>>()?)? {
        Parsed::Run(command, warnings) => (command, warnings),
        Parsed::Print(text) => return print(text.trim_end()).map(|()| true),
    };
    let env = |name: &str| std::env::var(name).ok();
    match command {
        Subcommands::Coordinator(flags) => {
            let log = flags.log.clone();
            let meaning = options::coordinator(*flags, &env)?;
            warnings.extend(meaning.warnings);
            start_logging(&log, &warnings)?;
            block_on(coordinator(meaning.options))?;
        }
        Subcommands::Sidecar(flags) => {
            let log = flags.log.clone();
            let Meaning { options, warnings: about_options } = options::sidecar(*flags, &env)?;
            warnings.extend(about_options);
            start_logging(&log, &warnings)?;
            block_on(sidecar(options))?;
        }
        Subcommands::MetricsGenerator(flags) => {
            start_logging(&flags.log, &warnings)?;
            block_on(async { generator::run(flags, signal()).await })?;
        }
        Subcommands::Demo(flags) => block_on(async { demo::run(*flags, signal()).await })?,
        Subcommands::Check(flags) => return block_on(check::run(flags)),
        Subcommands::Version => print(BUILD)?,
    }
    Ok(true)
}

async fn coordinator(options: kvass_coordinator::Options) -> anyhow::Result<()> {
    let shutdown = signal();
    let coordinator = kvass_coordinator::Coordinator::build(options).await.context("the coordinator cannot start")?;
    coordinator.run(shutdown).await.context("the coordinator failed")
}

async fn sidecar(options: kvass_sidecar::Options) -> anyhow::Result<()> {
    let shutdown = signal();
    let sidecar = kvass_sidecar::Sidecar::build(options).await.context("the sidecar cannot start")?;
    sidecar.run(shutdown).await.context("the sidecar failed")
}

/// Completes when the process is asked to end, from this call on. Inside the runtime only.
fn signal() -> impl Future<Output = ()> {
    let requested = shutdown::requested();
    async {
        match requested {
            Ok(requested) => {
                let signal = requested.await;
                tracing::info!(signal, "shutdown requested");
            }
            Err(error) => {
                tracing::warn!(%error, "signals cannot be caught: they end the process at once");
                std::future::pending().await
            }
        }
    }
}

fn start_logging(flags: &LogFlags, warnings: &[String]) -> anyhow::Result<()> {
    logging::init(flags.format, &flags.level).map_err(anyhow::Error::msg)?;
    for warning in warnings {
        tracing::warn!(%warning, "command line");
    }
    Ok(())
}

fn block_on<T>(service: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads cannot be started")?;
    let result = runtime.block_on(service);
    // A name that a resolver without an answer was asked for, or a slow disk, must not outlast the time a pod has to end.
    runtime.shutdown_timeout(LAST_CALLS);
    result
}

/// Prints a line. A reader that went away (`kvass help | head -1`) is no error.
fn print(text: impl Display) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_call_that_cannot_be_interrupted_does_not_keep_the_process() {
        let started = Instant::now();
        let service = async {
            let (entered, inside) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                let _ = entered.send(());
                std::thread::sleep(Duration::from_secs(30));
            });
            inside.await.context("the call began")
        };
        block_on(service).unwrap();
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}
