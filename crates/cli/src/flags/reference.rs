//! Walks every flag, and keeps `docs/flags.md` equal to the definition.

use std::{fmt::Write, path::Path};

use clap::{Arg, Command};

use super::definition;

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !matches!(arg.get_id().as_str(), "help" | "version"))
}

fn help(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

/// The default as help shows it: clap's own, or the words after `default:` where it is no single value.
fn default(arg: &Arg) -> Option<String> {
    let given: Vec<String> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    match help(arg).split_once(" [default: ") {
        Some((_, words)) => words.strip_suffix(']').map(str::to_owned),
        None if given.is_empty() => None,
        None => Some(format!("`{}`", given.join(" "))),
    }
}

/// All commands with flags, those within others included, and how they are called.
fn commands(command: &Command, called: &str) -> Vec<(String, Command)> {
    let of_one = |command: &Command| {
        let called = format!("{called} {}", command.get_name());
        let itself = flags(command).next().map(|_| (called.clone(), command.clone()));
        itself.into_iter().chain(commands(command, &called)).collect::<Vec<_>>()
    };
    command.get_subcommands().flat_map(of_one).collect()
}

fn reference() -> String {
    let mut out = "# Flags\n\nEvery flag takes its value as `--name=value` or `--name value`; a boolean (`BOOL`) needs none, and takes one only \
        after `=`. The last of a repeated\nflag wins, where it is not said to add up. Durations are those of Go (`10s`, `1h30m`, `0`), integers \
        may be written `30000`, `30_000` or `0x7530`,\nsizes `256MiB`. Words that are no flags are ignored by coordinator and sidecar, with a warning.\n"
        .to_owned();
    for (name, command) in commands(&definition(), "kvass") {
        write!(out, "\n## {name}\n\n{}.\n\n", command.get_about().unwrap()).unwrap();
        out.push_str("| flag | default | meaning |\n| --- | --- | --- |\n");
        for arg in flags(&command) {
            let value = arg.get_value_names().unwrap()[0].as_str();
            let help = help(arg);
            let meaning = help.split(" [default: ").next().unwrap();
            writeln!(out, "| `--{}` {value} | {} | {meaning} |", arg.get_long().unwrap(), default(arg).unwrap_or_default())
                .unwrap();
        }
    }
    out
}

#[test]
fn every_flag_has_a_prefix_a_help_text_and_a_default() {
    for name in ["coordinator", "sidecar"] {
        let definition = definition();
        let command = definition.find_subcommand(name).unwrap();
        assert!(flags(command).count() >= 15, "{name}");
        for arg in flags(command) {
            let flag = arg.get_long().unwrap();
            let (prefix, rest) = flag
                .split_once('.')
                .or((flag == "leader-elect").then_some((flag, "")))
                .unwrap_or_else(|| panic!("{name} --{flag}: no prefix"));
            let prefixes = [
                "shard",
                "leader-elect",
                "config",
                "web",
                "coordinator",
                "sd",
                "explore",
                "scrape",
                "discovery",
                "inject",
                "prometheus",
                "store",
                "tsdb",
                "compat",
                "log",
            ];
            assert!(prefixes.contains(&prefix), "{name} --{flag}");
            assert!(rest.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name} --{flag}");
            assert!(help(arg).len() > 10, "{name} --{flag}: no help text");
            assert!(default(arg).is_some(), "{name} --{flag}: no default documented");
        }
    }
}

#[test]
fn flags_of_every_version_of_the_original_exist() {
    for (name, expected) in [
        (
            "coordinator",
            &[
                "shard.type",
                "shard.static-file",
                "shard.namespace",
                "shard.selector",
                "shard.port",
                "shard.max-series",
                "shard.max-process-series",
                "shard.max-head-series",
                "shard.max-shard",
                "shard.min-shard",
                "shard.max-idle-time",
                "shard.delete-pvc",
                "shard.delete-vpc",
                "shard.disable-alleviate",
                "explore.concurrence",
                "scrape.disable-keep-alive",
                "discovery.disable-keep-alive",
                "web.address",
                "config.file",
                "coordinator.interval",
                "sd.init-timeout",
                "inject.kubernetes-url",
                "inject.kubernetes-proxy",
                "inject.kubernetes-sa-path",
                "inject.kubernetes-token",
            ][..],
        ),
        (
            "sidecar",
            &[
                "web.proxy-addr",
                "web.api-addr",
                "prometheus.url",
                "config.file",
                "config.output-file",
                "config.target-file",
                "store.path",
                "inject.proxy",
                "inject.kubernetes-sa-path",
                "shard.fetch-head-series",
                "scrape.disable-keep-alive",
                "shard.self-monitor",
            ],
        ),
    ] {
        let definition = definition();
        let known: Vec<&str> = flags(definition.find_subcommand(name).unwrap()).filter_map(Arg::get_long).collect();
        for flag in expected {
            assert!(known.contains(flag), "{name} --{flag}");
        }
    }
}

/// `KVASS_UPDATE=1 cargo test -p kvass` writes the file.
#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flags.md");
    let wanted = reference();
    if std::env::var_os("KVASS_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/flags.md differs from the flags: run KVASS_UPDATE=1 cargo test -p kvass");
}
