//! The command line as it was typed, already type-checked. What it means is the business of
//! [`crate::options`].

mod check;
mod coordinator;
mod demo;
mod generator;
mod pflag;
#[cfg(test)]
mod reference;
mod sidecar;
mod values;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, error::ErrorKind};
use kvass_service::logging::LogFormat;

pub(crate) use self::{
    check::{Check, CheckConfigFlags, CheckFlags, CheckTargetsFlags},
    coordinator::{CoordinatorFlags, ShardType},
    demo::DemoFlags,
    generator::GeneratorFlags,
    sidecar::SidecarFlags,
};

/// Shards a Prometheus: discovers targets once, measures them, and spreads them over as many Prometheus
/// servers as their series need.
#[derive(Debug, Parser)]
#[command(name = "kvass", version, max_term_width = 120, disable_help_flag = false)]
struct Cli {
    #[command(subcommand)]
    command: Option<Subcommands>,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub(crate) enum Subcommands {
    /// Discovers targets, assigns them to shards, and changes the number of shards
    Coordinator(Box<CoordinatorFlags>),
    /// Runs beside a Prometheus: gives it its targets, and counts their series on the way
    Sidecar(Box<SidecarFlags>),
    /// Checks a configuration before it is used
    Check(CheckFlags),
    /// Runs everything on this machine: generators, coordinator, shards, and proves that nothing is lost
    Demo(Box<DemoFlags>),
    /// Serves a fixed number of series on /metrics, and misbehaves on other paths
    MetricsGenerator(GeneratorFlags),
    /// Prints the version, and what it was built from
    Version,
}

/// Flags about logs, the same for every long-running command.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogFlags {
    /// Least severe level logged: error, warn, info, debug, trace, or a list of target=level
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub(crate) level: String,
    /// How a log line is written
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt", value_parser = log_format)]
    pub(crate) format: LogFormat,
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    text.parse().map_err(|_| "expected logfmt or json".to_owned())
}

/// Whose rules apply where Prometheus 2.x and 3.x differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrometheusVersion {
    /// Prometheus 2.x
    #[value(name = "2")]
    V2,
    /// Prometheus 3.x
    #[value(name = "3")]
    V3,
    /// What the shards say they are, 2.x until they have said it
    Auto,
}

/// Words that are no flags. pflag ignores them, and manifests exist that have some.
#[derive(Args, Clone, Debug)]
pub(crate) struct IgnoredWords {
    #[arg(hide = true, value_name = "WORD")]
    pub(crate) words: Vec<String>,
}

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Run this, after logging the warnings.
    Run(Subcommands, Vec<String>),
    /// Print this text and succeed.
    Print(String),
}

/// A command line that cannot be followed.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0}")]
pub(crate) struct UsageError(String);

/// The definition of every command and flag.
pub(crate) fn definition() -> clap::Command {
    pflag::apply_rules(Cli::command())
}

/// Parses a command line, without the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Parsed, UsageError> {
    let mut definition = definition();
    let (args, warnings) = pflag::split_joined(&definition, args.into_iter().collect());
    let argv = std::iter::once("kvass".to_owned()).chain(args);
    let parsed = definition.try_get_matches_from_mut(argv).and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(Cli { command: Some(command) }) => Ok(Parsed::Run(command, warnings)),
        Ok(Cli { command: None }) => Ok(Parsed::Print(definition.render_help().to_string())),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(Parsed::Print(error.render().to_string())),
        Err(error) if error.kind() == ErrorKind::DisplayVersion => Ok(Parsed::Run(Subcommands::Version, warnings)),
        Err(error) => Err(UsageError(pflag::message(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[track_caller]
    fn coordinator(args: &[&str]) -> (CoordinatorFlags, Vec<String>) {
        let args = std::iter::once("coordinator").chain(args.iter().copied()).map(str::to_owned);
        match parse(args) {
            Ok(Parsed::Run(Subcommands::Coordinator(flags), warnings)) => (*flags, warnings),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn error(line: &str) -> String {
        match parse(words(line)) {
            Err(error) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn printed(line: &str) -> String {
        match parse(words(line)) {
            Ok(Parsed::Print(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn values_after_equals_or_as_the_next_word() {
        let (flags, _) = coordinator(&["--shard.selector=a=b,c=d", "--shard.max-idle-time", "3h", "--config.file", "--odd"]);
        assert_eq!(flags.shard_selector, "a=b,c=d");
        assert_eq!(flags.shard_max_idle_time.as_secs(), 10_800);
        assert_eq!(flags.config_file, "--odd");
        assert_eq!(coordinator(&["--shard.namespace="]).0.shard_namespace, "");
        assert_eq!(coordinator(&["--shard.min-shard", "-1"]).0.shard_min_shard, -1);
    }

    #[test]
    fn booleans_take_no_following_word() {
        let (flags, _) = coordinator(&["--shard.disable-alleviate", "false"]);
        assert!(flags.shard_disable_alleviate.0);
        for (given, value) in [("--shard.disable-alleviate=0", false), ("--shard.disable-alleviate=T", true)] {
            assert_eq!(coordinator(&[given]).0.shard_disable_alleviate.0, value, "{given}");
        }
    }

    #[test]
    fn the_last_of_a_repeated_flag_wins() {
        let (flags, _) = coordinator(&["--web.address=:1", "--shard.port=1", "--shard.port=0x10", "--web.address", ":2"]);
        assert_eq!((flags.web_address.as_str(), flags.shard_port), (":2", 16));
    }

    #[test]
    fn other_words_are_ignored() {
        let (flags, warnings) = coordinator(&["word", "--web.address=:1", "-", "--", "--nope"]);
        assert_eq!((flags.web_address.as_str(), warnings.len()), (":1", 0));
    }

    #[test]
    fn flag_and_value_in_one_argument() {
        let (flags, warnings) = coordinator(&["--shard.max-series 30000", "--shard.namespace=a b"]);
        assert_eq!((flags.shard_max_series, flags.shard_namespace.as_str()), (Some(30_000), "a b"));
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("--shard.max-series=30000"), "{warnings:?}");
    }

    #[test]
    fn errors_name_the_flag_once() {
        for (line, message) in [
            ("coordinator --nope", "unknown flag: --nope"),
            ("coordinator --nope=1", "unknown flag: --nope"),
            ("sidecar --shard.type=k8s", "unknown flag: --shard.type"),
            ("--nope", "unknown flag: --nope"),
            ("coordinator -x", "unknown shorthand flag: 'x' in -x"),
            ("foo", "unknown command \"foo\" for \"kvass\""),
            ("coordinator --web.address", "flag needs an argument: --web.address"),
            ("coordinator --shard.type=x", "invalid argument \"x\" for \"--shard.type\" flag: expected k8s, static, process"),
            (
                "coordinator --coordinator.interval=1d",
                "invalid argument \"1d\" for \"--coordinator.interval\" flag: \"1d\" is not a duration: \
                 expected a number with a unit of ns, us, ms, s, m or h, for example 10s or 1h30m",
            ),
            (
                "coordinator --shard.delete-pvc=yes",
                "invalid argument \"yes\" for \"--shard.delete-pvc\" flag: expected true or false (or 1, 0, t, f)",
            ),
            (
                "coordinator --shard.max-shard=2147483648",
                "invalid argument \"2147483648\" for \"--shard.max-shard\" flag: expected an integer from -2147483648 to 2147483647",
            ),
            (
                "sidecar --inject.external-label=x",
                "invalid argument \"x\" for \"--inject.external-label\" flag: expected name=value",
            ),
            (
                "coordinator --shard.port=",
                "invalid argument \"\" for \"--shard.port\" flag: expected an integer, for example 30000, 30_000 or 0x7530",
            ),
        ] {
            assert_eq!(error(line), message, "{line}");
        }
    }

    #[test]
    fn help_and_version_are_asked_for_in_every_form() {
        for line in ["", "help", "--help", "-h"] {
            assert!(printed(line).contains("coordinator"), "{line}");
        }
        for line in ["help coordinator", "coordinator --help", "coordinator -h"] {
            assert!(printed(line).contains("--shard.max-series"), "{line}");
        }
        assert!(matches!(parse(words("--version")), Ok(Parsed::Run(Subcommands::Version, _))));
    }
}
