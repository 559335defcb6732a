//! `kvass-e2e`: tells the stories of a user on a real cluster and judges them by what was measured.

// The report is this program's output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod api;
mod bench;
mod cluster;
mod collect;
mod control_plane;
mod discovery;
mod environment;
mod excused;
mod fixture;
mod flows;
mod measure;
mod network;
mod rbac;
mod report;
mod stage;
mod story;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

use self::{cluster::Cluster, environment::Environment, report::Report};

/// Tells stories on a cluster.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the stories, and where each is told.
    List,
    /// Names the modules that the chosen stories need and not every cluster has, for `cluster.sh build`.
    Modules(RunArguments),
    /// Compares discovery with Prometheus on etcd and kube-apiserver alone, and on a Consul server. Exit codes as of `run`.
    Discovery(DiscoveryArguments),
    /// Measures what discovery of many pods costs, next to Prometheus. Exit code 3: NOT RUN, as programs are missing.
    Bench(BenchArguments),
    /// Tells stories. Exit code 1: an expectation failed; 3: all held, but some stories could not be told.
    Run(RunArguments),
}

#[derive(clap::Args)]
struct RunArguments {
    /// Description of a cluster that `cluster.sh up` wrote.
    #[arg(long)]
    env: Option<PathBuf>,
    /// The cluster of $KUBECONFIG is somebody else's: stories that need its machines are not told.
    #[arg(long, conflicts_with = "env")]
    foreign: bool,
    /// Long stories, too.
    #[arg(long)]
    all: bool,
    /// Only these stories, by letter.
    #[arg(long, value_delimiter = ',')]
    story: Vec<String>,
    /// Root of the checkout with the manifests.
    #[arg(long, default_value = ".")]
    checkout: PathBuf,
    /// Folder for report.json, report.md and what is known of failures.
    #[arg(long, default_value = "target/e2e/report")]
    out: PathBuf,
}

#[derive(clap::Args)]
struct AloneArguments {
    /// Folder with etcd, kube-apiserver, prometheus, prometheus-2.42 and consul-agent, as far as they are needed;
    /// `cluster.sh build etcd kubernetes prometheus prometheus2 consul` fills it.
    #[arg(long, default_value = "target/e2e/bin")]
    bin: PathBuf,
    /// The coordinator.
    #[arg(long, default_value = "target/release/kvass", env = "KVASS_BINARY")]
    kvass: PathBuf,
    /// Folder for report.json, report.md, and the logs where something failed.
    #[arg(long, default_value = "target/e2e/discovery")]
    out: PathBuf,
}

#[derive(clap::Args)]
struct DiscoveryArguments {
    #[command(flatten)]
    alone: AloneArguments,
    /// Only these, by letters.
    #[arg(long, value_delimiter = ',', value_parser = discovery::STORIES)]
    story: Vec<String>,
}

#[derive(clap::Args)]
struct BenchArguments {
    #[command(flatten)]
    alone: AloneArguments,
    #[command(flatten)]
    scale: bench::Scale,
    /// Another coordinator, to be measured in the same run.
    #[arg(long)]
    before: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "kvass_e2e=info".into());
    tracing_subscriber::fmt()
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::List => {
            print!("{}", story::list());
            ExitCode::SUCCESS
        }
        Command::Modules(arguments) => match story::choose(&arguments.story, arguments.all) {
            Ok(stories) => {
                print!("{}", story::modules(&stories));
                ExitCode::SUCCESS
            }
            Err(error) => fault(&error),
        },
        Command::Discovery(arguments) => match alone(arguments).await {
            Ok(report) => report.exit_code(),
            Err(error) => fault(&error),
        },
        Command::Bench(arguments) => match measure(arguments).await {
            Ok(code) => code,
            Err(error) => fault(&error),
        },
        Command::Run(arguments) => match run(arguments).await {
            Ok(report) => report.exit_code(),
            Err(error) => fault(&error),
        },
    }
}

fn fault(error: &anyhow::Error) -> ExitCode {
    eprintln!("{error:#}");
    ExitCode::from(2)
}

async fn run(arguments: RunArguments) -> anyhow::Result<Report> {
    let checkout = arguments.checkout.canonicalize().with_context(|| format!("--checkout={}", arguments.checkout.display()))?;
    let environment = match &arguments.env {
        Some(file) => Environment::of_run(file, checkout)?,
        None => {
            anyhow::ensure!(arguments.foreign, "--env=FILE or --foreign: expected one of them");
            let kubeconfig = std::env::var_os("KUBECONFIG").context("--foreign: KUBECONFIG is not set")?;
            Environment::foreign(kubeconfig.into(), checkout)
        }
    };
    std::fs::create_dir_all(&arguments.out).with_context(|| format!("--out={}", arguments.out.display()))?;
    let wanted = story::choose(&arguments.story, arguments.all)?;
    let cluster = Cluster::connect(environment).await?;
    let mut report = Report::default();
    report.cluster(cluster.api()).await;
    // Ctrl-C ends the telling, not the tidying up of whoever started us.
    tokio::select! {
        result = story::tell(&cluster, &wanted, &arguments.out, &mut report) => result?,
        _ = tokio::signal::ctrl_c() => report.interrupted(),
    }
    println!("{}", report.text());
    report.write(&arguments.out)?;
    Ok(report)
}

async fn alone(DiscoveryArguments { alone: arguments, story }: DiscoveryArguments) -> anyhow::Result<Report> {
    let folder = arguments.folder()?;
    let mut report = Report::default();
    tokio::select! {
        judged = discovery::judge(&arguments.bin, &arguments.kvass, &folder, &story) => report = judged,
        _ = tokio::signal::ctrl_c() => report.interrupted(),
    }
    println!("{}", report.text());
    report.write(&arguments.out)?;
    if report.failed() {
        println!("logs are in {}", folder.display());
    } else {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    Ok(report)
}

async fn measure(BenchArguments { alone, scale, before }: BenchArguments) -> anyhow::Result<ExitCode> {
    if let Some(reason) = bench::not_run(&alone.bin, &alone.kvass) {
        println!("NOT RUN: discovery of {scale}: {reason}; make bench-kubernetes builds what it needs");
        return Ok(ExitCode::from(3));
    }
    let folder = alone.folder()?;
    let measured = tokio::select! {
        measured = bench::run(&alone.bin, &alone.kvass, before, &folder, scale) => measured?,
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
    };
    println!("{measured}");
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

impl AloneArguments {
    /// The folder of this run, made.
    fn folder(&self) -> anyhow::Result<PathBuf> {
        let folder = self.out.join(format!("run-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("--out={}", folder.display()))?;
        folder.canonicalize().with_context(|| folder.display().to_string())
    }
}
