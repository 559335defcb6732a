//! Compares Go's regular expressions and Prometheus' relabelling with ours on random input; see README.md.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod case;
mod characters;
mod compare;
mod pattern;
mod random;
mod rules;
mod shrink;
mod wire;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use kvass_model::PrometheusLine;

use crate::{
    case::Case,
    compare::{Difference, Side, Tally},
};

/// Compares regular expressions and relabelling of kvass with those of Go and Prometheus on random input.
#[derive(Debug, Parser)]
struct Arguments {
    /// Reference program of Prometheus 3, built from go/prometheus3.
    #[arg(long, value_name = "PROGRAM")]
    prometheus3: PathBuf,
    /// Reference program of Prometheus 2, built from go/prometheus2.
    #[arg(long, value_name = "PROGRAM")]
    prometheus2: PathBuf,
    /// How long to go on.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What the cases are made from; the time if not given. It is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this case of the seed.
    #[arg(long, requires = "seed")]
    case: Option<u64>,
    /// After how many differences to stop.
    #[arg(long, default_value_t = 1)]
    differences: usize,
    /// How many cases to compare at the same time; each keeps about two processors busy.
    #[arg(long, default_value_t = thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2)))]
    jobs: usize,
}

/// Cases in one question to the reference programs.
const BATCH: u64 = 100;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kvass-reference: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether there is no difference.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let seed = arguments.seed.unwrap_or_else(clock);
    println!("seed {seed}");
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let next = AtomicU64::new(0);
    let total = Mutex::new((Tally::default(), Vec::<Difference>::new()));
    let work = || -> anyhow::Result<()> {
        let mut sides =
            [Side::start(PrometheusLine::V3, &arguments.prometheus3)?, Side::start(PrometheusLine::V2, &arguments.prometheus2)?];
        loop {
            let numbers: Vec<u64> = match arguments.case {
                Some(case) => vec![case],
                None => {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    (first..first + BATCH).collect()
                }
            };
            let cases: Vec<(u64, Case)> = numbers.into_iter().map(|number| (number, Case::new(seed, number))).collect();
            let (tally, found) = compare::compare(&mut sides, &cases)?;
            let mut found_now = Vec::new();
            for difference in found {
                found_now.push(compare::shrunk(&mut sides, difference)?);
            }
            let Ok(mut total) = total.lock() else { return Ok(()) };
            total.0.add(&tally);
            for difference in found_now {
                if total.1.len() < arguments.differences {
                    println!("{difference}  again: make fuzz ARGS=\"--seed {seed} --case {}\"\n", difference.number);
                    total.1.push(difference);
                }
            }
            if total.1.len() >= arguments.differences || arguments.case.is_some() || Instant::now() >= end {
                return Ok(());
            }
        }
    };
    let jobs = if arguments.case.is_some() { 1 } else { arguments.jobs.max(1) };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")))
    })?;
    let Ok((tally, differences)) = total.into_inner() else { anyhow::bail!("a thread panicked") };
    println!("{tally}differences: {}", differences.len());
    Ok(differences.is_empty())
}
