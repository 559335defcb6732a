use std::time::Duration;

use clap::{Args, Subcommand};

use super::{PrometheusVersion, pflag::BOOL, values, values::Switch};

/// What `kvass check` looks at.
#[derive(Args, Debug)]
pub(crate) struct CheckFlags {
    #[command(subcommand)]
    pub(crate) what: Check,
}

/// Checks, none of which needs a running coordinator.
#[derive(Debug, Subcommand)]
pub(crate) enum Check {
    /// Judges configuration files as Prometheus does, and says what kvass makes of them
    Config(CheckConfigFlags),
    /// Runs the service discovery of a configuration once, and prints the targets as JSON
    Targets(CheckTargetsFlags),
}

/// Flags of `kvass check config`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckConfigFlags {
    /// Leave alone the files that the configuration names
    #[arg(long = "syntax-only", value_name = BOOL, default_value = "false")]
    pub(crate) syntax_only: Switch,
    /// Whose rules apply where versions of Prometheus differ: 2, 3, or auto for either
    #[arg(long = "prometheus.version", value_name = "VERSION", default_value = "auto", value_enum, hide_possible_values = true)]
    pub(crate) prometheus_version: PrometheusVersion,
    /// Configuration files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<String>,
}

/// Flags of `kvass check targets`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckTargetsFlags {
    /// Name of the only job to discover [default: all jobs]
    #[arg(long = "job", value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// How long discovery may take; it ends sooner once everything has answered
    #[arg(long = "timeout", value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub(crate) timeout: Duration,
    /// Whose rules apply where versions of Prometheus differ: 2, 3, or auto for either
    #[arg(long = "prometheus.version", value_name = "VERSION", default_value = "auto", value_enum, hide_possible_values = true)]
    pub(crate) prometheus_version: PrometheusVersion,
    /// Configuration file
    #[arg(value_name = "FILE", required = true)]
    pub(crate) file: String,
}
