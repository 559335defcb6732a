//! What makes clap read a command line as the original's library (pflag) did.

use clap::{
    ArgAction, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Name of the value of boolean flags, which is how they are told from the others.
pub(crate) const BOOL: &str = "BOOL";

/// Applies pflag's rules to every flag of a command and of its sub-commands:
/// a repeated flag's last value wins, a value may start with a hyphen, a boolean needs no value and
/// takes one only after `=`.
pub(crate) fn apply_rules(command: Command) -> Command {
    command
        .args_override_self(true)
        .mut_args(|arg| {
            let boolean = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == BOOL));
            if arg.is_positional() || !matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
                arg
            } else if boolean {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true")
            } else {
                arg.allow_hyphen_values(true)
            }
        })
        .mut_subcommands(apply_rules)
}

/// Splits `"--flag value"` given as one argument, a common slip in manifests, where it cannot be
/// anything else. Returns the arguments and a warning for each.
pub(crate) fn split_joined(command: &Command, args: Vec<String>) -> (Vec<String>, Vec<String>) {
    let mut out = Vec::with_capacity(args.len());
    let mut warnings = Vec::new();
    for arg in args {
        match joined(command, &arg) {
            Some((flag, value)) => {
                warnings
                    .push(format!("{arg:?} is one argument: read as --{flag}={value}; write it that way or as two arguments"));
                out.push(format!("--{flag}={value}"));
            }
            None => out.push(arg),
        }
    }
    (out, warnings)
}

fn joined<'a>(command: &Command, arg: &'a str) -> Option<(&'a str, &'a str)> {
    let (flag, value) = arg.strip_prefix("--")?.split_once(char::is_whitespace)?;
    let known = command.get_subcommands().flat_map(Command::get_arguments).any(|known| known.get_long() == Some(flag));
    known.then(|| (flag, value.trim()))
}

/// The message of a command line error, in pflag's words where it has words for it.
pub(crate) fn message(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let argument = context(ContextKind::InvalidArg);
    let flag = argument.split([' ', '[', '=']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument => {
            let letter = flag.trim_start_matches('-').chars().next().unwrap_or('-');
            format!("unknown shorthand flag: '{letter}' in {flag}")
        }
        ErrorKind::InvalidSubcommand => {
            format!("unknown command {:?} for \"kvass\"", context(ContextKind::InvalidSubcommand))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let expected = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) if !values.is_empty() => format!("expected {}", values.join(", ")),
                _ => std::error::Error::source(error).map(ToString::to_string).unwrap_or_default(),
            };
            // clap reports a flag at the end of the line as one with an empty value.
            match (context(ContextKind::InvalidValue), expected.is_empty()) {
                ("", true) => format!("flag needs an argument: {flag}"),
                (value, _) => format!("invalid argument {value:?} for {flag:?} flag: {expected}"),
            }
        }
        _ => error.render().to_string().trim_start_matches("error: ").trim_end().to_owned(),
    }
}
