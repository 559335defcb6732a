#!/usr/bin/env bash
# Checks licences, banned crates and sources of all dependencies (deny.toml), with cargo-deny from the PATH
# or built into target/tools. Advisories change by themselves, so they gate no change: scripts/deny.sh advisories
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/tools
PATH=$PATH:$tools/bin
if ! command -v cargo-deny >/dev/null; then
  echo "deny.sh: building cargo-deny into target/tools, once" >&2
  cargo install --quiet --locked --root "$tools" cargo-deny
fi
[ $# -gt 0 ] || set -- licenses bans sources
exec cargo-deny --all-features --locked check --hide-inclusion-graph "$@"
